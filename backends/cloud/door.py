"""What every part of the door shares: the caller, the connection, finding what the caller may see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import psycopg

from backends import jobs, quotas
from backends.errors import Conflict, Deadlocked, Invalid, NotFound
from backends.jobs import Kind
from backends.model import Caller, Filter, Page, Role, Size
from backends.opened import OpenedDisks
from backends.quotas import Use
from backends.store import select
from backends.store.database import Connection, Database, query
from backends.store.rows import Table
from backends.values import Values

T = TypeVar("T")
P = ParamSpec("P")
D = TypeVar("D", bound="Door")

GENERATIONS = ("machine", "network", "disk")
"""The tables whose rows count their changes."""

NOUNS = {
    "machine": "compute",
    "disk": "storage",
    "network": "network",
    "interface": "network interface",
    "reservation": "IP reservation",
    "attachment": "storage link",
    "security_group": "security group",
    "group_link": "security group link",
    "image": "image",
}


def once_more(method: Callable[Concatenate[D, P], T]) -> Callable[Concatenate[D, P], T]:
    """A change that begins anew, once, when PostgreSQL has taken it back to end a deadlock; not within another."""

    @wraps(method)
    def begin(door: D, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(door, *args, **kwargs)
        except Deadlocked:
            return method(door, *args, **kwargs)

    return begin


class Door:
    """`sizes` maps names to resource templates; the one called `default_size` serves who asks for none.

    `values` keeps the values of stored objects, `opened` is where the bytes of disks are; only they need them.
    `bandwidth_max_kbit_s` is what the site lets an interface receive, and send.
    """

    def __init__(
        self,
        database: Database,
        caller: Caller,
        sizes: Mapping[str, Size],
        default_size: str,
        values: Values | None = None,
        opened: OpenedDisks | None = None,
        bandwidth_max_kbit_s: int | None = None,
    ) -> None:
        self._database = database
        self._value_folder = values
        self._opened = opened
        self._caller = caller
        self._sizes = sizes
        self._default_size = default_size
        self._bandwidth_max_kbit_s = bandwidth_max_kbit_s
        self._connection: Connection | None = None
        self._kept_files: list[UUID] = []
        """Of values that the change under way has put on the disk; they go if it is rolled back."""
        self._dropped_files: list[UUID] = []
        """Of values that rows don't point to any more; those that none does go when it is committed."""
        self._scope = None if caller.role is Role.CLOUD_ADMIN else caller.project_id

    @property
    def _values(self) -> Values:
        if self._value_folder is None:
            raise RuntimeError("this door was given no folder for values")
        return self._value_folder

    @property
    def caller(self) -> Caller:
        return self._caller

    @contextmanager
    def atomically(self) -> Iterator[None]:
        """All calls inside happen or none does (GFD.185 §3.6.4: actions on collections)."""
        with self._change():
            yield

    def hold(self, resource_ids: Sequence[UUID]) -> None:
        """Keeps machines, disks and networks from changing until the end of `atomically`.

        Machines with such disks too, and disks that go with such machines.

        All at once and in one order, before anything else: else two who change several could wait for each other, or
        for an agent that gives back room on the host while a member of the collection waits for it.
        """
        with self._change() as connection:
            attached_to = connection.execute(
                "SELECT machine_id FROM attachment WHERE disk_id = ANY(%s)", [list(resource_ids)]
            ).fetchall()
            volatile = connection.execute(query("disks.volatile_of"), {"machines": list(resource_ids)}).fetchall()
            held = [*resource_ids, *(row[0] for row in (*attached_to, *volatile))]
            for table in GENERATIONS:
                connection.execute(f"SELECT FROM {table} WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [held])

    def use(self) -> Sequence[Use]:
        """What the caller's project has, and may have at most."""
        with self._read() as connection:
            return quotas.use(connection, self._caller.project_id)

    def members(self) -> Sequence[str]:
        """The names of those who are in the caller's project."""
        with self._read() as connection:
            rows = connection.execute(
                "SELECT name FROM account WHERE project_id = %s ORDER BY name", [self._caller.project_id]
            ).fetchall()
        return [row[0] for row in rows]

    def project_made_at(self) -> datetime:
        with self._read() as connection:
            row = connection.execute(
                "SELECT created_at FROM project WHERE id = %s", [self._caller.project_id]
            ).fetchone()
        if row is None:
            raise NotFound("the project has just been deleted")
        made_at: datetime = row[0]
        return made_at

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        if self._connection is not None:
            yield self._connection
            return
        with self._database.connection() as connection:
            yield connection

    @contextmanager
    def _change(self) -> Iterator[Connection]:
        if self._connection is not None:
            yield self._connection
            return
        self._dropped_files.clear()
        with self._database.connection() as connection:
            try:
                with self._files_undone(), quotas.refusals(), connection.transaction():
                    self._connection = connection
                    yield connection
            finally:
                self._connection = None
            self._remove_dropped(connection)

    @contextmanager
    def _statement(self) -> Iterator[Connection]:
        """For a change by one statement, its last: a transaction by itself, unless it is part of one."""
        if self._connection is not None:
            yield self._connection
            return
        with self._database.connection() as connection, self._files_undone(), quotas.refusals():
            yield connection

    @contextmanager
    def _files_undone(self) -> Iterator[None]:
        """Around a change: what it has put on the disk goes if it doesn't come about."""
        try:
            yield
        except psycopg.errors.DeadlockDetected:
            self._remove_kept_files()
            raise
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise  # perhaps only after the commit: the sweep decides what is left over
        except BaseException:
            self._remove_kept_files()
            raise
        finally:
            self._kept_files.clear()

    def _remove_kept_files(self) -> None:
        for file in self._kept_files:
            self._values.remove(file)

    def _drop(self, file: UUID | None) -> None:
        """Of a value that a row doesn't point to any more."""
        if file is not None:
            self._dropped_files.append(file)

    def _remove_dropped(self, connection: Connection) -> None:
        for file in self._dropped_files:
            row = connection.execute(query("objects.sharers"), {"file": file}).fetchone()
            if row is not None and row[0] == 0:
                self._values.remove(file)

    def _one(self, table: Table[T], resource_id: UUID, *, lock: bool = False) -> T:
        with self._read() as connection:
            found = select.one(connection, table, self._scope, resource_id, lock=lock)
        if found is None:
            raise NotFound(f"there is no {NOUNS[table.name]} {resource_id}")
        return found

    def _many(self, table: Table[T], where: Filter, page: Page) -> Sequence[T]:
        with self._read() as connection:
            return select.many(connection, table, self._scope, where, page)

    def _identities(self, table: Table[Any], where: Filter, page: Page) -> Sequence[UUID]:
        with self._read() as connection:
            return select.identities(connection, table, self._scope, where, page)

    def _insert(self, connection: Connection, table: str, values: Mapping[str, object]) -> None:
        """Inserts a row; an identity that exists is a `Conflict` whoever owns it, and so is one too much like it."""
        try:
            inserted = connection.execute(_insertion(table, tuple(values)), values).rowcount
        except psycopg.errors.UniqueViolation as violation:
            if violation.diag.constraint_name != f"{table}_name_on_hosts":
                raise
            raise Conflict(
                f"the identity {values['id']} gives the same name on hosts as another's: choose another"
            ) from None
        if inserted == 0:
            raise Conflict(f"the identity {values['id']} is taken")

    def _update(self, connection: Connection, table: str, resource_id: UUID, values: Mapping[str, object]) -> None:
        if not values:
            return
        connection.execute(_change_of(table, tuple(values)), {**values, "the_id": resource_id})

    def _converge(self, connection: Connection, host: str | None, kind: Kind, resource_id: UUID) -> None:
        """Defers the job, unless no host has the resource yet: placement defers it then."""
        if host is not None:
            jobs.defer(connection, host, kind, resource_id)

    def _tag_new(self, connection: Connection, tag_ids: Sequence[UUID], resource_id: UUID) -> None:
        for tag_id in tag_ids:
            connection.execute(
                "INSERT INTO tagging (tag_id, resource_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [tag_id, resource_id],
            )


# Tables and columns are named by this package, never by a client.
@cache
def _insertion(table: str, columns: tuple[str, ...]) -> str:
    values = ", ".join(f"%({column})s" for column in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values}) ON CONFLICT (id) DO NOTHING"


@cache
def _change_of(table: str, columns: tuple[str, ...]) -> str:
    assignments = [f"{column} = %({column})s" for column in columns]
    if table in GENERATIONS:
        assignments.append("generation = generation + 1")
    return f"UPDATE {table} SET {', '.join(assignments)} WHERE id = %(the_id)s"


def check_text(name: str, value: str | None, limit: int = 1024) -> None:
    """Titles and the like: bounded, and without NUL, which PostgreSQL can't hold."""
    if value is None:
        return
    if len(value) > limit:
        raise Invalid(f"{name} has {len(value)} characters; at most {limit} are allowed")
    if "\0" in value:
        raise Invalid(f"{name} contains a NUL character")


def check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise Invalid(f"{name} is {value}; it must be between {least} and {most}")
