"""From a message to an instance that is made or changed, through the door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import falcon

from backends.cloud import Cloud
from backends.errors import Invalid
from occi_server.entities import EntityType, MixinType, Wanted, fields_for_change, fields_for_creation
from occi_server.model import Model, Named, named_in
from occi_server.templates import OS_BASE, RESOURCE_BASE
from renderers.occi.representation import Message, SentLink


def create(
    model: Model, cloud: Cloud, message: Message, expected: EntityType[Any] | None, identity: UUID | None = None
) -> tuple[EntityType[Any], Any]:
    """Make what the message describes; `expected` is the kind whose collection it was sent to, if to one."""
    named = named_in(model, cloud, message.categories)
    if message.locations:
        raise Invalid("X-OCCI-Location was sent: only a mixin's collection takes locations.")
    if len(named.kinds) != 1 or named.actions:
        raise Invalid(f"{len(named.kinds)} kinds were sent: an instance is made from exactly one, and no action.")
    kind = named.kinds[0]
    if expected is not None and kind is not expected:
        raise Invalid(f"{kind.kind.id} was sent to {expected.location}: expected {expected.kind.id}.")
    fields = fields_for_creation(kind, message.attributes)
    fields |= template_fields(kind, named.mixins)
    for mixin in named.mixins:
        require_attributes(mixin, fields)
    if identity is not None and fields.setdefault("id", identity) != identity:
        raise Invalid(f"occi.core.id is {fields['id']} but the path ends in {identity}: expected the same.")
    wanted = Wanted(fields, links_to_make(message), tuple(tag.id for tag in named.tags))
    with cloud.atomically():
        return kind, kind.create(cloud, wanted)


def update(model: Model, cloud: Cloud, kind: EntityType[Any], row: Any, message: Message, *, full: bool) -> Any:
    """Change an instance to what the message says; `full` (PUT) also clears what the message leaves out.

    Links come and go on their own, so a full update passes over them: pOCCI sends a whole rendering back.
    """
    named = named_in(model, cloud, message.categories)
    for other in named.kinds:
        if other is not kind:
            raise Invalid(f"{other.kind.id} was sent: a {kind.kind.id.term} can't become another kind.")
    if named.actions:
        raise Invalid(f"{named.actions[0]} was sent without ?action={named.actions[0].term} in the URL.")
    fields = fields_for_change(kind, row, message.attributes, full=full)
    wanted = template_fields(kind, named.mixins).items()
    fields |= {name: value for name, value in wanted if value != getattr(row, name)}
    for mixin in named.mixins:
        require_attributes(
            mixin, {a.field: fields.get(a.field, getattr(row, a.field)) for a in mixin.attributes if a.field}
        )
    with cloud.atomically():
        changed = kind.update(cloud, row.id, fields) if fields else row
        retagged = _retag(cloud, row, named, replace=full and bool(message.categories))
        links = () if full else links_to_make(message)
        kind.add_links(cloud, row.id, links)
        return kind.row(cloud, row.id) if retagged or links else changed


def template_fields(kind: EntityType[Any], mixins: Sequence[MixinType[Any]]) -> dict[str, Any]:
    """What the named mixins ask of the door; one that isn't for this kind answers 403 (GFD.185 §3.6.8)."""
    fields: dict[str, Any] = {}
    for mixin in mixins:
        if kind.kind.id not in mixin.mixin.applies:
            raise falcon.HTTPForbidden(description=f"{mixin.mixin.id} can't be applied to a {kind.kind.id.term}.")
        if mixin is OS_BASE or mixin is RESOURCE_BASE:
            raise Invalid(
                f"{mixin.mixin.id} is no template itself: expected one that depends on it; GET /-/ lists them."
            )
        for name, value in mixin.fields.items():
            if fields.setdefault(name, value) != value:
                raise Invalid(f"Two templates were sent, {fields[name]} and {value}: expected one of its sort.")
    return fields


def require_attributes(mixin: MixinType[Any], fields: Mapping[str, Any]) -> None:
    """A mixin comes with the attributes that it requires, by whichever name."""
    for attribute in mixin.attributes:
        if attribute.required and fields.get(attribute.field or "") is None:
            raise Invalid(f"{attribute.name} is missing: {mixin.mixin.id} means nothing without it.")


def links_to_make(message: Message) -> tuple[SentLink, ...]:
    """The inline links that are new: neither actions nor links that exist already and name themselves."""
    return tuple(link for link in message.links if "?action=" not in link.target and link.location is None)


def _retag(cloud: Cloud, row: Any, named: Named, *, replace: bool) -> bool:
    present = {tag.id for tag in row.tags}
    wanted = {tag.id for tag in named.tags}
    surplus = present - wanted if replace else set()
    for tag_id in wanted - present:
        cloud.tag(tag_id, [row.id])
    for tag_id in surplus:
        cloud.untag(tag_id, [row.id])
    return bool(wanted - present or surplus)
