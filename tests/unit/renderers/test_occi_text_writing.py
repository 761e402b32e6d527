"""What the text renderings look like, byte for byte, and that reading them gives the same values."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from occi_examples import FLAT_VALUES, MACHINE, MODEL, TEXT, interface, resources

from renderers.occi.representation import CategoryClass, CategoryId, Message, Mixin, Resource
from renderers.occi.text import (
    as_body,
    as_headers,
    parse_headers,
    parse_text,
    parse_uri_list,
    render_categories,
    render_entities,
    render_entity,
    render_locations,
    render_uri_list,
)

GOLDEN = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("machine.txt", as_body(render_entity(MACHINE))),
        ("link.txt", as_body(render_entity(interface(1, "uplink")))),
        ("model.txt", as_body(render_categories(MODEL))),
        ("machine_headers.txt", "\n".join(f"{name}: {value}" for name, value in as_headers(render_entity(MACHINE)))),
    ],
)
def test_the_text_is_as_in_the_golden_file(name: str, body: str) -> None:
    assert body == (GOLDEN / name).read_text()


def test_a_single_location_is_a_body_without_line_end() -> None:
    assert as_body(render_locations(["https://cloud.example/compute/1"])) == (
        "X-OCCI-Location: https://cloud.example/compute/1"
    )


def test_a_collection_is_a_location_a_line() -> None:
    body = as_body(render_entities([MACHINE, interface(1)], "https://cloud.example"))
    locations = ("https://cloud.example/compute/1", "https://cloud.example/networkinterface/1")
    assert body == "\n".join(f"X-OCCI-Location: {location}" for location in locations)
    assert parse_text(body) == Message(locations=locations)
    assert parse_uri_list(render_uri_list(locations)) == Message(locations=locations)


def test_a_described_kind_is_read_back() -> None:
    kind, mixin, action = parse_text(as_body(render_categories(MODEL))).categories
    assert kind.category_class is CategoryClass.KIND
    assert kind.title == "Compute Resource"
    assert kind.attribute_names == ("occi.compute.cores", "occi.compute.state")
    assert [(a.mutable, a.required) for a in kind.attributes] == [(True, False), (False, True)]
    assert len(kind.action_ids) == 2
    assert mixin.title == "Small; 1 core"
    assert mixin.related == (CategoryId("http://schemas.ogf.org/occi/infrastructure#", "resource_tpl"),)
    assert action.attribute_names == ("method",)


def test_a_filtered_answer_in_headers_has_one_category_without_comma() -> None:
    ((name, value),) = as_headers(render_categories(MODEL[:1]))
    assert name == "Category"
    assert "," not in value


def test_no_title_holds_a_semicolon() -> None:
    ((_, value),) = render_categories([Mixin(CategoryId("http://x#", "y"), title="a;b;c", location="/y/")])
    assert value.count("; ") == value.count(";") == 4
    (category,) = parse_text(f"Category: {value}").categories
    assert category.title == "a;b;c"


@pytest.mark.parametrize("number", [1e300, 1e-300, 5e-324, 0.1, -0.0, 1e22, 123456789.125])
def test_no_number_has_an_exponent(number: float) -> None:
    body = as_body(render_entity(Resource(MACHINE.kind, "urn:1", "/x", attributes={"a.b": number})))
    assert "e" not in body.rpartition("=")[2]
    assert parse_text(body).attributes["a.b"] == number


def test_arrays_and_objects_are_json_in_a_string() -> None:
    lines = render_entity(Resource(MACHINE.kind, "urn:1", "/x", attributes={"a.b": {"c": [1, "d"]}}))
    assert parse_text(as_body(lines)).attributes["a.b"] == '{"c":[1,"d"]}'


def test_a_location_that_is_no_uri_is_encoded() -> None:
    lines = render_locations(["/my tags/a,b>\n"])
    assert lines == [("X-OCCI-Location", "/my%20tags/a%2Cb%3E%0A")]


@given(TEXT)
def test_no_value_adds_a_line_or_a_header(value: str) -> None:
    resource = Resource(MACHINE.kind, "urn:1", "/x", title=value, attributes={"a.b": value})
    lines = render_entity(resource)
    assert len(as_body(lines).splitlines()) == len(lines)
    for _, header in as_headers(lines):
        header.encode("latin-1")
        assert len(header.splitlines()) == 1
        assert all(character >= " " and character != "\x7f" for character in header)


def check(message: Message, resource: Resource) -> None:
    expected = {"occi.core.id": resource.id, **resource.attributes}
    if resource.title is not None:
        expected["occi.core.title"] = resource.title
    if resource.summary is not None:
        expected["occi.core.summary"] = resource.summary
    assert message.attributes == expected
    assert all(type(message.attributes[name]) is type(value) for name, value in expected.items())
    link, action = message.links
    assert {name: value for name, value in link.attributes.items() if not name.startswith("occi.core.")} == (
        resource.attributes
    )
    assert link.attributes.get("occi.core.title") == resource.links[0].title
    assert (link.target, link.location) == ("/network/1", "/networkinterface/1")
    assert action.relation == resource.actions


@given(resources(FLAT_VALUES))
def test_any_values_survive_a_body(resource: Resource) -> None:
    check(parse_text(as_body(render_entity(resource))), resource)


@given(resources(FLAT_VALUES))
def test_any_values_survive_headers_joined_or_not(resource: Resource) -> None:
    lines = render_entity(resource)
    check(parse_headers(as_headers(lines)), resource)
    check(parse_headers([field for line in lines for field in as_headers([line])]), resource)


@given(st.lists(TEXT, max_size=3))
def test_any_titles_of_categories_survive(titles: list[str]) -> None:
    mixins = [Mixin(CategoryId("http://x#", f"y{n}"), title=title, location="/y/") for n, title in enumerate(titles)]
    for message in (
        parse_text(as_body(render_categories(mixins))),
        parse_headers(as_headers(render_categories(mixins))),
    ):
        assert [category.title or "" for category in message.categories] == titles


def test_half_a_surrogate_pair_is_written_as_a_replacement_character() -> None:
    lines = render_entity(Resource(MACHINE.kind, "urn:1", "/x", title="a\ud800b"))
    assert parse_headers(as_headers(lines)).attributes["occi.core.title"] == "a\ufffdb"
