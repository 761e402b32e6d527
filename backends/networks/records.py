"""What the driver has been told to build, as small JSON files, so that a crash leaves nothing unknown.

A network's or port's record is written before anything of it exists and removed when nothing does any more.
The wish itself lives elsewhere: `Networks.restore` overrules what is here.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

from backends.networks.spec import NetworkSpec, Port, Tunnel

_NETWORKS, _PORTS = "networks", "ports"


def network_folder(folder: Path, network_id: UUID) -> Path:
    return folder / _NETWORKS / str(network_id)


def network_ids(folder: Path) -> Iterator[UUID]:
    """Also those whose record was never finished."""
    for path in _entries(folder / _NETWORKS):
        yield UUID(path.name)


def networks(folder: Path) -> Iterator[NetworkSpec]:
    for network_id in network_ids(folder):
        if (spec := read_network(folder, network_id)) is not None:
            yield spec


def read_network(folder: Path, network_id: UUID) -> NetworkSpec | None:
    values = _read(network_folder(folder, network_id) / "network.json")
    if values is None:
        return None
    return NetworkSpec(
        id=UUID(values["id"]),
        cidr=values["cidr"],
        gateway=values["gateway"],
        nat=values["nat"],
        up=values["up"],
        cidr6=values.get("cidr6"),
        masquerade6=values.get("masquerade6", True),
        public=values.get("public", False),
        vlan=values.get("vlan"),
        tunnel=_tunnel(values.get("tunnel")),
    )


def _tunnel(values: dict[str, Any] | None) -> Tunnel | None:
    if values is None:
        return None
    return Tunnel(values["vni"], tuple((mac, host) for mac, host in values["remotes"]))


def write_network(folder: Path, spec: NetworkSpec) -> None:
    _write(network_folder(folder, spec.id) / "network.json", asdict(spec))


def remove_network(folder: Path, network_id: UUID) -> None:
    shutil.rmtree(network_folder(folder, network_id), ignore_errors=True)


def ports(folder: Path) -> Iterator[Port]:
    for path in _entries(folder / _PORTS):
        if (port := read_port(folder, path.name)) is not None:
            yield port


def read_port(folder: Path, tap: str) -> Port | None:
    values = _read(folder / _PORTS / tap)
    if values is None:
        return None
    return Port(
        id=UUID(values["id"]),
        network_id=UUID(values["network_id"]),
        mac=values["mac"],
        address=values["address"],
        hostname=values["hostname"],
        address6=values.get("address6"),
        routes=values.get("routes"),
    )


def write_port(folder: Path, tap: str, port: Port) -> None:
    _write(folder / _PORTS / tap, asdict(port))


def remove_port(folder: Path, tap: str) -> None:
    (folder / _PORTS / tap).unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """What a crash left of records that were being written. Only while nobody writes any."""
    for path in (*folder.glob(".*.new"), *folder.glob(f"{_NETWORKS}/.*.new"), *folder.glob(f"{_NETWORKS}/*/.*.new")):
        path.unlink(missing_ok=True)


def replace_file(path: Path, text: str) -> None:
    """Writes it whole or not at all; the unfinished one stands beside the folder, unread."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    unfinished = path.parent.parent / f".{path.name}.new"
    unfinished.write_text(text)
    unfinished.chmod(0o644)
    os.replace(unfinished, path)  # noqa: PTH105


def _write(path: Path, values: dict[str, object]) -> None:
    replace_file(path, json.dumps(values, default=str) + "\n")


def _read(path: Path) -> dict[str, Any] | None:
    """None for a record that is missing or that a power cut has emptied."""
    try:
        values = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
