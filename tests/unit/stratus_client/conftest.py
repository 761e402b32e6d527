"""The command as a user runs it: arguments in; exit status, output and messages out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from occi_in_thread import DB, PUBLIC_KEY, WEB, Cloud, Outcome, Stratus, serving

from stratus_client import command, machines


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own, with a key, and no configuration from outside."""
    for name in ("ENDPOINT", "USER", "PASSWORD", "CREDENTIALS", "CONFIG", "CA_FILE", "SSH_LOGIN"):
        monkeypatch.delenv(f"STRATUS_{name}", raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "*")
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text(PUBLIC_KEY + "\n")
    return tmp_path


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A cloud with an active machine `web` and a stopped one, `db`."""
    monkeypatch.setattr(machines, "FIRST_PAUSE_SECONDS", 0.01)
    with serving(Cloud()) as served:
        served.add(WEB, "web")
        served.add(DB, "db", "inactive")
        yield served


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Stratus:
    def call(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["stratus", *arguments])
        capsys.readouterr()
        status: object = 0
        try:
            command.main()
        except SystemExit as end:
            status = end.code
        written = capsys.readouterr()
        return Outcome(int(str(status or 0)), written.out, written.err)

    return call


@pytest.fixture
def stratus(run: Stratus, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Stratus:
    """The command, told of the cloud by its environment."""
    monkeypatch.setenv("STRATUS_ENDPOINT", cloud.endpoint)
    return run
