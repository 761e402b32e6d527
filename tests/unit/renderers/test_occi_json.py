"""application/occi+json: what is accepted, what is refused and how, and that reading gives back what was written."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from occi_examples import (
    COMPUTE,
    INTERFACE,
    IP_INTERFACE,
    MACHINE,
    MODEL,
    NETWORK,
    SMALL,
    STOP,
    VALUES,
    interface,
    resources,
)

from renderers.occi.json import (
    parse_json,
    parse_json_entities,
    render_categories_json,
    render_entities_json,
    render_entity_json,
    render_error_json,
    render_locations_json,
)
from renderers.occi.representation import (
    CategoryClass,
    CategoryId,
    Message,
    RenderingError,
    Resource,
    SentCategory,
    SentLink,
)

A_COMPUTE = SentCategory(COMPUTE, CategoryClass.KIND)


def parse(document: object) -> Message:
    return parse_json(orjson.dumps(document))


def test_a_resource_is_read_with_its_links() -> None:
    message = parse(
        {
            "kind": str(COMPUTE),
            "mixins": [str(SMALL)],
            "attributes": {"occi.compute.cores": 2, "com.example.map": {"key": "value"}},
            "title": "web",
            "summary": "front",
            "id": "urn:uuid:1",
            "links": [
                {
                    "kind": str(INTERFACE),
                    "mixins": [str(IP_INTERFACE)],
                    "id": "urn:uuid:2",
                    "attributes": {"occi.networkinterface.interface": "eth0"},
                    "source": {"location": "/compute/1", "kind": str(COMPUTE)},
                    "target": {"location": "/network/1", "kind": str(NETWORK)},
                }
            ],
        }
    )
    assert message.categories == (A_COMPUTE, SentCategory(SMALL, CategoryClass.MIXIN))
    assert message.attributes == {
        "occi.compute.cores": 2,
        "com.example.map": {"key": "value"},
        "occi.core.id": "urn:uuid:1",
        "occi.core.title": "web",
        "occi.core.summary": "front",
    }
    (link,) = message.links
    assert (link.target, link.relation, link.categories) == ("/network/1", (NETWORK,), (INTERFACE, IP_INTERFACE))
    assert link.attributes == {
        "occi.networkinterface.interface": "eth0",
        "occi.core.id": "urn:uuid:2",
        "occi.core.source": "/compute/1",
    }


@pytest.mark.parametrize("target", ["/storage/1", {"location": "/storage/1"}])
def test_the_ends_of_a_link_may_be_plain_strings(target: object) -> None:
    message = parse({"kind": str(INTERFACE), "source": "/compute/1", "target": target})
    assert message.attributes == {"occi.core.source": "/compute/1", "occi.core.target": "/storage/1"}


def test_core_attributes_may_be_repeated_but_not_contradicted() -> None:
    assert parse({"kind": str(COMPUTE), "title": "a", "attributes": {"occi.core.title": "a"}}).attributes == {
        "occi.core.title": "a"
    }
    with pytest.raises(RenderingError, match=r"occi.core.title is given twice"):
        parse({"kind": str(COMPUTE), "title": "a", "attributes": {"occi.core.title": "b"}})


def test_a_partial_update_needs_no_kind() -> None:
    assert parse({"attributes": {"occi.compute.cores": 4}}) == Message(attributes={"occi.compute.cores": 4})
    assert parse({"title": "new"}) == Message(attributes={"occi.core.title": "new"})
    assert parse({"mixins": [str(SMALL)]}).categories == (SentCategory(SMALL, CategoryClass.MIXIN),)


def test_an_action_invocation_is_an_action_category_with_attributes() -> None:
    message = parse({"action": str(STOP), "attributes": {"method": "graceful"}})
    assert message == Message((SentCategory(STOP, CategoryClass.ACTION),), attributes={"method": "graceful"})


@pytest.mark.parametrize("wrap", [lambda mixin: mixin, lambda mixin: {"mixins": [mixin]}])
def test_a_user_mixin_is_read_alone_or_in_a_list(wrap: "object") -> None:
    mixin = {"term": "web", "scheme": "http://me.example/tags#", "location": "/tags/web/", "depends": [str(SMALL)]}
    (category,) = parse(wrap(mixin)).categories  # type: ignore[operator]
    assert category.id == CategoryId("http://me.example/tags#", "web")
    assert category.category_class is CategoryClass.MIXIN
    assert (category.location, category.related) == ("/tags/web/", (SMALL,))


@pytest.mark.parametrize(
    "document",
    [
        ["/compute/1", "/compute/2"],
        {"locations": ["/compute/1", "/compute/2"]},
        {"resources": [{"location": "/compute/1"}, {"location": "/compute/2"}]},
        {"resources": ["/compute/1", "/compute/2"]},
    ],
)
def test_locations_are_read_in_every_form(document: object) -> None:
    assert parse(document) == Message(locations=("/compute/1", "/compute/2"))


def test_a_collection_of_one_is_that_one() -> None:
    assert parse({"resources": [{"kind": str(COMPUTE)}]}) == Message((A_COMPUTE,))
    assert parse({"links": [{"kind": str(INTERFACE), "target": "/n"}]}).attributes == {"occi.core.target": "/n"}
    assert parse({"resources": []}) == Message()
    with pytest.raises(RenderingError, match="2 entities were sent, expected one"):
        parse({"resources": [{"kind": str(COMPUTE)}, {"kind": str(COMPUTE)}]})


def test_the_dialect_before_1_2_is_read() -> None:
    message = parse(
        {
            "resources": [
                {
                    "kind": {"term": "compute", "scheme": COMPUTE.scheme, "related": ["http://x#y"]},
                    "mixins": [{"term": SMALL.term, "scheme": SMALL.scheme}],
                    "attributes": {"occi": {"core": {"title": "web"}, "compute": {"cores": 1, "memory": 0.5}}},
                    "links": ["/network/public"],
                }
            ]
        }
    )
    assert message.categories == (A_COMPUTE, SentCategory(SMALL, CategoryClass.MIXIN))
    assert message.attributes == {"occi.core.title": "web", "occi.compute.cores": 1, "occi.compute.memory": 0.5}
    assert message.links == (SentLink("/network/public"),)


def test_the_model_of_the_dialect_before_1_2_is_read() -> None:
    (kind,) = parse(
        {
            "kinds": [
                {
                    "term": "compute",
                    "scheme": COMPUTE.scheme,
                    "class": "kind",
                    "related": "http://schemas.ogf.org/occi/core#resource",
                    "attributes": {"occi": {"compute": {"cores": {"mutable": True}, "state": {}}}},
                }
            ]
        }
    ).categories
    assert kind.related == (CategoryId("http://schemas.ogf.org/occi/core#", "resource"),)
    assert "occi.compute.cores" in kind.attribute_names


def test_a_model_is_read_back_whole() -> None:
    kind, mixin, action = parse_json(render_categories_json(MODEL)).categories
    assert kind.attributes == MODEL[0].attributes
    assert (kind.related, kind.action_ids) == ((MODEL[0].parent,), MODEL[0].actions)
    assert (mixin.related, mixin.applies, mixin.location) == (MODEL[1].depends, MODEL[1].applies, "/mixin/small/")
    assert (action.id, action.category_class) == (STOP, CategoryClass.ACTION)


def test_a_collection_is_read_back_entity_by_entity() -> None:
    machine, link = parse_json_entities(render_entities_json([MACHINE], [interface(1)]))
    assert machine.attributes["occi.compute.cores"] == 2
    assert link.attributes["occi.core.target.kind"] == str(NETWORK)
    assert render_entities_json([]) == b'{"resources":[]}'


def test_written_entities_hold_the_members_of_the_standard_and_no_other() -> None:
    document = json.loads(render_entity_json(MACHINE))
    assert document.keys() == {"kind", "mixins", "attributes", "actions", "id", "links", "summary", "title"}
    assert document["links"][0].keys() == {"kind", "mixins", "attributes", "actions", "id", "source", "target", "title"}


def test_actions_that_apply_are_read_as_action_links() -> None:
    assert parse_json(render_entity_json(MACHINE)).links[-1] == SentLink("?action=stop", (STOP,))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "line 1, column 1: this is no JSON"),
        (b'{\n  "kind": "a#b",\n  oops\n}', "line 3, column 3: this is no JSON"),
        (b'{\n "title": "\xff"}', "line 2, column 12: this byte is no UTF-8"),
        (b"null", r"expected an object or an array"),
        (b'{"kind":"a#b","kind":"a#c"}', "'kind' stands twice"),
        (b"[NaN]", "NaN is no JSON number"),
        (b'{"attributes":{"a.b":-Infinity}}', "Infinity is no JSON number"),
        (b'{"attributes":{"a.b":1e999}}', "out of range"),
        (b'{"attributes":{"a.b":' + b"9" * 10_000 + b"}}", "64 bits"),
        (b'["\\ud800"]', "surrogate"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"attributes":{"a.b":' + b"[" * 50 + b"]" * 50 + b"}}", "nested too deeply"),
        (b'{"kind":"compute"}', r"^\$.kind: 'compute' was given, expected a type identifier"),
        (b'{"kind":"a#b\\n"}', r"^\$.kind: "),
        (b'{"kind":"a#b","colour":"red"}', r"'colour' was unexpected\); expected one of kind, "),
        (b'{"kind":"a#b","links":[{"kind":"a#c"}]}', r"^\$.links\[0\]: 'target' is a required property"),
        (b'{"kind":"a#b","links":[{"target":7}]}', r"^\$.links\[0\].target: 7"),
        (b'{"attributes":{"a.b":null}}', r"^\$.attributes"),
        (b'{"attributes":{"a b":1}}', r"^\$.attributes"),
        (b'{"resources":[1]}', r"^\$.resources\[0\]: 1 is not of type 'object'"),
        (b'{"resources":{}}', r"^\$.resources: expected an array"),
        (b'{"mixins":[{"term":"a"}]}', r"scheme"),
        (b'{"action":"a#b","attributes":[]}', r"^\$.attributes"),
    ],
)
def test_an_error_names_the_place(body: bytes, message: str) -> None:
    with pytest.raises(RenderingError, match=message) as error:
        parse_json(body)
    assert len(str(error.value)) < 1000


ENTITY_MEMBERS = ["kind", "mixins", "attributes", "actions", "id", "title", "summary", "links", "source", "target"]
OTHER_MEMBERS = ["location", "term", "scheme", "resources", "locations", "action", "kinds", "parent", "depends", "a.b"]
MEMBERS = st.sampled_from([*ENTITY_MEMBERS, *OTHER_MEMBERS]) | st.text(max_size=3)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("a#b"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4),
    max_leaves=12,
)


@given(st.binary() | JSON_VALUES.map(lambda document: json.dumps(document).encode()))
def test_any_bytes_are_a_message_or_a_rendering_error(body: bytes) -> None:
    for reader in (parse_json, parse_json_entities):
        try:
            reader(body)
        except RenderingError as error:
            assert str(error)


@given(resources(VALUES))
def test_any_values_survive(resource: Resource) -> None:
    message = parse_json(render_entity_json(resource))
    expected = {"occi.core.id": resource.id, **resource.attributes}
    if resource.title is not None:
        expected["occi.core.title"] = resource.title
    if resource.summary is not None:
        expected["occi.core.summary"] = resource.summary
    assert message.attributes == expected
    assert message.links[0].attributes.items() >= resource.attributes.items()


def test_locations_and_errors_are_plain_json() -> None:
    assert parse_json(render_locations_json(["/a", "/b"])).locations == ("/a", "/b")
    assert json.loads(render_error_json('no "x"')) == {"error": 'no "x"'}
