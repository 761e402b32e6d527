"""Disks as plain files, of any format and from anywhere: exported through FUSE by a qemu-storage-daemon for each.

A disk is open for reading, by the gateway's user alone, or for a moment for writing, by the agent. A file that somebody
has open can't be unmounted, so the kernel knows when reading has ended, however the reader ended. All may be cut off
anywhere and called again; daemons are found by their command lines. It knows neither machines nor the database.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import pwd
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from backends.disks.errors import ToolFailed
from backends.disks.tool import Node, failure
from backends.opened import opened_path

FOLDER_MODE = 0o750
OPENING_SECONDS = 30
ENDING_SECONDS = 10
MNT_DETACH = 2
WRITING = ".writing"
_LIBC = ctypes.CDLL(None, use_errno=True)


class DiskFiles:
    """`user` is whose processes read disks; without that user on this host nobody does."""

    def __init__(self, folder: Path, user: str) -> None:
        self.folder = folder
        self.user = user

    def prepare(self) -> None:
        """The folder, which only root and the group of `user` enter; what nobody reads any more is closed."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(KeyError):
            os.chown(self.folder, 0, pwd.getpwnam(self.user).pw_gid)
            self.folder.chmod(FOLDER_MODE)
        for path in list(self.folder.iterdir()):
            _close(path, force=path.name.endswith(WRITING))

    def end(self) -> None:
        """Closes all of them, whoever reads."""
        for path in list(self.folder.iterdir()):
            _close(path, force=True)

    def opened(self) -> set[UUID]:
        found = set()
        for path in self.folder.iterdir():
            with contextlib.suppress(ValueError):
                found.add(UUID(path.name))
        return found

    def ensure_open(self, disk_id: UUID, node: Node) -> None:
        """For reading. `ToolFailed` with the reason."""
        try:
            user_id = pwd.getpwnam(self.user).pw_uid
        except KeyError:
            raise ToolFailed(f"this host has no user {self.user!r}, who would read the disk") from None
        path = opened_path(self.folder, disk_id)
        if not _is_mounted(path) or not _is_alive(path):
            _close(path, force=True)
            _open(path, node, writable=False)
        os.chown(path, user_id, 0)
        path.chmod(0o400)

    def close(self, disk_id: UUID, *, force: bool = False) -> bool:
        """False while somebody reads it, unless by force, which cuts them off."""
        return _close(opened_path(self.folder, disk_id), force=force)

    @contextmanager
    def writing(self, disk_id: UUID, node: Node) -> Iterator[Path]:
        """A file to write to; what is written and flushed is on the disk when the block has ended well."""
        path = self.folder / f"{disk_id}{WRITING}"
        _close(path, force=True)
        try:
            _open(path, node, writable=True)
            yield path
        finally:
            _close(path, force=True)

    def cut_off(self, disk_id: UUID) -> None:
        """Whoever reads or writes it gets an error, also where its host doesn't answer any more: no file is asked."""
        for name in (str(disk_id), f"{disk_id}{WRITING}"):
            _end_daemons(self.folder / name, (signal.SIGKILL,))


def unmount(path: Path, flags: int) -> None:
    if _LIBC.umount2(os.fsencode(path), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))


def _open(path: Path, node: Node, *, writable: bool) -> None:
    # Runs of zeros become holes again.
    options = {**node.options, "node-name": "disk", "read-only": not writable, "discard": "unmap"}
    if writable:
        options["detect-zeroes"] = "unmap"
    export = {
        "type": "fuse", "id": "file", "node-name": "disk", "writable": writable, "growable": False,
        "allow-other": "on", "mountpoint": str(path),
    }  # fmt: skip
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0)
    os.close(descriptor)
    try:
        with _secret(node) as (how, descriptors):
            done = subprocess.run(
                [
                    "prlimit", "--core=0", "qemu-storage-daemon", "--daemonize", *how,
                    "--blockdev", json.dumps(options), "--export", json.dumps(export),
                ],
                stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
                timeout=OPENING_SECONDS, cwd="/", check=False, pass_fds=descriptors,
            )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ToolFailed(f"qemu-storage-daemon did not open it within {OPENING_SECONDS} seconds") from None
    if done.returncode != 0:
        reason = done.stderr.replace(f" --blockdev {json.dumps(options)}:", "")
        raise failure("qemu-storage-daemon", done.returncode, reason)


@contextmanager
def _secret(node: Node) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """What a program needs to know it, and the descriptors that it inherits: no other process sees it."""
    if node.secret is None:
        yield (), ()
        return
    descriptor = os.memfd_create("secret")
    try:
        os.write(descriptor, node.secret.encode())
        yield ("--object", f"secret,id=chap,file=/dev/fd/{descriptor}"), (descriptor,)
    finally:
        os.close(descriptor)


def _close(path: Path, *, force: bool) -> bool:
    """The file goes last: without it there is no mount and no daemon."""
    if not os.path.lexists(path) and not _is_mounted(path):
        return True
    if _is_mounted(path):
        try:
            unmount(path, MNT_DETACH if force or not _is_alive(path) else 0)
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            if error.errno != errno.EINVAL:  # unmounted meanwhile
                raise
    _end_daemons(path)
    path.unlink(missing_ok=True)
    return True


def _is_mounted(path: Path) -> bool:
    try:
        return path.lstat().st_dev != path.parent.stat().st_dev
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno == errno.ENOTCONN


def _is_alive(path: Path) -> bool:
    """Whether a daemon still answers for it."""
    try:
        path.lstat()
    except OSError as error:
        return error.errno != errno.ENOTCONN
    return True


def _end_daemons(path: Path, signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGKILL)) -> None:
    for handle in _daemons(path):
        try:
            for number in signals:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, number)
                if select.select([handle], [], [], ENDING_SECONDS)[0]:
                    break
        finally:
            os.close(handle)


def _daemons(path: Path) -> list[int]:
    """Handles of the processes that export it."""
    mark = b'"mountpoint": ' + json.dumps(str(path)).encode() + b"}"
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(int(folder.name))
            # Asked after the handle is had: the number may belong to another by now.
            if mark in (folder / "cmdline").read_bytes():
                found.append(handle)
            else:
                os.close(handle)
    return found
