"""The door's notifications (CDMI 1.1.1 §21): what happens to stored objects, told to queues in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from backends import acl as acls
from backends import feeds
from backends.acl import AceMask
from backends.cloud.door import Door
from backends.errors import NotApplicable
from backends.feeds import Event, Feed, FeedKind, Presentation
from backends.model import Caller, Role
from backends.objects import Found, StoredObject
from backends.store.database import Connection, query

FEEDS_MAX = 32
"""Of a project: each of them is looked at with each change."""
VALUES_MAX = 100_000
"""Then a notification queue halts, and a query waits until values are taken out."""
CHANNEL = "altostratus_queries"
"""On which is said that there is something to do for a query."""
PIECE = 500
"""Values that go into a queue by one statement."""


class FeedDoor(Door):
    _presentation: Presentation | None = None

    def present_with(self, presentation: Presentation) -> None:
        """How queues are told of objects; without it there is nobody who could make such a queue."""
        self._presentation = presentation

    def _start_feed(self, connection: Connection, queue: StoredObject) -> None:
        """A queue that has just got a type starts to be filled."""
        kind = feeds.feed_kind(queue.metadata)
        if kind is None or self._presentation is None:
            return
        # Two who count at once could both be the last: the project's row lets one in after the other.
        connection.execute("SELECT FROM project WHERE id = %s FOR NO KEY UPDATE", [self._caller.project_id])
        row = connection.execute(query("feeds.count"), {"project": self._caller.project_id}).fetchone()
        if row is not None and row[0] >= FEEDS_MAX:
            raise NotApplicable(f"the project has {row[0]} queues that are being filled: at most {FEEDS_MAX} can be")
        connection.execute(
            query("feeds.start"),
            {
                "queue": queue.id,
                "project": self._caller.project_id,
                "account": self._caller.user_id,
                "kind": kind.value,
                "dialect": self._presentation.dialect,
                "status": feeds.CURRENT if kind is FeedKind.NOTIFICATION else feeds.PROCESSING,
            },
        )
        if kind is FeedKind.QUERY:
            connection.execute(f"NOTIFY {CHANNEL}")

    def _change_feed(self, connection: Connection, before: StoredObject, after: StoredObject) -> None:
        """A queue whose type has changed stops being filled, or starts anew."""
        if before.metadata.get(feeds.TYPE) != after.metadata.get(feeds.TYPE):
            connection.execute(query("feeds.stop"), {"queue": after.id})
            self._start_feed(connection, after)

    def _listeners(self, connection: Connection, *events: Event) -> list[Feed]:
        """Those who want to know of one of the events. One indexed look."""
        if self._presentation is None:
            return []
        rows = connection.execute(query("feeds.listeners"), {"project": self._caller.project_id}).fetchall()
        listeners = [feed_from_row(row) for row in rows]
        return [feed for feed in listeners if not feed.events or not feed.events.isdisjoint(events)]

    def _tell(self, connection: Connection, event: Event, listeners: Sequence[Feed], objects: Iterable[Found]) -> None:
        """To the queues, in the order of their IDs, as everybody: else two could wait for each other."""
        if not listeners or self._presentation is None:
            return
        outcome = self._presentation.outcome(event)
        about = {
            "cdmi_event": event.value,
            "cdmi_event_result": outcome["cdmi_event_result"],
            "cdmi_event_time": outcome["cdmi_event_time"],
            "cdmi_event_user": self._caller.user_name,
        }
        told: dict[UUID, list[bytes]] = {feed.queue_id: [] for feed in listeners}
        halted: set[UUID] = set()
        # What a queue is told must not be what makes the change itself exceed the quota.
        left_bytes = min((feed.room_bytes for feed in listeners if feed.room_bytes is not None), default=None)
        for found in objects:
            value = self._told_value(connection, found) if any(feed.wants_value for feed in listeners) else None
            for feed in listeners:
                queue_id = feed.queue_id
                if not feed.hears_of(event, found.object.id) or queue_id in halted:
                    continue
                seen = as_seen_by(feed.caller, found)
                text = None if seen is None else feeds.result(feed, self._presentation, seen, about, value)
                if text is None:
                    continue
                is_full = feed.value_count + len(told[queue_id]) >= VALUES_MAX
                if is_full or (left_bytes is not None and len(text) > left_bytes):
                    halted.add(queue_id)
                    continue
                told[queue_id].append(text)
                left_bytes = None if left_bytes is None else left_bytes - len(text)
        for queue_id, texts in sorted(told.items()):
            enqueue(connection, queue_id, texts)
        for queue_id in sorted(halted):
            connection.execute(query("feeds.status"), {"queue": queue_id, "status": feeds.HALTED})

    @staticmethod
    def _told_value(connection: Connection, found: Found) -> bytes | None:
        """Values that stand in the row are told; larger ones are left to be read."""
        row = connection.execute("SELECT value FROM stored_object WHERE id = %s", [found.object.id]).fetchone()
        return None if row is None else row[0]


def enqueue(connection: Connection, queue_id: UUID, texts: Sequence[bytes]) -> None:
    for start in range(0, len(texts), PIECE):
        values = {"queue": queue_id, "values": list(texts[start : start + PIECE])}
        connection.execute(query("feeds.enqueue"), values)


def feed_from_row(row: Sequence[Any]) -> Feed:
    caller = Caller(row[3], row[4], row[5], row[6], Role(row[7]))
    return feeds.feed_of(row[0], row[1], row[2], caller, row[8], row[9])


def as_seen_by(caller: Caller, found: Found) -> Found | None:
    """The object with that user's rights; None for who may not read it."""
    rights = rights_of(caller, found.acl, found.object)
    return replace(found, rights=rights) if rights & AceMask.READ_OBJECT else None


def rights_of(caller: Caller, acl: acls.Acl, stored: StoredObject) -> AceMask:
    """What the list allows; its owner and administrators can always mend it, so that nothing is locked for ever."""
    if stored.id == caller.project_id and acls.is_administrator(caller):
        return acls.ALL_PERMS
    return rights_by_list(caller, acl, stored.owner)


def rights_by_list(caller: Caller, acl: acls.Acl, owner: str) -> AceMask:
    """With anything but the root."""
    allowed = acls.allowed(acl, caller, owner)
    keeps = caller.user_name == owner or acls.is_administrator(caller)
    return allowed | acls.REPAIR if keeps else allowed
