"""ssh's arguments and host keys."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stratus_client import ssh
from stratus_client.errors import StratusError


def test_a_machine_keeps_its_host_keys_in_a_file_of_its_own(tmp_path: Path) -> None:
    first = ssh.known_hosts_file(tmp_path, "http://one", "a-1")
    assert first.name == "a-1"
    assert first != ssh.known_hosts_file(tmp_path, "http://one", "a-2")
    assert first != ssh.known_hosts_file(tmp_path, "http://two", "a-1")


@pytest.mark.parametrize("machine_id", ["../../.ssh/known_hosts", "", ".", "a/b", "-o", "a\nb", "x" * 300])
def test_no_identifier_leads_out_of_the_folder(tmp_path: Path, machine_id: str) -> None:
    path = ssh.known_hosts_file(tmp_path, "http://one", machine_id)
    assert path.resolve().is_relative_to(tmp_path / "known_hosts")
    assert len(path.name) == 64


@pytest.mark.parametrize("address", ["-oProxyCommand=sh", "host;id", "", "10.0.0.1 x", "$(id)"])
def test_only_addresses_reach_ssh(tmp_path: Path, address: str) -> None:
    with pytest.raises(StratusError):
        ssh.arguments(ssh.Login(address, "root"), tmp_path / "a")


@pytest.mark.parametrize("user", ["-oProxyCommand=sh", "a b", "", "$(id)"])
def test_only_names_reach_ssh(tmp_path: Path, user: str) -> None:
    with pytest.raises(StratusError):
        ssh.arguments(ssh.Login("10.0.0.1", user), tmp_path / "a")


def test_ssh_itself_understands_the_arguments(tmp_path: Path) -> None:
    known_hosts = ssh.known_hosts_file(tmp_path / "100% mine", "http://one", "a-1")
    arguments = ssh.arguments(ssh.Login("10.0.0.1/24", "debian", 2222), known_hosts)
    said = subprocess.run([arguments[0], "-G", *arguments[1:]], capture_output=True, text=True, check=True, timeout=20)
    options = said.stdout.splitlines()
    assert "hostname 10.0.0.1" in options
    assert "user debian" in options
    assert "port 2222" in options
    assert "hostkeyalias a-1" in options
    assert "stricthostkeychecking accept-new" in options
    assert any(line.startswith("userknownhostsfile") and "100%" in line for line in options)
