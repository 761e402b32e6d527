"""Settings: where they come from, and that a wrong one is refused by name and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from altostratus import settings
from altostratus.settings import SettingsError


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("ALTOSTRATUS_"):
            monkeypatch.delenv(name)


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "site.toml"
    file.write_text(
        "workers = 3\nthreads = 5\n[sizes.tiny]\ncores = 1\nmemory_gib = 0.5\ndisk_gib = 1\nmax_cores = 4\n"
    )
    monkeypatch.setenv("ALTOSTRATUS_CONFIG", str(file))
    monkeypatch.setenv("ALTOSTRATUS_WORKERS", "7")

    found = settings.load()

    assert (found.workers, found.threads) == (7, 5)
    assert found.all_sizes["tiny"].memory_mib == 512
    assert found.all_sizes["tiny"].max_cores == 4
    assert (found.all_sizes["small"].cores, found.all_sizes["small"].max_cores) == (1, None)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("WORKERS", "many", "workers is 'many': expected a whole number"),
        ("WORKERS", "1.5", "workers is '1.5': expected a whole number"),
        ("WORKERS", "1000", "workers is '1000': expected at most 256"),
        ("REQUEST_S", "long", "request_s is 'long': expected a number"),
        ("REQUEST_S", "0", "request_s is '0': expected more than 0"),
        ("WORKERS", "0", "workers is '0': expected at least 1"),
        ("STATE", "state", "state is 'state': it must be a whole path"),
        ("LISTEN", "8787", "HOST:PORT"),
        ("LISTEN", "localhost:99999", "HOST:PORT"),
        ("ISCSI_THIN_POOL", "storage", "iscsi_thin_pool is 'storage': it must be GROUP/POOL"),
        ("ISCSI_THIN_POOL", "-f/pool", "it must be GROUP/POOL"),
        ("DOMAIN_TYPE", "xen", "domain_type is 'xen': expected 'auto', 'kvm' or 'qemu'"),
        ("SHARED_NETWORK", "127.0.0.0/8", "loopback"),
        ("OCCI_SCHEME", "http://schemas.ogf.org/occi/", "domain of the site's own"),
        ("PUBLIC_NETWORK", "192.0.2.0/24", "public_uplink names no link"),
        ("VLANS", "100-199", "vlan_uplink names no link"),
        ("DEFAULT_SIZE", "enormous", "there are small"),
        ("WORKER", "2", "ALTOSTRATUS_WORKER in the environment: there is no such setting"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name_and_the_reason(
    name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ALTOSTRATUS_{name}", value)
    with pytest.raises(SettingsError, match=reason.replace("(", r"\(")):
        settings.load()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("worker = 2", "worker: there is no such setting"),
        ("workers = ", "is not TOML"),
        ("[sizes.Big]\ncores = 1\nmemory_gib = 1\ndisk_gib = 1", "lower-case letter"),
        ("[sizes.big]\ncores = 0\nmemory_gib = 1\ndisk_gib = 1", "sizes.big.cores is 0: expected at least 1"),
        ("[sizes.big]\ncores = 1.5\nmemory_gib = 1\ndisk_gib = 1", "sizes.big.cores is 1.5: expected a whole number"),
        ("[sizes.big]\nmemory_gib = 1\ndisk_gib = 1", "sizes.big.cores is missing"),
        ("[sizes]\nbig = 1", "sizes.big is 1: expected a table"),
        ('vlans = "100-"', "VLANs such as 100-199,300"),
        ('vlans = "0-5"', "VLANs from 1 to 4094"),
        ('vlans = "9-5"', "VLANs from 1 to 4094"),
        ('tunnel_network = "10.0.0.1/24"', "host bits zero"),
        ('public_network6 = "2001:db8::/32"', "expected 64"),
        ("sizes = 1", "sizes is 1: expected a table"),
        ("workers = [1]", "workers is \\[1\\]: expected a whole number"),
        ("listen = 8787", "listen is 8787: expected text"),
        ("[sizes.big]\ncores = 1\nmemory_gib = 1\ndisk_gib = 1\nram = 2", "sizes.big.ram: there is no such"),
        ("[sizes.big]\ncores = 4\nmemory_gib = 1\ndisk_gib = 1\nmax_cores = 2", "max_cores is 2, less than its 4"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "site.toml"
    file.write_text(text)
    monkeypatch.setenv("ALTOSTRATUS_CONFIG", str(file))
    with pytest.raises(SettingsError, match=reason):
        settings.load()


def test_a_file_that_is_named_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTOSTRATUS_CONFIG", "/nonexistent.toml")
    with pytest.raises(SettingsError, match="no such file"):
        settings.load()
