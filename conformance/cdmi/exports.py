"""Exports: containers as block devices for initiators of iSCSI. Those for computes of OCCI are in exports_occi."""

from __future__ import annotations

import ipaddress
import re

from conformance.cdmi.fields import document
from conformance.cdmi.protocols import (
    FIRST,
    ISCSI,
    SECOND,
    SIZE,
    an_exported,
    any_place,
    body,
    entries,
    expect_refused,
    exported,
    field,
    place,
    shown,
    unexported,
    usable,
)
from conformance.cdmi.server import CHANGED, GONE, MADE, Server, Thing, check
from conformance.suite import Level, NotApplicable, expect, require

IDENTIFIER = re.compile(r"(iqn\.|naa\.|eui\.).+,t,0x[0-9A-Fa-f]+")
WORLD_WIDE_NAME = re.compile(r"0x([0-9A-Fa-f]{16}){1,2}")
HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.(?!-)[A-Za-z0-9-]{1,63})*\.?")
ISCSI_PORT = "3260"
CHOSEN = {
    "portals": ["192.0.2.99"],
    "target_identifier": "iqn.2010-01.com.example:mine,t,0x0001",
    "logical_unit_number": "77",
    "logical_unit_name": "0x60012340000000000000000000000077",
}


# -- what an export shows ------------------------------------------------------------------------


@check("exports/iscsi", "13.7.1, 13.7.2", "13.5", "A container exported by iSCSI says where its target is.")
def target(server: Server) -> None:
    found = shown(server, an_exported(server, ISCSI), ISCSI)
    wanted = {"portals", "target_identifier", "logical_unit_number", "logical_unit_name", "permissions"}
    require(wanted <= set(found), f"the export lacks {', '.join(sorted(wanted - set(found)))}")
    require(isinstance(found["portals"], list) and found["portals"], f"portals is {found['portals']!r}")
    require(found["permissions"] == [FIRST], f"permissions is {found['permissions']!r}, expected [{FIRST!r}]")


@check("exports/iscsi-type", "", "13.5", "Its type is iSCSI.")
def type_of_2_0(server: Server) -> None:
    found = shown(server, an_exported(server, ISCSI), ISCSI)
    require(found.get("type") == ISCSI.type, f"type is {found.get('type')!r}, expected {ISCSI.type!r}")


@check("exports/iscsi-identifier", "13.7", "13.5", "The target's identifier is iqn, naa or eui, with the group's tag.")
def identifier(server: Server) -> None:
    found = str(shown(server, an_exported(server, ISCSI), ISCSI)["target_identifier"])
    require(IDENTIFIER.fullmatch(found), f"target_identifier is {found!r}")


@check("exports/iscsi-strings", "13.7.1", "13.5", "Number and name of the logical unit are strings.")
def logical_unit(server: Server) -> None:
    found = shown(server, an_exported(server, ISCSI), ISCSI)
    for name in ("logical_unit_number", "logical_unit_name"):
        require(isinstance(found[name], str) and found[name], f"{name} is {found[name]!r}, expected a string")


@check("exports/iscsi-name", "13.7", "13.5", "The unit's name is world-wide: 0x and 16 or 32 digits.", Level.SHOULD)
def world_wide_name(server: Server) -> None:
    found = str(shown(server, an_exported(server, ISCSI), ISCSI)["logical_unit_name"])
    require(WORLD_WIDE_NAME.fullmatch(found), f"logical_unit_name is {found!r}")


@check(
    "exports/iscsi-portals", "13.7", "13.5",
    "Portals are IP addresses or domain names; those with another port than iSCSI's say it.", Level.SHOULD,
)  # fmt: skip
def portals(server: Server) -> None:
    for found in shown(server, an_exported(server, ISCSI), ISCSI)["portals"]:
        host, port = without_port(found)
        require(is_address(host) or HOST_NAME.fullmatch(host), f"a portal is {found!r}")
        require(port not in ("", ISCSI_PORT), f"a portal is {found!r}, expected {host!r} alone")


def without_port(portal: str) -> tuple[str, str | None]:
    """The host, and the port if there is one: of "192.0.2.1:860", "[2001:db8::1]:860", "2001:db8::1"."""
    if is_address(portal):
        return portal, None
    host, colon, port = portal.rpartition(":")
    return (host, port) if colon and not portal.endswith("]") else (portal, None)


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


# -- how it is read ------------------------------------------------------------------------------


@check("exports/selected", "13.3", "13.2.1", "The field exports can be asked for, and then comes alone.")
def selected(server: Server) -> None:
    for protocol in usable(server):
        found = server.look(an_exported(server, protocol).url, "container", "exports")
        require(set(found) == {"exports"}, f"asked for exports, got {sorted(found)}")
        require(entries(found["exports"], protocol), f"exports is {found['exports']}, expected {protocol.name}")


@check("exports/by-id", "9.3.1, 13.3", "13.2.1", "The exports can be asked for by the container's object ID.")
def by_id(server: Server) -> None:
    server.needs_system("cdmi_object_access_by_ID")
    for protocol in usable(server):
        made = an_exported(server, protocol)
        found = server.look(server.by_id(made.fields, container=True), "container", "exports").get("exports", {})
        require(entries(found, protocol), f"exports is {found}, expected {protocol.name} in it")


@check("exports/by-protocol", "13.3", "", "The exports by one protocol, or all, can be asked for.", Level.SHOULD)
def by_protocol(server: Server) -> None:
    for protocol in usable(server):
        made = an_exported(server, protocol)
        for asked in (f"protocol={protocol.name}", "protocol=all", f'protocol={protocol.name},verbose="false"'):
            found = server.look(made.url, "container", f"exports:{asked}").get("exports", {})
            require(entries(found, protocol), f"exports:{asked} is {found}, expected {protocol.name} in it")


@check("exports/other-protocol", "13.3", "", "Those by other protocols are not among them.", Level.SHOULD)
def other_protocol(server: Server) -> None:
    for protocol in usable(server):
        made = an_exported(server, protocol)
        found = server.look(made.url, "container", "exports:protocol=Network/Conformance").get("exports", {})
        require(found == {}, f"exports:protocol=Network/Conformance is {found}, expected none")


@check("exports/claimed", "", "13.1", "That a container can be exported is a capability of it, or of what it is in.")
def claimed(server: Server) -> None:
    for protocol in usable(server):
        made = an_exported(server, protocol)
        claims = [
            server.claims(one.fields, name)
            for one in (made, place(server, protocol))
            for name in (protocol.of_container, protocol.of_system)
        ]
        require(any(claims), f"a container was exported by {protocol.name}; {protocol.of_container} is claimed nowhere")


# -- how it is made, changed and withdrawn -------------------------------------------------------


@check("exports/iscsi-at-once", "9.2.7", "9.3.7", "The answer to the creation shows the export, and nothing wrong.")
def at_once(server: Server) -> None:
    where = place(server, ISCSI)
    answer = server.put(server.new_url("/", where), "container", body(server, ISCSI, [FIRST]))
    expect(answer, MADE, "a new container with an export")
    found = entries(document(answer).get("exports", {}), ISCSI)
    require(found or answer.status == 202, "the answer to a creation with exports has none")
    for one in found:  # what takes long may be unknown yet
        told = one.get("target_identifier")
        require(told is None or IDENTIFIER.fullmatch(str(told)), f"target_identifier is {told!r}")
        require(one.get("logical_unit_name") != "", "logical_unit_name is empty")


@check("exports/add", "9.4.5, 13.7.2", "9.5.5, 13.5", "An update exports a container; then it is exported.")
def add(server: Server) -> None:
    made = unexported(server, ISCSI)
    answer = server.update(made.url, "container", {"exports": field(server, ISCSI, [FIRST])})
    expect(answer, {202, 204}, "a new export")
    require(shown(server, made, ISCSI)["permissions"] == [FIRST], "the export is another")


@check("exports/done", "9.4.5", "9.5.5", "What adds or changes an export returns when it is done, or is answered 202.")
def done(server: Server) -> None:
    made = unexported(server, ISCSI)
    for permitted in (FIRST, SECOND):
        answer = server.update(made.url, "container", {"exports": field(server, ISCSI, [permitted])})
        expect(answer, CHANGED, "an export")
        if answer.status != 202:
            found = server.look(made.url, "container").get("completionStatus")
            require(found == "Complete", f"completionStatus is {found!r} after an export was answered {answer.status}")
        server.settled(made.url, "container")


@check("exports/change", "13.7.3", "13.5", "The list of initiators is replaced by the one that is sent.")
def change(server: Server) -> None:
    made = exported(server, ISCSI)
    before = shown(server, made, ISCSI)
    expect(
        server.update(made.url, "container", {"exports": field(server, ISCSI, [SECOND])}), CHANGED, "a changed export"
    )
    after = shown(server, made, ISCSI)
    require(after["permissions"] == [SECOND], f"permissions is {after['permissions']!r}, expected [{SECOND!r}]")
    require(after["target_identifier"] == before["target_identifier"], "the target became another")


@check("exports/several", "13.7", "13.5", "A container is exported to several initiators.")
def several(server: Server) -> None:
    where = place(server, ISCSI)
    url = server.new_url("/", where)
    answer = server.put(url, "container", body(server, ISCSI, [FIRST, SECOND]))
    if answer.status == 400:
        raise NotApplicable("the server allows one initiator of such a container")
    expect(answer, MADE, "a container exported to two initiators")
    found = shown(server, Thing(url, {}), ISCSI)["permissions"]
    require(sorted(found) == [FIRST, SECOND], f"permissions is {found!r}, expected both initiators")


@check("exports/keep", "9.4.5", "9.5.5", "An update without exports leaves them.")
def keep(server: Server) -> None:
    for protocol in usable(server):
        made = exported(server, protocol)
        server.needs("cdmi_modify_metadata", of=made.fields)
        before = shown(server, made, protocol)
        sent = {"metadata": {"colour": "red"}}
        expect(server.update(made.url, "container", sent, "metadata:colour"), CHANGED, "an update of metadata")
        require(shown(server, made, protocol) == before, "the export is another after an update of metadata")


@check("exports/remove", "9.4.5", "9.5.5", "Exports that an update leaves out of its list are removed.", Level.SHOULD)
def remove(server: Server) -> None:
    for protocol in usable(server):
        made = exported(server, protocol)
        expect(server.update(made.url, "container", {"exports": {}}), CHANGED, "an update without any export")
        found = server.settled(made.url, "container").get("exports", {})
        require(found == {}, f"exports is {found}, expected none")


@check("exports/again", "9.4.5, 13.7.2", "9.5.5, 13.5", "What was withdrawn can be exported again.")
def again(server: Server) -> None:
    made = exported(server, ISCSI)
    for sent in ({}, field(server, ISCSI, [FIRST])):
        expect(server.update(made.url, "container", {"exports": sent}), CHANGED, f"exports {sent}")
        server.settled(made.url, "container")
    require(shown(server, made, ISCSI)["permissions"] == [FIRST], "the export is another")


@check("exports/two-targets", "13.7", "13.5", "Two containers are two logical units.")
def two_targets(server: Server) -> None:
    names = ("target_identifier", "logical_unit_number")
    first, second = (shown(server, made, ISCSI) for made in (an_exported(server, ISCSI), exported(server, ISCSI)))
    require([first[n] for n in names] != [second[n] for n in names], "two containers are one logical unit")
    require(first["logical_unit_name"] != second["logical_unit_name"], "two containers have one logical_unit_name")


@check("exports/chosen-by-server", "13.7.2", "13.5", "What the server is to select isn't taken from the client.")
def chosen_by_server(server: Server) -> None:
    url = server.new_url("/", place(server, ISCSI))
    answer = server.put(url, "container", body(server, ISCSI, [FIRST], **CHOSEN))
    expect(answer, {*MADE, 400}, "a container with a target of the client's choice")
    if answer.status != 400:
        found = shown(server, Thing(url, {}), ISCSI)
        taken = [name for name, value in CHOSEN.items() if found[name] == value]
        require(not taken, f"taken from the client: {', '.join(taken)}")


@check("exports/not-copied", "9.2.5", "9.3.5", "A copy is not exported.")
def not_copied(server: Server) -> None:
    where = place(server, ISCSI)
    server.needs("cdmi_copy_container", of=where.fields)
    made = exported(server, ISCSI)
    copy = server.make("container", {"copy": server.path_of(made.url)}, server.new_url("/", where))
    found = server.look(copy.url, "container").get("exports", {})
    require(found == {}, f"exports of the copy is {found}, expected none")


@check(
    "exports/delete", "9.5.5", "9.6.5", "An exported container is deleted, or that is answered 409 and changes nothing."
)
def delete(server: Server) -> None:
    made = exported(server, ISCSI)
    answer = server.delete(made.url)
    expect(answer, {*CHANGED, 409}, "DELETE of an exported container")
    if answer.status == 409:
        require(shown(server, made, ISCSI)["permissions"] == [FIRST], "the export is another after a refused DELETE")
        expect(server.update(made.url, "container", {"exports": {}}), CHANGED, "an update without any export")
        server.settled(made.url, "container")
        expect(server.delete(made.url), CHANGED, "DELETE of a container that is exported no more")
    server.wait_until(lambda: server.get(made.url, "container").status in GONE, f"{made.url} is gone")


@check("exports/initiators", "", "13.5", "Initiators are named by iqn, naa or eui.", Level.SHOULD)
def initiators(server: Server) -> None:
    made = exported(server, ISCSI)
    for name in ("eui.02004567a425678d", "naa.52004567ba64678d"):
        sent = {"exports": field(server, ISCSI, [name])}
        expect(server.update(made.url, "container", sent), CHANGED, f"an export to {name}")
        found = shown(server, made, ISCSI)["permissions"]
        require(found == [name], f"permissions is {found!r}, expected [{name!r}]")


# -- what is refused -----------------------------------------------------------------------------


@check("exports/unknown", "9.2.8", "13.2.2", "A protocol that the server doesn't know is answered 400.")
def unknown(server: Server) -> None:
    url = server.new_url("/", any_place(server))
    sent = {"metadata": dict(SIZE), "exports": server.dialect.export("Conformance", {"permissions": ["x"]})}
    expect(server.put(url, "container", sent), {400}, "an export by an unknown protocol")
    expect(server.get(url, "container"), GONE, "what was refused")


@check("exports/unknown-added", "9.4.8", "13.2.2", "It is answered 400 in an update too, and the exports stay.")
def unknown_added(server: Server) -> None:
    sent = {"exports": server.dialect.export("Conformance", {"permissions": ["x"]})}
    for protocol in usable(server):
        made = an_exported(server, protocol)
        before = shown(server, made, protocol)
        expect(server.update(made.url, "container", sent), {400}, "an export by an unknown protocol")
        require(shown(server, made, protocol) == before, f"the export by {protocol.name} is another")


@check("exports/malformed", "9.2.8", "13.5", "Initiators that are no list of names are answered 400.")
def malformed(server: Server) -> None:
    expect_refused(server, ISCSI, (7, [7], {"iqn": "x"}))


@check(
    "exports/no-initiator", "9.2.8, 13.7", "13.5", "A name that no initiator can have is answered 400.", Level.SHOULD
)
def no_initiator(server: Server) -> None:
    expect_refused(server, ISCSI, ([""], ["nobody"], ["iqn.2010-01.com.example:a b"]))
