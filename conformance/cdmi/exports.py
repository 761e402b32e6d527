"""Exports: containers as block devices for initiators of iSCSI and for the computes of OCCI."""

from __future__ import annotations

import re

from conformance.cdmi.fields import Fields
from conformance.cdmi.server import CHANGED, Server, Thing, check
from conformance.suite import Level, expect, require

FIRST, SECOND = "iqn.2010-01.com.example:conformance1", "iqn.2010-01.com.example:conformance2"
OCCI = "OCCI/iSCSI"


def iscsi(server: Server, *initiators: str) -> Fields:
    return server.dialect.export("iSCSI", {"permissions": list(initiators)})


def exported(server: Server, *initiators: str) -> Thing:
    server.needs_system("cdmi_export_iscsi")
    server.needs("cdmi_create_container", "cdmi_export_container_iscsi")
    return server.make("container", {"exports": iscsi(server, *initiators)}, server.new_url("/"))


def shown(server: Server, made: Thing) -> Fields:
    """The iSCSI export as it is shown now."""
    found = server.look(made.url, "container").get("exports", {})
    entries = [value for key, value in found.items() if key == "Network/iSCSI" or value.get("type") == "iSCSI"]
    require(len(entries) == 1, f"exports is {found}, expected one for iSCSI")
    return dict(entries[0])


@check("exports/iscsi", "13.7.1, 13.7.2", "13.5", "A container exported by iSCSI says where its target is.")
def target(server: Server) -> None:
    found = shown(server, exported(server, FIRST))
    wanted = {"portals", "target_identifier", "logical_unit_number", "logical_unit_name", "permissions"}
    require(wanted <= set(found), f"the export lacks {', '.join(sorted(wanted - set(found)))}")
    require(isinstance(found["portals"], list) and found["portals"], f"portals is {found['portals']!r}")
    require(found["permissions"] == [FIRST], f"permissions is {found['permissions']!r}, expected [{FIRST!r}]")


@check("exports/iscsi-identifier", "13.7", "13.5", "The target's identifier is iqn, naa or eui, with the group's tag.")
def identifier(server: Server) -> None:
    found = str(shown(server, exported(server, FIRST))["target_identifier"])
    require(re.fullmatch(r"(iqn\.|naa\.|eui\.).+,t,0x[0-9A-Fa-f]+", found), f"target_identifier is {found!r}")


@check("exports/iscsi-strings", "13.7.1", "13.5", "Number and name of the logical unit are strings.")
def logical_unit(server: Server) -> None:
    found = shown(server, exported(server, FIRST))
    for name in ("logical_unit_number", "logical_unit_name"):
        require(isinstance(found[name], str) and found[name], f"{name} is {found[name]!r}, expected a string")


@check("exports/iscsi-at-once", "9.2.7", "9.3.7", "The answer to the creation shows the export.")
def at_once(server: Server) -> None:
    require("exports" in exported(server, FIRST).fields, "the answer to a creation with exports has none")


@check("exports/add", "9.4.5, 13.7.2", "9.5.5, 13.5", "An update exports a container; then it is exported.")
def add(server: Server) -> None:
    server.needs_system("cdmi_export_iscsi")
    server.needs("cdmi_export_container_iscsi")
    made = server.new_container()
    expect(server.update(made.url, "container", {"exports": iscsi(server, FIRST)}), {204}, "a new export")
    require(shown(server, made)["permissions"] == [FIRST], "the export is another")


@check("exports/change", "13.7.3", "13.5", "The list of initiators is replaced by the one that is sent.")
def change(server: Server) -> None:
    made = exported(server, FIRST, SECOND)
    before = shown(server, made)
    expect(server.update(made.url, "container", {"exports": iscsi(server, SECOND)}), CHANGED, "a changed export")
    after = shown(server, made)
    require(after["permissions"] == [SECOND], f"permissions is {after['permissions']!r}, expected [{SECOND!r}]")
    require(after["target_identifier"] == before["target_identifier"], "the target became another")


@check("exports/keep", "9.4.5", "9.5.5", "An update without exports leaves them.")
def keep(server: Server) -> None:
    made = exported(server, FIRST)
    server.needs("cdmi_modify_metadata", of=made.fields)
    expect(server.update(made.url, "container", {"metadata": {"colour": "red"}}), CHANGED, "an update")
    require(shown(server, made)["permissions"] == [FIRST], "the export is another after an update of metadata")


@check("exports/remove", "9.4.5", "9.5.5", "Exports that an update leaves out of its list are removed.", Level.SHOULD)
def remove(server: Server) -> None:
    made = exported(server, FIRST)
    expect(server.update(made.url, "container", {"exports": {}}), CHANGED, "an update without any export")
    found = server.look(made.url, "container").get("exports", {})
    require(found == {}, f"exports is {found}, expected none")


@check("exports/two-targets", "13.7", "13.5", "Two containers are two logical units.")
def two_targets(server: Server) -> None:
    names = ("target_identifier", "logical_unit_number")
    first, second = (shown(server, exported(server, FIRST)) for _ in range(2))
    require([first[n] for n in names] != [second[n] for n in names], "two containers are one logical unit")
    require(first["logical_unit_name"] != second["logical_unit_name"], "two containers have one logical_unit_name")


@check("exports/not-copied", "9.2.5", "9.3.5", "A copy is not exported.")
def not_copied(server: Server) -> None:
    server.needs("cdmi_copy_container")
    made = exported(server, FIRST)
    copy = server.make("container", {"copy": server.path_of(made.url)}, server.new_url("/"))
    found = server.look(copy.url, "container").get("exports", {})
    require(found == {}, f"exports of the copy is {found}, expected none")


@check("exports/unknown", "9.2.8", "13.2.2", "A protocol that the server doesn't know is answered 400.")
def unknown(server: Server) -> None:
    server.needs("cdmi_create_container")
    sent = {"exports": server.dialect.export("Conformance", {"permissions": ["x"]})}
    expect(server.put(server.new_url("/"), "container", sent), {400}, "an export by an unknown protocol")


@check("exports/malformed", "9.2.8", "13.5", "Initiators that are no list of names are answered 400.")
def malformed(server: Server) -> None:
    server.needs_system("cdmi_export_iscsi")
    server.needs("cdmi_create_container", "cdmi_export_container_iscsi")
    for wrong in ({"permissions": 7}, {"permissions": [7]}, {"permissions": {"iqn": "x"}}):
        sent = {"exports": server.dialect.export("iSCSI", dict(wrong))}
        expect(server.put(server.new_url("/"), "container", sent), {400}, f"an export with {wrong}")


@check("exports/occi", "13.6", "13.7", "An export to OCCI is identified by the container's object ID.")
def occi(server: Server) -> None:
    made, found = occi_export(server, [])
    require(found.get("identifier") == made.fields["objectID"], f"identifier is {found.get('identifier')!r}")


@check("exports/occi-permissions", "13.6", "13.7", "Its permissions are a list of the URIs of computes.")
def occi_permissions(server: Server) -> None:
    _, found = occi_export(server, [])
    require(found.get("permissions") == [], f"permissions is {found.get('permissions')!r}, expected an empty list")


def occi_export(server: Server, computes: list[str]) -> tuple[Thing, Fields]:
    server.needs_system("cdmi_export_occi_iscsi")
    server.needs("cdmi_export_container_occi")
    made = server.make("container", {"exports": {OCCI: {"permissions": computes}}}, server.new_url("/"))
    return made, dict(server.look(made.url, "container")["exports"][OCCI])
