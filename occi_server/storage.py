"""The storage kind: disks, blank or made from an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from backends.cloud import Cloud, DiskChanges
from backends.errors import Invalid
from backends.model import Disk, DiskState, NewDisk
from backends.states import DISK_ACTIONS, SNAPSHOT_ACTIONS
from occi_server import names, values
from occi_server.entities import (
    ActionType,
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
from occi_server.site import Site
from occi_server.storage_options import host_of_disk, storage_options
from occi_server.templates import OS_BASE, Templates
from renderers.occi.representation import Action, CategoryId, Kind, Resource, SentLink

LOCATION = "/storage/"
SIZE_MAX_GIB = 1 << 20

SIZE: Attribute[Disk] = Attribute(
    "occi.storage.size",
    values.gibibytes(values.BYTES_PER_GIBIBYTE, SIZE_MAX_GIB, 1 << 20),
    lambda disk: disk.size_bytes / values.BYTES_PER_GIBIBYTE,
    "size_bytes",
    required=True,
    description="Size in GiB; it can grow, not shrink",
)
STATE: Attribute[Disk] = Attribute(
    "occi.storage.state",
    values.one_of(DiskState),
    lambda disk: disk.state.value,
    "state",
    mutable=False,
    description="Present state",
)
OWN = (SIZE, STATE, state_message("occi.storage.state.message"))
NEW_SIZE: Attribute[Disk] = Attribute(
    "size",
    values.gibibytes(values.BYTES_PER_GIBIBYTE, SIZE_MAX_GIB, 1 << 20),
    field="size_bytes",
    required=True,
    description="New size in GiB",
)


def _action(term: str, title: str, *parameters: Attribute[Disk]) -> Action:
    return Action(
        CategoryId(names.STORAGE_ACTION, term), title, tuple(parameter.definition() for parameter in parameters)
    )


ACTIONS: tuple[ActionType[Disk], ...] = (
    ActionType(_action("online", "Online"), lambda cloud, disk_id, _parameters: cloud.disk_online(disk_id)),
    ActionType(_action("offline", "Offline"), lambda cloud, disk_id, _parameters: cloud.disk_offline(disk_id)),
    ActionType(_action("backup", "Backup"), lambda cloud, disk_id, _parameters: cloud.backup_disk(disk_id)),
    ActionType(_action("snapshot", "Snapshot"), lambda cloud, disk_id, _parameters: cloud.snapshot_disk(disk_id)),
    ActionType(
        _action("resize", "Resize", NEW_SIZE),
        lambda cloud, disk_id, parameters: cloud.resize_disk(disk_id, parameters["size_bytes"]),
        (NEW_SIZE,),
    ),
)
APPLICABLE, APPLICABLE_TO_SNAPSHOTS = (
    {state: tuple(CategoryId(names.STORAGE_ACTION, term) for term in terms) for state, terms in actions.items()}
    for actions in (DISK_ACTIONS, SNAPSHOT_ACTIONS)
)


def create(cloud: Cloud, wanted: Wanted) -> Disk:
    add_links(cloud, UUID(int=0), wanted.links)
    return cloud.create_disk(NewDisk(**wanted.fields, tag_ids=wanted.tag_ids))


def add_links(_cloud: Cloud, _disk_id: UUID, links: Sequence[SentLink]) -> None:
    if links:
        raise Invalid("A storage owns no links: link a compute to it.")


KIND = Kind(
    names.STORAGE,
    "Storage resource",
    names.RESOURCE,
    tuple(attribute.definition() for attribute in OWN),
    tuple(action.action.id for action in ACTIONS),
    LOCATION,
)


def storage_type(site: Site, templates: Templates) -> EntityType[Disk]:
    """The kind as a provider with these templates serves it."""

    def describe(disk: Disk) -> Resource:
        return Resource(
            kind=names.STORAGE,
            id=disk.id.urn,
            location=LOCATION + str(disk.id),
            title=disk.title,
            summary=disk.summary,
            mixins=(*templates.of_disk(disk), *host_of_disk(site, disk), *shown_mixins(kind, disk, disk.tags)),
            attributes=shown_attributes(kind, disk),
            actions=(APPLICABLE if disk.snapshot_of is None else APPLICABLE_TO_SNAPSHOTS)[disk.state],
        )

    kind: EntityType[Disk] = EntityType(
        kind=KIND,
        attributes=(identified(), titled(), summarised(), *OWN),
        mixins=(OS_BASE, *storage_options(site)),
        actions=ACTIONS,
        describe=describe,
        rows=lambda cloud, where, page: cloud.disks(where, page),
        ids=lambda cloud, where, page: cloud.disk_ids(where, page),
        row=lambda cloud, disk_id: cloud.disk(disk_id),
        create=create,
        update=lambda cloud, disk_id, fields: cloud.update_disk(disk_id, cast(DiskChanges, fields)),
        delete=lambda cloud, disk_id: cloud.delete_disk(disk_id),
        add_links=add_links,
    )
    return kind
