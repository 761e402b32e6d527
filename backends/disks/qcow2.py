"""New qcow2 files that hold nothing yet, and whether one still does: https://www.qemu.org/docs/master/interop/qcow2.html.

Written here since they are of four clusters, and starting a program takes a hundred times longer.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

MAGIC, VERSION = b"QFI\xfb", 3
CLUSTER_BITS = 16
CLUSTER_BYTES = 1 << CLUSTER_BITS
L2_COVERS_BYTES = CLUSTER_BYTES * (CLUSTER_BYTES // 8)
REFCOUNT_ORDER = 4
HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQIIQ")
"""Up to the header's length and, after it, the type of compression, which is deflate."""
L1_TABLE = struct.Struct(">36xIQ")
BACKING_FORMAT, END = 0xE2792ACA, 0


def write_empty(path: Path, size_bytes: int, backing: tuple[str, str] | None = None) -> None:
    """So large, and all zeros or, where there is one, what its backing file holds: its name and format.

    Cluster 0 is the header, 1 the table of refcount blocks, 2 the one block that is needed, 3 and on the L1 table.
    """
    name, backing_format = (text.encode() for text in backing or ("", ""))
    extensions = b""
    if backing is not None:
        padded = backing_format.ljust(-(-len(backing_format) // 8) * 8, b"\0")
        extensions = struct.pack(">II", BACKING_FORMAT, len(backing_format)) + padded
    extensions += struct.pack(">II", END, 0)
    l1_entries = -(-size_bytes // L2_COVERS_BYTES)
    clusters = 3 + -(-l1_entries * 8 // CLUSTER_BYTES)
    header = HEADER.pack(
        MAGIC, VERSION, HEADER.size + len(extensions) if name else 0, len(name), CLUSTER_BITS, size_bytes, 0,
        l1_entries, 3 * CLUSTER_BYTES, CLUSTER_BYTES, 1, 0, 0, 0, 0, 0, REFCOUNT_ORDER, HEADER.size, 0,
    )  # fmt: skip
    with path.open("wb") as file:
        file.write(header + extensions + name)
        file.seek(CLUSTER_BYTES)
        file.write(struct.pack(">Q", 2 * CLUSTER_BYTES))
        file.seek(2 * CLUSTER_BYTES)
        file.write(struct.pack(">H", 1) * clusters)
        file.truncate(clusters * CLUSTER_BYTES)


def is_empty(image: BinaryIO) -> bool:
    """Whether nothing was ever written to it: no entry of its L1 table leads anywhere."""
    image.seek(0)
    l1_entries, l1_offset = L1_TABLE.unpack(image.read(L1_TABLE.size))
    image.seek(l1_offset)
    return not any(image.read(l1_entries * 8))
