"""What a lab machine measures: a disk's file and its target by the driver, and by the calls of rtslib alone."""

from __future__ import annotations

import secrets
import tempfile
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

from rtslib_fb import LUN, TPG, FabricModule, FileIOStorageObject, MappedLUN, NetworkPortal, NodeACL, Target

from backends.disks.iscsi import GROUP_ATTRIBUTES, Grant, Portal, Targets, TargetSpec
from bench.measure import alternate

SIZE_BYTES = 1 << 30
INITIATOR, ADDRESS = "iqn.2026-01.org.example:guest", "127.0.0.1"


def measured(rounds: int) -> tuple[float, float]:
    """Milliseconds of ours and of the yardstick."""
    targets = Targets(f"as{secrets.token_hex(2)}", [Portal(ADDRESS)])
    targets.prepare()
    with tempfile.TemporaryDirectory() as name:
        return alternate(partial(_by_the_driver, targets, Path(name)), partial(_by_hand, Path(name)), rounds)


def _file(folder: Path) -> Path:
    path = folder / f"{uuid4()}.raw"
    with path.open("wb") as file:
        file.truncate(SIZE_BYTES)
    return path


def _by_the_driver(targets: Targets, folder: Path) -> float:
    disk_id, grant = uuid4(), Grant(INITIATOR, secrets.token_hex(8))
    started = time.perf_counter()
    targets.ensure_target(TargetSpec(disk_id, _file(folder), SIZE_BYTES, (grant,)))
    took_ms = (time.perf_counter() - started) * 1000
    targets.absent(disk_id)
    return took_ms


def _by_hand(folder: Path) -> float:
    name, secret = f"bench-{uuid4()}", secrets.token_hex(8)
    started = time.perf_counter()
    storage = FileIOStorageObject(name, dev=str(_file(folder)), size=SIZE_BYTES, wwn=str(uuid4()), write_back=True)
    storage.set_attribute("emulate_tpu", "1")
    target = Target(FabricModule("iscsi"), f"iqn.2026-01.org.example:{name}")
    group = TPG(target, 1)
    for attribute, value in GROUP_ATTRIBUTES.items():
        group.set_attribute(attribute, value)
    LUN(group, 0, storage)
    acl = NodeACL(group, INITIATOR)
    acl.chap_userid, acl.chap_password = INITIATOR, secret
    MappedLUN(acl, 0, 0)
    NetworkPortal(group, ADDRESS, 3260)
    group.enable = True
    took_ms = (time.perf_counter() - started) * 1000
    group.enable = False
    target.delete()
    storage.delete()
    return took_ms
