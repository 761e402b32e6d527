"""What a domain should be and what was seen of it, as frozen rows in the driver's own terms.

Nothing here knows libvirt, its XML or the cloud's database.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal
from uuid import UUID

from backends.machines.errors import InvalidSpec
from backends.model import Architecture

DomainType = Literal["kvm", "qemu"]
DiskFormat = Literal["raw", "qcow2"]

CLOUD_TAG = re.compile(r"[a-z][a-z0-9]{1,15}")
_DEVICE = re.compile(r"vd[a-z]{1,2}")
_SERIAL = re.compile(r"[A-Za-z0-9_.+-]{1,20}")
_LINK_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_IQN = re.compile(r"iqn\.[a-z0-9.:-]{1,219}")
_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")


def _check(pattern: re.Pattern[str], what: str, value: str, expected: str) -> None:
    if not pattern.fullmatch(value):
        raise InvalidSpec(f"{what} is {value!r}, expected {expected}")


@dataclass(frozen=True, slots=True)
class BaseImage:
    path: Path
    format: DiskFormat


@dataclass(frozen=True, slots=True)
class IscsiSource:
    """LUN 0 of a target, reached by QEMU's own initiator: the host logs in nowhere.

    The initiator's name is its CHAP user name too; the secret is the one that `Hypervisor.ensure_secret` was given.
    """

    address: str
    port: int
    target: str
    initiator: str
    secret_id: UUID

    def __post_init__(self) -> None:
        _check(_IQN, "the target's name", self.target, "a lower-case iqn. name")
        _check(_IQN, "the initiator's name", self.initiator, "a lower-case iqn. name")

    def __str__(self) -> str:
        return f"{self.target} at {self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class DomainDisk:
    """A virtio disk. `device` names its place (`vda`); guests number their disks in that order.

    `serial` is what the guest finds under /dev/disk/by-id; virtio carries twenty bytes of it. `bases` is the
    whole chain of images that a qcow2 clone stands on, nearest first: what isn't named in it isn't read.
    libvirt leaves their owner and mode alone, so QEMU's user must be able to read them and can't write them.
    Without `bases` libvirt follows the files' own headers and hands all of the chain over to QEMU's user.
    """

    source: Path | IscsiSource
    """An absolute path, or a target, whose disk is always raw."""
    format: DiskFormat
    device: str
    serial: str | None = None
    read_only: bool = False
    bases: tuple[BaseImage, ...] = ()

    def __post_init__(self) -> None:
        _check(_DEVICE, "the disk's device", self.device, "vda to vdzz")
        if self.serial is not None:
            _check(_SERIAL, "the disk's serial", self.serial, "1 to 20 letters, digits or _.+-")
        if isinstance(self.source, Path) and not self.source.is_absolute():
            raise InvalidSpec(f"the disk's path is {str(self.source)!r}, expected an absolute one")
        if isinstance(self.source, IscsiSource) and self.format != "raw":
            raise InvalidSpec(f"the disk {self.source} is {self.format}, but what a target serves is raw")
        if self.bases and self.format != "qcow2":
            raise InvalidSpec(f"the disk at {self.source} is {self.format}, which can't stand on an image")


@dataclass(frozen=True, slots=True)
class DomainInterface:
    """A virtio network card: libvirt makes the tap of that name and plugs it into the bridge."""

    tap: str
    bridge: str
    mac: str

    def __post_init__(self) -> None:
        _check(_LINK_NAME, "the tap's name", self.tap, "1 to 15 letters, digits or _.-")
        _check(_LINK_NAME, "the bridge's name", self.bridge, "1 to 15 letters, digits or _.-")
        _check(_MAC, "the interface's MAC", self.mac, "a lower-case unicast address like 52:54:00:12:34:56")
        if self.tap.startswith("vnet"):
            raise InvalidSpec(f"the tap's name is {self.tap!r}, but libvirt keeps names in vnet for itself")


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """All of one machine. Guests start from the first disk that boots, in the order given."""

    id: UUID
    title: str | None
    cores: int
    memory_mib: int
    share: int | None
    architecture: Architecture
    disks: tuple[DomainDisk, ...] = ()
    interfaces: tuple[DomainInterface, ...] = ()
    seed: Path | None = None
    """The ISO with what the guest is told at its first start."""
    max_cores: int | None = None
    """Up to which cores may be added while it runs; None, or no more than `cores`: none."""

    def __post_init__(self) -> None:
        if self.cores < 1 or self.memory_mib < 1:
            raise InvalidSpec(
                f"machine {self.id} has {self.cores} cores and {self.memory_mib} MiB, expected at least one"
            )
        devices = [disk.device for disk in self.disks]
        if len(set(devices)) != len(devices):
            raise InvalidSpec(f"machine {self.id} has two disks at one device, among {', '.join(devices)}")


class Power(StrEnum):
    """CRASHED is a guest in a panic that still lies in memory; HIBERNATED is off with its memory saved."""

    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"
    HIBERNATED = "hibernated"
    CRASHED = "crashed"


class Reason(StrEnum):
    """Why a machine is off, or paused though nobody asked.

    UNKNOWN is what remains after libvirt or the host was restarted.
    """

    GUEST_SHUTDOWN = "guest_shutdown"
    DESTROYED = "destroyed"
    CRASHED = "crashed"
    FAILED = "failed"
    SAVED = "saved"
    DISK_ERROR = "disk_error"
    BUSY = "busy"
    """Paused by libvirt itself for a moment, while it saves or copies."""
    ASKED = "asked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PluggedDisk:
    device: str
    source: Path | IscsiSource | None


@dataclass(frozen=True, slots=True)
class PluggedInterface:
    tap: str
    bridge: str | None
    mac: str


@dataclass(frozen=True, slots=True)
class Observed:
    """What is. The plugged devices are the running (or saved) guest's, else those of its definition."""

    id: UUID
    power: Power
    reason: Reason | None
    """None while it runs."""
    run: int | None
    """A number that is new at each start on this host, None while off: a reset keeps it."""
    vnc: str | None
    """`host:port` while it runs."""
    vnc_password: str | None = field(repr=False)
    guest_agent: bool
    """Whether an agent in the guest has opened its channel."""
    disks: tuple[PluggedDisk, ...]
    interfaces: tuple[PluggedInterface, ...]
    seed: Path | None
    cores: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class DiskStatistics:
    device: str
    read_bytes: int
    read_requests: int
    written_bytes: int
    write_requests: int
    capacity_bytes: int
    allocated_bytes: int


@dataclass(frozen=True, slots=True)
class InterfaceStatistics:
    """Counted at the tap, but named as the guest sees it."""

    tap: str
    received_bytes: int
    received_packets: int
    received_dropped: int
    sent_bytes: int
    sent_packets: int
    sent_dropped: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters since the machine's start; memory as it is now. Guests without a balloon driver leave None."""

    id: UUID
    cpu_seconds: float
    memory_mib: int
    memory_resident_mib: int | None
    memory_unused_mib: int | None
    disks: tuple[DiskStatistics, ...]
    interfaces: tuple[InterfaceStatistics, ...]
