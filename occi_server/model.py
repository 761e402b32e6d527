"""All that the provider serves: the kinds, mixins and actions, and which of them a message names.

What each kind is and does is in a module of its own; users' own categories come from the caller's cloud.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import falcon

from backends.cloud import Cloud
from backends.model import Tag
from occi_server import console, ipreservation, names, storage_options
from occi_server.compute import compute_type
from occi_server.entities import Attribute, EntityType, MixinType, identified, summarised, titled
from occi_server.ipreservation import IP_RESERVATION
from occi_server.network import NETWORK
from occi_server.networkinterface import NETWORK_INTERFACE
from occi_server.securitygroup import SECURITY_GROUP, SECURITY_GROUP_LINK
from occi_server.site import Site
from occi_server.storage import storage_type
from occi_server.storagelink import storage_link_type
from occi_server.templates import Templates, templates_of
from renderers.occi.representation import (
    AttributeDefinition,
    Category,
    CategoryId,
    Kind,
    Mixin,
    SentCategory,
)

IMAGE_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,254}")


def _definitions(*attributes: Attribute[Any]) -> tuple[AttributeDefinition, ...]:
    return tuple(attribute.definition() for attribute in attributes)


CORE_KINDS = (
    Kind(names.ENTITY, "Entity", attributes=_definitions(identified(), titled())),
    Kind(names.RESOURCE, "Resource", names.ENTITY, _definitions(summarised())),
    Kind(
        names.LINK,
        "Link",
        names.ENTITY,
        (
            AttributeDefinition("occi.core.source", required=True, mutable=False),
            AttributeDefinition("occi.core.target", required=True, mutable=False),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Model:
    """The registry, settled when the application starts."""

    site: Site
    templates: Templates
    types: tuple[EntityType[Any], ...]
    by_kind: Mapping[CategoryId, EntityType[Any]]
    mixins: Mapping[CategoryId, MixinType[Any]]
    categories: tuple[Category, ...]
    """All that doesn't depend on images and users: the greater part of discovery."""
    locations: Mapping[str, EntityType[Any] | MixinType[Any]]


def model_of(site: Site) -> Model:
    templates = templates_of(site)
    storage_link = storage_link_type(site.enterprise_number)
    types: tuple[EntityType[Any], ...] = (
        compute_type(templates, storage_link),
        IP_RESERVATION,  # before the networks, which stay while addresses of theirs are reserved
        NETWORK,
        storage_type(site, templates),
        SECURITY_GROUP,
        NETWORK_INTERFACE,
        storage_link,
        SECURITY_GROUP_LINK,
    )
    mixins = {mixin.mixin.id: mixin for kind in types for mixin in kind.mixins}
    console_kind = Kind(
        templates.console_kind,
        "Console of a compute",
        names.LINK,
        (templates.console_password,),
        location=console.LOCATION,
    )
    categories: tuple[Category, ...] = (
        *CORE_KINDS,
        *(kind.kind for kind in types),
        console_kind,
        *(mixin.mixin for mixin in mixins.values()),
        *(action.action for kind in types for action in kind.actions),
    )
    locations: dict[str, EntityType[Any] | MixinType[Any]] = {kind.location: kind for kind in types}
    locations.update({mixin.mixin.location: mixin for mixin in mixins.values()})
    return Model(site, templates, types, {kind.kind.id: kind for kind in types}, mixins, categories, locations)


RESERVED = ("/-/", "/.well-known/", "/os_tpl/", "/resource_tpl/", "/storage_tpl/", "/mixin/", console.LOCATION)
"""Paths, besides those of kinds, below which no user may put a mixin."""


def discover(model: Model, cloud: Cloud) -> tuple[Category, ...]:
    """Everything that the query interface shows this caller."""
    images = (model.templates.discovered(image) for image in cloud.images())
    absent = storage_options.absent_pools(model.site, cloud)
    return (
        *(category for category in model.categories if category.id not in absent),
        *images,
        *storage_options.storage_hosts(model.site, cloud),
        *ipreservation.pools(cloud),
        *(tag_category(tag) for tag in cloud.tags()),
    )


def tag_category(tag: Tag) -> Mixin:
    related = split_identifier(tag.related)
    return Mixin(
        CategoryId(tag.scheme, tag.term),
        tag.title,
        depends=() if related is None else (related,),
        location=tag.location,
    )


def split_identifier(identifier: str) -> CategoryId | None:
    scheme, mark, term = identifier.rpartition("#")
    return CategoryId(scheme + mark, term) if scheme and term else None


@dataclass(frozen=True, slots=True)
class Named:
    """The categories of a message, each found in the model."""

    kinds: tuple[EntityType[Any], ...] = ()
    core: tuple[CategoryId, ...] = ()
    mixins: tuple[MixinType[Any], ...] = ()
    tags: tuple[Tag, ...] = ()
    actions: tuple[CategoryId, ...] = ()


def named_in(model: Model, cloud: Cloud, categories: Iterable[SentCategory]) -> Named:
    """Find what a message names; an unknown category answers 404 (GFD.185 §3.6.8)."""
    kinds: list[EntityType[Any]] = []
    core: list[CategoryId] = []
    mixins: list[MixinType[Any]] = []
    tags: list[Tag] = []
    actions: list[CategoryId] = []
    own_tags: Sequence[Tag] | None = None
    known_actions = {action.action.id for kind in model.types for action in kind.actions}
    for category in categories:
        identity = category.id
        if identity in model.by_kind:
            kinds.append(model.by_kind[identity])
        elif identity in model.mixins:
            mixins.append(model.mixins[identity])
        elif identity.scheme == model.templates.os_scheme:
            mixins.append(image_template(model, cloud, identity.term))
        elif identity.scheme == storage_options.scheme(model.site):
            mixins.append(storage_options.host_named(model.site, cloud, identity.term))
        elif identity.scheme == names.POOLS:
            mixins.append(ipreservation.pool_named(cloud, identity.term))
        elif identity in known_actions:
            actions.append(identity)
        elif identity.scheme == names.CORE and identity in (names.ENTITY, names.RESOURCE, names.LINK):
            core.append(identity)
        else:
            own_tags = cloud.tags() if own_tags is None else own_tags
            tags.append(_tag_among(own_tags, identity))
    return Named(tuple(kinds), tuple(core), tuple(mixins), tuple(tags), tuple(actions))


def image_template(model: Model, cloud: Cloud, name: str) -> MixinType[Any]:
    """The template of an image that there is."""
    if not IMAGE_NAME.fullmatch(name):
        raise falcon.HTTPNotFound(description=f"There is no os_tpl {name[:80]!r}.")
    image = cloud.image(name)
    return model.templates.of_image(image.name, image.title)


def _tag_among(tags: Sequence[Tag], identity: CategoryId) -> Tag:
    for tag in tags:
        if (tag.scheme, tag.term) == (identity.scheme, identity.term):
            return tag
    raise falcon.HTTPNotFound(description=f"There is no category {str(identity)[:200]!r}; GET /-/ lists them.")
