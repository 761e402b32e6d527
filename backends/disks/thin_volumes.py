"""A storage host's disks as thin logical volumes of one pool, made by LVM's own programs.

A volume's name is the cloud's tag and the disk's UUID; volumes of other names in the group are somebody else's. Sizes
are rounded up to the group's extents (4 MiB, unless the group was made otherwise).
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from backends.disks.errors import NotThere, PoolFull, ToolFailed
from backends.disks.tool import run
from backends.disks.volumes import Room

LIMIT_S = 600
"""A program of LVM's that is killed may leave devices suspended, so it gets all the time that it could need."""
UDEV = Path("/run/udev/control")
WITHOUT_UDEV = ("--config", "activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }")
MOST_METADATA_PERCENT = 95.0


class ThinVolumes:
    """`Volumes` in a thin pool that whoever runs the host has made: `lvcreate --type thin-pool`."""

    def __init__(self, cloud_tag: str, group: str, pool: str) -> None:
        self.cloud_tag, self.group, self.pool = cloud_tag, group, pool

    def prepare(self) -> None:
        """Everything active, which it isn't after a boot without LVM's own service.

        `NotThere` without the pool, or where it would show a disk's first reader what another disk held before.
        """
        (pool,) = self._listed("segtype,zero", f"lv_name={self.pool}") or ({},)
        if pool.get("segtype") != "thin-pool":
            raise NotThere(
                f"{self.group}/{self.pool} is no thin pool: expected one that lvcreate --type thin-pool made"
            )
        if pool["zero"] != "zero":
            raise NotThere(
                f"the thin pool {self.group}/{self.pool} doesn't zero its blocks: lvchange --zero y is needed"
            )
        self._lvm("vgchange", "--activate", "y", self.group)

    def path(self, disk_id: UUID) -> Path:
        return Path("/dev") / self.group / self._name(disk_id)

    def disks(self) -> set[UUID]:
        found = set()
        for volume in self._listed("lv_name", f"pool_lv={self.pool}"):
            with suppress(ValueError):
                disk_id = UUID(volume["lv_name"].removeprefix(f"{self.cloud_tag}-"))
                if self._name(disk_id) == volume["lv_name"]:
                    found.add(disk_id)
        return found

    def is_there(self, disk_id: UUID) -> bool:
        return self._size_bytes(disk_id) is not None

    def ensure_blank(self, disk_id: UUID, size_bytes: int) -> None:
        if not self.is_there(disk_id):
            how = ("--type", "thin", "--thinpool", self.pool, "--wipesignatures", "n", "--virtualsize")
            self._lvm("lvcreate", "--yes", *how, f"{size_bytes}b", "--name", self._name(disk_id), self.group)
        self._activate(disk_id)

    def shares(self, disk_id: UUID, source_id: UUID) -> bool:
        """A thin snapshot: LVM suspends the source for a moment, with all that was written to it."""
        if not self.is_there(disk_id):
            if not self.is_there(source_id):
                raise NotThere(f"disk {source_id} is not there: {self.path(source_id)} is missing")
            how = ("--snapshot", "--setactivationskip", "n", "--name", self._name(disk_id))
            self._lvm("lvcreate", "--yes", *how, self._full_name(source_id))
        self._activate(disk_id)
        return True

    def copy(self, disk_id: UUID, source_id: UUID) -> None:
        self.shares(disk_id, source_id)

    def ensure_size(self, disk_id: UUID, size_bytes: int) -> None:
        present = self._size_bytes(disk_id)
        if present is None:
            raise NotThere(f"disk {disk_id} is not there: {self.path(disk_id)} is missing")
        if present < size_bytes:
            self._lvm("lvextend", "--size", f"{size_bytes}b", self._full_name(disk_id))

    def absent(self, disk_id: UUID) -> None:
        if self.is_there(disk_id):
            self._lvm("lvremove", "--yes", self._full_name(disk_id))

    def room(self) -> Room:
        (pool,) = self._listed("lv_size,data_percent,metadata_percent", f"lv_name={self.pool}") or ({},)
        if not pool:
            raise NotThere(f"the thin pool {self.group}/{self.pool} is gone")
        total_bytes = int(pool["lv_size"])
        if float(pool["metadata_percent"] or 0) > MOST_METADATA_PERCENT:
            return Room(total_bytes, 0)
        return Room(total_bytes, int(total_bytes * (1 - float(pool["data_percent"] or 0) / 100)))

    def _name(self, disk_id: UUID) -> str:
        return f"{self.cloud_tag}-{disk_id}"

    def _full_name(self, disk_id: UUID) -> str:
        return f"{self.group}/{self._name(disk_id)}"

    def _size_bytes(self, disk_id: UUID) -> int | None:
        found = self._listed("lv_size", f"lv_name={self._name(disk_id)}")
        return int(found[0]["lv_size"]) if found else None

    def _activate(self, disk_id: UUID) -> None:
        """Its device, which a crash between the volume's making and its activation leaves out."""
        if not self.path(disk_id).is_block_device():
            self._lvm("lvchange", "--activate", "y", "--ignoreactivationskip", self._full_name(disk_id))

    def _listed(self, fields: str, selection: str) -> list[dict[str, Any]]:
        how = ("--reportformat", "json", "--units", "b", "--nosuffix", "--options", fields, "--select", selection)
        try:
            report = json.loads(self._lvm("lvs", *how, self.group))
            listed: list[dict[str, Any]] = report["report"][0]["lv"]
        except (ValueError, KeyError, IndexError) as error:
            raise ToolFailed(f"lvs told nothing of the volume group {self.group} that could be read") from error
        return listed

    def _lvm(self, program: str, *arguments: str) -> str:
        own = () if UDEV.exists() else WITHOUT_UDEV
        try:
            return run(program, *own, *arguments, seconds=LIMIT_S)
        except PoolFull as full:
            raise PoolFull(f"no room is left in the thin pool {self.group}/{self.pool}: {full.message}") from full
