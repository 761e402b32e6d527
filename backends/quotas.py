"""What a project may have at most. PostgreSQL counts and refuses (migration 0018); here limits are set and told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import orjson
import psycopg

from backends.errors import Invalid, NoCapacity
from backends.store.database import Connection, query

SQLSTATE: Final = "AS001"
MOST: Final = 2**62


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that is counted. `noun` fits after a number; `tables` are those whose rows count."""

    name: str
    noun: str
    tables: tuple[str, ...]


RESOURCES: Final = (
    Resource("objects", "stored objects", ("stored_object",)),
    Resource("object_bytes", "bytes of stored objects", ("stored_object",)),
    Resource("disks", "disks", ("disk",)),
    Resource("disk_bytes", "bytes of disks", ("machine", "disk")),
    Resource("machines", "machines", ("machine",)),
    Resource("cores", "cores", ("machine",)),
    Resource("memory_mib", "MiB of memory", ("machine",)),
    Resource("networks", "networks", ("network",)),
    Resource("addresses", "addresses on networks that all share", ("interface", "reservation")),
    Resource("public_addresses", "public addresses", ("interface", "reservation")),
    Resource("images", "saved images", ("image",)),
)
BY_NAME: Final = {resource.name: resource for resource in RESOURCES}


class QuotaExceeded(NoCapacity):
    """More than the administrator lets the project have."""

    def __init__(self, project_name: str, resource: str, most: int, used: int, asked: int) -> None:
        noun = BY_NAME[resource].noun
        verb = "is" if asked == 1 else "are"
        super().__init__(
            f"the project {project_name} may have {most} {noun} at most: it has {used},"
            f" and {asked} more {verb} asked for"
            f" (limit {resource})"
        )


@dataclass(frozen=True, slots=True)
class Use:
    """What a project has of a resource. `most` is None where there is no limit."""

    resource: Resource
    used: int
    most: int | None

    def check(self, project_name: str, asked: int) -> None:
        if self.most is not None and asked > 0 and self.used + asked > self.most:
            raise QuotaExceeded(project_name, self.resource.name, self.most, self.used, asked)


@contextmanager
def refusals() -> Iterator[None]:
    """Around a transaction: `QuotaExceeded` for what PostgreSQL refuses at its commit."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate != SQLSTATE:
            raise
        raise QuotaExceeded(*orjson.loads(error.diag.message_detail or "[]")) from None


def use(connection: Connection, project_id: UUID) -> Sequence[Use]:
    """Of every resource."""
    rows = connection.execute(query("quotas.limits"), {"project": project_id}).fetchall()
    limits = {row[0]: (row[1], row[2]) for row in rows}
    found = []
    for resource in RESOURCES:
        most, used = limits.get(resource.name, (None, None))
        found.append(Use(resource, _count(connection, project_id, resource) if used is None else used, most))
    return found


def use_of(connection: Connection, project_id: UUID, name: str) -> Use:
    """Of one resource; where there is no limit it isn't counted."""
    row = connection.execute(query("quotas.limit"), {"project": project_id, "resource": name}).fetchone()
    return Use(BY_NAME[name], 0, None) if row is None else Use(BY_NAME[name], row[1], row[0])


def set_limit(connection: Connection, project_id: UUID, name: str, most: int | None) -> None:
    """None lifts it. What the project has beyond a new limit stays, but doesn't grow."""
    if name not in BY_NAME:
        raise Invalid(f"there is no resource {name!r}: expected one of {', '.join(BY_NAME)}")
    if most is not None and not 0 <= most <= MOST:
        raise Invalid(f"the limit is {most}: expected a number from 0 to {MOST}")
    parameters = {"project": project_id, "resource": name, "most": most}
    with connection.transaction():
        if most is None:
            connection.execute(query("quotas.lift_limit"), parameters)
        elif connection.execute(query("quotas.change_limit"), parameters).rowcount == 0:
            # Who has changed what counts without having counted it has committed when the lock is here.
            resource = BY_NAME[name]
            connection.execute(f"LOCK TABLE {', '.join(resource.tables)} IN SHARE ROW EXCLUSIVE MODE")
            used = _count(connection, project_id, resource)
            connection.execute(query("quotas.set_limit"), {**parameters, "used": used})


def _count(connection: Connection, project_id: UUID, resource: Resource) -> int:
    row = connection.execute(query(f"quotas.{resource.name}"), {"project": project_id}).fetchone()
    return int(row[0]) if row else 0
