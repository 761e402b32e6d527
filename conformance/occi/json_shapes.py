"""JSON Schemas for the JSON rendering (GFD.226 §3), one for each thing that can be rendered.

They are ours: the schema printed in the standard accepts any object at all.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

Schema = dict[str, Any]

_STRINGS: Schema = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
_TYPE: Schema = {"type": "string", "pattern": r"^[^\s#]+[#/][A-Za-z0-9][A-Za-z0-9_.-]*$"}
_TYPES: Schema = {"type": "array", "items": _TYPE, "uniqueItems": True}
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
_ATTRIBUTES: Schema = {"type": "object", "propertyNames": {"pattern": _NAME}}


def _object(required: list[str], properties: Schema) -> Schema:
    return {
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": properties,
    }


# §3.5.1
_DESCRIPTIONS: Schema = {
    "type": "object",
    "propertyNames": {"pattern": _NAME},
    "additionalProperties": _object(
        [],
        {
            "mutable": {"type": "boolean"},
            "required": {"type": "boolean"},
            "type": {"enum": ["string", "number", "boolean", "array", "object"]},
            "pattern": {"type": "object"},
            "default": {},
            "description": {"type": "string"},
        },
    ),
}
# §3.1.2.1
_END: Schema = _object(["location"], {"location": {"type": "string"}, "kind": _TYPE})
# §3.1.2
LINK: Schema = _object(
    ["kind", "id", "source", "target"],
    {
        "kind": _TYPE,
        "mixins": _TYPES,
        "attributes": _ATTRIBUTES,
        "actions": _TYPES,
        "id": {"type": "string", "minLength": 1},
        "source": _END,
        "target": _END,
        "title": {"type": "string"},
    },
)
# §3.1.1
RESOURCE: Schema = _object(
    ["kind", "id"],
    {
        "kind": _TYPE,
        "mixins": _TYPES,
        "attributes": _ATTRIBUTES,
        "actions": _TYPES,
        "id": {"type": "string", "minLength": 1},
        "links": {"type": "array", "items": LINK},
        "summary": {"type": "string"},
        "title": {"type": "string"},
    },
)
_CATEGORY: Schema = {
    "term": {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"},
    "scheme": {"type": "string", "pattern": r"[#/]$"},
    "title": {"type": "string"},
    "attributes": _DESCRIPTIONS,
}
# §3.2.1 to §3.2.3
KIND: Schema = _object(
    ["term", "scheme"],
    {**_CATEGORY, "actions": _TYPES, "parent": _TYPE, "location": {"type": "string"}},
)
MIXIN: Schema = _object(
    ["term", "scheme", "location"],
    {
        **_CATEGORY,
        "actions": _TYPES,
        "depends": _STRINGS,
        "applies": _STRINGS,
        "location": {"type": "string"},
    },
)
ACTION: Schema = _object(["term", "scheme"], _CATEGORY)
# §3.4
QUERY: Schema = _object(
    ["kinds"],
    {
        "kinds": {"type": "array", "items": KIND},
        "mixins": {"type": "array", "items": MIXIN},
        "actions": {"type": "array", "items": ACTION},
    },
)
# §3.3
RESOURCES: Schema = _object(["resources"], {"resources": {"type": "array", "items": RESOURCE}})
LINKS: Schema = _object(["links"], {"links": {"type": "array", "items": LINK}})


def fault(document: object, schema: Schema) -> str | None:
    """Where and how a document departs from its shape; None if it doesn't."""
    errors = sorted(Draft202012Validator(schema).iter_errors(document), key=lambda error: list(error.path))
    if not errors:
        return None
    first = errors[0]
    place = "/".join(str(step) for step in first.path) or "the document"
    return f"{place}: {first.message[:300]}"
