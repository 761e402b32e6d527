"""The tree of capabilities: its form, that objects lead into it, and that it tells the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from conformance.cdmi.dialect import clauses
from conformance.cdmi.fields import Fields, document
from conformance.cdmi.known_capabilities import KNOWN
from conformance.cdmi.server import REFUSED, Server, check, suite
from conformance.suite import Exchange, Level, NotApplicable, expect, require

KINDS = {"dataobject/": "cdmi_dataobjects", "queue/": "cdmi_queues", "domain/": "cdmi_domains"}


def tree(server: Server, path: str = "", depth: int = 3) -> list[tuple[str, Exchange]]:
    """The capabilities objects at and below a path, with what was answered."""
    answer = server.get(f"{server.root}cdmi_capabilities/{path}", "capability")
    expect(answer, {200}, f"the capabilities {path or '/'}")
    found = [(path, answer)]
    for child in document(answer).get("children", []) if depth else []:
        found += tree(server, path + child, depth - 1)
    return found


@check("capabilities/fields", "12.2.6", "12.3.6", "Every capabilities object has all mandatory fields.")
def fields(server: Server) -> None:
    mandatory = ("objectType", "objectID", "objectName", "parentURI", "parentID", "capabilities", "childrenrange")
    for path, answer in tree(server):
        missing = [name for name in (*mandatory, "children") if name not in document(answer)]
        require(not missing, f"cdmi_capabilities/{path} lacks {', '.join(missing)}", answer)


@check("capabilities/name", "12.2.6", "12.3.6", "objectName is the name with its slash, cdmi_capabilities/ at the top.")
def name(server: Server) -> None:
    for path, answer in tree(server):
        wanted = path.rstrip("/").rpartition("/")[2] + "/" if path else "cdmi_capabilities/"
        found = document(answer)["objectName"]
        require(found == wanted, f"objectName is {found!r}, expected {wanted!r}", answer)


@check("capabilities/no-metadata", "12.1", "12.2.3", "Capabilities objects have no metadata.")
def no_metadata(server: Server) -> None:
    for path, answer in tree(server):
        require("metadata" not in document(answer), f"cdmi_capabilities/{path} has metadata", answer)


@check("capabilities/strings", "12.2.6", "12.3.6", "Every capability is a JSON string, or an array of strings.")
def strings(server: Server) -> None:
    for _, answer in tree(server):
        for key, value in document(answer)["capabilities"].items():
            listed = value if isinstance(value, list) else [value]
            require(all(isinstance(v, str) for v in listed), f"{key} is {value!r}, expected a string", answer)


@check("capabilities/vendor-names", "12.1", "12.2.7", "Names that start with cdmi_ are the standard's own.")
def vendor_names(server: Server) -> None:
    for _, answer in tree(server):
        unknown = [key for key in document(answer)["capabilities"] if key.startswith("cdmi_") and key not in KNOWN]
        require(not unknown, f"not defined by any CDMI: {', '.join(unknown)}", answer)


@check("capabilities/kinds", "12.2.6", "12.3.6", "The top lists the kinds of objects that the server claims.")
def kinds(server: Server) -> None:
    answer = server.get(f"{server.root}cdmi_capabilities/", "capability")
    listed = document(answer)["children"]
    wanted = ["container/", *(kind for kind, claim in KINDS.items() if server.claims(None, claim))]
    missing = [kind for kind in wanted if kind not in listed]
    require(not missing, f"children lacks {', '.join(missing)}", answer)


@check("capabilities/children-range", "12.2.6", "12.3.6", "childrenrange counts the children.")
def children_range(server: Server) -> None:
    for _, answer in tree(server):
        found = document(answer)
        count = len(found["children"])
        if count:
            require(found["childrenrange"] == f"0-{count - 1}", f"childrenrange of {count} is not right", answer)


@check("capabilities/selection", "12.2.1", "12.3.1", "Fields can be asked for, and only those are answered.")
def selection(server: Server) -> None:
    answer = server.get(f"{server.root}cdmi_capabilities/", "capability", "capabilities", "children")
    expect(answer, {200}, "capabilities asked for by field")
    found = set(document(answer))
    require(found == {"capabilities", "children"}, f"asked for capabilities and children, got {sorted(found)}", answer)


@check("capabilities/range", "12.2.1", "12.3.1", "A range of the children can be asked for.")
def child_range(server: Server) -> None:
    url = f"{server.root}cdmi_capabilities/"
    listed = server.look(url, "capability", "children")["children"]
    if len(listed) < 2:
        raise NotApplicable("there is but one child")
    answer = server.get(url, "capability", "childrenrange", "children:0-0")
    found = document(answer)
    require(found["children"] == listed[:1], f"children:0-0 is {found['children']}", answer)
    require(found["childrenrange"] == "0-0", f"childrenrange is {found['childrenrange']!r}", answer)


@check("capabilities/order", "12.1.8", "12.2.6", "childrenrange and children come last and in that order.")
def order(server: Server) -> None:
    answer = server.get(f"{server.root}cdmi_capabilities/", "capability")
    found = [key for key in document(answer) if key in ("childrenrange", "children")]
    require(list(document(answer))[-2:] == found == ["childrenrange", "children"], "they come elsewhere", answer)


@check("capabilities/of-container", "12.1", "12.2", "A container's capabilitiesURI leads to capabilities.")
def of_container(server: Server) -> None:
    leads_to_capabilities(server, server.home.fields)


@check("capabilities/of-object", "12.1", "12.2", "A data object's capabilitiesURI leads to capabilities.")
def of_object(server: Server) -> None:
    leads_to_capabilities(server, server.new_object().fields)


def leads_to_capabilities(server: Server, found: Fields) -> None:
    answer = server.follow(found["capabilitiesURI"], "capability")
    expect(answer, {200}, f"the capabilitiesURI {found['capabilitiesURI']}")
    require("capabilities" in document(answer), "it leads to no capabilities object", answer)


@check("capabilities/static", "12.1", "12.2", "Capabilities don't change.")
def static(server: Server) -> None:
    first, second = (document(server.get(f"{server.root}cdmi_capabilities/", "capability")) for _ in range(2))
    require(first == second, "two readings differ")


@check("capabilities/exports", "13.2", "13.2.2", "What a container claims to export, the system claims too.")
def exports(server: Server) -> None:
    per_container = {"cdmi_export_container_occi": "cdmi_export_occi_iscsi"}
    for key in server.capabilities_of(server.home.fields):
        if key.startswith("cdmi_export_container_") and server.claims(server.home.fields, key):
            wanted = per_container.get(key, key.replace("_container", ""))
            require(server.claims(None, wanted), f"{key} is claimed and {wanted} is not")


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """An operation and the capability without which it is answered 400 (CDMI 1.1.1 §12.1)."""

    capability: str
    ask: Callable[[Server], Exchange]
    system: bool = False


def in_object(body: Fields, server: Server) -> Exchange:
    return server.put(server.new_url(".txt"), "object", body)


def in_container(body: Fields, server: Server) -> Exchange:
    return server.put(server.new_url("/"), "container", body)


def of_new_container(body: Fields, server: Server) -> Exchange:
    return server.update(server.new_container().url, "container", body)


def from_object(field: str, server: Server) -> Exchange:
    source = server.new_object()
    return server.put(server.new_url(".txt"), "object", {field: server.path_of(source.url)})


def from_container(field: str, server: Server) -> Exchange:
    source = server.new_container()
    return server.put(server.new_url("/"), "container", {field: server.path_of(source.url)})


def posted(path: str, kind: str, body: Fields, server: Server) -> Exchange:
    return server.post(server.root + path if path else server.home.url, kind, body)


def part_of_value(server: Server) -> Exchange:
    return server.get(server.new_object().url, "object", "value:0-1")


def part_written(server: Server) -> Exchange:
    return server.update(server.new_object().url, "object", {"value": "eHg="}, "value:0-1")


def part_of_children(server: Server) -> Exchange:
    server.new_object()
    return server.get(server.home.url, "container", "children:0-0")


def exported(server: Server) -> Exchange:
    wanted: Fields = {"permissions": ["iqn.2010-01.com.example:conformance"]}
    return in_container({"exports": server.dialect.export("iSCSI", wanted)}, server)


def exported_to_occi(server: Server) -> Exchange:
    return in_container({"exports": {"OCCI/iSCSI": {"permissions": []}}}, server)


def object_deleted(server: Server) -> Exchange:
    return server.delete(server.new_object().url)


UNCLAIMED = (
    Unclaimed("cdmi_create_dataobject", partial(in_object, {"value": "x"})),
    Unclaimed("cdmi_create_container", partial(in_container, {})),
    Unclaimed("cdmi_create_reference", partial(in_object, {"reference": "http://cloud.example.com/x"})),
    Unclaimed("cdmi_create_queue", lambda server: server.put(server.new_url(), "queue", {})),
    Unclaimed("cdmi_copy_dataobject", partial(from_object, "copy")),
    Unclaimed("cdmi_move_dataobject", partial(from_object, "move")),
    Unclaimed("cdmi_serialize_dataobject", partial(from_object, "serialize")),
    Unclaimed("cdmi_copy_container", partial(from_container, "copy")),
    Unclaimed("cdmi_move_container", partial(from_container, "move")),
    Unclaimed("cdmi_snapshot", partial(of_new_container, {"snapshot": "first"})),
    Unclaimed("cdmi_post_dataobject", partial(posted, "", "object", {"value": "x"})),
    Unclaimed("cdmi_post_queue", partial(posted, "", "queue", {})),
    Unclaimed(
        "cdmi_post_dataobject_by_ID", partial(posted, "cdmi_objectid/", "object", {"value": "x"}), system=True
    ),
    Unclaimed("cdmi_post_queue_by_ID", partial(posted, "cdmi_objectid/", "queue", {}), system=True),
    Unclaimed("cdmi_export_iscsi", exported, system=True),
    Unclaimed("cdmi_export_occi_iscsi", exported_to_occi, system=True),
    Unclaimed("cdmi_list_children_range", part_of_children),
)  # fmt: skip
OF_OBJECTS = (
    Unclaimed("cdmi_read_value_range", part_of_value),
    Unclaimed("cdmi_modify_value_range", part_written),
    Unclaimed("cdmi_delete_dataobject", object_deleted),
)


def refused(unclaimed: Unclaimed, of_object: bool, server: Server) -> None:
    holder = None if unclaimed.system else server.new_object().fields if of_object else server.home.fields
    if server.claims(holder, unclaimed.capability):
        raise NotApplicable(f"the server claims {unclaimed.capability}")
    answer = unclaimed.ask(server)
    # By the letter 400; what can't be found, isn't there, or is no method of the resource is refused all the same.
    expect(answer, {400, 404, 405} if unclaimed.system else {400}, f"what takes {unclaimed.capability}, not claimed,")


for of_object_too, table in ((False, UNCLAIMED), (True, OF_OBJECTS)):
    for one in table:
        citation, versions = clauses("12.1", "12.2")
        suite.check(
            f"capabilities/without-{one.capability.removeprefix('cdmi_').lower().replace('_', '-')}",
            citation,
            f"What takes {one.capability} is answered 400 where it isn't claimed.",
            Level.MUST,
            versions,
        )(partial(refused, one, of_object_too))


@check("capabilities/unclaimed-changes-nothing", "12.1", "12.2", "Nothing comes of what was refused.", Level.SHOULD)
def unclaimed_changes_nothing(server: Server) -> None:
    if server.claims(server.home.fields, "cdmi_create_queue"):
        raise NotApplicable("the server claims cdmi_create_queue")
    url = server.new_url()
    expect(server.put(url, "queue", {}), REFUSED, "a queue where none can be made")
    expect(server.get(url, "queue"), {400, 404, 406}, "what was refused")
