"""What the kinds of link have in common: their ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from backends.cloud import Cloud
from backends.errors import Invalid
from backends.model import Attachment, GroupLink, Interface
from occi_server import values
from occi_server.entities import Attribute, EntityType, Wanted, fields_for_creation
from renderers.occi.representation import AttributeValue, CategoryId, SentLink

MadeLink = TypeVar("MadeLink", Attachment, GroupLink, Interface)

KINDS_OF_ENDS = frozenset({"occi.core.source.kind", "occi.core.target.kind"})
"""Text renderings of links carry these; they follow from the ends."""

SOURCE: Attribute[Any] = Attribute(
    "occi.core.source",
    values.place("/compute/", "a compute"),
    lambda row: f"/compute/{row.machine_id}",
    "machine_id",
    mutable=False,
    required=True,
    at_creation=True,
)


def target(collection: str, what: str, field: str, *, required: bool = True) -> Attribute[Any]:
    return Attribute(
        "occi.core.target",
        values.place(collection, what),
        lambda row: f"{collection}{getattr(row, field)}",
        field,
        mutable=False,
        required=required,
        at_creation=True,
    )


def kinds_of_ends(source: CategoryId, *targets: CategoryId) -> tuple[Attribute[Any], ...]:
    """Sent back with a rendering; never kept."""
    return tuple(
        Attribute(
            name,
            values.matching(
                f".*({'|'.join(kind.term for kind in kinds)})", " or ".join(f'"{kind}"' for kind in kinds), 512
            ),
            description="Follows from the end",
        )
        for name, kinds in (("occi.core.source.kind", (source,)), ("occi.core.target.kind", targets))
    )


def inline_fields(kind: EntityType[Any], applicable: Sequence[CategoryId], link: SentLink) -> dict[str, Any]:
    """The door's fields of a link that comes inside a compute; the compute is its source."""
    for category in link.categories:
        if category != kind.kind.id and category not in applicable:
            raise Invalid(f"{category} is no category of a {kind.kind.id.term} that an inline link can have.")
    attributes: Mapping[str, AttributeValue] = {**link.attributes, "occi.core.target": link.target}
    return fields_for_creation(kind, attributes, without=frozenset({"occi.core.source"}))


def refuse_links(_cloud: Cloud, _link_id: UUID, links: Sequence[SentLink]) -> None:
    if links:
        raise Invalid("A link can't own links.")


def tagged(cloud: Cloud, wanted: Wanted, made: MadeLink, read: Callable[[UUID], MadeLink]) -> MadeLink:
    """A link that was just made, with the user's mixins that were sent with it."""
    for tag_id in wanted.tag_ids:
        cloud.tag(tag_id, [made.id])
    return read(made.id) if wanted.tag_ids else made
