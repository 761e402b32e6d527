"""The seed: a small ISO from which a guest's cloud-init (NoCloud) learns its name, keys and first orders.

https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html
"""

from __future__ import annotations

import io
import ipaddress
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pycdlib

from backends.machines.errors import InvalidSpec

_LABEL = "cidata"
_MODE = 0o640
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")


@dataclass(frozen=True, slots=True)
class SeedInterface:
    """How the guest sets up one interface, found by its MAC: with `address` as said, else by DHCP."""

    name: str
    mac: str
    address: ipaddress.IPv4Interface | None = None
    gateway: ipaddress.IPv4Address | None = None
    name_servers: tuple[ipaddress.IPv4Address, ...] = ()


def write_seed(
    path: Path,
    *,
    instance_id: str,
    hostname: str,
    ssh_keys: Sequence[str] = (),
    user_data: bytes | None = None,
    network: Sequence[SeedInterface] | None = None,
) -> None:
    """Replaces the file at once and whole; readable by nobody but its owner and group.

    `user_data` goes in as it is. Without it the guest gets a cloud-config with its name and keys. Without
    `network` the guest does what its image does by itself, mostly DHCP.
    """
    files = {
        "meta-data": meta_data(instance_id, hostname, ssh_keys),
        "user-data": cloud_config(hostname, ssh_keys) if user_data is None else user_data,
    }
    if network is not None:
        files["network-config"] = network_config(network)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE)
    try:
        with os.fdopen(descriptor, "w+b") as output:
            _write_iso(output, files)
            output.flush()
            os.fsync(output.fileno())
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def meta_data(instance_id: str, hostname: str, ssh_keys: Sequence[str]) -> bytes:
    lines = [
        f"instance-id: {_scalar('the instance id', instance_id)}",
        f"local-hostname: {_hostname(hostname)}",
        *_key_lines("public-keys", ssh_keys),
    ]
    return _lines(lines)


def cloud_config(hostname: str, ssh_keys: Sequence[str]) -> bytes:
    lines = ["#cloud-config", f"hostname: {_hostname(hostname)}"]
    return _lines([*lines, *_key_lines("ssh_authorized_keys", ssh_keys)])


def network_config(interfaces: Sequence[SeedInterface]) -> bytes:
    """Version 2, which is netplan's form."""
    if not interfaces:
        return _lines(["version: 2", "ethernets: {}"])
    lines = ["version: 2", "ethernets:"]
    for interface in interfaces:
        if not _NAME.fullmatch(interface.name):
            raise InvalidSpec(f"the interface's name is {interface.name!r}, expected one like eth0")
        if not _MAC.fullmatch(interface.mac):
            raise InvalidSpec(f"the interface's MAC is {interface.mac!r}, expected lower-case hex pairs")
        lines += [
            f'  "{interface.name}":',
            f'    match: {{macaddress: "{interface.mac}"}}',
            f'    set-name: "{interface.name}"',
            f"    dhcp4: {'true' if interface.address is None else 'false'}",
        ]
        if interface.address is not None:
            lines.append(f'    addresses: ["{interface.address}"]')
        if interface.gateway is not None:
            lines.append(f'    routes: [{{to: "0.0.0.0/0", via: "{interface.gateway}"}}]')
        if interface.name_servers:
            servers = ", ".join(f'"{server}"' for server in interface.name_servers)
            lines.append(f"    nameservers: {{addresses: [{servers}]}}")
    return _lines(lines)


def _write_iso(output: io.BufferedRandom, files: dict[str, bytes]) -> None:
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident=_LABEL, joliet=3, rock_ridge="1.09")
    for name, content in files.items():
        iso.add_fp(
            io.BytesIO(content),
            len(content),
            f"/{name.upper().replace('-', '_')}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
        )
    iso.write_fp(output)
    iso.close()


def _key_lines(name: str, ssh_keys: Sequence[str]) -> list[str]:
    if not ssh_keys:
        return []
    return [f"{name}:", *(f"  - {_scalar('an SSH key', key.strip())}" for key in ssh_keys)]


def _hostname(hostname: str) -> str:
    if not _HOSTNAME.fullmatch(hostname):
        raise InvalidSpec(f"the hostname is {hostname!r}, expected letters, digits, dots and hyphens")
    return json.dumps(hostname)


def _scalar(what: str, value: str) -> str:
    """Quoted for YAML, of which JSON's strings are a part as long as all of their characters print."""
    if not value or not value.isprintable():
        raise InvalidSpec(f"{what} is {value[:80]!r}, expected one line of printable characters")
    return json.dumps(value, ensure_ascii=False)


def _lines(lines: Sequence[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()
