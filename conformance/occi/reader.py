"""The text renderings of OCCI, read and judged: a tolerant reader, and the ABNF as regular expressions.

Checks learn what a server says with the reader and whether it said it well with `grammar_fault`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from conformance.suite import Exchange

_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"'
_URI = r"[^\s\"<>]+"
_SEMICOLON = r" *; *"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105
_END = r" *;? *"
_NUMBER = r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"

# GFD.185 §3.5.1: lower case first; GFD.229 §4.1: letters, digits and dots anywhere.
_NAMES = {
    "1.1": (r"[a-z][a-z0-9_-]*", r"[a-z][a-z0-9_-]*(?:\.[a-z][a-z0-9_-]*)*"),
    "1.2": (r"[A-Za-z0-9][A-Za-z0-9_.-]*", r"[A-Za-z0-9][A-Za-z0-9_.-]*"),
}


@dataclass(frozen=True, slots=True)
class Grammar:
    """The rules of one version, compiled."""

    category: re.Pattern[str]
    link: re.Pattern[str]
    action_link: re.Pattern[str]
    attribute: re.Pattern[str]
    location: re.Pattern[str]


def _compile(term: str, name: str) -> Grammar:
    # category-value, attribute-def and action-list of GFD.185 §3.5.1 and GFD.229 §4.1
    definition = rf"{name}(?:\{{ *(?:immutable|required)(?: +(?:immutable|required))* *\}})?"
    category = (
        rf'{term}{_SEMICOLON}scheme="{_URI}"'
        rf'{_SEMICOLON}class=(?:"(?:kind|mixin|action)"|kind|mixin|action)'
        rf"(?:{_SEMICOLON}title={_QUOTED})?"
        rf'(?:{_SEMICOLON}rel="{_URI}")?'
        rf'(?:{_SEMICOLON}location="{_URI}")?'
        rf'(?:{_SEMICOLON}attributes="{definition}(?: +{definition})*")?'
        rf'(?:{_SEMICOLON}actions="{_URI}(?: +{_URI})*")?{_END}'
    )
    types = rf'"{_URI}(?: +{_URI})*"'
    # link-value of GFD.185 §3.5.2 and GFD.229 §4.2; the examples quote the category though the rule does not
    link = (
        rf"<{_URI}>{_SEMICOLON}rel={types}(?:{_SEMICOLON}self=\"{_URI}\")?"
        rf"(?:{_SEMICOLON}category=(?:{types}|{_URI})(?:{_SEMICOLON}{name}=(?:{_QUOTED}|{_TOKEN}))*)?{_END}"
    )
    action_link = rf"<{_URI}\?action={term}>{_SEMICOLON}rel=\"{_URI}\"{_END}"
    attribute = rf"{name}=(?:{_QUOTED}|{_NUMBER}|true|false){_END}"
    return Grammar(*(re.compile(rule) for rule in (category, link, action_link, attribute, _URI)))


GRAMMARS = {version: _compile(*names) for version, names in _NAMES.items()}


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a Category or Link: what stands first, and its parameters, unquoted."""

    head: str
    parameters: dict[str, str]
    raw: str

    @property
    def type_identifier(self) -> str:
        return self.parameters.get("scheme", "") + self.head

    def words(self, name: str) -> list[str]:
        return self.parameters.get(name, "").split()


@dataclass(slots=True)
class Rendering:
    """What a text answer says."""

    categories: list[Value] = field(default_factory=list)
    links: list[Value] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    raw_attributes: list[str] = field(default_factory=list)
    locations: list[str] = field(default_factory=list)
    strange_lines: list[str] = field(default_factory=list)

    def kinds(self) -> list[Value]:
        return [value for value in self.categories if value.parameters.get("class") == "kind"]

    def category_ids(self) -> set[str]:
        return {value.type_identifier for value in self.categories}

    def action_links(self) -> list[Value]:
        return [value for value in self.links if "?action=" in value.head]

    def entity_links(self) -> list[Value]:
        return [value for value in self.links if "?action=" not in value.head]


def split_outside_quotes(text: str, separator: str) -> list[str]:
    """Split at a separator that stands neither in a quoted string nor in <…>."""
    parts: list[str] = []
    start, index, quoted, bracketed = 0, 0, False, False
    while index < len(text):
        character = text[index]
        if quoted:
            if character == "\\":
                index += 1
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character == "<":
            bracketed = True
        elif character == ">":
            bracketed = False
        elif character == separator and not bracketed:
            parts.append(text[start:index].strip())
            start = index + 1
        index += 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def read_value(text: str) -> Value:
    head, *rest = split_outside_quotes(text, ";") or [""]
    parameters: dict[str, str] = {}
    for part in rest:
        name, _, value = part.partition("=")
        parameters[name.strip()] = unquote(value.strip())
    return Value(head.strip("<>"), parameters, text)


def fields(exchange: Exchange) -> list[tuple[str, str]]:
    """The rendering structures of an answer as (name, value), from its body or from its headers."""
    if exchange.media_type == "text/occi":
        names = ("category", "link", "x-occi-attribute", "x-occi-location")
        return [(name, value) for name, value in exchange.headers if name.lower() in names]
    if exchange.media_type == "text/uri-list":
        lines = [line.strip() for line in exchange.text.splitlines()]
        return [("x-occi-location", line) for line in lines if line and not line.startswith("#")]
    found: list[tuple[str, str]] = []
    for line in re.split(r"\r?\n", exchange.text):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        found.append((name.strip(), value.strip()) if colon else ("", line))
    return found


def read(exchange: Exchange) -> Rendering:
    rendering = Rendering()
    for name, text in fields(exchange):
        values = split_outside_quotes(text, ",")
        match name.lower():
            case "category":
                rendering.categories += [read_value(value) for value in values]
            case "link":
                rendering.links += [read_value(value) for value in values]
            case "x-occi-attribute":
                for value in values:
                    key, _, content = value.partition("=")
                    rendering.attributes[key.strip()] = unquote(content.strip())
                    rendering.raw_attributes.append(value)
            case "x-occi-location":
                rendering.locations += values
            case _:
                rendering.strange_lines.append(f"{name}: {text}" if name else text)
    return rendering


def grammar_fault(exchange: Exchange, version: str = "1.2") -> str | None:
    """The first value of an answer that breaks the ABNF, with what was expected; None if all keep it."""
    grammar = GRAMMARS[version]
    for name, text in fields(exchange):
        for value in split_outside_quotes(text, ","):
            match name.lower():
                case "category":
                    good = grammar.category.fullmatch(value)
                case "link":
                    rule = grammar.action_link if "?action=" in value.partition(">")[0] else grammar.link
                    good = rule.fullmatch(value)
                case "x-occi-attribute":
                    good = grammar.attribute.fullmatch(value)
                case "x-occi-location":
                    good = grammar.location.fullmatch(value)
                case _:
                    return f"{name or text!r} is none of the four rendering structures"
            if not good:
                return f"{name}: {value} does not follow the ABNF of OCCI {version}"
    return None
