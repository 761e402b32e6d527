"""Connections to PostgreSQL, migrations, and the named queries of queries/*.sql.

No query of its own: callers name one and pass its parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

import orjson
import psycopg
import yoyo
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads
from psycopg_pool import ConnectionPool, PoolTimeout

from backends.errors import DatabaseUnavailable, Deadlocked

STATEMENT_MAX_S: Final = 600
"""The last resort: no statement of ours should take so long, whatever it finds."""

Connection = psycopg.Connection[TupleRow]

MIGRATION_LOCK = 7_204_311
"""The advisory lock held while migrating; released by PostgreSQL itself when its holder dies."""


class Database:
    """A pool of connections in autocommit mode: a read is one round trip, a change opens a transaction."""

    def __init__(self, conninfo: str, *, connections: int) -> None:
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            conninfo,
            min_size=1,
            max_size=connections,
            kwargs={"autocommit": True},
            configure=_configure,
            timeout=10,
            reconnect_timeout=30,
            open=False,
        )

    def open(self) -> None:
        """Starts connecting in the background; call it after a fork, once per process."""
        self._pool.open()

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for one unit of work; `DatabaseUnavailable` when there is none or it broke."""
        try:
            with self._pool.connection() as connection:
                yield connection
        except psycopg.errors.DeadlockDetected as error:
            raise Deadlocked("others were changing the same things") from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self._pool.check()
            raise DatabaseUnavailable("the database can't be reached just now") from error
        except PoolTimeout as error:
            raise DatabaseUnavailable("the database has no free connection just now") from error


def _configure(connection: Connection) -> None:
    set_json_loads(orjson.loads, connection)
    # Plans are kept, and made while tables are small must do when they have grown: what is read often is in memory, so
    # that an index costs hardly more than a scan of two pages. Compiling pays for none of these statements.
    connection.execute(
        "SELECT set_config('random_page_cost', '1.1', false), set_config('jit', 'off', false),"
        " set_config('statement_timeout', %s, false)",
        [f"{STATEMENT_MAX_S}s"],
    )


def _named_queries() -> dict[str, str]:
    """By `file.name`: each query called `-- name: name` in queries/file.sql, without its comments."""
    found = {}
    for file in (resources.files("backends.store") / "queries").iterdir():
        text = file.read_text("utf-8")
        for match in re.finditer(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", text, re.MULTILINE | re.DOTALL):
            found[f"{file.name.removesuffix('.sql')}.{match[1]}"] = re.sub(
                r"^--.*\n", "", match[2], flags=re.MULTILINE
            ).strip()
    return found


_QUERIES: Final = _named_queries()
"""All read at the start, so that a process goes on with its own when its code is replaced."""


def query(name: str) -> str:
    """The text of `file.name`."""
    return _QUERIES[name]


def migrate(conninfo: str) -> list[str]:
    """Brings the schema up to date, live; returns the names of the migrations applied.

    Safe to call from several processes at once, and after one was killed half-way: each migration is one
    transaction, and the lock belongs to a connection.
    """
    folder = Path(str(resources.files("backends.store"))) / "migrations"
    with psycopg.connect(conninfo, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        backend = yoyo.get_backend(_yoyo_uri(conninfo))
        try:
            backend.break_lock()
            pending = backend.to_apply(yoyo.read_migrations(str(folder)))
            names = [migration.id for migration in pending]
            backend.apply_migrations(pending)
        finally:
            backend.connection.close()
    return names


def _yoyo_uri(conninfo: str) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    credentials = ""
    if "user" in parts:
        credentials = quote(str(parts.pop("user")), safe="")
        if "password" in parts:
            credentials += ":" + quote(str(parts.pop("password")), safe="")
        credentials += "@"
    database = quote(str(parts.pop("dbname", "")), safe="")
    return f"postgresql+psycopg://{credentials}/{database}?{urlencode(parts)}"
