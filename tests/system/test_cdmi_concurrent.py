"""Changes of the same objects at the same time, over a real PostgreSQL: one after the other, and none is lost."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import falcon.testing
import pytest
from cdmi_client import CONTAINER, DATAOBJECT, QUEUE, Client

from backends.cloud import Cloud, door
from backends.cloud.trees import TreeDoor
from backends.objects import Address, ObjectChanges
from backends.store.database import Connection, Database
from backends.values import Values
from tests.conftest import caller, project, wait_until

ROUNDS = 10
TWO = "/cdmi/2.0.0"
LARGE = b"l" * 200_000
ALONE = [{"acetype": "ALLOW", "identifier": "OWNER@", "aceflags": "0x0", "acemask": "0x1F07FF"}]


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    """One for all tests here: each has a project of its own."""
    return shared_database


@pytest.fixture
def client(database: Database, sql: Connection, tmp_path: Path) -> Client:
    return Client(database, caller(project(sql, f"mine {uuid4()}")), tmp_path)


@pytest.fixture
def other(client: Client) -> Cloud:
    """Another request's door to the same project."""
    return Cloud(client.database, client.caller, {}, "small", Values(client.folder))


def waits(sql: Connection, number: int = 1) -> bool:
    return len(sql.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall()) >= number


def beside(pool: ThreadPoolExecutor, sql: Connection, act: Callable[[], Any]) -> Future[Any]:
    """Begins `act`, up to where it waits for somebody's lock, or ends."""
    future = pool.submit(act)
    wait_until(lambda: future.done() or waits(sql))
    return future


class Hooked(io.BytesIO):
    """A body of which the first half has come when `hook` is called."""

    def __init__(self, body: bytes, hook: Callable[[], None]) -> None:
        super().__init__(body)
        self._half = len(body) // 2
        self._hook = hook

    def read(self, size: int | None = -1, /) -> bytes:
        at = self.tell()
        if at < self._half:
            return super().read(self._half - at)
        if at == self._half:
            self._hook()
        return super().read(size)


def slowly(client: Client, method: str, path: str, body: bytes, hook: Callable[[], None], **headers: str) -> str:
    """The status of a request while whose body arrives something else happens."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    environ = falcon.testing.create_environ(path, method=method, headers=fields, body=body)
    environ["wsgi.input"] = Hooked(body, hook)
    begun: list[str] = []
    list(client.http.app(environ, lambda status, _headers: begun.append(status)))
    return begun[0].partition(" ")[0]


def at_once(*acts: Callable[[], falcon.testing.Result]) -> list[int]:
    barrier = Barrier(len(acts))

    def start(act: Callable[[], falcon.testing.Result]) -> int:
        barrier.wait()
        return act().status_code

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(start, acts))


def test_two_moves_never_put_containers_into_each_other(client: Client, other: Cloud, sql: Connection) -> None:
    for path in ("a", "a/y", "b", "b/x"):
        client.send("PUT", f"/cdmi/{path}/", CONTAINER, {})
    with ThreadPoolExecutor(1) as pool:
        with other.atomically():
            other.move_object(other.find_object(Address(("a",))), Address(("b", "x", "a")))
            second = beside(pool, sql, lambda: client.send("PUT", "/cdmi/a/y/b/", CONTAINER, {"move": "/b/"}))
        assert second.result().status_code in (400, 404, 409)
    assert client.send("GET", "/cdmi/", CONTAINER).json["children"] == ["b/", "disks/"]
    assert client.send("GET", "/cdmi/b/x/a/y/", CONTAINER).json["children"] == []


def test_many_moves_at_once_leave_a_tree(client: Client) -> None:
    for _ in range(ROUNDS):
        for path in ("a", "a/y", "b", "b/x"):
            client.send("PUT", f"/cdmi/{path}/", CONTAINER, {})
        at_once(
            lambda: client.send("PUT", "/cdmi/b/x/a/", CONTAINER, {"move": "/a/"}),
            lambda: client.send("PUT", "/cdmi/a/y/b/", CONTAINER, {"move": "/b/"}),
        )
        left = client.send("GET", "/cdmi/", CONTAINER).json["children"]
        assert left in (["a/", "disks/"], ["b/", "disks/"])
        assert client.send("DELETE", f"/cdmi/{left[0]}", CONTAINER).status_code == 204


@pytest.mark.parametrize("sought", ["ids", "queries"])
def test_even_a_cycle_has_an_end(client: Client, sql: Connection, sought: str) -> None:
    made = client.send("PUT", "/cdmi/a/", CONTAINER, {})
    client.send("PUT", "/cdmi/a/b/", CONTAINER, {})
    sql.execute(
        "UPDATE stored_object a SET parent_id = b.id FROM stored_object b WHERE b.parent_id = a.id"
        " AND a.name = 'a' AND a.project_id = %s",
        [client.caller.project_id],
    )
    by_id = f"/cdmi/cdmi_objectid/{made.json['objectID']}/"
    try:
        if sought == "queries":
            query = {"cdmi_queue_type": "cdmi_query_queue", "cdmi_scope_specification": [{"objectName": "*"}]}
            asked = {"metadata": {**query, "cdmi_results_specification": {"objectName": ""}}}
            assert client.send("PUT", "/cdmi/found", QUEUE, asked).status_code == 201
            client.run_queries()
        else:
            for method in ("GET", "DELETE"):
                assert client.send(method, by_id, CONTAINER).status_code < 500
    finally:
        sql.execute("DELETE FROM stored_object WHERE project_id = %s AND name < 'd'", [client.caller.project_id])


@pytest.mark.parametrize(("method", "body"), [("DELETE", None), ("PUT", {"copy": "/cdmi/empty/"})])
def test_a_hold_that_was_acknowledged_keeps_what_it_is_on(
    client: Client, other: Cloud, sql: Connection, method: str, body: dict[str, str] | None
) -> None:
    client.send("PUT", "/cdmi/box/", CONTAINER, {})
    client.send("PUT", "/cdmi/empty/", CONTAINER, {})
    client.send("PUT", "/cdmi/box/it", DATAOBJECT, {"value": "kept"})
    it = other.find_object(Address(("box", "it")))
    with ThreadPoolExecutor(1) as pool:
        with other.atomically():
            other.change_object(it, lambda _: ObjectChanges({"cdmi_hold_id": ["law"]}))
            gone = beside(pool, sql, lambda: client.send(method, "/cdmi/box/", CONTAINER, body))
        assert gone.result().status_code == (403 if method == "DELETE" else 400)
    assert client.plain("GET", "/cdmi/box/it").text == "kept"


@pytest.mark.parametrize(("method", "path", "body"), [("DELETE", "box/", None), ("PUT", "new/", {"move": "/box/"})])
def test_who_writes_in_a_container_that_goes_and_it_do_not_wait_for_each_other(
    client: Client,
    other: Cloud,
    sql: Connection,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    body: dict[str, str] | None,
) -> None:
    """Whose row of two would be held first is by their IDs."""
    box = client.send("PUT", f"{TWO}/box/", CONTAINER, {}).json["objectID"]
    names = map(str, range(100))
    it = next(n for n in names if client.send("PUT", f"{TWO}/box/{n}", DATAOBJECT, {}).json["objectID"][16:] > box[16:])
    monkeypatch.setattr(door, "Deadlocked", ())
    found = other.find_object(Address(("box", it)))
    with ThreadPoolExecutor(1) as pool:
        with other.atomically():
            other.change_object(found, lambda _: ObjectChanges({"a": "1"}))
            gone = beside(pool, sql, lambda: client.send(method, f"{TWO}/{path}", CONTAINER, body))
            other.change_object(found, lambda _: ObjectChanges({"a": "2"}))
        assert gone.result().status_code in (201, 204)


def test_limits_of_versions_and_a_copy_of_what_they_are_about_do_not_wait_for_each_other(
    client: Client, other: Cloud, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their IDs the deeper of two objects would be locked first, from the top down it is the last."""
    for path in ("box", "box/sub", "box/sub/in"):
        client.send("PUT", f"{TWO}/{path}/", CONTAINER, {})
    deep = client.send("PUT", f"{TWO}/box/sub/in/it", DATAOBJECT, {}).json["objectID"][16:]
    names = map(str, range(100))
    high = next(
        n for n in names if client.send("PUT", f"{TWO}/box/sub/{n}", DATAOBJECT, {}).json["objectID"][16:] > deep
    )
    monkeypatch.setattr(door, "Deadlocked", ())
    limits = {"metadata": {"cdmi_versioning": "all", "cdmi_versions_count": "1"}}
    with ThreadPoolExecutor(2) as pool:
        with other.atomically():
            other.change_object(other.find_object(Address(("box", "sub", high))), lambda _: ObjectChanges({"a": "1"}))
            copied = beside(pool, sql, lambda: client.send("PUT", f"{TWO}/new/", CONTAINER, {"copy": "/box/sub/"}))
            limited = pool.submit(lambda: client.send("PATCH", f"{TWO}/box/?metadata", CONTAINER, limits))
            wait_until(lambda: limited.done() or waits(sql, 2))
        assert (copied.result().status_code, limited.result().status_code) == (201, 204)


def test_a_hold_on_what_is_being_deleted_is_not_acknowledged(client: Client, other: Cloud, sql: Connection) -> None:
    client.send("PUT", "/cdmi/box/", CONTAINER, {})
    client.send("PUT", "/cdmi/box/it", DATAOBJECT, {"value": "gone"})
    hold = {"metadata": {"cdmi_hold_id": ["law"]}}
    with ThreadPoolExecutor(1) as pool:
        with other.atomically():
            other.delete_object(other.find_object(Address(("box",))))
            held = beside(pool, sql, lambda: client.send("PUT", "/cdmi/box/it?metadata:cdmi_hold_id", DATAOBJECT, hold))
        assert held.result().status_code == 404


@pytest.fixture
def mate(client: Client) -> Client:
    """Another user of the project."""
    return Client(client.database, replace(client.caller, user_name="mate"), client.folder)


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, step: str, pool: ThreadPoolExecutor, sql: Connection, act: Callable[[], Any]
) -> list[tuple[Future[Any], bool]]:
    """Begins `act` when `step` of a change of a tree has been taken, and says whether it has to wait then."""
    take, begun = getattr(TreeDoor, step), []

    def taken(door: TreeDoor, *about: Any) -> None:
        take(door, *about)
        monkeypatch.setattr(TreeDoor, step, take)
        future = beside(pool, sql, act)
        begun.append((future, not future.done()))

    monkeypatch.setattr(TreeDoor, step, taken)
    return begun


COPIES = {
    "copied": ("PUT", "new/", {"copy": "/box/"}, "new/"),
    "copied onto another": ("PATCH", "onto/", {"copy": "/box/"}, "onto/"),
    "kept in a snapshot": ("PATCH", "box/", {"snapshot": "s"}, "box/cdmi_snapshots/s/"),
}
LATE = {
    "made": ("PUT", "box/in/late", DATAOBJECT, {"value": "secret", "metadata": {"cdmi_acl": ALONE}}),
    "moved there": ("PUT", "box/in/late", DATAOBJECT, {"move": "/late"}),
    "closed": ("PATCH", "box/in/queue?metadata=cdmi_acl", QUEUE, {"metadata": {"cdmi_acl": ALONE}}),
}
"""What happens between the judging and the copying, if it hasn't to wait."""


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("how", COPIES)
def test_what_is_copied_is_what_was_judged(
    client: Client, mate: Client, sql: Connection, monkeypatch: pytest.MonkeyPatch, how: str, late: str
) -> None:
    for path in ("box/", "box/in/", "onto/"):
        client.send("PUT", f"{TWO}/{path}", CONTAINER, {})
    client.send("PUT", f"{TWO}/box/in/queue", QUEUE, {})
    client.send("PUT", f"{TWO}/late", DATAOBJECT, {"value": "secret", "metadata": {"cdmi_acl": ALONE}})
    method, path, body, copy = COPIES[how]
    verb, uri, kind, sent = LATE[late]
    with ThreadPoolExecutor(1) as pool:
        begun = meanwhile(
            monkeypatch, "_require_readable", pool, sql, lambda: client.send(verb, f"{TWO}/{uri}", kind, sent)
        )
        assert mate.send(method, f"{TWO}/{path}", CONTAINER, body).status_code in (201, 204)
        ((answer, waited),) = begun
        assert answer.result().status_code in (201, 204)
        assert waited is (late == "closed")
    assert mate.send("GET", f"{TWO}/{copy}in/", CONTAINER).json["children"] == ["queue"]
    assert mate.send("GET", f"{TWO}/{uri.partition('?')[0]}", kind).status_code == 403


def test_a_hold_that_was_acknowledged_keeps_what_it_is_on_from_being_moved(
    client: Client, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.send("PUT", f"{TWO}/box/", CONTAINER, {})
    client.send("PUT", f"{TWO}/box/it", DATAOBJECT, {"value": "kept"})
    hold = {"metadata": {"cdmi_hold_id": ["law"]}}
    with ThreadPoolExecutor(1) as pool:
        held = meanwhile(
            monkeypatch, "_check_deletable", pool, sql,
            lambda: client.send("PATCH", f"{TWO}/box/it?metadata=cdmi_hold_id", DATAOBJECT, hold),
        )  # fmt: skip
        assert client.send("PUT", f"{TWO}/new/", CONTAINER, {"move": "/box/"}).status_code == 201
        ((answer, waited),) = held
        assert (answer.result().status_code, waited) == (204, True)
    assert client.send("PUT", f"{TWO}/box/", CONTAINER, {"move": "/new/"}).status_code == 400
    assert client.plain("GET", f"{TWO}/new/it").text == "kept"


def test_copies_and_snapshots_of_a_tree_with_a_queue_that_is_told_of_them_end(client: Client) -> None:
    client.send("PUT", f"{TWO}/box/", CONTAINER, {})
    feed = {
        "cdmi_queue_type": "cdmi_notification_queue",
        "cdmi_notification_events": [],
        "cdmi_scope_specification": [],
        "cdmi_results_specification": {"objectName": ""},
    }
    assert client.send("PUT", f"{TWO}/box/q", QUEUE, {"metadata": feed}).status_code == 201
    for name in "abcd":
        client.send("PUT", f"{TWO}/box/{name}", DATAOBJECT, {"value": "x"})
    for number in range(ROUNDS):
        copies = [partial(client.send, "PUT", f"{TWO}/{name}{number}/", CONTAINER, {"copy": "/box/"}) for name in "xy"]
        snapshot = partial(client.send, "PATCH", f"{TWO}/box/", CONTAINER, {"snapshot": "s"})
        updates = [partial(client.send, "PATCH", f"{TWO}/box/{name}", DATAOBJECT, {"value": "y"}) for name in "abcd"]
        assert at_once(*copies, snapshot, *updates) == [201] * 2 + [204] * 5


def test_items_that_others_name_are_not_touched(client: Client) -> None:
    client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "x"})
    for _ in range(ROUNDS):
        client.send("PATCH", f"{TWO}/o", DATAOBJECT, {"metadata": {}})
        patches = [
            lambda name=name: client.send(
                "PATCH", f"{TWO}/o?metadata={name}", DATAOBJECT, {"metadata": {name: "here"}, f"own {name}": 1}
            )
            for name in ("k1", "k2", "k3", "k4")
        ]
        assert at_once(*patches) == [204] * 4
        left = client.send("GET", f"{TWO}/o?metadata=k", DATAOBJECT).json["metadata"]
        assert sorted(left) == ["k1", "k2", "k3", "k4"]


def test_a_long_update_does_not_bring_an_old_list_back(client: Client) -> None:
    client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "x"})
    head = b'--B\r\nContent-Type: application/cdmi-object\r\n\r\n{"metadata":{"mine":"1"}}\r\n'
    body = head + b"--B\r\nContent-Type: text/plain\r\n\r\n" + LARGE + b"\r\n--B--\r\n"

    def narrow() -> None:
        sent = client.send("PATCH", f"{TWO}/o?metadata=cdmi_acl", DATAOBJECT, {"metadata": {"cdmi_acl": ALONE}})
        assert sent.status_code == 204

    assert slowly(client, "PATCH", f"{TWO}/o", body, narrow, Content_Type="multipart/mixed; boundary=B") == "204"
    read = client.send("GET", f"{TWO}/o?metadata", DATAOBJECT).json["metadata"]
    assert (read["mine"], [entry["identifier"] for entry in read["cdmi_acl"]]) == ("1", ["OWNER@"])


def test_rights_are_those_at_the_end_of_a_long_update(client: Client, database: Database) -> None:
    client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "x"})
    mate = Client(database, replace(client.caller, user_name="mate"), client.folder)

    def narrow() -> None:
        client.send("PATCH", f"{TWO}/o?metadata=cdmi_acl", DATAOBJECT, {"metadata": {"cdmi_acl": ALONE}})

    assert slowly(mate, "PUT", "/cdmi/o", LARGE, narrow, Content_Type="text/plain") == "403"
    assert client.plain("GET", "/cdmi/o").text == "x"


def tag_of(client: Client, path: str) -> str:
    return client.plain("GET", path).headers["ETag"]


def test_of_two_with_the_same_tag_one_is_refused(client: Client) -> None:
    client.plain("PUT", "/cdmi/o", b"old")
    tag = tag_of(client, "/cdmi/o")

    def quick() -> None:
        assert client.plain("PUT", "/cdmi/o", b"quick", If_Match=tag).status_code == 204

    for extra in ({}, {"Content_Range": f"bytes 0-{len(LARGE) - 1}/*"}):
        assert slowly(client, "PUT", "/cdmi/o", LARGE, quick, If_Match=tag, **extra) == "412"
        assert client.plain("GET", "/cdmi/o").text == "quick"
        tag = tag_of(client, "/cdmi/o")
    for _ in range(ROUNDS):
        tag = tag_of(client, "/cdmi/o")
        puts = [partial(client.plain, "PUT", "/cdmi/o", value, If_Match=tag) for value in (b"1", b"2", b"3")]
        assert sorted(at_once(*puts)) == [204, 412, 412]


@pytest.mark.parametrize("method", ["PATCH", "DELETE", "snapshot", "enqueue", "copy"])
def test_every_change_obeys_preconditions(client: Client, method: str) -> None:
    client.send("PUT", "/cdmi/o", DATAOBJECT, {"value": "old"})
    client.send("PUT", "/cdmi/other", DATAOBJECT, {"value": "other"})
    client.send("PUT", "/cdmi/c/", CONTAINER, {})
    client.send("PUT", "/cdmi/q", QUEUE, {})

    def act(**headers: str) -> int:
        match method:
            case "PATCH":
                sent = client.send("PATCH", f"{TWO}/o", DATAOBJECT, {"value": "new"}, **headers)
            case "DELETE":
                sent = client.send("DELETE", "/cdmi/o", DATAOBJECT, **headers)
            case "copy":
                sent = client.send("PATCH", f"{TWO}/o", DATAOBJECT, {"copy": "/other"}, **headers)
            case "snapshot":
                sent = client.send("PATCH", f"{TWO}/c/", CONTAINER, {"snapshot": "s"}, **headers)
            case _:
                sent = client.send("POST", "/cdmi/q", QUEUE, {"value": ["v"]}, **headers)
        return sent.status_code

    assert act(If_Match='"no", "such"') == 412
    assert act(If_None_Match="*") == 412
    assert client.plain("GET", "/cdmi/o").text == "old"
    assert client.send("GET", "/cdmi/q", QUEUE).json["queueValues"] == ""
    if method in ("PATCH", "DELETE", "copy"):
        assert act(If_Match=f'"other", {tag_of(client, "/cdmi/o")}') == 204
    else:
        assert act(If_Match="*") == 204


def test_a_new_name_that_somebody_else_took_meanwhile_is_replaced(client: Client) -> None:
    def quick() -> None:
        assert client.plain("PUT", "/cdmi/o", b"quick", Content_Type="text/plain").status_code == 201

    assert slowly(client, "PUT", "/cdmi/o", LARGE, quick, Content_Type="x/y") == "204"
    assert client.plain("GET", "/cdmi/o").content == LARGE
    assert len(client.files()) == 1
    client.send("DELETE", "/cdmi/o", DATAOBJECT)
    assert slowly(client, "PUT", "/cdmi/o", LARGE, quick, If_None_Match="*") == "412"
    assert client.plain("GET", "/cdmi/o").text == "quick"

    def container() -> None:
        assert client.send("PUT", "/cdmi/c/", CONTAINER, {}).status_code == 201

    assert slowly(client, "PUT", "/cdmi/c", LARGE, container) == "409"
    assert client.files() == []


def test_a_value_says_what_it_is_though_another_changes_its_encoding(client: Client) -> None:
    binary = base64.b64encode(b"\xff\xfe").decode()
    for _ in range(ROUNDS):
        client.send("PUT", f"{TWO}/o", DATAOBJECT, {"value": "aGk=", "valuetransferencoding": "base64"})
        at_once(
            lambda: client.send("PATCH", f"{TWO}/o", DATAOBJECT, {"value": "a", "valuetransferencoding": "utf-8"}),
            lambda: client.send("PATCH", f"{TWO}/o", DATAOBJECT, {"value": binary}),
        )
        read = client.send("GET", f"{TWO}/o", DATAOBJECT)
        assert (read.status_code, bool(json.loads(read.text)["value"])) == (200, True)


def test_a_snapshot_that_is_refused_changes_nothing(client: Client) -> None:
    client.send("PUT", "/cdmi/c/", CONTAINER, {"metadata": {"a": "1"}})
    for body in ({"metadata": {"a": "2"}, "snapshot": "bad/name"}, {"copy": "/c/", "snapshot": "s"}):
        assert client.send("PATCH", f"{TWO}/c/", CONTAINER, body).status_code == 400
    assert client.send("GET", "/cdmi/c/", CONTAINER).json["metadata"]["a"] == "1"
    both = {"metadata": {"a": "2"}, "snapshot": "s"}
    assert client.send("PATCH", f"{TWO}/c/", CONTAINER, both).status_code == 204
    assert client.send("GET", "/cdmi/c/cdmi_snapshots/s/", CONTAINER).json["metadata"]["a"] == "2"
