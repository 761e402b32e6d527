"""What the front-end has to know of a kind, its attributes, mixins and actions, as data with functions.

Discovery, the checks on input, what is shown and what can be filtered are all read from the same `Attribute`s, so
they can't disagree. The kinds themselves are in compute, network, storage and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

import falcon

from backends.cloud import Cloud
from backends.errors import Invalid
from backends.model import Filter, Image, Page, Tag
from occi_server import names, values
from occi_server.values import ValueType
from renderers.occi.representation import (
    Action,
    AttributeDefinition,
    AttributeValue,
    CategoryId,
    Entity,
    Kind,
    Mixin,
    SentLink,
)

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Attribute(Generic[Row]):
    """One attribute: its name and type for clients, its field for the door."""

    name: str
    value: ValueType
    read: Callable[[Row], AttributeValue | None] | None = None
    """What an instance shows; without it the attribute is never shown, and never found by a filter."""
    field: str | None = None
    """The field of the row, of New* and of *Changes. A mutable attribute without one is accepted and not kept."""
    mutable: bool = True
    required: bool = False
    at_creation: bool = False
    """Immutable, but chosen by the client that makes the instance (the ends of a link)."""
    clearable: bool = False
    """A full update that leaves it out clears it."""
    moves: bool = False
    """It changes by itself, so that one sent back may be an old one (a count)."""
    default: AttributeValue | None = None
    description: str = ""
    fields_of: Callable[[Any], Mapping[str, object]] | None = None
    """What values of several meanings are in the door's terms; without it all go to `field`."""

    def definition(self) -> AttributeDefinition:
        return AttributeDefinition(
            name=self.name,
            type=self.value.type,
            required=self.required,
            mutable=self.mutable,
            default=self.default,
            description=self.description,
            pattern=self.value.pattern,
        )

    def take(self, sent: AttributeValue) -> Any:
        """The door's value for what a client sent."""
        try:
            return self.value.take(sent)
        except ValueError as error:
            shown = repr(sent) if len(repr(sent)) <= 80 else repr(sent)[:77] + "..."
            raise Invalid(f"{self.name} is {shown}: expected {self.value.expected}.") from error


@dataclass(frozen=True, slots=True)
class MixinType(Generic[Row]):
    """A mixin of the provider's: a template, or a group of attributes."""

    mixin: Mixin
    attributes: tuple[Attribute[Row], ...] = ()
    carried_by: Callable[[Row], bool] = lambda _row: False
    equals: Mapping[str, object] = field(default_factory=dict)
    """The filter that finds the same instances as `carried_by`, where the door can do it."""
    fields: Mapping[str, object] = field(default_factory=dict)
    """What naming the mixin asks of the door."""
    shown: bool = True
    """False for another spelling of a mixin that is shown."""


@dataclass(frozen=True, slots=True)
class ActionType(Generic[Row]):
    """An action of a kind; `perform` answers with the row as it is then, a row made by it, or a new image."""

    action: Action
    perform: Callable[[Cloud, UUID, Mapping[str, Any]], Row | Image]
    parameters: tuple[Attribute[Row], ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a message asks of an entity to be made, in the door's terms."""

    fields: Mapping[str, Any]
    links: tuple[SentLink, ...] = ()
    tag_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class EntityType(Generic[Row]):
    """A kind and how it is served."""

    kind: Kind
    attributes: tuple[Attribute[Row], ...]
    """The kind's own and the inherited ones."""
    mixins: tuple[MixinType[Row], ...]
    """Those of the standards; templates and tags come to it from elsewhere."""
    actions: tuple[ActionType[Row], ...]
    describe: Callable[[Row], Entity]
    rows: Callable[[Cloud, Filter, Page], Sequence[Row]]
    ids: Callable[[Cloud, Filter, Page], Sequence[UUID]]
    row: Callable[[Cloud, UUID], Row]
    create: Callable[[Cloud, Wanted], Row]
    update: Callable[[Cloud, UUID, dict[str, Any]], Row]
    delete: Callable[[Cloud, UUID], None]
    add_links: Callable[[Cloud, UUID, Sequence[SentLink]], None]
    """Makes the links that an update brings."""
    deletable: Callable[[Row], bool] | None = None
    """Which of a collection its deletion means; None for all."""
    by_name: Mapping[str, Attribute[Row]] = field(init=False)
    """Every attribute that an instance can have, those of mixins included."""

    readers: tuple[tuple[str, Callable[[Row], AttributeValue | None]], ...] = field(init=False)
    """The kind's own attributes that are shown, without occi.core.*, which are members of Resource and Link."""
    shown: tuple[MixinType[Row], ...] = field(init=False)
    """The mixins that instances show; templates and other spellings aren't among them."""

    def __post_init__(self) -> None:
        readers = tuple(
            (attribute.name, attribute.read)
            for attribute in self.attributes
            if attribute.read is not None and not attribute.name.startswith("occi.core.")
        )
        object.__setattr__(self, "readers", readers)
        object.__setattr__(self, "shown", tuple(mixin for mixin in self.mixins if mixin.shown))
        of_mixins = (attribute for mixin in self.mixins for attribute in mixin.attributes)
        table = {attribute.name: attribute for attribute in (*self.attributes, *of_mixins)}
        object.__setattr__(self, "by_name", table)

    @property
    def core(self) -> CategoryId:
        """The core kind that it is of, by whichever way."""
        return names.LINK if self.kind.parent == names.LINK else names.RESOURCE

    @property
    def location(self) -> str:
        """The path of the collection, `/compute/`."""
        if self.kind.location is None:
            raise AssertionError(f"{self.kind.id} has no location")
        return self.kind.location


def attribute_named(table: Mapping[str, Attribute[Any]], name: str, of_what: str) -> Attribute[Any]:
    attribute = table.get(name)
    if attribute is None:
        raise falcon.HTTPNotFound(description=f"{name} is not an attribute of {of_what}.")
    return attribute


def fields_for_creation(
    kind: EntityType[Any], attributes: Mapping[str, AttributeValue], *, without: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The door's fields of a new instance; what the server owns (its state) is checked and left out."""
    fields: dict[str, Any] = {}
    for name, sent in attributes.items():
        if name in without:
            continue
        attribute = attribute_named(kind.by_name, name, kind.kind.id.term)
        value = attribute.take(sent)
        if attribute.field is not None and (attribute.mutable or attribute.at_creation):
            _put(fields, attribute, value)
    missing = [a.name for a in kind.attributes if a.required and a.name not in attributes and a.name not in without]
    if missing:
        raise Invalid(f"{', '.join(missing)} is missing: a {kind.kind.id.term} can't be made without it.")
    return fields


def fields_for_change(
    kind: EntityType[Any], row: object, attributes: Mapping[str, AttributeValue], *, full: bool
) -> dict[str, Any]:
    """The door's fields that differ from the row's.

    A full update is usually a rendering sent back: there what may have moved on since isn't compared.
    """
    fields: dict[str, Any] = {}
    for name, sent in attributes.items():
        attribute = attribute_named(kind.by_name, name, kind.kind.id.term)
        if not attribute.mutable:
            if not (full and (attribute.moves or is_state(attribute))) and not _is_present(attribute, row, sent):
                raise falcon.HTTPForbidden(description=f"{name} can't be changed.")
        elif attribute.field is not None:
            _put(fields, attribute, attribute.take(sent))
        else:
            attribute.take(sent)
    if full:
        for attribute in kind.by_name.values():
            if attribute.clearable and attribute.field is not None:
                fields.setdefault(attribute.field, None)
    return {name: value for name, value in fields.items() if value != getattr(row, name)}


def parameters_of(action: ActionType[Any], attributes: Mapping[str, AttributeValue]) -> dict[str, Any]:
    """The checked parameters of an action, by their fields."""
    table = {parameter.name: parameter for parameter in action.parameters}
    fields: dict[str, Any] = {}
    for name, sent in attributes.items():
        parameter = attribute_named(table, name, f"the action {action.action.id.term}")
        if parameter.field is not None:
            fields[parameter.field] = parameter.take(sent)
    missing = [p.name for p in action.parameters if p.required and p.name not in attributes]
    if missing:
        raise Invalid(f"{', '.join(missing)} is missing: the action {action.action.id.term} needs it.")
    return fields


def shown_attributes(kind: EntityType[Row], row: Row) -> dict[str, AttributeValue]:
    """What an instance shows of itself, without occi.core.*: those are members of Resource and Link."""
    shown = {name: value for name, read in kind.readers if (value := read(row)) is not None}
    for mixin in kind.shown:
        if mixin.carried_by(row):
            for attribute in mixin.attributes:
                if attribute.read is not None and (value := attribute.read(row)) is not None:
                    shown[attribute.name] = value
    return shown


def shown_mixins(kind: EntityType[Row], row: Row, tags: Sequence[Tag]) -> tuple[CategoryId, ...]:
    own = [mixin.mixin.id for mixin in kind.shown if mixin.carried_by(row)]
    return (*own, *[CategoryId(tag.scheme, tag.term) for tag in tags])


def is_state(attribute: Attribute[Any]) -> bool:
    """Whether it is the server's own account of an instance, which changes by itself."""
    return attribute.name.endswith((".state", ".state.message", ".used"))


def identified(name: str = "occi.core.id") -> Attribute[Any]:
    return Attribute(name, values.identity(), lambda row: row.id.urn, "id", mutable=False, at_creation=True)


def titled() -> Attribute[Any]:
    return Attribute("occi.core.title", values.text(), lambda row: row.title, "title", clearable=True)


def summarised() -> Attribute[Any]:
    return Attribute("occi.core.summary", values.text(4096), lambda row: row.summary, "summary", clearable=True)


def state_message(name: str) -> Attribute[Any]:
    """The explanation of a state; an empty one isn't shown."""
    return Attribute(name, values.text(65536), lambda row: row.state_message or None, "state_message", mutable=False)


def _is_present(attribute: Attribute[Any], row: object, sent: AttributeValue) -> bool:
    if attribute.field is None:
        return False
    try:
        wanted = fields_for(attribute, attribute.value.take(sent))
    except ValueError:
        return False
    return all(value == getattr(row, name, None) for name, value in wanted.items())


def fields_for(attribute: Attribute[Any], value: Any) -> Mapping[str, object]:
    """The door's fields that this value of the attribute is about, with their values."""
    if attribute.field is None:
        raise AssertionError(f"{attribute.name} has no field")
    return attribute.fields_of(value) if attribute.fields_of else {attribute.field: value}


def _put(fields: dict[str, Any], attribute: Attribute[Any], value: object) -> None:
    for name, wanted in fields_for(attribute, value).items():
        if name in fields and fields[name] != wanted:
            raise Invalid(f"{attribute.name} says another value than an attribute of the same meaning beside it.")
        fields[name] = wanted
