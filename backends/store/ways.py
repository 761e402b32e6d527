"""Reading stored objects with all that is above them: down a path one unique key after the other, up by parents.

No recursion downwards: PostgreSQL would plan it anew as a scan of everything while there is little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final
from uuid import UUID, uuid4

from psycopg.types.multirange import Multirange

from backends.objects import Encoding, ObjectKind, StoredObject, Versions
from backends.store.database import Connection, query

ROWS_AT_ONCE: Final = 1000
STEPS_MAX: Final = 8
"""Of one statement; a longer path takes more."""
COLUMNS: Final = (
    "id", "parent_id", "name", "kind", "owner", "metadata", "mimetype", "encoding", "completion", "target",
    "size_bytes", "created_at", "modified_at", "modifications", "value_file", "next_position", "fields", "sha256",
    "written", "is_new", "version", "current_version", "same_value",
)  # fmt: skip
WIDTH: Final = len(COLUMNS) + 5
FIRST_POSITION: Final = (
    "CASE WHEN {0}.kind = 'queue' THEN coalesce("
    "(SELECT min(q.position) FROM queue_value q WHERE q.queue_id = {0}.id), {0}.next_position) END"
)
FEED_STATUS: Final = (
    "CASE WHEN {0}.kind = 'queue' THEN (SELECT f.status FROM queue_feed f WHERE f.queue_id = {0}.id) END"
)
VERSIONS: Final = (
    "CASE WHEN coalesce({0}.version, {0}.current_version) IS NOT NULL THEN (SELECT ARRAY["
    "(SELECT v.id FROM stored_object v WHERE v.parent_id = x.id AND v.version > 0 ORDER BY v.version DESC LIMIT 1),"
    "(SELECT v.id FROM stored_object v WHERE v.parent_id = x.id AND v.version > 0 ORDER BY v.version LIMIT 1),"
    "(SELECT v.id FROM stored_object v WHERE v.parent_id = x.id AND v.version < {0}.version"
    " ORDER BY v.version DESC LIMIT 1),"
    "(SELECT v.id FROM stored_object v WHERE v.parent_id = x.id AND v.version > {0}.version ORDER BY v.version LIMIT 1)"
    "] FROM (SELECT CASE WHEN {0}.version IS NULL THEN {0}.id ELSE {0}.parent_id END AS id) x) END"
)
IS_WATCHED: Final = (
    "EXISTS (SELECT FROM queue_feed f WHERE f.project_id = %(project)s AND f.kind = 'notification'"
    " AND f.status = 'Current')"
)


def descend(
    connection: Connection, project_id: UUID, start: UUID, names: Sequence[str], *, valued: bool
) -> list[StoredObject]:
    """What `start` is, and what each name leads to, as far as there is something. `valued`: the last with its value."""
    way: list[StoredObject] = []
    while True:
        steps = min(len(names), STEPS_MAX)
        is_last = steps == len(names)
        parameters: dict[str, Any] = {f"name{number}": name for number, name in enumerate(names[:steps], 1)}
        parameters |= {"start": start, "project": project_id}
        row = connection.execute(_descent(steps, valued and is_last), parameters, binary=True).fetchone()
        if row is None:
            return way
        found = [_object(row[at : at + WIDTH]) for at in range(0, len(row), WIDTH) if row[at] is not None]
        way += found[1:] if way else found
        if is_last or len(found) <= steps:
            return way
        start, names = found[-1].id, names[steps:]


def ascend(connection: Connection, project_id: UUID, start: UUID, *, valued: bool) -> list[StoredObject]:
    """What `start` is, after all that is above it, the topmost first."""
    parameters = {"start": start, "project": project_id}
    rows = connection.execute(_ascent(valued), parameters, binary=True).fetchall()
    known = {one.id: one for one in map(_object, rows)}
    return way_to(known[start], known) if start in known else []


def way_to(stored: StoredObject, known: Mapping[UUID, StoredObject]) -> list[StoredObject]:
    """The object after all that is above it, of which all is known."""
    way = [stored]
    while (parent_id := way[-1].parent_id) is not None and len(way) < len(known):
        way.append(known[parent_id])
    return way[::-1]


def page(
    connection: Connection, project_id: UUID, after: UUID | None, limit: int, *, valued: bool
) -> tuple[list[StoredObject], dict[UUID, StoredObject]]:
    """The next objects of a project by their IDs, and these with all that is above them."""
    parameters = {"project": project_id, "after": after, "limit": limit}
    rows = connection.execute(_page(valued), parameters, binary=True).fetchall()
    objects = [_object(row) for row in rows]
    return [one for one, row in zip(objects, rows, strict=True) if row[-1] == 0], {one.id: one for one in objects}


def tree(connection: Connection, project_id: UUID, top: UUID) -> Iterator[StoredObject]:
    """What `top` is and all that is below it, containers before what is in them; read in pieces."""
    with connection.cursor(name=f"tree_{uuid4().hex}", binary=True) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(_tree(), {"id": top, "project": project_id})
        for row in cursor:
            yield _object(row)


@cache
def _page(valued: bool) -> str:
    value = "CASE WHEN way.depth = 0 THEN o.value END" if valued else "NULL"
    return query("objects.page").format(columns=f"{_row('o', value)}, way.depth")


@cache
def _tree() -> str:
    return query("objects.tree").format(columns=_row("o", "NULL"))


@cache
def _descent(steps: int, valued: bool) -> str:
    columns = ", ".join(_columns(f"o{step}", step == steps, valued) for step in range(steps + 1))
    joins = "".join(
        f" LEFT JOIN stored_object o{step} ON o{step}.parent_id = o{step - 1}.id AND o{step}.name = %(name{step})s"
        for step in range(1, steps + 1)
    )
    # No index serves IS NOT DISTINCT FROM: else that of projects might be taken, each of which has many objects.
    own = "o0.project_id IS NOT DISTINCT FROM %(project)s"
    return f"SELECT {columns} FROM stored_object o0{joins} WHERE o0.id = %(start)s AND {own}"


@cache
def _ascent(valued: bool) -> str:
    value = "CASE WHEN o.id = %(start)s THEN o.value END" if valued else "NULL"
    return query("objects.ascent").format(columns=_row("o", value))


def _columns(table: str, is_last: bool, valued: bool) -> str:
    value = f"{table}.value" if valued and is_last else "NULL"
    if is_last:
        return _row(table, value)
    return f"{_plain(table)}, NULL, NULL, NULL, NULL, {IS_WATCHED if table == 'o0' else 'NULL'}"


def _row(table: str, value: str) -> str:
    told = (FIRST_POSITION.format(table), FEED_STATUS.format(table), VERSIONS.format(table), IS_WATCHED)
    return ", ".join((_plain(table), value, *told))


def _plain(table: str) -> str:
    return ", ".join(f"{table}.{column}" for column in COLUMNS)


def _object(row: Sequence[Any]) -> StoredObject:
    return StoredObject(
        id=row[0], parent_id=row[1], name=row[2], kind=ObjectKind(row[3]), owner=row[4], metadata=row[5],
        mimetype=row[6] or "", encoding=Encoding(row[7] or "utf-8"), completion=row[8], target=row[9],
        size_bytes=row[10], contiguous_bytes=contiguous_bytes(row[18], row[10]),
        created_at=row[11], modified_at=row[12], modifications=row[13],
        value=row[23], value_file=row[14], first_position=row[24] or 0, next_position=row[15],
        fields=row[16], sha256=row[17], is_new=row[19], version=row[20], current_version=row[21], same_value=row[22],
        feed_status=row[25], versions=Versions(*row[26]) if row[26] else None, is_watched=bool(row[27]),
    )  # fmt: skip


def contiguous_bytes(written: Multirange[int] | None, size_bytes: int) -> int:
    """Up to the first gap."""
    if written is None:
        return size_bytes
    return next((part.upper or 0 for part in written if part.lower == 0), 0)
