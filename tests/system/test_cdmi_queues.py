"""Queues that the cloud fills, with what happens and with what queries find, through CDMI over a real PostgreSQL."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cdmi_client import CONTAINER, DATAOBJECT, QUEUE, Client

from backends.cloud import feeds, queries
from backends.quotas import set_limit
from backends.store.database import Connection, Database
from cdmi_server.presentation import Presentation
from cdmi_server.site import Site
from renderers.cdmi.representation import Version
from tests.conftest import member, project, wait_until

ROOT = "/cdmi/2.0.0/"
LARGE = bytes(range(256)) * 1000


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    """One for all tests here: each has a project of its own."""
    return shared_database


@pytest.fixture
def mine(sql: Connection) -> UUID:
    return project(sql, f"mine {uuid4()}")


@pytest.fixture
def client(database: Database, sql: Connection, mine: UUID, tmp_path: Path) -> Client:
    client = Client(database, member(sql, mine), tmp_path)
    client.send("PUT", f"{ROOT}box/", CONTAINER, {})
    return client


def notification(**changes: Any) -> dict[str, Any]:
    """The metadata of a queue that is told of everything below /box/."""
    return {
        "metadata": {
            "cdmi_queue_type": "cdmi_notification_queue",
            "cdmi_notification_events": [],
            "cdmi_scope_specification": [{"parentURI": "starts /box/"}],
            "cdmi_results_specification": {"cdmi_event": "", "objectName": ""},
            **changes,
        }
    }


def listen(client: Client, path: str = "q", **changes: Any) -> None:
    made = client.send("PUT", ROOT + path, QUEUE, notification(**changes))
    assert made.status_code == 201, made.text


def told(client: Client, path: str = "q", *names: str) -> list[Any]:
    """All that is in the queue: of each value the event and the name, or the fields."""
    found = client.send("GET", f"{ROOT}{path}?value&values=1000", QUEUE).json["value"]
    return [tuple(value.get(name) for name in names or ("cdmi_event", "objectName")) for value in found]


def status(client: Client, path: str = "q") -> dict[str, str]:
    found = client.send("GET", f"{ROOT}{path}?metadata", QUEUE).json["metadata"]
    return {name: value for name, value in found.items() if name.endswith("_status")}


def test_a_queue_is_told_what_happens_in_the_order_in_which_it_does(client: Client) -> None:
    listen(client)
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": "x"})
    client.plain("PUT", f"{ROOT}box/large", LARGE)
    client.plain("PATCH", f"{ROOT}box/large", b"y", Content_Range="bytes 1-1/*", Content_Type="x/y")
    client.send("PATCH", f"{ROOT}box/o", DATAOBJECT, {"metadata": {"a": "1"}})
    client.plain("GET", f"{ROOT}box/o")
    client.send("PUT", f"{ROOT}box/copy", DATAOBJECT, {"copy": "/box/o"})
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"copy": "/box/large"})
    client.send("PUT", f"{ROOT}box/new", DATAOBJECT, {"move": "/box/o"})
    client.send("PUT", f"{ROOT}box/link", DATAOBJECT, {"reference": "/box/new"})
    client.send("PUT", f"{ROOT}box/inner/", CONTAINER, {})
    client.send("PATCH", f"{ROOT}box/inner/", CONTAINER, {"snapshot": "s"})
    client.send("PUT", f"{ROOT}box/w", QUEUE, {})
    client.send("POST", f"{ROOT}box/w", QUEUE, {"value": ["x"]})
    client.send("DELETE", f"{ROOT}box/w?value", QUEUE)
    client.send("DELETE", f"{ROOT}box/new", DATAOBJECT)
    assert told(client) == [
        ("cdmi_create_complete", "o"),
        ("cdmi_create_complete", "large"),
        ("cdmi_modify_complete", "large"),
        ("cdmi_modify_complete", "o"),
        ("cdmi_read", "o"),
        ("cdmi_copy", "copy"),
        ("cdmi_modify_complete", "o"),
        ("cdmi_rename", "new"),
        ("cdmi_reference", "link"),
        ("cdmi_create_complete", "inner/"),
        ("cdmi_snapshot", "inner/"),
        ("cdmi_create_complete", "w"),
        ("cdmi_modify_complete", "w"),
        ("cdmi_modify_complete", "w"),
        ("cdmi_delete", "new"),
    ]
    assert status(client) == {"cdmi_notification_status": "Current"}


def test_whole_trees_are_told_object_by_object(client: Client) -> None:
    client.send("PUT", f"{ROOT}box/tree/", CONTAINER, {})
    client.send("PUT", f"{ROOT}box/tree/in/", CONTAINER, {})
    client.send("PUT", f"{ROOT}box/tree/in/o", DATAOBJECT, {"value": "x"})
    listen(client)
    client.send("PUT", f"{ROOT}box/twin/", CONTAINER, {"copy": "/box/tree/"})
    client.send("PUT", f"{ROOT}box/twin/", CONTAINER, {"copy": "/box/tree/"})
    client.send("DELETE", f"{ROOT}box/tree/", CONTAINER)
    names = ["in/", "o"]
    assert [name for event, name in told(client) if event == "cdmi_copy"] == ["twin/", *names, *names]
    assert [name for event, name in told(client) if event == "cdmi_delete"] == [*names, "tree/", *names]
    assert ("cdmi_modify_complete", "twin/") in told(client)


def test_what_is_being_written_is_told_so(client: Client) -> None:
    listen(client)
    for part, partial in (("0-0", "true"), ("1-1", "true"), ("2-2", "false")):
        client.plain("PUT", "/cdmi/box/o", b"x", Content_Range=f"bytes {part}/*", X_CDMI_Partial=partial)
    for partial in ("true", "false"):
        whole = {"value": "y", "valuetransferencoding": "utf-8"}
        assert client.send("PUT", "/cdmi/box/o", DATAOBJECT, whole, X_CDMI_Partial=partial).status_code == 204
    assert [event for event, _ in told(client)] == [
        "cdmi_create_processing",
        "cdmi_modify_processing",
        "cdmi_create_complete",
        "cdmi_modify_processing",
        "cdmi_modify_complete",
    ]


def test_a_copy_of_a_queue_is_filled_if_that_is_asked_for_with_it(client: Client) -> None:
    client.send("PUT", f"{ROOT}plain", QUEUE, {})
    made = client.send("PUT", f"{ROOT}q", QUEUE, {"copy": "/plain", **notification()})
    assert made.status_code == 201, made.text
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": "x"})
    assert (told(client), status(client)) == ([("cdmi_create_complete", "o")], {"cdmi_notification_status": "Current"})


def test_a_value_is_told_when_it_is_whole(client: Client) -> None:
    wanted = {"objectName": "", "value": ""}
    listen(client, cdmi_results_specification=wanted)
    for value, partial in (("half", "true"), ("whole", "false")):
        client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": value}, X_CDMI_Partial=partial)
        search(client, partial, cdmi_results_specification=wanted)
        client.run_queries()
    assert told(client, "q", "value") == [(None,), ("d2hvbGU=",)]
    assert (told(client, "true", "value"), told(client, "false", "value")) == ([(None,)], [("d2hvbGU=",)])


def test_fields_of_an_object_are_not_taken_for_those_of_an_event(client: Client) -> None:
    names = ("cdmi_event", "cdmi_event_result", "cdmi_event_time", "cdmi_event_user")
    listen(client, cdmi_results_specification=dict.fromkeys(names, ""))
    body = {"value": "x", **dict.fromkeys(names, "forged")}
    assert client.send("PUT", f"{ROOT}box/o", DATAOBJECT, body).status_code == 201
    (event,) = told(client, "q", *names)
    assert event[0] == "cdmi_create_complete"
    assert event[3] == client.caller.user_name
    assert "forged" not in event


def test_what_is_told_is_what_was_asked_for(client: Client) -> None:
    wanted = {
        "cdmi_event": "", "cdmi_event_result": "", "cdmi_event_user": "", "cdmi_event_time": "", "parentURI": "",
        "metadata": {"cdmi_size": ""}, "value": "",
    }  # fmt: skip
    scope = [{"metadata": {"cdmi_size": "#> 2"}}]
    events = ["cdmi_modify_complete", "cdmi_delete"]
    listen(
        client,
        cdmi_results_specification=wanted,
        cdmi_scope_specification=scope,
        cdmi_notification_events=events,
    )
    made = client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": "x"})
    client.send("PATCH", f"{ROOT}box/o", DATAOBJECT, {"value": "xx"})
    client.send("PATCH", f"{ROOT}box/o", DATAOBJECT, {"value": "xxx"})
    client.send("DELETE", f"{ROOT}box/o", DATAOBJECT)
    first, second = client.send("GET", f"{ROOT}q?value&values=9", QUEUE).json["value"]
    assert first.pop("cdmi_event_time") < second.pop("cdmi_event_time")
    assert first == {
        "cdmi_event": "cdmi_modify_complete", "cdmi_event_result": "204 No Content",
        "cdmi_event_user": made.json["metadata"]["cdmi_owner"], "parentURI": f"{ROOT}box/",
        "metadata": {"cdmi_size": "3"}, "value": "eHh4",
    }  # fmt: skip
    assert second == {**first, "cdmi_event": "cdmi_delete"}
    old = client.send("GET", "/cdmi/q", QUEUE).json
    assert (old["mimetype"], old["valuetransferencoding"]) == (["application/json"], ["utf-8"])
    assert json.loads(old["value"][0])["cdmi_event"] == "cdmi_modify_complete"


def test_nothing_is_told_of_what_did_not_happen(client: Client) -> None:
    client.send("PUT", f"{ROOT}box/held", DATAOBJECT, {"value": "x", "metadata": {"cdmi_hold_id": ["h"]}})
    listen(client)
    assert client.send("DELETE", f"{ROOT}box/held", DATAOBJECT).status_code == 403
    assert client.send("PUT", f"{ROOT}box/", CONTAINER, {"copy": "/none/"}).status_code == 400
    assert client.send("PUT", f"{ROOT}box/n", DATAOBJECT, {"metadata": {"cdmi_bad": "x"}}).status_code == 400
    assert client.send("GET", f"{ROOT}box/none", DATAOBJECT).status_code == 404
    assert told(client) == []


def test_a_queue_is_told_what_its_maker_may_read(
    database: Database, sql: Connection, mine: UUID, client: Client, tmp_path: Path
) -> None:
    other = Client(database, member(sql, mine), tmp_path)
    stranger = Client(database, member(sql, project(sql, f"theirs {uuid4()}")), tmp_path)
    listen(other, cdmi_scope_specification=[])
    listen(stranger, cdmi_scope_specification=[])
    everything = {"acetype": "ALLOW", "identifier": "OWNER@", "acemask": "CDMI_ACE_ALL_PERMS"}
    client.send("PUT", f"{ROOT}box/secret", DATAOBJECT, {"value": "x", "metadata": {"cdmi_acl": [everything]}})
    client.send("PUT", f"{ROOT}box/open", DATAOBJECT, {"value": "x"})
    client.send("DELETE", f"{ROOT}box/secret", DATAOBJECT)
    assert told(other) == [("cdmi_create_complete", "open")]
    assert told(stranger) == []
    sql.execute("DELETE FROM account WHERE name = %s", [other.caller.user_name])
    client.send("PUT", f"{ROOT}box/later", DATAOBJECT, {"value": "x"})
    assert told(other) == [("cdmi_create_complete", "open")]


def test_queues_are_told_neither_of_themselves_nor_of_what_other_queues_are_told(client: Client) -> None:
    listen(client, "one", cdmi_scope_specification=[])
    listen(client, "two", cdmi_scope_specification=[])
    for name in ("one", "two"):
        client.send("DELETE", f"{ROOT}{name}?value", QUEUE)
    assert told(client, "one") == []
    assert told(client, "two") == [("cdmi_read", "one")]


def test_a_full_queue_halts_and_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "VALUES_MAX", 2)
    listen(client)
    for name in "abcd":
        assert client.send("PUT", f"{ROOT}box/{name}", DATAOBJECT, {"value": "x"}).status_code == 201
    assert [name for _, name in told(client)] == ["a", "b"]
    assert status(client) == {"cdmi_notification_status": "Halted"}
    client.send("DELETE", f"{ROOT}q?values=2", QUEUE)
    client.send("PUT", f"{ROOT}box/e", DATAOBJECT, {"value": "x"})
    assert told(client) == []


def test_no_change_is_refused_since_the_quota_leaves_no_room_to_tell_of_it(
    client: Client, sql: Connection, mine: UUID
) -> None:
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": ""})
    listen(client)
    search(client, "r")
    set_limit(sql, mine, "object_bytes", 10)
    assert client.send("DELETE", f"{ROOT}box/o", DATAOBJECT).status_code == 204
    assert (told(client), status(client)) == ([], {"cdmi_notification_status": "Halted"})
    client.send("PUT", f"{ROOT}box/p", DATAOBJECT, {"value": "x"})
    client.run_queries()
    assert status(client, "r")["cdmi_query_status"].startswith("Error: the project's quota")


def test_a_project_has_so_many_such_queues(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "FEEDS_MAX", 1)
    listen(client)
    assert client.send("PUT", f"{ROOT}r", QUEUE, notification()).status_code == 409
    assert client.send("DELETE", f"{ROOT}q", QUEUE).status_code == 204
    listen(client, "r")


def test_what_a_queue_is_told_of_is_fixed_until_it_is_a_queue_like_others(client: Client) -> None:
    listen(client)
    for name, value in (
        ("cdmi_notification_events", ["cdmi_read"]),
        ("cdmi_scope_specification", []),
        ("cdmi_results_specification", ""),
    ):
        changed = {"metadata": {name: value}}
        assert client.send("PATCH", f"{ROOT}q?metadata={name}", QUEUE, changed).status_code == 403
    assert client.send("PATCH", f"{ROOT}q?metadata=colour", QUEUE, {"metadata": {"colour": "blue"}}).status_code == 204
    removed = client.send("PATCH", f"{ROOT}q?metadata=cdmi_queue_type", QUEUE, {"metadata": {}})
    assert removed.status_code == 204
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": "x"})
    assert (told(client), status(client)) == ([], {})
    again = {"metadata": {"cdmi_queue_type": "cdmi_notification_queue"}}
    assert client.send("PATCH", f"{ROOT}q?metadata=cdmi_queue_type", QUEUE, again).status_code == 204
    client.send("DELETE", f"{ROOT}box/o", DATAOBJECT)
    assert told(client) == [("cdmi_delete", "o")]


def test_copies_and_snapshots_of_a_queue_are_told_nothing(client: Client) -> None:
    client.send("PUT", f"{ROOT}c/", CONTAINER, {})
    listen(client, "c/q")
    client.send("PATCH", f"{ROOT}c/", CONTAINER, {"snapshot": "s"})
    client.send("PUT", f"{ROOT}d/", CONTAINER, {"copy": "/c/"})
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": "x"})
    assert [told(client, path) for path in ("c/q", "d/q", "c/cdmi_snapshots/s/q")] == [
        [("cdmi_create_complete", "o")], [], [],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "metadata",
    [
        {"cdmi_queue_type": "cdmi_notification_queue"},
        notification(cdmi_notification_events="all")["metadata"],
        notification(cdmi_scope_specification={})["metadata"],
        notification(cdmi_scope_specification=[{"objectName": "blue"}])["metadata"],
        notification(cdmi_results_specification=[])["metadata"],
        {"cdmi_queue_type": "cdmi_query_queue", "cdmi_scope_specification": []},
    ],
)
def test_what_is_no_such_queue_is_refused(client: Client, metadata: dict[str, Any]) -> None:
    assert client.send("PUT", f"{ROOT}q", QUEUE, {"metadata": metadata}).status_code == 400
    assert client.send("GET", f"{ROOT}q", QUEUE).status_code == 404


def test_other_types_of_queues_are_made_and_stay_empty(client: Client) -> None:
    metadata = {"cdmi_queue_type": "cdmi_logging_queue", "cdmi_logging_class": "cdmi_object_logging"}
    assert client.send("PUT", f"{ROOT}q", QUEUE, {"metadata": metadata}).status_code == 201
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": "x"})
    assert told(client) == []


def search(client: Client, path: str = "q", **changes: Any) -> None:
    """A query for what is below /box/."""
    metadata = {
        "cdmi_queue_type": "cdmi_query_queue",
        "cdmi_scope_specification": [{"parentURI": "starts /box/"}],
        "cdmi_results_specification": {"objectName": ""},
        **changes,
    }
    made = client.send("PUT", ROOT + path, QUEUE, {"metadata": metadata})
    assert made.status_code == 201, made.text
    assert status(client, path) == {"cdmi_query_status": "Processing"}


def found(client: Client, path: str = "q") -> list[str]:
    return sorted(name for (name,) in told(client, path, "objectName"))


def test_a_query_finds_what_matches_and_says_when_it_is_done(client: Client) -> None:
    for name, colour in (("a", "blue"), ("b", "red"), ("c", "dark blue")):
        client.send("PUT", f"{ROOT}box/{name}", DATAOBJECT, {"value": name, "metadata": {"colour": colour}})
    client.send("PUT", f"{ROOT}box/link", DATAOBJECT, {"reference": "/box/a"})
    client.send("PUT", f"{ROOT}elsewhere", DATAOBJECT, {"metadata": {"colour": "blue"}})
    search(client, "all")
    search(
        client,
        "some",
        cdmi_scope_specification=[{"parentURI": "== /cdmi/box/", "metadata": {"colour": "contains blue"}}],
        cdmi_results_specification={"objectName": "", "value": "", "metadata": {"colour": ""}},
    )
    search(client, "none", cdmi_scope_specification=[{"domainURI": "!*"}])
    client.run_queries()
    assert (found(client, "all"), found(client, "none")) == (["a", "b", "c"], [])
    assert sorted(told(client, "some", "objectName", "value"), key=str) == [("a", "YQ=="), ("c", "Yw==")]
    assert status(client, "all") == status(client, "none") == {"cdmi_query_status": "Current"}


def test_a_query_shows_what_its_maker_may_read(
    database: Database, sql: Connection, mine: UUID, client: Client, tmp_path: Path
) -> None:
    other = Client(database, member(sql, mine), tmp_path)
    stranger = Client(database, member(sql, project(sql, f"theirs {uuid4()}")), tmp_path)
    own = [{"acetype": "ALLOW", "identifier": "OWNER@", "acemask": "CDMI_ACE_ALL_PERMS"}]
    client.send("PUT", f"{ROOT}box/secret", DATAOBJECT, {"value": "x", "metadata": {"cdmi_acl": own}})
    client.send("PUT", f"{ROOT}box/open", DATAOBJECT, {"value": "x"})
    search(client, "mine")
    search(other, "others")
    search(stranger, "strangers", cdmi_scope_specification=[])
    client.run_queries()
    assert (found(client, "mine"), found(other, "others")) == (["open", "secret"], ["open"])
    assert found(stranger, "strangers") == [ROOT, "disks/", "strangers"]


def test_a_query_that_is_cut_off_goes_on_where_it_was(
    client: Client, database: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "PAGE_OBJECTS", 2)
    names = [f"o{number}" for number in range(7)]
    for name in names:
        client.send("PUT", f"{ROOT}box/{name}", DATAOBJECT, {"value": "x"})
    search(client)
    present = Presentation(Site(), Version.V2)
    assert queries.run_page(database, present)

    class Killed(BaseException):
        """Nothing that a runner would catch."""

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(queries, "_progress", die)
        queries.run_page(database, present)
    with database.connection() as another, another.transaction():
        another.execute("SELECT FROM queue_feed WHERE status = 'Processing' FOR UPDATE")
        assert not queries.run_page(database, present)
    client.run_queries()
    assert (found(client), status(client)) == (names, {"cdmi_query_status": "Current"})


def test_a_query_waits_while_its_queue_is_full(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (feeds, queries):
        monkeypatch.setattr(module, "VALUES_MAX", 2)
    names = [f"o{number}" for number in range(5)]
    for name in names:
        client.send("PUT", f"{ROOT}box/{name}", DATAOBJECT, {"value": "x"})
    search(client)
    taken = []
    for rest in (2, 2, 1):
        client.run_queries()
        assert len(found(client)) == rest
        taken += found(client)
        client.send("DELETE", f"{ROOT}q?values=2", QUEUE)
    client.run_queries()
    assert (sorted(taken), status(client)) == (names, {"cdmi_query_status": "Current"})


def test_a_query_can_be_stopped_and_started_anew(client: Client) -> None:
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": "x"})
    search(client)
    assert client.send("PATCH", f"{ROOT}q?metadata=cdmi_queue_type", QUEUE, {"metadata": {}}).status_code == 204
    client.run_queries()
    assert (found(client), status(client)) == ([], {})
    again = {"metadata": {"cdmi_queue_type": "cdmi_query_queue"}}
    for times in (1, 2):
        client.send("PATCH", f"{ROOT}q?metadata=cdmi_queue_type", QUEUE, {"metadata": {}})
        assert client.send("PATCH", f"{ROOT}q?metadata=cdmi_queue_type", QUEUE, again).status_code == 204
        client.run_queries()
        assert found(client) == ["o"] * times
    changed = {"metadata": {"cdmi_scope_specification": []}}
    assert client.send("PATCH", f"{ROOT}q?metadata=cdmi_scope_specification", QUEUE, changed).status_code == 403


def test_a_query_of_somebody_who_has_left_says_so(client: Client, sql: Connection) -> None:
    search(client)
    sql.execute("DELETE FROM account WHERE name = %s", [client.caller.user_name])
    client.run_queries()
    assert status(client)["cdmi_query_status"].startswith("Error: the user who made the queue")


def test_a_query_goes_with_its_queue(client: Client) -> None:
    search(client)
    assert client.send("DELETE", f"{ROOT}q", QUEUE).status_code == 204
    client.run_queries()


def test_who_loses_a_deadlock_begins_again(client: Client, sql: Connection, database: Database) -> None:
    """A container goes with its queue while somebody who has the queue comes to change an object in it."""
    listen(client, "box/q")
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": "x"})

    def identity(path: str) -> UUID:
        found = client.send("GET", f"{ROOT}box/{path}?objectID", QUEUE if path == "q" else DATAOBJECT).json["objectID"]
        return UUID(found[16:])

    changed, queue = identity("o"), identity("q")
    with ThreadPoolExecutor(1) as threads:
        with database.connection() as other, other.transaction():
            other.execute("SET LOCAL deadlock_timeout = '1min'")  # so that it isn't this one that loses
            other.execute("UPDATE stored_object SET modifications = modifications + 1 WHERE id = %s", [queue])
            deleting = threads.submit(client.send, "DELETE", f"{ROOT}box/", CONTAINER)
            wait_until(lambda: sql.execute("SELECT FROM pg_locks WHERE NOT granted").fetchone() is not None)
            other.execute("UPDATE stored_object SET modifications = modifications + 1 WHERE id = %s", [changed])
        assert deleting.result().status_code == 204
    assert client.send("GET", f"{ROOT}box/", CONTAINER).status_code == 404


def test_a_queue_is_told_what_was_wrong_with_a_value(client: Client) -> None:
    client.send("PUT", f"{ROOT}q", QUEUE, {})
    refused = client.plain("POST", "/cdmi/q", b"x", Content_Type="text/plain")
    assert (refused.status_code, refused.text) == (
        400,
        "Content-Type is 'text/plain': expected application/cdmi-queue.\n",
    )


def test_events_mean_nothing_to_a_query(client: Client) -> None:
    client.send("PUT", f"{ROOT}box/o", DATAOBJECT, {"value": "x"})
    search(client, cdmi_notification_events=5)
    client.run_queries()
    assert (told(client, "q", "objectName"), status(client)) == ([("o",)], {"cdmi_query_status": "Current"})
