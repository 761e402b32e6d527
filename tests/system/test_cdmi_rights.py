"""What each operation takes: every right missing in turn, refused or not, and then nothing is lost or shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import falcon.testing
import pytest
from cdmi_client import CONTAINER, DATAOBJECT, Client

from backends.acl import ALL_PERMS, AceMask
from backends.store.database import Connection, Database
from tests.conftest import member, project

ROOT = "/cdmi/2.0.0/"
RIGHTS = (
    AceMask.READ_OBJECT,
    AceMask.WRITE_OBJECT,
    AceMask.APPEND_DATA,
    AceMask.READ_METADATA,
    AceMask.WRITE_METADATA,
    AceMask.DELETE_OBJECT,
    AceMask.WRITE_RETENTION,
    AceMask.WRITE_RETENTION_HOLD,
    AceMask.DELETE,
    AceMask.WRITE_ACL,
)
READING = AceMask.READ_OBJECT | AceMask.READ_METADATA
TO_ALL, TO_OBJECTS, TO_CONTAINERS, ONLY = 0x3, 0x1, 0x2, 0x8
OWNERS = ("OWNER@", ALL_PERMS, TO_ALL)


def entries(*given: tuple[str, AceMask, int]) -> list[dict[str, str]]:
    return [
        {"acetype": "ALLOW", "identifier": who, "acemask": f"{mask:#x}", "aceflags": f"{flags:#x}"}
        for who, mask, flags in given
    ]


def own(*given: tuple[str, AceMask, int]) -> dict[str, Any]:
    return {"metadata": {"cdmi_acl": entries(*given)}}


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    """One for all tests here: each has a project of its own."""
    return shared_database


@pytest.fixture
def users(database: Database, sql: Connection, tmp_path: Path) -> tuple[Client, Client]:
    """Two of one project."""
    mine = project(sql, f"mine {uuid4()}")
    first, second = (Client(database, member(sql, mine), tmp_path) for _ in range(2))
    return first, second


@pytest.fixture
def carol(users: tuple[Client, Client]) -> Client:
    return users[0]


@pytest.fixture
def dave(users: tuple[Client, Client]) -> Client:
    return users[1]


def put(client: Client, path: str, body: Any) -> falcon.testing.Result:
    return client.send("PUT", ROOT + path, CONTAINER if path.endswith("/") else DATAOBJECT, body)


def patch(client: Client, path: str, body: Any, **headers: str) -> falcon.testing.Result:
    kind = CONTAINER if path.partition("?")[0].endswith("/") else DATAOBJECT
    return client.send("PATCH", ROOT + path, kind, body, **headers)


def value(client: Client, path: str) -> str | int:
    answer = client.plain("GET", ROOT + path)
    return answer.text if answer.status_code == 200 else answer.status_code


TREES = {
    "copy": (READING, READING, lambda dave: put(dave, "new/", {"copy": "/box/"})),
    "copied onto another": (READING, READING, lambda dave: patch(dave, "onto/", {"copy": "/box/"})),
    "snapshot": (READING, READING, lambda dave: patch(dave, "box/", {"snapshot": "s"})),
    "delete": (
        AceMask.DELETE,
        AceMask.DELETE | AceMask.DELETE_SUBCONTAINER,
        lambda dave: dave.send("DELETE", f"{ROOT}box/", CONTAINER),
    ),
    "replaced by another": (
        AceMask.DELETE,
        AceMask.DELETE | AceMask.DELETE_SUBCONTAINER,
        lambda dave: patch(dave, "box/", {"copy": "/onto/"}),
    ),
    "move": (
        READING | AceMask.DELETE,
        READING | AceMask.DELETE | AceMask.DELETE_SUBCONTAINER,
        lambda dave: put(dave, "new/", {"move": "/box/"}),
    ),
}
"""What each takes of the objects in the container, and of the containers in it."""


@pytest.mark.parametrize("of", ["objects", "containers"])
@pytest.mark.parametrize("missing", RIGHTS, ids=lambda right: str(right.name))
@pytest.mark.parametrize("operation", TREES)
def test_an_operation_on_a_tree_takes_its_rights_to_all_that_is_below(
    carol: Client, dave: Client, operation: str, missing: AceMask, of: str
) -> None:
    of_objects, of_containers, operate = TREES[operation]
    lacking = ALL_PERMS & ~missing
    put(
        carol,
        "box/",
        own(
            OWNERS,
            ("GROUP@", ALL_PERMS, 0),
            ("GROUP@", lacking if of == "objects" else ALL_PERMS, TO_OBJECTS | ONLY),
            ("GROUP@", lacking if of == "containers" else ALL_PERMS, TO_CONTAINERS | ONLY),
        ),
    )
    put(carol, "box/inner/", {})
    put(carol, "box/inner/deep/", {})
    put(carol, "box/inner/deep/secret", {"value": "carol's"})
    put(dave, "onto/", {})
    put(dave, "onto/other", {"value": "dave's"})

    answer = operate(dave)
    is_refused = bool(missing & (of_objects if of == "objects" else of_containers))
    assert (answer.status_code in (400, 403)) is is_refused, answer.text
    if is_refused:
        assert dave.caller.user_name in answer.text
        assert value(carol, "box/inner/deep/secret") == "carol's"
        assert value(dave, "onto/other") == "dave's"
        assert dave.send("GET", f"{ROOT}new/", CONTAINER).status_code == 404
        assert carol.send("GET", f"{ROOT}box/?snapshots", CONTAINER).json == {}
    else:
        assert answer.status_code in (201, 204), answer.text


@pytest.mark.parametrize("operation", TREES)
@pytest.mark.parametrize("whose", ["its own list", "what it inherits", "its container's list"])
def test_the_owner_of_a_container_has_no_rights_by_that_to_what_others_put_in(
    carol: Client, dave: Client, operation: str, whose: str
) -> None:
    """A box for letters: everybody may put something in, and read what is theirs."""
    adding = AceMask.LIST_CONTAINER | AceMask.READ_METADATA | AceMask.ADD_OBJECT | AceMask.ADD_SUBCONTAINER
    put(dave, "box/", own(OWNERS, ("GROUP@", adding, TO_CONTAINERS)))
    put(dave, "onto/", {})
    match whose:
        case "its own list":
            assert put(carol, "box/letter", {"value": "carol's", **own(OWNERS)}).status_code == 201
        case "what it inherits":
            assert put(carol, "box/letter", {"value": "carol's"}).status_code == 201
        case _:
            assert put(carol, "box/letters/", own(OWNERS)).status_code == 201
            assert put(carol, "box/letters/letter", {"value": "carol's"}).status_code == 201
    path = "box/letters/letter" if whose == "its container's list" else "box/letter"
    assert value(dave, path) == 403
    assert TREES[operation][2](dave).status_code in (400, 403)
    assert value(carol, path) == "carol's"
    assert dave.send("GET", f"{ROOT}onto/?children", CONTAINER).json == {"children": []}


def test_a_container_is_not_deleted_with_snapshots_that_may_not_be(carol: Client, dave: Client) -> None:
    put(carol, "box/", own(OWNERS, ("GROUP@", ALL_PERMS & ~AceMask.DELETE_SUBCONTAINER, TO_ALL)))
    assert patch(carol, "box/", {"snapshot": "s"}).status_code == 204
    for path in ("box/cdmi_snapshots/s/", "box/"):
        assert dave.send("DELETE", ROOT + path, CONTAINER).status_code == 403
    assert carol.send("DELETE", f"{ROOT}box/", CONTAINER).status_code == 204
