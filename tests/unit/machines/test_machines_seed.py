"""What a guest finds on its seed."""

from __future__ import annotations

import io
import ipaddress
import stat
from pathlib import Path

import pycdlib
import pytest

from backends.machines.errors import InvalidSpec
from backends.machines.seed import SeedInterface, write_seed

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0 \u00e5sa@example.org"


def read(path: Path) -> tuple[str, dict[str, bytes]]:
    iso = pycdlib.PyCdlib()
    iso.open(str(path))
    try:
        label = iso.pvd.volume_identifier.decode().strip()
        files = {}
        for entry in iso.list_children(joliet_path="/"):
            name = entry.file_identifier().decode("utf-16_be")
            if entry.is_file():
                content = io.BytesIO()
                iso.get_file_from_iso_fp(content, rr_path=f"/{name}")
                files[name] = content.getvalue()
        return label, files
    finally:
        iso.close()


def test_seed_without_user_data_carries_name_and_keys(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    write_seed(path, instance_id="i-1", hostname="web.example", ssh_keys=[KEY])
    label, files = read(path)
    assert label == "cidata"
    assert files["meta-data"].decode() == (
        f'instance-id: "i-1"\nlocal-hostname: "web.example"\npublic-keys:\n  - "{KEY}"\n'
    )
    assert files["user-data"].decode() == (
        f'#cloud-config\nhostname: "web.example"\nssh_authorized_keys:\n  - "{KEY}"\n'
    )
    assert "network-config" not in files


def test_user_data_passes_through_untouched(tmp_path: Path) -> None:
    path, user_data = tmp_path / "seed.iso", b"#!/bin/sh\n\x00\xff\r\n"
    write_seed(path, instance_id="i-1", hostname="web", ssh_keys=[KEY], user_data=user_data)
    _, files = read(path)
    assert files["user-data"] == user_data
    assert KEY.encode() in files["meta-data"]


def test_network_is_told_by_mac(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    static = SeedInterface(
        "eth1",
        "52:54:00:00:00:02",
        ipaddress.IPv4Interface("10.1.0.5/24"),
        ipaddress.IPv4Address("10.1.0.1"),
        (ipaddress.IPv4Address("10.1.0.2"),),
    )
    write_seed(path, instance_id="i", hostname="h", network=[SeedInterface("eth0", "52:54:00:00:00:01"), static])
    _, files = read(path)
    assert files["network-config"].decode() == (
        "version: 2\nethernets:\n"
        '  "eth0":\n    match: {macaddress: "52:54:00:00:00:01"}\n    set-name: "eth0"\n    dhcp4: true\n'
        '  "eth1":\n    match: {macaddress: "52:54:00:00:00:02"}\n    set-name: "eth1"\n    dhcp4: false\n'
        '    addresses: ["10.1.0.5/24"]\n    routes: [{to: "0.0.0.0/0", via: "10.1.0.1"}]\n'
        '    nameservers: {addresses: ["10.1.0.2"]}\n'
    )


def test_seed_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    write_seed(path, instance_id="i", hostname="h")
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_new_seed_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    (tmp_path / ".seed.iso.partial").write_bytes(b"left by a crash")
    write_seed(path, instance_id="old", hostname="h")
    write_seed(path, instance_id="new", hostname="h")
    assert b"new" in read(path)[1]["meta-data"]
    assert [each.name for each in tmp_path.iterdir()] == ["seed.iso"]


@pytest.mark.parametrize("key", ["", "ssh-rsa A\nruncmd: [x]", "ssh-rsa A\u2028b", "ssh-rsa \ud800"])
def test_key_that_would_break_its_line_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidSpec, match="SSH key"):
        write_seed(tmp_path / "seed.iso", instance_id="i", hostname="h", ssh_keys=[key])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("hostname", ["", "-a", "a b", "a\nb", "\u00e5", "a" * 254])
def test_hostname_that_is_none_is_refused(tmp_path: Path, hostname: str) -> None:
    with pytest.raises(InvalidSpec, match="hostname"):
        write_seed(tmp_path / "seed.iso", instance_id="i", hostname=hostname)
