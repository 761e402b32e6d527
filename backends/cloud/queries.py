"""Queries (CDMI 1.1.1 §22): a page of objects at a time, each a transaction of its own, whoever runs it.

How far a query has come is in its row, so that after a kill another goes on where the last page ended; and a queue
that is full waits until somebody takes values out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import UUID

import psycopg
import structlog

from backends import feeds
from backends.cloud.feeds import CHANNEL, VALUES_MAX, as_seen_by, enqueue, feed_from_row
from backends.cloud.objects import ObjectDoor
from backends.errors import DatabaseUnavailable
from backends.feeds import Feed, Presentation
from backends.objects import Found, ObjectKind
from backends.store import ways
from backends.store.database import Connection, Database, query

PAGE_OBJECTS = 500
LOOK_S = 30
"""Between looks that nobody asked for: at what those left behind who were killed."""
RETRY_S = 1

log = structlog.get_logger()


def run_queries(database: Database, presentation: Presentation) -> None:
    """For ever; takes two connections. Several may: each page is one's alone."""
    while True:
        try:
            with database.connection() as connection:
                connection.execute(f"LISTEN {CHANNEL}")
                while True:
                    while run_page(database, presentation):
                        pass
                    for _ in connection.notifies(timeout=LOOK_S, stop_after=1):
                        pass
        except DatabaseUnavailable:
            time.sleep(RETRY_S)
        except psycopg.Error as error:
            # At commit, such as that somebody else has taken what the quota had left.
            log.warning("a page of a query was taken back", reason=str(error))
            time.sleep(RETRY_S)


def run_page(database: Database, presentation: Presentation) -> bool:
    """One page of the query that has waited longest; False when none has anything to do."""
    with database.connection() as connection, connection.transaction():
        row = connection.execute(query("feeds.next_query"), {"most": VALUES_MAX}).fetchone()
        if row is None:
            return False
        queue_id, user, after = row[0], row[4], row[10]
        if user is None:
            _progress(connection, queue_id, after, "Error: the user who made the queue isn't in the project any more")
            return True
        try:
            with connection.transaction():
                feed = feed_from_row(row)
                after, status = _look(connection, database, presentation, feed, after)
        except psycopg.OperationalError:
            raise
        except Exception as error:
            log.error("a query can't go on", queue=str(queue_id), exc_info=error)
            _progress(connection, queue_id, after, "Error: the gateway failed to go on; its log says why")
            return True
        _progress(connection, queue_id, after, status)
        return True


def _progress(connection: Connection, queue_id: UUID, after: UUID | None, status: str) -> None:
    connection.execute(query("feeds.progress"), {"queue": queue_id, "after": after, "status": status})


def _look(
    connection: Connection, database: Database, presentation: Presentation, feed: Feed, after: UUID | None
) -> tuple[UUID | None, str]:
    """The last object that was looked at, and how the query stands."""
    texts: list[bytes] = []
    count = 0
    left_bytes = feed.room_bytes
    status = ""
    for found, value in _page(connection, database, feed, after):
        count += 1
        seen = as_seen_by(feed.caller, found) if found.object.kind is not ObjectKind.REFERENCE else None
        text = feeds.result(feed, presentation, seen, {}, value) if seen is not None else None
        if text is not None and feed.value_count + len(texts) == VALUES_MAX:
            status = feeds.PROCESSING
            break
        if text is not None and left_bytes is not None and len(text) > left_bytes:
            status = "Error: the project's quota of object_bytes leaves no room for what else there is"
            break
        if text is not None:
            texts.append(text)
            left_bytes = None if left_bytes is None else left_bytes - len(text)
        after = found.object.id
    enqueue(connection, feed.queue_id, texts)
    return after, status or (feeds.CURRENT if count < PAGE_OBJECTS else feeds.PROCESSING)


def _page(
    connection: Connection, database: Database, feed: Feed, after: UUID | None
) -> Iterator[tuple[Found, bytes | None]]:
    """The next objects of the project by their IDs, with values that stand in their rows."""
    objects, known = ways.page(connection, feed.caller.project_id, after, PAGE_OBJECTS, valued=feed.wants_value)
    door = ObjectDoor(database, feed.caller, {}, "")
    for stored in objects:
        yield door.found(ways.way_to(stored, known)), stored.value
