"""Disks that several change at once, and bodies that are too large for them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import falcon
import falcon.testing
import psycopg
import pytest
from cdmi_client import CONTAINER, DATAOBJECT
from cdmi_client import Client as CdmiClient
from occi_client import COMPUTE, STORAGE_LINK, TINY
from occi_client import Client as OcciClient
from test_cdmi_disks import make, settle, storage_of

from backends.cloud import Cloud
from backends.opened import OpenedDisks
from backends.store.database import Connection, Database, query
from backends.values import Values
from cdmi_server.application import add_cdmi
from cdmi_server.site import Site
from tests.conftest import wait_until

MIB = 2**20


@pytest.fixture
def cdmi(database: Database, cloud: Cloud, tmp_path: Path) -> CdmiClient:
    return CdmiClient(database, cloud.caller, tmp_path)


@contextmanager
def held(conninfo: str, table: str, identity: UUID) -> Iterator[None]:
    with psycopg.connect(conninfo) as connection:
        connection.execute(f"SELECT FROM {table} WHERE id = %s FOR UPDATE", [identity])  # type: ignore[call-overload]
        yield
        connection.rollback()


def waiting(sql: Connection) -> bool:
    row = sql.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    return row is not None and row[0] == 1


def is_free(sql: Connection, disk_id: UUID) -> bool:
    return sql.execute("SELECT id FROM disk WHERE id = %s FOR UPDATE SKIP LOCKED", [disk_id]).fetchone() is not None


def test_permissions_are_changed_with_the_compute_held_first_as_in_attaching(
    cdmi: CdmiClient, cloud: Cloud, sql: Connection, image: str, conninfo: str
) -> None:
    occi = OcciClient(cloud)
    disk = storage_of(make(cdmi, "data"))
    settle(sql)
    compute = occi.make("/compute/", COMPUTE, TINY)
    ends = f'occi.core.source="{compute}", occi.core.target="{disk}"'
    occi.make("/storagelink/", STORAGE_LINK, attributes=ends)
    body = {"exports": {"OCCI/iSCSI": {"permissions": [compute]}}}
    with ThreadPoolExecutor(1) as pool:
        with held(conninfo, "machine", UUID(compute.rpartition("/")[2])):
            change = pool.submit(cdmi.send, "PUT", "/cdmi/disks/data/", CONTAINER, body)
            wait_until(lambda: waiting(sql))
            assert is_free(sql, UUID(disk.rpartition("/")[2]))
        assert change.result().status_code == 204


def test_a_copy_ends_with_both_disks_held_in_the_order_of_all_who_hold_two(
    cdmi: CdmiClient, sql: Connection, database: Database, conninfo: str
) -> None:
    first, second = sorted(UUID(storage_of(make(cdmi, name)).rpartition("/")[2]) for name in ("one", "two"))

    def end_copy(disk_id: UUID, source_id: UUID) -> None:
        with database.connection() as connection:
            connection.execute(query("agent.disk_copied"), {"id": disk_id, "source_id": source_id})

    for copy, source in ((first, second), (second, first)):
        sql.execute("UPDATE disk SET source_disk_id = %s, state = 'backup' WHERE id = %s", [source, copy])
        sql.execute("UPDATE disk SET source_disk_id = NULL, state = 'backup' WHERE id = %s", [source])
        with ThreadPoolExecutor(1) as pool:
            with held(conninfo, "disk", first):
                ending = pool.submit(end_copy, copy, source)
                wait_until(lambda: waiting(sql))
                assert is_free(sql, second)
            ending.result()
        rows = sql.execute("SELECT source_disk_id, state = wanted FROM disk WHERE id = ANY(%s) ORDER BY id = %s",
                           [[copy, source], copy]).fetchall()  # fmt: skip
        assert rows == [(None, True), (None, False)]


def test_no_more_of_a_multipart_body_is_read_than_the_disk_holds(
    cdmi: CdmiClient, cloud: Cloud, database: Database, sql: Connection, host: str, tmp_path: Path
) -> None:
    make(cdmi, "data", MIB)
    settle(sql)

    class HostsGateway:
        def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
            opened = OpenedDisks(host, tmp_path)
            request.context.cloud = Cloud(database, cloud.caller, {}, "small", Values(tmp_path), opened)

    app = falcon.App(middleware=[HostsGateway()])
    add_cdmi(app, Site())
    head = f"--B\r\nContent-Type: {DATAOBJECT}\r\n\r\n{{}}\r\n".encode()
    part = b"--B\r\nContent-Type: application/octet-stream\r\n\r\n" + b"x" * (MIB // 2) + b"\r\n"
    for pieces in (part * 32, part[:-2] + b"x" * (16 * MIB) + b"\r\n"):
        body = io.BytesIO(head + pieces + b"--B--\r\n")
        size_bytes = len(body.getvalue())
        headers = {
            "Content-Type": "multipart/mixed; boundary=B",
            "Content-Length": str(size_bytes),
            "X-CDMI-Specification-Version": "1.1.1",
            "Accept": DATAOBJECT,
        }
        environ = falcon.testing.create_environ("/cdmi/disks/data/value", method="PUT", headers=headers)
        environ["wsgi.input"] = body
        begun: list[str] = []
        list(app(environ, lambda status, _headers, into=begun: into.append(status)))
        assert begun[0].startswith("413")
        assert body.tell() < 8 * MIB, "the rest stays where it is"
