"""Running programs as children, qemu-img with limits on memory, processor time and real time.

Which arguments are safe is the callers' affair; all of them name formats, so that qemu-img never guesses.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backends.disks.errors import DiskError, InUse, PoolFull, ToolFailed

MEMORY_LIMIT_BYTES = 2 * 1024**3
INSPECTION_SECONDS = 30
COPY_SECONDS = 4 * 3600
FORMATS_WITH_BACKING = ("qcow2", "vmdk")
PLACE = re.compile(r"'json:\{.*\}'|json:\{.*\}|'/[^']*'|(?<![\w.:/])/[^\s:;,'\"]+")
"""What QEMU calls the file that it was given: its options, or its path."""
PERCENTAGE = re.compile(rb"\(([0-9.]+)/100%\)")

Progress = Callable[[float], None]
"""Is told which part of the work is done, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Node:
    """A disk as QEMU opens it; `secret` is what the secret object `chap` holds, where the options name it."""

    options: Mapping[str, object]
    secret: str | None = field(default=None, repr=False)


def qemu_img(
    *arguments: str,
    seconds: int = INSPECTION_SECONDS,
    descriptors: tuple[int, ...] = (),
    accepts: Collection[int] = (0,),
    progress: Progress | None = None,
) -> str:
    """The standard output of `qemu-img ARGUMENTS`, which inherits the open file descriptors that are named.

    `accepts` are the statuses with which it may end. `progress` is told what `-p` prints, instead of the output.
    """
    limits = ["prlimit", f"--as={MEMORY_LIMIT_BYTES}", f"--cpu={seconds}", "--core=0"]
    command = [*limits, "qemu-img", *arguments]
    return _output(command, f"qemu-img {arguments[0]}", seconds, descriptors, accepts, progress)


def run(*command: str, seconds: int) -> str:
    """The standard output of a program that may have all that it takes, but not more time."""
    return _output(list(command), command[0], seconds)


def _output(
    command: list[str],
    name: str,
    seconds: int,
    descriptors: tuple[int, ...] = (),
    accepts: Collection[int] = (0,),
    progress: Progress | None = None,
) -> str:
    environment = {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin", "LC_ALL": "C"}
    try:
        with ExitStack() as stack:
            done = subprocess.run(
                command,
                env=environment,
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if progress is None else stack.enter_context(_followed(progress)),
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
                check=False,
            )
    except subprocess.TimeoutExpired as expired:
        raise ToolFailed(f"{name} took longer than {seconds} seconds") from expired
    if done.returncode not in accepts:
        raise failure(name, done.returncode, done.stderr)
    return done.stdout or ""


@contextmanager
def _followed(progress: Progress) -> Iterator[int]:
    """A descriptor for what `qemu-img -p` prints: each percentage is told as it comes."""
    reading, writing = os.pipe()

    def follow() -> None:
        with os.fdopen(reading, "rb", buffering=0) as printed:
            while text := printed.read(4096):
                if found := PERCENTAGE.findall(text):
                    progress(float(found[-1]) / 100)

    thread = threading.Thread(target=follow, name="progress", daemon=True)
    thread.start()
    try:
        yield writing
    finally:
        os.close(writing)
        thread.join()


NO_ROOM = (
    "No space left on device",
    "Disk quota exceeded",
    "insufficient free space",  # from here on LVM's words
    "Insufficient free space",
    "reached threshold",
    "out of data space",
)


def failure(name: str, status: int, message: str) -> DiskError:
    """The error that the program's message means: the end of its last line, where the reason is, without the host's
    paths, for it is shown to users."""
    last_line = (message.strip().splitlines() or ["no message"])[-1].strip()
    last_line = PLACE.sub("the file", last_line)[-300:]
    if any(words in message for words in NO_ROOM):
        return PoolFull(f"the pool is full: {last_line}")
    if "Failed to get" in message and "lock" in message:
        return InUse(f"a running machine has it open: {last_line}")
    return ToolFailed(f"{name} ended with status {status}: {last_line}")


def open_options(path: Path, image_format: str, *, backing: dict[str, object] | None) -> dict[str, object]:
    """QEMU's block options for this file in this format over this base; no reference in it is followed."""
    options: dict[str, object] = {"driver": image_format, "file": {"driver": "file", "filename": str(path)}}
    if image_format in FORMATS_WITH_BACKING:
        options["backing"] = backing
    return options
