"""Scope and results specifications: the standard's own examples, and laws that hold for whatever is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import Invalid
from backends.scope import CONDITIONS_MAX, Spellings, check_results, chosen, matches, number, parse_scope

OBJECT: dict[str, Any] = {
    "objectType": "application/cdmi-object",
    "objectID": "00007E7F0010EB9092B29F6CD6AD6824",
    "objectName": "MyDataObject.txt",
    "parentURI": Spellings(("/cdmi/MyContainer/", "/MyContainer/", "/cdmi_objectid/00007E7F0010/")),
    "mimetype": "text/plain",
    "metadata": {
        "cdmi_size": "108263",
        "cdmi_ctime": "2012-06-01T00:00:00.000000Z",
        "colour": "blue",
        "count": 5,
        "tags": " Red ,green,,Dark Blue",
        "empty": "",
        "deep": {"deeper": {"deepest": "x"}},
        "cdmi_acl": [{"identifier": "jdoe", "acemask": "0x1"}, {"identifier": "OWNER@", "acemask": "0x2"}],
    },
}


def of_metadata(**conditions: Any) -> bool:
    return matches(parse_scope([{"metadata": conditions}]), OBJECT)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ([], True),
        ([{}], True),
        ([{"parentURI": "== /MyContainer/"}], True),
        ([{"parentURI": "== /cdmi_objectid/00007E7F0010/"}], True),
        ([{"parentURI": "!= /MyContainer/"}], False),
        ([{"parentURI": "!= /Other/"}], True),
        ([{"parentURI": "starts /MyC"}], True),
        ([{"parentURI": "!starts /MyC"}], False),
        ([{"objectID": "== 00007e7f0010eb9092b29f6cd6ad6824"}], True),
        ([{"objectName": "== mydataobject.txt"}], False),
        ([{"metadata": {"cdmi_ctime": [">=2012-01-01T00:00:00", "<=2013-01-01T00:00:00"]}}], True),
        ([{"metadata": {"cdmi_ctime": [">=2012-01-01T00:00:00", "<=2012-02-01T00:00:00"]}}], False),
        ([{"mimetype": "== x/y"}, {"metadata": {"colour": "== blue"}}], True),
        ([{"mimetype": "== x/y", "metadata": {"colour": "== blue"}}], False),
        ([{"metadata": {"cdmi_acl": [{"identifier": "== jdoe"}]}}], True),
        ([{"metadata": {"cdmi_acl": [{"identifier": "== jdoe", "acemask": "== 0x2"}]}}], False),
        ([{"metadata": {"deep": {"deeper": {"deepest": "*"}}}}], True),
        ([{"metadata": {"deep": {"deeper": {"none": "!*"}}}}], True),
        ([{"metadata": {"none": {"none": "!*"}}}], True),
        ([{"metadata": {"colour": {"none": "!*"}}}], False),
        ([{"domainURI": "*"}], False),
        ([{"domainURI": "!*"}], True),
    ],
)
def test_the_standards_examples(scope: Any, expected: bool) -> None:
    assert matches(parse_scope(scope), OBJECT) is expected


@pytest.mark.parametrize(
    ("name", "expression", "expected"),
    [
        ("colour", "== blue", True), ("colour", "==blue", True), ("colour", "==  blue", False),
        ("colour", "!= blue", False), ("colour", "!= red", True), ("none", "!= red", False),
        ("colour", "> blu", True), ("colour", "< blu", False), ("colour", ">= blue", True), ("colour", "<= blue", True),
        ("colour", "starts bl", True), ("colour", "ends ue", True), ("colour", "contains lu", True),
        ("colour", "!starts bl", False), ("colour", "!ends ue", False), ("colour", "!contains lu", False),
        ("tags", "tag red", True), ("tags", "tag dark blue", True), ("tags", "tag blue", False),
        ("tags", "!tag red", False), ("tags", "!tag blue", True),
        ("cdmi_size", "#> 100000", True), ("cdmi_size", "#== 108263.0", True), ("cdmi_size", "#< 1e3", False),
        ("cdmi_size", "> 9", False), ("count", "#== 5", True), ("count", "== 5", True),
        ("colour", "#== 5", False), ("colour", "#!= 5", False), ("count", "#!= 6", True),
        ("empty", "*", True), ("empty", "== ", True), ("empty", "!*", False), ("none", "*", False),
        ("deep", "*", True), ("deep", "== x", False),
    ],
)  # fmt: skip
def test_each_expression(name: str, expression: str, expected: bool) -> None:
    assert of_metadata(**{name: expression}) is expected


@pytest.mark.parametrize(
    "scope",
    [
        "", {}, None, ["x"], [{"a": 5}], [{"a": None}], [{"a": "blue"}], [{"a": "=~ b.*"}], [{"a": "!~ b"}],
        [{"a": "startsx"}], [{"a": "#> many"}], [{"a": "#> 0x10"}], [{"a": "== " + "x" * 2000}], [{"value": "== eA=="}],
        [{"a": ["== x"] * (CONDITIONS_MAX + 1)}], [{"children": "*"}],
    ],
)  # fmt: skip
def test_what_is_no_scope_is_refused_with_a_sentence(scope: Any) -> None:
    with pytest.raises(Invalid, match=r"expected|must be|more than|can.t|isn.t"):
        parse_scope(scope)


def test_nesting_is_bounded() -> None:
    deep: Any = "*"
    for _ in range(17):
        deep = {"a": deep}
    with pytest.raises(Invalid, match=r"nested"):
        parse_scope([deep])


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({"objectID": "", "metadata": {"cdmi_size": "", "none": ""}},
         {"objectID": OBJECT["objectID"], "metadata": {"cdmi_size": "108263"}}),
        ({"metadata": ""}, {"metadata": OBJECT["metadata"]}),
        ("", OBJECT),
        ({"none": ""}, {}),
    ],
)  # fmt: skip
def test_results_are_what_is_named(results: Any, expected: Any) -> None:
    check_results(results)
    assert chosen(results, OBJECT) == expected


@pytest.mark.parametrize("results", [5, None, [], {"a": []}, {"a": {"b": 1}}])
def test_what_is_no_results_specification_is_refused(results: Any) -> None:
    with pytest.raises(Invalid):
        check_results(results)


TEXTS = st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
OPERATORS = st.sampled_from(
    ["*", "!*", "== ", "!= ", "> ", ">= ", "< ", "<= ", "starts ", "!starts ", "ends ", "!ends ", "contains ",
     "!contains ", "tag ", "!tag "]
)  # fmt: skip


@given(JSON, JSON)
def test_whatever_is_sent_is_parsed_or_refused_and_then_decides(scope: Any, fields: Any) -> None:
    try:
        parsed = parse_scope([{"a": scope}])
    except Invalid:
        return
    assert matches(parsed, {"a": fields}) in (True, False)


@given(JSON, OPERATORS, TEXTS)
def test_expressions_decide_whatever_the_field_holds(value: Any, operator: str, constant: str) -> None:
    text = operator if operator.endswith("*") else operator + constant
    assert matches(parse_scope([{"a": text}]), {"a": value}) in (True, False)


@given(st.text() | st.integers() | st.booleans(), st.sampled_from(["starts", "ends", "contains", "tag"]), TEXTS)
def test_of_what_is_there_either_an_expression_or_its_opposite_holds(value: Any, word: str, constant: str) -> None:
    one, other = (matches(parse_scope([{"a": f"{sign}{word} {constant}"}]), {"a": value}) for sign in ("", "!"))
    assert one is not other


@given(st.text(), st.text(max_size=500))
def test_comparisons_are_those_of_texts(value: str, constant: str) -> None:
    found = {sign: matches(parse_scope([{"a": f"{sign} {constant}"}]), {"a": value}) for sign in ("==", "!=", "<", ">")}
    assert found == {"==": value == constant, "!=": value != constant, "<": value < constant, ">": value > constant}


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False), st.integers(-1000, 1000))
def test_numbers_are_compared_as_numbers(value: float, constant: int) -> None:
    for held in (value, json.dumps(value)):
        assert matches(parse_scope([{"a": f"#> {constant}"}]), {"a": held}) is (value > constant)
        assert matches(parse_scope([{"a": f"#== {constant}"}]), {"a": held}) is (value == constant)


@given(st.lists(st.dictionaries(TEXTS, st.just("*"), max_size=3), max_size=4), st.dictionaries(TEXTS, TEXTS))
def test_objects_of_a_scope_are_alternatives_and_their_members_conditions(scope: Any, fields: dict[str, str]) -> None:
    wanted = not scope or any(all(name in fields for name in one) for one in scope)
    if not any(set(one) & {"value", "children", "childrenrange", "snapshots", "exports"} for one in scope):
        assert matches(parse_scope(scope), fields) is wanted


@given(TEXTS)
def test_no_text_is_half_a_number(text: str) -> None:
    assert (number(text) is None) or json.loads(text) == number(text)


@given(JSON)
def test_results_are_never_more_than_there_is(results: Any) -> None:
    try:
        check_results(results)
    except Invalid:
        return
    assert chosen(results, OBJECT).items() <= OBJECT.items() or isinstance(results, dict)
