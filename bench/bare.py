"""The yardstick of the HTTP rows: Falcon and psycopg with nothing in between, under the gateway's gunicorn settings.

`python -m bench.bare ANSWERS` reads from a JSON file what it is to answer; the bytes are the gateway's own. It
checks nobody, reads no body, logs no request.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import falcon

from altostratus import settings as settings_module
from altostratus.serve import Gateway
from altostratus.settings import Settings
from backends import jobs
from backends.jobs import Kind
from backends.networks.addresses import mac_of
from backends.store.database import Database

ONE = "SELECT id, title, cores, memory_mib, state FROM machine WHERE id = %s"
ALL = "SELECT id FROM machine WHERE NOT deleting ORDER BY sequence"
PAGE = ALL + " LIMIT %s OFFSET %s"
WHOLE_PAGE = (
    "SELECT m.id, i.id, m.title, m.hostname, i.mac, host(i.address) FROM (SELECT id, title, hostname, sequence"
    " FROM machine WHERE NOT deleting ORDER BY sequence LIMIT %s OFFSET %s) m"
    " JOIN interface i ON i.machine_id = m.id ORDER BY m.sequence"
)
INSERT_MACHINE = (
    "INSERT INTO machine (id, project_id, title, architecture, cores, memory_mib, wanted, host, admitted,"
    " state_message) VALUES (%s, %s, %s, 'x64', 1, 1024, 'active', %s, true, 'starting')"
)
INSERT_INTERFACE = (
    "INSERT INTO interface (id, project_id, machine_id, network_id, name, mac, address, gateway, allocation)"
    " SELECT %s, %s, %s, id, 'eth0', %s, (SELECT max(address) + 1 FROM interface WHERE network_id = network.id),"
    " gateway, 'dynamic' FROM network WHERE shared"
)

SMALL = "SELECT id, mimetype, metadata, value FROM stored_object WHERE id = %s"
INSERT_SMALL = (
    "INSERT INTO stored_object (id, project_id, parent_id, name, kind, owner, mimetype, encoding, value, size_bytes)"
    " VALUES (%s, %s, %s, %s, 'dataobject', 'admin', 'text/plain', 'utf-8', %s, %s)"
)
CHILDREN = "SELECT name, kind FROM stored_object WHERE parent_id = %s ORDER BY name LIMIT %s OFFSET %s"


class One:
    """One SELECT by primary key, and bytes that are known."""

    def __init__(self, database: Database, content_type: str, body: str) -> None:
        self._database, self._content_type, self._body = database, content_type, body.encode()

    def on_get(self, _request: falcon.Request, response: falcon.Response, identity: str) -> None:
        with self._database.connection() as connection:
            row = connection.execute(ONE, [UUID(identity)]).fetchone()
        if row is None:
            raise falcon.HTTPNotFound
        response.content_type = self._content_type
        response.data = self._body


class Locations:
    """One SELECT of identities, and a join of strings."""

    def __init__(self, database: Database, content_type: str, start: str, end: str) -> None:
        self._database, self._content_type, self._start, self._end = database, content_type, start, end

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        number = request.get_param_as_int("number")
        with self._database.connection() as connection:
            if number is None:
                rows = connection.execute(ALL).fetchall()
            else:
                page = request.get_param_as_int("page", required=True)
                rows = connection.execute(PAGE, [number, (page - 1) * number]).fetchall()
        start = self._start
        response.content_type = self._content_type
        response.data = (self._end.join([f"{start}{row[0]}" for row in rows])).encode()


class WholePage:
    """One SELECT with a join, and a join of strings: each machine is one template whose six values are filled in."""

    def __init__(self, database: Database, template: str) -> None:
        self._database, self._template = database, template

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        number = request.get_param_as_int("number", required=True)
        page = request.get_param_as_int("page", required=True)
        with self._database.connection() as connection:
            rows = connection.execute(WHOLE_PAGE, [number, (page - 1) * number]).fetchall()
        template = self._template
        response.content_type = "application/occi+json"
        response.data = (
            f'{{"resources":[{",".join([template % dict(zip("abcdef", row, strict=True)) for row in rows])}]}}'.encode()
        )


class Create:
    """The same rows and the same job in one transaction; nothing is checked, chosen or read back."""

    def __init__(self, database: Database, origin: str, project_id: UUID, host: str) -> None:
        self._database, self._origin, self._project_id, self._host = database, origin, project_id, host

    def on_post(self, _request: falcon.Request, response: falcon.Response) -> None:
        machine_id, interface_id = uuid4(), uuid4()
        with self._database.connection() as connection, connection.transaction():
            connection.execute(INSERT_MACHINE, [machine_id, self._project_id, "new", self._host])
            connection.execute(INSERT_INTERFACE, [interface_id, self._project_id, machine_id, mac_of(interface_id)])
            jobs.defer(connection, self._host, Kind.MACHINE, machine_id)
        response.status = falcon.HTTP_201
        response.content_type = "text/plain"
        response.data = f"X-OCCI-Location: {self._origin}/compute/{machine_id}".encode()


class Small:
    """A value out of and into a row."""

    def __init__(self, database: Database, kept: UUID, parent: UUID, project_id: UUID) -> None:
        self._database, self._kept, self._parent, self._project_id = database, kept, parent, project_id

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        with self._database.connection() as connection:
            row = connection.execute(SMALL, [self._kept]).fetchone()
        if row is None:
            raise falcon.HTTPNotFound
        response.content_type = row[1]
        response.data = row[3]

    def on_put(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        value = request.bounded_stream.read()
        with self._database.connection() as connection:
            connection.execute(INSERT_SMALL, [uuid4(), self._project_id, self._parent, name, value, len(value)])
        response.status = falcon.HTTP_201


class Children:
    """One SELECT and a join of strings."""

    def __init__(self, database: Database, parent: UUID) -> None:
        self._database, self._parent = database, parent

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        first = request.get_param_as_int("first", required=True)
        number = request.get_param_as_int("number", required=True)
        with self._database.connection() as connection:
            rows = connection.execute(CHILDREN, [self._parent, number, first]).fetchall()
        response.content_type = "application/cdmi-container"
        response.data = f'{{"children":[{",".join([json.dumps(row[0]) for row in rows])}]}}'.encode()


class Bare(Gateway):
    """The gateway's gunicorn settings around another application."""

    def __init__(self, settings: Settings, answers: dict[str, Any]) -> None:
        self._answers = answers
        super().__init__(settings)

    def load(self) -> falcon.App[Any, Any]:
        application: falcon.App[Any, Any] = falcon.App()
        (self._add_objects if "objects" in self._answers else self._add_machines)(application)
        return application

    def _add_machines(self, application: falcon.App[Any, Any]) -> None:
        database, answers = self._database, self._answers
        start = f"{answers['origin']}/compute/"
        application.add_route("/text/{identity}", One(database, "text/plain", answers["text"]))
        application.add_route("/json/{identity}", One(database, "application/occi+json", answers["json"]))
        application.add_route("/uris", Locations(database, "text/uri-list", start, "\n"))
        application.add_route("/locations", Locations(database, "text/plain", f"X-OCCI-Location: {start}", "\n"))
        application.add_route("/whole", WholePage(database, answers["template"]))
        application.add_route(
            "/create", Create(database, answers["origin"], UUID(answers["project_id"]), answers["host"])
        )

    def _add_objects(self, application: falcon.App[Any, Any]) -> None:
        database, ids = self._database, {name: UUID(text) for name, text in self._answers["objects"].items()}
        small = Small(database, ids["read"], ids["bench-small"], ids["project"])
        application.add_route("/small", small)
        application.add_route("/small/{name}", small)
        application.add_route("/children", Children(database, ids["bench-many"]))


if __name__ == "__main__":
    Bare(settings_module.load(), json.loads(Path(sys.argv[1]).read_text())).run()
