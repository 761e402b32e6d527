"""Scope and results specifications (CDMI 1.1.1 §18, §19): which objects are meant, and what is told of them. No I/O.

Both work on an object as CDMI shows it: a JSON object. Two defects of the text are mended as its authors meant: `>` and
its fellows compare the field with the constant, and the space before a constant may be left out after a sign.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from backends.errors import Invalid

CONDITIONS_MAX: Final = 128
DEPTH_MAX: Final = 16
CONSTANT_MAX_CHARACTERS: Final = 1024
IDENTITIES: Final = frozenset({"objectID", "parentID"})
"""Fields whose case doesn't matter."""
NOT_MATCHED: Final = frozenset({"value", "children", "childrenrange", "snapshots", "exports"})
"""Fields that no condition can be about: values by `cdmi_query_value`, the others would each take a query."""
NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
"""RFC 4627 §2.4."""
NUMBER_MAX_CHARACTERS: Final = 400

Fields = Mapping[str, Any]


class Spellings(tuple[str, ...]):
    """Of one value: a URI by path and by ID. A condition holds if it does for one of them, its opposite if for none."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """`== constant` and its like. `negated` is the opposite, of a field that is there."""

    test: Callable[[str, str], bool]
    constant: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Exists:
    expected: bool


@dataclass(frozen=True, slots=True)
class Every:
    """All of them: of one field, or each by some element of an array."""

    parts: tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class Members:
    """Of a JSON object: each name with what its value must be."""

    parts: tuple[tuple[str, Matcher], ...]


Matcher = Condition | Exists | Every | Members
Scope = tuple[Members, ...]
"""One of them must match; with none everything does."""


def _tagged(text: str, constant: str) -> bool:
    return constant.strip().casefold() in [tag.strip().casefold() for tag in text.split(",")]


def _numeric(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def test(text: str, constant: str) -> bool:
        value = number(text)
        wanted = number(constant)
        return value is not None and wanted is not None and compare(value, wanted)

    return test


NUMERIC: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "#==": _numeric(lambda value, constant: value == constant),
    "#!=": _numeric(lambda value, constant: value != constant),
    "#>=": _numeric(lambda value, constant: value >= constant),
    "#<=": _numeric(lambda value, constant: value <= constant),
    "#>": _numeric(lambda value, constant: value > constant),
    "#<": _numeric(lambda value, constant: value < constant),
}
"""A value that is no number fulfils none of them, so `#!=` is not the opposite of `#==`."""
SIGNS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    **NUMERIC,
    "==": str.__eq__,
    "!=": str.__eq__,
    ">=": str.__ge__,
    "<=": str.__le__,
    ">": str.__gt__,
    "<": str.__lt__,
}
WORDS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "starts": str.startswith,
    "ends": str.endswith,
    "contains": str.__contains__,
    "tag": _tagged,
}
EXPRESSION: Final = re.compile(
    rf"(?P<sign>{'|'.join(map(re.escape, SIGNS))}) ?(?P<after_sign>.*)"
    rf"|(?P<not>!?)(?P<word>{'|'.join(WORDS)}) (?P<after_word>.*)",
    re.DOTALL,
)


def number(text: str) -> float | int | None:
    """A JSON number, or the text of one; longer ones than anybody means are none."""
    if len(text) > NUMBER_MAX_CHARACTERS or not NUMBER.fullmatch(text):
        return None
    if text.lstrip("-").isdigit():
        return int(text)
    value = float(text)
    return value if math.isfinite(value) else None


def parse_scope(value: object) -> Scope:
    """From `cdmi_scope_specification`; `Invalid` names what can't be read."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Invalid("cdmi_scope_specification must be an array of objects: expected [] for everything")
    left = [CONDITIONS_MAX]
    return tuple(_members(item, (), left) for item in value)


def _members(value: Mapping[str, Any], path: tuple[str, ...], left: list[int]) -> Members:
    if not path:
        unknown = sorted(NOT_MATCHED & value.keys())
        if unknown:
            raise Invalid(f"cdmi_scope_specification has {unknown[0]!r}, which conditions can't be about here")
    return Members(tuple((name, _matcher(item, (*path, name), left)) for name, item in value.items()))


def _matcher(value: Any, path: tuple[str, ...], left: list[int]) -> Matcher:
    where = ".".join(path)[:100]
    if len(path) > DEPTH_MAX:
        raise Invalid(f"cdmi_scope_specification is nested deeper than {DEPTH_MAX} levels")
    left[0] -= 1
    if left[0] < 0:
        raise Invalid(f"cdmi_scope_specification has more than {CONDITIONS_MAX} conditions")
    if isinstance(value, str):
        return parse_expression(value, where, of_identity=len(path) == 1 and path[0] in IDENTITIES)
    if isinstance(value, dict):
        return _members(value, path, left)
    if isinstance(value, list):
        return Every(tuple(_matcher(item, (*path, "[]"), left) for item in value))
    raise Invalid(f"cdmi_scope_specification has {value!r} for {where}: expected a text such as '== blue'")


def parse_expression(text: str, where: str, *, of_identity: bool = False) -> Condition | Exists:
    """1.1.1 §18, table of matching expressions."""
    if text in ("*", "!*"):
        return Exists(text == "*")
    if text.startswith(("=~", "!~")):
        raise Invalid(f"{where} is matched by a regular expression, which isn't supported (cdmi_query_regex)")
    match = EXPRESSION.fullmatch(text)
    if match is None or len(text) > CONSTANT_MAX_CHARACTERS:
        raise Invalid(
            f"{where} is matched by {text[:80]!r}: expected '*', '!*' or an operator and a constant of at most"
            f" {CONSTANT_MAX_CHARACTERS} characters, such as '== blue' or '#> 100'"
        )
    if match["sign"] is None:
        test, constant, negated = WORDS[match["word"]], match["after_word"], bool(match["not"])
    else:
        test, constant, negated = SIGNS[match["sign"]], match["after_sign"], match["sign"] == "!="
        if match["sign"] in NUMERIC and number(constant) is None:
            raise Invalid(f"{where} is compared with {constant[:40]!r}: expected a number such as 100 or -1.5e3")
    if of_identity:
        plain = test
        return Condition(lambda value, wanted: plain(value.upper(), wanted), constant.upper(), negated)
    return Condition(test, constant, negated)


MISSING: Final = object()


def matches(scope: Scope, fields: Fields) -> bool:
    return not scope or any(_fits(members, fields) for members in scope)


def _fits(matcher: Matcher, value: Any) -> bool:
    match matcher:
        case Exists(expected):
            return (value is not MISSING) is expected
        case Condition():
            return _holds(matcher, value)
        case Members(parts):
            if value is MISSING:
                value = {}
            return isinstance(value, Mapping) and all(_fits(part, value.get(name, MISSING)) for name, part in parts)
        case Every(parts):
            if isinstance(value, list):
                return all(any(_fits(part, element) for element in value) for part in parts)
            return all(_fits(part, value) for part in parts)


def _holds(condition: Condition, value: Any) -> bool:
    if isinstance(value, Spellings):
        return any(condition.test(text, condition.constant) for text in value) is not condition.negated
    text = _text(value)
    return text is not None and condition.test(text, condition.constant) is not condition.negated


def _text(value: Any) -> str | None:
    """What conditions compare: scalars as JSON writes them."""
    if isinstance(value, str):
        return value
    if value is MISSING or isinstance(value, (Mapping, Sequence)):
        return None
    return json.dumps(value)


def check_results(value: object) -> None:
    """`cdmi_results_specification`: `Invalid` unless it is made of objects and texts."""
    left = [CONDITIONS_MAX]

    def check(part: object, depth: int) -> None:
        left[0] -= 1
        if depth > DEPTH_MAX or left[0] < 0:
            raise Invalid(f"cdmi_results_specification has more than {CONDITIONS_MAX} fields or {DEPTH_MAX} levels")
        if isinstance(part, dict):
            for item in part.values():
                check(item, depth + 1)
        elif not isinstance(part, str):
            raise Invalid('cdmi_results_specification must be "" for everything, or an object such as {"objectID": ""}')

    check(value, 0)


def is_wanted(results: object, name: str) -> bool:
    return isinstance(results, str) or (isinstance(results, Mapping) and name in results)


def chosen(results: object, fields: Fields) -> dict[str, Any]:
    """The fields that are named, as far as they are there; all where none is."""
    if not isinstance(results, Mapping):
        return dict(fields)
    found: dict[str, Any] = {}
    for name, part in results.items():
        value = fields.get(name, MISSING)
        if value is MISSING:
            continue
        found[name] = chosen(part, value) if isinstance(part, Mapping) and isinstance(value, Mapping) else value
    return found
