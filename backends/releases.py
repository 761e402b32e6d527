"""The end of holds and retention, which CDMI leaves to the operator: of an object, or of all that is below it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from backends import retention
from backends.errors import NotFound
from backends.objects import DISKS, Metadata
from backends.store import ways
from backends.store.database import Connection, query


@dataclass(frozen=True, slots=True)
class Released:
    path: str
    """From the object on that was named."""
    items: Metadata
    """What kept it."""


def find(connection: Connection, project_id: UUID, names: Sequence[str], start: UUID | None = None) -> UUID:
    """The object or the disk at these names, below the root or what `start` is."""
    if start is None and len(names) == 2 and names[0] == DISKS:
        parameters = {"project": project_id, "name": names[1]}
        row = connection.execute(query("disks.by_name"), parameters).fetchone()
        if row is not None:
            return UUID(str(row[0]))
    way = ways.descend(connection, project_id, start or project_id, names, valued=False)
    if len(way) == len(names) + 1:
        return way[-1].id
    if start is not None and not names:
        return start  # perhaps of a disk
    raise NotFound(f"there is no {'/'.join(names)[:300]!r} in the project's tree")


def release(connection: Connection, project_id: UUID, identity: UUID, *, below: bool) -> Sequence[Released]:
    """In the caller's transaction. Those that weren't kept are left out."""
    names = list(retention.RIGHTS)
    parameters = {"id": identity, "project": project_id, "below": below, "names": names}
    released = []
    for kind in ("objects", "disks"):
        rows = connection.execute(query(f"{kind}.kept"), parameters).fetchall()
        connection.execute(query(f"{kind}.release"), {"ids": [row[0] for row in rows], "names": names})
        released += [Released(row[1], {name: row[2][name] for name in names if name in row[2]}) for row in rows]
    return released
