"""Whether KVM really runs guests here, found out by running one; many a /dev/kvm only looks usable.

Nothing here talks to libvirt: a failed attempt leaves no domain behind.
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backends.machines.spec import DomainType

EMULATOR = "qemu-system-x86_64"
KVM_DEVICE = Path("/dev/kvm")
BOOT_SECTOR_SIGN = b"altostratus boot sector"
USER_SPACE_SIGN = re.compile(rb"Run /\S* as init process|login:")
"""What a Linux guest says on its serial port when its kernel is up, however terse it is."""
_BOOT_SECTOR_SECONDS = 5.0
_STOP_SECONDS = 5.0
_OUTPUT_LIMIT = 1 << 20
_COM1 = 0x3F8


@dataclass(frozen=True, slots=True)
class Probe:
    domain_type: DomainType
    reason: str
    """One sentence for the log."""


def probe(image: Path | None = None, limit_seconds: float = 20) -> Probe:
    """`kvm` when a boot sector and, if given, the qcow2 image ran under it within the limit, else `qemu`.

    The image is not written to. It should be one that boots to a login on its serial port, as the default
    image does: some hosts run a boot sector and hang in a kernel.
    """
    if not os.access(KVM_DEVICE, os.R_OK | os.W_OK):
        return Probe("qemu", f"{KVM_DEVICE} is missing or may not be opened")
    failure = boot_sector_failure()
    if failure is None and image is not None:
        failure = image_failure(image, limit_seconds)
    if failure is not None:
        return Probe("qemu", f"KVM doesn't run guests here: {failure}")
    proof = "a boot sector" if image is None else f"a boot sector and {image.name}"
    return Probe("kvm", f"{proof} ran under KVM")


def boot_sector_failure(accelerator: str = "kvm") -> str | None:
    """Why the boot sector didn't run, None when it did."""
    with tempfile.TemporaryDirectory(prefix="altostratus-probe-") as folder:
        disk = Path(folder, "boot-sector.raw")
        disk.write_bytes(boot_sector(BOOT_SECTOR_SIGN))
        drive = f"file={_escaped(disk)},format=raw,if=virtio,read-only=on"
        sign = re.compile(re.escape(BOOT_SECTOR_SIGN))
        return _failure(_command(accelerator, drive, 64), sign, _BOOT_SECTOR_SECONDS, "a boot sector")


def image_failure(image: Path, limit_seconds: float, accelerator: str = "kvm") -> str | None:
    """Why the image's kernel didn't come up, None when it did."""
    drive = f"file={_escaped(image)},format=qcow2,if=virtio,snapshot=on"
    return _failure(_command(accelerator, drive, 256), USER_SPACE_SIGN, limit_seconds, image.name)


def boot_sector(sign: bytes) -> bytes:
    """A disk of 1 MiB whose first sector writes `sign` to the first serial port and halts."""
    code = bytearray([0xFA, 0xBA]) + _COM1.to_bytes(2, "little")  # cli; mov dx, COM1
    for byte in sign + b"\r\n":
        code += bytes([0xB0, byte, 0xEE])  # mov al, byte; out dx, al
    code += bytes([0xFB, 0xF4, 0xEB, 0xFD])  # sti; again: hlt; jmp again
    if len(code) > 446:
        raise ValueError(f"the sign has {len(sign)} bytes, more than a boot sector can write")
    sector = bytes(code).ljust(510, b"\0") + b"\x55\xaa"
    return sector.ljust(1 << 20, b"\0")


def _command(accelerator: str, drive: str, memory_mib: int) -> list[str]:
    """The processor is the one that the driver's domains get: with a plainer one a probe proves little."""
    return [
        EMULATOR,
        *("-machine", f"q35,accel={accelerator}"),
        *("-cpu", "host" if accelerator == "kvm" else "max"),
        *("-m", str(memory_mib)),
        *("-drive", drive),
        *("-serial", "stdio"),
        *("-display", "none"),
        "-nodefaults",
        "-no-user-config",
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
    ]


def _failure(command: Sequence[str], sign: re.Pattern[bytes], limit_seconds: float, what: str) -> str | None:
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        return f"{command[0]} doesn't start ({error.strerror})"
    try:
        output, ended = _read_until(process, sign, limit_seconds)
    finally:
        _stop(process)
    if sign.search(output):
        return None
    if ended:
        last = output.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        return f"{command[0]} ended under {what}: {last[0][:200]}"
    return f"{what} didn't come up within {limit_seconds:g} s"


def _read_until(process: subprocess.Popen[bytes], sign: re.Pattern[bytes], limit_seconds: float) -> tuple[bytes, bool]:
    """The output up to the sign, the end or the limit, and whether it was the end."""
    if process.stdout is None:
        return b"", True
    descriptor = process.stdout.fileno()
    deadline = time.monotonic() + limit_seconds
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while (remaining := deadline - time.monotonic()) > 0:
            if not selector.select(remaining):
                break
            chunk = os.read(descriptor, 4096)
            if not chunk:
                return output, True
            output = (output + chunk)[-_OUTPUT_LIMIT:]
            if sign.search(output):
                break
    return output, False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _escaped(path: Path) -> str:
    """QEMU's options double a comma that belongs to a value."""
    return str(path).replace(",", ",,")
