"""Field selection, ranges and JSON pieces: what is written is read back, and nothing else gets through."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.cdmi.fields import Field, Selection, parse_fields
from renderers.cdmi.json import as_base64, as_text, parse_object, render_with_value
from renderers.cdmi.ranges import ByteRange, parse_content_range, parse_http_range, parse_range
from renderers.cdmi.representation import CdmiError, Version

NAMES = st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True).filter(lambda name: name not in ("value", "children"))
PARTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(st.lists(st.builds(Field, NAMES, PARTS), min_size=1, max_size=8), st.sampled_from(Version))
def test_a_selection_is_read_as_it_was_written(fields: list[Field], version: Version) -> None:
    separator, colon = (";", ":") if version is Version.V1 else ("&", "=")
    query = separator.join(
        field.name if field.part is None else field.name + colon + quote(field.part, safe="") for field in fields
    )
    assert parse_fields(query, version) == Selection(tuple(fields))


@given(st.text(max_size=60), st.sampled_from(Version))
def test_any_query_is_a_selection_or_refused(query: str, version: Version) -> None:
    try:
        parse_fields(query, version)
    except CdmiError as error:
        assert str(error)


def test_parts_of_metadata_and_ranges() -> None:
    selection = parse_fields("metadata:a;metadata:b;value:3-9", Version.V1)
    assert selection.parts_of("metadata") == ("a", "b")
    assert selection.range_of("value") == ByteRange(3, 9)
    assert "children" not in selection
    assert "children" in parse_fields("", Version.V1)
    for wrong in ("value:9-3", "value:x", "value:-3", "value:", "a b", "x" * 65, ";".join("a" * 300)):
        with pytest.raises(CdmiError):
            parse_fields(wrong, Version.V1)


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
def test_ranges_are_read_as_they_are_written(first: int, last: int) -> None:
    if first > last:
        with pytest.raises(CdmiError):
            parse_range(f"{first}-{last}")
    else:
        assert (
            parse_range(f"{first}-{last}") == parse_content_range(f"bytes {first}-{last}/*") == ByteRange(first, last)
        )


@given(st.text(alphabet="bytes=-0123456789,* /", max_size=30), st.integers(0, 1000))
def test_an_http_range_lies_within_the_value(text: str, size: int) -> None:
    try:
        found = parse_http_range(text, size)
    except CdmiError:
        return
    if found is not None:
        assert 0 <= found.first <= found.last < size


def test_http_ranges() -> None:
    assert parse_http_range("bytes=2-4", 10) == ByteRange(2, 4)
    assert parse_http_range("bytes=2-", 10) == ByteRange(2, 9)
    assert parse_http_range("bytes=-20", 10) == ByteRange(0, 9)
    for whole in ("bytes=4-2", "bytes=1-2,4-5", "lines=1-2", "bytes=-"):
        assert parse_http_range(whole, 10) is None
    for outside in ("bytes=10-", "bytes=-0"):
        with pytest.raises(CdmiError):
            parse_http_range(outside, 10)


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_bytes_become_one_base64_text_whatever_the_pieces(chunks: list[bytes]) -> None:
    written = b"".join(render_with_value({"a": 1}, as_base64(chunks)))
    assert base64.b64decode(json.loads(written)["value"]) == b"".join(chunks)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.integers(1, 7))
def test_text_becomes_one_json_text_wherever_it_is_cut(text: str, step: int) -> None:
    data = text.encode()
    written = b"".join(render_with_value({}, as_text(data[at : at + step] for at in range(0, len(data), step))))
    assert json.loads(written) == {"value": text}


@given(st.binary(max_size=60))
def test_any_body_is_an_object_or_refused(body: bytes) -> None:
    try:
        assert isinstance(parse_object(body), dict)
    except CdmiError as error:
        assert str(error)
