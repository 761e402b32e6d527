"""What is told of programs that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.disks.errors import ToolFailed
from backends.disks.tool import qemu_img


@pytest.mark.parametrize(
    "options", ["{path}", 'json:{{"driver": "qcow2", "file": {{"driver": "file", "filename": "{path}"}}}}']
)
def test_a_refusal_has_its_reason_and_not_the_path(tmp_path: Path, options: str) -> None:
    folder = tmp_path.joinpath(*("long" * 30 for _ in range(4)))
    folder.mkdir(parents=True)
    image = folder / "image.qcow2"
    image.write_bytes(b"QFI\xfb" + b"\x00\x00\x00\x63" + bytes(4096))
    with pytest.raises(ToolFailed) as refused:
        qemu_img("info", options.format(path=image))
    message = str(refused.value)
    assert "Unsupported qcow2 version 99" in message
    assert "/" not in message
