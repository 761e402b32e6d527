"""Ranges: CDMI's `0-99` in queries, HTTP's Range and Content-Range (RFC 9110 §14). Ends are included in all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from renderers.cdmi.representation import CdmiError

NUMBER: Final = r"\d{1,18}"
CDMI_RANGE: Final = re.compile(f"({NUMBER})-({NUMBER})", re.ASCII)
HTTP_RANGE: Final = re.compile(r"bytes=(\d{1,100})?-(\d{1,100})?", re.ASCII)
CONTENT_RANGE: Final = re.compile(rf"bytes[ =]({NUMBER})-({NUMBER})/({NUMBER}|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """From `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def count(self) -> int:
        return self.last - self.first + 1

    def within(self, size: int) -> ByteRange | None:
        """What there is of it in something of this size; None if nothing."""
        return None if self.first >= size else ByteRange(self.first, min(self.last, size - 1))


def parse_range(text: str) -> ByteRange:
    match = CDMI_RANGE.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        raise CdmiError(f"the range is {text[:60]!r}: expected FIRST-LAST, such as 0-99")
    return ByteRange(int(match[1]), int(match[2]))


def whole(size: int) -> str:
    """The range of all of something; empty when there is nothing."""
    return f"0-{size - 1}" if size else ""


def parse_http_range(text: str, size: int) -> ByteRange | None:
    """Of a value of `size` bytes. None: serve the whole (several ranges, another unit, or no range at all).

    `CdmiError` when the range lies outside, which HTTP answers with 416.
    """
    match = HTTP_RANGE.fullmatch(text.strip().replace(" ", ""))
    if match is None or (match[1] is None and match[2] is None):
        return None
    if match[1] is None:
        count = min(int(match[2]), size)
        found = ByteRange(size - count, size - 1) if count else None
    else:
        last = int(match[2]) if match[2] is not None else size - 1
        if match[2] is not None and last < int(match[1]):
            return None
        found = ByteRange(int(match[1]), last).within(size)
    if found is None:
        raise CdmiError(f"Range is {text[:60]!r}, but the value has {size} bytes")
    return found


def parse_content_range(text: str) -> ByteRange:
    match = CONTENT_RANGE.fullmatch(text.strip())
    if match is None or int(match[1]) > int(match[2]) or (match[3] != "*" and int(match[2]) >= int(match[3])):
        raise CdmiError(f"Content-Range is {text[:60]!r}: expected bytes FIRST-LAST/SIZE, such as bytes 0-99/1000")
    return ByteRange(int(match[1]), int(match[2]))
