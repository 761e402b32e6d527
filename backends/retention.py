"""Retention and holds: what they forbid, as rules on metadata. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from backends.acl import AceMask
from backends.errors import Invalid, NotAllowed
from backends.objects import Metadata

PERIOD = "cdmi_retention_period"
RETENTION_ID = "cdmi_retention_id"
HOLDS = "cdmi_hold_id"
RIGHTS: Final[Mapping[str, AceMask]] = {
    PERIOD: AceMask.WRITE_RETENTION,
    RETENTION_ID: AceMask.WRITE_RETENTION,
    HOLDS: AceMask.WRITE_RETENTION_HOLD,
}
"""What it takes to set each."""
TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?Z")


def period(metadata: Metadata) -> tuple[datetime, datetime] | None:
    """Start and end of the retention; `Invalid` when it is no interval of two times."""
    value = metadata.get(PERIOD)
    if value is None:
        return None
    start, slash, end = value.partition("/") if isinstance(value, str) else ("", "", "")
    times = (_time(start), _time(end))
    if not slash or times[0] is None or times[1] is None or times[0] > times[1]:
        raise Invalid(f"{PERIOD} is {str(value)[:80]!r}: expected START/END, each such as 2026-01-31T23:59:59.000000Z")
    return times[0], times[1]


def longest(metadata: Sequence[Metadata]) -> str | None:
    """The period that lasts longest, as it was given."""
    given = [(found[1], str(one[PERIOD])) for one in metadata if (found := period(one)) is not None]
    return max(given)[1] if given else None


def holds(metadata: Metadata) -> list[str]:
    value = metadata.get(HOLDS, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Invalid(f"{HOLDS} must be an array of strings")
    return value


def check_metadata(metadata: Metadata) -> None:
    period(metadata)
    holds(metadata)


def reason_to_keep(metadata: Metadata, now: datetime) -> str | None:
    """Why neither value nor object may be changed or deleted."""
    held = holds(metadata)
    if held:
        return f"it is on hold ({', '.join(held)[:200]})"
    kept = period(metadata)
    if kept is not None and kept[0] <= now < kept[1]:
        return f"it is retained until {kept[1].isoformat()}"
    return None


def check_change(old: Metadata, new: Metadata, now: datetime) -> None:
    """Holds are only added, and a retention that has begun only lengthened (`NotAllowed`)."""
    check_metadata(new)
    released = set(holds(old)) - set(holds(new))
    if released:
        raise NotAllowed(f"the hold {min(released)!r} can't be released through CDMI")
    before, after = period(old), period(new)
    if before is None or now >= before[1]:
        return
    if after is None or after[1] < before[1] or after[0] > max(before[0], now):
        raise NotAllowed(f"{PERIOD} is {old[PERIOD]}: it can only become longer")
    if old.get(RETENTION_ID) != new.get(RETENTION_ID):
        raise NotAllowed(f"{RETENTION_ID} can't change while the retention lasts")


def _time(text: str) -> datetime | None:
    match = TIME.fullmatch(text)
    if match is None:
        return None
    try:
        seconds = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    except ValueError:
        return None
    return seconds.replace(microsecond=int((match[2] or ".0")[1:].ljust(6, "0")))
