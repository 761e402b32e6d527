"""A storage host's disks as raw, sparse files in a folder of a file system."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from backends.disks.download import room_needed_for
from backends.disks.errors import NotThere
from backends.disks.pool import remove, sync
from backends.disks.tool import COPY_SECONDS, run
from backends.disks.volumes import Room

SUFFIX = ".raw"
UNFINISHED = ".part"
FICLONE = 0x40049409
"""linux/fs.h: all of one file becomes all of another, in one step that no write falls into (ioctl_ficlone(2))."""
CAN_NOT_CLONE = {errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS}


class RawFiles:
    """`Volumes` in a folder, which nobody but root enters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in self.folder.glob(f"*{UNFINISHED}"):
            leftover.unlink(missing_ok=True)

    def path(self, disk_id: UUID) -> Path:
        return self.folder / f"{disk_id}{SUFFIX}"

    def disks(self) -> set[UUID]:
        found = set()
        for path in self.folder.glob(f"*{SUFFIX}"):
            with suppress(ValueError):
                if str(disk_id := UUID(path.stem)) == path.stem:
                    found.add(disk_id)
        return found

    def is_there(self, disk_id: UUID) -> bool:
        return self.path(disk_id).exists()

    def ensure_blank(self, disk_id: UUID, size_bytes: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with room_needed_for(self.path(disk_id)):
            os.close(os.open(self.path(disk_id), flags, 0o600))
            self.ensure_size(disk_id, size_bytes)

    def shares(self, disk_id: UUID, source_id: UUID) -> bool:
        if self.is_there(disk_id):
            return True
        part = self._part(disk_id)
        try:
            with self._opened(source_id) as source, part.open("wb") as target:
                part.chmod(0o600)
                fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        except OSError as error:
            part.unlink(missing_ok=True)
            if error.errno in CAN_NOT_CLONE:
                return False
            raise
        self._finish(disk_id)
        return True

    def copy(self, disk_id: UUID, source_id: UUID) -> None:
        if self.is_there(disk_id):
            return
        part = self._part(disk_id)
        with self._opened(source_id) as source:
            options = ("--sparse=always", "--reflink=never", "--no-target-directory")
            try:
                run("cp", *options, "--", source.name, str(part), seconds=COPY_SECONDS)
                self._finish(disk_id)
            finally:
                part.unlink(missing_ok=True)

    def ensure_size(self, disk_id: UUID, size_bytes: int) -> None:
        try:
            descriptor = os.open(self.path(disk_id), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as missing:
            raise NotThere(f"disk {disk_id} is not there: {self.path(disk_id)} is missing") from missing
        try:
            if os.fstat(descriptor).st_size < size_bytes:
                with room_needed_for(self.path(disk_id)):
                    os.ftruncate(descriptor, size_bytes)
                    os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def absent(self, disk_id: UUID) -> None:
        remove(self.path(disk_id))

    def room(self) -> Room:
        system = os.statvfs(self.folder)
        return Room(system.f_blocks * system.f_frsize, system.f_bavail * system.f_frsize)

    def _part(self, disk_id: UUID) -> Path:
        """A file to fill before it gets its name: never one that a killed agent's child still writes to."""
        part = self.path(disk_id).with_suffix(UNFINISHED)
        part.unlink(missing_ok=True)
        return part

    def _opened(self, disk_id: UUID) -> BinaryIO:
        try:
            return self.path(disk_id).open("rb")
        except FileNotFoundError as missing:
            raise NotThere(f"disk {disk_id} is not there: {self.path(disk_id)} is missing") from missing

    def _finish(self, disk_id: UUID) -> None:
        part = self.path(disk_id).with_suffix(UNFINISHED)
        part.chmod(0o600)
        with room_needed_for(part):
            sync(part)
        part.replace(self.path(disk_id))
        sync(self.folder)
