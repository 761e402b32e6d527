"""Metadata: the user's own, the storage system's, limits, and updates item by item."""

from __future__ import annotations

from typing import Any

from conformance.cdmi.fields import Fields
from conformance.cdmi.server import CHANGED, MADE, REFUSED, Server, Thing, check
from conformance.suite import Level, NotApplicable, expect, require

LARGEST_ITEMS = 5_000
LARGEST_BYTES = 1_000_000


def changeable(server: Server, **items: Any) -> Thing:
    made = server.new_object(metadata=items)
    server.needs("cdmi_modify_metadata", of=made.fields)
    return made


def users(metadata: Fields) -> Fields:
    return {name: value for name, value in metadata.items() if not name.startswith("cdmi_")}


def change(server: Server, made: Thing, metadata: Fields, *items: str) -> Fields:
    """Update and answer the user's metadata after it."""
    answer = server.update(made.url, "object", {"metadata": metadata}, *(f"metadata:{item}" for item in items))
    expect(answer, CHANGED, "an update of metadata")
    return users(server.metadata(made.url))


@check("metadata/any", "16.2", "16.5", "The user's metadata are strings of any name and text.")
def any_strings(server: Server) -> None:
    sent = {"colour": "red", "with space": "ż", "empty": "", "@at": 'quoted "text"', "": "no name"}
    del sent[""]
    found = users(server.new_object(metadata=sent).fields["metadata"])
    require(found == sent, f"the metadata came back as {found}, expected {sent}")


@check("metadata/structured", "16.2", "16.5", "The user's metadata may be any JSON.", Level.SHOULD)
def structured(server: Server) -> None:
    sent = {"list": ["a", "b"], "object": {"a": {"b": "c"}}, "number": 7}
    found = users(server.new_object(metadata=sent).fields["metadata"])
    require(found == sent, f"the metadata came back as {found}, expected {sent}")


@check("metadata/prefix", "16.2", "16.5", "A user's item can't start with cdmi_: it is refused, or not kept.")
def prefix(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    url = server.new_url(".txt")
    answer = server.put(url, "object", {"value": "x", "metadata": {"cdmi_conformance": "x"}})
    if answer.status in MADE:
        require("cdmi_conformance" not in server.metadata(url), "the item cdmi_conformance was kept", answer)
    else:
        expect(answer, {400}, "a user's item called cdmi_conformance")


@check("metadata/owner", "16.3", "16.2", "cdmi_owner is there.")
def owner(server: Server) -> None:
    for url, kind in ((server.home.url, "container"), (server.new_object().url, "object")):
        found = server.metadata(url, kind).get("cdmi_owner")
        require(isinstance(found, str) and found, f"cdmi_owner of a {kind} is {found!r}")


@check("metadata/owner-at-once", "16.3", "16.2", "Storage system metadata are in the answer to a creation.")
def owner_at_once(server: Server) -> None:
    made = server.new_object()
    found = {name for name in made.fields["metadata"] if name.startswith("cdmi_")}
    later = {name for name in server.metadata(made.url) if name.startswith("cdmi_")}
    require(later <= found | {"cdmi_atime"}, f"{sorted(later - found)} came only later")


@check("metadata/strings", "16.3", "16.2", "What the storage system says of itself are strings.")
def strings(server: Server) -> None:
    names = ("size", "ctime", "atime", "mtime", "acount", "mcount", "hash", "owner")
    for name, value in server.metadata(server.new_object().url).items():
        wrong = name.removeprefix("cdmi_") in names and not isinstance(value, str)
        require(not wrong, f"{name} is {value!r}, expected a string")


@check("metadata/replace", "16.6", "16.6", "An update without item names replaces all of the user's.")
def replace(server: Server) -> None:
    found = change(server, changeable(server, colour="red", shape="round"), {"colour": "blue"})
    require(found == {"colour": "blue"}, f"the metadata became {found}, expected colour alone")


@check("metadata/replace-keeps-system", "16.3, 16.6", "16.2, 16.6", "The storage system's own stay.")
def replace_keeps_system(server: Server) -> None:
    made = changeable(server)
    before = server.metadata(made.url)
    change(server, made, {"colour": "blue"})
    after = server.metadata(made.url)
    lost = [name for name in before if name not in after]
    require(not lost, f"an update took away {', '.join(lost)}")
    require(after.get("cdmi_owner") == before.get("cdmi_owner"), "an update changed cdmi_owner")


@check("metadata/set-item", "16.6", "16.6", "An item that the URI names is set; the others stay.")
def set_item(server: Server) -> None:
    found = change(server, changeable(server, colour="red", shape="round"), {"colour": "blue"}, "colour")
    require(found == {"colour": "blue", "shape": "round"}, f"the metadata became {found}")


@check("metadata/add-item", "16.6", "16.6", "A new item can be added so.")
def add_item(server: Server) -> None:
    found = change(server, changeable(server, colour="red"), {"shape": "round"}, "shape")
    require(found == {"colour": "red", "shape": "round"}, f"the metadata became {found}")


@check("metadata/remove-item", "16.6", "16.6", "An item that the URI names and the body lacks is removed.")
def remove_item(server: Server) -> None:
    found = change(server, changeable(server, colour="red", shape="round"), {}, "colour")
    require(found == {"shape": "round"}, f"the metadata became {found}")


@check("metadata/several-items", "16.6", "16.6", "Several items can be named.")
def several_items(server: Server) -> None:
    made = changeable(server, colour="red", shape="round", size="large")
    found = change(server, made, {"colour": "blue"}, "colour", "shape")
    require(found == {"colour": "blue", "size": "large"}, f"the metadata became {found}")


@check("metadata/unnamed-item", "16.6", "16.6", "Items in the body that the URI doesn't name are passed over.")
def unnamed_item(server: Server) -> None:
    found = change(server, changeable(server, colour="red"), {"colour": "blue", "shape": "round"}, "colour")
    require(found == {"colour": "blue"}, f"the metadata became {found}")


@check("metadata/read-prefix", "8.3.1", "8.4.1", "metadata:<prefix> answers the items whose names start so.")
def read_prefix(server: Server) -> None:
    made = server.new_object(metadata={"colour": "red", "colouring": "deep", "shape": "round"})
    found = server.look(made.url, "object", "metadata:colour")
    require(found == {"metadata": {"colour": "red", "colouring": "deep"}}, f"metadata:colour is answered {found}")


@check("metadata/value-stays", "8.4.4", "8.5.4", "An update of metadata leaves the value.")
def value_stays(server: Server) -> None:
    made = changeable(server, colour="red")
    change(server, made, {"colour": "blue"})
    require(server.look(made.url, "object")["value"] == "The quick brown fox", "the value is another")


@check("metadata/size-is-computed", "16.3", "16.2", "cdmi_size can't be set.")
def size_is_computed(server: Server) -> None:
    made = changeable(server)
    before = server.metadata(made.url).get("cdmi_size")
    if before is None:
        raise NotApplicable("the server has no cdmi_size")
    answer = server.update(made.url, "object", {"metadata": {"cdmi_size": "9999"}}, "metadata:cdmi_size")
    expect(answer, CHANGED, "an update of cdmi_size, which is ignored")
    found = server.metadata(made.url).get("cdmi_size")
    require(found == before, f"cdmi_size became {found!r}")


@check("metadata/provided-is-read-only", "16.5", "16.4", "What is provided can't be set; the attempt is ignored.")
def provided(server: Server) -> None:
    made = changeable(server)
    name = "cdmi_data_redundancy_provided"
    before = server.metadata(made.url).get(name)
    answer = server.update(made.url, "object", {"metadata": {name: "77"}}, f"metadata:{name}")
    expect(answer, CHANGED, f"an update of {name}, which is ignored")
    require(server.metadata(made.url).get(name) == before, f"{name} was set by a client")


@check("metadata/mcount", "16.3", "16.2", "cdmi_mcount starts at 0 and counts changes.")
def mcount(server: Server) -> None:
    made = changeable(server)
    first = made.fields["metadata"].get("cdmi_mcount")
    if first is None:
        raise NotApplicable("the server has no cdmi_mcount")
    require(first == "0", f"cdmi_mcount of a new object is {first!r}, expected '0'")
    change(server, made, {"colour": "blue"})
    later = server.metadata(made.url)["cdmi_mcount"]
    require(later == "1", f"cdmi_mcount after one change is {later!r}, expected '1'")


def limit(server: Server, name: str, largest: int) -> int:
    if name not in server.system:
        raise NotApplicable(f"the server has no {name}")
    found = int(server.system[name])
    if found > largest:
        raise NotApplicable(f"{name} is {found}, more than the suite sends")
    return found


def create_with(server: Server, metadata: Fields) -> int:
    server.needs("cdmi_create_dataobject")
    return server.put(server.new_url(".txt"), "object", {"value": "x", "metadata": metadata}).status


@check("metadata/max-items", "16.2", "16.5", "As many items as cdmi_metadata_maxitems, and no more.")
def max_items(server: Server) -> None:
    most = limit(server, "cdmi_metadata_maxitems", LARGEST_ITEMS)
    items = {f"i{number}": "" for number in range(most + 1)}
    status = create_with(server, items)
    require(status in REFUSED, f"{most + 1} items were answered {status}, the limit is {most}")
    items.popitem()
    require(create_with(server, items) in MADE, f"{most} items were refused, the limit is {most}")


@check("metadata/max-size", "16.2", "16.5", "No item larger than cdmi_metadata_maxsize.")
def max_size(server: Server) -> None:
    most = limit(server, "cdmi_metadata_maxsize", LARGEST_BYTES)
    status = create_with(server, {"large": "x" * (most + 1)})
    require(status in REFUSED, f"an item of {most + 1} bytes was answered {status}, the limit is {most}")


@check("metadata/max-total-size", "16.2", "16.5", "Not more in all than cdmi_metadata_maxtotalsize.")
def max_total_size(server: Server) -> None:
    most = limit(server, "cdmi_metadata_maxtotalsize", LARGEST_BYTES)
    each = min(most, int(server.system.get("cdmi_metadata_maxsize", most)) // 2) or 1
    status = create_with(server, {f"i{number}": "x" * each for number in range(most // each + 1)})
    require(status in REFUSED, f"more than {most} bytes were answered {status}")
