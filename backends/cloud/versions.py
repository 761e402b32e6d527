"""The door's versions of data objects (CDMI 1.1.1 §23): made, forgotten and deleted with the change that asks for it.

A version is a stored object of its own below its data object. Whoever changes any of them has locked the data object,
so they follow each other in one line. When a container begins to ask for versions all that is below it gets its first;
what slips in at that moment gets it before its next change.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID, uuid4

import psycopg
import structlog

from backends import retention
from backends.cloud.ways import WayDoor
from backends.errors import DatabaseUnavailable, NotAllowed, NotFound
from backends.feeds import Event, Presentation
from backends.model import Caller, Role
from backends.objects import (
    COMPLETE,
    OF_VERSIONING,
    VERSIONING,
    VERSIONS_AGE,
    VERSIONS_COUNT,
    VERSIONS_SIZE,
    Address,
    Found,
    ObjectChanges,
    ObjectKind,
)
from backends.store.database import Connection, Database, query
from backends.values import Values

NOT_OF_VERSIONS = (*OF_VERSIONING, "cdmi_acl", retention.PERIOD, retention.RETENTION_ID, retention.HOLDS)
"""What a version has from its data object, as that is now, if at all."""
EXPIRY_S = 10
"""Between looks for versions that are too old."""
KEPT_S = 3600
"""Until a version is looked at again that is too old and under retention or on hold."""

log = structlog.get_logger()


class VersionDoor(WayDoor):
    def version_ids(self, found: Found) -> Sequence[UUID]:
        """Of a data object, the current one first."""
        with self._read() as connection:
            rows = connection.execute(query("versions.all"), {"id": found.object.id}).fetchall()
        return [row[0] for row in rows]

    def _keep_first(self, connection: Connection, found: Found) -> Found:
        """Before a change: what is there becomes a version, where versions are asked for and there is none."""
        stored = found.object
        is_new_to_it = stored.kind is ObjectKind.DATAOBJECT and stored.current_version is None
        if not (is_new_to_it and stored.completion == COMPLETE and found.asked(VERSIONING)):
            return found
        self._settle(connection, found, found)
        return self._find(found.address)

    def _keep_versions(self, connection: Connection, before: Found, changes: ObjectChanges, *, valued: bool) -> None:
        """After a change; `valued`: what the object holds has been replaced."""
        stored, metadata = before.object, changes.metadata
        if stored.kind is ObjectKind.CONTAINER:
            is_ruled_anew = metadata is not None and any(
                metadata.get(name) != stored.metadata.get(name) for name in OF_VERSIONING
            )
            if valued or is_ruled_anew:
                self._settle(connection, before, self._find(before.address))
        elif stored.kind is ObjectKind.DATAOBJECT:
            if valued and stored.current_version is not None:
                connection.execute(query("versions.part"), {"id": stored.id})
            if stored.current_version is not None or before.asked(VERSIONING) or (metadata or {}).get(VERSIONING):
                self._settle(connection, before, self._find(before.address), is_update=True)

    def _settle(self, connection: Connection, before: Found | None, after: Found, *, is_update: bool = False) -> None:
        """The object, and all below it, gets the versions that it should have and loses those that it shouldn't.

        `before` is the object as it was, None if it is new. By the statements' own look at what is asked, so that a
        tree of any size takes few of them.
        """
        rules = {
            "id": after.object.id,
            "was": before.asked(VERSIONING) if before is not None else None,
            "level": after.asked(VERSIONING),
            "count": _text(after.asked(VERSIONS_COUNT)),
            "age": _text(after.asked(VERSIONS_AGE)),
            "size": _text(after.asked(VERSIONS_SIZE)),
            "updated": after.object.id if is_update else None,
            "not_of_versions": list(NOT_OF_VERSIONS),
        }
        is_tree = after.object.kind is ObjectKind.CONTAINER
        if is_tree:
            connection.execute(query("objects.lock_tree"), rules)
        made = connection.execute(_ruled("versions.make"), rules).fetchall()
        if is_tree or (before is not None and _expiry(before) != _expiry(after)):
            connection.execute(_ruled("versions.expire"), rules)
        if is_tree or any(rules[name] for name in ("count", "age", "size")):
            surplus = connection.execute(_ruled("versions.surplus"), rules).fetchall()
            for object_id, rows in groupby(surplus, key=itemgetter(0)):
                self._forget(connection, self._find(Address(start=object_id)), [row[1] for row in rows])
        if made and after.is_watched and (listeners := self._listeners(connection, Event.CREATE_COMPLETE)):
            versions = (self._find(Address(start=row[0])) for row in made)
            self._tell(connection, Event.CREATE_COMPLETE, listeners, versions)

    def _forget(self, connection: Connection, holder: Found, version_ids: Sequence[UUID]) -> bool:
        """Deletes old versions, unless their data object must be kept as it is."""
        now = datetime.now(UTC)
        if any(retention.reason_to_keep(metadata, now) for metadata in holder.chain):
            return False
        if holder.is_watched and (listeners := self._listeners(connection, Event.DELETE)):
            versions = (self._find(Address(start=version_id)) for version_id in version_ids)
            self._tell(connection, Event.DELETE, listeners, versions)
        rows = connection.execute(query("versions.delete"), {"ids": list(version_ids)}).fetchall()
        for row in rows:
            self._drop(row[0])
        return True

    def expire_version(self, version_id: UUID) -> None:
        """A version that has become too old; it is looked at again later if it must be kept."""
        with self._change() as connection:
            holder_id = self._find(Address(start=version_id)).object.parent_id
            connection.execute(query("objects.lock"), {"id": holder_id})
            found = self._find(Address(start=version_id))
            versions = found.object.versions
            if versions is None or versions.current == version_id:
                return
            if not self._forget(connection, self._find(Address(start=holder_id)), [version_id]):
                connection.execute(query("versions.put_off"), {"id": version_id, "seconds": KEPT_S})


def limits_more(before: Found, after: Found) -> bool:
    """Whether old versions may go that would have stayed, here or below."""
    limits = (VERSIONS_COUNT, VERSIONS_AGE, VERSIONS_SIZE)
    is_asked_anew = bool(after.asked(VERSIONING)) and not before.asked(VERSIONING)
    return any(_limit(after, name) < (math.inf if is_asked_anew else _limit(before, name)) for name in limits)


def refuse_version(found: Found | None) -> None:
    """1.1.1 §23.7: 403 for whatever would change one."""
    if found is not None and found.object.version is not None:
        raise NotAllowed("this is a version of a data object, which doesn't change: expected its data object's URI")


def expire_versions(database: Database, values: Values, presentation: Presentation) -> int:
    """Deletes the versions that are too old; returns how many were looked at. Several may do it at once."""
    count = 0
    while True:
        with database.connection() as connection:
            row = connection.execute(query("versions.next_expired")).fetchone()
        if row is None:
            return count
        count += 1
        # Nobody asked for it: the event names no user.
        door = VersionDoor(database, Caller(uuid4(), "", row[2], row[3], Role.PROJECT_ADMIN), {}, "", values)
        door.present_with(presentation)
        try:
            door.expire_version(row[0])
        except NotFound:
            continue  # somebody else was faster


def run_expiry(database: Database, values: Values, presentation: Presentation) -> None:
    """For ever; takes a connection now and then."""
    while True:
        try:
            expire_versions(database, values, presentation)
        except (DatabaseUnavailable, psycopg.Error, OSError) as error:
            log.warning("versions that are too old were left", reason=str(error))
        time.sleep(EXPIRY_S)


def _expiry(found: Found) -> tuple[Any, Any]:
    return found.asked(VERSIONING), found.asked(VERSIONS_AGE)


def _limit(found: Found, name: str) -> float:
    value = found.asked(name)
    return math.inf if value in (None, "") else int(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


@cache
def _ruled(name: str) -> str:
    return query(name).format(below=query("versions.below"))
