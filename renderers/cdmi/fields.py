"""Which fields a request is about: `?a;b;value:0-99` in 1.x, `?a&b&value=0-99` in 2.0."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from renderers.cdmi.ranges import ByteRange, parse_range
from renderers.cdmi.representation import CdmiError, Version

FIELDS_MAX: Final = 256
NAME: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
SEPARATORS: Final = {Version.V1: (";", ":"), Version.V2: ("&", "=")}
RANGED: Final = frozenset({"value", "children"})


@dataclass(frozen=True, slots=True)
class Field:
    """A field by name, or a part of it: a range of `value` or `children`, items of `metadata`."""

    name: str
    part: str | None = None

    @property
    def range(self) -> ByteRange | None:
        return parse_range(self.part) if self.part is not None and self.name in RANGED else None


@dataclass(frozen=True, slots=True)
class Selection:
    """The fields that were named, in order; none named means all."""

    fields: tuple[Field, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.fields)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __contains__(self, name: str) -> bool:
        """Whether the field is asked for, all or part of it."""
        return not self.fields or any(field.name == name for field in self.fields)

    def range_of(self, name: str) -> ByteRange | None:
        return next((field.range for field in self.fields if field.name == name and field.part is not None), None)

    def parts_of(self, name: str) -> tuple[str, ...] | None:
        """The parts named of a field; None for all of it."""
        parts = tuple(field.part for field in self.fields if field.name == name)
        if not parts or None in parts:
            return None
        return tuple(part for part in parts if part is not None)


EVERYTHING: Final = Selection()


def parse_fields(query: str, version: Version) -> Selection:
    """From the query as it was sent, still with its escapes."""
    if not query:
        return EVERYTHING
    separator, colon = SEPARATORS[version]
    items = [item for item in query.split(separator) if item]
    if len(items) > FIELDS_MAX:
        raise CdmiError(f"the query names {len(items)} fields: expected at most {FIELDS_MAX}")
    fields = []
    for item in items:
        name, found, part = item.partition(colon)
        field = Field(_plain(name), _plain(part) if found else None)
        if not NAME.fullmatch(field.name) or field.part == "":
            example = f"metadata{separator}value{colon}0-99"
            raise CdmiError(f"the query has {item[:80]!r}: expected names of fields, such as ?{example}")
        if field.name in RANGED and field.part is not None:
            parse_range(field.part)
        fields.append(field)
    return Selection(tuple(fields))


def _plain(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise CdmiError(f"the query has {text[:80]!r}: expected UTF-8") from None
