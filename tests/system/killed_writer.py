"""A gateway's worker that dies by SIGKILL while it writes a value: CONNINFO FOLDER PROJECT-ID MOMENT METHOD PATH."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from backends.cloud.objects import ObjectDoor
from backends.model import Caller, Role
from backends.store.database import Database
from backends.values import Values
from tests.system.cdmi_client import Client

NEW = b"n" * 100_000
MOMENTS: dict[str, tuple[type, str, bool]] = {
    "named": (Values, "keep", True),
    "written": (ObjectDoor, "_write_changes", True),
    "inserted": (ObjectDoor, "_insert_object", True),
    "committed": (ObjectDoor, "_remove_dropped", False),
    "versioned": (ObjectDoor, "_settle", True),
}
"""The class and method, and whether it dies after or before it."""


def die_at(owner: type, name: str, *, after: bool) -> None:
    healthy: Callable[..., Any] = getattr(owner, name)

    def deadly(*arguments: Any, **named: Any) -> None:
        if after:
            healthy(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, deadly)


def main(conninfo: str, folder: str, project: str, moment: str, method: str, path: str) -> None:
    owner, name, after = MOMENTS[moment]
    die_at(owner, name, after=after)
    database = Database(conninfo, connections=2)
    database.open()
    ranged = {"Content_Range": "bytes 10-100009/*"} if method == "PATCH" else {}
    client = Client(database, Caller(uuid4(), "tester", UUID(project), "project", Role.USER), Path(folder))
    client.plain(method, path, NEW, **ranged)
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
