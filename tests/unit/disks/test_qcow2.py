"""New qcow2 files of our own, next to those of qemu-img."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backends.disks.qcow2 import CLUSTER_BYTES, is_empty, write_empty

MIB, TIB = 1 << 20, 1 << 40


def qemu_img(*arguments: str | Path) -> str:
    return subprocess.run(["qemu-img", *arguments], check=True, capture_output=True, text=True, timeout=30).stdout


def facts(image: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(qemu_img("info", "--output", "json", image))
    return {name: value for name, value in found.items() if name not in ("filename", "actual-size", "children")}


@pytest.mark.parametrize("size_bytes", [512, MIB, 512 * MIB, 512 * MIB + 512, 10 << 30, 16 * TIB])
def test_it_is_what_qemu_img_makes(tmp_path: Path, size_bytes: int) -> None:
    ours, theirs = tmp_path / "ours.qcow2", tmp_path / "theirs.qcow2"
    write_empty(ours, size_bytes)
    qemu_img("create", "-q", "-f", "qcow2", theirs, str(size_bytes))
    assert facts(ours) == facts(theirs)
    qemu_img("check", "-q", ours)
    qemu_img("compare", "-q", "-s", ours, theirs)
    with ours.open("rb") as mine, theirs.open("rb") as other:
        assert (is_empty(mine), is_empty(other)) == (True, True)
        for first_byte in (CLUSTER_BYTES, 2 * CLUSTER_BYTES):
            mine.seek(first_byte)
            other.seek(first_byte)
            assert mine.read(CLUSTER_BYTES) == other.read(CLUSTER_BYTES)


@pytest.mark.parametrize("backing_format", ["raw", "qcow2"])
def test_it_shows_what_its_backing_file_holds_until_it_is_written(tmp_path: Path, backing_format: str) -> None:
    base, ours = tmp_path / "a longer name of a base", tmp_path / "ours.qcow2"
    qemu_img("create", "-q", "-f", backing_format, base, "1M")
    subprocess.run(["qemu-io", "-f", backing_format, "-c", "write -q -P 7 4k 4k", base], check=True, timeout=30)
    write_empty(ours, 2 * MIB, (base.name, backing_format))
    shown = facts(ours)
    assert (shown["backing-filename"], shown["backing-filename-format"]) == (base.name, backing_format)
    read = ["qemu-io", "-f", "qcow2", "-c", "read -q -P 7 4k 4k", "-c", "read -q -P 0 1M 1M", ours]
    subprocess.run(read, check=True, timeout=30)
    with ours.open("rb") as file:
        assert is_empty(file)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 0 1M 512", ours], check=True, timeout=30)
    qemu_img("check", "-q", ours)
    with ours.open("rb") as file:
        assert not is_empty(file)
