"""Disks that share layers: made at once, each on its own from then on, in whatever order they go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from backends.disks.errors import InUse
from backends.disks.pool import MOST_LAYERS, DiskPool, Volume, VolumeKind, disk

MIB = 1024 * 1024


@pytest.fixture
def pool(tmp_path: Path) -> DiskPool:
    made = DiskPool(tmp_path / "pool")
    made.prepare()
    return made


@pytest.fixture
def source(pool: DiskPool) -> Volume:
    made = disk(uuid4())
    pool.ensure_blank(made, MIB)
    write(pool, made, 1)
    return made


def qemu_io(path: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    arguments = [part for command in commands for part in ("-c", command)]
    return subprocess.run(
        ["qemu-io", "-f", "qcow2", *arguments, str(path)], capture_output=True, text=True, timeout=30, check=False
    )


def write(pool: DiskPool, volume: Volume, pattern: int) -> None:
    done = qemu_io(pool.path(volume), f"write -P {pattern} 0 64k")
    assert done.returncode == 0, done.stderr


def holds(pool: DiskPool, volume: Volume, pattern: int) -> bool:
    """By an exit status of 1 qemu-io says that what it read is something else."""
    done = qemu_io(pool.path(volume), f"read -P {pattern} 0 64k", "read -P 0 64k 64k")
    assert done.returncode in (0, 1), done.stderr
    return "verification failed" not in done.stdout and done.returncode == 0


def branch(pool: DiskPool, of: Volume, *, changes: bool = True) -> Volume:
    made = disk(uuid4())
    pool.ensure_branch(made, of, changes=changes)
    return made


def files(pool: DiskPool) -> list[str]:
    return sorted(str(path.relative_to(pool.folder)) for path in pool.folder.rglob("*") if path.is_file())


def test_a_branch_has_what_its_source_had_and_neither_sees_the_other_s_changes(pool: DiskPool, source: Volume) -> None:
    clone = branch(pool, source)
    assert holds(pool, clone, 1)
    assert holds(pool, source, 1)
    write(pool, source, 2)
    write(pool, clone, 3)
    assert holds(pool, source, 2)
    assert holds(pool, clone, 3)
    assert [len(pool.chain(volume)) for volume in (source, clone)] == [2, 2]
    assert pool.usage(clone) < MIB


def test_branches_of_what_never_changes_stay_on_its_layer(pool: DiskPool, source: Volume) -> None:
    snapshot = branch(pool, source)
    clones = [branch(pool, snapshot, changes=False) for _ in range(3)]
    assert len(pool.layers()) == 1
    assert [len(pool.chain(volume)) for volume in clones] == [2, 2, 2]
    write(pool, source, 2)
    assert all(holds(pool, volume, 1) for volume in (snapshot, *clones))


def test_a_disk_goes_back_to_its_snapshot_at_one_moment(pool: DiskPool, source: Volume) -> None:
    snapshot = branch(pool, source)
    write(pool, source, 2)
    later = branch(pool, source)
    for volume, pattern in ((snapshot, 1), (later, 2), (snapshot, 1)):
        pool.ensure_branch(source, volume, changes=False, replaces=True)
        assert holds(pool, source, pattern)
        write(pool, source, 7)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_in_whatever_order_they_go_the_others_stay_whole_and_nothing_is_left(
    pool: DiskPool, source: Volume, order: tuple[int, ...]
) -> None:
    first = branch(pool, source)
    write(pool, source, 2)
    second = branch(pool, source)
    of_first = branch(pool, first, changes=False)
    write(pool, source, 3)
    left = {source: 3, first: 1, second: 2, of_first: 1}
    for volume in [(source, first, second, of_first)[number] for number in order]:
        pool.absent(volume)
        del left[volume]
        assert all(holds(pool, other, pattern) for other, pattern in left.items())
    assert files(pool) == []


def test_a_branch_of_an_image_s_clone_keeps_the_image(pool: DiskPool, tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, str(MIB)], check=True, timeout=30)
    image_id, clone = uuid4(), disk(uuid4())
    pool.import_image(image_id, image)
    pool.ensure_clone(clone, image_id, MIB)
    branched = branch(pool, clone)
    assert len(pool.chain(branched)) == 3
    pool.absent(clone)
    with pytest.raises(InUse, match="layer"):
        pool.absent_image(image_id)
    pool.absent(branched)
    pool.absent_image(image_id)
    assert files(pool) == []


def test_a_branch_may_be_larger(pool: DiskPool, source: Volume) -> None:
    clone = branch(pool, source)
    pool.ensure_size(clone, 3 * MIB)
    assert pool.facts(clone).size_bytes == 3 * MIB
    assert holds(pool, clone, 1)


def test_of_what_has_many_layers_a_copy_is_made(pool: DiskPool, source: Volume) -> None:
    for number in range(MOST_LAYERS):
        branch(pool, source)
        write(pool, source, number)
    assert len(pool.chain(source)) == MOST_LAYERS + 1
    clone = branch(pool, source)
    assert len(pool.chain(clone)) == 1
    assert len(pool.chain(source)) == MOST_LAYERS + 1
    assert holds(pool, clone, MOST_LAYERS - 1)


def test_what_was_not_written_since_stays_on_its_layer(pool: DiskPool, source: Volume) -> None:
    clones = [branch(pool, source) for _ in range(3)]
    assert len(pool.layers()) == 1
    pool.ensure_size(source, 2 * MIB)
    larger = branch(pool, source)
    assert (len(pool.layers()), pool.facts(larger).size_bytes) == (1, 2 * MIB)
    write(pool, source, 2)
    changed = branch(pool, source)
    assert len(pool.layers()) == 2
    assert [holds(pool, each, 1) for each in (*clones, larger)] == [True] * 4
    assert holds(pool, changed, 2)


def test_what_somebody_writes_to_becomes_no_layer(pool: DiskPool, source: Volume) -> None:
    with subprocess.Popen(
        ["qemu-io", "-f", "qcow2", str(pool.path(source))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write("write -P 5 0 64k\n")
        writer.stdin.flush()
        while "wrote" not in writer.stdout.readline():
            pass
        with pytest.raises(InUse):
            branch(pool, source)
        writer.stdin.write("quit\n")
        writer.stdin.close()
    assert pool.layers() == set()
    assert holds(pool, source, 5)


CHANGES = {"os.link", "os.rename", "os.remove", "os.chmod", "subprocess.Popen"}
killers: list[Callable[[str], None]] = []


def _audit(event: str, _: tuple[object, ...]) -> None:
    """What Python is about to change; an audit hook can't be taken out again."""
    if killers and event in CHANGES:
        killers[-1](event)


sys.addaudithook(_audit)


def killed_before(step: int, call: Callable[[], object]) -> bool:
    """Runs it in a child that kills itself before its change of that number; False if it got to the end."""
    child = os.fork()
    if child == 0:
        left = [step]

        def kill(_: str) -> None:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

        killers.append(kill)
        try:
            call()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_killed_before_any_step_the_source_is_whole_and_the_next_call_finishes(pool: DiskPool, source: Volume) -> None:
    target, steps = disk(UUID(int=7)), 0
    while killed_before(steps, lambda: pool.ensure_branch(target, source)):
        assert holds(pool, source, 1), steps
        if steps % 2:
            pool.sweep()
        pool.ensure_branch(target, source)
        assert holds(pool, source, 1), steps
        assert holds(pool, target, 1), steps
        pool.absent(target)
        write(pool, source, 1)
        steps += 1
    assert steps > 5
    pool.absent(target)
    pool.absent(source)
    pool.sweep()
    assert files(pool) == []


def test_killed_while_it_goes_back_a_disk_is_the_old_or_the_new(pool: DiskPool, source: Volume) -> None:
    snapshot = branch(pool, source)
    write(pool, source, 2)
    steps = 0
    while killed_before(steps, lambda: pool.ensure_branch(source, snapshot, changes=False, replaces=True)):
        assert holds(pool, source, 1) or holds(pool, source, 2), steps
        pool.ensure_branch(source, snapshot, changes=False, replaces=True)
        assert holds(pool, source, 1), steps
        write(pool, source, 2)
        steps += 1
    assert steps > 1


def test_a_layer_that_is_being_made_is_left_alone(pool: DiskPool, source: Volume) -> None:
    second_name = pool.path(Volume(VolumeKind.LAYER, uuid4()))
    second_name.hardlink_to(pool.path(source))
    pool.remove_unused_layers()
    assert second_name.exists()
    pool.sweep()
    assert not second_name.exists()
    assert holds(pool, source, 1)
