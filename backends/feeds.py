"""Queues that the cloud fills (CDMI 1.1.1 §21, §22): what their metadata says, and what that asks for. No I/O."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

import orjson

from backends.errors import Invalid, NotAllowed
from backends.model import Caller
from backends.objects import COMPLETE, Found, Metadata
from backends.scope import Scope, Spellings, check_results, chosen, is_wanted, matches, parse_scope

TYPE = "cdmi_queue_type"
EVENTS = "cdmi_notification_events"
SCOPE = "cdmi_scope_specification"
RESULTS = "cdmi_results_specification"
NOTIFICATION_QUEUE = "cdmi_notification_queue"
QUERY_QUEUE = "cdmi_query_queue"
RESULT_MAX_BYTES = 128 << 10
CURRENT, PROCESSING, HALTED = "Current", "Processing", "Halted"


class FeedKind(StrEnum):
    NOTIFICATION = "notification"
    QUERY = "query"


KINDS = {NOTIFICATION_QUEUE: FeedKind.NOTIFICATION, QUERY_QUEUE: FeedKind.QUERY}
FIXED: Mapping[FeedKind, tuple[str, ...]] = {
    FeedKind.NOTIFICATION: (EVENTS, SCOPE, RESULTS),
    FeedKind.QUERY: (SCOPE, RESULTS),
}
"""What can't be changed as long as the queue is of its type."""


class Event(StrEnum):
    """1.1.1 §21, table of required metadata; `cdmi_export` is of disks, which are no stored objects."""

    CREATE_PROCESSING = "cdmi_create_processing"
    CREATE_COMPLETE = "cdmi_create_complete"
    READ = "cdmi_read"
    MODIFY_PROCESSING = "cdmi_modify_processing"
    MODIFY_COMPLETE = "cdmi_modify_complete"
    RENAME = "cdmi_rename"
    COPY = "cdmi_copy"
    REFERENCE = "cdmi_reference"
    DELETE = "cdmi_delete"
    SNAPSHOT = "cdmi_snapshot"


class Presentation(Protocol):
    """How a front-end shows objects; `dialect` is that of the requests it answers, `caller` whom it is shown."""

    @property
    def dialect(self) -> str: ...

    def fields(self, found: Found, dialect: str, caller: Caller) -> dict[str, Any]:
        """All but values and children, as far as `found.rights` let them be read."""

    def spellings(self, found: Found, caller: Caller) -> Mapping[str, Spellings]:
        """Of the fields that are URIs: by path and by ID, in every dialect."""

    def outcome(self, event: Event) -> Mapping[str, str]:
        """The time of the event and its status, as fields."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A queue that is filled on behalf of `caller`, who must be able to read what it tells of."""

    queue_id: UUID
    dialect: str
    caller: Caller
    scope: Scope
    results: object
    events: frozenset[str]
    """None of them: all."""
    value_count: int
    room_bytes: int | None
    """By the project's quota; None where it has none."""

    @property
    def wants_value(self) -> bool:
        return is_wanted(self.results, "value")

    def hears_of(self, event: Event, object_id: UUID) -> bool:
        """A queue isn't told of itself: each look at it would be the next news."""
        return (not self.events or event in self.events) and object_id != self.queue_id


def feed_kind(metadata: Metadata) -> FeedKind | None:
    value = metadata.get(TYPE)
    return KINDS.get(value) if isinstance(value, str) else None


def check_metadata(metadata: Metadata) -> None:
    """`Invalid` where a queue of its type lacks something or can't be understood."""
    kind = feed_kind(metadata)
    if kind is None:
        return
    missing = [name for name in FIXED[kind] if name not in metadata]
    if missing:
        raise Invalid(f"the metadata lacks {', '.join(missing)}, which {metadata[TYPE]} needs")
    parse_scope(metadata[SCOPE])
    check_results(metadata[RESULTS])
    if kind is FeedKind.NOTIFICATION:
        _events(metadata[EVENTS])


def _events(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or len(value) > 64:
        raise Invalid(f"{EVENTS} must be an array of names such as {Event.CREATE_COMPLETE.value}: expected [] for all")
    return frozenset(value)


def check_change(old: Metadata, new: Metadata) -> None:
    """`NotAllowed` where the type stays and what it needs doesn't."""
    kind = feed_kind(old)
    if kind is None or feed_kind(new) is not kind:
        return
    changed = [name for name in FIXED[kind] if old.get(name) != new.get(name)]
    if changed:
        raise NotAllowed(f"{changed[0]} can't change while {TYPE} is {old[TYPE]}: remove that first, or make a queue")


def feed_of(
    queue_id: UUID, dialect: str, metadata: Metadata, caller: Caller, value_count: int, room_bytes: int | None
) -> Feed:
    events = _events(metadata[EVENTS]) if feed_kind(metadata) is FeedKind.NOTIFICATION else frozenset()
    scope = parse_scope(metadata[SCOPE])
    return Feed(queue_id, dialect, caller, scope, metadata[RESULTS], events, value_count, room_bytes)


def result(
    feed: Feed, presentation: Presentation, found: Found, about: Mapping[str, str], value: bytes | None
) -> bytes | None:
    """What the queue is told of the object (whose `rights` are those of the queue's user), or None if nothing.

    `about` are fields of the event; `value` is None where it isn't told. What gets too long is told without its value,
    then without its metadata.
    """
    fields = presentation.fields(found, feed.dialect, feed.caller)
    if not matches(feed.scope, {**fields, **presentation.spellings(found, feed.caller)}):
        return None
    told = chosen(feed.results, {**fields, **about})
    if value is not None and feed.wants_value and found.object.completion == COMPLETE:
        told["value"] = base64.b64encode(value).decode()
    text = orjson.dumps(told)
    for name in ("value", "metadata"):
        if len(text) > RESULT_MAX_BYTES:
            told.pop(name, None)
            text = orjson.dumps(told)
    return text if len(text) <= RESULT_MAX_BYTES else orjson.dumps({"objectID": fields["objectID"]})
