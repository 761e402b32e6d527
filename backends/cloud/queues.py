"""The door to queues: values that come and go in order, numbered from 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from backends.acl import AceMask
from backends.cloud.door import once_more
from backends.cloud.feeds import CHANNEL, VALUES_MAX
from backends.cloud.trees import TreeDoor
from backends.errors import Invalid, NotApplicable
from backends.feeds import PROCESSING
from backends.objects import NO_CHANGES, Encoding, Found
from backends.store.database import Connection, query

VALUE_MAX_BYTES = 1 << 20
LAST_POSITION = 2**63 - 1
READ_MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class QueueValue:
    position: int
    mimetype: str
    encoding: Encoding
    value: bytes


class QueueDoor(TreeDoor):
    @once_more
    def enqueue(self, queue: Found, values: Sequence[tuple[str, Encoding, bytes]]) -> None:
        """All of them, one after the other, or none. `NotApplicable` when the queue is full."""
        with self._change() as connection:
            queue = self._hold(connection, queue)
            self.require(queue, AceMask.APPEND_DATA)
            self._refuse_kept(queue, datetime.now(UTC))
            queue = self._changeable(connection, queue, NO_CHANGES, valued=False)
            self._put_in(connection, queue, values)

    def fill(self, queue: Found, values: Sequence[tuple[str, Encoding, bytes]]) -> None:
        """A queue that has just been made, perhaps on hold."""
        with self._change() as connection:
            self._put_in(connection, queue, values)

    def _put_in(self, connection: Connection, queue: Found, values: Sequence[tuple[str, Encoding, bytes]]) -> None:
        row = connection.execute(query("objects.queue_size"), {"id": queue.object.id}).fetchone()
        if row is not None and row[1] + len(values) > VALUES_MAX:
            raise NotApplicable(f"the queue has {row[1]} values: at most {VALUES_MAX} fit in it")
        for mimetype, encoding, value in values:
            if len(value) > VALUE_MAX_BYTES:
                raise Invalid(f"a value has {len(value)} bytes: a queue takes at most {VALUE_MAX_BYTES}")
            parameters = {"id": queue.object.id, "mimetype": mimetype, "encoding": encoding.value, "value": value}
            connection.execute(query("objects.enqueue"), parameters)
        self._changed(connection, queue, NO_CHANGES)

    def queue_values(
        self, queue: Found, first: int, last: int = LAST_POSITION, limit: int | None = None
    ) -> list[QueueValue]:
        """The oldest first. `Invalid` when they are more than fit into one answer."""
        self.require(queue, AceMask.READ_OBJECT)
        parameters = {
            "id": queue.object.id,
            "first": first,
            "last": min(last, LAST_POSITION),
            "limit": limit,
            "bytes": READ_MAX_BYTES,
        }
        with self._read() as connection:
            rows = connection.execute(query("objects.queue_values"), parameters).fetchall()
        if any(row[3] is None for row in rows):
            raise Invalid(f"the values have more than {READ_MAX_BYTES} bytes: ask for fewer at a time")
        return [QueueValue(row[0], row[1], Encoding(row[2]), row[3]) for row in rows]

    @once_more
    def dequeue(self, queue: Found, first: int, last: int) -> int:
        """Deletes the values of these positions; returns how many there were."""
        self.require(queue, AceMask.WRITE_OBJECT)
        with self._change() as connection:
            queue = self._changeable(connection, self._hold(connection, queue), NO_CHANGES, valued=True)
            parameters = {"id": queue.object.id, "first": first, "last": min(last, LAST_POSITION)}
            count = connection.execute(query("objects.dequeue"), parameters).rowcount
            self._changed(connection, queue, NO_CHANGES)
            if queue.object.feed_status == PROCESSING:
                connection.execute(f"NOTIFY {CHANNEL}")  # a query may wait for the room
            return count
