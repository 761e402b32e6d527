"""The bytes of a disk at rest: what the gateway has left to be written, and opening it for who reads.

Nobody reads while it is written, and nobody new begins once something is to be written: readers see the old or the
new. What is to be written stays in its file until it is, so a write that was cut off is done again, as a whole.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import UUID

import structlog

from backends import jobs
from backends.agent.host import Host
from backends.disks.download import room_needed_for
from backends.disks.errors import DiskError, ImageRefused, PoolFull
from backends.disks.inspect import ImageFormat
from backends.disks.pool import DiskPool, Uploaded, node_of
from backends.disks.pool import disk as pool_disk
from backends.disks.tool import Node, Progress
from backends.errors import DatabaseUnavailable
from backends.jobs import Kind
from backends.store.database import query
from backends.values import copy_range, data_ranges

log = structlog.get_logger()

ASK_AGAIN_S = 1
WRITE_AGAIN_S = 5
LOOKS, LOOK_S = 10, 0.02
WRITTEN_AT_ONCE_BYTES = 16 << 20
PROGRESS_S = 0.5
"""How often it is told how far a write has come."""
ALMOST_ALL_PERCENT = 99
"""The most that can be said before it is done."""


@dataclass(frozen=True, slots=True)
class Write:
    """`first_byte` None: a whole image; `pending` False: it is done or refused, and only its file is left."""

    id: UUID
    value_file: UUID
    size_bytes: int
    first_byte: int | None
    format: ImageFormat
    pending: bool


@dataclass(frozen=True, slots=True)
class Opening:
    """Until when a disk is to be open for readers."""

    until: datetime

    @property
    def left_s(self) -> float:
        return (self.until - datetime.now(UTC)).total_seconds()


class Bytes(Protocol):
    """Where a disk's bytes are, as this host reaches them."""

    @property
    def node(self) -> Node: ...

    def check_room(self, size_bytes: int) -> None:
        """`PoolFull`."""

    def replace(self, image: Uploaded, progress: Progress) -> None:
        """They become the image's, with zeros after its end. `ImageRefused`, which changes nothing, and `PoolFull`."""


@dataclass(frozen=True, slots=True)
class PoolBytes:
    """Those of a disk of a pool of this host."""

    host: Host
    pool: DiskPool
    disk_id: UUID
    size_bytes: int

    @property
    def node(self) -> Node:
        return node_of(self.pool.chain(pool_disk(self.disk_id)))

    def check_room(self, size_bytes: int) -> None:
        if size_bytes > self.pool.capacity().free_bytes:
            raise PoolFull(f"there is no room for {size_bytes} bytes in the pool of {self.host.name}")

    def replace(self, image: Uploaded, progress: Progress) -> None:
        self.pool.replace(pool_disk(self.disk_id), image, self.size_bytes, progress)


def write_of(host: Host, disk_id: UUID) -> Write | None:
    """What is to be written to it; a leftover of one that was written comes first."""
    with host.connection() as connection:
        row = connection.execute(query("agent.disk_write"), {"id": disk_id}).fetchone()
    return None if row is None else Write(row[0], row[1], row[2], row[3], ImageFormat(row[4]), row[5])


def write_what_waits(host: Host, disk_id: UUID, place: Bytes) -> None:
    """The disk must be held, at rest and closed. An error leaves the write waiting: it is tried again."""
    while (write := write_of(host, disk_id)) is not None:
        if write.pending:
            outcome, message = _written(host, disk_id, place, write)
            host.write("disk_write_settled", id=write.id, state=outcome, message=message)
        (host.values / str(write.value_file)).unlink(missing_ok=True)
        host.write("disk_write_dropped", id=write.id)


def forget(host: Host, disk_id: UUID) -> None:
    """Before the disk's row goes: whoever reads it is cut off, and what was to be written to it is gone."""
    host.files.close(disk_id, force=True)
    while (write := write_of(host, disk_id)) is not None:
        (host.values / str(write.value_file)).unlink(missing_ok=True)
        host.write("disk_write_settled", id=write.id, state="refused", message="the disk was deleted")
        host.write("disk_write_dropped", id=write.id)


def is_released(host: Host, disk_id: UUID) -> bool:
    """Closed. False while somebody reads it: then this is asked again after a while."""
    for _ in range(LOOKS):
        if host.files.close(disk_id):
            return True
        time.sleep(LOOK_S)  # one whose answer has just been sent is about to close it
    ask_again(host, disk_id, ASK_AGAIN_S, "still read")
    return False


def open_or_close(host: Host, disk_id: UUID, opening: Opening, place: Bytes, *, is_wanted: bool) -> None:
    """What those who want to read wish for, unless somebody else waits: an attached disk is its machine's alone."""
    left_s = opening.left_s
    if is_wanted or left_s <= 0:
        if is_released(host, disk_id):
            host.write("disk_closed", id=disk_id, until=opening.until, message="")
        return
    try:
        host.files.ensure_open(disk_id, place.node)
    except (DiskError, OSError) as error:
        log.warning("disk not opened", disk=str(disk_id), reason=str(error))
        host.files.close(disk_id, force=True)
        host.write("disk_closed", id=disk_id, until=opening.until, message=f"the disk can't be opened: {error}")
        return
    ask_again(host, disk_id, left_s)


def _written(host: Host, disk_id: UUID, place: Bytes, write: Write) -> tuple[str, str]:
    """The outcome and its reason. Half may be written when an error is raised, but of an image in a pool."""
    progress = _progress(host, write)
    progress(0)
    try:
        place.check_room(write.size_bytes)
        with _staged(host, write) as source:
            if write.first_byte is None:
                place.replace(Uploaded(source, write.format), progress)
            else:
                with host.files.writing(disk_id, place.node) as target, room_needed_for(target):
                    _put(source, write.size_bytes, target, write.first_byte, progress)
    except PoolFull as error:
        return "full", str(error)
    except ImageRefused as error:
        return "refused", str(error)
    return "done", ""


@contextmanager
def _staged(host: Host, write: Write) -> Iterator[BinaryIO]:
    """The gateway's file: no link to one that the gateway itself may not read."""
    path: Path = host.values / str(write.value_file)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ImageRefused("what was to be written is missing in the gateway's folder of values") from None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != path.parent.stat().st_uid:
            raise ImageRefused("what was to be written is no file of the gateway's own")
        if status.st_size != write.size_bytes:
            raise ImageRefused(f"what was to be written has {status.st_size} bytes instead of {write.size_bytes}")
        yield file


def _progress(host: Host, write: Write) -> Progress:
    """Tells the row, now and then."""
    told_at = 0.0

    def tell(part: float) -> None:
        nonlocal told_at
        if part == 0 or time.monotonic() - told_at >= PROGRESS_S:
            told_at = time.monotonic()
            with suppress(DatabaseUnavailable):
                host.write("disk_write_progressed", id=write.id, percent=min(int(part * 100), ALMOST_ALL_PERCENT))

    return tell


def _put(source: BinaryIO, count: int, path: Path, first_byte: int, progress: Progress) -> None:
    """All of it, and flushed. Holes are written too, as zeros."""
    target = os.open(path, os.O_RDWR)
    try:
        done = 0
        for start, end in (*data_ranges(source, count), (count, count)):
            while done < end:
                length = min(WRITTEN_AT_ONCE_BYTES, (start if done < start else end) - done)
                if done < start:
                    done += os.pwrite(target, bytes(length), first_byte + done)
                else:
                    copy_range(source.fileno(), done, target, first_byte + done, length)
                    done += length
                progress(done / count)
        os.fsync(target)
    finally:
        os.close(target)


def ask_again(host: Host, disk_id: UUID, delay_s: float, reason: str = "") -> None:
    with host.connection() as connection:
        jobs.defer_later(connection, host.name, Kind.DISK, disk_id, delay_s=delay_s, reason=reason)
