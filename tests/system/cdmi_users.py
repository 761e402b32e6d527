"""Users of one project, and the access lists with which tests let them do things."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import falcon.testing
import pytest

from backends.acl import ALL_PERMS, AceMask
from backends.model import Role
from backends.store.database import Connection, Database
from tests.conftest import member, project
from tests.system.cdmi_client import CONTAINER, DATAOBJECT, Client

ROOT = "/cdmi/2.0.0/"
READING = AceMask.READ_OBJECT | AceMask.READ_METADATA
TO_ALL, TO_OBJECTS, TO_CONTAINERS, ONLY = 0x3, 0x1, 0x2, 0x8
OWNERS = ("OWNER@", ALL_PERMS, TO_ALL)


def entries(*given: tuple[str, AceMask, int]) -> list[dict[str, str]]:
    return [
        {"acetype": "0x0", "identifier": who, "acemask": f"{mask:#x}", "aceflags": f"{flags:#x}"}
        for who, mask, flags in given
    ]


def own(*given: tuple[str, AceMask, int]) -> dict[str, Any]:
    return {"metadata": {"cdmi_acl": entries(*given)}}


@pytest.fixture
def users(database: Database, sql: Connection, tmp_path: Path) -> tuple[Client, Client, Client]:
    """Three of one project, of whom the last is its admin."""
    mine = project(sql, f"mine {uuid4()}")
    first, second = (Client(database, member(sql, mine), tmp_path) for _ in range(2))
    return first, second, Client(database, member(sql, mine, role=Role.PROJECT_ADMIN), tmp_path)


@pytest.fixture
def carol(users: tuple[Client, Client, Client]) -> Client:
    return users[0]


@pytest.fixture
def dave(users: tuple[Client, Client, Client]) -> Client:
    return users[1]


@pytest.fixture
def admin(users: tuple[Client, Client, Client]) -> Client:
    return users[2]


def put(client: Client, path: str, body: Any) -> falcon.testing.Result:
    return client.send("PUT", ROOT + path, CONTAINER if path.endswith("/") else DATAOBJECT, body)


def patch(client: Client, path: str, body: Any, **headers: str) -> falcon.testing.Result:
    path, _, query = path.partition("?")
    kind = CONTAINER if path.endswith("/") else DATAOBJECT
    return client.send("PATCH", f"{ROOT}{path}?{query}", kind, body, **headers)


def value(client: Client, path: str) -> str | int:
    answer = client.plain("GET", ROOT + path)
    return answer.text if answer.status_code == 200 else answer.status_code


def seen(client: Client, path: str) -> dict[str, Any]:
    """All of it that doesn't tell whether somebody has looked."""
    found: dict[str, Any] = client.send("GET", ROOT + path, DATAOBJECT).json
    return found
