"""Hostile input costs work in proportion to its length: counted in calls, and by the shape of patterns."""

import re
import sys
from collections.abc import Callable
from types import FrameType

import pytest

from renderers.occi import grammar, text
from renderers.occi.representation import RenderingError

HOSTILE: list[Callable[[int], str]] = [
    lambda size: "Category: " + "," * size,
    lambda size: "Link: <a>" + ";" * size + "x",
    lambda size: "Link: <a>" + "; a" * size,
    lambda size: "X-OCCI-Attribute: " + '"' * (2 * size + 1),
    lambda size: 'X-OCCI-Attribute: a="' + "\\" * size,
    lambda size: "X-OCCI-Attribute: " + "a=1," * size + "!",
    lambda size: "Category: a" + "\n " * size,
    lambda size: " " * size + "x",
    lambda size: 'Category: a; scheme="b#"; attributes="' + "a " * size + '{"',
    lambda size: "Link: " + "<" * size,
    lambda size: "X-OCCI-Location: " + "a, " * size + "<",
    lambda size: 'X-OCCI-Attribute: a="' + '\\"' * size,
    lambda size: 'X-OCCI-Attribute: a="' + '\\"' * size + '"',
    lambda size: "X-OCCI-Attribute: " + '"\\""' * size + '"',
    lambda size: "X-OCCI-Attribute: a=1" + "\n b" * size + '"',
    lambda size: "X-OCCI-Attribute: a=1" + "\r\n" * size + '"',
    lambda size: "X-OCCI-Attribute: a=1\n" + " " * size + "link" + " " * size + '"',
    lambda size: "Link: <a>; b=c" + " d#e" * size + " f",
    lambda size: "Link: <a>" + '; a="b"' * size + '; a="',
    lambda size: 'Category: a; scheme="b#"' + "; title=b" * size + "!",
]


def calls(parse: Callable[[], object]) -> int:
    """How many Python functions ran."""
    count = 0

    def on_event(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(on_event)
    try:
        parse()
    except RenderingError:
        pass
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("hostile", HOSTILE)
def test_twice_the_input_is_at_most_twice_the_calls(hostile: Callable[[int], str]) -> None:
    small, large = hostile(500), hostile(1000)
    calls(lambda: text.parse_text(hostile(3)))  # the first call fills caches
    assert calls(lambda: text.parse_text(large)) <= 2 * calls(lambda: text.parse_text(small)) + 100


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_mebibyte_is_read_to_its_end(hostile: Callable[[int], str]) -> None:
    try:
        text.parse_text(hostile(2**18))
    except RenderingError as error:
        assert len(str(error)) < 500


@pytest.mark.parametrize(
    "pattern",
    [
        text.FIELD,
        text.HEADER_VALUE,
        grammar.CATEGORY_PARAMETER,
        grammar.ATTRIBUTE_DEFINITION,
        grammar.LINK,
        grammar.ATTRIBUTE,
        grammar.LOCATION,
    ],
)
def test_repeated_characters_are_possessive_and_repeated_groups_are_not(pattern: re.Pattern[str]) -> None:
    shape = re.sub(r"\[(?:\\.|[^\]\\])+\]|\\.", "C", pattern.pattern)
    assert not re.search(r"[^)][*+](?!\+)", re.sub(r"[*+]\+", "", shape))
    assert not re.search(r"\)[*+?]\+", shape)
