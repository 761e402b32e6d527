"""What runs under `altostratus run` is started again, whatever came in between."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from altostratus.supervisor import Child, StartError, start


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
