"""What text/plain, text/occi and text/uri-list may look like, and what is said of those that can't be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from occi_examples import COMPUTE, INFRASTRUCTURE, INTERFACE, IP_INTERFACE, NETWORK, START, STOP

from renderers.occi.representation import CategoryClass, CategoryId, Message, RenderingError, SentCategory
from renderers.occi.text import parse_headers, parse_text, parse_uri_list

COMPUTE_VALUE = 'compute; scheme="http://schemas.ogf.org/occi/infrastructure#"; class="kind"'
A_COMPUTE = SentCategory(COMPUTE, CategoryClass.KIND)


@pytest.mark.parametrize(
    "body",
    [
        f"Category: {COMPUTE_VALUE}",
        f"category:{COMPUTE_VALUE}\r\n",
        f"\n\nCATEGORY : {COMPUTE_VALUE};\n\n",
        f"  Category: {COMPUTE_VALUE}  \n",
        'Category: compute;\r\n    scheme="http://schemas.ogf.org/occi/infrastructure#";\r\n    class="kind";\r\n',
        'Category: compute;\n\tscheme="http://schemas.ogf.org/occi/infrastructure#"\n\tclass="kind";',
        'Category: compute;scheme="http://schemas.ogf.org/occi/infrastructure#";class=kind',
        'Category: compute ; class = "kind" ; scheme = "http://schemas.ogf.org/occi/infrastructure#"',
        'Category: , compute; scheme="http://schemas.ogf.org/occi/infrastructure#"; class="KIND";,',
    ],
)
def test_a_category_is_read_however_it_is_laid_out(body: str) -> None:
    assert parse_text(body) == Message((A_COMPUTE,))


def test_repeated_fields_and_comma_lists_mean_the_same() -> None:
    small = 'small; scheme="http://cloud.example/occi#"; class="mixin"'
    repeated = parse_text(
        f"Category: {COMPUTE_VALUE}\nCategory: {small}\n"
        "X-OCCI-Attribute: a.b=1\nX-OCCI-Attribute: c.d=2\n"
        "X-OCCI-Location: /compute/1\nX-OCCI-Location: /compute/2"
    )
    joined = parse_headers(
        [
            ("Category", f"{COMPUTE_VALUE},{small}"),
            ("X-OCCI-ATTRIBUTE", "a.b=1,c.d=2"),
            ("x-occi-location", "/compute/1, /compute/2"),
            ("Accept", "text/occi; q=0.5"),
        ]
    )
    assert repeated == joined
    assert len(joined.categories) == 2
    assert joined.attributes == {"a.b": 1, "c.d": 2}
    assert joined.locations == ("/compute/1", "/compute/2")


def test_fields_with_several_quoted_values_follow_one_another() -> None:
    message = parse_text(
        f"Category: {COMPUTE_VALUE}\n"
        'Category: small; scheme="http://cloud.example/occi#"; class="mixin"; title="a \\"small\\" one"\n'
        'Link: </network/1>; rel="http://x#a"; category="http://x#b http://x#c"; a.b="c, d", </network/2>; e=f\n'
        'X-OCCI-Attribute: a.b="c", d.e="f \\\\"\n'
    )
    assert [category.id.term for category in message.categories] == ["compute", "small"]
    assert message.categories[1].title == 'a "small" one'
    assert [link.target for link in message.links] == ["/network/1", "/network/2"]
    assert [dict(link.attributes) for link in message.links] == [{"a.b": "c, d"}, {"e": "f"}]
    assert message.attributes == {"a.b": "c", "d.e": "f \\"}


def test_a_filter_names_a_category_by_its_identity_only() -> None:
    message = parse_headers([("Category", f'compute; scheme="{INFRASTRUCTURE}"')])
    assert message.categories == (SentCategory(COMPUTE),)


def test_the_terms_of_1_2_are_read() -> None:
    message = parse_text('Category: Ubuntu-14.04_x; scheme="http://x#"; class="mixin"')
    assert message.categories[0].id == CategoryId("http://x#", "Ubuntu-14.04_x")


def test_a_fully_described_category_is_read_in_any_order_of_parameters() -> None:
    (category,) = parse_text(
        'Category: compute; class="kind"; scheme="http://schemas.ogf.org/occi/infrastructure#"; '
        'actions="http://schemas.ogf.org/occi/infrastructure/compute/action#start '
        'http://schemas.ogf.org/occi/infrastructure/compute/action#stop"; location="/compute/"; '
        'attributes="occi.compute.cores occi.compute.state{immutable required} x.y{required}"; '
        'rel="http://schemas.ogf.org/occi/core#resource"; title="Compute; a, b"'
    ).categories
    assert category.title == "Compute; a, b"
    assert category.location == "/compute/"
    assert category.action_ids == (START, STOP)
    assert category.related == (CategoryId("http://schemas.ogf.org/occi/core#", "resource"),)
    assert category.attribute_names == ("occi.compute.cores", "occi.compute.state", "x.y")
    assert [(a.mutable, a.required) for a in category.attributes] == [(True, False), (False, True), (True, True)]


def test_an_inline_link_is_read_with_its_attributes() -> None:
    (link,) = parse_text(
        "Link: </network/123>;\n"
        '    rel="http://schemas.ogf.org/occi/infrastructure#network";\n'
        '    category="http://schemas.ogf.org/occi/infrastructure#networkinterface '
        'http://schemas.ogf.org/occi/infrastructure/networkinterface#ipnetworkinterface";\n'
        '    occi.networkinterface.interface="eth0,;=";\n'
        "    com.example.count=3;\n"
    ).links
    assert link.target == "/network/123"
    assert link.relation == (NETWORK,)
    assert link.location is None
    assert link.categories == (INTERFACE, IP_INTERFACE)
    assert link.attributes == {"occi.networkinterface.interface": "eth0,;=", "com.example.count": 3}


def test_an_unquoted_link_type_is_read_as_the_abnf_writes_it() -> None:
    (link,) = parse_text(
        f'Link: </n/1>; rel="{NETWORK}"; self="/l/1"; category={INTERFACE} {IP_INTERFACE}; a.b=true'
    ).links
    assert link.categories == (INTERFACE, IP_INTERFACE)
    assert link.location == "/l/1"
    assert link.attributes == {"a.b": True}


def test_an_action_link_is_a_link_without_categories() -> None:
    (link,) = parse_text(f'Link: </compute/1?action=start>; rel="{START}"').links
    assert (link.target, link.relation, link.categories) == ("/compute/1?action=start", (START,), ())


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2", 2),
        ("+2", 2),
        ("-2", -2),
        ("007", 7),
        ("2.50", 2.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("2.4e9", 2.4e9),
        ("1E-3", 0.001),
        ("true", True),
        ("False", False),
        ("foobar", "foobar"),
        ("/network/1?a=b", "/network/1?a=b"),
        ('""', ""),
        ('"2"', "2"),
        (r'"a \"b\" \\ c"', r'a "b" \ c'),
        (r'"one\ntwo\u00e9\ud83d\ude00"', "one\ntwoé😀"),
        ('"a, b; c=d"', "a, b; c=d"),
        ('"line one\nX-OCCI-Attribute: x.y=1"', "line one\nX-OCCI-Attribute: x.y=1"),
        ('"tab\there"', "tab\there"),
    ],
)
def test_values_are_typed_as_they_are_written(written: str, value: object) -> None:
    found = parse_text(f"X-OCCI-Attribute: a.b={written}").attributes["a.b"]
    assert found == value
    assert type(found) is type(value)


def test_an_indented_field_is_a_field_of_its_own() -> None:
    message = parse_text(f"    Category: {COMPUTE_VALUE}\n    X-OCCI-Attribute: occi.compute.cores=2\n")
    assert message == Message((A_COMPUTE,), attributes={"occi.compute.cores": 2})


def test_headers_are_utf_8_in_latin_1_or_plain_latin_1() -> None:
    as_wsgi = 'a.b="Zürich"'.encode().decode("latin-1")
    assert parse_headers([("X-OCCI-Attribute", as_wsgi)]).attributes == {"a.b": "Zürich"}
    assert parse_headers([("X-OCCI-Attribute", 'a.b="Zürich"')]).attributes == {"a.b": "Zürich"}


def test_the_answer_ok_is_an_empty_message() -> None:
    assert parse_text("OK\n") == Message()
    assert parse_text("") == Message()


def test_an_attribute_may_be_repeated_but_not_contradicted() -> None:
    assert parse_text("X-OCCI-Attribute: a.b=1\nX-OCCI-Attribute: a.b=1").attributes == {"a.b": 1}
    with pytest.raises(RenderingError, match=r"a\.b is given twice") as error:
        parse_text("X-OCCI-Attribute: a.b=1\nX-OCCI-Attribute: a.b=2")
    assert (error.value.line, error.value.column) == (2, 19)


@pytest.mark.parametrize(
    ("body", "line", "column", "message"),
    [
        ("hello", 1, 1, "expected Category, Link"),
        ("X-OCCI-Attribute: a.b=1\nFoo: bar", 2, 1, "Foo is no field of OCCI"),
        ('X-OCCI-Attribute: a.b="open', 1, 23, "never closed"),
        ('X-OCCI-Attribute: a.b="c"\n d.e="open', 2, 6, "never closed"),
        ('X-OCCI-Attribute: a.b="c"\n\n d.e="open', 3, 1, "expected Category, Link"),
        ("X-OCCI-Attribute: a.b=1\r\nX-OCCI-Attribute: c.d", 2, 19, "expected name=value"),
        ("X-OCCI-Attribute: a.b=1 c.d=2", 1, 25, "expected name=value"),
        ("X-OCCI-Attribute: a.b=1e999", 1, 23, "out of range"),
        ("X-OCCI-Attribute: a.b=99999999999999999999", 1, 23, "64 bits"),
        ('Category: compute; class="kind"', 1, 32, "expected scheme"),
        ('Category: compute; scheme="http://x#"; clas="kind"', 1, 40, "expected scheme=.*class"),
        ('Category: compute; scheme="http://x#"; class="kinds"', 1, 46, "expected kind, mixin or action"),
        ('Category: compute; scheme="a b"', 1, 27, "expected a URI"),
        ('Category: c; scheme="x#"; scheme="y#"', 1, 27, "given twice"),
        ('Category: c; scheme="x#"; rel="nothing"', 1, 31, "no type identifier"),
        ('Category: c; scheme="x#"; attributes="a{mutable}"', 1, 38, "no property"),
        ('Category: c; scheme="x#", d; scheme="y#", e', 1, 44, "expected scheme"),
        ("Link: /network/1", 1, 7, "expected <URI>"),
        ("Link: </a> </b>", 1, 12, "expected <URI>"),
        ("X-OCCI-Location: <a>", 1, 18, "expected a URI"),
        ("\n\nX-OCCI-Attribute: a.b=\ud800", 3, 23, "surrogate"),
    ],
)
def test_an_error_says_where_and_what_was_expected(body: str, line: int, column: int, message: str) -> None:
    with pytest.raises(RenderingError, match=message) as error:
        parse_text(body)
    assert (error.value.line, error.value.column) == (line, column)


def test_an_error_shows_the_place_with_a_caret() -> None:
    with pytest.raises(RenderingError) as error:
        parse_text("X-OCCI-Attribute: a.b=1\nX-OCCI-Attribute:\tc.d;\n")
    assert str(error.value).splitlines()[1:] == ["X-OCCI-Attribute: c.d;", "                  ^"]


def test_an_error_in_a_header_names_the_header() -> None:
    with pytest.raises(RenderingError, match=r"^line 1, column 7: X-OCCI-Attribute: expected name=value"):
        parse_headers([("X-OCCI-Attribute", "a.b=1"), ("x-occi-attribute", "c.d=1 e")])


def test_an_error_shows_little_of_a_long_message() -> None:
    with pytest.raises(RenderingError) as error:
        parse_text("X-OCCI-Attribute: " + "a.b=1, " * 100_000 + "!" * 100_000)
    assert len(str(error.value)) < 400
    assert error.value.source[error.value.caret] == "!"


def test_a_quote_open_in_one_header_is_not_closed_by_the_next() -> None:
    with pytest.raises(RenderingError, match="never closed"):
        parse_headers([("X-OCCI-Attribute", 'a.b="x'), ("X-OCCI-Attribute", 'c.d=y"')])


def test_a_uri_list_has_comments_and_any_line_ends() -> None:
    body = "# three\r\nhttp://cloud.example/compute/1\r\n\n/compute/2\n/odd,but/legal"
    locations = ("http://cloud.example/compute/1", "/compute/2", "/odd,but/legal")
    assert parse_uri_list(body) == Message(locations=locations)
    with pytest.raises(RenderingError, match="no URI") as error:
        parse_uri_list("/compute/1\nnot a uri")
    assert error.value.line == 2


FIELDS = ["Category: ", "Link: ", "X-OCCI-Attribute: ", "X-OCCI-Location: "]
MARKS = ["\n", "\r\n ", '"', "\\", ";", ",", "=", "<", "{", "}", " ", "\x00", "é"]
WORDS = ["</a>", "a", "a.b", "scheme", "rel", "class", "attributes", "a#b", "1", "true"]
FRAGMENTS = st.sampled_from([*FIELDS, *MARKS, *WORDS])


@given(st.text() | st.lists(FRAGMENTS, max_size=30).map("".join))
def test_any_text_is_a_message_or_a_rendering_error(body: str) -> None:
    for parse in (parse_text, parse_uri_list, lambda value: parse_headers([("Category", value), ("Link", value)])):
        try:
            assert isinstance(parse(body), Message)
        except RenderingError as error:
            assert 1 <= error.line <= body.count("\n") + body.count("\r") + 1
            assert "\n" not in error.source


def test_a_mebibyte_of_garbage_is_refused_with_little_shown() -> None:
    size = 2**20
    for garbage in ("a" * size, '"' * size, "<" * size, "\x00" * size, "Link: " + "<" * size):
        with pytest.raises(RenderingError) as error:
            parse_text(garbage)
        assert len(str(error.value)) < 400
