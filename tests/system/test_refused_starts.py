"""A start that can't succeed is refused with the setting's name and the reason, before anything is made."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from altostratus.preflight import Unusable, check
from altostratus.settings import Settings
from tests.system.conftest import Gateway

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="`altostratus run` needs root")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path that everybody may enter."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


def refusal(state: Path, **settings: str) -> str:
    with pytest.raises(Unusable) as refused:
        check(Settings(state=state, **settings))
    return str(refused.value)


def test_what_can_work_is_not_refused(folder: Path) -> None:
    check(Settings(state=folder / "new" / "state"))


def test_a_state_folder_too_long_for_the_socket(folder: Path) -> None:
    gateway = Gateway(folder / ("long" * 25), "127.0.0.1:9")
    ended = gateway.command("run")
    said = " ".join(ended.stderr.split())
    assert ended.returncode == 1, ended
    assert "the path of PostgreSQL's socket below it would have" in said
    assert "107 are the most" in said
    assert not gateway.state.exists()


def test_the_longest_state_folder_is_not_refused(folder: Path) -> None:
    short = Settings(state=folder / "a")
    room = 107 - len(os.fsencode(short.cluster.socket))
    check(Settings(state=folder / ("a" * (1 + room))))
    assert "1 bytes shorter" in refusal(folder / ("a" * (2 + room)))


def test_a_state_folder_that_the_workers_cannot_enter(folder: Path) -> None:
    (folder / "private").mkdir(mode=0o700)
    assert f"the user altostratus can't enter {folder / 'private'}" in refusal(folder / "private" / "below" / "state")


def test_a_state_folder_that_is_a_file(folder: Path) -> None:
    (folder / "state").write_text("not a folder")
    assert f"{folder / 'state'} is not a folder" in refusal(folder / "state")


@pytest.mark.parametrize(
    ("user", "reason"), [("nobody-of-that-name", "there is no such system user"), ("root", "must not be")]
)
def test_a_user_that_cannot_be_the_workers(user: str, reason: str, folder: Path) -> None:
    assert reason in refusal(folder / "state", user=user)


@pytest.fixture
def neighbourhood() -> Iterator[str]:
    """A link with an address; its name."""
    name = "lan0"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True, timeout=10)
    subprocess.run(["ip", "address", "add", "10.77.3.9/24", "dev", name], check=True, timeout=10)
    yield name
    subprocess.run(["ip", "link", "delete", name], check=True, timeout=10)


def test_a_shared_range_that_is_the_hosts_own_network(neighbourhood: str, folder: Path) -> None:
    said = refusal(folder / "state", shared_network="10.77.0.0/16")
    assert f"shared_network is 10.77.0.0/16, which overlaps the network of this host's {neighbourhood}" in said
    check(Settings(state=folder / "state", shared_network="10.78.0.0/16"))
