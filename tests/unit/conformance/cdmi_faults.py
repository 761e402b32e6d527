# ruff: noqa: ARG005, E501
"""Faults that the CDMI suite must find: each is put into the healthy subject, and names the checks that must fail.

A fault changes a request before the subject sees it, an answer before the client does, or the subject itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from tests.unit.conformance.cdmi_subject import Asked, Cloud
from tests.unit.conformance.http_subject import Answer, Fault, Refusal, Request

When = Callable[[Request], bool]
TYPE = "application/cdmi-"


@dataclass(frozen=True)
class CdmiFault(Fault):
    """A fault, with the version in which it is looked for and how the subject stands when it comes."""

    version: str = "1.1.1"
    profile: str = "full"
    holds: bool = False


def on(method: str = "", target: str = "", header: str = "", body: str = "") -> When:
    """True of requests that match all that is given (regular expressions)."""

    def matches(request: Request) -> bool:
        headers = "\n".join(f"{name}: {value}" for name, value in request.headers)
        return bool(
            re.fullmatch(method or ".*", request.method)
            and re.search(target, request.target)
            and re.search(header, headers, re.IGNORECASE)
            and re.search(body, request.body.decode("utf-8", "replace"))
        )

    return matches


ANY = on()
CDMI = rf"(?:accept|content-type): {TYPE}"
HERE = r"/conformance-\w+/conformance"
CAPABILITIES = "/cdmi_capabilities/"
WRITE = "PUT|POST|PATCH"


def plain(method: str = "", target: str = "") -> When:
    """Requests of plain HTTP."""
    matches = on(method, target)
    return lambda request: (
        matches(request)
        and not re.search(CDMI, f"accept: {request.header('accept')}\ncontent-type: {request.header('content-type')}")
    )


def status(new: int, when: When, old: str = "...") -> Callable[[Request, Answer], Answer]:
    def change(request: Request, answer: Answer) -> Answer:
        if not when(request) or not re.fullmatch(old, str(answer.status)):
            return answer
        return replace(answer, status=new, body=b"" if new == 204 else answer.body)

    return change


def header(name: str, value: str | None, when: When, old: str = "...") -> Callable[[Request, Answer], Answer]:
    """Another value of a header, or none."""

    def change(request: Request, answer: Answer) -> Answer:
        if (
            not when(request)
            or not re.fullmatch(old, str(answer.status))
            or (not answer.header(name.lower()) and value is None)
        ):
            return answer
        kept = tuple(h for h in answer.headers if h[0].lower() != name.lower())
        return replace(answer, headers=kept if value is None else (*kept, (name, value)))

    return change


def body(change: Callable[[bytes], bytes], when: When) -> Callable[[Request, Answer], Answer]:
    return lambda request, answer: (
        replace(answer, body=change(answer.body)) if when(request) and answer.status < 300 else answer
    )


def fields(change: Callable[[dict[str, Any]], object], when: When = ANY) -> Callable[[Request, Answer], Answer]:
    """Change the JSON of answers in place."""

    def edit(request: Request, answer: Answer) -> Answer:
        if not when(request) or TYPE not in answer.header("content-type") or answer.status not in (200, 201):
            return answer
        found = json.loads(answer.body)
        new = change(found)
        return replace(
            answer, body=json.dumps(new if isinstance(new, dict) and "objectType" in new else found).encode()
        )

    return edit


def lacks(*names: str) -> Callable[[dict[str, Any]], object]:
    return lambda found: [found.pop(name, None) for name in names]


def says(**new: Any) -> Callable[[dict[str, Any]], object]:
    """These fields, where they are answered, have these values."""
    return lambda found: found.update({name: value for name, value in new.items() if name in found})


def item(name: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda found: found["metadata"].update({name: value}) if name in found.get("metadata", {}) else None


def swap(name: str, made: Callable[[Any], Any]) -> Callable[[Cloud], object]:
    """Replace a method of the subject by one made from the healthy one."""
    return lambda cloud: setattr(cloud, name, made(getattr(cloud, name)))


def unclaim(*names: str) -> Callable[[Cloud], object]:
    """Claims in the answers, not in what is done."""

    def change(cloud: Cloud) -> None:
        healthy = cloud.need
        cloud.need = lambda kind, *wanted: healthy(kind, *(w for w in wanted if w not in names))  # type: ignore[method-assign]

    return change


def heard_as(when: When, pattern: str, by: str) -> Callable[[Request], Request]:
    """What is sent is changed on its way, in target, headers and body."""

    def change(request: Request) -> Request:
        if not when(request):
            return request
        headers = tuple((n, re.sub(pattern, by, v)) for n, v in request.headers)
        new = re.sub(pattern, by, request.body.decode("latin-1")).encode("latin-1")
        return replace(request, body=new, headers=headers, target=re.sub(pattern, by, request.target))

    return change


def deaf(name: str, when: When = ANY) -> Callable[[Request], Request]:
    """A header is not heard."""

    def change(request: Request) -> Request:
        kept = tuple(h for h in request.headers if h[0].lower() != name)
        return replace(request, headers=kept) if when(request) else request

    return change


def nothing(when: When, new: int = 204) -> dict[str, Any]:
    """Answered well, and not done."""
    return {
        "request": lambda request: replace(request, method="HEAD", body=b"") if when(request) else request,
        "answer": lambda request, answer: Answer(new) if request.method == "HEAD" and answer.status < 500 else answer,
    }


def forgets(*names: str) -> Callable[[Request], Request]:
    """Fields of bodies are passed over."""

    def change(request: Request) -> Request:
        try:
            found = json.loads(request.body)
            kept = {key: value for key, value in found.items() if key not in names}
        except (ValueError, AttributeError):
            return request
        return replace(request, body=json.dumps(kept).encode())

    return change


def accepts(when: When, old: str = "4..", new: int = 201) -> Callable[[Request, Answer], Answer]:
    """What should be refused is answered well."""

    def change(request: Request, answer: Answer) -> Answer:
        if not when(request) or not re.fullmatch(old, str(answer.status)):
            return answer
        return Answer(new, (("Content-Type", TYPE + "object"),), b'{"objectID": "x", "metadata": {}}')

    return change


def harmless(name: str, result: Any = None) -> Callable[[Cloud], object]:
    """A method that checks no longer does."""
    return swap(name, lambda healthy: lambda *arguments, **named: result)


def mistyped(request: Request) -> Request:
    return replace(
        request, body=re.sub(rb'"valuetransferencoding": ?"base64"', b'"valuetransferencoding": "utf-8"', request.body)
    )


def id_form(octets: Callable[[bytearray], object]) -> Callable[[Cloud], object]:
    """IDs are made otherwise, with the right checksum."""
    from conformance.cdmi.fields import crc16

    def change(cloud: Cloud) -> None:
        healthy = cloud.new_id

        def new_id() -> str:
            found = bytearray.fromhex(healthy())
            octets(found)
            found[6:8] = b"\0\0"
            found[6:8] = crc16(bytes(found)).to_bytes(2, "big")
            return found.hex().upper()

        cloud.new_id = new_id  # type: ignore[method-assign]

    return change


def wrong_checksum(cloud: Cloud) -> None:
    healthy = cloud.new_id
    cloud.new_id = lambda: healthy()[:12] + "FFFF" + healthy()[16:]  # type: ignore[method-assign]


def reused(cloud: Cloud) -> None:
    """IDs belong to names."""
    known: dict[str, str] = {}
    healthy = cloud.new

    def new(kind: str, name: str, parent: Any, identifier: str = "") -> Any:
        node = healthy(kind, name, parent, identifier or known.get(name, ""))
        if name:
            known[name] = node.id
        return node

    cloud.new = new  # type: ignore[method-assign]


def new_id_at(name: str) -> Callable[[Cloud], object]:
    """A method after which the node has another ID."""

    def made(healthy: Any) -> Any:
        def method(asked: Asked, node: Any, *others: Any) -> Any:
            answer = healthy(asked, node, *others)
            node.id = "0000A0A4001" + node.id[11:-1] + "F"
            return answer

        return method

    return swap(name, made)


def reordered(*last: str) -> Callable[[dict[str, Any]], object]:
    """These fields come first."""
    return lambda found: {**{k: found[k] for k in last if k in found}, **found}


def not_found_as(new: int) -> Callable[[Request, Answer], Answer]:
    return status(new, ANY, "404")


F = CdmiFault
FAULTS: tuple[CdmiFault, ...] = (
    # versions
    F("no version header", ("versions/answered", "versions/answered-among-asked"), answer=header("X-CDMI-Specification-Version", None, ANY)),
    F("always 1.0.2", ("versions/answered-among-asked", "versions/one-asked"), answer=header("X-CDMI-Specification-Version", "1.0.2", ANY)),
    F("whole list needed", ("versions/highest",), answer=status(400, on(header="97.1"))),
    F("any version", ("versions/none-in-common",), request=heard_as(on(header="97.1, 98.0.3"), "97.1", "1.1")),
    F("1.x without header", ("versions/header-missing",), request=lambda r: replace(r, headers=(*r.headers, ("X-CDMI-Specification-Version", "1.1"))) if r.header("x-cdmi-specification-version") == "" else r),
    F("2.0 answers something else", ("versions/no-header",), answer=fields(lacks("objectID"), on("GET", r"0/conformance-\w+/$")), version="2.0"),
    F("2.0 answers a version", ("versions/no-1.x-in-2.0",), answer=header("X-CDMI-Specification-Version", "1.1.1", on(target="0/conformance")), version="2.0"),
    F("PATCH creates", ("versions/patch-missing",), request=lambda r: replace(r, method="PUT") if r.method == "PATCH" else r, version="2.0"),
    F("capabilities can be changed", ("versions/capabilities-unchangeable",), answer=status(204, on(WRITE, CAPABILITIES))),
    # media
    F("plain JSON types", ("media/container", "media/object", "media/capability", "media/create-type", "domains/read"), answer=lambda r, a: header("Content-Type", "application/json", ANY)(r, a) if TYPE in a.header("content-type") else a),
    F("objectType of another kind", ("media/container", "media/object", "queues/create"), answer=fields(says(objectType="application/cdmi-thing"))),
    F("+json refused", ("media/json-suffix", "media/json-suffix-sent"), answer=status(406, on(header=r"\+json"))),
    F("+json is plain HTTP", ("media/json-suffix-sent",), request=heard_as(on("PUT", header=r"\+json"), r"application/cdmi-object\+json", "text/plain")),
    F("charset refused", ("media/parameters",), answer=status(400, on(header="object; charset"))),
    F("first of Accept only", ("media/accept-list",), request=heard_as(ANY, r"(application/cdmi-object), .*", r"\1")),
    F("Accept doesn't matter", ("media/not-acceptable",), request=heard_as(on("GET"), "application/cdmi-queue", "application/cdmi-container")),
    F("Accept demanded", ("media/accept-optional",), answer=lambda r, a: replace(a, status=406) if r.method == "PUT" and not r.header("accept") else a),
    F("Content-Type guessed", ("media/no-content-type",), request=lambda r: replace(r, headers=(*r.headers, ("Content-Type", TYPE + "container"))) if r.method == "PUT" and r.body and not r.header("content-type") else r),
    F("any Content-Type", ("media/other-content-type",), request=heard_as(on("PUT", "/$"), "application/cdmi-object", "application/cdmi-container")),
    F("bad JSON taken", ("media/not-json", "media/not-an-object"), answer=accepts(on("PUT"), "400")),
    F("bad JSON is 500", ("media/not-json", "media/not-an-object", "media/wrong-shapes"), answer=status(500, on("PUT"), "400")),
    F("any shape", ("media/wrong-shapes",), answer=accepts(on("PUT"), "400")),
    F("ASCII only", ("media/unicode", "names/escaping"), answer=body(lambda b: re.sub(rb"\\u[0-9a-f]{4}", b"?", b), ANY)),
    F("JSON is always CDMI", ("media/http-is-no-cdmi",), request=heard_as(on("PUT", r"\.json"), "application/json", TYPE + "object")),
    F("two challenges", ("media/challenge",), answer=lambda r, a: replace(a, headers=(*a.headers, ("WWW-Authenticate", "Digest"))) if a.status == 401 else a),
    # capabilities
    F("capabilities lack parentID", ("capabilities/fields",), answer=fields(lacks("parentID"), on(target=CAPABILITIES))),
    F("capabilities named without slash", ("capabilities/name",), answer=fields(lambda f: f.update(objectName=f["objectName"].rstrip("/")), on(target=CAPABILITIES + "$"))),
    F("capabilities have metadata", ("capabilities/no-metadata",), answer=fields(lambda f: f.update(metadata={}), on(target=CAPABILITIES))),
    F("capabilities are booleans", ("capabilities/strings",), prepare=lambda c: c.system.update(cdmi_queues=True)),
    F("vendor's cdmi_ name", ("capabilities/vendor-names",), prepare=lambda c: c.system.update(cdmi_subject="true")),
    F("no queue/ below capabilities", ("capabilities/kinds",), prepare=lambda c: c.top.children.pop("queue")),
    F("childrenrange to N", ("capabilities/children-range", "containers/childrenrange"), answer=fields(lambda f: f.update(childrenrange=f"0-{len(f['children'])}") if "children" in f else says(childrenrange="0-3")(f))),
    F("fields can't be selected", ("capabilities/selection", "data/selection", "data/selection-of-nothing", "containers/selection"), request=lambda r: replace(r, target=r.target.partition("?")[0])),
    F("ranges of children not heard", ("capabilities/range", "containers/range", "containers/range-clipped", "containers/range-malformed"), request=heard_as(ANY, "children:.*", "children")),
    F("children first", ("capabilities/order", "containers/order"), answer=fields(reordered("children"))),
    F("capabilitiesURI leads nowhere", ("capabilities/of-container",), answer=fields(says(capabilitiesURI="/cdmi_capabilities/nowhere/"))),
    F("capabilitiesURI of objects leads nowhere", ("capabilities/of-object",), answer=fields(lambda f: f.update(capabilitiesURI="/x/") if "mimetype" in f else None)),
    F("capabilities change", ("capabilities/static",), prepare=swap("get", lambda healthy: lambda asked, node: (node.capabilities.update(vendor_time=node.capabilities.get("vendor_time", "") + "x"), healthy(asked, node))[1])),
    F("export claimed by containers only", ("capabilities/exports",), prepare=lambda c: c.system.pop("cdmi_export_iscsi")),
    *(
        F(f"{name} unclaimed and done", (f"capabilities/without-{name.lower().replace('_', '-')}",), prepare=unclaim(name), profile=profile)
        for name, profile in (
            ("create_dataobject", "empty"), ("create_container", "empty"), ("create_reference", "bare"), ("create_queue", "bare"),
            ("copy_dataobject", "bare"), ("move_dataobject", "bare"), ("serialize_dataobject", "bare"), ("copy_container", "bare"),
            ("move_container", "bare"), ("snapshot", "bare"), ("post_dataobject", "bare"), ("list_children_range", "bare"),
            ("read_value_range", "bare"), ("modify_value_range", "bare"), ("delete_dataobject", "bare"), ("export_iscsi", "bare"),
            ("export_occi_iscsi", "bare"),
        )
    ),
    F("queues by POST, unclaimed", ("capabilities/without-post-queue",), prepare=unclaim("post_queue", "create_queue"), profile="bare"),
    F("objects without name, unclaimed", ("capabilities/without-post-dataobject-by-id",), prepare=unclaim("post_dataobject_by_ID"), profile="bare"),
    F("queues without name, unclaimed", ("capabilities/without-post-queue-by-id",), prepare=unclaim("post_queue_by_ID", "create_queue"), profile="bare"),
    F("refused and made", ("capabilities/unclaimed-changes-nothing",), prepare=unclaim("create_queue"), answer=status(400, on("PUT", header="cdmi-queue")), profile="bare"),
    # ids
    F("enterprise 0", ("ids/format",), prepare=id_form(lambda o: o.__setitem__(slice(1, 4), b"\0\0\0"))),
    F("wrong length byte", ("ids/format",), prepare=id_form(lambda o: o.__setitem__(5, 32))),
    F("IDs are UUIDs", ("ids/format", "ids/checksum"), answer=fields(says(objectID="6ba7b810-9dad-11d1-80b4-00c04fd430c8"))),
    F("wrong checksum", ("ids/checksum",), prepare=wrong_checksum),
    F("one ID for all", ("ids/unique", "exports/two-targets"), answer=fields(lambda f: f.update(objectID="0" * 32, **({"exports": {"Network/iSCSI": {"type": "iSCSI", "target_identifier": "iqn.x,t,0x1", "logical_unit_number": "0", "logical_unit_name": "0x6"}}} if "exports" in f else {})))),
    F("IDs belong to names", ("ids/not-reused",), prepare=reused),
    F("an update makes a new ID", ("ids/constant", "ids/container-constant"), prepare=new_id_at("update")),
    F("parentID is the object's own", ("ids/parent", "containers/nested", "post/child"), answer=fields(lambda f: f.update(parentID=f["objectID"]) if "objectID" in f else None)),
    F("no access by ID", ("ids/access", "ids/access-any-case", "ids/access-http", "ids/container-access", "ids/update", "ids/delete", "ids/binary-by-id"), answer=status(404, on(target="cdmi_objectid/.")),),
    F("IDs in upper case only", ("ids/access-any-case",), answer=status(404, on(target="cdmi_objectid/[0-9]*[a-f]"))),
    F("by ID always the root", ("ids/access", "ids/container-access", "ids/access-http", "copies/move-by-id"), request=heard_as(on("GET"), r"cdmi_objectid/[^/]*/?", "cdmi_capabilities/")),
    F("updates by ID are lost", ("ids/update",), **nothing(on("PUT", "cdmi_objectid/."))),
    F("deletions by ID are lost", ("ids/delete",), **nothing(on("DELETE", "cdmi_objectid/."))),
    F("unknown IDs are 500", ("ids/unknown", "ids/malformed"), answer=status(500, on(target="cdmi_objectid/."), "404")),
    F("no Location by ID", ("ids/post",), answer=header("Location", None, on("POST", "cdmi_objectid"))),
    F("name of the nameless", ("ids/post-nameless",), answer=fields(lambda f: f.update(objectName=f["objectID"]), on("GET", "cdmi_objectid/."))),
    F("moves from IDs change them", ("ids/move-to-name",), answer=fields(says(objectID="0000A0A400100000FFFFFFFFFFFFFFFF"), on("PUT", body="move"))),
    # names
    F("containers need no slash", ("names/slash", "names/slash-http", "names/slash-delete"), prepare=swap("moved", lambda healthy: lambda asked: Answer(200, (("Content-Type", "text/plain"),)))),
    F("redirected elsewhere", ("names/slash", "names/slash-http", "names/slash-delete"), answer=header("Location", "/", ANY, "301")),
    F("slash added by the server", ("names/create-without-slash",), request=lambda r: replace(r, target=r.target + "/") if r.method == "PUT" and r.header("content-type").endswith("container") and not r.target.endswith("/") else r),
    F("objects with slash", ("names/object-with-slash",), request=lambda r: replace(r, target=r.target.rstrip("/")) if r.method == "PUT" and r.header("content-type").endswith("object") else r),
    F("plain PUT makes objects only", ("names/http-slash-decides", "http/container"), request=lambda r: replace(r, target=r.target.rstrip("/")) if plain("PUT")(r) else r),
    F("reserved names taken", ("names/reserved", "names/reserved-http", "names/prefix"), request=heard_as(on("PUT"), "/cdmi_(?!cap)", "/x-cdmi_")),
    F("reserved names are 403", ("names/reserved", "names/reserved-http"), answer=status(403, on("PUT", "/cdmi_"), "400")),
    F("capabilities can be deleted", ("names/reserved-delete",), answer=status(204, on("DELETE", CAPABILITIES))),
    F("any cdmi_ name but the reserved", ("names/prefix",), request=heard_as(on("PUT"), "/cdmi_(?=[0-9a-f]{8})", "/x-cdmi_")),
    F("parents made on the way", ("names/missing-parent",), answer=accepts(on("PUT", r"/x\.txt"), "404")),
    F("objects below objects", ("names/below-an-object",), answer=accepts(on("PUT", r"txt/x\.txt"), "40.")),
    F("400 for what isn't there", ("names/not-found", "names/not-found-http", "data/delete-missing", "containers/delete-missing"), answer=not_found_as(400)),
    F("names stay escaped", ("names/escaping",), prepare=swap("find", lambda healthy: lambda asked: (asked.path and asked.request.method == "PUT" and "%" in asked.path and (lambda p, n, c: (p, asked.path.rpartition("/")[2], c))(*healthy(asked))) or healthy(asked))),
    F("question marks in names", ("names/delimiters", "names/dots"), answer=accepts(on("PUT", "(?i)%3F|%2e"), "400")),
    F("parentURI without root", ("names/parent-uri",), answer=fields(says(parentURI="/elsewhere/"))),
    F("the root has a parent", ("names/root",), answer=fields(lambda f: f.update(parentID="x"), on("GET", "^/$"))),
    F("containers named without slash", ("names/container-name",), answer=fields(lambda f: f.update(objectName=f["objectName"].rstrip("/")) if "objectName" in f else None, on(target=HERE))),
    F("a name for two", ("names/one-name-one-object",), answer=status(201, plain("PUT"), "301")),
    # retention
    F("retention not enforced", ("retention/delete", "retention/delete-container", "retention/change", "retention/change-http", "retention/shorten"), prepare=harmless("retained", False)),
    F("retention protects not from containers", ("retention/delete-container",), prepare=swap("must_not_be_retained", lambda healthy: lambda node, below=False: healthy(node))),
    F("retained for ever", ("retention/lengthen", "retention/over"), prepare=swap("check_retention", lambda healthy: lambda node, name, value: healthy(node, name, value) if not node.metadata.get("cdmi_retention_period") else refuse(403)), answer=status(403, on("DELETE"))),
    F("retention forgotten", ("retention/read",), answer=fields(lambda f: f.get("metadata", {}).pop("cdmi_retention_period", None))),
    F("any period", ("retention/malformed",), prepare=harmless("check_retention")),
    F("copies are retained", ("retention/not-copied",), prepare=swap("copied", lambda healthy: lambda source, *a: (node := healthy(source, *a), setattr(node, "metadata", dict(source.metadata)))[0])),
    F("holds not enforced", ("retention/hold-delete", "retention/hold-change"), prepare=harmless("retained", False), holds=True),
    F("holds can be released", ("retention/hold-release",), prepare=harmless("check_retention"), holds=True),
    F("one set of holds", ("retention/hold-more",), answer=status(403, on(body="third")), holds=True),
    # data
    F("creation is 200", ("data/create", "data/create-fields", "containers/create", "containers/create-fields", "post/create"), answer=status(200, on("PUT|POST", HERE.removesuffix("/conformance")), "201")),
    F("creation lacks metadata", ("data/create-fields", "containers/create-fields", "post/fields"), answer=fields(lacks("metadata"), on("PUT|POST"))),
    F("mimetype is octet-stream", ("data/default-mimetype", "queues/oldest"), answer=fields(lambda f: f.update(mimetype=["x"] if isinstance(f["mimetype"], list) else "application/octet-stream") if "mimetype" in f else None)),
    F("encoding is base64", ("data/default-encoding", "multipart/encoding", "http/create-encoding"), answer=fields(lambda f: f.update(valuetransferencoding="base64") if "valuetransferencoding" in f else None)),
    F("value is null", ("data/default-value",), answer=fields(lambda f: f.update(value=f["value"] or None) if "value" in f else None)),
    F("metadata of its own", ("data/default-metadata", "metadata/any"), answer=fields(lambda f: f["metadata"].update(subject="x") if "metadata" in f else None)),
    F("mimetype as it came", ("data/mimetype", "data/update-mimetype"), answer=lambda r, a: fields(lambda f: f.update(mimetype=f["mimetype"].title()) if isinstance(f.get("mimetype"), str) else None)(r, a)),
    F("objects lack valuerange", ("data/read", "data/valuerange", "data/order"), answer=fields(lacks("valuerange"))),
    F("percentComplete is a number", ("data/status", "containers/status"), answer=fields(says(percentComplete=100))),
    F("always Processing", ("data/status", "containers/status"), answer=fields(lambda f: f.update(completionStatus="complete") if "completionStatus" in f else None)),
    F("valuerange counts characters", ("data/valuerange",), answer=fields(lambda f: f.update(valuerange=f"0-{len(f['value']) - 1}") if "valuerange" in f and isinstance(f.get("value"), str) else None)),
    F("value first", ("data/order",), answer=fields(reordered("value"))),
    F("control characters lost", ("data/utf-8",), answer=body(lambda b: b.replace(b"\\u0001", b""), ANY)),
    F("bytes are UTF-8", ("data/base64",), request=mistyped),
    F("the encoding can't be changed", ("data/update-encoding",), answer=status(400, on("PUT", body="\"base64\""), "204")),
    F("bad base64 taken", ("data/base64-malformed",), answer=accepts(on("PUT", body="valuetransferencoding"), "400")),
    F("any encoding", ("data/encoding-unknown",), request=heard_as(on("PUT"), "rot13", "utf-8")),
    F("JSON values as text", ("data/json",), answer=fields(lambda f: f.update(value=json.dumps(f["value"])) if isinstance(f.get("value"), dict) else None), version="2.0"),
    F("any JSON value", ("data/json-malformed",), answer=accepts(on("PUT", body='"json"'), "400"), version="2.0"),
    F("one source wins", ("data/two-sources", "containers/two-sources"), answer=accepts(on("PUT", body='"copy"'), "400")),
    F("other fields dropped", ("data/other-fields",), request=forgets("conformance_field")),
    F("size in characters", ("data/size",), answer=fields(item("cdmi_size", "4"))),
    F("updates are 200", ("data/update", "containers/update", "data/put-again", "exports/add"), answer=status(200, on("PUT"), "204")),
    F("updates are lost", ("data/update", "containers/update", "data/update-mimetype", "data/put-again", "metadata/replace", "metadata/set-item", "metadata/add-item", "metadata/remove-item", "metadata/several-items", "metadata/unnamed-item", "access/set", "snapshots/create", "snapshots/again", "snapshots/restore", "exports/change", "times/modified", "copies/onto"), prepare=harmless("update", Answer(204))),
    F("update forgets the rest", ("data/update-keeps", "data/update-mimetype", "metadata/value-stays"), prepare=swap("fill", lambda healthy: lambda asked, node, sent: (setattr(node, "mimetype", "text/plain"), setattr(node, "octets", b""), healthy(asked, node, sent))[2])),
    F("half an update", ("data/update-atomic",), prepare=swap("update", lambda healthy: lambda asked, node: (setattr(node, "mimetype", "text/half"), healthy(asked, node))[1])),
    F("values torn", ("data/atomic",), answer=body(lambda b: b.replace(b"a" * 10_000, b"b" * 10_000, 1), on("GET"))),
    F("deletion is 200", ("data/delete", "containers/delete", "http/delete", "http/container-delete", "references/delete", "queues/delete"), answer=status(200, on("DELETE"), "204")),
    F("deletions are lost", ("data/delete", "containers/delete", "http/delete", "http/container-delete", "data/delete-unlists", "containers/delete-ids", "references/delete", "snapshots/delete", "snapshots/delete-source", "queues/delete"), prepare=harmless("delete", Answer(204))),
    F("deletions of nothing are 204", ("data/delete-missing", "containers/delete-missing", "names/not-found-http"), answer=status(204, ANY, "404")),
    # ranges
    F("ranges not heard", ("ranges/read", "ranges/read-inside-character", "ranges/valuerange", "ranges/clipped", "ranges/malformed", "ranges/gap-read"), request=heard_as(on("GET"), r"value:.*", "value")),
    F("ranges end before their end", ("ranges/read", "ranges/read-inside-character", "ranges/gap-read", "ranges/clipped"), prepare=swap("selected", lambda healthy: lambda asked, node, f: (found := healthy(asked, node, f), asked.argument("value") and found.update(value=found["value"][:-4]))[0])),
    F("valuerange of the whole", ("ranges/valuerange", "ranges/clipped"), answer=fields(says(valuerange="0-9"))),
    F("ranges of any form", ("ranges/malformed",), answer=status(200, on("GET", "value:"), "400")),
    F("parts take the whole's place", ("ranges/write", "ranges/write-longer", "ranges/gap", "http/content-range", "http/content-range-unknown-size", "multipart/update", "partial/continue"), prepare=swap("write_range", lambda healthy: lambda node, first, octets: setattr(node, "octets", octets))),
    F("gaps are closed", ("ranges/gap", "ranges/gap-size", "ranges/gap-read", "ranges/gap-valuerange"), prepare=swap("write_range", lambda healthy: lambda node, first, octets: healthy(node, min(first, len(node.octets)), octets))),
    F("parts leave the encoding", ("ranges/write-encoding",), answer=fields(says(valuetransferencoding="utf-8"))),
    F("parts of any form", ("ranges/write-not-base64",), answer=status(204, on("PUT", "value:"), "400")),
    F("gaps don't count", ("ranges/gap-size",), answer=fields(item("cdmi_size", "13"))),
    F("valuerange of nothing", ("ranges/gap-valuerange",), answer=fields(says(valuerange="0-0"))),
    # http
    F("bytes lost by HTTP", ("http/create", "http/read", "multipart/create", "ids/access-http"), answer=body(lambda b: b[:-1], plain("GET"))),
    F("plain creation is 200", ("http/create", "http/container", "http/post", "names/http-slash-decides"), answer=status(200, plain("PUT|POST"), "201")),
    F("Content-Type forgotten", ("http/create-type", "http/update"), request=lambda r: deaf("content-type")(r) if plain("PUT")(r) else r),
    F("text without a type", ("http/create-no-type",), answer=fields(says(mimetype="text/plain"))),
    F("charset not heard", ("http/create-encoding", "multipart/encoding"), request=heard_as(on("PUT"), ";charset=utf-8", "")),
    F("always octet-stream", ("http/read-type",), answer=lambda r, a: header("Content-Type", "application/octet-stream", plain("GET"))(r, a)),
    F("no HEAD", ("http/head",), answer=status(405, on("HEAD"))),
    F("no Range", ("http/range", "http/range-open", "http/range-suffix", "http/range-clipped", "http/range-unsatisfiable"), request=deaf("range")),
    F("206 is 200", ("http/range", "http/range-open", "http/range-suffix", "http/range-clipped"), answer=status(200, ANY, "206")),
    F("no Content-Range", ("http/range", "http/range-clipped"), answer=header("Content-Range", None, ANY)),
    F("bad Range is 500", ("http/range-malformed",), answer=status(500, on(header="range: bytes=5-2"))),
    F("plain updates are lost", ("http/update", "http/content-range", "http/content-range-unknown-size"), prepare=harmless("update_http", Answer(204))),
    F("plain updates are 200", ("http/update-status",), answer=status(200, plain("PUT"), "204")),
    F("plain updates replace the object", ("http/update-keeps",), prepare=swap("update_http", lambda healthy: lambda asked, node: (node.metadata.clear(), healthy(asked, node))[1])),
    F("Content-Range not heard", ("http/content-range", "http/content-range-unknown-size", "http/content-range-malformed"), request=deaf("content-range")),
    F("no '*' in Content-Range", ("http/content-range-unknown-size",), answer=status(400, on(header=r"/\*"))),
    F("no PATCH for parts", ("http/content-range",), answer=status(405, on("PATCH", header="content-range")), version="2.0"),
    F("Location is a path", ("http/post", "post/create", "post/two"), answer=lambda r, a: header("Location", "/" + a.header("location").split("/", 3)[-1], ANY, "201")(r, a) if a.header("location") else a),
    # partial
    F("X-CDMI-Partial not heard", ("partial/create", "partial/no-value", "partial/http", "partial/update", "partial/continue"), request=deaf("x-cdmi-partial")),
    F("values before their time", ("partial/no-value",), answer=fields(lambda f: f.update(value="x") if f.get("completionStatus") == "Processing" else None)),
    F("never complete", ("partial/complete", "partial/continue", "partial/http"), answer=fields(lambda f: f.update(completionStatus="Processing") if "mimetype" in f else None)),
    F("plain PUT is always whole", ("partial/http",), request=deaf("x-cdmi-partial", plain())),
    F("what is complete stays so", ("partial/update",), request=deaf("x-cdmi-partial", on("PUT", body='"x"'))),
    # multipart
    F("no multipart", ("multipart/create", "multipart/type", "multipart/encoding", "multipart/append", "multipart/update"), answer=status(400, on("PUT", header="multipart"))),
    F("multipart forgets fields", ("multipart/create",), request=heard_as(on("PUT", header="multipart"), '"metadata"', '"nothing"')),
    F("multipart is text", ("multipart/type",), answer=fields(says(mimetype="text/plain"))),
    F("the last part wins", ("multipart/append",), prepare=swap("write_range", lambda healthy: lambda node, first, octets: setattr(node, "octets", octets))),
    F("never answered in parts", ("multipart/read",), request=heard_as(on("GET"), "multipart/mixed", "application/cdmi-object")),
    F("value in the fields too", ("multipart/read",), answer=body(lambda b: b.replace(b'{"objectType"', b'{"value": "x", "objectType"', 1), on("GET", header="multipart"))),
    F("parts of any form taken", ("multipart/malformed",), answer=accepts(on("PUT", header="multipart"), "400")),
    # post
    F("POST elsewhere", ("post/create", "http/post"), answer=lambda r, a: header("Location", a.header("location") + "x", ANY, "201")(r, a) if a.header("location") else a),
    F("POST unlisted", ("post/child",), answer=fields(lambda f: f.update(children=[]) if "children" in f else None)),
    F("one object for all POSTs", ("post/two",), answer=header("Location", "http://127.0.0.1/x", on("POST"))),
    # containers
    F("containers lack completionStatus", ("containers/read", "containers/create-fields", "containers/status"), answer=fields(lacks("completionStatus"))),
    F("containers never empty", ("containers/empty", "containers/children", "containers/grandchildren", "names/container-name", "snapshots/no-snapshots-inside"), answer=fields(lambda f: f["children"].append("conformance.txt") if "children" in f else None)),
    F("all below listed", ("containers/grandchildren",), prepare=swap("listing", lambda healthy: lambda node: {**healthy(node), "children": [one.name for one in node.below()]})),
    F("one child too few", ("containers/range", "containers/range-clipped"), answer=fields(lambda f: f["children"].pop() if f.get("children") else None, on(target="children:"))),
    F("prefix not heard", ("containers/metadata-prefix", "metadata/read-prefix"), request=heard_as(on("GET"), "metadata:.*", "metadata")),
    F("children lost by updates", ("containers/update-keeps-children",), prepare=swap("update", lambda healthy: lambda asked, node: (node.children.clear(), healthy(asked, node))[1])),
    F("no nesting", ("containers/nested", "containers/delete", "containers/grandchildren"), answer=status(400, on("PUT", r"conformance-\w+/conformance-\w+-\d+/.+/$"))),
    F("only empty containers can be deleted", ("containers/delete", "http/container-delete", "containers/delete-ids"), prepare=swap("delete", lambda healthy: lambda asked, node: healthy(asked, node) if not node.children else refuse(409))),
    F("children live on by ID", ("containers/delete-ids",), prepare=harmless("unregister")),
    F("any metadata", ("containers/wrong-update",), answer=status(204, on("PUT"), "400")),
    # metadata
    F("strings lost", ("metadata/any",), answer=fields(lambda f: f["metadata"].pop("empty", None) if "metadata" in f else None)),
    F("metadata flattened", ("metadata/structured",), answer=fields(lambda f: f["metadata"].update({k: str(v) for k, v in f["metadata"].items() if k != "cdmi_acl"}) if "metadata" in f else None)),
    F("users' cdmi_ items", ("metadata/prefix",), prepare=swap("shown_metadata", lambda healthy: lambda node: {**healthy(node), "cdmi_conformance": "x"}), request=heard_as(on("PUT"), "cdmi_conformance", "conformance")),
    F("no owner", ("metadata/owner",), answer=fields(lambda f: f["metadata"].pop("cdmi_owner", None) if "metadata" in f else None)),
    F("owner comes late", ("metadata/owner-at-once",), answer=fields(lambda f: f["metadata"].pop("cdmi_owner", None), on("PUT"))),
    F("sizes are numbers", ("metadata/strings",), answer=fields(item("cdmi_size", 5))),
    F("replacing adds", ("metadata/replace", "containers/update"), prepare=swap("set_metadata", lambda healthy: lambda node, sent, items: healthy(node, {**node.users(), **sent}, items))),
    F("replacing takes the system's", ("metadata/replace-keeps-system",), answer=fields(lambda f: f["metadata"].pop("cdmi_owner") if f.get("metadata", {}).get("colour") else None)),
    F("items not heard", ("metadata/set-item", "metadata/add-item", "metadata/remove-item", "metadata/several-items"), request=lambda r: replace(r, target=r.target.partition("?")[0]) if r.method == "PUT" else r),
    F("unnamed items set too", ("metadata/unnamed-item",), prepare=swap("set_metadata", lambda healthy: lambda node, sent, items: healthy(node, sent, items and [*items, *sent]))),
    F("items of 2.0 not heard", ("metadata/set-item", "metadata/remove-item"), request=lambda r: replace(r, target=r.target.partition("?")[0]) if r.method == "PATCH" else r, version="2.0"),
    F("size set by clients", ("metadata/size-is-computed",), prepare=swap("shown_metadata", lambda healthy: lambda node: {**healthy(node), "cdmi_size": "9999"} if node.changes else healthy(node))),
    F("provided set by clients", ("metadata/provided-is-read-only",), prepare=swap("shown_metadata", lambda healthy: lambda node: {**healthy(node), "cdmi_data_redundancy_provided": str(node.changes)})),
    F("changes not counted", ("metadata/mcount",), answer=fields(item("cdmi_mcount", "0"))),
    F("no limits", ("metadata/max-items", "metadata/max-size", "metadata/max-total-size"), answer=accepts(on("PUT", body="metadata"), "400")),
    # times
    F("times without fraction", ("times/format",), answer=body(lambda b: re.sub(rb"\.\d{6}Z", b"Z", b), ANY)),
    F("times with an offset", ("times/format",), answer=body(lambda b: re.sub(rb"(\.\d{6})Z", rb"\1+00:00", b), ANY)),
    F("new objects were changed", ("times/new",), answer=fields(item("cdmi_ctime", "2001-01-01T00:00:00.000000Z"))),
    F("created by updates", ("times/modified", "times/not-for-clients"), prepare=swap("touch", lambda healthy: lambda node: (healthy(node), setattr(node, "created", node.modified))[0])),
    F("read is modified", ("times/read-modifies-nothing",), prepare=swap("get", lambda healthy: lambda asked, node: (setattr(node, "modified", self_now()), healthy(asked, node))[1])),
    F("containers change with their children", ("times/child",), prepare=swap("touch", lambda healthy: lambda node: (healthy(node), node.parent and healthy(node.parent))[0])),
    # references
    F("references are 301", ("references/redirect", "references/redirect-http", "references/update", "references/elsewhere", "references/container"), answer=status(301, ANY, "302")),
    F("references lead to paths", ("references/redirect", "references/redirect-http", "references/update", "references/elsewhere"), answer=header("Location", "/x", ANY, "302")),
    F("updates follow references", ("references/update",), answer=status(204, on("PUT"), "302")),
    F("references listed as objects", ("references/listed",), answer=body(lambda b: b.replace(b"?", b""), ANY)),
    F("references inside only", ("references/elsewhere",), answer=status(400, on(body="elsewhere"))),
    F("targets go with references", ("references/delete",), prepare=swap("delete", lambda healthy: lambda asked, node: (node.parent.children.clear(), Answer(204))[1])),
    F("references with anything", ("references/alone",), answer=accepts(on("PUT", body="reference"), "400")),
    # copies
    F("names in JSON are unescaped", ("names/sources",), prepare=swap("names_in", lambda healthy: lambda path: [unquote(one) for one in healthy(path)])),
    F("copies are empty", ("names/sources", "copies/object", "copies/independent", "copies/container", "copies/onto", "copies/selected-field"), request=lambda r: replace(r, body=re.sub(rb'"copy": "[^"]*"', b'"x": ""', r.body))),
    F("copies keep the ID", ("copies/new-id", "copies/container"), prepare=swap("copied", lambda healthy: lambda source, *a: (node := healthy(source, *a), setattr(node, "id", source.id))[0])),
    F("copies are the source", ("copies/independent",), answer=fields(lambda f: f.update(value="after") if f.get("value") == "before" else None)),
    F("metadata of copies not heard", ("copies/new-metadata",), request=lambda r: forgets("metadata")(r) if b'"copy"' in r.body else r),
    F("missing sources are 404", ("copies/missing", "copies/container-missing", "copies/move-missing"), answer=status(404, on("PUT", body='"(copy|move)"'), "400")),
    F("IDs change with copies onto", ("copies/onto",), prepare=swap("copy_onto", lambda healthy: lambda asked, node, uri: (setattr(node, "id", "0000A0A400100000FFFFFFFFFFFFFFFF"), healthy(asked, node, uri))[1])),
    F("copies are shallow", ("copies/container", "snapshots/image"), prepare=swap("copied", lambda healthy: lambda source, *a: (node := healthy(source, *a), node.children.clear())[0])),
    F("moves are copies", ("copies/move", "copies/move-container", "ids/move-to-name"), request=heard_as(on("PUT"), '"move"', '"copy"')),
    F("moves leave the source", ("copies/move", "copies/move-container"), answer=status(200, on("GET"), "404")),
    F("IDs lead to the old place", ("copies/move-by-id",), answer=fields(says(objectName="old.txt"), on("GET", "cdmi_objectid/."))),
    F("containers in themselves", ("copies/move-into-itself",), answer=accepts(on("PUT", "/inside/"), "400")),
    F("selection of copies not heard", ("copies/selected-field",), request=heard_as(on("PUT"), r"\.txt\?value", ".txt")),
    F("fields in both URIs", ("copies/fields-twice",), request=heard_as(on("PUT"), r"\.txt\?value", ".txt")),
    # serialization
    F("serialized without value", ("serialization/object", "serialization/restore", "serialization/value"), prepare=swap("serialized", lambda healthy: lambda node, asked: {k: v for k, v in healthy(node, asked).items() if k != "value"})),
    F("serialized without children", ("serialization/container", "serialization/restore-container"), prepare=swap("serialized", lambda healthy: lambda node, asked: {**healthy(node, asked), "children": []})),
    F("restored with new IDs", ("serialization/restore", "serialization/restore-container", "serialization/value"), prepare=swap("restored_from", lambda healthy: lambda found, name, parent: healthy({**found, "objectID": "0000A0A4001000000000000FFFFFFFFF"}, name, parent))),
    F("anything deserialized", ("serialization/malformed",), answer=accepts(on("PUT", body="deserializevalue"), "400")),
    # snapshots
    F("snapshots unlisted", ("snapshots/listed",), answer=fields(lambda f: f.update(snapshots=[]) if "snapshots" in f else None)),
    F("snapshots follow their source", ("snapshots/image",), answer=fields(lambda f: f.update(value="after") if f.get("value") == "before" else None, on(target="cdmi_snapshots"))),
    F("snapshots in snapshots", ("snapshots/no-snapshots-inside",), answer=fields(lambda f: f["children"].append("cdmi_snapshots/") if "children" in f else None, on(target="cdmi_snapshots"))),
    F("the first snapshot stays", ("snapshots/again",), prepare=swap("take_snapshot", lambda healthy: lambda node, name: Answer(204) if name in node.snapshots else healthy(node, name))),
    F("restoring does nothing", ("snapshots/restore",), prepare=harmless("copy_onto", Answer(204))),
    F("snapshots live on", ("snapshots/delete", "snapshots/delete-source"), answer=status(200, on("GET", "cdmi_snapshots"), "404")),
    # versioning
    F("no current version", ("versioning/enabled", "versioning/current"), prepare=swap("shown_versions", lambda healthy: lambda node: {k: v for k, v in healthy(node).items() if k != "cdmi_version_current"})),
    F("versions of something else", ("versioning/current", "versioning/update"), answer=fields(says(value="x"), on("GET", "cdmi_objectid/."))),
    F("updates make no versions", ("versioning/update", "versioning/parent", "versioning/level-user", "versioning/level-mimetype", "versioning/restore", "versioning/notified"), prepare=swap("is_due", lambda healthy: lambda node, **named: not node.versions and healthy(node, **named))),
    F("old versions change", ("versioning/update",), prepare=swap("keep_version", lambda healthy: lambda node, **named: ([setattr(one, "octets", node.octets) for one in node.versions], healthy(node, **named))[1])),
    F("versions are their own objects", ("versioning/object",), prepare=swap("shown_versions", lambda healthy: lambda node: {**healthy(node), "cdmi_version_object": f"/cdmi_objectid/{node.id}"} if healthy(node) else {})),
    F("versions without parents", ("versioning/parent",), prepare=swap("shown_versions", lambda healthy: lambda node: {k: v for k, v in healthy(node).items() if k != "cdmi_version_parent"})),
    F("versions without children", ("versioning/children", "versioning/children-of-current", "versioning/delete", "versioning/query"), prepare=swap("shown_versions", lambda healthy: lambda node: {k: v for k, v in healthy(node).items() if k != "cdmi_version_children"})),
    F("the oldest is the newest", ("versioning/oldest",), prepare=swap("shown_versions", lambda healthy: lambda node: {**healthy(node), "cdmi_version_oldest": [healthy(node)["cdmi_version_current"]]} if healthy(node) else {})),
    F("versions ask for versions", ("versioning/not-asked",), answer=fields(lambda f: f["metadata"].update(cdmi_versioning="value"), on("GET", "cdmi_objectid/."))),
    F("versions are data objects", ("versioning/capabilities",), answer=fields(lambda f: f.update(capabilitiesURI=f["capabilitiesURI"].replace("dataobject_version/", "")) if "capabilitiesURI" in f else None)),
    F("versions can be changed", ("versioning/unchangeable", "versioning/unchangeable-http", "versioning/copy-over", "versioning/move", "versioning/serialize-alone"), prepare=harmless("refuse_version")),
    F("every change makes a version", ("versioning/level-value",), prepare=swap("is_due", lambda healthy: lambda node, **named: healthy(node, is_new=True))),
    F("moves make no versions", ("versioning/level-all",), prepare=swap("is_due", lambda healthy: lambda node, **named: healthy(node, **named) and not (node.versions and node.versions[-1].octets == node.octets))),
    F("parts make versions", ("versioning/partial",), prepare=swap("is_due", lambda healthy: lambda node, **named: node.partial or healthy(node, **named))),
    F("copies onto objects do nothing", ("versioning/restore",), prepare=harmless("copy_onto", Answer(204))),
    F("versions are copied", ("versioning/copy",), prepare=swap("copied", lambda healthy: lambda source, *a: (node := healthy(source, *a), node.versions.extend(source.versions))[0])),
    F("copies of versions refused", ("versioning/copy-version",), answer=status(400, on("PUT", body='"copy": ".*cdmi_objectid'))),
    F("versions outlive their object", ("versioning/delete-object",), prepare=swap("unregister", lambda healthy: lambda node: node.versions.clear() or healthy(node))),
    F("deleted versions stay", ("versioning/delete", "versioning/delete-current"), **nothing(on("DELETE", "cdmi_objectid/."))),
    F("objects keep what a deleted version held", ("versioning/delete-current",), prepare=swap("remove_version", lambda healthy: lambda version, holder: holder.versions.remove(version))),
    F("the only version can go", ("versioning/delete-only",), answer=status(204, on("DELETE", "cdmi_objectid/."), "403")),
    F("versions end with versioning", ("versioning/disabled",), prepare=swap("is_due", lambda healthy: lambda node, **named: (node.metadata.get("cdmi_versioning") or node.versions.clear(), healthy(node, **named))[1])),
    F("begun again without a version", ("versioning/enabled-again",), prepare=swap("is_due", lambda healthy: lambda node, *, is_new: healthy(node, is_new=False))),
    F("versions aren't retained", ("versioning/retention",), answer=status(204, on("DELETE", "cdmi_objectid/."), "403")),
    F("versions have lists of their own", ("versioning/acl",), prepare=swap("permitted", lambda healthy: lambda node, mask: node.version_of is not None or healthy(node, mask))),
    F("all versions stay", ("versioning/count",), request=heard_as(on(WRITE), '"cdmi_versions_count": "1"', '"cdmi_versions_count": "9"')),
    F("versions told as changed", ("versioning/notified",), prepare=swap("tell", lambda healthy: lambda asked, node, event, outcome: healthy(asked, node, "cdmi_modify_complete" if node.version_of else event, outcome))),
    F("serialized without versions", ("versioning/serialize",), prepare=swap("serialized", lambda healthy: lambda node, asked: {**healthy(node, asked), "value": "second"} if node.versions else healthy(node, asked))),
    F("versions come back as others", ("versioning/deserialize",), prepare=swap("restore_versions", lambda healthy: lambda node, found: healthy(node, {**found, "value": [{**one, "objectID": one["objectID"][:-4] + "FFF" + one["objectID"][-1]} for one in found["value"]]}))),
    # access
    F("no ACL shown", ("access/filled-in", "access/form", "access/set", "access/inherited"), answer=fields(lambda f: f.get("metadata", {}).pop("cdmi_acl", None))),
    F("ACL numbers", ("access/form",), answer=fields(lambda f: [one.update(acemask=1) for one in f.get("metadata", {}).get("cdmi_acl", [])] and None)),
    F("ACLs not obeyed", ("access/write", "access/write-http", "access/write-nothing", "access/write-metadata", "access/read", "access/read-http", "access/read-rest", "access/read-metadata", "access/read-all-but-metadata", "access/names", "access/delete", "access/first-match"), prepare=harmless("permitted", True)),
    F("half an update before 403", ("access/write-nothing",), prepare=swap("permit", lambda healthy: lambda node, mask: (node.metadata.update(colour="half"), healthy(node, mask))[1])),
    F("the last entry decides", ("access/first-match",), prepare=swap("permitted", lambda healthy: lambda node, mask: bool(int(node.acl[-1]["acemask"], 16) & mask))),
    F("any ACL", ("access/malformed",), answer=status(204, on("PUT", body="cdmi_acl"), "400")),
    F("ACLs hidden as the metadata are", ("access/read-acl",), answer=status(403, on("GET", "metadata[:=]cdmi_acl"), "200")),
    F("ACLs by numbers only", ("access/names",), prepare=swap("number", lambda healthy: lambda given: given if given.startswith("0x") else healthy("refused"))),
    F("narrowed ACLs dropped", ("access/narrowed",), prepare=swap("checked_acl", lambda healthy: lambda acl: healthy(acl) if len(acl) > 1 else [])),
    F("NO_PROPAGATE propagates", ("access/no-propagate",), prepare=swap("inherited", lambda healthy: lambda parent: [dict(one) for one in parent.acl] if parent else healthy(parent))),
    F("ACLs not inherited", ("access/inherited",), prepare=swap("inherited", lambda healthy: lambda parent: healthy(None))),
    # queues
    F("queues lack queueValues", ("queues/create", "queues/empty", "queues/enqueue", "queues/dequeue-middle"), answer=fields(lacks("queueValues"))),
    F("queueValues of nothing", ("queues/empty",), answer=fields(lambda f: f.update(queueValues="0-0") if f.get("queueValues") == "" else None)),
    F("enqueuing is 201", ("queues/enqueue",), answer=status(201, on("POST", r"\.queue"))),
    F("last in, first out", ("queues/oldest", "queues/several"), prepare=swap("queue_fields", lambda healthy: lambda node, asked: (node.values.reverse(), healthy(node, asked), node.values.reverse())[1])),
    F("values one at a time", ("queues/several",), request=heard_as(on("GET"), "values:2", "values:1")),
    F("queues of text", ("queues/binary",), answer=fields(lambda f: f.update(value=["x"]) if isinstance(f.get("value"), list) else None)),
    F("taking out takes nothing", ("queues/dequeue", "queues/dequeue-several", "queues/dequeue-range"), prepare=harmless("dequeue", Answer(204))),
    F("from the middle", ("queues/dequeue-middle",), answer=status(204, on("DELETE", "values:"), "400")),
    F("unequal arrays", ("queues/unequal",), answer=status(204, on("POST"), "400")),
    F("queues are told nothing", ("feeds/notified", "feeds/changes"), prepare=harmless("tell")),
    F("told in another type", ("feeds/type",), answer=fields(lambda f: f.update(mimetype=["text/plain"]) if isinstance(f.get("mimetype"), list) else None)),
    F("told of everything", ("feeds/scope", "feeds/query", "feeds/expressions", "feeds/numbers", "feeds/alternatives"), prepare=harmless("is_about", True)),
    F("told of all events", ("feeds/events",), prepare=harmless("hears", True)),
    F("a status of its own", ("feeds/notification-status",), answer=fields(item("cdmi_notification_status", "Busy"))),
    F("scopes can change", ("feeds/notification-fixed", "feeds/query-fixed"), answer=status(204, on(WRITE, "specification"), "403")),
    F("types of queues stay", ("feeds/untyped",), **nothing(on("PUT", "metadata:cdmi_queue_type"))),
    F("parents by path only", ("feeds/parent-by-id",), prepare=harmless("spellings", {})),
    F("posted queues nowhere", ("queues/post",), answer=header("Location", None, on("POST"))),
    # domains
    F("domainURI without domains", ("domains/absent",), answer=fields(lambda f: f.update(domainURI="/cdmi_domains/"), on(target="conformance")), profile="bare"),
    F("domains unclaimed", ("domains/absent-tree",), answer=status(200, on("GET", "cdmi_domains"), "404"), profile="bare"),
    F("no domainURI", ("domains/uri",), answer=fields(lacks("domainURI"))),
    F("domains lack metadata", ("domains/read",), answer=fields(lacks("metadata"), on(target="cdmi_domains"))),
    F("summaries without a start", ("domains/summary",), answer=body(lambda b: b.replace(b"cdmi_summary_start", b"from"), ANY)),
    F("domains for everybody", ("domains/unclaimed-creation",), answer=accepts(on("PUT", "cdmi_domains"), "400")),
    # exports
    F("exports without portals", ("exports/iscsi",), prepare=swap("shown_exports", lambda healthy: lambda node, asked: {k: {n: x for n, x in v.items() if n != "portals"} for k, v in healthy(node, asked).items()})),
    F("targets without tag", ("exports/iscsi-identifier",), answer=body(lambda b: b.replace(b",t,0x0001", b""), ANY)),
    F("units are numbers", ("exports/iscsi-strings",), answer=body(lambda b: b.replace(b'"logical_unit_number": "0"', b'"logical_unit_number": 0'), ANY)),
    F("exports come late", ("exports/iscsi-at-once",), answer=fields(lacks("exports"), on("PUT"))),
    F("exports lost by updates", ("exports/keep",), prepare=swap("update", lambda healthy: lambda asked, node: (node.exports.clear(), healthy(asked, node))[1])),
    F("exports stay", ("exports/remove",), **nothing(on("PUT", body='"exports": {}'))),
    F("exports pile up", ("exports/remove", "exports/one-of-two"), prepare=swap("fill", lambda healthy: lambda asked, node, sent: (was := dict(node.exports), healthy(asked, node, sent), node.exports.update({**was, **node.exports})))),
    F("copies are exported", ("exports/not-copied", "exports/occi-not-copied"), prepare=swap("copied", lambda healthy: lambda source, *a: (node := healthy(source, *a), setattr(node, "exports", dict(source.exports)))[0])),
    F("any protocol, any initiator", ("exports/unknown", "exports/malformed", "exports/no-initiator", "exports/occi-malformed", "exports/occi-no-compute"), answer=accepts(on("PUT", body="exports"), "400")),
    F("OCCI exports by name", ("exports/occi",), answer=body(lambda b: re.sub(rb'"identifier": "0000', b'"identifier": "disk', b), ANY)),
    F("one compute", ("exports/occi-permissions",), answer=body(lambda b: b.replace(b'"permissions": []', b'"permissions": ""'), ANY)),
    F("exports without type", ("exports/iscsi-type", "exports/occi-type"), answer=fields(lambda f: [one.pop("type", None) for one in f.get("exports", {}).values()]), version="2.0"),
    F("units named as one likes", ("exports/iscsi-name",), answer=body(lambda b: b.replace(b'"0x6001', b'"unit'), ANY)),
    F("portals with iSCSI's own port", ("exports/iscsi-portals",), answer=body(lambda b: b.replace(b'"192.0.2.1"', b'"192.0.2.1:3260"'), ANY)),
    F("exports told with all else only", ("exports/selected", "exports/by-id"), answer=fields(lacks("exports"), on("GET", r"\?exports"))),
    F("exports by protocol are no query", ("exports/by-protocol",), answer=status(400, on("GET", "exports:"))),
    F("exports by whatever protocol", ("exports/other-protocol",), request=heard_as(on("GET", "exports:"), r"\?exports:.*", "?exports")),
    F("exports that nothing claims", ("exports/claimed",), prepare=lambda c: [c.claims["container"].pop(f"cdmi_export_container_{name}") for name in ("iscsi", "occi")], version="2.0"),
    F("targets named later", ("exports/iscsi-at-once",), answer=body(lambda b: re.sub(rb'"target_identifier": "[^"]*"', b'"target_identifier": ""', b), on("PUT"))),
    F("exports at the creation only", ("exports/add", "exports/done", "exports/change", "exports/again"), answer=status(400, on("PUT", body='^{"exports": {"Network/iSCSI'))),
    F("exports made later", ("exports/done",), answer=fields(says(completionStatus="Processing"), on("GET", HERE))),
    F("one initiator of many", ("exports/several",), answer=body(lambda b: b.replace(b', "iqn.2010-01.com.example:conformance2"', b""), ANY)),
    F("units numbered by clients", ("exports/chosen-by-server",), answer=body(lambda b: b.replace(b'"logical_unit_number": "0"', b'"logical_unit_number": "77"'), ANY)),
    F("exported containers are for ever", ("exports/delete",), answer=status(409, on("DELETE"), "204")),
    F("DELETE of what is exported forbidden", ("exports/delete",), answer=status(403, on("DELETE"), "409")),
    F("initiators by iqn only", ("exports/initiators",), answer=status(400, on("PATCH", body="eui.")), version="2.0"),
    F("any protocol in updates", ("exports/unknown-added",), answer=accepts(on("PUT", body="Conformance"), "400", 204)),
    F("one protocol at a time", ("exports/two-protocols",), prepare=swap("checked_exports", lambda healthy: lambda sent: dict(list(healthy(sent).items())[:1]))),
    F("no export to OCCI by updates", ("exports/occi-add",), answer=status(400, on("PUT", body='^{"exports": {"OCCI'))),
    F("OCCI exports of what is above", ("exports/occi", "exports/occi-identifier"), answer=fields(lambda f: [one.update(identifier=f["parentID"]) for one in f.get("exports", {}).values() if "identifier" in one])),
    F("exports of 1.x in 2.0", ("exports/unknown",), answer=accepts(on("PUT", body="exports"), "400"), version="2.0"),
)  # fmt: skip
"""One line a fault, so that the table can be read as one."""


def refuse(new: int) -> None:
    raise Refusal(new, "so the fault wants it")


def self_now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
