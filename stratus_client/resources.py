"""Machines, networks, addresses, disks, images and sizes as OCCI entities and templates show them.

Pure reading: frozen views with their stable JSON shapes. Talks to no server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from renderers.occi.representation import CategoryId, SentCategory, SentLink
from stratus_client.occi import Catalogue, Entity, last_segment, linked

INFRASTRUCTURE = "http://schemas.ogf.org/occi/infrastructure#"
COMPUTE = CategoryId(INFRASTRUCTURE, "compute")
NETWORK = CategoryId(INFRASTRUCTURE, "network")
IP_RESERVATION = CategoryId(INFRASTRUCTURE, "ipreservation")
STORAGE = CategoryId(INFRASTRUCTURE, "storage")
NETWORK_INTERFACE = CategoryId(INFRASTRUCTURE, "networkinterface")
STORAGE_LINK = CategoryId(INFRASTRUCTURE, "storagelink")
IMAGE_TEMPLATE = CategoryId(INFRASTRUCTURE, "os_tpl")
SIZE_TEMPLATE = CategoryId(INFRASTRUCTURE, "resource_tpl")
POOL = CategoryId("http://schemas.openstack.org/network#", "floatingippool")
CONSOLE_LOG_TERM = "console_log"
DISPLAY_PREFIXES = ("vnc://", "spice://")


class MachineState(StrEnum):
    ACTIVE = "active"
    INACTIVE = "inactive"
    SUSPENDED = "suspended"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Interface:
    """A machine's port. `network` is the path of the network, or of the reserved address that the port has."""

    id: str
    network: str
    address: str | None
    mac: str | None
    state: str | None

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "network": self.network,
            "address": self.address,
            "mac": self.mac,
            "state": self.state,
        }


@dataclass(frozen=True, slots=True)
class Attachment:
    """A disk plugged into a machine. `disk` is the disk's path."""

    id: str
    disk: str
    device: str | None
    state: str | None

    def as_json(self) -> dict[str, object]:
        return {"id": self.id, "disk": self.disk, "device": self.device, "state": self.state}


@dataclass(frozen=True, slots=True)
class Machine:
    entity: Entity
    name: str | None
    hostname: str | None
    state: str
    state_message: str | None
    image: str | None
    size: str | None
    cores: int | None
    memory_gib: float | None
    interfaces: tuple[Interface, ...]
    disks: tuple[Attachment, ...]
    console: str | None
    console_log: str | None

    @property
    def id(self) -> str:
        return self.entity.id

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(one.address for one in self.interfaces if one.address)

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name or self.hostname or self.id

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "name": self.name,
            "hostname": self.hostname,
            "state": self.state,
            "state_message": self.state_message,
            "addresses": list(self.addresses),
            "image": self.image,
            "size": self.size,
            "cores": self.cores,
            "memory_gib": self.memory_gib,
            "interfaces": [one.as_json() for one in self.interfaces],
            "disks": [one.as_json() for one in self.disks],
            "console": self.console,
            "actions": sorted(one.term for one in self.entity.actions),
            "location": self.entity.path,
        }


@dataclass(frozen=True, slots=True)
class Network:
    entity: Entity
    name: str | None
    state: str
    state_message: str | None
    address: str | None
    gateway: str | None
    vlan: int | None
    label_text: str | None

    @property
    def id(self) -> str:
        return self.entity.id

    @property
    def label(self) -> str:
        return self.name or self.label_text or self.id

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "state_message": self.state_message,
            "address": self.address,
            "gateway": self.gateway,
            "vlan": self.vlan,
            "label": self.label_text,
            "location": self.entity.path,
        }


@dataclass(frozen=True, slots=True)
class ReservedAddress:
    """`pool` is the term of the mixin that says which network it is of."""

    entity: Entity
    name: str | None
    address: str | None
    pool: str | None
    used: bool

    @property
    def id(self) -> str:
        return self.entity.id

    @property
    def label(self) -> str:
        return self.address or self.name or self.id

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "name": self.name,
            "address": self.address,
            "pool": self.pool,
            "used": self.used,
            "location": self.entity.path,
        }


@dataclass(frozen=True, slots=True)
class Disk:
    entity: Entity
    name: str | None
    state: str
    state_message: str | None
    size_gib: float | None

    @property
    def id(self) -> str:
        return self.entity.id

    @property
    def label(self) -> str:
        return self.name or self.id

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "state_message": self.state_message,
            "size_gib": self.size_gib,
            "location": self.entity.path,
        }


@dataclass(frozen=True, slots=True)
class Template:
    """An image or a size: a mixin that a machine is made with."""

    id: CategoryId
    title: str | None

    def as_json(self) -> dict[str, object]:
        return {"name": self.id.term, "title": self.title, "category": str(self.id)}


def machine(entity: Entity, catalogue: Catalogue, origin: str = "") -> Machine:
    """`origin` is what the server writes before paths in its links."""
    images = {one.id for one in catalogue.templates(IMAGE_TEMPLATE)}
    sizes = {one.id for one in catalogue.templates(SIZE_TEMPLATE)}
    cores = entity.number("occi.compute.cores")
    return Machine(
        entity=entity,
        name=entity.text("occi.core.title"),
        hostname=entity.text("occi.compute.hostname"),
        state=_state(entity, "occi.compute"),
        state_message=entity.text("occi.compute.state.message"),
        image=next((one.term for one in entity.mixins if one in images), None),
        size=next((one.term for one in entity.mixins if one in sizes), None),
        cores=None if cores is None else int(cores),
        memory_gib=entity.number("occi.compute.memory"),
        interfaces=tuple(_interface(link, origin) for link in linked(entity, NETWORK_INTERFACE)),
        disks=tuple(_attachment(link, origin) for link in linked(entity, STORAGE_LINK)),
        console=next((link.target for link in entity.links if link.target.startswith(DISPLAY_PREFIXES)), None),
        console_log=_target(entity, CONSOLE_LOG_TERM),
    )


def network(entity: Entity) -> Network:
    vlan = entity.number("occi.network.vlan")
    return Network(
        entity=entity,
        name=entity.text("occi.core.title"),
        state=_state(entity, "occi.network"),
        state_message=entity.text("occi.network.state.message"),
        address=entity.text("occi.network.address"),
        gateway=entity.text("occi.network.gateway"),
        vlan=None if vlan is None else int(vlan),
        label_text=entity.text("occi.network.label"),
    )


def reserved_address(entity: Entity, catalogue: Catalogue) -> ReservedAddress:
    pools = {one.id for one in catalogue.templates(POOL)}
    return ReservedAddress(
        entity=entity,
        name=entity.text("occi.core.title"),
        address=entity.text("occi.ipreservation.address"),
        pool=next((one.term for one in entity.mixins if one in pools), None),
        used=(entity.text("occi.ipreservation.used") or "").lower() == "true",
    )


def disk(entity: Entity) -> Disk:
    return Disk(
        entity=entity,
        name=entity.text("occi.core.title"),
        state=_state(entity, "occi.storage"),
        state_message=entity.text("occi.storage.state.message"),
        size_gib=entity.number("occi.storage.size"),
    )


def templates(catalogue: Catalogue, base: CategoryId) -> list[Template]:
    """The images (os_tpl) or sizes (resource_tpl) on offer, in the server's order."""
    return [Template(one.id, _title(one)) for one in catalogue.templates(base)]


def _title(category: SentCategory) -> str | None:
    return category.title or None


def _state(entity: Entity, prefix: str) -> str:
    return entity.text(f"{prefix}.state") or "unknown"


def _interface(link: SentLink, origin: str) -> Interface:
    return Interface(
        id=_link_id(link),
        network=link.target.removeprefix(origin),
        address=_text(link, "occi.networkinterface.address"),
        mac=_text(link, "occi.networkinterface.mac"),
        state=_text(link, "occi.networkinterface.state"),
    )


def _attachment(link: SentLink, origin: str) -> Attachment:
    return Attachment(
        id=_link_id(link),
        disk=link.target.removeprefix(origin),
        device=_device(link),
        state=_text(link, "occi.storagelink.state"),
    )


def _device(link: SentLink) -> str | None:
    """The guest's device: servers that know CDMI show the disk's object ID as deviceid, others the device."""
    shown = [_text(link, f"occi.storagelink.{name}") or "" for name in ("deviceid", "mountpoint")]
    return next((value for value in shown if value.startswith("/dev/")), None)


def _link_id(link: SentLink) -> str:
    return (_text(link, "occi.core.id") or last_segment(link.location or "")).removeprefix("urn:uuid:")


def _text(link: SentLink, name: str) -> str | None:
    value = link.attributes.get(name)
    return None if value is None or value == "" else str(value)


def _target(entity: Entity, term: str) -> str | None:
    """Where a link leads whose relation, or own category, has this term."""
    found: Sequence[SentLink] = [
        link for link in entity.links if any(one.term == term for one in (*link.relation, *link.categories))
    ]
    return found[0].target if found else None
