"""Retention and holds: what may be changed while they last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backends.errors import NotAllowed
from backends.retention import check_change

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def retained(from_days: float, to_days: float) -> dict[str, object]:
    """Metadata of what is retained between these days, counted from now."""
    ends = (NOW + timedelta(days=from_days), NOW + timedelta(days=to_days))
    return {"cdmi_retention_period": "/".join(end.strftime("%Y-%m-%dT%H:%M:%S.%fZ") for end in ends)}


@pytest.mark.parametrize(("from_days", "to_days"), [(-2, 3), (-1, 3), (0, 3), (-2, 2)])
def test_a_period_may_end_later_and_begin_later_if_it_has_begun(from_days: float, to_days: float) -> None:
    check_change(retained(-2, 2), retained(from_days, to_days), NOW)


@pytest.mark.parametrize(("from_days", "to_days"), [(-2, 1), (1, 3)])
def test_a_period_neither_ends_earlier_nor_stops_protecting_now(from_days: float, to_days: float) -> None:
    with pytest.raises(NotAllowed, match="longer"):
        check_change(retained(-2, 2), retained(from_days, to_days), NOW)
