"""Writing an image to a disk that another host serves, by qemu-img and QEMU's own initiator."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

from backends.disks.pool import StoredFile
from backends.disks.tool import COPY_SECONDS, open_options, qemu_img


@dataclass(frozen=True, slots=True)
class Unit:
    """LUN 0 of a target, and who may log in to it. `portal` is ADDRESS:PORT."""

    portal: str
    target: str
    initiator: str
    secret: str = field(repr=False)


def write_image(image: StoredFile, unit: Unit) -> None:
    """All of the image, at the beginning of a disk that is at least as large, and zeros wherever it isn't written."""
    source = json.dumps(open_options(image.path, image.format, backing=None))
    descriptor = os.memfd_create("secret")
    try:
        os.write(descriptor, unit.secret.encode())
        target = {
            "driver": "raw",
            "file.driver": "iscsi",
            "file.transport": "tcp",
            "file.portal": unit.portal,
            "file.target": unit.target,
            "file.lun": "0",
            "file.initiator-name": unit.initiator,
            "file.user": unit.initiator,
            "file.password-secret": "chap",
        }
        options = ",".join(f"{name}={value}" for name, value in target.items())
        qemu_img(
            "convert", "-q", "-n", "--target-is-zero", "-t", "writeback",  # which flushes at the end
            "--object", f"secret,id=chap,file=/dev/fd/{descriptor}",
            "--target-image-opts", f"json:{source}", options,
            seconds=COPY_SECONDS, descriptors=(descriptor,),
        )  # fmt: skip
    finally:
        os.close(descriptor)
