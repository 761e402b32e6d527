"""A pool in a folder of a file system that several hosts have mounted: what they must agree on beyond `DiskPool`.

Whose a disk is at a time is for the agents to settle; two of them never work on one. But layers belong to several
disks, so they are made and removed by one host at a time. What a host remembers of folders may be older than what
another has done there, so it is made to look again. Images stay in each host's own pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

from backends.disks.errors import PoolMissing
from backends.disks.pool import (
    DISK_MODE,
    UNFINISHED,
    DiskPool,
    StoredFile,
    Volume,
    VolumeKind,
    convert,
    whole_sectors,
)
from backends.disks.tool import qemu_img
from backends.disks.volumes import Room

IDENTITY = "altostratus-pool"
"""The file that says which pool the folder is. Where it isn't, nothing is mounted."""
FOLDERS = (VolumeKind.DISK, VolumeKind.LAYER)


class SharedPool(DiskPool):
    """`alone` keeps all other hosts from what is done meanwhile; `host` is this one's name."""

    def __init__(
        self, folder: Path, host: str, alone: Callable[[], AbstractContextManager[None]], *, group: str | None = None
    ) -> None:
        super().__init__(folder, group=group)
        self._host = host
        self._alone = alone

    def identity(self) -> UUID:
        """`PoolMissing`, with what is the matter."""
        try:
            return UUID((self.folder / IDENTITY).read_text("ascii").strip())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it says nothing that is known"
            raise PoolMissing(
                f"the shared folder {self.folder} isn't mounted on {self._host}: its file {IDENTITY}: {reason}"
            ) from None

    def found(self, expected: UUID) -> SharedPool:
        """This pool, as the other hosts left it; `PoolMissing` if it isn't the expected one."""
        if (present := self.identity()) != expected:
            raise PoolMissing(
                f"the shared folder {self.folder} of {self._host} is the pool {present}: expected {expected}"
            )
        self._look_again()
        return self

    def make(self, identity: UUID) -> None:
        """The folder becomes the pool of that name."""
        for name in FOLDERS:
            (self.folder / name).mkdir(exist_ok=True)
        for folder in (self.folder, *(self.folder / name for name in FOLDERS)):
            self._permit(folder, folder.stat().st_mode & 0o7777 | 0o750)
        with self._unfinished(self.folder / IDENTITY) as written:
            written.write_text(f"{identity}\n", "ascii")
            self._finish(written, self.folder / IDENTITY, 0o444)

    def _look_again(self) -> None:
        """NFS remembers names, and which file has them, for up to a minute. A change of its own that the server
        answers with a state of the folder that it didn't know makes it forget them.
        """
        for name in FOLDERS:
            mark = self.folder / name / f".{quote(self._host, safe='')}"
            mark.touch()
            mark.unlink(missing_ok=True)

    def room(self) -> Room:
        capacity = self.capacity()
        return Room(capacity.total_bytes, capacity.free_bytes)

    def ensure_made_from(self, volume: Volume, image: StoredFile, size_bytes: int) -> None:
        """A full copy of an image of the host's own pool. One that exists stays as it is."""
        if self.path(volume).exists():
            return
        with self._unfinished(self.path(volume)) as path:
            convert((image,), path)
            qemu_img("resize", "-q", "-f", "qcow2", str(path), str(whole_sectors(size_bytes)))
            self._finish(path, self.path(volume), DISK_MODE)

    def unfinished(self) -> Mapping[Path, UUID]:
        """Files that are being filled, or were cut off, with the disk that each is to become."""
        found = {}
        for path in (self.folder / VolumeKind.DISK).glob(f"*{UNFINISHED}"):
            with suppress(ValueError):
                found[path] = UUID(path.name.partition(".")[0])
        return found

    # Layers

    def _make_layer(self, source: Volume) -> None:
        with self._alone():
            super()._make_layer(source)

    def remove_unused_layers(self, *, also_second_names: bool = True) -> None:
        """One that has two names was cut off: nobody makes one now."""
        with self._alone():
            self._look_again()
            super().remove_unused_layers(also_second_names=also_second_names)

    @contextmanager
    def _unwritten(self, volume: Volume) -> Iterator[None]:
        """No lease tells what other hosts do, but QEMU's locks do."""
        qemu_img("info", "-f", "qcow2", str(self.path(volume)))
        yield
