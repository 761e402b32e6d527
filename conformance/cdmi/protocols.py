"""The protocols by which containers are exported, where that can be, and what is exported there for the checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conformance.cdmi.fields import Fields
from conformance.cdmi.server import CHANGED, MADE, Server, Thing
from conformance.suite import NotApplicable, expect, require

SIZE = {"cdmi_assignedsize": str(64 * 2**20)}
"""A logical unit has a size (CDMI 1.1.1 §16.4, 2.0 §16.5), which some servers want to be told."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """Its name in 1.x, its type in 2.0, what claims it, and permissions that are in order anywhere."""

    name: str
    type: str
    of_system: str
    of_container: str
    permissions: tuple[str, ...]


FIRST, SECOND = "iqn.2010-01.com.example:conformance1", "iqn.2010-01.com.example:conformance2"
ISCSI = Protocol("Network/iSCSI", "iSCSI", "cdmi_export_iscsi", "cdmi_export_container_iscsi", (FIRST,))
OCCI = Protocol("OCCI/iSCSI", "OCCI/iSCSI", "cdmi_export_occi_iscsi", "cdmi_export_container_occi", ())
PROTOCOLS = (ISCSI, OCCI)


def field(server: Server, protocol: Protocol, permissions: object, **settings: object) -> Fields:
    """The field exports with this one in it, as the standard's examples have it: 2.0's of OCCI is as in 1.x."""
    given = {"permissions": permissions, **settings}
    return {OCCI.name: given} if protocol is OCCI else server.dialect.export(protocol.type, given)


def body(server: Server, protocol: Protocol, permissions: object, **settings: object) -> Fields:
    """Of a new container that is exported so."""
    return {"metadata": dict(SIZE), "exports": field(server, protocol, permissions, **settings)}


def place(server: Server, protocol: Protocol) -> Thing:
    """Where containers can be made that are exported so."""
    server.needs_system(protocol.of_system)
    if protocol.name not in server.export_places:
        server.export_places[protocol.name] = _found(server, protocol)
    found = server.export_places[protocol.name]
    if found is None:
        raise NotApplicable(f"nowhere was a container taken that is exported by {protocol.name}: give --exports PATH")
    return found


def _found(server: Server, protocol: Protocol) -> Thing | None:
    """The first that claims it for what is made in it (1.1.1 §13.7.2), else the first that does it all the same."""
    places = [one for one in _places(server) if server.claims(one.fields, "cdmi_create_container")]
    for one in places:
        if server.claims(one.fields, protocol.of_container):
            return one
    for one in places:
        url = server.new_url("/", one)
        if server.put(url, "container", body(server, protocol, list(protocol.permissions))).status in MADE:
            server.settled(url, "container")
            return one
    return None


def _places(server: Server) -> list[Thing]:
    if server.export_place.strip("/"):
        url = f"{server.root}{server.export_place.strip('/')}/"
        return [Thing(url, server.look(url, "container"))]
    return [server.home, *([] if server.place else server.containers())]


def exported(server: Server, protocol: Protocol, permissions: object = None, **settings: object) -> Thing:
    """A new container, once it is complete."""
    where = place(server, protocol)
    given = list(protocol.permissions) if permissions is None else permissions
    return server.make("container", body(server, protocol, given, **settings), server.new_url("/", where))


def an_exported(server: Server, protocol: Protocol) -> Thing:
    """One that many checks look at."""
    return server.shared(f"exported by {protocol.name}", lambda: exported(server, protocol))


def unexported(server: Server, protocol: Protocol) -> Thing:
    """A new container that can be exported, and isn't."""
    made = server.make("container", {"metadata": dict(SIZE)}, server.new_url("/", place(server, protocol)))
    if server.claims(made.fields, protocol.of_container):
        return made
    made = exported(server, protocol)  # where not every container can be
    expect(server.update(made.url, "container", {"exports": {}}), CHANGED, "an update without any export")
    return Thing(made.url, server.settled(made.url, "container"))


def entries(found: Fields, protocol: Protocol) -> list[Fields]:
    """Those of the field exports that are by this protocol."""
    return [dict(value) for key, value in found.items() if value.get("type", key) in (protocol.name, protocol.type)]


def shown(server: Server, made: Thing, protocol: Protocol) -> Fields:
    """The export as it is now, once it is done."""
    found = server.settled(made.url, "container").get("exports", {})
    one = entries(found, protocol)
    require(len(one) == 1, f"exports is {found}, expected one by {protocol.name}")
    return one[0]


def usable(server: Server) -> list[Protocol]:
    """Those by which a container can be exported; without any the check isn't applicable."""
    found, reasons = [], []
    for protocol in PROTOCOLS:
        try:
            place(server, protocol)
            found.append(protocol)
        except NotApplicable as reason:
            reasons.append(str(reason))
    if not found:
        raise NotApplicable("; ".join(reasons))
    return found


def any_place(server: Server) -> Thing:
    """Where a container can be exported or, if nowhere, where one can be made."""
    try:
        return place(server, usable(server)[0])
    except NotApplicable:
        server.needs("cdmi_create_container")
        return server.home


def expect_refused(server: Server, protocol: Protocol, permissions: Sequence[object]) -> None:
    """Each by itself, for a new container."""
    where = place(server, protocol)
    for wrong in permissions:
        sent = body(server, protocol, wrong)
        expect(server.put(server.new_url("/", where), "container", sent), {400}, f"an export with permissions {wrong}")
