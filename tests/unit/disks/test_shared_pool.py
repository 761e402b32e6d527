"""A pool in a shared folder: what tells that it is there, and what is kept from other hosts."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from backends.disks.errors import InUse, PoolMissing
from backends.disks.pool import disk
from backends.disks.shared_pool import IDENTITY, SharedPool

MIB = 2**20
POOL = uuid4()


class Lock:
    """Held by one of the hosts at a time; it counts how often."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        assert self._lock.acquire(blocking=False), "a host waits for itself"
        self.count += 1
        try:
            yield
        finally:
            self._lock.release()


@pytest.fixture
def lock() -> Lock:
    return Lock()


@pytest.fixture
def pool(tmp_path: Path, lock: Lock) -> SharedPool:
    made = SharedPool(tmp_path, "rack/1", lock)
    made.make(POOL)
    return made.found(POOL)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_folder_is_taken_only_for_the_pool_that_it_says_it_is(pool: SharedPool, tmp_path: Path) -> None:
    assert pool.identity() == POOL
    assert names(tmp_path) == {IDENTITY, "disks", "layers"} and names(tmp_path / "disks") == set()
    with pytest.raises(PoolMissing, match=f"of rack/1 is the pool {POOL}: expected"):
        pool.found(uuid4())


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"somebody else's"])
def test_empty_mount_point_is_no_pool(pool: SharedPool, tmp_path: Path, content: bytes | None) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    if content is not None:
        (mount / IDENTITY).write_bytes(content)
    missing = SharedPool(mount, "rack1", Lock())
    with pytest.raises(PoolMissing, match=f"{mount} isn't mounted on rack1"):
        missing.found(POOL)
    assert names(mount) <= {IDENTITY}


def test_layers_are_made_and_removed_while_no_other_host_does(pool: SharedPool, lock: Lock, tmp_path: Path) -> None:
    source, copy = disk(uuid4()), disk(uuid4())
    pool.ensure_blank(source, MIB)
    assert lock.count == 0
    pool.ensure_branch(copy, source)
    assert lock.count == 1 and len(names(tmp_path / "layers")) == 1
    pool.absent(copy)
    assert lock.count == 2 and len(names(tmp_path / "layers")) == 1
    pool.absent(source)
    assert names(tmp_path / "layers") == names(tmp_path / "disks") == set()


def test_layer_with_two_names_was_cut_off(pool: SharedPool, tmp_path: Path) -> None:
    """Whoever makes one holds the lock, so that nobody does while unused ones are removed."""
    source = disk(uuid4())
    pool.ensure_blank(source, MIB)
    (tmp_path / "layers" / f"{uuid4()}.qcow2").hardlink_to(pool.path(source))
    pool.remove_unused_layers()
    assert names(tmp_path / "layers") == set()
    assert pool.facts(source).size_bytes == MIB


def test_disk_that_somebody_writes_to_becomes_no_layer(pool: SharedPool, tmp_path: Path) -> None:
    source = disk(uuid4())
    pool.ensure_blank(source, MIB)
    with subprocess.Popen(
        ["qemu-io", "-f", "qcow2", pool.path(source)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        writer.stdin.write("write 0 512\n")
        writer.stdin.flush()
        assert writer.stdout.readline()
        with pytest.raises(InUse):
            pool.ensure_branch(disk(uuid4()), source)
        writer.stdin.write("quit\n")
        writer.stdin.close()
    assert names(tmp_path / "layers") == set()
    pool.ensure_branch(disk(uuid4()), source)


def test_unfinished_files_tell_whose_they_are(pool: SharedPool, tmp_path: Path) -> None:
    mine = UUID("11111111-2222-3333-4444-555555555555")
    for name in (f"{mine}.qcow2.part", f"{mine}.uploaded.part", "others.part", f"{mine}.qcow2"):
        (tmp_path / "disks" / name).touch()
    assert {path.name: disk_id for path, disk_id in pool.unfinished().items()} == {
        f"{mine}.qcow2.part": mine,
        f"{mine}.uploaded.part": mine,
    }
