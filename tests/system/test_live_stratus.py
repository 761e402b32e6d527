"""The user's command against a whole gateway: run, log in, read the console, stop, delete."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from live import eventually, make_key

from tests.conftest import repository
from tests.system.conftest import Gateway

COMMAND = "from stratus_client.command import main; main()"


class Stratus(Protocol):
    def __call__(self, *arguments: str, status: int = 0) -> str: ...


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's home with a key in it, which no account of this machine knows."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir(mode=0o700)
    make_key(home / ".ssh")
    for suffix in ("", ".pub"):
        (home / ".ssh" / f"key{suffix}").rename(home / ".ssh" / f"id_ed25519{suffix}")
    return home


@pytest.fixture(scope="module")
def stratus(gateway: Gateway, home: Path) -> Iterator[Stratus]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "STRATUS_ENDPOINT": gateway.url,
        "STRATUS_CREDENTIALS": str(gateway.state / "credentials"),
    }

    def call(*arguments: str, status: int = 0) -> str:
        ended = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            env=environment, cwd=repository(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200,
            check=False,
        )  # fmt: skip
        assert ended.returncode == status, (arguments, ended.stdout, ended.stderr)
        return ended.stdout

    yield call
    for one in json.loads(call("list", "--json")):
        call("delete", "--yes", one["id"])


def test_a_machine_is_run_logged_in_to_read_stopped_and_deleted(stratus: Stratus, home: Path) -> None:
    stratus("run", "default", "--name", "first", "--memory", "128MiB")
    shown = json.loads(stratus("show", "first", "--json"))
    assert (shown["state"], shown["image"]) == ("active", "default")

    identity = str(home / ".ssh" / "id_ed25519")
    assert stratus("ssh", "-i", identity, "--wait", "120", "first", "--", "id", "-un").strip() == "root"
    eventually(lambda: "host key:" in stratus("log", "first"), "the guest's greeting on its console")

    stratus("stop", "first", "--method", "poweroff")
    assert json.loads(stratus("show", "first", "--json"))["state"] == "inactive"
    assert "host key:" in stratus("log", "first")
    stratus("delete", "--yes", "first")
    assert json.loads(stratus("list", "--json")) == []
