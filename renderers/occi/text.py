r"""OCCI's text renderings: text/plain and text/occi+plain (bodies), text/occi (headers), text/uri-list.

Fields, lines, folding, and writing are here; what stands in a field is grammar.py's.

Any string survives a round trip. `"` and `\` are escaped by `\`; line breaks, other control characters and
whatever else some client takes for the end of a line are written `\n`, `\r`, `\t` or `\uXXXX`, so no value
can add a line or a header. Header values are text as WSGI wants it: the bytes of UTF-8, each as one latin-1
character. A header that is not UTF-8 is read as latin-1, as RFC 7230 §3.2.4 has it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final, TypeVar

import orjson

from renderers.occi import grammar
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
    Message,
    Mixin,
    RenderingError,
    SentCategory,
)

Lines = list[tuple[str, str]]
"""Fields as (name, value), in order."""

CATEGORY: Final = "Category"
LINK: Final = "Link"
ATTRIBUTE: Final = "X-OCCI-Attribute"
LOCATION: Final = "X-OCCI-Location"
FIELD_NAMES: Final = {name.lower(): name for name in (CATEGORY, LINK, ATTRIBUTE, LOCATION)}

# --- Reading ---

# As in grammar.py, only classes of characters are possessive, and a group can end in one place only.
_LINE_BREAK = r"(?:\r\n|\r(?!\n)|\n)"
_NEXT_FIELD = r"(?:category|link|x-occi-attribute|x-occi-location)[ \t]*+:"
_FOLDED = rf"(?=[ \t])(?![ \t]*+{_NEXT_FIELD})"
_VALUE = rf'[^"\r\n]*+(?:(?:{grammar.QUOTED_STRING}|{_LINE_BREAK}{_FOLDED})[^"\r\n]*+)*'
_FLAGS = re.IGNORECASE | re.DOTALL
FIELD: Final = re.compile(
    rf"[ \t]*+(?:([a-z][a-z0-9-]*+)[ \t]*+:({_VALUE})(?:{_LINE_BREAK}(?!{_FOLDED})|\Z)|{_LINE_BREAK}|\Z)", _FLAGS
)
"""A field with its folded lines, or an empty line. A line break inside quotes doesn't end it; an indented
line that starts a field of ours is that field, not a fold."""
HEADER_VALUE: Final = re.compile(rf'[^"]*+(?:{grammar.QUOTED_STRING}[^"]*+)*', re.DOTALL)
SURROGATE: Final = re.compile("[\ud800-\udfff]")
CONTEXT_LENGTH: Final = 60
"""Characters of the source that an error shows on either side of the place."""

Parsed = TypeVar("Parsed")


class _Field:
    """One field as it was read: where its value starts in `source`, which is the body or the header's
    value."""

    __slots__ = ("header", "source", "start", "value")

    def __init__(self, value: str, source: str, start: int, header: str) -> None:
        self.value = value
        self.source = source
        self.start = start
        self.header = header


def parse_text(body: str) -> Message:
    """Read a body of text/plain or text/occi+plain."""
    _refuse_surrogates(body)
    fields: dict[str, list[_Field]] = {}
    position, end = 0, len(body)
    if body.strip() == "OK":
        return Message()
    while position < end:
        field = FIELD.match(body, position)
        if field is None:
            raise _not_a_field(body, position)
        name, value = field.groups()
        if name is not None:
            known = FIELD_NAMES.get(name.lower())
            if known is None:
                raise _error(body, field.start(1), _EXPECTED_FIELD, f"{name[:40]} is no field of OCCI")
            fields.setdefault(known, []).append(_Field(value, body, field.start(2), ""))
        position = field.end()
    return _message(fields)


def parse_headers(fields: Iterable[tuple[str, str]]) -> Message:
    """Read the header fields of text/occi; others are passed over. Repeated and comma-joined fields are the
    same."""
    found: dict[str, list[_Field]] = {}
    for name, raw in fields:
        known = FIELD_NAMES.get(name.lower())
        if known is None:
            continue
        value = _decoded(raw)
        _refuse_surrogates(value)
        balanced = HEADER_VALUE.match(value)
        if balanced is not None and balanced.end() < len(value):
            raise _error(value, balanced.end(), 'a closing "', 'this " is never closed', known)
        found.setdefault(known, []).append(_Field(value, value, 0, known))
    return _message(found)


def parse_uri_list(body: str) -> Message:
    """Read text/uri-list (RFC 2483 §5): a URI a line, lines that start with # are comments."""
    _refuse_surrogates(body)
    locations = []
    for line in re.finditer(r"[^\r\n]+", body):
        uri = line[0].strip()
        if not uri or uri.startswith("#"):
            continue
        if not grammar.LOCATION.fullmatch(uri) and not _URI_WITH_COMMA.fullmatch(uri):
            raise _error(body, line.start(), "a URI", "this line is no URI")
        locations.append(uri)
    return Message(locations=tuple(locations))


_URI_WITH_COMMA: Final = re.compile(r"[^\s<>\"\\^`{|}]+")
_EXPECTED_FIELD: Final = "Category, Link, X-OCCI-Attribute or X-OCCI-Location"


def _message(fields: dict[str, list[_Field]]) -> Message:
    categories: list[SentCategory] = []
    for field in fields.get(CATEGORY, ()):
        categories += _parsed(grammar.categories, [field]) or ()
    return Message(
        tuple(categories),
        _parsed(grammar.links, fields.get(LINK, ())) or (),
        _parsed(grammar.attributes, fields.get(ATTRIBUTE, ())) or {},
        _parsed(grammar.locations, fields.get(LOCATION, ())) or (),
    )


def _parsed(rule: Callable[[str], Parsed], fields: Sequence[_Field]) -> Parsed | None:
    """The values of these fields by a rule of the grammar: together they are one comma list (RFC 2616 §4.2)."""
    value = ",".join([field.value for field in fields])
    if not value.strip(" \t\r\n,"):
        return None
    try:
        return rule(value)
    except grammar.GrammarError as error:
        starts = [0]
        for field in fields:
            starts.append(starts[-1] + len(field.value) + 1)
        index = min(bisect_right(starts, error.offset), len(fields)) - 1
        field = fields[index]
        offset = field.start + min(error.offset - starts[index], len(field.value))
        raise _error(field.source, offset, error.expected, error.message, field.header) from error


def _decoded(value: str) -> str:
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _refuse_surrogates(text: str) -> None:
    if not text.isascii() and (half := SURROGATE.search(text)):
        raise _error(text, half.start(), "text", "half of a surrogate pair is no character")


def _not_a_field(body: str, position: int) -> RenderingError:
    start = re.compile(r"[ \t]*+(?:[A-Za-z][A-Za-z0-9-]*+[ \t]*+(:)?)?").match(body, position)
    if start is not None and start[1]:
        value = re.compile(_VALUE, _FLAGS).match(body, start.end())
        place = value.end() if value is not None else start.end()
        return _error(body, place, 'a closing "', 'this " is never closed')
    return _error(body, position, _EXPECTED_FIELD, f"expected {_EXPECTED_FIELD}, then a colon")


def _error(source: str, offset: int, expected: str, message: str, header: str = "") -> RenderingError:
    """The error at `offset`, with the part of its line that is near it."""
    before = source[:offset].replace("\r\n", "\n").replace("\r", "\n")
    line = before.count("\n") + 1
    column = len(before) - before.rfind("\n")
    first = max(offset - min(column - 1, CONTEXT_LENGTH), 0)
    shown = re.split(r"[\r\n]", source[first : offset + CONTEXT_LENGTH].replace("\t", " "))[0]
    shown = "".join(character if character.isprintable() else "?" for character in shown)
    if header:
        message = f"{header}: {message}"
    return RenderingError(message, line, column, shown, expected=expected, caret=offset - first)


# --- Writing ---

_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    """A quoted-string whose content no reader can take for its end or for a new line."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join([_escaped(character) for character in text])}"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    if "\ud800" <= character <= "\udfff":
        return "\ufffd"
    return _numbered(character)


def _numbered(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def attribute_value(value: AttributeValue) -> str:
    """attribute-value of GFD.229 §4.3. Arrays and objects, which text has none of, are JSON in a string."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _decimal(value)
    return quoted(orjson.dumps(value).decode())


def _decimal(value: float) -> str:
    shortest = repr(value)
    if "e" not in shortest:
        return shortest
    plain = format(Decimal(shortest), "f")
    return plain if "." in plain else f"{plain}.0"


def uri(reference: str) -> str:
    """The reference, with what no URI may hold percent-encoded."""
    if _UNSAFE_IN_URI.search(reference) is None:
        return reference
    return _UNSAFE_IN_URI.sub(
        lambda unsafe: "".join(f"%{byte:02X}" for byte in unsafe[0].encode("utf-8", "replace")), reference
    )


_UNSAFE_IN_URI: Final = re.compile(r"[^!#-;=?-\[\]_a-z~]")


@lru_cache(maxsize=4096)
def _identity(category: CategoryId, category_class: CategoryClass) -> str:
    return f'{category.term}; scheme={quoted(category.scheme)}; class="{category_class}"'


@lru_cache(maxsize=4096)
def _action(action: CategoryId) -> str:
    """What follows the entity's location in an action link."""
    return f"?action={uri(action.term)}>; rel={quoted(str(action))}"


@lru_cache(maxsize=4096)
def _types(categories: tuple[CategoryId, ...]) -> str:
    return quoted(" ".join(map(str, categories)))


def render_entity(entity: Entity) -> Lines:
    """A resource with its links and applicable actions, or a link (GFD.229 §5.1)."""
    lines = [(CATEGORY, _identity(entity.kind, CategoryClass.KIND))]
    lines += [(CATEGORY, _identity(mixin, CategoryClass.MIXIN)) for mixin in entity.mixins]
    if not isinstance(entity, Link):
        lines += [(LINK, _link(link)) for link in entity.links]
    if entity.actions:
        here = f"<{uri(entity.location)}"
        lines += [(LINK, here + _action(action)) for action in entity.actions]
    lines += [(ATTRIBUTE, value) for value in _core(entity)]
    lines += [(ATTRIBUTE, value) for value in _attributes(entity.attributes)]
    return lines


def _core(entity: Entity) -> list[str]:
    """What the model holds in members, as the attributes that GFD.229 §5.5.1 makes of them."""
    values = [f"occi.core.id={quoted(entity.id)}"]
    if entity.title is not None:
        values.append(f"occi.core.title={quoted(entity.title)}")
    if isinstance(entity, Link):
        for name, end in (("source", entity.source), ("target", entity.target)):
            values.append(f"occi.core.{name}={quoted(end.location)}")
            if end.kind is not None:
                values.append(f"occi.core.{name}.kind={_types((end.kind,))}")
    elif entity.summary is not None:
        values.append(f"occi.core.summary={quoted(entity.summary)}")
    return values


def _attributes(attributes: Mapping[str, AttributeValue]) -> list[str]:
    return [
        f'{name}="{value}"'
        if isinstance(value, str) and value.isprintable() and '"' not in value and "\\" not in value
        else f"{name}={attribute_value(value)}"
        for name, value in attributes.items()
    ]


def _link(link: Link) -> str:
    """An inline link; its relation is the target's kind, or core's resource where that is unknown."""
    head = (
        f"<{uri(link.target.location)}>; rel={_types((link.target.kind or _RESOURCE,))}; "
        f"self={quoted(link.location)}; category={_types((link.kind, *link.mixins))}; occi.core.id={quoted(link.id)}"
    )
    if link.title is not None:
        head = f"{head}; occi.core.title={quoted(link.title)}"
    return "; ".join([head, *_attributes(link.attributes)])


_RESOURCE: Final = CategoryId("http://schemas.ogf.org/occi/core#", "resource")


def render_categories(categories: Iterable[Category]) -> Lines:
    """The query interface's answer (GFD.229 §5.4)."""
    return [(CATEGORY, _category(category)) for category in categories]


def _category(category: Category) -> str:
    related: CategoryId | None = None
    location: str | None = None
    actions: tuple[CategoryId, ...] = ()
    match category:
        case Kind():
            category_class, related = CategoryClass.KIND, category.parent
        case Mixin():
            # Only the first of `depends`, never `applies`: GFD.229 §5.5.2.
            category_class, related = CategoryClass.MIXIN, next(iter(category.depends), None)
        case Action():
            category_class = CategoryClass.ACTION
    if not isinstance(category, Action):
        location, actions = category.location, category.actions
    parts = [_identity(category.id, category_class)]
    if category.title:
        # Some clients split at every ";": none may stand in a title.
        parts.append("title=" + quoted(category.title).replace(";", r"\u003b"))
    if related is not None:
        parts.append(f"rel={_types((related,))}")
    if location:
        parts.append(f"location={quoted(location)}")
    if category.attributes:
        definitions = " ".join(map(_attribute_definition, category.attributes))
        parts.append(f"attributes={quoted(definitions)}")
    if actions:
        parts.append(f"actions={_types(actions)}")
    return "; ".join(parts)


def _attribute_definition(attribute: AttributeDefinition) -> str:
    properties = [
        *(() if attribute.mutable else ("immutable",)),
        *(("required",) if attribute.required else ()),
    ]
    return f"{attribute.name}{{{' '.join(properties)}}}" if properties else attribute.name


def render_locations(urls: Iterable[str]) -> Lines:
    """A collection (GFD.229 §5.3): text shows of its members only where they are."""
    return [(LOCATION, uri(url).replace(",", "%2C")) for url in urls]


def render_entities(entities: Iterable[Entity], origin: str = "") -> Lines:
    """As `render_locations`, of these entities; `origin` is what makes their paths URLs,
    `https://cloud.example`."""
    return render_locations(origin + entity.location for entity in entities)


def as_body(lines: Iterable[tuple[str, str]]) -> str:
    """The lines as a body: LF between them and none at the end, since clients take the last word for the
    location."""
    return "\n".join([f"{name}: {value}" for name, value in lines])


def as_headers(lines: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The lines as header fields for WSGI, those of one name joined by commas."""
    fields: dict[str, list[str]] = {}
    for name, value in lines:
        fields.setdefault(name, []).append(value)
    return [(name, _encoded(", ".join(values))) for name, values in fields.items()]


def _encoded(value: str) -> str:
    if value.isascii():
        return value
    encoded = value.encode().decode("latin-1")
    if "\x85" in encoded:
        # Python's own HTTP client takes this byte for the end of a line.
        value = "".join(_numbered(char) if b"\x85" in char.encode() else char for char in value)
        encoded = value.encode().decode("latin-1")
    return encoded


def render_uri_list(urls: Iterable[str]) -> str:
    """text/uri-list, with LF line ends and none at the end, as `as_body`."""
    return "\n".join(map(uri, urls))
