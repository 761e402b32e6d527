"""A disk of a storage host as a compute host sees it: where it is, and how an attachment's guest logs in."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from backends.machines.spec import IscsiSource
from backends.model import Pool

PATIENCE_S = 3


@dataclass(frozen=True, slots=True)
class ServedDisk:
    """What it takes to reach it; `is_ready` once its target knows this attachment."""

    size_bytes: int
    portal: str
    target: str
    initiator: str
    secret: str = field(repr=False)
    is_ready: bool = False


def served_disk(row: Sequence[Any]) -> ServedDisk | None:
    """From the columns of an attachment; None for a disk of a host's own pool."""
    pool, size_bytes, _, portal, target, initiator, secret, is_ready = row
    if pool != Pool.ISCSI:
        return None
    is_ready = bool(is_ready and portal and target)
    name = (target or "").partition(",")[0]
    return ServedDisk(size_bytes, portal or "", name, initiator or "", secret or "", is_ready)


def iscsi_source(attachment_id: UUID, served: ServedDisk) -> IscsiSource:
    address, port = _split(served.portal)
    return IscsiSource(address, port, served.target, served.initiator, attachment_id)


def answers(portal: str) -> bool:
    """Whether anybody listens there. Asked before QEMU is told to log in: a guest stands still until that has ended."""
    try:
        socket.create_connection(_split(portal), PATIENCE_S).close()
    except OSError:
        return False
    return True


def _split(portal: str) -> tuple[str, int]:
    address, _, port = portal.rpartition(":")
    return address.strip("[]"), int(port)
