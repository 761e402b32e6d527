"""A storage host's disks as files, on whatever file system the test's folder is."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from backends.disks.errors import NotThere
from backends.disks.raw_files import RawFiles
from backends.disks.volumes import Room

MIB = 2**20


@pytest.fixture
def files(tmp_path: Path) -> RawFiles:
    made = RawFiles(tmp_path / "served")
    made.prepare()
    return made


def test_blank_disk_is_thin_private_and_only_grows(files: RawFiles) -> None:
    disk = uuid4()
    for size_bytes in (4 * MIB, 4 * MIB, 8 * MIB, 4 * MIB):
        files.ensure_blank(disk, size_bytes)
    found = files.path(disk).stat()
    assert (found.st_size, found.st_blocks, found.st_mode & 0o777) == (8 * MIB, 0, 0o600)
    assert files.disks() == {disk}
    files.absent(disk)
    files.absent(disk)
    assert files.disks() == set()


def test_copy_has_the_same_bytes_and_holes_and_shares_nothing(files: RawFiles) -> None:
    source, copy = uuid4(), uuid4()
    files.ensure_blank(source, 16 * MIB)
    with files.path(source).open("r+b") as file:
        file.seek(8 * MIB)
        file.write(b"x" * MIB)
    files.copy(copy, source)
    files.copy(copy, source)
    assert files.path(copy).read_bytes() == files.path(source).read_bytes()
    assert files.path(copy).stat().st_blocks * 512 < 4 * MIB
    with files.path(source).open("r+b") as file:
        file.write(b"later")
    assert files.path(copy).read_bytes()[:5] == bytes(5)
    assert files.path(copy).stat().st_mode & 0o777 == 0o600


def test_what_was_cut_off_is_no_disk_and_goes(files: RawFiles) -> None:
    part = files.path(uuid4()).with_suffix(".part")
    part.touch()
    (files.folder / "notes.raw").touch()
    assert files.disks() == set()
    files.prepare()
    assert not part.exists()


def test_missing_disk_is_named(files: RawFiles) -> None:
    missing = uuid4()
    for step in (files.copy, files.shares):
        with pytest.raises(NotThere, match=str(missing)):
            step(uuid4(), missing)
    with pytest.raises(NotThere, match="missing"):
        files.ensure_size(uuid4(), MIB)
    assert files.disks() == set()


def test_pool_is_full_before_its_last_byte() -> None:
    assert not Room(total_bytes=2**40, free_bytes=2**30).is_full
    assert Room(total_bytes=2**40, free_bytes=2**30 - 1).is_full
    assert not Room(total_bytes=100 * MIB, free_bytes=2 * MIB).is_full
    assert Room(total_bytes=100 * MIB, free_bytes=2 * MIB - 1).is_full
