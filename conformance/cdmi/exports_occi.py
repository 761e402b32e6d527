"""Exports for the computes of OCCI, and several at once. What computes do with them is in the suite interop."""

from __future__ import annotations

from conformance.cdmi.protocols import (
    FIRST,
    ISCSI,
    OCCI,
    SIZE,
    an_exported,
    body,
    entries,
    expect_refused,
    exported,
    field,
    place,
    shown,
    unexported,
)
from conformance.cdmi.server import CHANGED, MADE, Server, Thing, check
from conformance.suite import Level, expect, require


@check("exports/occi", "13.6", "13.7", "An export to OCCI is identified by the container's object ID.")
def occi(server: Server) -> None:
    made = an_exported(server, OCCI)
    found = shown(server, made, OCCI)
    require(found.get("identifier") == made.fields["objectID"], f"identifier is {found.get('identifier')!r}")


@check("exports/occi-permissions", "13.6", "13.7", "Its permissions are a list of the URIs of computes.")
def permissions(server: Server) -> None:
    found = shown(server, an_exported(server, OCCI), OCCI)
    require(found.get("permissions") == [], f"permissions is {found.get('permissions')!r}, expected an empty list")


@check("exports/occi-type", "", "13.1, 13.7", "It may have a name of the client's, and the type OCCI/iSCSI.")
def type_of_2_0(server: Server) -> None:
    where = place(server, OCCI)
    sent = {"metadata": dict(SIZE), "exports": {"mine": {"type": OCCI.type, "permissions": []}}}
    made = server.make("container", sent, server.new_url("/", where))
    found = server.look(made.url, "container").get("exports", {})
    require(found.get("mine", {}).get("type") == OCCI.type, f"exports is {found}, expected one called mine")


@check("exports/occi-add", "9.4.5, 13.1", "9.5.5, 13.7", "An update exports a container to OCCI.")
def add(server: Server) -> None:
    made = unexported(server, OCCI)
    expect(server.update(made.url, "container", {"exports": field(server, OCCI, [])}), CHANGED, "a new export")
    require(shown(server, made, OCCI).get("identifier") == made.fields["objectID"], "the identifier is another")


@check("exports/occi-identifier", "13.6", "13.7", "The identifier of something else is refused or isn't taken.")
def identifier(server: Server) -> None:
    url = server.new_url("/", place(server, OCCI))
    other = server.home.fields["objectID"]
    answer = server.put(url, "container", body(server, OCCI, [], identifier=other))
    expect(answer, {*MADE, 400}, "an export with the identifier of another container")
    if answer.status != 400:
        found = shown(server, Thing(url, {}), OCCI)
        require(found["identifier"] != other, "the identifier is another container's")


@check("exports/occi-malformed", "9.2.8, 13.6", "9.3.8, 13.7", "Computes that are no list of URIs are answered 400.")
def malformed(server: Server) -> None:
    expect_refused(server, OCCI, (7, [7], {"compute": "x"}))


@check(
    "exports/occi-no-compute", "9.2.8, 13.6", "9.3.8, 13.7", "What isn't a compute's URI is answered 400.", Level.SHOULD
)
def no_compute(server: Server) -> None:
    expect_refused(server, OCCI, ([""], ["no compute"], [server.path_of(place(server, OCCI).url)]))


def by_both(server: Server) -> Thing:
    server.needs_system(OCCI.of_system)
    where = place(server, ISCSI)
    sent = {"metadata": dict(SIZE), "exports": {**field(server, ISCSI, [FIRST]), **field(server, OCCI, [])}}
    return server.make("container", sent, server.new_url("/", where))


@check("exports/two-protocols", "13.2", "13.1", "A container is exported by several protocols, each as if alone.")
def two_protocols(server: Server) -> None:
    made = by_both(server)
    require(shown(server, made, ISCSI)["permissions"] == [FIRST], "the export by iSCSI is another")
    require(shown(server, made, OCCI)["permissions"] == [], "the export to OCCI is another")


@check("exports/one-of-two", "9.4.5", "9.5.5", "One of two exports is removed, and the other stays.", Level.SHOULD)
def one_of_two(server: Server) -> None:
    made = by_both(server)
    expect(server.update(made.url, "container", {"exports": field(server, OCCI, [])}), CHANGED, "one export of two")
    found = server.settled(made.url, "container").get("exports", {})
    require(not entries(found, ISCSI), f"exports is {found}, expected none by iSCSI")
    require(entries(found, OCCI), f"exports is {found}, expected the one to OCCI")


@check("exports/occi-not-copied", "9.2.5", "9.3.5", "A copy is not exported to OCCI.")
def not_copied(server: Server) -> None:
    where = place(server, OCCI)
    server.needs("cdmi_copy_container", of=where.fields)
    made = exported(server, OCCI)
    copy = server.make("container", {"copy": server.path_of(made.url)}, server.new_url("/", where))
    found = server.settled(copy.url, "container").get("exports", {})
    require(found == {}, f"exports of the copy is {found}, expected none")
