"""The columns that make each dataclass of the model, in its order, and the way from a row to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from backends.model import (
    Allocation,
    Architecture,
    Attachment,
    Direction,
    Disk,
    DiskState,
    GroupLink,
    GroupRule,
    Image,
    ImageState,
    Interface,
    LinkState,
    Machine,
    MachineState,
    Network,
    NetworkClass,
    Pool,
    Reservation,
    SecurityGroup,
    Tag,
    Traffic,
)

Row = Sequence[Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Table(Generic[T]):
    """How one kind of resource is read. `filters` maps the fields a caller may filter by to SQL."""

    name: str
    select: str
    filters: dict[str, str]
    from_row: Callable[[Row], T]
    order: str = "r.sequence"


def _tags(resource: str) -> str:
    return (
        "(SELECT json_agg(json_build_array(t.id, t.project_id, t.scheme, t.term, t.title, t.location, t.related)"
        f" ORDER BY t.scheme, t.term) FROM tagging g JOIN tag t ON t.id = g.tag_id WHERE g.resource_id = {resource})"
    )


def tag_from_row(row: Row) -> Tag:
    return Tag(_uuid(row[0]), _uuid(row[1]), *row[2:])


def _uuid(value: str | UUID) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _tags_from(value: list[Row] | None) -> tuple[Tag, ...]:
    return tuple(map(tag_from_row, value)) if value else ()


INTERFACE_COLUMNS = (
    "{0}.id, {0}.machine_id, {0}.network_id, {0}.name, {0}.mac, host({0}.address), {0}.gateway,"
    " {0}.allocation, {0}.state, {0}.state_message, {0}.title, host({0}.address6),"
    " {0}.reservation_id, {0}.ingress_kbit_s, {0}.egress_kbit_s, "
)
ATTACHMENT_COLUMNS = (
    "{0}.id, {0}.machine_id, {0}.disk_id, {0}.device, {0}.mount_point, {0}.state, {0}.state_message, {0}.title, "
)


GROUP_LINK_COLUMNS = "{0}.id, {0}.machine_id, {0}.group_id, {0}.state, {0}.state_message, {0}.title, "


OWN_TRAFFIC = "t.interface_id = r.id AND t.project_id = r.project_id"
TRAFFIC_COLUMNS = ("received_bytes", "received_packets", "sent_bytes", "sent_packets")


def interface_from_row(row: Row) -> Interface:
    """With what it has received and sent if that was read, too."""
    return Interface(
        _uuid(row[0]), _uuid(row[1]), _uuid(row[2]), row[3], row[4], row[5], row[6],
        Allocation(row[7]), LinkState(row[8]), row[9], row[10], _tags_from(row[15]), row[11],
        _uuid(row[12]) if row[12] else None, row[13], row[14], Traffic(*row[16:]) if len(row) > 16 else None,
    )  # fmt: skip


def attachment_from_row(row: Row) -> Attachment:
    return Attachment(
        _uuid(row[0]), _uuid(row[1]), _uuid(row[2]), row[3], row[4],
        LinkState(row[5]), row[6], row[7], _tags_from(row[8]),
    )  # fmt: skip


def group_link_from_row(row: Row) -> GroupLink:
    return GroupLink(_uuid(row[0]), _uuid(row[1]), _uuid(row[2]), LinkState(row[3]), row[4], row[5], _tags_from(row[6]))


def rule_from_row(row: Row) -> GroupRule:
    direction, protocol, first, last, remote, group_id = row
    ports = None if first is None else (first, last)
    return GroupRule(Direction(direction), protocol, ports, remote, None if group_id is None else UUID(group_id))


def rule_row(rule: GroupRule) -> list[str | int | None]:
    first, last = rule.ports or (None, None)
    group_id = None if rule.group_id is None else str(rule.group_id)
    return [rule.direction.value, rule.protocol, first, last, rule.remote, group_id]


def group_from_row(row: Row) -> SecurityGroup:
    return SecurityGroup(
        row[0], row[1], row[2], row[3], tuple(map(rule_from_row, row[4])), row[5], LinkState(row[6]), row[7],
        _tags_from(row[8]),
    )  # fmt: skip


def machine_from_row(row: Row) -> Machine:
    return Machine(
        row[0], row[1], row[2], row[3], row[4], Architecture(row[5]), row[6], row[7], row[8], row[9], row[10],
        row[11], row[12], row[13], row[14], MachineState(row[15]), row[16], MachineState(row[17]), row[18], row[19],
        row[20],
        tuple(map(interface_from_row, row[21])) if row[21] else (),
        tuple(map(attachment_from_row, row[22])) if row[22] else (),
        _tags_from(row[23]),
        row[24],
        row[25],
        row[26],
        tuple(map(group_link_from_row, row[27])) if row[27] else (),
    )  # fmt: skip


def network_from_row(row: Row) -> Network:
    return Network(
        row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], Allocation(row[8]), row[9],
        LinkState(row[10]), LinkState(row[11]), row[12], row[13], _tags_from(row[14]), row[15],
        NetworkClass(row[16]) if row[16] else None,
    )  # fmt: skip


def reservation_from_row(row: Row) -> Reservation:
    return Reservation(
        row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8],
        NetworkClass(row[9]) if row[9] else None, row[10], row[11], LinkState(row[12]), row[13], _tags_from(row[14]),
    )  # fmt: skip


def disk_from_row(row: Row) -> Disk:
    return Disk(
        row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], DiskState(row[8]), DiskState(row[9]), row[10],
        row[11], _tags_from(row[12]), Pool(row[13]), row[14], row[15], row[16], row[17], row[18],
    )  # fmt: skip


def image_from_row(row: Row) -> Image:
    return Image(
        row[0], row[1], row[2], row[3], row[4], row[5], row[6], ImageState(row[7]), row[8], row[9]
    )  # fmt: skip


COMMON_FILTERS = {name: f"r.{name}" for name in ("id", "title", "state", "state_message")}


ADDRESS_FILTERS = {"address": "host(r.address)", "address6": "host(r.address6)"}
IMAGE_FILTER = {"image_name": "(SELECT f.name FROM image f WHERE f.id = r.image_id AND NOT f.deleting)"}


def _columns(*names: str) -> dict[str, str]:
    return COMMON_FILTERS | {name: f"r.{name}" for name in names}


MACHINES = Table(
    "machine",
    "SELECT r.id, r.project_id, r.title, r.summary, r.hostname, r.architecture, r.cores, r.memory_mib, r.share,"
    " r.root_size_bytes, r.image_id, i.name, r.size_name, r.ssh_key, r.user_data, r.wanted, r.host, r.state,"
    " r.state_message, r.console, r.created_at, (SELECT json_agg(json_build_array("
    + INTERFACE_COLUMNS.format("n") + _tags("n.id")
    + ") ORDER BY n.sequence) FROM interface n WHERE n.machine_id = r.id AND NOT n.deleting),"
    " (SELECT json_agg(json_build_array(" + ATTACHMENT_COLUMNS.format("a") + _tags("a.id")
    + ") ORDER BY a.sequence) FROM attachment a WHERE a.machine_id = r.id AND NOT a.deleting), " + _tags("r.id")
    + ", EXISTS (SELECT FROM console_log l WHERE l.machine_id = r.id), r.console_password, r.max_cores,"
    " (SELECT json_agg(json_build_array(" + GROUP_LINK_COLUMNS.format("l") + _tags("l.id")
    + ") ORDER BY l.sequence) FROM group_link l WHERE l.machine_id = r.id)"
    " FROM machine r LEFT JOIN image i ON i.id = r.image_id AND NOT i.deleting",
    _columns("summary", "hostname", "architecture", "cores", "memory_mib", "share", "size_name", "ssh_key",
             "user_data", "root_size_bytes", "host")
    | IMAGE_FILTER,
    machine_from_row,
)  # fmt: skip
NETWORKS = Table(
    "network",
    "SELECT r.id, r.project_id, r.title, r.summary, r.label, r.vlan, r.cidr, r.gateway, r.allocation, r.shared,"
    " r.wanted, r.state, r.state_message, r.created_at, " + _tags("r.id") + ", r.cidr6, r.class FROM network r",
    _columns("summary", "label", "vlan", "cidr", "gateway", "allocation", "cidr6") | {"network_class": "r.class"},
    network_from_row,
)
DISKS = Table(
    "disk",
    "SELECT r.id, r.project_id, r.title, r.summary, r.size_bytes, r.image_id, i.name, r.host, r.wanted,"
    " r.state, r.state_message, r.created_at, "
    + _tags("r.id")
    + ", r.pool, r.restricted, r.snapshot_of, r.read_only, r.shared_pool, r.volatile FROM disk r"
    " LEFT JOIN image i ON i.id = r.image_id AND NOT i.deleting",
    _columns("summary", "size_bytes", "pool", "host", "read_only", "volatile") | IMAGE_FILTER,
    disk_from_row,
)
INTERFACES = Table(
    "interface",
    "SELECT "
    + INTERFACE_COLUMNS.format("r")
    + _tags("r.id")
    + "".join(f", coalesce(t.{column}, 0)" for column in TRAFFIC_COLUMNS)
    + f" FROM interface r LEFT JOIN traffic t ON {OWN_TRAFFIC}",
    _columns(
        "machine_id",
        "network_id",
        "reservation_id",
        "name",
        "mac",
        "gateway",
        "allocation",
        "ingress_kbit_s",
        "egress_kbit_s",
    )
    | ADDRESS_FILTERS
    | {column: f"coalesce((SELECT t.{column} FROM traffic t WHERE {OWN_TRAFFIC}), 0)" for column in TRAFFIC_COLUMNS},
    interface_from_row,
)
RESERVATIONS = Table(
    "reservation",
    "SELECT r.id, r.project_id, r.network_id, r.title, r.summary, r.mac, host(r.address), host(r.address6),"
    " (SELECT i.machine_id FROM interface i WHERE i.reservation_id = r.id), n.class, n.label, n.vlan, n.state,"
    " n.state_message, " + _tags("r.id") + " FROM reservation r JOIN network n ON n.id = r.network_id",
    _columns("summary", "network_id")
    | ADDRESS_FILTERS
    | {"used": "EXISTS (SELECT FROM interface i WHERE i.reservation_id = r.id)"}
    | {
        name: f"(SELECT n.{name} FROM network n WHERE n.id = r.network_id)"
        for name in ("label", "vlan", "state", "state_message")
    },
    reservation_from_row,
)
ATTACHMENTS = Table(
    "attachment",
    "SELECT " + ATTACHMENT_COLUMNS.format("r") + _tags("r.id") + " FROM attachment r",
    _columns("machine_id", "disk_id", "device", "mount_point"),
    attachment_from_row,
)
GROUPS = Table(
    "security_group",
    "SELECT r.id, r.project_id, r.title, r.summary, r.rules, r.is_default, r.state, r.state_message, "
    + _tags("r.id")
    + " FROM security_group r",
    _columns("summary", "rules"),
    group_from_row,
)
GROUP_LINKS = Table(
    "group_link",
    "SELECT " + GROUP_LINK_COLUMNS.format("r") + _tags("r.id") + " FROM group_link r",
    _columns("machine_id", "group_id"),
    group_link_from_row,
)
IMAGES = Table(
    "image",
    "SELECT r.id, r.name, r.title, r.project_id, r.format, r.size_bytes, r.sha256, r.state, r.state_message,"
    " r.created_at FROM image r",
    _columns("name"),
    image_from_row,
    order="r.created_at, r.name",
)
