"""What a storage host keeps its disks in, whichever of the two it is: raw files, or thin logical volumes.

Every method says what should be, may be cut off at any point and called again. Names come from UUIDs alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

MOST_RESERVED_BYTES = 2**30
RESERVED_PART = 50


@dataclass(frozen=True, slots=True)
class Room:
    """What there is to write to. Disks are thin: what they may come to have is more, and counted elsewhere."""

    total_bytes: int
    free_bytes: int

    @property
    def is_full(self) -> bool:
        """Before the last byte: a fiftieth of it, or one GiB, is left for those who write already."""
        return self.free_bytes < min(self.total_bytes // RESERVED_PART, MOST_RESERVED_BYTES)


class Volumes(Protocol):
    """The disks of one storage host."""

    def prepare(self) -> None:
        """Whatever is needed is there, and what was cut off is gone. Once, before anything else."""

    def path(self, disk_id: UUID) -> Path:
        """Where LIO finds its bytes: a file or a block device."""

    def disks(self) -> set[UUID]:
        """Every disk of this cloud, whole or not."""

    def is_there(self, disk_id: UUID) -> bool: ...

    def ensure_blank(self, disk_id: UUID, size_bytes: int) -> None:
        """A disk of zeros. One that exists stays as it is."""

    def shares(self, disk_id: UUID, source_id: UUID) -> bool:
        """A copy that stores only what differs, of one instant, whoever writes to the source meanwhile.

        False, and nothing made, where that can't be done. One that exists stays as it is.
        """

    def copy(self, disk_id: UUID, source_id: UUID) -> None:
        """As `shares`, byte by byte; nobody may write to the source meanwhile."""

    def ensure_size(self, disk_id: UUID, size_bytes: int) -> None:
        """At least this large; it never shrinks."""

    def absent(self, disk_id: UUID) -> None:
        """It must not be served any more."""

    def room(self) -> Room: ...
