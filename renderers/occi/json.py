"""OCCI's JSON rendering (application/occi+json, GFD.226), and on input the dialects spoken before it.

What is sent is checked against schema.json, which stands in for the schema printed in the appendix of GFD.226: that one
accepts any object. Text renderings are not here. What is no JSON, or two readers could take differently, is
refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from renderers.occi.grammar import INTEGER_RANGE, LONGEST_NUMBER, type_identifier
from renderers.occi.representation import (
    Action,
    AttributeDefinition,
    AttributeValue,
    Category,
    CategoryClass,
    CategoryId,
    Entity,
    Kind,
    Link,
    LinkEnd,
    Message,
    Mixin,
    RenderingError,
    Resource,
    SentCategory,
    SentLink,
)

DEEPEST: Final = 32
"""Levels of arrays and objects in a message."""
LONGEST_COMPLAINT: Final = 300
"""Characters."""

Document = dict[str, Any]

# --- Reading ---


def parse_json(body: bytes) -> Message:
    """Read one resource, link, action invocation, collection of categories or list of locations.

    An entity may lack its kind and identity, as partial updates do; a collection may hold one entity at most.
    """
    messages = parse_json_entities(body)
    if len(messages) > 1:
        raise RenderingError(f"$: {len(messages)} entities were sent, expected one")
    return messages[0] if messages else Message()


def parse_json_entities(body: bytes) -> tuple[Message, ...]:
    """As `parse_json`, but of a collection each entity is a message of its own, as clients read them."""
    document = load(body)
    if isinstance(document, list):
        return (_locations(document),)
    if not isinstance(document, dict):
        raise RenderingError("$: expected an object or an array of locations")
    if "resources" in document or ("links" in document and not _is_entity(document)):
        return _collection(document)
    return (_message(document),)


def _is_entity(document: Document) -> bool:
    return not document.keys().isdisjoint(("kind", "attributes", "id", "title", "summary", "mixins"))


def _is_location(member: object) -> bool:
    return isinstance(member, str) or (isinstance(member, dict) and member.keys() == {"location"})


def _collection(document: Document) -> tuple[Message, ...]:
    if unknown := document.keys() - {"resources", "links"}:
        raise RenderingError(f"$: {min(unknown)[:80]!r} was unexpected beside a collection")
    messages: list[Message] = []
    for name, definition in (("resources", "resource"), ("links", "link")):
        members = document.get(name, [])
        if not isinstance(members, list):
            raise RenderingError(f"$.{name}: expected an array")
        if members and all(_is_location(member) for member in members):
            messages.append(_locations(members))
            continue
        for place, member in enumerate(members):
            _check(definition, member, f"$.{name}[{place}]")
            messages.append(_entity(member))
    return tuple(messages)


def _message(document: Document) -> Message:
    if "locations" in document:
        if len(document) > 1:
            raise RenderingError("$: expected nothing beside locations")
        return _locations(document["locations"])
    if "action" in document:
        _check("action_invocation", document)
        action = _sent(_reference(document["action"]), CategoryClass.ACTION)
        return Message((action,), attributes=_attributes(document))
    if "term" in document:
        _check("category", document)
        return Message((_category(document, CategoryClass.MIXIN),))
    if document and document.keys() <= {"kinds", "mixins", "actions"}:
        _check("model", document)
        return Message(
            tuple(
                _category(category, category_class)
                for name, category_class in _COLLECTIONS
                for category in document.get(name, ())
            )
        )
    _check("link" if "target" in document or "source" in document else "resource", document)
    return _entity(document)


_COLLECTIONS: Final = (
    ("kinds", CategoryClass.KIND),
    ("mixins", CategoryClass.MIXIN),
    ("actions", CategoryClass.ACTION),
)


def _locations(documents: object) -> Message:
    _check("locations", documents)
    return Message(locations=tuple(map(_location, cast("list[str | Document]", documents))))


def _location(end: str | Document) -> str:
    return end if isinstance(end, str) else str(end["location"])


def _entity(document: Document) -> Message:
    categories = [
        *((_sent(_reference(document["kind"]), CategoryClass.KIND),) if "kind" in document else ()),
        *(_sent(_reference(mixin), CategoryClass.MIXIN) for mixin in document.get("mixins", ())),
    ]
    attributes = _attributes(document)
    for name in ("source", "target"):
        if name in document:
            _set(attributes, f"occi.core.{name}", _location(document[name]))
            for kind in _kind_of(document[name]):
                _set(attributes, f"occi.core.{name}.kind", str(kind))
    actions = (_reference(action) for action in document.get("actions", ()))
    links = [
        *map(_link, document.get("links", ())),
        *(SentLink(f"?action={action.term}", (action,)) for action in actions),
    ]
    return Message(tuple(categories), tuple(links), attributes)


def _kind_of(end: str | Document) -> tuple[CategoryId, ...]:
    return (_reference(end["kind"]),) if isinstance(end, dict) and "kind" in end else ()


def _link(document: str | Document) -> SentLink:
    if isinstance(document, str):
        return SentLink(document)
    attributes = _attributes(document)
    if "source" in document:
        _set(attributes, "occi.core.source", _location(document["source"]))
    return SentLink(
        target=_location(document["target"]),
        relation=_kind_of(document["target"]) or _references(document.get("rel")),
        location=document.get("location"),
        categories=(*_references(document.get("kind")), *_references(document.get("mixins"))),
        attributes=attributes,
    )


def _reference(category: str | Document) -> CategoryId:
    if isinstance(category, str):
        return type_identifier(category)
    return CategoryId(category["scheme"], category["term"])


def _references(categories: str | Document | list[str | Document] | None) -> tuple[CategoryId, ...]:
    if categories is None:
        return ()
    return tuple(map(_reference, categories if isinstance(categories, list) else [categories]))


def _sent(identity: CategoryId, category_class: CategoryClass) -> SentCategory:
    return SentCategory(identity, category_class)


def _category(category: str | Document, category_class: CategoryClass) -> SentCategory:
    if isinstance(category, str):
        return _sent(type_identifier(category), category_class)
    definitions = tuple(_attribute_definitions(category.get("attributes", {})))
    return SentCategory(
        id=_reference(category),
        category_class=CategoryClass(category.get("class", category_class)),
        title=category.get("title"),
        related=_references(category.get("depends", category.get("parent", category.get("related")))),
        location=category.get("location"),
        attribute_names=tuple(definition.name for definition in definitions),
        action_ids=_references(category.get("actions")),
        attributes=definitions,
        applies=_references(category.get("applies")),
    )


def _attribute_definitions(descriptions: Document, prefix: str = "") -> Iterator[AttributeDefinition]:
    for name, description in descriptions.items():
        if "." not in name and isinstance(description, dict) and _is_namespace(description):
            yield from _attribute_definitions(description, f"{prefix}{name}.")
        elif isinstance(description, dict):
            pattern = description.get("pattern")
            yield AttributeDefinition(
                prefix + name,
                type=str(description.get("type", "string")),
                required=description.get("required") is True,
                mutable=description.get("mutable") is True,
                default=description.get("default"),
                description=str(description.get("description", "")),
                pattern={"pattern": pattern} if isinstance(pattern, str) else pattern,
            )


def _is_namespace(description: Document) -> bool:
    """Whether this is a level of the old dialect's nesting: it holds nothing but objects, and at least
    one."""
    return bool(description) and all(
        isinstance(value, dict) and name != "pattern" for name, value in description.items()
    )


def _attributes(document: Document) -> dict[str, AttributeValue]:
    """All attributes by their dotted names, with the members that text makes attributes of."""
    attributes: dict[str, AttributeValue] = {}
    for name, value in _flattened(document.get("attributes", {})):
        _set(attributes, name, value)
    for name in ("id", "title", "summary"):
        if document.get(name) is not None:
            _set(attributes, f"occi.core.{name}", document[name])
    return attributes


def _flattened(attributes: Document, prefix: str = "") -> Iterator[tuple[str, AttributeValue]]:
    """The old dialect nests namespaces as objects; a dotted name is whole, and its object is a value."""
    for name, value in attributes.items():
        if isinstance(value, dict) and "." not in name:
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _set(attributes: dict[str, AttributeValue], name: str, value: AttributeValue) -> None:
    if attributes.setdefault(name, value) != value:
        raise RenderingError(f"$: {name[:80]} is given twice with different values")


# --- Checking ---


_DEFINITIONS: Final[Document] = json.loads(Path(__file__).with_name("schema.json").read_bytes())["$defs"]


def _expanded(schema: Any) -> Any:
    """The schema with what its references name in their place: none is circular; following them is slow."""
    if isinstance(schema, list):
        return [_expanded(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(reference := schema.get("$ref"), str):
        return _expanded(_DEFINITIONS[reference.rpartition("/")[2]])
    return {name: _expanded(part) for name, part in schema.items()}


_VALIDATORS: Final = {name: Draft202012Validator(_expanded(schema)) for name, schema in _DEFINITIONS.items()}
"""Made at the start, so that a process goes on with its own when its code is replaced."""


def _check(definition: str, document: object, path: str = "$") -> None:
    error = best_match(_VALIDATORS[definition].iter_errors(document))
    if error is None:
        return
    place = path + str(error.json_path)[1:]
    expected = error.schema.get("title", "") if isinstance(error.schema, dict) else ""
    complaint = error.message
    if error.validator == "additionalProperties" and "properties" in error.schema:
        expected = "one of " + ", ".join(error.schema["properties"])
        complaint = f"{complaint}; expected {expected}"
    elif expected:
        complaint = f"{repr(error.instance)[:LONGEST_COMPLAINT]} was given, expected {expected}"
    raise RenderingError(f"{place[:LONGEST_COMPLAINT]}: {complaint[:LONGEST_COMPLAINT]}", expected=expected)


def load(body: bytes) -> object:
    """The JSON value in these bytes.

    Refused beyond what RFC 8259 refuses: repeated names, numbers that not every reader holds, nesting deeper
    than DEEPEST, half surrogate pairs.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        column = error.start - body.rfind(b"\n", 0, error.start)
        raise RenderingError("this byte is no UTF-8", line, column, expected="JSON in UTF-8") from error
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        first = max(error.colno - 61, 0)
        source = text[error.pos - (error.colno - 1) + first : error.pos + 60].split("\n")[0]
        shown = "".join(character if character.isprintable() else "?" for character in source)
        raise RenderingError(
            f"this is no JSON: {error.msg}",
            error.lineno,
            error.colno,
            shown,
            expected="JSON",
            caret=error.colno - 1 - first,
        ) from error
    except RecursionError:
        raise RenderingError(f"$: nested too deeply, expected at most {DEEPEST} levels") from None
    _refuse_depth_and_surrogates(document)
    return document


def _object(pairs: list[tuple[str, Any]]) -> Document:
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RenderingError(f"{twice[:80]!r} stands twice in one object")
    return document


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER or (integer := int(digits)) not in INTEGER_RANGE:
        raise RenderingError(f"{digits[:40]} is out of range, expected an integer of 64 bits")
    return integer


def _real(digits: str) -> float:
    if not math.isfinite(real := float(digits)):
        raise RenderingError(f"{digits[:40]} is out of range, expected a number that a double can hold")
    return real


def _constant(name: str) -> None:
    raise RenderingError(f"{name} is no JSON number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_constant
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _refuse_depth_and_surrogates(document: object) -> None:
    level: list[object] = [document]
    for _ in range(DEEPEST + 1):
        deeper: list[object] = []
        for value in level:
            if isinstance(value, dict):
                deeper += value
                deeper += value.values()
            elif isinstance(value, list):
                deeper += value
            elif isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
                raise RenderingError("$: half of a surrogate pair is no character")
        if not deeper:
            return
        level = deeper
    raise RenderingError(f"$: nested too deeply, expected at most {DEEPEST} levels")


# --- Writing ---


def render_entity_json(entity: Entity) -> bytes:
    """A resource with its links, or a link."""
    return orjson.dumps(_entity_document(entity))


def render_entities_json(resources: Iterable[Resource] | None = None, links: Iterable[Link] | None = None) -> bytes:
    """A collection of either or both; one that is None is left out, an empty one is an empty array."""
    document: Document = {}
    if resources is not None:
        document["resources"] = [_entity_document(resource) for resource in resources]
    if links is not None:
        document["links"] = [_entity_document(link) for link in links]
    return orjson.dumps(document)


def _entity_document(entity: Entity) -> Document:
    document: Document = {
        "kind": str(entity.kind),
        "mixins": [str(mixin) for mixin in entity.mixins],
        "attributes": dict(entity.attributes),
        "actions": [str(action) for action in entity.actions],
        "id": entity.id,
    }
    if entity.title is not None:
        document["title"] = entity.title
    if isinstance(entity, Link):
        document["source"] = _end_document(entity.source)
        document["target"] = _end_document(entity.target)
        return document
    if entity.summary is not None:
        document["summary"] = entity.summary
    document["links"] = [_entity_document(link) for link in entity.links]
    return document


def _end_document(end: LinkEnd) -> Document:
    return {"location": end.location} if end.kind is None else {"location": end.location, "kind": str(end.kind)}


def render_categories_json(categories: Iterable[Category]) -> bytes:
    """The query interface's answer: kinds, mixins and actions."""
    document: dict[str, list[Document]] = {"kinds": [], "mixins": [], "actions": []}
    for category in categories:
        match category:
            case Kind():
                document["kinds"].append(_kind_document(category))
            case Mixin():
                document["mixins"].append(_mixin_document(category))
            case Action():
                document["actions"].append(_category_document(category))
    return orjson.dumps(document)


def _category_document(category: Category) -> Document:
    return {
        "term": category.id.term,
        "scheme": category.id.scheme,
        "title": category.title,
        "attributes": {attribute.name: _description(attribute) for attribute in category.attributes},
    }


def _kind_document(kind: Kind) -> Document:
    document = {**_category_document(kind), "actions": [str(action) for action in kind.actions]}
    if kind.parent is not None:
        document["parent"] = str(kind.parent)
    if kind.location is not None:
        document["location"] = kind.location
    return document


def _mixin_document(mixin: Mixin) -> Document:
    return {
        **_category_document(mixin),
        "actions": [str(action) for action in mixin.actions],
        "depends": [str(category) for category in mixin.depends],
        "applies": [str(category) for category in mixin.applies],
        "location": mixin.location,
    }


def _description(attribute: AttributeDefinition) -> Document:
    description: Document = {
        "mutable": attribute.mutable,
        "required": attribute.required,
        "type": _TYPES.get(attribute.type, attribute.type),
    }
    if attribute.pattern:
        description["pattern"] = _plain(attribute.pattern)
    if attribute.default is not None:
        description["default"] = attribute.default
    if attribute.description:
        description["description"] = attribute.description
    return description


_TYPES: Final = {"integer": "number", "float": "number"}
"""GFD.226 table 9 has one type for all numbers."""


def _plain(schema: Mapping[str, object]) -> Document:
    """A mapping of any class as the dict that orjson writes."""
    return {
        name: _plain(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
        for name, value in schema.items()
    }


def render_locations_json(urls: Iterable[str]) -> bytes:
    """A list of locations. GFD.226 has none, so this is the plainest: an array of strings."""
    return orjson.dumps(list(urls))


def render_error_json(message: str) -> bytes:
    """An error, of which GFD.226 says nothing."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode()})
