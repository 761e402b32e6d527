"""What runs in a lab machine that is the storage host of a test outside: serves what a file in a shared folder says.

`storage_host.py FOLDER` reads FOLDER/wanted.json, a number and the disks to serve, and answers in FOLDER/served.json
when that is so. A disk whose `lost` is set was served before a reboot: the kernel forgets it first.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from uuid import UUID

from backends.disks.iscsi import Grant, Portal, Targets, TargetSpec

DISKS = Path("/mnt/disks")


def main(folder: Path) -> None:
    DISKS.mkdir()
    targets = Targets("as1ab0", [Portal("0.0.0.0")])  # noqa: S104 — inside an emulator, behind one forwarded port
    targets.prepare()
    answer(folder, 0, [])
    done = 0
    while True:
        wanted = json.loads((folder / "wanted.json").read_text()) if (folder / "wanted.json").exists() else {}
        if wanted.get("number", 0) == done:
            time.sleep(0.1)
            continue
        for disk_id in targets.targets():
            targets.absent(disk_id)
        time.sleep(wanted["away_s"])
        specs = [spec(disk) for disk in wanted["disks"]]
        failed = targets.restore(specs)
        if failed:
            sys.exit(f"not served: {failed}")
        done = wanted["number"]
        answer(folder, done, [targets.target_name(each.id) for each in specs])


def spec(disk: dict[str, str]) -> TargetSpec:
    path = DISKS / disk["id"]
    size_bytes = int(disk["size_bytes"])
    path.touch()
    if path.stat().st_size < size_bytes:
        os.truncate(path, size_bytes)
    return TargetSpec(UUID(disk["id"]), path, size_bytes, (Grant(disk["initiator"], disk["secret"]),))


def answer(folder: Path, number: int, targets: list[str]) -> None:
    part = folder / "served.part"
    part.write_text(json.dumps({"number": number, "targets": targets}))
    part.replace(folder / "served.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
