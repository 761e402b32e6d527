"""What the lab's tests share: a cloud's targets, and an initiator that is nobody of ours (libiscsi's programs).

They run in a lab machine: `make lab`. tests/conftest.py isn't loaded there: under emulation each import counts.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

IN_THE_LAB = os.environ.get("LAB_MACHINE") == "yes"
MIB = 2**20
CONFIGFS = Path("/sys/kernel/config/target")
ADDRESS = "127.0.0.1"

if not IN_THE_LAB:
    collect_ignore_glob = ["test_*.py"]
else:
    from backends.disks.iscsi import Grant, Portal, Targets, TargetSpec

    @pytest.fixture
    def targets() -> Iterator[Targets]:
        """A cloud's targets; at the end nothing in the kernel has the cloud's name."""
        made = Targets(f"as{secrets.token_hex(2)}", [Portal(ADDRESS)])
        made.prepare()
        yield made
        for disk_id in made.targets():
            made.absent(disk_id)
        assert traces(made) == []

    @pytest.fixture
    def make_spec(tmp_path: Path) -> Callable[..., TargetSpec]:
        def make(*grants: Grant, size_bytes: int = 16 * MIB, disk_id: UUID | None = None) -> TargetSpec:
            disk_id = disk_id or uuid4()
            path = tmp_path / f"{disk_id}.raw"
            with path.open("ab") as file:
                file.truncate(size_bytes)
            return TargetSpec(disk_id, path, size_bytes, grants)

        return make


def traces(targets: Targets) -> list[str]:
    """Whatever of the cloud's is in LIO's configuration."""
    return sorted(str(path) for path in CONFIGFS.rglob(f"*{targets.cloud_tag}*"))


def grant(name: str = "guest", *, read_only: bool = False) -> Grant:
    return Grant(f"iqn.2026-01.org.example:{name}", secrets.token_hex(8), read_only)


def portal_url(grant: Grant, target: str = "", *, secret: str | None = None) -> str:
    return f"iscsi://{grant.initiator}%{secret or grant.secret}@{ADDRESS}:3260/{target}"


def initiator(program: str, grant: Grant, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    """One of libiscsi's programs, as that initiator."""
    done = subprocess.run(
        [program, *options, "-i", grant.initiator, url], capture_output=True, timeout=120, check=False
    )
    # Not as text, which would take a carriage return in a binary name for the end of a line.
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")
    )


def as_shown(logical_unit_name: str) -> str:
    """A unit's name as `log_in` tells it: bytes, of which C prints those before a zero."""
    return bytes.fromhex(logical_unit_name.removeprefix("0x")).split(b"\0")[0].decode("latin-1")


def log_in(targets: Targets, disk_id: UUID, grant: Grant, *, secret: str | None = None) -> str:
    """What the unit tells about itself; `LoginRefused` with the initiator's words."""
    url = portal_url(grant, f"{targets.target_name(disk_id)}/0", secret=secret)
    done = initiator("iscsi-inq", grant, url, "-e", "1", "-c", "131")
    if done.returncode != 0 or "Failed" in done.stderr:
        raise LoginRefused(done.stdout + done.stderr)
    return done.stdout


class LoginRefused(Exception):
    """The target did not let the initiator in."""
