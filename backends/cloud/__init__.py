"""The door: the one way in which front-ends read and change the cloud.

A `Cloud` speaks for one caller. Reads are one SQL query and show only what the caller's project owns (all of it to
a cloud admin); whatever else answers `NotFound`. Changes write what should be and defer the agent's job in one
transaction, and return at once.
"""

from __future__ import annotations

from backends.cloud.disk_bytes import DiskBytesDoor
from backends.cloud.disks import DiskChanges
from backends.cloud.exports import ExportDoor
from backends.cloud.groups import GroupChanges
from backends.cloud.images import ImageDoor
from backends.cloud.links import AttachmentChanges, InterfaceChanges, LinkDoor
from backends.cloud.machines import MachineChanges, MachineDoor
from backends.cloud.networks import NetworkChanges, NetworkDoor
from backends.cloud.queues import QueueDoor
from backends.cloud.reservations import ReservationChanges, ReservationDoor
from backends.cloud.tags import TagDoor

__all__ = [
    "AttachmentChanges",
    "Cloud",
    "DiskChanges",
    "GroupChanges",
    "InterfaceChanges",
    "MachineChanges",
    "NetworkChanges",
    "ReservationChanges",
]


class Cloud(
    QueueDoor, MachineDoor, NetworkDoor, ReservationDoor, DiskBytesDoor, ExportDoor, LinkDoor, ImageDoor, TagDoor
):
    """Everything the caller may do; see the module's docstring."""
