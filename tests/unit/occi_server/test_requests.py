"""A body is bounded before it is parsed: in memory too."""

import tracemalloc
from collections.abc import Callable

import falcon
import pytest

from occi_server.requests import MARKS_MAX, refuse_too_many_marks
from renderers.occi import json, text
from renderers.occi.representation import RenderingError

MIB = 2**20
TEXTS = [
    ("X-OCCI-Attribute: ", '"'),
    ('X-OCCI-Attribute: a="', "\\"),
    ("X-OCCI-Attribute: ", "a=1,"),
    ("X-OCCI-Attribute: ", '"\\""'),
    ("X-OCCI-Location: ", "a, "),
    ("Category: a", "\n "),
    ('Category: a; scheme="b#"; attributes="', "a "),
    ("Link: <a>; b=c", " d#e"),
    ("Link: <a>", '; a="b"'),
]
JSONS = [('{"links":[{}', ",{}"), ('{"mixins":["a#b"', ',"a#b"'), ('{"attributes":[1', ",[]")]


def peak_bytes(parse: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        parse()
    except RenderingError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize(("start", "unit"), TEXTS)
def test_what_is_read_of_text_takes_little_memory(start: str, unit: str) -> None:
    body = start + unit * (MIB // len(unit))
    with pytest.raises(falcon.HTTPContentTooLarge):
        refuse_too_many_marks(body.encode())
    marks_of_unit = sum(not character.isalnum() for character in unit)
    longest = start + unit * (MARKS_MAX // marks_of_unit - 20)
    refuse_too_many_marks(longest.encode())
    assert peak_bytes(lambda: text.parse_text(longest)) < 24 * MIB


@pytest.mark.parametrize(("start", "unit"), JSONS)
def test_what_is_read_of_json_takes_little_memory(start: str, unit: str) -> None:
    end = "]" * (start.count("[") - 1) + "]}"
    with pytest.raises(falcon.HTTPContentTooLarge):
        refuse_too_many_marks((start + unit * (MIB // len(unit)) + end).encode())
    longest = (start + unit * (MARKS_MAX // 6) + end).encode()
    refuse_too_many_marks(longest)
    assert peak_bytes(lambda: json.parse_json_entities(longest)) < 24 * MIB


def test_as_many_locations_as_anybody_sends_are_read() -> None:
    body = "\n".join(f"X-OCCI-Location: /compute/{number:036}" for number in range(20_000))
    refuse_too_many_marks(body.encode())


def test_a_long_value_is_no_mark() -> None:
    refuse_too_many_marks(b'X-OCCI-Attribute: occi.compute.userdata="' + b"A" * MIB + b'"')
