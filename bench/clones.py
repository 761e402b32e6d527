"""The rows of clones: the pool's own steps, without HTTP, database and agent."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

from backends.disks.pool import MOST_LAYERS, DiskPool, Volume, disk
from bench.measure import Row, alternate

SIZE_BYTES = 10 << 30
WRITTEN = "512M"


def clone_rows(rounds: int) -> Iterator[Row]:
    """A disk of 10 GiB, of which a part is written; a clone shares it."""
    with tempfile.TemporaryDirectory(prefix="bench-clones-", dir="/var/tmp") as folder:
        pool, numbers = DiskPool(Path(folder) / "pool"), count()
        pool.prepare()
        source, snapshot = disk(uuid4()), disk(uuid4())
        pool.ensure_blank(source, SIZE_BYTES)
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -q 0 {WRITTEN}", str(pool.path(source))], check=True)
        pool.ensure_branch(snapshot, source)

        def create() -> None:
            clone = Path(folder) / f"{next(numbers)}.qcow2"
            base = str(pool.path(snapshot))
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", clone], check=True)

        def branch(of: Volume, *, changes: bool) -> Callable[[], None]:
            return lambda: pool.ensure_branch(disk(uuid4()), of, changes=changes)

        turns = min(2 * rounds, MOST_LAYERS - 2)
        for what, subject in (
            ("clone a snapshot of 10 GiB", branch(snapshot, changes=False)),
            ("clone a disk of 10 GiB at rest", branch(source, changes=True)),
        ):
            value, yardstick = alternate(_ms(subject), _ms(create), turns)
            yield Row(what, value, "ms", "qemu-img create -b", yardstick, 1.5)


def _ms(do: Callable[[], None]) -> Callable[[], float]:
    def measured() -> float:
        started = time.perf_counter()
        do()
        return (time.perf_counter() - started) * 1000

    return measured
