"""The door to values: reading them, and writing parts of them so that readers see the old or the new."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO
from uuid import UUID

from psycopg.types.multirange import Multirange

from backends import quotas
from backends.cloud.door import once_more
from backends.cloud.objects import ObjectDoor, multirange, own_changes
from backends.errors import Conflict, Invalid
from backends.objects import (
    COMPLETE,
    PROCESSING,
    VALUE_HASH,
    VERSIONING,
    Address,
    Change,
    Found,
    NewObject,
    ObjectKind,
)
from backends.quotas import Use
from backends.store.database import Connection, Database, query
from backends.values import HASHED_LATER_MAX_BYTES, INLINE_MAX_BYTES, Received, Values, copy_into, sha256_of, write_at

OBJECT_MAX_BYTES = 2**43
GAPS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes for a place in a value."""

    offset: int
    data: Received


class ValueDoor(ObjectDoor):
    """A value that is Complete never changes in its file: whatever writes makes another."""

    def receive_value(self, near: Found | None = None) -> Received:
        """Something to write a value into; to be closed in any case.

        `near` is the object that gets it, or the container of a new one.
        """
        is_kept = near is None or near.asked(VERSIONING)
        freed_bytes = 0 if near is None or is_kept else near.object.size_bytes
        return self._values.receive(
            hashed=near is not None and bool(near.asked(VALUE_HASH)), check=self._quota_check(freed_bytes)
        )

    def _quota_check(self, freed_bytes: int) -> Callable[[int], None]:
        """Refuses what can't be kept before it has all been received. What decides is the commit."""
        found: list[Use] = []

        def check(size_bytes: int) -> None:
            if not found:
                with self._read() as connection:
                    found.append(quotas.use_of(connection, self._caller.project_id, "object_bytes"))
            found[0].check(self._caller.project_name, size_bytes - freed_bytes)

        return check

    def hashed(self, found: Found) -> Found:
        """With the value's hash, computed now if it is asked for and isn't there: after a change of a part, say."""
        stored = found.object
        is_wanted = stored.kind is ObjectKind.DATAOBJECT and stored.completion == COMPLETE and found.asked(VALUE_HASH)
        if not is_wanted or stored.sha256 is not None or stored.size_bytes > HASHED_LATER_MAX_BYTES:
            return found
        now, value = self.open_value(found)
        if now.object.modifications != stored.modifications:
            return now
        if isinstance(value, bytes):
            digest = hashlib.sha256(value).digest()
        else:
            with value:
                digest = sha256_of(value)
        parameters = {"id": now.object.id, "modifications": now.object.modifications, "sha256": digest}
        with self._read() as connection:
            connection.execute(query("objects.set_sha256"), parameters)
        return replace(now, object=replace(now.object, sha256=digest))

    def open_value(self, found: Found) -> tuple[Found, bytes | BinaryIO]:
        """The value and the object as it is with that value; nothing while it is not Complete."""
        while True:
            stored = found.object
            if stored.completion != COMPLETE:
                return found, b""
            if stored.value is not None:
                return found, stored.value
            if stored.value_file is not None:
                # A writer may have put another in its place since the row was read; then the row says which.
                with contextlib.suppress(FileNotFoundError):
                    return found, self._values.open(stored.value_file)
            found = self.find_object(found.address, valued=True)
            if found.object.value is None and found.object.value_file == stored.value_file:
                raise Conflict("the value's file is missing in the gateway's folder of values")

    @once_more
    def write_value_ranges(self, found: Found, pieces: Sequence[Piece], change: Change) -> None:
        """Puts the pieces into the value, which grows as needed; what nobody wrote reads as zeros."""
        _check_size(pieces)
        # `new` is closed after the commit: until then its lock keeps the sweep away.
        with self._values.receive() as new, self._change() as connection:
            found = self._hold(connection, found)
            self._require_writing(found, valued=True)
            changes = own_changes(change(found), found.acl)
            found = self._changeable(connection, found, changes, valued=True)
            old = found.object
            in_place = old.completion == PROCESSING and self._is_only(connection, old.value_file)
            size_bytes = max([old.size_bytes, *(piece.offset + piece.data.size_bytes for piece in pieces)])
            written = self._written(connection, found, pieces, size_bytes)
            self._write_changes(connection, found, changes)
            if in_place and old.value_file is not None:
                self._write_in_place(old.value_file, old.size_bytes, pieces)
                connection.execute(
                    query("objects.set_value"),
                    {
                        "id": old.id, "value": None, "value_file": old.value_file, "size_bytes": size_bytes,
                        "written": written, "sha256": None,
                    },
                )  # fmt: skip
                self._changed(connection, found, changes, valued=True)
                return
            self._compose(found, pieces, new, size_bytes)
            with self._kept(new, written) as parts:
                connection.execute(query("objects.set_value"), {"id": old.id, **parts})
                self._drop(old.value_file)
                self._changed(connection, found, changes, valued=True)

    def create_with_ranges(self, address: Address | None, new: NewObject, pieces: Sequence[Piece]) -> Found:
        """A new object of which nothing is written but these."""
        _check_size(pieces)
        size_bytes = max(piece.offset + piece.data.size_bytes for piece in pieces)
        with self._values.receive() as whole:
            if size_bytes <= INLINE_MAX_BYTES:
                whole.write(_put_into(b"", pieces, size_bytes))
            else:
                for piece in pieces:
                    write_at(whole, piece.offset, piece.data)
            return self.create_object(address, new, whole, _joined([], pieces, size_bytes))

    def _compose(self, found: Found, pieces: Sequence[Piece], new: Received, size_bytes: int) -> None:
        """The old value with the pieces in it."""
        stored = found.object
        if size_bytes <= INLINE_MAX_BYTES and stored.value_file is None:
            new.write(_put_into(self._inline_value(found), pieces, size_bytes))
            return
        if stored.value_file is None:
            new.write(self._inline_value(found))
        else:
            with self._values.open(stored.value_file) as old:
                copy_into(old, new, stored.size_bytes)
        for piece in pieces:
            write_at(new, piece.offset, piece.data)

    def _inline_value(self, found: Found) -> bytes:
        return self._find(Address(start=found.object.id), valued=True).object.value or b""

    def _write_in_place(self, file: UUID, size_bytes: int, pieces: Sequence[Piece]) -> None:
        """Nobody is shown the value of an object that is Processing, so no reader sees this half-done."""
        with self._values.reopen(file) as target:
            target.cut(size_bytes)
            for piece in pieces:
                write_at(target, piece.offset, piece.data)
            target.sync()

    def _is_only(self, connection: Connection, file: UUID | None) -> bool:
        row = connection.execute(query("objects.sharers"), {"file": file}).fetchone()
        return file is not None and row is not None and row[0] == 1

    def _written(
        self, connection: Connection, found: Found, pieces: Sequence[Piece], size_bytes: int
    ) -> Multirange[int] | None:
        """Which bytes have been written now; None when there is no gap."""
        row = connection.execute(query("objects.written"), {"id": found.object.id}).fetchone()
        if row is None or row[0] is None:
            return _joined([(0, found.object.size_bytes)], pieces, size_bytes)
        return _joined([(part.lower or 0, part.upper or 0) for part in row[0]], pieces, size_bytes)


def _check_size(pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        if piece.offset + piece.data.size_bytes > OBJECT_MAX_BYTES:
            raise Invalid(f"the value would have more than {OBJECT_MAX_BYTES} bytes")


def _put_into(old: bytes, pieces: Sequence[Piece], size_bytes: int) -> bytes:
    """In memory, of pieces that are."""
    value = bytearray(old).ljust(size_bytes, b"\0")
    for piece in pieces:
        data = piece.data.inline or b""
        value[piece.offset : piece.offset + len(data)] = data
    return bytes(value)


def _joined(before: Sequence[tuple[int, int]], pieces: Sequence[Piece], size_bytes: int) -> Multirange[int] | None:
    """What has been written with the pieces in it; None when there is no gap."""
    ranges = sorted(
        [*before, *((piece.offset, piece.offset + piece.data.size_bytes) for piece in pieces if piece.data.size_bytes)]
    )
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    if len(joined) > GAPS_MAX:
        raise Invalid(f"the value would have more than {GAPS_MAX} gaps: expected ranges that follow each other")
    return None if joined in ([], [(0, size_bytes)]) else multirange(*joined)


def sweep_values(database: Database, values: Values) -> int:
    """Removes what crashes have left; returns how many files."""
    with database.connection() as connection:

        def is_used(value: UUID) -> bool:
            row = connection.execute(query("objects.sharers"), {"file": value}).fetchone()
            return row is None or row[0] > 0

        return values.sweep(is_used)
