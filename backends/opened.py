"""Where a gateway finds the bytes of disks that its own host's agent has opened: a file for each, readable by it alone.

Opening and closing are the agent's (`backends.disks.files`). As long as somebody has such a file open it stays, since
the agent can't take it away without force.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID


@dataclass(frozen=True, slots=True)
class OpenedDisks:
    """`host` is the host that the gateway is on: only its disks can be reached."""

    host: str
    folder: Path

    def open(self, disk_id: UUID, size_bytes: int) -> BinaryIO | None:
        """To read from; None while it isn't open, or not in this size yet."""
        path = opened_path(self.folder, disk_id)
        with contextlib.suppress(OSError):  # not there, not ours yet, or its daemon was killed
            file = path.open("rb", buffering=0)
            status = os.fstat(file.fileno())
            # The file that the disk is mounted upon is on the folder's own file system.
            if status.st_dev != self.folder.stat().st_dev and status.st_size == size_bytes:
                return file
            file.close()
        return None


def opened_path(folder: Path, disk_id: UUID) -> Path:
    return folder / str(disk_id)
