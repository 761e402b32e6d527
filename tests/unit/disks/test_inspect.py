"""Which images are taken and which are refused; nothing hostile may reach a file of the host."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backends.disks.errors import ImageRefused
from backends.disks.inspect import MAX_IMAGE_BYTES, ImageFormat, inspect_image, read_format, read_qcow2_header

MIB = 1024 * 1024


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True, timeout=30)


def refusal(path: Path, max_bytes: int = MAX_IMAGE_BYTES, declared: ImageFormat | None = None) -> str:
    with pytest.raises(ImageRefused) as refused:
        inspect_image(path, max_bytes, declared=declared)
    return refused.value.message


@pytest.mark.parametrize(
    ("created_as", "options", "found"),
    [
        ("qcow2", "compat=1.1", ImageFormat.QCOW2),
        ("qcow2", "compat=0.10", ImageFormat.QCOW2),
        ("raw", "preallocation=off", ImageFormat.RAW),
        ("vmdk", "subformat=monolithicSparse", ImageFormat.VMDK),
        ("vmdk", "subformat=streamOptimized", ImageFormat.VMDK),
        ("vdi", "static=off", ImageFormat.VDI),
        ("vpc", "subformat=dynamic,force_size=on", ImageFormat.VHD),
        ("vpc", "subformat=fixed,force_size=on", ImageFormat.VHD),
    ],
)
def test_format_and_size_are_found(tmp_path: Path, created_as: str, options: str, found: ImageFormat) -> None:
    image = tmp_path / "image"
    qemu_img("create", "-f", created_as, "-o", options, image, "4M")
    inspected = inspect_image(image, declared=found)
    assert inspected.format is found
    assert inspected.size_bytes == 4 * MIB


@pytest.mark.parametrize("backing", ["/etc/passwd", "nbd:127.0.0.1:9", 'json:{"driver":"null-co"}', "a" * 1000])
def test_qcow2_with_a_backing_file_is_refused(tmp_path: Path, backing: str) -> None:
    image = tmp_path / "image"
    qemu_img("create", "-u", "-f", "qcow2", "-b", backing, "-F", "raw", image, "4M")
    assert "has a backing file" in refusal(image)


def test_qcow2_with_external_data_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'},data_file_raw=on", image, "4M")
    assert "data in another file" in refusal(image)


def test_encrypted_qcow2_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", image, "4M")
    content = bytearray(image.read_bytes())
    content[32:36] = struct.pack(">I", 2)
    image.write_bytes(content)
    assert "encrypted" in refusal(image)


@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_vmdk_in_several_files_is_refused(tmp_path: Path, subformat: str) -> None:
    image = tmp_path / "image.vmdk"
    qemu_img("create", "-f", "vmdk", "-o", f"subformat={subformat}", image, "4M")
    assert "refers to other files" in refusal(image)


def vmdk_with_descriptor(path: Path, descriptor: str, capacity: int | None = None) -> Path:
    qemu_img("create", "-f", "vmdk", "-o", "subformat=monolithicSparse", path, "4M")
    content = bytearray(path.read_bytes())
    at, sectors = (field * 512 for field in struct.unpack_from("<QQ", content, 28))
    content[at : at + sectors] = descriptor.encode().ljust(sectors, b"\0")
    if capacity is not None:
        content[12:20] = struct.pack("<Q", capacity)
    path.write_bytes(content)
    return path


GOOD_DESCRIPTOR = '# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\ncreateType="monolithicSparse"\n'


@pytest.mark.parametrize(
    ("descriptor", "capacity", "reason"),
    [
        (GOOD_DESCRIPTOR + 'RW 8192 FLAT "/etc/shadow" 0\n', None, "extents ['FLAT']"),
        (GOOD_DESCRIPTOR + 'RW 8192 SPARSE "a"\nRW 8192 FLAT "/etc/shadow" 0\n', None, "extents"),
        (GOOD_DESCRIPTOR + 'RW 8192 SPARSE "/etc/shadow"\n', 0, "no data of its own"),
        (GOOD_DESCRIPTOR.replace("Sparse", "Flat") + 'RW 8192 FLAT "/etc/shadow" 0\n', None, "type"),
        (GOOD_DESCRIPTOR + 'RW 8192 SPARSE "a"\nparentFileNameHint="/etc/shadow"\n', None, "has a parent"),
        (GOOD_DESCRIPTOR.replace("ffffffff", "12345678") + 'RW 8192 SPARSE "a"\n', None, "has a parent"),
    ],
)
def test_vmdk_whose_descriptor_points_elsewhere_is_refused(
    tmp_path: Path, descriptor: str, capacity: int | None, reason: str
) -> None:
    assert reason in refusal(vmdk_with_descriptor(tmp_path / "image", descriptor, capacity))


@pytest.mark.parametrize("image_format", ["qcow2", "vmdk", "vdi"])
@pytest.mark.parametrize("kept_bytes", [8, 71, 80, 103])
def test_truncated_header_is_refused(tmp_path: Path, image_format: str, kept_bytes: int) -> None:
    image = tmp_path / "image"
    qemu_img("create", "-f", image_format, image, "4M")
    image.write_bytes(image.read_bytes()[:kept_bytes])
    if image_format == "vdi" and kept_bytes < 68:
        assert "no whole number of sectors" in refusal(image)
    else:
        assert refusal(image)


def test_a_file_that_is_no_disk_is_refused_unless_it_is_declared_one(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"some text\n" * 512)
    assert "no boot sector, partition table or file system" in refusal(image)
    assert inspect_image(image, declared=ImageFormat.RAW).format is ImageFormat.RAW
    image.write_bytes(b"some text\n")
    assert "no whole number of sectors" in refusal(image, declared=ImageFormat.RAW)


def test_what_is_declared_must_be_so(tmp_path: Path) -> None:
    image = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", image, "4M")
    assert "the image is qcow2, not raw" in refusal(image, declared=ImageFormat.RAW)


MAKERS = ("mkfs.ext4 -q", "mkfs.vfat", "mkswap", "sfdisk -q")


@pytest.mark.parametrize("maker", MAKERS)
def test_a_raw_disk_is_known_by_what_is_on_it(tmp_path: Path, maker: str) -> None:
    program, *options = maker.split()
    if shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip(f"{program} is not installed")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(320 * MIB)
    subprocess.run(
        [program, *options, str(image)],
        input=b"label: gpt\n,\n", check=True, capture_output=True, timeout=60,
        env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"},
    )  # fmt: skip
    assert inspect_image(image).format is ImageFormat.RAW


def test_differencing_vhd_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "image"
    qemu_img("create", "-f", "vpc", image, "4M")
    content = bytearray(image.read_bytes())
    content[60:64] = struct.pack(">I", 4)
    image.write_bytes(content)
    assert "type 4" in refusal(image)


def test_huge_virtual_size_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", image, "1T")
    assert "between 1 and" in refusal(image, max_bytes=1024**3)
    content = bytearray(image.read_bytes())
    content[24:32] = b"\x7f" + b"\xff" * 7
    image.write_bytes(content)
    assert refusal(image)


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"", "empty"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"LUKS\xba\xbe", "encrypted"),
        (b"QED\0", "QED"),
        (b"vhdxfile", "VHDX"),
        (b"x" * 257 + b"ustar", "tar archive"),
        (b"QFI\xfb\0\0\0\x01" + b"\0" * 100, "version 1"),
    ],
)
def test_other_formats_are_refused_by_name(tmp_path: Path, start: bytes, reason: str) -> None:
    image = tmp_path / "image"
    image.write_bytes(start)
    assert reason in refusal(image)


@given(
    magic=st.sampled_from([b"QFI\xfb\0\0\0\x03", b"QFI\xfb\0\0\0\x02", b"KDMV", b"conectix", b""]),
    rest=st.binary(max_size=700),
)
@example(magic=b"QFI\xfb\0\0\0\x03", rest=b"\x7f" + bytes(10) + b"\x01" + bytes(600))
@example(magic=b"KDMV", rest=bytes(8) + struct.pack("<QQQQ", 1, 0, 2**54, 1) + bytes(600))
def test_any_header_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, magic: bytes, rest: bytes) -> None:
    image = tmp_path_factory.getbasetemp() / "any-header"
    image.write_bytes(magic + rest)
    with image.open("rb") as file:
        try:
            found = read_format(file)
        except ImageRefused as refused:
            assert refused.message
        else:
            assert found in ImageFormat


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(size_mib=st.integers(1, 10**6), version=st.sampled_from(["0.10", "1.1"]))
def test_our_reader_and_qemu_agree_on_qcow2(tmp_path: Path, size_mib: int, version: str) -> None:
    image = tmp_path / "image"
    backing = tmp_path / "base of all.raw"
    backing.write_bytes(b"\0" * 512)
    options = ("-o", f"compat={version}", "-b", str(backing), "-F", "raw")
    qemu_img("create", "-f", "qcow2", *options, image, f"{size_mib}M")
    with image.open("rb") as file:
        header = read_qcow2_header(file)
    assert header.size_bytes == size_mib * MIB
    assert header.backing_file == str(backing)
