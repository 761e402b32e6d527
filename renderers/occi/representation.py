"""What an OCCI message says, whatever rendering carries it.

Two families live here: what a server or client *describes* (kinds, mixins, actions, resources, links) and
`Message`, what somebody *sent*, as yet unresolved against any registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

AttributeValue = str | int | float | bool | list["AttributeValue"] | dict[str, "AttributeValue"]
"""A value of an attribute. Text renderings carry the first four; JSON (GFD.226) carries all."""


class CategoryClass(StrEnum):
    """The three classes of category (GFD.221 §5.3)."""

    KIND = "kind"
    MIXIN = "mixin"
    ACTION = "action"


class CategoryId(NamedTuple):
    """A category's identity: `scheme` ends in `#` (or `/`), `term` names it within (GFD.221 §5.3.1).

    A tuple, because registries and caches are keyed by it and a dataclass takes five times as long to hash.
    """

    scheme: str
    term: str

    def __str__(self) -> str:
        return self.scheme + self.term


@dataclass(frozen=True, slots=True)
class AttributeDefinition:
    """One attribute that a category gives to its instances (GFD.221 §5.3.2)."""

    name: str
    type: str = "string"
    required: bool = False
    mutable: bool = True
    default: AttributeValue | None = None
    description: str = ""
    pattern: Mapping[str, object] | None = None
    """A JSON Schema for the value, as GFD.226 asks: {"enum": [...]}, {"minimum": 0} ..."""


@dataclass(frozen=True, slots=True)
class Action:
    """An action category; `attributes` are its parameters (GFD.221 §5.3.5)."""

    id: CategoryId
    title: str = ""
    attributes: tuple[AttributeDefinition, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind (GFD.221 §5.3.3); `location` is a path such as `/compute/`, None for the abstract `entity`."""

    id: CategoryId
    title: str = ""
    parent: CategoryId | None = None
    attributes: tuple[AttributeDefinition, ...] = ()
    actions: tuple[CategoryId, ...] = ()
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Mixin:
    """A mixin (GFD.221 §5.3.4), the provider's or a user's tag."""

    id: CategoryId
    title: str = ""
    depends: tuple[CategoryId, ...] = ()
    applies: tuple[CategoryId, ...] = ()
    attributes: tuple[AttributeDefinition, ...] = ()
    actions: tuple[CategoryId, ...] = ()
    location: str = ""


Category = Kind | Mixin | Action


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """Where a link starts or ends: a path or absolute URI, and the kind found there if known."""

    location: str
    kind: CategoryId | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A link instance. `location` is its path; `id` its occi.core.id (GFD.221 §5.4.3)."""

    kind: CategoryId
    id: str
    location: str
    source: LinkEnd
    target: LinkEnd
    title: str | None = None
    mixins: tuple[CategoryId, ...] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    """Without occi.core.*: id, title, source and target have members of their own."""
    actions: tuple[CategoryId, ...] = ()
    """The actions applicable now (GFD.223 §5.5: only those are offered)."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource instance with the links that it owns (GFD.221 §5.4.2)."""

    kind: CategoryId
    id: str
    location: str
    title: str | None = None
    summary: str | None = None
    mixins: tuple[CategoryId, ...] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    """Without occi.core.*."""
    actions: tuple[CategoryId, ...] = ()
    links: tuple[Link, ...] = ()


Entity = Resource | Link


@dataclass(frozen=True, slots=True)
class SentCategory:
    """A category as a client wrote it: perhaps only its identity, perhaps a whole user mixin."""

    id: CategoryId
    category_class: CategoryClass | None = None
    title: str | None = None
    related: tuple[CategoryId, ...] = ()
    """`rel` in text, `depends` (and old `related`) in JSON."""
    location: str | None = None
    attribute_names: tuple[str, ...] = ()
    action_ids: tuple[CategoryId, ...] = ()
    attributes: tuple[AttributeDefinition, ...] = ()
    """What an answer says of the attributes in `attribute_names`: text tells only `immutable` and
    `required`."""
    applies: tuple[CategoryId, ...] = ()
    """The kinds that a mixin is for; JSON only."""


@dataclass(frozen=True, slots=True)
class SentLink:
    """An inline link as a client wrote it (GFD.185 §3.5.2, GFD.229 §4.2, GFD.226 `links`)."""

    target: str
    relation: tuple[CategoryId, ...] = ()
    """`rel`: the kind (and mixins) of the target; for an action link, the action."""
    location: str | None = None
    """`self`."""
    categories: tuple[CategoryId, ...] = ()
    """`category`: the kind and mixins of the link itself."""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    """Holds occi.core.id, .title and .source too where they were written; the target is a member of its
    own."""


@dataclass(frozen=True, slots=True)
class Message:
    """What was sent or answered, in any rendering.

    `attributes` uses full dotted names and holds occi.core.* too: JSON's id, title, summary, source and
    target members arrive as occi.core.id, .title, .summary, .source and .target (locations as strings), and
    the kinds of a link's ends as occi.core.source.kind and occi.core.target.kind, as in text. A JSON action
    invocation arrives as one category of class action plus attributes. The applicable actions of a JSON
    entity arrive as text's action links do, with `?action=TERM` as target.
    """

    categories: tuple[SentCategory, ...] = ()
    links: tuple[SentLink, ...] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    locations: tuple[str, ...] = ()
    """X-OCCI-Location, text/uri-list lines, or JSON lists of locations."""


class RenderingError(ValueError):
    """A message that can't be read.

    `message` is one sentence, `expected` what should have stood there (empty when there is no such thing);
    `line` and `column` count from 1, and are 0 where the message names the place itself; `source` is the
    part of the line around the place, with the place itself `caret` characters into it.
    """

    def __init__(
        self,
        message: str,
        line: int = 0,
        column: int = 0,
        source: str = "",
        *,
        expected: str = "",
        caret: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.line = line
        self.column = column
        self.source = source
        self.caret = column - 1 if caret is None else caret

    def __str__(self) -> str:
        if self.line == 0:
            return self.message
        place = f"line {self.line}, column {self.column}: {self.message}"
        if not self.source:
            return place
        return f"{place}\n{self.source}\n{' ' * self.caret}^"
