"""What an image from outside is: its format from its own header, its size, and whether it is safe to open.

The headers are read here first, because opening a hostile image is what makes qemu-img follow references to
files of the host. An image that refers to any other file, or is encrypted, is refused.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from backends.disks.errors import ImageRefused, ToolFailed
from backends.disks.tool import COPY_SECONDS, open_options, qemu_img

SECTOR_BYTES = 512
MAX_IMAGE_BYTES = 16 * 1024**4
MAX_DESCRIPTOR_BYTES = 64 * 1024


class ImageFormat(StrEnum):
    """Formats that are accepted, by qemu-img's names; what isn't QCOW2 or RAW is converted."""

    QCOW2 = "qcow2"
    RAW = "raw"
    VMDK = "vmdk"
    VDI = "vdi"
    VHD = "vpc"


@dataclass(frozen=True, slots=True)
class Inspection:
    format: ImageFormat
    size_bytes: int
    """The size that a machine sees."""


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    version: int
    size_bytes: int
    backing_file: str | None
    encrypted: bool
    external_data: bool


UNSUPPORTED_STARTS: dict[bytes, str] = {
    b"QED\0": "a QED image",
    b"vhdxfile": "a VHDX image",
    b"WithoutFreeSpace": "a Parallels image",
    b"WithouFreSpacExt": "a Parallels image",
    b"LUKS\xba\xbe": "an encrypted (LUKS) image",
    b"COWD": "a VMDK image of ESX's old COWD kind",
    b"OOOM\xaa\xaa": "a user-mode Linux image",
    b"\x1f\x8b": "compressed by gzip: decompress it first",
    b"\xfd7zXZ\0": "compressed by xz: decompress it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: decompress it first",
    b"BZh": "compressed by bzip2: decompress it first",
    b"PK\x03\x04": "a ZIP archive: unpack it first",
    b"# Disk Descrip": "a VMDK descriptor that only refers to other files: use a monolithic VMDK",
}
TAR_MAGIC_OFFSET = 257
VDI_MAGIC_OFFSET = 64
RAW_SIGNS: tuple[tuple[int, bytes], ...] = (
    (510, b"\x55\xaa"),  # a boot sector: MBR, GPT's protective one, FAT, NTFS
    (512, b"EFI PART"),
    (4096, b"EFI PART"),  # on sectors of 4 KiB
    (1080, b"\x53\xef"),  # ext2, ext3, ext4
    (0, b"XFSB"),
    (65600, b"_BHRfS_M"),  # btrfs
    (1024, b"\x10\x20\xf5\xf2"),  # F2FS
    (1024, b"\xe2\xe1\xf5\xe0"),  # EROFS
    (0, b"hsqs"),  # squashfs
    (512, b"LABELONE"),  # LVM
    (4086, b"SWAPSPACE2"),
    (32769, b"CD001"),  # ISO 9660
)
"""What a disk has at some offset, but no other file has by accident."""


def inspect_image(path: Path, max_bytes: int = MAX_IMAGE_BYTES, *, declared: ImageFormat | None = None) -> Inspection:
    """Raises `ImageRefused` with the reason unless the image stands alone and fits.

    What has no header of its own must look like a disk, unless whoever brings it has `declared` it RAW.
    """
    with path.open("rb") as image:
        image_format = read_format(image)
        if declared not in (None, image_format):
            raise ImageRefused(f"the image is {image_format}, not {declared}")
        if image_format is ImageFormat.RAW:
            check_raw(image, declared)
    reported = qemu_img_info(path, image_format)
    for field in ("backing-filename", "full-backing-filename", "data-file", "encrypted"):
        if reported.get(field):
            raise ImageRefused(f"the {image_format} image has {field}, and an image must stand alone")
    details = reported.get("format-specific")
    if isinstance(details, dict) and isinstance(details.get("data"), dict) and details["data"].get("data-file"):
        raise ImageRefused(f"the {image_format} image has data-file, and an image must stand alone")
    size_bytes = reported.get("virtual-size")
    if not isinstance(size_bytes, int) or not 0 < size_bytes <= max_bytes:
        raise ImageRefused(f"the image has {size_bytes} bytes for its machine; between 1 and {max_bytes} are allowed")
    return Inspection(image_format, size_bytes)


def qemu_img_info(path: Path, image_format: ImageFormat) -> dict[str, object]:
    try:
        source = open_options(path, image_format, backing=None)
        answer = json.loads(qemu_img("info", "--output=json", f"json:{json.dumps(source)}"))
    except ToolFailed as failed:
        raise ImageRefused(f"the {image_format} image is damaged: {failed.message}") from failed
    if not isinstance(answer, dict):
        raise ToolFailed("qemu-img info answered with something other than an object")
    return answer


def check_whole(path: Path) -> None:
    """`ImageRefused` if the qcow2 image refers to clusters that it doesn't have, as one that was cut off does.

    QEMU would read them as zeros. Clusters that nothing refers to (status 3) do no harm.
    """
    source = open_options(path, ImageFormat.QCOW2, backing=None)
    try:
        qemu_img("check", "-q", f"json:{json.dumps(source)}", seconds=COPY_SECONDS, accepts=(0, 3))
    except ToolFailed as failed:
        raise ImageRefused(f"the qcow2 image is damaged: {failed.message}") from failed


def read_format(image: BinaryIO) -> ImageFormat:
    """The format that the image's own bytes say it has, after the checks which that format needs."""
    start = image.read(1024)
    length = image.seek(0, 2)
    if length == 0:
        raise ImageRefused("the image is empty")
    for magic, meaning in UNSUPPORTED_STARTS.items():
        if start.startswith(magic):
            raise ImageRefused(f"the image is {meaning}; qcow2, raw, VMDK, VDI and VHD are accepted")
    if start[TAR_MAGIC_OFFSET:].startswith(b"ustar"):
        raise ImageRefused("the image is a tar archive (an OVA?): unpack it first")
    if start.startswith(b"QFI\xfb"):
        check_qcow2(image)
        return ImageFormat.QCOW2
    if start.startswith(b"KDMV"):
        check_vmdk(image)
        return ImageFormat.VMDK
    if start[VDI_MAGIC_OFFSET:].startswith(b"\x7f\x10\xda\xbe"):
        return ImageFormat.VDI
    image.seek(max(0, length - SECTOR_BYTES))
    for footer in (start[:SECTOR_BYTES], image.read(SECTOR_BYTES)):
        if footer.startswith(b"conectix"):
            check_vhd(footer)
            return ImageFormat.VHD
    return ImageFormat.RAW


def read_qcow2_header(image: BinaryIO) -> Qcow2Header:
    """The fields that matter here; https://www.qemu.org/docs/master/interop/qcow2.html has them all."""
    image.seek(0)
    start = image.read(104)
    if len(start) < 72:
        raise ImageRefused(f"the qcow2 image ends within its header, after {len(start)} bytes")
    magic, version, backing_offset, backing_length, _bits, size_bytes, encryption = struct.unpack_from(
        ">4sIQIIQI", start
    )
    if magic != b"QFI\xfb" or version not in (2, 3):
        raise ImageRefused(f"the image is qcow2 of version {version}; versions 2 and 3 are accepted")
    if version == 3 and len(start) < 104:
        raise ImageRefused(f"the qcow2 image ends within its header, after {len(start)} bytes")
    incompatible = struct.unpack_from(">Q", start, 72)[0] if version == 3 else 0
    backing_file = None
    if backing_offset:
        if backing_length > 1023:
            raise ImageRefused(f"the qcow2 image has a backing file's name of {backing_length} bytes; 1023 is the most")
        _seek_within(image, backing_offset)
        backing_file = image.read(backing_length).decode(errors="replace")
    return Qcow2Header(version, size_bytes, backing_file, encryption != 0, bool(incompatible & 0b100))


def _seek_within(image: BinaryIO, offset: int) -> None:
    length = image.seek(0, 2)
    if offset >= length:
        raise ImageRefused(f"the image's header names byte {offset}, but the image ends after {length} bytes")
    image.seek(offset)


def check_qcow2(image: BinaryIO) -> None:
    header = read_qcow2_header(image)
    if header.backing_file is not None:
        raise ImageRefused(f"the qcow2 image has a backing file, {header.backing_file!r}, and must stand alone")
    if header.external_data:
        raise ImageRefused("the qcow2 image keeps its data in another file and must stand alone")
    if header.encrypted:
        raise ImageRefused("the qcow2 image is encrypted, and nobody here has the key")


def check_vmdk(image: BinaryIO) -> None:
    """A hosted sparse extent whose own descriptor names no parent and no other extent.

    With capacity 0 the descriptor inside would decide which files are opened, hence that check.
    """
    image.seek(0)
    start = image.read(SECTOR_BYTES)
    if len(start) < SECTOR_BYTES:
        raise ImageRefused(f"the VMDK image ends within its header, after {len(start)} bytes")
    capacity, _grain, descriptor_sector, descriptor_sectors = struct.unpack_from("<QQQQ", start, 12)
    if capacity == 0:
        raise ImageRefused("the VMDK image has no data of its own and must stand alone")
    if descriptor_sector == 0 or not 0 < descriptor_sectors * SECTOR_BYTES <= MAX_DESCRIPTOR_BYTES:
        raise ImageRefused("the VMDK image has no descriptor inside: use a monolithic VMDK")
    _seek_within(image, descriptor_sector * SECTOR_BYTES)
    descriptor = image.read(MAX_DESCRIPTOR_BYTES).split(b"\0", 1)[0].decode(errors="replace")
    kind = re.search(r'^\s*createType\s*=\s*"([^"]*)"', descriptor, re.MULTILINE)
    if kind is None or kind.group(1) not in ("monolithicSparse", "streamOptimized"):
        named = kind.group(1) if kind else "none"
        raise ImageRefused(f"the VMDK image is of type {named!r}; monolithicSparse and streamOptimized are accepted")
    parent = re.search(r"^\s*parentCID\s*=\s*(\w+)", descriptor, re.MULTILINE)
    if "parentFileNameHint" in descriptor or (parent and parent.group(1).lower() != "ffffffff"):
        raise ImageRefused("the VMDK image has a parent and must stand alone")
    extents = re.findall(r"^\s*(?:RW|RDONLY|NOACCESS)\s+\d+\s+(\S+)", descriptor, re.MULTILINE)
    if extents != ["SPARSE"]:
        raise ImageRefused(f"the VMDK image has the extents {extents}; exactly one, SPARSE, is accepted")


def check_raw(image: BinaryIO, declared: ImageFormat | None) -> None:
    length = image.seek(0, 2)
    if length % SECTOR_BYTES:
        raise ImageRefused(
            f"the file is in none of the formats qcow2, VMDK, VDI and VHD, and its {length} bytes are no whole number"
            f" of sectors of {SECTOR_BYTES} bytes, as a raw disk's are"
        )
    if declared is ImageFormat.RAW:
        return
    for offset, sign in RAW_SIGNS:
        image.seek(offset)
        if image.read(len(sign)) == sign:
            return
    raise ImageRefused(
        "the file is in none of the formats qcow2, VMDK, VDI and VHD, and has no boot sector, partition table or file"
        " system, as a raw disk has; where it is one nevertheless, say --format raw"
    )


def check_vhd(footer: bytes) -> None:
    if len(footer) < SECTOR_BYTES:
        raise ImageRefused(f"the VHD image ends within its footer, after {len(footer)} bytes")
    (kind,) = struct.unpack_from(">I", footer, 60)
    if kind not in (2, 3):
        raise ImageRefused(f"the VHD image is of type {kind}; fixed (2) and dynamic (3) are accepted")
