"""What users do with machines, in OCCI's terms: find, create, act, wait, delete.

Speaks to the server through occi.py and prints nothing.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from renderers.occi.representation import CategoryClass, CategoryId, SentLink
from stratus_client.errors import NotFoundError, StratusError
from stratus_client.names import choose
from stratus_client.occi import Entity, Request, Server, last_segment
from stratus_client.resources import (
    COMPUTE,
    IP_RESERVATION,
    NETWORK,
    NETWORK_INTERFACE,
    STORAGE,
    STORAGE_LINK,
    Disk,
    Machine,
    MachineState,
    Network,
    ReservedAddress,
    disk,
    machine,
    network,
    reserved_address,
)

FIRST_PAUSE_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 2.0
OLD_ERROR_SECONDS = 10.0
"""How long a machine that was in error before an action may still show it."""

SSH_KEY_MIXINS = (
    (
        CategoryId("http://schemas.ogf.org/occi/infrastructure/credentials#", "ssh_key"),
        "occi.credentials.ssh.publickey",
    ),
    (
        CategoryId("http://schemas.openstack.org/instance/credentials#", "public_key"),
        "org.openstack.credentials.publickey.data",
    ),
)
"""Mixins that carry a public key, and the attribute that does: the standard's, then older servers'."""
OPENSTACK_KEY_NAME = "org.openstack.credentials.publickey.name"
USER_DATA_MIXINS = (
    (CategoryId("http://schemas.ogf.org/occi/infrastructure/compute#", "user_data"), "occi.compute.userdata"),
    (
        CategoryId("http://schemas.openstack.org/compute/instance#", "user_data"),
        "org.openstack.compute.user_data",
    ),
)
IP_INTERFACE = CategoryId("http://schemas.ogf.org/occi/infrastructure/networkinterface#", "ipnetworkinterface")


@dataclass(frozen=True, slots=True)
class NewMachine:
    """What `stratus run` asks for; None leaves the choice to the server. Networks, addresses and disks are paths."""

    image: CategoryId | None = None
    size: CategoryId | None = None
    name: str | None = None
    cores: int | None = None
    memory_gib: float | None = None
    ssh_key: str | None = None
    user_data: bytes | None = None
    networks: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()


def all_machines(server: Server) -> list[Machine]:
    return [_machine(server, entity) for entity in server.entities(COMPUTE)]


def all_networks(server: Server) -> list[Network]:
    return [network(entity) for entity in server.entities(NETWORK)]


def all_addresses(server: Server) -> list[ReservedAddress]:
    """Those that are reserved, whether a machine has them or not."""
    return [reserved_address(entity, server.catalogue) for entity in server.entities(IP_RESERVATION)]


def find_address(server: Server, wanted: str) -> ReservedAddress:
    """The reserved address itself, or by its identifier or name."""
    reserved = all_addresses(server)
    same = [one for one in reserved if one.address == wanted]
    return same[0] if len(same) == 1 else choose(same or reserved, wanted, "address", "addresses")


def reserve(server: Server, address: str | None, pool: CategoryId | None, name: str | None) -> ReservedAddress:
    attributes = {"occi.ipreservation.address": address, "occi.core.title": name}
    mixins = () if pool is None else ((pool, CategoryClass.MIXIN),)
    request = Request(
        categories=((IP_RESERVATION, CategoryClass.KIND), *mixins),
        attributes={attribute: value for attribute, value in attributes.items() if value is not None},
    )
    path = server.create(IP_RESERVATION, request)
    return reserved_address(server.entity(path, IP_RESERVATION), server.catalogue)


def all_disks(server: Server) -> list[Disk]:
    return [disk(entity) for entity in server.entities(STORAGE)]


def find(server: Server, wanted: str) -> Machine:
    """The machine by identifier, name, beginning of an identifier, or location; with its addresses."""
    meant = server.path(wanted) if "/" in wanted else None
    paths = server.paths(COMPUTE)
    exact = [path for path in paths if path == meant or last_segment(path) == wanted]
    if len(exact) == 1:
        found = _machine(server, server.entity(exact[0], COMPUTE))
    else:
        found = choose(all_machines(server), wanted, "machine")
    return _with_addresses(server, found)


def read(server: Server, path: str) -> Machine:
    return _with_addresses(server, _machine(server, server.entity(path, COMPUTE)))


def create(server: Server, new: NewMachine) -> Machine:
    return read(server, server.create(COMPUTE, creation(server, new)))


def creation(server: Server, new: NewMachine) -> Request:
    """The request that makes the machine."""
    mixins = [one for one in (new.image, new.size) if one]
    attributes: dict[str, str | int | float] = {}
    if new.name:
        attributes["occi.core.title"] = new.name
    if new.cores:
        attributes["occi.compute.cores"] = new.cores
    if new.memory_gib:
        attributes["occi.compute.memory"] = new.memory_gib
    if new.ssh_key:
        mixin, attribute = _offered_mixin(server, SSH_KEY_MIXINS, "SSH keys (leave them out with --no-ssh-key)")
        mixins.append(mixin)
        attributes[attribute] = new.ssh_key
        if mixin == SSH_KEY_MIXINS[1][0]:
            attributes[OPENSTACK_KEY_NAME] = "stratus"
    if new.user_data:
        mixin, attribute = _offered_mixin(server, USER_DATA_MIXINS, "user data")
        mixins.append(mixin)
        attributes[attribute] = base64.b64encode(new.user_data).decode()
    return Request(
        categories=((COMPUTE, CategoryClass.KIND), *((one, CategoryClass.MIXIN) for one in mixins)),
        attributes=attributes,
        links=(
            *((path, NETWORK, NETWORK_INTERFACE) for path in new.networks),
            *((path, IP_RESERVATION, NETWORK_INTERFACE) for path in new.addresses),
            *((path, STORAGE, STORAGE_LINK) for path in new.disks),
        ),
    )


def takes_ssh_keys(server: Server) -> bool:
    return any(server.catalogue.find(mixin) for mixin, _ in SSH_KEY_MIXINS)


def act(server: Server, target: Machine, term: str, parameters: Mapping[str, str]) -> None:
    action = server.catalogue.action(COMPUTE, term)
    if action is None:
        raise StratusError(f"The server has no action {term!r} for machines.")
    server.act(target.entity, action, parameters)


def wait_for_state(
    server: Server,
    target: Machine,
    wanted: MachineState,
    limit_seconds: float,
    report: Callable[[Machine], None],
) -> Machine:
    """Asks until the machine is in the wanted state; an error or the end of the time is a `StratusError`."""
    started = time.monotonic()
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            now = read(server, target.entity.path)
        except NotFoundError:
            raise NotFoundError(f"{target.label} was deleted meanwhile.") from None
        report(now)
        elapsed = time.monotonic() - started
        if now.state == wanted:
            return now
        stale = target.state == MachineState.ERROR and elapsed < OLD_ERROR_SECONDS
        if now.state == MachineState.ERROR and not stale:
            raise StratusError(f"{now.label} ({now.id}) is in error: {now.state_message or 'the server says no more'}")
        if elapsed >= limit_seconds:
            said = f": {now.state_message}" if now.state_message else "."
            raise StratusError(
                f"{now.label} ({now.id}) is {now.state}, not yet {wanted}, after {limit_seconds:.0f} s{said}"
            )
        time.sleep(min(pause, max(0.0, limit_seconds - elapsed)))
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


def label_of(server: Server, location: str, *kinds: CategoryId) -> str:
    """What people call the network, address or disk at a location; the location itself when it can't be seen."""
    try:
        entity = server.entity(server.path(location), *kinds)
    except StratusError:
        return location
    return entity.text("occi.core.title") or location


def console_text(server: Server, target: Machine) -> str:
    if target.console_log is None:
        raise StratusError(f"The server offers no console log of {target.label} ({target.state}).")
    return server.read(target.console_log)


def _machine(server: Server, entity: Entity) -> Machine:
    return machine(entity, server.catalogue, server.endpoint)


def _with_addresses(server: Server, found: Machine) -> Machine:
    """Servers need not repeat an interface's attributes in the machine's links: asks the interface then."""
    if all(one.address for one in found.interfaces):
        return found
    links = tuple(_completed(server, link) for link in found.entity.links)
    return _machine(server, replace(found.entity, links=links))


def _completed(server: Server, link: SentLink) -> SentLink:
    if NETWORK_INTERFACE not in link.categories or not link.location:
        return link
    if "occi.networkinterface.address" in link.attributes:
        return link
    try:
        entity = server.entity(server.path(link.location), NETWORK_INTERFACE)
    except NotFoundError:
        return link
    return replace(link, attributes={**entity.attributes, **link.attributes})


def _offered_mixin(server: Server, known: Sequence[tuple[CategoryId, str]], what: str) -> tuple[CategoryId, str]:
    for mixin, attribute in known:
        if server.catalogue.find(mixin):
            return mixin, attribute
    raise StratusError(f"The server doesn't take {what}.")
