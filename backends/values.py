"""The values of large objects: files in a folder, each written once under a name of its own and then kept or removed.

A value arrives in a file without a name, which vanishes with its writer. `keep` gives it a name when it is whole and
on the disk; the row that points to it is switched after that. What no row points to is swept. A value that is kept
never changes, so rows may share it. No SQL here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID, uuid4

INLINE_MAX_BYTES: Final = 64 << 10
"""Values up to this stand in the row: a file of their own would cost more."""
HASHED_LATER_MAX_BYTES: Final = 64 << 20
"""A larger value is hashed as it arrives or not at all: reading terabytes of holes would take hours."""
CHUNK_BYTES: Final = 256 << 10
FLUSHED_BYTES: Final = 32 << 20
"""The disk begins with each so much while the rest still arrives, and has little left to do at the end."""
COPIED_AT_ONCE_BYTES: Final = 64 << 20
FICLONE: Final = 0x40049409


class NoRoom(Exception):
    """The disk of the values is full."""


class Received:
    """A value that has arrived: in memory while it is small, then in a nameless file. Close it in any case.

    `check` refuses a size in bytes by an exception; a small value isn't worth asking.
    """

    def __init__(
        self,
        folder: Path,
        file: BinaryIO | None = None,
        *,
        hashed: bool = False,
        check: Callable[[int], None] | None = None,
    ) -> None:
        self._folder = folder
        self._check = check
        self._hash = hashlib.sha256() if hashed else None
        self._memory = bytearray()
        self._file = file
        self._flushed_bytes = 0
        self.size_bytes = 0
        self.was_kept = False
        """Under a name, by a change that has been taken back if it is to be kept once more."""

    @property
    def inline(self) -> bytes | None:
        return bytes(self._memory) if self._file is None else None

    @property
    def file(self) -> BinaryIO:
        """The file, made if need be."""
        if self._file is None:
            self._file = _nameless(self._folder)
            _write_all(self._file, self._memory)
            self._memory.clear()
        return self._file

    def read_all(self) -> bytes:
        """All of it, of what is known to be small enough."""
        inline = self.inline
        if inline is not None:
            return inline
        self.file.seek(0)
        return self.file.read()

    def write(self, data: bytes) -> None:
        with _room():
            if self._file is None and len(self._memory) + len(data) <= INLINE_MAX_BYTES:
                self._memory += data
            else:
                self.announce(self.size_bytes + len(data))
                _write_all(self.file, data)
        if self._hash is not None:
            self._hash.update(data)
        self.size_bytes += len(data)
        self._flush()

    def _flush(self) -> None:
        """Linux begins to write what it is told isn't needed, without waiting for it."""
        fresh_bytes = self.size_bytes - self._flushed_bytes
        if fresh_bytes >= FLUSHED_BYTES and self._file is not None:
            os.posix_fadvise(self._file.fileno(), self._flushed_bytes, fresh_bytes, os.POSIX_FADV_DONTNEED)
            self._flushed_bytes = self.size_bytes

    def announce(self, size_bytes: int) -> None:
        """So much is about to come, all in all."""
        if self._check is not None and size_bytes > INLINE_MAX_BYTES:
            self._check(size_bytes)

    def fill(self, chunks: Iterable[bytes]) -> Received:
        for chunk in chunks:
            self.write(chunk)
        return self

    def sha256(self) -> bytes | None:
        """At hand where it was wanted from the start, else read again if the value isn't too large for that."""
        if self._hash is not None:
            return self._hash.digest()
        if self.size_bytes > HASHED_LATER_MAX_BYTES:
            return None
        inline = self.inline
        if inline is not None:
            return hashlib.sha256(inline).digest()
        return sha256_of(self.file)

    def renew(self) -> None:
        """Another file with the same bytes: Linux gives a file no name again that has lost the one it had."""
        with self.file as old:
            self._file = _nameless(self._folder)
            copy_into(old, self, self.size_bytes)

    def cut(self, size_bytes: int) -> None:
        """Takes off what a write in place that failed may have left behind the value."""
        os.ftruncate(self.file.fileno(), size_bytes)

    def sync(self) -> None:
        with _room():
            os.fsync(self.file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Received:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Values:
    """The folder. Several gateways may share it if its file system has locks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def receive(self, *, hashed: bool = False, check: Callable[[int], None] | None = None) -> Received:
        return Received(self.folder, hashed=hashed, check=check)

    def open(self, value: UUID) -> BinaryIO:
        """`FileNotFoundError` when it has just been replaced: read the row again."""
        return (self.folder / str(value)).open("rb", buffering=0)

    def reopen(self, value: UUID) -> Received:
        """A kept value to write into; only for one that nobody reads."""
        return Received(self.folder, (self.folder / str(value)).open("r+b", buffering=0))

    def keep(self, received: Received) -> UUID:
        """On the disk and under a name; unswept until `received` is closed."""
        if received.was_kept:
            received.renew()
        received.was_kept = True
        file = received.file
        with _room():
            os.fsync(file.fileno())
            fcntl.flock(file, fcntl.LOCK_SH)
            name = uuid4()
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                # With a folder's descriptor Python calls linkat, which can name a nameless file.
                os.link(f"/proc/self/fd/{file.fileno()}", str(name), dst_dir_fd=folder, follow_symlinks=True)
                os.fsync(folder)
            finally:
                os.close(folder)
        return name

    def remove(self, value: UUID) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.folder / str(value)).unlink()

    def sweep(self, is_used: Callable[[UUID], bool]) -> int:
        """Removes what no row points to and nobody is about to; returns how many."""
        removed = 0
        for path in list(self.folder.iterdir()):
            try:
                value = UUID(path.name)
            except ValueError:
                continue
            with contextlib.suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not is_used(value):
                    path.unlink()
                    removed += 1
        return removed


def sha256_of(file: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.digest()


def copy_into(
    source: BinaryIO,
    target: Received,
    size_bytes: int,
    *,
    first: int = 0,
    check: Callable[[], None] = lambda: None,
) -> None:
    """So much of `source`, sharing its blocks where the file system can, leaving out its holes where not.

    A write in place that failed may have left more than belongs to the value. `check` may end it by an exception.
    """
    file = target.file
    with _room():
        if first > 0 or not _clone(source, file):
            for start, end in data_ranges(source, first + size_bytes, first):
                for at in range(start, end, COPIED_AT_ONCE_BYTES):
                    check()
                    copy_range(source.fileno(), at, file.fileno(), at - first, min(COPIED_AT_ONCE_BYTES, end - at))
        os.ftruncate(file.fileno(), size_bytes)
    target.size_bytes = size_bytes


def _clone(source: BinaryIO, target: BinaryIO) -> bool:
    """False where the file system can't share blocks."""
    try:
        fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        return False
    return True


def write_at(target: Received, offset: int, piece: Received) -> None:
    """Puts `piece` into `target`; what is skipped reads as zeros."""
    file = target.file
    with _room():
        inline = piece.inline
        if inline is not None:
            view = memoryview(inline)
            while view:
                count = os.pwrite(file.fileno(), view, offset + len(inline) - len(view))
                view = view[count:]
        else:
            copy_range(piece.file.fileno(), 0, file.fileno(), offset, piece.size_bytes)
    target.size_bytes = max(target.size_bytes, offset + piece.size_bytes)


def copy_range(source: int, source_offset: int, target: int, target_offset: int, count: int) -> None:
    while count > 0:
        try:
            copied = os.copy_file_range(source, target, count, source_offset, target_offset)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            copied = os.pwrite(target, os.pread(source, min(count, CHUNK_BYTES), source_offset), target_offset)
        if copied == 0:
            return
        source_offset, target_offset, count = source_offset + copied, target_offset + copied, count - copied


def data_ranges(file: BinaryIO, size_bytes: int, first: int = 0) -> Iterator[tuple[int, int]]:
    """Where the file has blocks from `first` on: (start, end) of each part."""
    end = first
    while end < size_bytes:
        try:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
        if start < size_bytes:
            yield start, min(end, size_bytes)


def _write_all(file: BinaryIO, data: bytes | bytearray) -> None:
    with memoryview(data) as view:
        written = 0
        while written < len(view):
            written += file.write(view[written:])


def _nameless(folder: Path) -> BinaryIO:
    descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    return os.fdopen(descriptor, "w+b", buffering=0)


@contextlib.contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NoRoom("there is no room left for the value") from None
        raise
