"""Reading resources: one SELECT for one or many, always within what the caller may see."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

from backends.model import EVERYTHING, Filter, Page
from backends.store.database import Connection
from backends.store.rows import Table

T = TypeVar("T")

EVERYBODYS = {"network": "r.shared", "image": "r.project_id IS NULL"}
"""What every project sees besides its own."""


@lru_cache(maxsize=512)
def _text(
    columns: str,
    table: str,
    order: str,
    conditions: tuple[str, ...],
    scoped: bool,
    ordered: bool,
    paged: bool,
    locked: bool,
) -> str:
    where = ["NOT r.deleting", *conditions]
    if scoped:
        own = "r.project_id = %(project_id)s"
        where.append(f"({own} OR {EVERYBODYS[table]})" if table in EVERYBODYS else own)
    text = f"WHERE {' AND '.join(where)}"
    if ordered:
        text += f" ORDER BY {order}"
    if paged:
        # The page is cut before the columns are made: PostgreSQL makes those of skipped rows too.
        cut = f"SELECT r.id FROM {table} r {text} LIMIT %(limit)s OFFSET %(offset)s"
        text = f"WHERE r.id = ANY(ARRAY({cut})) ORDER BY {order}"
    return f"{columns} {text}" + (" FOR UPDATE OF r" if locked else "")


def one(
    connection: Connection, table: Table[T], project_id: UUID | None, resource_id: UUID, *, lock: bool = False
) -> T | None:
    """The resource, or None if there is none that this project sees. `lock` holds its row until commit."""
    text = _text(table.select, table.name, table.order, ("r.id = %(id)s",), project_id is not None, False, False, lock)
    row = connection.execute(text, {"id": resource_id, "project_id": project_id}).fetchone()
    return None if row is None else table.from_row(row)


def many(connection: Connection, table: Table[T], project_id: UUID | None, where: Filter, page: Page) -> Sequence[T]:
    rows = _rows(connection, table, table.select, project_id, where, page)
    return [table.from_row(row) for row in rows]


def identities(
    connection: Connection, table: Table[Any], project_id: UUID | None, where: Filter, page: Page
) -> Sequence[UUID]:
    rows = _rows(connection, table, f"SELECT r.id FROM {table.name} r", project_id, where, page)
    return [row[0] for row in rows]


def _rows(
    connection: Connection,
    table: Table[Any],
    columns: str,
    project_id: UUID | None,
    where: Filter,
    page: Page,
) -> list[Any]:
    parameters: dict[str, Any] = {"project_id": project_id, "limit": page.limit, "offset": page.offset}
    conditions: list[str] = []
    for index, (field, value) in enumerate(sorted(where.equals.items())):
        expression = table.filters[field]
        if value is None:
            conditions.append(f"{expression} IS NULL")
        else:
            conditions.append(f"{expression} = %(equals_{index})s")
            parameters[f"equals_{index}"] = value
    if where.tag_ids:
        conditions.append(
            "(SELECT count(*) FROM tagging g WHERE g.resource_id = r.id AND g.tag_id = ANY(%(tags)s))"
            " = cardinality(%(tags)s)"
        )
        parameters["tags"] = list(where.tag_ids)
    if where.ids is not None:
        conditions.append("r.id = ANY(%(ids)s)")
        parameters["ids"] = list(where.ids)
    scoped = project_id is not None
    text = _text(columns, table.name, table.order, tuple(conditions), scoped, True, page != EVERYTHING, False)
    return connection.execute(text, parameters).fetchall()
