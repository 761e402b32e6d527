"""A pool of images and disks in a folder, with the real qemu-img and without root."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from backends.disks.errors import ChecksumMismatch, ImageRefused, InUse, NotThere, SizeTooSmall, ToolFailed
from backends.disks.inspect import ImageFormat
from backends.disks.pool import DiskPool, Volume, disk, root_disk

MIB = 1024 * 1024
BOOT_SIGNATURE = b"\x55\xaa"
CONTENT = (b"here are the bytes of an image".ljust(510, b".") + BOOT_SIGNATURE).ljust(MIB, b".")


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture
def pool(tmp_path: Path) -> DiskPool:
    made = DiskPool(tmp_path / "pool")
    made.prepare()
    return made


@pytest.fixture
def raw_source(tmp_path: Path) -> Path:
    source = tmp_path / "source.raw"
    source.write_bytes(CONTENT + b"\0" * 3 * MIB)
    return source


@pytest.fixture
def image_id(pool: DiskPool, raw_source: Path) -> UUID:
    made = uuid4()
    pool.import_image(made, raw_source)
    return made


def content(pool: DiskPool, volume: Volume, tmp_path: Path) -> bytes:
    flat = tmp_path / "flat"
    qemu_img("convert", "-f", "qcow2", "-O", "raw", pool.path(volume), flat)
    return flat.read_bytes()


def files(pool: DiskPool) -> set[str]:
    return {str(path.relative_to(pool.folder)) for path in pool.folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("image_format", "kept"),
    [("qcow2", "qcow2"), ("raw", "raw"), ("vmdk", "qcow2"), ("vdi", "qcow2"), ("vpc", "qcow2")],
)
def test_image_is_kept_as_qcow2_or_raw(
    pool: DiskPool, raw_source: Path, tmp_path: Path, image_format: str, kept: str
) -> None:
    source = tmp_path / "source"
    options = ("-o", "force_size=on") if image_format == "vpc" else ()
    qemu_img("convert", "-f", "raw", "-O", image_format, *options, raw_source, source)
    image = uuid4()
    facts = pool.import_image(image, source)
    assert facts.format is ImageFormat(kept)
    assert facts.size_bytes == 4 * MIB
    assert facts.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert pool.image_facts(image) == facts
    assert pool.image_file(image).path.stat().st_mode & 0o777 == 0o440
    pool.ensure_clone(disk(image), image, 4 * MIB)
    assert content(pool, disk(image), tmp_path) == raw_source.read_bytes()


def test_importing_again_changes_nothing(pool: DiskPool, raw_source: Path, image_id: UUID) -> None:
    before = pool.image_file(image_id).path.stat()
    facts = pool.import_image(image_id, raw_source)
    assert facts == pool.image_facts(image_id)
    assert pool.image_file(image_id).path.stat() == before
    with pytest.raises(ChecksumMismatch):
        pool.import_image(image_id, raw_source, "0" * 64)


def test_wrong_checksum_leaves_nothing(pool: DiskPool, raw_source: Path) -> None:
    with pytest.raises(ChecksumMismatch, match="0000"):
        pool.import_image(uuid4(), raw_source, "0" * 64)
    assert files(pool) == set()
    right = hashlib.sha256(raw_source.read_bytes()).hexdigest()
    assert pool.import_image(uuid4(), raw_source, right.upper()).sha256 == right


def test_refused_image_leaves_nothing(pool: DiskPool, tmp_path: Path) -> None:
    hostile = tmp_path / "hostile"
    qemu_img("create", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", hostile, "1M")
    with pytest.raises(ImageRefused):
        pool.import_image(uuid4(), hostile)
    assert files(pool) == set()


def test_clone_starts_as_its_image_and_grows(pool: DiskPool, image_id: UUID, tmp_path: Path) -> None:
    root = root_disk(uuid4())
    pool.ensure_clone(root, image_id, 8 * MIB)
    assert pool.facts(root).size_bytes == 8 * MIB
    assert pool.facts(root).image_id == image_id
    assert pool.usage(root) < MIB
    assert content(pool, root, tmp_path) == CONTENT + b"\0" * 7 * MIB
    pool.ensure_size(root, 16 * MIB)
    pool.ensure_size(root, 4 * MIB)
    assert pool.facts(root).size_bytes == 16 * MIB
    assert [stored.format for stored in pool.chain(root)] == ["qcow2", "raw"]


def test_clone_can_not_be_smaller_than_its_image(pool: DiskPool, image_id: UUID) -> None:
    with pytest.raises(SizeTooSmall, match="needs 4194304"):
        pool.ensure_clone(disk(uuid4()), image_id, 2 * MIB)
    with pytest.raises(SizeTooSmall):
        pool.ensure_blank(disk(uuid4()), 0)
    assert pool.disks() == set()


def test_clone_of_an_image_that_is_not_there(pool: DiskPool) -> None:
    with pytest.raises(NotThere, match="is not in the pool"):
        pool.ensure_clone(disk(uuid4()), uuid4(), 8 * MIB)


def test_disk_and_machine_may_have_the_same_id(pool: DiskPool) -> None:
    same = uuid4()
    pool.ensure_blank(disk(same), MIB)
    pool.ensure_blank(root_disk(same), 2 * MIB)
    assert pool.facts(disk(same)).size_bytes == MIB
    assert pool.facts(root_disk(same)).size_bytes == 2 * MIB
    pool.absent(disk(same))
    pool.absent(disk(same))
    assert pool.disks() == set()
    assert pool.machines() == {same}


def test_what_exists_stays_as_it_is(pool: DiskPool, image_id: UUID, tmp_path: Path) -> None:
    volume = disk(uuid4())
    pool.ensure_clone(volume, image_id, 4 * MIB)
    pool.ensure_blank(volume, 8 * MIB)
    pool.ensure_clone(volume, image_id, 8 * MIB)
    assert pool.facts(volume).size_bytes == 4 * MIB
    assert content(pool, volume, tmp_path).startswith(CONTENT)


def test_copy_shares_nothing_with_its_source(pool: DiskPool, image_id: UUID, tmp_path: Path) -> None:
    source, copy = root_disk(uuid4()), disk(uuid4())
    pool.ensure_clone(source, image_id, 8 * MIB)
    pool.ensure_copy(copy, source)
    assert pool.facts(copy).image_id is None
    pool.absent(source)
    pool.absent_image(image_id)
    assert content(pool, copy, tmp_path) == CONTENT + b"\0" * 7 * MIB


def test_image_of_a_disk_serves_new_machines(pool: DiskPool, image_id: UUID, tmp_path: Path) -> None:
    source, saved, again = root_disk(uuid4()), uuid4(), root_disk(uuid4())
    pool.ensure_clone(source, image_id, 8 * MIB)
    facts = pool.ensure_image_of(saved, source)
    assert facts.size_bytes == 8 * MIB
    assert facts.sha256 == hashlib.sha256(pool.image_file(saved).path.read_bytes()).hexdigest()
    assert pool.ensure_image_of(saved, source) == facts
    pool.ensure_clone(again, saved, 8 * MIB)
    assert content(pool, again, tmp_path).startswith(CONTENT)


def test_disk_that_goes_while_an_image_s_clones_are_looked_for_is_none(
    pool: DiskPool, image_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = uuid4()
    monkeypatch.setattr(pool, "disks", lambda: {gone})
    assert pool.clones_of(image_id) == []


def test_image_with_clones_can_not_go(pool: DiskPool, image_id: UUID) -> None:
    root = root_disk(uuid4())
    pool.ensure_clone(root, image_id, 8 * MIB)
    with pytest.raises(InUse, match=str(root.id)):
        pool.absent_image(image_id)
    pool.absent(root)
    pool.absent_image(image_id)
    pool.absent_image(image_id)
    assert files(pool) == set()


def test_disk_that_a_process_writes_is_not_copied(pool: DiskPool, tmp_path: Path) -> None:
    volume = disk(uuid4())
    pool.ensure_blank(volume, MIB)
    with subprocess.Popen(
        ["qemu-io", "-f", "qcow2", str(pool.path(volume))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        writer.stdin.write(b"write 0 512\n")
        writer.stdin.flush()
        writer.stdout.readline()
        for refused in (
            lambda: pool.ensure_copy(disk(uuid4()), volume),
            lambda: pool.ensure_size(volume, 2 * MIB),
        ):
            with pytest.raises(InUse):
                refused()
        writer.stdin.close()
    assert pool.disks() == {volume.id}


def test_sweep_removes_only_what_was_cut_off(pool: DiskPool, image_id: UUID) -> None:
    volume = disk(uuid4())
    pool.ensure_blank(volume, MIB)
    kept = files(pool)
    (pool.folder / "images" / f"{uuid4()}.source.part").write_bytes(b"half")
    (pool.folder / "disks" / f"{uuid4()}.qcow2.part").write_bytes(b"half")
    pool.sweep()
    assert files(pool) == kept


def test_sweep_leaves_what_somebody_else_fills(pool: DiskPool) -> None:
    unfinished = pool.folder / "images" / f"{uuid4()}.source.part"
    unfinished.write_bytes(b"half")
    with pool.kept_from_sweeping():
        pool.sweep()
        assert unfinished.exists()
    pool.sweep()
    assert not unfinished.exists()


def test_call_after_a_crash_finishes_the_work(pool: DiskPool, image_id: UUID) -> None:
    volume = root_disk(uuid4())
    pool.path(volume).with_name(f"{pool.path(volume).name}.part").write_bytes(b"half a header")
    assert pool.machines() == set()
    pool.ensure_clone(volume, image_id, 8 * MIB)
    assert pool.machines() == {volume.id}


def test_other_files_are_nobodys_disks(pool: DiskPool) -> None:
    (pool.folder / "disks" / "notes.qcow2").write_bytes(b"")
    (pool.folder / "disks" / f"{uuid4()}.txt").write_bytes(b"")
    assert pool.disks() == set()


def test_failed_tool_leaves_nothing(pool: DiskPool) -> None:
    damaged = disk(uuid4())
    pool.ensure_blank(damaged, MIB)
    with pool.path(damaged).open("r+b") as file:
        file.seek(40)  # l1_table_offset, which must be a whole number of clusters
        file.write((3).to_bytes(8, "big"))
    with pytest.raises(ToolFailed):
        pool.ensure_copy(disk(uuid4()), damaged)
    assert files(pool) == {f"disks/{damaged.id}.qcow2"}
