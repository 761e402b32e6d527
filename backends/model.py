"""What exists in the cloud, as frozen rows with units in the names.

Each resource carries what should be (its wanted fields and `generation`) and what is (`state`,
`state_message`, `observed_generation`). Nothing here knows SQL, a hypervisor or a standard.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """What a user may do: in the own project, with its users, or everywhere."""

    USER = "user"
    PROJECT_ADMIN = "project_admin"
    CLOUD_ADMIN = "cloud_admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking: every row the door shows or touches belongs to `project_id` unless a cloud admin asks."""

    user_id: UUID
    user_name: str
    project_id: UUID
    project_name: str
    role: Role


class MachineState(StrEnum):
    ACTIVE = "active"
    INACTIVE = "inactive"
    SUSPENDED = "suspended"
    ERROR = "error"


class LinkState(StrEnum):
    """The state of a network, an interface or an attachment."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    ERROR = "error"


class DiskState(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"
    BACKUP = "backup"
    SNAPSHOT = "snapshot"
    RESIZE = "resize"
    DEGRADED = "degraded"
    ERROR = "error"


class WriteState(StrEnum):
    """Of bytes that are to be written into a disk: FULL is refused for want of room."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"
    FULL = "full"


class WriteFormat(StrEnum):
    RAW = "raw"
    QCOW2 = "qcow2"


class Pool(StrEnum):
    """How a disk is reached: FILE from its own host alone, ISCSI from all, SHARED from those that have its folder."""

    FILE = "file"
    ISCSI = "iscsi"
    SHARED = "shared"


class ImageState(StrEnum):
    READY = "ready"
    PENDING = "pending"
    ERROR = "error"


class StopMethod(StrEnum):
    """GRACEFUL asks by ACPI and forces after a time limit, ACPIOFF only asks, POWEROFF only forces."""

    GRACEFUL = "graceful"
    ACPIOFF = "acpioff"
    POWEROFF = "poweroff"


class RestartMethod(StrEnum):
    """GRACEFUL shuts down by ACPI and starts, WARM resets the machine, COLD cuts the power and starts."""

    GRACEFUL = "graceful"
    WARM = "warm"
    COLD = "cold"


class SuspendMethod(StrEnum):
    """SUSPEND pauses in memory, HIBERNATE saves the memory to disk."""

    SUSPEND = "suspend"
    HIBERNATE = "hibernate"


class SaveMethod(StrEnum):
    """HOT copies the disk of the running machine now, DEFERRED when it next stops."""

    HOT = "hot"
    DEFERRED = "deferred"


class Allocation(StrEnum):
    DYNAMIC = "dynamic"
    STATIC = "static"


class Architecture(StrEnum):
    X86 = "x86"
    X64 = "x64"


class Direction(StrEnum):
    """Of the packets that a rule is about, as the guest sees it."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class GroupRule:
    """Something that a security group allows, on IPv4 and IPv6 unless `remote` says which. `icmp` is echo alone."""

    direction: Direction
    protocol: str | None = None
    """`tcp`, `udp` or `icmp`; None for all, whatever they are."""
    ports: tuple[int, int] | None = None
    """The first and the last port at the server's side, of tcp and udp; None for all."""
    remote: str | None = None
    """The other end's subnet, CIDR; None together with `group_id` None for anybody."""
    group_id: UUID | None = None
    """The group that the other end is in, on the same network."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A category that users make to group their resources (OCCI's user mixin). `location` is a path, `/my/`."""

    id: UUID
    project_id: UUID
    scheme: str
    term: str
    title: str
    location: str
    related: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """A read-only disk that machines start from; `project_id` None means everybody's."""

    id: UUID
    name: str
    """A lower-case word, unique in the cloud: it becomes a term and part of a URL."""
    title: str
    project_id: UUID | None
    format: str
    """`qcow2` or `raw`, as stored."""
    size_bytes: int
    """The virtual size: the least a disk made from it can have."""
    sha256: str
    state: ImageState
    state_message: str
    created_at: datetime


BANDWIDTH_MIN_KBIT_S = 64
BANDWIDTH_MAX_KBIT_S = 10_000_000


@dataclass(frozen=True, slots=True)
class Traffic:
    """As the guest sees it: what has reached its interface, and what has left it."""

    received_bytes: int = 0
    received_packets: int = 0
    sent_bytes: int = 0
    sent_packets: int = 0


@dataclass(frozen=True, slots=True)
class Interface:
    """A machine's port on a network. The addresses are without prefix, None on a network without any."""

    id: UUID
    machine_id: UUID
    network_id: UUID
    name: str
    """The guest's name for it, `eth0` and so on."""
    mac: str
    address: str | None
    gateway: str | None
    allocation: Allocation
    state: LinkState
    state_message: str
    title: str | None = None
    tags: tuple[Tag, ...] = ()
    address6: str | None = None
    reservation_id: UUID | None = None
    """What it has its addresses from, if they are reserved."""
    ingress_kbit_s: int | None = None
    """What its guest receives at most; None where there is no limit."""
    egress_kbit_s: int | None = None
    """What its guest sends at most."""
    traffic: Traffic | None = None
    """Not read with the interfaces of a machine."""

    @property
    def received_bytes(self) -> int | None:
        return self.traffic.received_bytes if self.traffic else None

    @property
    def received_packets(self) -> int | None:
        return self.traffic.received_packets if self.traffic else None

    @property
    def sent_bytes(self) -> int | None:
        return self.traffic.sent_bytes if self.traffic else None

    @property
    def sent_packets(self) -> int | None:
        return self.traffic.sent_packets if self.traffic else None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A disk plugged, or to be plugged, into a machine. `device` is the guest's name, `vdb`."""

    id: UUID
    machine_id: UUID
    disk_id: UUID
    device: str
    mount_point: str | None
    state: LinkState
    state_message: str
    title: str | None = None
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """What its members may get and send; nothing else passes but answers to that."""

    id: UUID
    project_id: UUID
    title: str | None
    summary: str | None
    rules: tuple[GroupRule, ...]
    is_default: bool
    """Whether it is that of the project's machines which are in no other."""
    state: LinkState
    state_message: str
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupLink:
    """A machine in a security group."""

    id: UUID
    machine_id: UUID
    group_id: UUID
    state: LinkState
    state_message: str
    title: str | None = None
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """A virtual machine with its interfaces and attachments."""

    id: UUID
    project_id: UUID
    title: str | None
    summary: str | None
    hostname: str | None
    architecture: Architecture
    cores: int
    memory_mib: int
    share: int | None
    """Relative CPU weight, OCCI's occi.compute.share; None is the hypervisor's default."""
    root_size_bytes: int | None
    """None without a root disk of its own (a machine that starts from an attached disk, or not at all)."""
    image_id: UUID | None
    image_name: str | None
    """None also once the image is deleted."""
    size_name: str | None
    """The name of the resource template it was made from."""
    ssh_key: str | None
    user_data: str | None
    """Base64, as sent; decoded when the seed is written."""
    wanted: MachineState
    host: str | None
    state: MachineState
    state_message: str
    console: str | None
    """`host:port` of the VNC display while it runs."""
    created_at: datetime
    interfaces: tuple[Interface, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    tags: tuple[Tag, ...] = ()
    has_console_log: bool = False
    """Whether its guest has ever written to the serial console."""
    console_password: str | None = field(default=None, repr=False)
    """Of the VNC display; another at each start."""
    max_cores: int | None = None
    """Up to which it may grow while it runs, as its resource template said; None: not at all."""
    groups: tuple[GroupLink, ...] = ()
    """None: its project's default security group."""


class NetworkClass(StrEnum):
    """Of the site's own networks: from where their machines are reached."""

    PUBLIC = "public"
    """From everywhere, under an address of the site's."""
    LOCAL = "local"
    """From every machine on it; out of it through NAT."""
    PRIVATE = "private"
    """From the machines on it that are on the same host; out of it through the host's NAT."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network. `shared` ones are the site's own, seen by every project and owned by none."""

    id: UUID
    project_id: UUID | None
    title: str | None
    summary: str | None
    label: str | None
    vlan: int | None
    cidr: str | None
    """IPv4 `10.1.0.0/24`; with no `cidr6` either, it is a plain layer-2 network."""
    gateway: str | None
    allocation: Allocation
    shared: bool
    wanted: LinkState
    state: LinkState
    state_message: str
    created_at: datetime
    tags: tuple[Tag, ...] = ()
    cidr6: str | None = None
    """IPv6 `fd00:1:2:3::/64`."""
    network_class: NetworkClass | None = None
    """None: a project's own, which is isolated."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Addresses of a network, with the MAC address to have them under, kept for a project.

    What is said of its network follows from `network_id`.
    """

    id: UUID
    project_id: UUID
    network_id: UUID
    title: str | None
    summary: str | None
    mac: str
    address: str | None
    address6: str | None
    machine_id: UUID | None
    """The machine that has them; also one that is just letting go of them."""
    network_class: NetworkClass | None
    label: str | None
    vlan: int | None
    state: LinkState
    state_message: str
    tags: tuple[Tag, ...] = ()

    @property
    def used(self) -> bool:
        return self.machine_id is not None


@dataclass(frozen=True, slots=True)
class Disk:
    """A persistent disk, whose life is independent of any machine, or a volatile one."""

    id: UUID
    project_id: UUID
    title: str | None
    summary: str | None
    size_bytes: int
    image_id: UUID | None
    image_name: str | None
    """The image it was made from, as long as that is there."""
    host: str | None
    wanted: DiskState
    state: DiskState
    state_message: str
    created_at: datetime
    tags: tuple[Tag, ...] = ()
    pool: Pool = Pool.FILE
    restricted: bool = False
    """Only machines with a permit may have it."""
    snapshot_of: UUID | None = None
    """The disk whose snapshot it is: it doesn't change, and no machine has it."""
    read_only: bool = False
    """Nobody writes to it, so any number of machines may have it."""
    shared_pool: UUID | None = None
    """The shared folder that it is in."""
    volatile: bool = False
    """It goes with the machine that it is attached to when that is deleted."""


@dataclass(frozen=True, slots=True)
class Initiator:
    """Somebody outside who may log in to a disk, under the own name and with this CHAP secret."""

    name: str
    secret: str = field(repr=False)
    is_served: bool
    """Whether the target knows it already."""


@dataclass(frozen=True, slots=True)
class Export:
    """How initiators outside reach a disk, in the terms of CDMI's export (1.1.1 §13.4)."""

    portals: tuple[str, ...]
    """`ADDRESS:PORT`."""
    target_identifier: str
    """`IQN,t,0x0001`; empty until the disk is served."""
    logical_unit_number: str
    logical_unit_name: str
    """`0x` and an NAA name; empty until the disk is served."""
    initiators: tuple[Initiator, ...]


# What a caller asks to be made. Fields left None are chosen by the cloud.


@dataclass(frozen=True, slots=True)
class NewInterface:
    """On a network, or on that of a reservation, with its addresses."""

    network_id: UUID | None = None
    mac: str | None = None
    address: str | None = None
    gateway: str | None = None
    allocation: Allocation | None = None
    title: str | None = None
    id: UUID | None = None
    address6: str | None = None
    reservation_id: UUID | None = None
    ingress_kbit_s: int | None = None
    egress_kbit_s: int | None = None


@dataclass(frozen=True, slots=True)
class NewAttachment:
    disk_id: UUID
    device: str | None = None
    mount_point: str | None = None
    title: str | None = None
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class NewGroup:
    title: str | None = None
    summary: str | None = None
    rules: tuple[GroupRule, ...] = ()
    tag_ids: tuple[UUID, ...] = ()
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class NewGroupLink:
    group_id: UUID
    title: str | None = None
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class NewMachine:
    title: str | None = None
    summary: str | None = None
    hostname: str | None = None
    architecture: Architecture = Architecture.X64
    cores: int | None = None
    memory_mib: int | None = None
    share: int | None = None
    root_size_bytes: int | None = None
    image_name: str | None = None
    size_name: str | None = None
    ssh_key: str | None = None
    user_data: str | None = None
    interfaces: tuple[NewInterface, ...] = ()
    attachments: tuple[NewAttachment, ...] = ()
    groups: tuple[NewGroupLink, ...] = ()
    tag_ids: tuple[UUID, ...] = ()
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class NewNetwork:
    title: str | None = None
    summary: str | None = None
    label: str | None = None
    vlan: int | None = None
    cidr: str | None = None
    gateway: str | None = None
    allocation: Allocation = Allocation.DYNAMIC
    tag_ids: tuple[UUID, ...] = ()
    id: UUID | None = None
    cidr6: str | None = None
    network_class: NetworkClass | None = None
    """Refused: the site's settings make those."""


@dataclass(frozen=True, slots=True)
class NewReservation:
    network_id: UUID | None = None
    """None: the public network if the site has one, else the one that all share."""
    address: str | None = None
    address6: str | None = None
    title: str | None = None
    summary: str | None = None
    tag_ids: tuple[UUID, ...] = ()
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class NewDisk:
    size_bytes: int = 0
    title: str | None = None
    summary: str | None = None
    image_name: str | None = None
    tag_ids: tuple[UUID, ...] = ()
    id: UUID | None = None
    pool: Pool | None = None
    """None: on a storage host if there is one with room, else beside the machines, as always if made from an image."""
    read_only: bool = False
    host: str | None = None
    """The storage host asked for, whose pool is ISCSI; None: any."""
    volatile: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """A resource template: sizes that a machine takes when its maker names none."""

    name: str
    title: str
    cores: int
    memory_mib: int
    root_size_bytes: int
    max_cores: int | None = None
    """Up to which a machine made from it may grow while it runs; None: not at all."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: `limit` None means all of it."""

    offset: int = 0
    limit: int | None = None


EVERYTHING = Page()


@dataclass(frozen=True, slots=True)
class Filter:
    """Which resources of a list: those that match all of it.

    `equals` maps a field of the row (`cores`, `hostname`, `state`, `cidr`...) to the value it must have.
    """

    equals: dict[str, object] = field(default_factory=dict)
    tag_ids: tuple[UUID, ...] = ()
    ids: tuple[UUID, ...] | None = None


NO_FILTER = Filter()
