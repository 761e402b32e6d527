"""The suite's own reader of text renderings: what it takes apart and what it calls a breach of the ABNF."""

import pytest

from conformance.occi.reader import grammar_fault, quote, read, split_outside_quotes, unquote
from conformance.suite import Exchange


def answered(body: str, media_type: str = "text/plain") -> Exchange:
    return Exchange("GET", "http://x/", (), b"", 200, (("Content-Type", media_type),), body.encode())


KIND = 'compute; scheme="http://schemas.ogf.org/occi/infrastructure#"; class="kind"'


@pytest.mark.parametrize(
    "line",
    [
        f"Category: {KIND}",
        f'Category: {KIND}; title="a \\"b\\"; c, d"; rel="http://x/core#resource"; location="/compute/"',
        f'Category: {KIND}; attributes="a.b c.d{{immutable}} e{{immutable required}}"; actions="http://x/a#b"',
        'Category: a; scheme="http://x#"; class=mixin;',
        'Link: </network/1>; rel="http://x#network"; self="/l/1"; category="http://x#nic"; a.b="c;d"',
        'Link: </compute/1?action=start>; rel="http://x/action#start"',
        "X-OCCI-Attribute: a.b=1, c.d=2.5, e=true",
        'X-OCCI-Attribute: occi.core.title="x=1, y; \\\\"',
        "X-OCCI-Location: http://x/compute/1",
    ],
)
def test_lines_of_the_standard_keep_the_grammar(line: str) -> None:
    assert grammar_fault(answered(line)) is None


@pytest.mark.parametrize(
    "line",
    [
        'Category: compute; class="kind"; scheme="http://x#"',
        "Category: compute",
        'Category: compute; scheme="http://x#"; class="thing"',
        f'Category: {KIND}; location="/a/"; title="x"',
        f'Category: {KIND}; attributes="a{{mutable}}"',
        'Link: /network/1; rel="http://x#network"',
        "Link: </network/1>",
        "X-OCCI-Attribute: a.b=-1",
        "X-OCCI-Attribute: a.b=1e3",
        "X-OCCI-Attribute: a.b=word",
        'X-OCCI-Attribute: a.b="open',
        "X-OCCI-Location: two words",
        "X-Other: 1",
        "no colon",
    ],
)
def test_lines_against_the_standard_are_found(line: str) -> None:
    assert grammar_fault(answered(line)) is not None


def test_old_grammar_is_narrower() -> None:
    line = answered('Category: Small.v1; scheme="http://x#"; class="mixin"')
    assert grammar_fault(line, "1.2") is None
    assert grammar_fault(line, "1.1") is not None


def test_separators_in_quotes_and_brackets_do_not_split() -> None:
    assert split_outside_quotes('a="1,2\\",3", <x,y>; b', ",") == ['a="1,2\\",3"', "<x,y>; b"]


@pytest.mark.parametrize("text", ["", "plain", 'a "b"', "back\\slash", '\\"', "ends in \\"])
def test_quoting_is_undone_by_unquoting(text: str) -> None:
    assert unquote(quote(text)) == text


def test_uri_list_is_read_without_its_comments() -> None:
    assert read(answered("# all\r\nhttp://x/1\r\nhttp://x/2\r\n", "text/uri-list")).locations == [
        "http://x/1",
        "http://x/2",
    ]


def test_headers_are_read_as_one_list() -> None:
    headers = (
        ("Content-Type", "text/occi"),
        ("Category", f'{KIND}, small; scheme="http://x#"; class="mixin"'),
        ("X-OCCI-Attribute", 'occi.core.title="a, b", occi.compute.cores=2'),
        ("X-OCCI-Attribute", "occi.compute.memory=1.0"),
    )
    rendering = read(Exchange("GET", "http://x/", (), b"", 200, headers, b"OK"))
    assert [category.head for category in rendering.categories] == ["compute", "small"]
    assert rendering.attributes == {
        "occi.core.title": "a, b",
        "occi.compute.cores": "2",
        "occi.compute.memory": "1.0",
    }
