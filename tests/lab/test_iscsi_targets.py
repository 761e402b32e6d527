"""LIO as the driver leaves it, seen by an initiator that knows only what it was granted."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from rtslib_fb import FabricModule, FileIOStorageObject, Target

from backends.disks.errors import NotThere, TargetRefused
from backends.disks.iscsi import Targets, TargetSpec
from tests.lab.conftest import MIB, LoginRefused, as_shown, grant, initiator, log_in, portal_url, traces

Make = Callable[..., TargetSpec]


@pytest.mark.parametrize("disk_id", [uuid4(), UUID("7e3ab0dd-eac5-4b21-a006-2494bd6cfc71")])
def test_granted_initiator_finds_the_disk_under_the_names_that_were_told(
    targets: Targets, make_spec: Make, disk_id: UUID
) -> None:
    guest = grant()
    spec = make_spec(guest, disk_id=disk_id)
    unit = targets.ensure_target(spec)
    assert unit.target_identifier == f"{targets.target_name(spec.id)},t,0x0001"
    assert unit.logical_unit_number == "0"
    told = log_in(targets, spec.id, guest)
    assert as_shown(unit.logical_unit_name) in told, told


def test_nobody_else_logs_in_or_finds_the_target(targets: Targets, make_spec: Make) -> None:
    guest, stranger = grant(), grant("stranger")
    spec = make_spec(guest)
    targets.ensure_target(spec)
    with pytest.raises(LoginRefused):
        log_in(targets, spec.id, stranger)
    with pytest.raises(LoginRefused, match="uth"):
        log_in(targets, spec.id, guest, secret="0123456789abcdef")
    with pytest.raises(LoginRefused):
        log_in(targets, spec.id, replace(stranger, secret=guest.secret))
    found = initiator("iscsi-ls", stranger, portal_url(stranger))
    assert str(spec.id) not in found.stdout + found.stderr


def test_withdrawn_grant_ends_the_right_to_log_in(targets: Targets, make_spec: Make) -> None:
    first, second = grant("first"), grant("second")
    spec = make_spec(first)
    targets.ensure_target(spec)
    log_in(targets, spec.id, first)
    targets.ensure_target(replace(spec, grants=(second,)))
    log_in(targets, spec.id, second)
    with pytest.raises(LoginRefused):
        log_in(targets, spec.id, first)
    renewed = replace(second, secret="fedcba9876543210")
    targets.ensure_target(replace(spec, grants=(renewed,)))
    log_in(targets, spec.id, renewed)
    with pytest.raises(LoginRefused):
        log_in(targets, spec.id, second)


def test_disk_has_one_writer_at_most_and_any_number_of_readers(targets: Targets, make_spec: Make) -> None:
    with pytest.raises(TargetRefused, match="one initiator only"):
        make_spec(grant("first"), grant("second"))
    readers = [grant("first", read_only=True), grant("second", read_only=True)]
    spec = make_spec(*readers)
    targets.ensure_target(spec)
    for reader in readers:
        log_in(targets, spec.id, reader)
    acls = sorted(Path("/sys/kernel/config/target/iscsi").glob(f"*{spec.id}/tpgt_1/acls/*/lun_0/write_protect"))
    assert [path.read_text().strip() for path in acls] == ["1", "1"]


def test_disk_grows_while_it_is_served(targets: Targets, make_spec: Make) -> None:
    guest = grant()
    spec = make_spec(guest)
    targets.ensure_target(spec)
    os.truncate(spec.path, 32 * MIB)
    targets.ensure_target(replace(spec, size_bytes=32 * MIB))
    url = portal_url(guest, f"{targets.target_name(spec.id)}/0")
    told = initiator("iscsi-readcapacity16", guest, url, "-s").stdout
    assert str(32 * MIB) in told, told


def test_twenty_disks_are_served_and_told_apart_and_go(targets: Targets, make_spec: Make) -> None:
    specs = [make_spec(grant(f"guest{number}")) for number in range(20)]
    names = {targets.ensure_target(spec).logical_unit_name for spec in specs}
    assert len(names) == 20
    assert targets.targets() == {spec.id for spec in specs}
    found = initiator("iscsi-ls", specs[7].grants[0], portal_url(specs[7].grants[0]))
    assert [str(spec.id) in found.stdout for spec in specs] == [number == 7 for number in range(20)], found
    for spec in specs:
        targets.absent(spec.id)
    assert targets.targets() == set()
    assert traces(targets) == []


def test_work_for_one_disk_does_not_look_at_the_others(targets: Targets, make_spec: Make) -> None:
    """Counted in what is opened and listed, for time tells nothing here."""

    def work() -> int:
        seen: list[str] = []
        auditors.append(lambda _, path: seen.append(path))
        spec = make_spec(grant())
        targets.ensure_target(spec)
        targets.absent(spec.id)
        auditors.clear()
        return len(seen)

    alone = work()
    for number in range(10):
        targets.ensure_target(make_spec(grant(f"other{number}")))
    assert work() == alone


def test_targets_of_others_are_left_alone(targets: Targets, make_spec: Make, tmp_path: Path) -> None:
    """Another cloud's, and one that somebody made by hand."""
    other = Targets("as0f0f", targets.portals)
    spec = make_spec(grant())
    other.ensure_target(spec)
    by_hand = Target(FabricModule("iscsi"), f"iqn.2026-01.org.example:{targets.cloud_tag}")
    storage = FileIOStorageObject("by-hand", dev=str(tmp_path / "by-hand"), size=MIB)
    try:
        assert targets.targets() == set()
        targets.absent(spec.id)
        assert other.targets() == {spec.id}
        log_in(other, spec.id, spec.grants[0])
    finally:
        other.absent(spec.id)
        by_hand.delete()
        storage.delete()


def test_killed_before_any_step_it_is_finished_by_the_next_call(targets: Targets, make_spec: Make) -> None:
    """A child makes the target and dies by SIGKILL before its first change, another before its second, and so on."""
    steps = 0
    spec = make_spec(grant("first"), size_bytes=MIB)
    while killed_before(steps, lambda: targets.ensure_target(spec)):
        targets.ensure_target(spec)
        _is_whole(targets, spec)
        targets.absent(spec.id)
        assert traces(targets) == [], f"after a kill before step {steps}"
        steps += 1
    assert steps > 15
    log_in(targets, spec.id, spec.grants[0])


def test_killed_before_any_step_of_a_change_or_removal_it_is_finished(targets: Targets, make_spec: Make) -> None:
    before = make_spec(grant("first"), size_bytes=MIB)
    after = replace(before, grants=(grant("second"),))
    steps = 0
    targets.ensure_target(before)
    while killed_before(steps, lambda: targets.ensure_target(after)):
        targets.ensure_target(after)
        _is_whole(targets, after)
        targets.ensure_target(before)
        steps += 1
    assert steps > 4
    steps = 0
    while killed_before(steps, lambda: targets.absent(before.id)):
        if steps % 2:
            targets.absent(before.id)
            assert traces(targets) == [], f"after a kill before step {steps}"
        targets.ensure_target(before)
        _is_whole(targets, before)
        steps += 1
    assert steps > 6
    assert traces(targets) == []


def test_after_a_reboot_nothing_opens_before_everything_is_made(targets: Targets, make_spec: Make) -> None:
    """LIO's state lives in the kernel: a reboot of the storage host leaves the files and nothing else."""
    specs = [make_spec(grant(f"guest{number}")) for number in range(3)]
    lost = replace(make_spec(grant("lost")), path=Path("/mnt/nowhere"))
    for spec in specs:
        targets.ensure_target(spec)
        targets.absent(spec.id)
    changes: list[str] = []
    auditors.append(lambda event, path: changes.append(path) if event != "open" or path.endswith("enable") else None)
    failed = targets.restore([*specs, lost])
    auditors.clear()
    assert list(failed) == [lost.id]
    opened = [index for index, path in enumerate(changes) if path.endswith("tpgt_1/enable")]
    made = [index for index, path in enumerate(changes) if path.endswith("lun_0") and "/acls/" in path]
    assert len(made) == len(specs)
    assert max(made) < min(opened)
    for spec in specs:
        log_in(targets, spec.id, spec.grants[0])


def _is_whole(targets: Targets, spec: TargetSpec) -> None:
    """By the kernel's own account; a login per step would take minutes under emulation."""
    group = Path("/sys/kernel/config/target/iscsi") / targets.target_name(spec.id) / "tpgt_1"
    assert (group / "enable").read_text().strip() == "1"
    assert {path.name for path in (group / "acls").iterdir()} == {each.initiator for each in spec.grants}
    for each in spec.grants:
        acl = group / "acls" / each.initiator
        assert (acl / "auth" / "password").read_text().strip() == each.secret
        assert [path for path in (acl / "lun_0").iterdir() if path.is_symlink()]
    (storage,) = [path.resolve() for path in (group / "lun" / "lun_0").iterdir() if path.is_symlink()]
    assert (storage / "wwn" / "vpd_unit_serial").read_text().strip().endswith(str(spec.id))
    assert (storage / "enable").read_text().strip() == "1"
    assert [path.name for path in (group / "np").iterdir()] == ["127.0.0.1:3260"]


CHANGES = {"os.mkdir", "os.rmdir", "os.symlink", "os.remove"}
auditors: list[Callable[[str, str], object]] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    """Whatever Python is about to open, list or change in configfs; an auditor can't be taken out again."""
    if auditors and event in {*CHANGES, "open", "os.listdir", "os.scandir"}:
        path = str(arguments[1] if event == "os.symlink" else arguments[0])
        if path.startswith("/sys/kernel/config"):
            for auditor in auditors:
                auditor(event if event != "open" or not _is_write(arguments) else "write", path)


def _is_write(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


sys.addaudithook(_audit)


def killed_before(step: int, call: Callable[[], object]) -> bool:
    """Runs it in a child that kills itself before its change of that number; False if it got to the end."""
    child = os.fork()
    if child == 0:
        left = [step]

        def kill(event: str, path: str) -> None:
            if event in {*CHANGES, "write"}:
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1

        auditors.append(kill)
        try:
            call()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def test_missing_file_is_named(targets: Targets) -> None:
    with pytest.raises(NotThere, match="/mnt/nowhere"):
        targets.ensure_target(TargetSpec(uuid4(), Path("/mnt/nowhere"), MIB))
    assert traces(targets) == []
