"""What runs under `altostratus run` is started again, whatever came in between."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from altostratus import supervisor
from altostratus.supervisor import Child, StartError, running_daemon, start


def test_one_that_cannot_be_started_is_said_in_a_sentence(tmp_path: Path) -> None:
    child = Child("sleeper", ["sleep", "60"], lambda: True, log_file=tmp_path / "missing" / "log")
    with pytest.raises(StartError, match="sleeper can't be started"):
        start(child)


def test_one_that_cannot_be_restarted_now_is_restarted_later(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    child = Child("sleeper", ["sleep", "60"], lambda: True, log_file=folder / "log")
    start(child)
    assert child.process is not None
    (folder / "log").unlink()
    folder.rmdir()
    child.process.kill()  # type: ignore[union-attr]
    while child.is_running:
        time.sleep(0.01)
    assert not child.restart_if_dead()
    folder.mkdir()
    while not child.restart_if_dead():
        time.sleep(0.05)
    assert child.is_running
    child.stop()
    assert not child.is_running


@pytest.mark.parametrize("started_for", ["mine", "other", None])
def test_a_daemon_that_an_earlier_run_of_the_same_state_started_is_stopped_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_for: str | None
) -> None:
    monkeypatch.setattr(supervisor, "PID_FOLDER", tmp_path)
    environment = dict(os.environ)
    if started_for is not None:
        environment |= supervisor.started_for(tmp_path / started_for)
    with subprocess.Popen(["sleep", "60"], env=environment) as daemon:
        (tmp_path / "sleep.pid").write_text(str(daemon.pid))
        while Path(f"/proc/{daemon.pid}/comm").read_text() != "sleep\n":  # its kernel may be about to
            time.sleep(0.01)
        child = Child("sleep", ["sleep", "60"], lambda: True, process=running_daemon("sleep", tmp_path / "mine"))
        assert child.is_running
        child.stop()
        assert child.is_running is (daemon.poll() is None) is (started_for != "mine")
        daemon.kill()


def test_a_daemon_of_an_earlier_run_that_ignores_the_request_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "PID_FOLDER", tmp_path)
    monkeypatch.setattr(supervisor, "STOP_LIMIT_S", 0.2)
    environment = {**os.environ, **supervisor.started_for(tmp_path)}
    deaf = "trap '' TERM; echo ready; while :; do sleep 1; done"
    with subprocess.Popen(["sh", "-c", deaf], env=environment, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        (tmp_path / "sh.pid").write_text(str(daemon.pid))
        child = Child("sh", ["sh"], lambda: True, process=running_daemon("sh", tmp_path))
        child.stop()
        assert not child.is_running
