"""What the readers and writers of this package share: the errors, the versions, and the times."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Final


class CdmiError(ValueError):
    """Something can't be read; one sentence says what, and what was expected."""


class Version(Enum):
    """The two dialects: they differ in how fields are selected, in the verb of updates, and in encodings."""

    V1 = "1"
    V2 = "2"


CAPABILITY: Final = "application/cdmi-capability"
DOMAIN: Final = "application/cdmi-domain"
CONTAINER: Final = "application/cdmi-container"
DATAOBJECT: Final = "application/cdmi-object"
QUEUE: Final = "application/cdmi-queue"


def format_time(time: datetime) -> str:
    """CDMI 1.1.1 §5.14: six decimals and Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
