"""Access control lists: read, written, and obeyed; with one user, who takes rights from himself."""

from __future__ import annotations

from typing import Any

from conformance.cdmi.server import CHANGED, Server, Thing, check
from conformance.suite import Level, NotApplicable, expect, require

ALL = 0x1F07FF
READ_OBJECT, WRITE_OBJECT, READ_METADATA, WRITE_METADATA, DELETE = 0x1, 0x2, 0x8, 0x10, 0x10000


def entry(who: str, mask: int, kind: str = "0x0", flags: str = "0x0") -> dict[str, Any]:
    return {"acetype": kind, "identifier": who, "aceflags": flags, "acemask": f"{mask:#010x}"}


def without(mask: int) -> list[dict[str, Any]]:
    return [entry("OWNER@", ALL & ~mask)]


def guarded(server: Server) -> Thing:
    server.needs_system("cdmi_security_access_control")
    made = server.new_object("guarded", metadata={"colour": "red"})
    server.needs("cdmi_acl", "cdmi_modify_metadata", of=made.fields)
    return made


def guard(server: Server, made: Thing, acl: list[dict[str, Any]]) -> None:
    answer = server.update(made.url, "object", {"metadata": {"cdmi_acl": acl}}, "metadata:cdmi_acl")
    expect(answer, CHANGED, "a new cdmi_acl")


@check("access/filled-in", "16.3, 16.4", "16.2, 16.3", "Where none is given the system fills in cdmi_acl.")
def filled_in(server: Server) -> None:
    found = server.metadata(guarded(server).url).get("cdmi_acl")
    require(isinstance(found, list) and found, f"cdmi_acl is {found!r}, expected a list with entries")


@check("access/form", "16.1.9", "17.2.10", "Entries have acetype, identifier, aceflags and acemask, as strings.")
def form(server: Server) -> None:
    names = {"acetype", "identifier", "aceflags", "acemask"}
    for one in server.metadata(guarded(server).url)["cdmi_acl"]:
        require(set(one) >= names, f"the entry {one} lacks {sorted(names - set(one))}")
        require(all(isinstance(one[name], str) for name in names), f"the entry {one} holds what is no string")


@check("access/set", "16.1.9", "17.2.10", "A list that is set is the one that is read.")
def set_acl(server: Server) -> None:
    made = guarded(server)
    guard(server, made, [entry("OWNER@", ALL), entry("EVERYONE@", READ_OBJECT)])
    found = identifiers(server, made)
    require(found == ["OWNER@", "EVERYONE@"], f"the entries are for {found}, expected OWNER@ and EVERYONE@")


@check("access/write", "16.1.5", "17.2.6", "Without WRITE_OBJECT a new value is answered 403.")
def write(server: Server) -> None:
    made = guarded(server)
    guard(server, made, without(WRITE_OBJECT))
    expect(server.update(made.url, "object", {"value": "changed"}), {403}, "a new value without WRITE_OBJECT")


@check("access/write-http", "16.1.5, 6.4.7", "17.2.6, 6.4.7", "So it is for plain HTTP.")
def write_http(server: Server) -> None:
    made = guarded(server)
    guard(server, made, without(WRITE_OBJECT))
    answer = server.http("PUT", made.url, body=b"changed", content_type="text/plain")
    expect(answer, {403}, "a plain PUT without WRITE_OBJECT")


@check("access/write-nothing", "8.1", "8.2.5", "If one field can't be written none is.")
def write_nothing(server: Server) -> None:
    made = guarded(server)
    guard(server, made, without(WRITE_OBJECT))
    answer = server.update(made.url, "object", {"metadata": {"colour": "blue"}, "value": "changed"})
    expect(answer, {403}, "value and metadata together without WRITE_OBJECT")
    require(server.metadata(made.url).get("colour") == "red", "the metadata were changed all the same")


@check("access/write-metadata", "16.1.5", "17.2.6", "Without WRITE_METADATA new metadata are answered 403.")
def write_metadata(server: Server) -> None:
    made = guarded(server)
    guard(server, made, without(WRITE_METADATA))
    answer = server.update(made.url, "object", {"metadata": {"colour": "blue"}}, "metadata:colour")
    expect(answer, {403}, "new metadata without WRITE_METADATA")


@check("access/read", "16.1.5, 8.1", "17.2.6, 8.2.5", "Without READ_OBJECT the value alone is answered 403.")
def read(server: Server) -> None:
    made = guarded(server)
    guard(server, made, without(READ_OBJECT))
    expect(server.get(made.url, "object", "value"), {403}, "the value without READ_OBJECT")


@check("access/read-http", "16.1.5, 6.3.7", "17.2.6, 6.3.7", "So it is for plain HTTP.")
def read_http(server: Server) -> None:
    made = guarded(server)
    guard(server, made, without(READ_OBJECT))
    expect(server.http("GET", made.url), {403}, "a plain GET without READ_OBJECT")


@check("access/read-rest", "8.1", "8.2.5", "Of all fields only those that may be read are answered.")
def read_rest(server: Server) -> None:
    made = guarded(server)
    guard(server, made, without(READ_OBJECT))
    found = server.look(made.url, "object")
    require("value" not in found, "the value is answered without READ_OBJECT")
    require("metadata" in found and "objectID" in found, "what may be read is missing")


@check("access/read-metadata", "16.1.5, 8.1", "17.2.6, 8.2.5", "So it is for metadata without READ_METADATA.")
def read_metadata(server: Server) -> None:
    made = guarded(server)
    guard(server, made, without(READ_METADATA))
    for asked in ("metadata", "metadata:colour"):
        expect(server.get(made.url, "object", asked), {403}, f"{asked} without READ_METADATA")


@check("access/read-all-but-metadata", "16.1.5, 8.1", "17.2.6, 8.2.5", "Of all fields the metadata are left out then.")
def read_all_but_metadata(server: Server) -> None:
    made = guarded(server)
    guard(server, made, without(READ_METADATA))
    found = server.look(made.url, "object")
    require("metadata" not in found, "the metadata are answered without READ_METADATA")
    require("value" in found and "objectID" in found, "what may be read is missing")


@check("access/read-acl", "16.1.5", "17.2.6", "With READ_ACL cdmi_acl alone is answered without READ_METADATA.")
def read_acl(server: Server) -> None:
    made = guarded(server)
    guard(server, made, without(READ_METADATA))
    found = server.look(made.url, "object", "metadata:cdmi_acl").get("metadata", {})
    require(found.keys() == {"cdmi_acl"}, f"the metadata answered are {sorted(found)}, expected cdmi_acl")


@check("access/delete", "16.1.5", "17.2.6", "Without DELETE it is answered 403.")
def delete(server: Server) -> None:
    made = guarded(server)
    guard(server, made, without(DELETE))
    answer = server.delete(made.url)
    guard_again(server, made, answer.status)
    expect(answer, {403}, "DELETE without the right")


def guard_again(server: Server, made: Thing, status: int) -> None:
    """Give the right back, so that the object can be removed."""
    if status == 403:
        guard(server, made, [entry("OWNER@", ALL)])


@check("access/first-match", "16.1.6", "17.2.7", "The first entry that matches decides.", Level.SHOULD)
def first_match(server: Server) -> None:
    made = guarded(server)
    guard(server, made, [entry("OWNER@", WRITE_OBJECT, "0x1"), entry("OWNER@", ALL)])
    expect(server.update(made.url, "object", {"value": "x"}), {403}, "a new value that an earlier entry denies")


@check("access/malformed", "16.1.9, 8.4.7", "17.2.10, 8.5.7", "A list that can't be read is answered 400.")
def malformed(server: Server) -> None:
    made = guarded(server)
    wrong: list[Any] = ["all", [{"identifier": "OWNER@"}], [{**entry("OWNER@", ALL), "acemask": "everything"}]]
    for acl in wrong:
        answer = server.update(made.url, "object", {"metadata": {"cdmi_acl": acl}}, "metadata:cdmi_acl")
        expect(answer, {400}, f"cdmi_acl {acl}")


@check("access/names", "16.1.1", "17.2.2", "Types, flags and masks may be the string forms of the tables.")
def names(server: Server) -> None:
    made = guarded(server)
    rights = [("DENY", "WRITE_OBJECT, APPEND_DATA"), ("ALLOW", "ALL_PERMS")]
    acl = [{"acetype": kind, "identifier": "OWNER@", "aceflags": "NO_FLAGS", "acemask": mask} for kind, mask in rights]
    guard(server, made, acl)
    expect(server.update(made.url, "object", {"value": "x"}), {403}, "a new value that is denied by names")


@check(
    "access/inherited",
    "9.1, 16.1.6",
    "9.2.4, 17.2.7",
    "What has no list of its own obeys its container's.",
    Level.SHOULD,
)
def inherited(server: Server) -> None:
    found = identifiers(server, child_of_inheriting(server))
    require("EVERYONE@" in found, f"a new child's entries are for {found}, expected EVERYONE@ too")


def child_of_inheriting(server: Server, flags: str = "0x3") -> Thing:
    """An object in a container with entries for OWNER@, which it inherits, and for EVERYONE@ with these flags."""
    server.needs_system("cdmi_security_access_control")
    outer = server.new_container()
    if not server.claims(outer.fields, "cdmi_acl"):
        raise NotApplicable("the server doesn't claim cdmi_acl")
    acl = [entry("OWNER@", ALL, flags="0x3"), entry("EVERYONE@", READ_OBJECT, flags=flags)]
    answer = server.update(outer.url, "container", {"metadata": {"cdmi_acl": acl}}, "metadata:cdmi_acl")
    expect(answer, CHANGED, "a new cdmi_acl of a container")
    return server.new_object(parent=outer)


def identifiers(server: Server, made: Thing) -> list[str]:
    return [one["identifier"] for one in server.metadata(made.url)["cdmi_acl"]]


@check(
    "access/narrowed", "16.1.1, 16.1.9", "17.2.2, 17.2.10", "An inherited list that is narrowed and sent back is set."
)
def narrowed(server: Server) -> None:
    made = child_of_inheriting(server)
    shown = server.metadata(made.url)["cdmi_acl"]
    guard(server, made, [one for one in shown if one["identifier"] == "OWNER@"])
    found = identifiers(server, made)
    require(found == ["OWNER@"], f"the entries are for {found}, expected OWNER@ alone")


@check("access/no-propagate", "16.1.4", "17.2.5", "An entry with NO_PROPAGATE is not inherited.", Level.SHOULD)
def no_propagate(server: Server) -> None:
    found = identifiers(server, child_of_inheriting(server, flags="0x7"))
    require(found == ["OWNER@"], f"a new child's entries are for {found}, expected OWNER@ alone")
