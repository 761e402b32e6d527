"""LIO, the kernel's iSCSI target: one target per disk, with the disk as its LUN 0, for those initiators only that hold
a grant.

Says what should be, through rtslib; may be cut off before any step and called again. It knows neither machines nor
the database, and touches no target but those named after this cloud. Nothing is saved: LIO's state lives in the
kernel, and what should be is somebody else's to remember.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from rtslib_fb import (
    LUN,
    TPG,
    BlockStorageObject,
    FabricModule,
    FileIOStorageObject,
    MappedLUN,
    NetworkPortal,
    NodeACL,
    RTSLibError,
    RTSRoot,
    Target,
)

from backends.disks.errors import NotThere, TargetFailed, TargetRefused
from backends.terms import check_initiator

AUTHORITY = "iqn.2026-01.local.altostratus"
LEAST_SECRET, MOST_SECRET = 12, 255
GROUP_TAG = 1
NAA_PREFIX = "6001405"
"""IEEE's registered-extended form under LIO's own number; 25 digits of the unit's serial follow."""
HOMES_TRIED = 8
GROUP_ATTRIBUTES = {
    "authentication": "1",
    "generate_node_acls": "0",
    "demo_mode_write_protect": "1",
    "demo_mode_discovery": "0",
    "cache_dynamic_acls": "0",
}
"""Nobody without a grant logs in or finds the target; whoever has one must know its secret."""
CONFIGFS = Path("/sys/kernel/config/target")
RESERVATIONS = Path("/etc/target")
"""Where rtslib has the kernel keep what must outlast a loss of power; it must be told before the first disk is made."""


@dataclass(frozen=True, slots=True)
class Grant:
    """An initiator that may log in, under its own name and with this CHAP secret."""

    initiator: str
    secret: str = field(repr=False)
    read_only: bool = False

    def __post_init__(self) -> None:
        check_initiator(self.initiator)
        is_bounded = LEAST_SECRET <= len(self.secret) <= MOST_SECRET
        if not is_bounded or not self.secret.isascii() or not self.secret.isalnum():
            raise TargetRefused(
                f"the secret of {self.initiator} must have {LEAST_SECRET} to {MOST_SECRET} letters and digits"
            )


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """A disk, where its bytes are (a raw file or a block device), and who may use it."""

    id: UUID
    path: Path
    size_bytes: int
    grants: tuple[Grant, ...] = ()

    def __post_init__(self) -> None:
        names = [grant.initiator for grant in self.grants]
        if len(set(names)) != len(names):
            raise TargetRefused(f"disk {self.id} is granted to one initiator twice, among {', '.join(names)}")
        writers = [grant.initiator for grant in self.grants if not grant.read_only]
        if len(writers) > 1:
            raise TargetRefused(f"disk {self.id} can be written by one initiator only, not by {', '.join(writers)}")


@dataclass(frozen=True, slots=True)
class Portal:
    """An address that the target listens on."""

    address: str
    port: int = 3260

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Unit:
    """What an initiator needs to know, in the terms of CDMI's export (1.1.1 §13.4): all strings."""

    target_identifier: str
    """`IQN,t,0x0001`: the target and the tag of its portal group."""
    logical_unit_number: str
    logical_unit_name: str
    """`0x` and the NAA name that the unit itself tells."""


class Targets:
    """The targets of one cloud on this host."""

    def __init__(self, cloud_tag: str, portals: Sequence[Portal]) -> None:
        self.cloud_tag = cloud_tag
        self.portals = tuple(portals)

    def prepare(self) -> None:
        """LIO in the kernel, and its folder for persistent reservations. Once, before anything else."""
        for name in ("pr", "alua"):
            (RESERVATIONS / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        with _failing("find LIO in the kernel"):
            RTSRoot()
            FabricModule("iscsi")._check_self()

    # Names

    def target_name(self, disk_id: UUID) -> str:
        return f"{AUTHORITY}:{self.cloud_tag}.{disk_id}"

    def unit(self, disk_id: UUID) -> Unit:
        return Unit(f"{self.target_name(disk_id)},t,0x{GROUP_TAG:04x}", "0", f"0x{NAA_PREFIX}{disk_id.hex[:25]}")

    # What should be

    def ensure_target(self, spec: TargetSpec) -> Unit:
        """The disk served to exactly those granted; the portal group opens last."""
        with _failing(f"serve disk {spec.id}"):
            self._ensure_closed(spec)
            _open(self._group(spec.id))
        return self.unit(spec.id)

    def restore(self, specs: Sequence[TargetSpec]) -> dict[UUID, str]:
        """As `ensure_target` for all, none opened before the last one is made: for after a reboot.

        Those that failed, with the reason; the others are served.
        """
        failed: dict[UUID, str] = {}
        for spec in specs:
            try:
                with _failing(f"serve disk {spec.id}"):
                    self._ensure_closed(spec)
            except (TargetFailed, NotThere) as error:
                failed[spec.id] = error.message
        for spec in specs:
            if spec.id not in failed:
                with _failing(f"serve disk {spec.id}"):
                    _open(self._group(spec.id))
        return failed

    def close(self, disk_id: UUID) -> None:
        """Nobody can log in, and who is logged in waits, until `ensure_target`."""
        with _failing(f"close the target of disk {disk_id}"):
            if (CONFIGFS / "iscsi" / self.target_name(disk_id)).is_dir():
                self._group(disk_id).enable = False

    def absent(self, disk_id: UUID) -> None:
        """Sessions are closed; the bytes stay where they are."""
        with _failing(f"stop serving disk {disk_id}"):
            fabric = FabricModule("iscsi")
            if (Path(fabric.path) / self.target_name(disk_id)).is_dir():
                target = Target(fabric, self.target_name(disk_id), mode="lookup")
                for group in target.tpgs:
                    group.enable = False
                target.delete()
            for plugin in ("fileio", "iblock"):
                for home in self._homes(disk_id, plugin):
                    _remove(home / self._unit_name(disk_id))

    # What is

    def targets(self) -> set[UUID]:
        """Every disk of this cloud of which anything is there, half made or half removed."""
        mark, found = f"{AUTHORITY}:{self.cloud_tag}.", set()
        served = (path.name.removeprefix(mark) for path in (CONFIGFS / "iscsi").glob(f"{mark}*"))
        stored = (
            path.name.removeprefix(f"{self.cloud_tag}-") for path in CONFIGFS.glob(f"core/*_*/{self.cloud_tag}-*")
        )
        for name in (*served, *stored):
            try:
                found.add(UUID(name))
            except ValueError:
                continue  # somebody else's, whatever it looks like
        return found

    def initiators(self, disk_id: UUID) -> set[str]:
        """Who is logged in now."""
        acls = CONFIGFS / "iscsi" / self.target_name(disk_id) / f"tpgt_{GROUP_TAG}" / "acls"
        return {
            acl.name
            for acl in (acls.iterdir() if acls.is_dir() else ())
            if acl.is_dir() and not (acl / "info").read_text().startswith("No active")
        }

    # Steps

    def _ensure_closed(self, spec: TargetSpec) -> None:
        """All but the opening of a new portal group; one that is open stays so while its grants change."""
        storage = self._ensure_storage(spec)
        target = Target(FabricModule("iscsi"), self.target_name(spec.id), mode="any")
        group = TPG(target, GROUP_TAG, mode="any")
        for name, value in GROUP_ATTRIBUTES.items():
            if group.get_attribute(name) != value:
                group.set_attribute(name, value)
        lun = _linked(Path(group.path) / "lun" / "lun_0")
        if not lun:
            LUN(group, 0, storage)
        wanted = {grant.initiator: grant for grant in spec.grants}
        for acl in group.node_acls:
            if acl.node_wwn not in wanted:
                acl.delete()
        for grant in spec.grants:
            _ensure_grant(group, grant)
        listening = {(portal.address, portal.port) for portal in self.portals}
        for portal in group.network_portals:
            if (portal.ip_address, portal.port) not in listening:
                portal.delete()
        for address, port in sorted(listening):
            NetworkPortal(group, address, port, mode="any")

    def _group(self, disk_id: UUID) -> TPG:
        return TPG(Target(FabricModule("iscsi"), self.target_name(disk_id), mode="lookup"), GROUP_TAG, mode="lookup")

    def _unit_name(self, disk_id: UUID) -> str:
        return f"{self.cloud_tag}-{disk_id}"

    def _homes(self, disk_id: UUID, plugin: str) -> Iterator[Path]:
        """Where the disk's storage object may stand: rtslib gives each a numbered folder of its own.

        The number follows from the name, so that it is found again without looking at all others; if another has
        it, the next is taken.
        """
        first = int.from_bytes(sha256(self._unit_name(disk_id).encode()).digest()[:4]) >> 2
        for number in range(first, first + HOMES_TRIED):
            yield CONFIGFS / "core" / f"{plugin}_{number}"

    def _ensure_storage(self, spec: TargetSpec) -> FileIOStorageObject | BlockStorageObject:
        is_block = spec.path.is_block_device()
        if not is_block and not spec.path.is_file():
            raise NotThere(f"disk {spec.id} is not there: {spec.path} is neither a file nor a block device")
        name, plugin = self._unit_name(spec.id), "iblock" if is_block else "fileio"
        free = None
        for home in self._homes(spec.id, plugin):
            path = home / name
            if path.is_dir():
                if (path / "enable").read_text().strip() == "1":
                    return _settled(spec, home, name, is_block=is_block)
                _remove(path)
            elif home.is_dir() and not any(each.is_dir() for each in home.iterdir()):
                home.rmdir()  # what a crash between two steps left
            if free is None and not home.is_dir():
                free = home
        if free is None:
            raise TargetFailed(f"no number is free for the storage object of disk {spec.id}")
        number = int(free.name.rpartition("_")[2])
        if is_block:
            BlockStorageObject(name, dev=str(spec.path), wwn=str(spec.id), index=number)
        else:
            FileIOStorageObject(
                name, dev=str(spec.path), size=spec.size_bytes, wwn=str(spec.id), write_back=True, index=number
            )
        return _settled(spec, free, name, is_block=is_block)


def _settled(spec: TargetSpec, home: Path, name: str, *, is_block: bool) -> FileIOStorageObject | BlockStorageObject:
    """The enabled storage object with its serial, its size, and discards passed on."""
    kind = BlockStorageObject if is_block else FileIOStorageObject
    storage = kind(name, index=int(home.name.rpartition("_")[2]))
    if storage.udev_path != str(spec.path):
        raise TargetFailed(f"disk {spec.id} is served from {storage.udev_path}, not from {spec.path}")
    if storage.wwn != str(spec.id):
        storage.wwn = str(spec.id)
    if not is_block and storage.size < spec.size_bytes:
        (home / name / "control").write_text(f"fd_dev_size={spec.size_bytes}")
    takes_discards = storage.get_attribute("max_unmap_block_desc_count") != "0"
    if takes_discards and storage.get_attribute("emulate_tpu") != "1":
        storage.set_attribute("emulate_tpu", "1")
    return storage


def _ensure_grant(group: TPG, grant: Grant) -> None:
    """The secret before the unit: an initiator never sees it without."""
    acl = NodeACL(group, grant.initiator, mode="any")
    if acl.chap_userid != grant.initiator:
        acl.chap_userid = grant.initiator
    if acl.chap_password != grant.secret:
        acl.chap_password = grant.secret
    if not _linked(Path(acl.path) / "lun_0"):
        MappedLUN(acl, 0, 0, write_protect=grant.read_only)
    mapped = MappedLUN(acl, 0)
    if mapped.write_protect != grant.read_only:
        mapped.write_protect = grant.read_only


def _open(group: TPG) -> None:
    if not group.enable:
        group.enable = True


def _linked(folder: Path) -> bool:
    """Whether the LUN is whole; one that a crash left without its link is removed."""
    if not folder.is_dir():
        return False
    if any(each.is_symlink() for each in folder.iterdir()):
        return True
    folder.rmdir()
    return False


def _remove(storage: Path) -> None:
    """A storage object that no LUN shows, and its folder. rtslib's own way looks at every LUN of the host first."""
    if storage.is_dir():
        storage.rmdir()
    if storage.parent.is_dir() and not any(each.is_dir() for each in storage.parent.iterdir()):
        storage.parent.rmdir()


@contextmanager
def _failing(doing: str) -> Iterator[None]:
    """rtslib's errors and the kernel's as this driver's; `doing` completes "could not ...". Neither quotes a secret."""
    try:
        yield
    except (RTSLibError, OSError) as error:
        raise TargetFailed(f"could not {doing}: {error}") from error
