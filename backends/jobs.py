"""The job queue: one kind of job, `converge(kind, resource)`, one queue a host, one lock a resource there.

Jobs are deferred in the transaction that changes the row, so neither exists without the other. Repeats are not
folded: a job that finds nothing to do costs little, while folding into one that has just read the old row would
lose the change.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import procrastinate
import psycopg
import structlog
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException

from backends.store.database import Connection

CONVERGE = "converge"
CONVERGE_LATER = "converge_later"


class Kind(StrEnum):
    """What an agent converges. Interfaces and attachments are part of their machine."""

    MACHINE = "machine"
    NETWORK = "network"
    DISK = "disk"
    IMAGE = "image"
    GROUP = "group"


_application = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())


def defer(connection: Connection, host: str, kind: Kind, resource_id: UUID) -> None:
    """Asks `host`'s agent, once the connection's transaction is committed, to make the resource what it should be."""
    with _database_errors():
        lock = f"{host}:{kind}:{resource_id}"  # a job that waits for one host must not hold up another's
        _application.configure_task(CONVERGE, queue=host, lock=lock, connection=connection).defer(
            kind=kind.value, resource_id=str(resource_id), request_id=_request_id()
        )


def defer_later(
    connection: Connection, host: str, kind: Kind, resource_id: UUID, *, delay_s: float, reason: str = ""
) -> None:
    """As `defer`, after a while, unless that is due already: each look at a waiting guest asks for the next one.

    One for another `reason` may be due later.

    It has no lock, which would hold up the jobs deferred in the meantime.
    """
    with _database_errors(), contextlib.suppress(AlreadyEnqueued), connection.transaction():
        _application.configure_task(
            CONVERGE_LATER,
            queue=host,
            queueing_lock=f"{host}:{kind}:{resource_id}{reason and f':{reason}'}",
            connection=connection,
            schedule_at=datetime.now(UTC) + timedelta(seconds=delay_s),
        ).defer(kind=kind.value, resource_id=str(resource_id), request_id=_request_id())


@contextmanager
def _database_errors() -> Iterator[None]:
    """As psycopg raises them, so that a database that went away looks the same here as anywhere."""
    try:
        yield
    except ConnectorException as error:
        if isinstance(error.__cause__, psycopg.Error):
            raise error.__cause__ from None
        raise


def _request_id() -> str:
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))
