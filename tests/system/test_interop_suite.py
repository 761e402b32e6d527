"""The suite for where OCCI and CDMI meet: silent on our front-ends, and each fault found by the check of its clause.

The front-ends stand over a real PostgreSQL; in the agent's place rows become what they should be after each request.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import falcon
import pytest

from backends.cloud import Cloud
from backends.store.database import Connection, Database
from backends.values import Values
from cdmi_server.application import add_cdmi
from cdmi_server.site import Site as CdmiSite
from conformance.cdmi.dialect import DIALECTS
from conformance.command import run_interop
from conformance.interop import suite
from conformance.suite import Level, Outcome, Report
from conformance.wire import Wire
from occi_server.application import add_occi
from occi_server.site import Site as OcciSite
from tests.conftest import SIZES

SETTLED = """
DELETE FROM attachment WHERE deleting OR machine_id IN (SELECT id FROM machine WHERE deleting);
DELETE FROM interface WHERE deleting OR machine_id IN (SELECT id FROM machine WHERE deleting);
DELETE FROM machine WHERE deleting;
UPDATE machine SET state = wanted, state_message = '', observed_generation = generation;
UPDATE attachment a SET state = CASE m.state WHEN 'active' THEN 'active' ELSE 'inactive' END
    FROM machine m WHERE m.id = a.machine_id;
UPDATE disk SET state = wanted, observed_generation = generation, source_disk_id = NULL WHERE NOT deleting;
DELETE FROM disk WHERE deleting AND id NOT IN (SELECT disk_id FROM attachment);
"""
"""What agents would have come to."""

Alter = Callable[["Exchange"], None]


@dataclass
class Exchange:
    """A request and its answer; a fault changes the answer, or, before, what the front-ends are asked."""

    method: str
    path: str
    query: str
    body: str
    status: int = 0
    answer: str = ""


class Front:
    """Both front-ends at one port, with a fault between them and whoever asks."""

    def __init__(self, database: Database, cloud: Cloud, folder: Path) -> None:
        self.fault: Alter | None = None

        class Authenticated:
            def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
                request.context.cloud = Cloud(database, cloud.caller, SIZES, "small", Values(folder))

        self._database = database
        self._app = falcon.App(middleware=[Authenticated()])
        add_occi(self._app, OcciSite(sizes=tuple(cloud.sizes())))
        add_cdmi(self._app, CdmiSite())

        class Quiet(WSGIRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

        self._server = make_server("127.0.0.1", 0, self._answer, handler_class=Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        exchange = Exchange(
            environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", ""), body.decode()
        )
        environ["wsgi.input"] = _Input(body)
        told: list[Any] = []
        pieces = self._app(environ, lambda status, headers, *_: told.extend((status, headers)))
        exchange.status, exchange.answer = int(told[0][:3]), b"".join(pieces).decode()
        with self._database.connection() as connection, connection.transaction():
            connection.execute(SETTLED)
        if self.fault is not None:
            self.fault(exchange)
        data = exchange.answer.encode()
        headers = [(name, value) for name, value in told[1] if name.lower() != "content-length"]
        start(f"{exchange.status} x", [*headers, ("Content-Length", str(len(data)))])
        return [data]


class _Input:
    """A body that is here already."""

    def __init__(self, body: bytes) -> None:
        self._left = body

    def read(self, size: int = -1) -> bytes:
        size = len(self._left) if size is None or size < 0 else size
        piece, self._left = self._left[:size], self._left[size:]
        return piece


@pytest.fixture
def front(database: Database, cloud: Cloud, tmp_path: Path) -> Iterator[Front]:
    running = Front(database, cloud, tmp_path)
    yield running
    running.close()


def run(front: Front, version: str = "1.1.1", only: str = "") -> Report:
    wire = Wire(front.url, ("somebody", "secret"), 30.0)
    try:
        return run_interop(wire, wire, 0.5 if only else 10.0, Level.MAY, only, (DIALECTS[version],))
    finally:
        wire.close()


@pytest.mark.parametrize("version", DIALECTS)
def test_no_check_fails_on_the_healthy_front_ends_and_nothing_stays(
    front: Front, sql: Connection, version: str
) -> None:
    report = run(front, version)
    assert [f"{failure.identifier}: {failure.message}" for failure in report.failures()] == []
    assert [result.identifier for result in report.results if result.outcome is Outcome.NOT_APPLICABLE] == []
    assert report.left_behind == ()
    for table in ("machine", "disk", "attachment"):
        assert sql.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def is_link(exchange: Exchange, method: str) -> bool:
    return exchange.path.startswith("/storagelink/") and exchange.method == method


def is_disk(exchange: Exchange, method: str) -> bool:
    """Asked for by a name or an object ID; what prepares and ends a run is left alone."""
    of_disks = exchange.path.startswith("/cdmi/disks/conformance-") or "/cdmi_objectid/" in exchange.path
    return of_disks and exchange.method == method and "-probe" not in exchange.path


def answer_of(*statuses: int, to: Callable[[Exchange], bool], becomes: int) -> Alter:
    def alter(exchange: Exchange) -> None:
        if exchange.status in statuses and to(exchange):
            exchange.status = becomes

    return alter


def fields(change: Callable[[dict[str, Any]], Any], method: str = "GET") -> Alter:
    """Of the JSON that a disk shows."""

    def alter(exchange: Exchange) -> None:
        if is_disk(exchange, method) and exchange.answer.startswith("{"):
            shown = json.loads(exchange.answer)
            change(shown)
            exchange.answer = json.dumps(shown)

    return alter


def text(pattern: str, becomes: str, path: str = "/storagelink/") -> Alter:
    """Of what OCCI renders."""

    def alter(exchange: Exchange) -> None:
        if exchange.path.startswith(path) and exchange.method == "GET":
            exchange.answer = re.sub(pattern, becomes, exchange.answer)

    return alter


def export(change: Callable[[dict[str, Any]], Any]) -> Alter:
    return fields(lambda shown: change(shown["exports"]["OCCI/iSCSI"]) if "exports" in shown else None)


def is_update_of_size(exchange: Exchange) -> bool:
    return is_disk(exchange, "PUT") and "cdmi_assignedsize" in exchange.query


def acts(term: str) -> Callable[[Exchange], bool]:
    return lambda exchange: exchange.method == "POST" and exchange.query == f"action={term}"


def is_permission(exchange: Exchange) -> bool:
    return is_disk(exchange, "PUT") and "/compute/" in exchange.body


def is_snapshot(exchange: Exchange) -> bool:
    return is_disk(exchange, "PUT") and '"snapshot"' in exchange.body


def grown_storage(exchange: Exchange) -> None:
    if exchange.path.startswith("/storage/") and exchange.method == "GET":
        exchange.answer = exchange.answer.replace("occi.storage.size=2", "occi.storage.size=1")


def grown_disk(shown: dict[str, Any]) -> None:
    if shown.get("metadata", {}).get("cdmi_assignedsize") == str(2 << 30):
        shown["metadata"]["cdmi_assignedsize"] = str(1 << 30)


FAULTS: dict[str, tuple[tuple[str, ...], Alter]] = {
    "no links by object ID": (
        ("disks/by-object-id", "removal/detached", "permissions/start", "permissions/running"),
        answer_of(201, to=lambda exchange: is_link(exchange, "POST"), becomes=400),
    ),
    "the device as deviceid": (("disks/shown", "disks/occi-first"), text('deviceid="[0-9A-F]+"', 'deviceid="vdb"')),
    "links to nothing": (
        ("disks/unknown", "permissions/running-refused", "permissions/one-disk-one-compute"),
        answer_of(400, 403, 404, 409, to=lambda exchange: is_link(exchange, "POST"), becomes=201),
    ),
    "capitals only": (
        ("disks/lower-case",),
        answer_of(201, to=lambda e: is_link(e, "POST") and bool(re.search('id="[0-9a-f]+"', e.body)), becomes=400),
    ),
    "another size in OCCI": (("disks/cdmi-first",), text("occi.storage.size=1", "occi.storage.size=7", "/storage/")),
    "another size in CDMI": (
        ("disks/occi-first",),
        fields(lambda shown: shown.get("metadata", {}).update(cdmi_assignedsize="512")),
    ),
    "storages offline": (("disks/state",), text('state="online"', 'state="offline"', "/storage/")),
    "CDMI doesn't grow": (("disks/grown-by-cdmi",), grown_storage),
    "OCCI doesn't grow": (("disks/grown-by-occi",), fields(grown_disk)),
    "no list of storages": (("disks/listed-once",), text("X-OCCI-Location: .*", "", "/storage/")),
    "exports by name": (("permissions/identifier",), export(lambda shown: shown.update(identifier="disk"))),
    "permissions of nobody": (
        ("permissions/compute", "permissions/keep"), export(lambda shown: shown.update(permissions=[]))
    ),
    "permissions of everybody": (
        ("permissions/no-compute",),
        answer_of(400, to=lambda exchange: is_disk(exchange, "PUT"), becomes=204),
    ),
    "no permissions": (
        ("permissions/compute", "permissions/standard-order", "permissions/running", "snapshots/clone"),
        answer_of(204, to=is_permission, becomes=400),
    ),
    "starts are never refused": (
        ("permissions/start-refused", "permissions/start-refused-why"), answer_of(403, to=acts("start"), becomes=200)
    ),
    "refusals without a word": (
        ("permissions/start-refused-why",),
        lambda exchange: setattr(exchange, "answer", "No." if exchange.status == 403 else exchange.answer),
    ),
    "starts are always refused": (("permissions/start",), answer_of(200, to=acts("start"), becomes=403)),
    "permissions are withdrawn in vain": (
        ("permissions/running",), answer_of(409, to=lambda e: is_disk(e, "PUT"), becomes=204)
    ),
    "no snapshots by OCCI": (("snapshots/by-occi",), fields(lambda shown: shown.pop("snapshots", None))),
    "no snapshots by CDMI": (
        ("snapshots/by-cdmi", "snapshots/clone"), answer_of(202, to=is_snapshot, becomes=400)
    ),
    "attached disks go": (("removal/attached",), answer_of(409, to=lambda e: is_disk(e, "DELETE"), becomes=204)),
    "attached storages go": (
        ("removal/attached-storage",),
        answer_of(409, to=lambda e: e.path.startswith("/storage/") and e.method == "DELETE", becomes=204),
    ),
    "deleted disks stay": (
        ("removal/detached", "removal/by-occi"), answer_of(404, to=lambda e: is_disk(e, "GET"), becomes=200)
    ),
    "deleted storages stay": (
        ("removal/by-cdmi",),
        answer_of(404, to=lambda e: e.path.startswith("/storage/") and e.method == "GET", becomes=200),
    ),
    "disks go with computes": (
        ("removal/compute",),
        answer_of(200, to=lambda e: is_disk(e, "GET") and '"permissions":[]' in e.answer, becomes=404),
    ),
}  # fmt: skip
"""Something wrong between the front-ends and the wire, and the checks that must see it."""


def test_faults_are_found_by_the_checks_of_their_clauses(front: Front) -> None:
    for name, (catches, alter) in FAULTS.items():
        front.fault = alter
        report = run(front, only=",".join(catches))
        front.fault = None
        failed = {failure.identifier for failure in report.failures()}
        assert set(catches) <= failed, name


def test_every_check_catches_some_fault() -> None:
    caught = {identifier for catches, _ in FAULTS.values() for identifier in catches}
    assert {check.identifier for check in suite.checks} - caught == set()
    assert caught <= {check.identifier for check in suite.checks}
