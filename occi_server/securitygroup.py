"""The securitygroup kind of EGI's extension, and securitygrouplink, by which a compute is in a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from backends.cloud import Cloud, GroupChanges
from backends.errors import Invalid
from backends.model import GroupLink, LinkState, NewGroup, NewGroupLink, SecurityGroup
from occi_server import names, rules, values
from occi_server.entities import (
    Attribute,
    EntityType,
    Wanted,
    identified,
    shown_attributes,
    shown_mixins,
    state_message,
    summarised,
    titled,
)
from occi_server.links import SOURCE, inline_fields, kinds_of_ends, refuse_links, tagged, target
from renderers.occi.representation import Kind, Link, LinkEnd, Resource, SentLink

LOCATION = rules.LOCATION
LINK_LOCATION = "/securitygrouplink/"

OF_GROUP: tuple[Attribute[SecurityGroup], ...] = (
    Attribute(
        rules.NAME,
        rules.rules(),
        lambda group: rules.shown(group.rules),
        "rules",
        description="What is allowed; all else is not",
    ),
    Attribute(
        "occi.securitygroup.state",
        values.one_of(LinkState),
        lambda group: group.state.value,
        "state",
        mutable=False,
        description="Present state",
    ),
)
OF_LINK: tuple[Attribute[GroupLink], ...] = (
    Attribute(
        "occi.securitygrouplink.state",
        values.one_of(LinkState),
        lambda link: link.state.value,
        "state",
        mutable=False,
        description="Present state",
    ),
    state_message("occi.securitygrouplink.state.message"),
)


def describe(group: SecurityGroup) -> Resource:
    return Resource(
        kind=names.SECURITY_GROUP,
        id=group.id.urn,
        location=LOCATION + str(group.id),
        title=group.title,
        summary=group.summary,
        mixins=shown_mixins(SECURITY_GROUP, group, group.tags),
        attributes=shown_attributes(SECURITY_GROUP, group),
    )


def create(cloud: Cloud, wanted: Wanted) -> SecurityGroup:
    refuse_links_of_group(cloud, UUID(int=0), wanted.links)
    return cloud.create_group(NewGroup(**wanted.fields, tag_ids=wanted.tag_ids))


def refuse_links_of_group(_cloud: Cloud, _group_id: UUID, links: Sequence[SentLink]) -> None:
    if links:
        raise Invalid("A security group owns no links: link a compute to it.")


SECURITY_GROUP: EntityType[SecurityGroup] = EntityType(
    kind=Kind(
        names.SECURITY_GROUP,
        "Security group resource",
        names.RESOURCE,
        tuple(attribute.definition() for attribute in OF_GROUP),
        location=LOCATION,
    ),
    attributes=(identified(), titled(), summarised(), *OF_GROUP),
    mixins=(),
    actions=(),
    describe=describe,
    rows=lambda cloud, where, page: cloud.groups(where, page),
    ids=lambda cloud, where, page: cloud.group_ids(where, page),
    row=lambda cloud, group_id: cloud.group(group_id),
    create=create,
    update=lambda cloud, group_id, fields: cloud.update_group(group_id, cast(GroupChanges, fields)),
    delete=lambda cloud, group_id: cloud.delete_group(group_id),
    add_links=refuse_links_of_group,
    deletable=lambda group: not group.is_default,
)


def describe_link(link: GroupLink) -> Link:
    identity = str(link.id)
    return Link(
        kind=names.SECURITY_GROUP_LINK,
        id="urn:uuid:" + identity,
        location=LINK_LOCATION + identity,
        source=LinkEnd(f"/compute/{link.machine_id}", names.COMPUTE),
        target=LinkEnd(f"{LOCATION}{link.group_id}", names.SECURITY_GROUP),
        title=link.title,
        mixins=shown_mixins(SECURITY_GROUP_LINK, link, link.tags),
        attributes=shown_attributes(SECURITY_GROUP_LINK, link),
    )


def inline(link: SentLink) -> NewGroupLink:
    return NewGroupLink(**inline_fields(SECURITY_GROUP_LINK, (), link))


def create_link(cloud: Cloud, wanted: Wanted) -> GroupLink:
    fields = dict(wanted.fields)
    machine_id = fields.pop("machine_id")
    refuse_links(cloud, machine_id, wanted.links)
    return tagged(cloud, wanted, cloud.join_group(machine_id, NewGroupLink(**fields)), cloud.group_link)


SECURITY_GROUP_LINK: EntityType[GroupLink] = EntityType(
    kind=Kind(
        names.SECURITY_GROUP_LINK,
        "Link to a security group",
        names.LINK,
        tuple(attribute.definition() for attribute in OF_LINK),
        location=LINK_LOCATION,
    ),
    attributes=(
        identified(),
        titled(),
        SOURCE,
        target(LOCATION, "a security group", "group_id"),
        *kinds_of_ends(names.COMPUTE, names.SECURITY_GROUP),
        *OF_LINK,
    ),
    mixins=(),
    actions=(),
    describe=describe_link,
    rows=lambda cloud, where, page: cloud.group_links(where, page),
    ids=lambda cloud, where, page: cloud.group_link_ids(where, page),
    row=lambda cloud, link_id: cloud.group_link(link_id),
    create=create_link,
    update=lambda cloud, link_id, fields: cloud.rename_group_link(link_id, fields.get("title")),
    delete=lambda cloud, link_id: cloud.leave_group(link_id),
    add_links=refuse_links,
)
