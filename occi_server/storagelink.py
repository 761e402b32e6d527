"""The storagelink kind: a disk plugged into a compute."""

from __future__ import annotations

import re
from typing import cast

from backends.cloud import AttachmentChanges, Cloud
from backends.model import Attachment, LinkState, NewAttachment
from occi_server import names, values
from occi_server.entities import (
    Attribute,
    EntityType,
    Wanted,
    identified,
    shown_attributes,
    shown_mixins,
    state_message,
    titled,
)
from occi_server.links import SOURCE, inline_fields, kinds_of_ends, refuse_links, target
from occi_server.values import ValueType
from renderers.occi.representation import AttributeValue, Kind, Link, LinkEnd, SentLink

LOCATION = "/storagelink/"
DEVICE = re.compile(r"(?:/dev/)?(?:vd|sd|hd|xvd)([a-z])")


def device() -> ValueType:
    """A disk of the guest. All are virtio disks, so the other buses' names stand for the same letter."""

    def take(value: AttributeValue) -> str:
        match = DEVICE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError
        return f"vd{match[1]}"

    return ValueType("string", "a device such as /dev/vdb", take, {"pattern": f"^{DEVICE.pattern}$"})


OWN: tuple[Attribute[Attachment], ...] = (
    Attribute(
        "occi.storagelink.deviceid",
        device(),
        lambda attachment: f"/dev/{attachment.device}",
        "device",
        description="The guest's device; the cloud chooses when not given",
    ),
    Attribute(
        "occi.storagelink.mountpoint",
        values.matching(r"/[^\x00-\x1f\x7f]*", "an absolute path", 4096),
        lambda attachment: attachment.mount_point,
        "mount_point",
        clearable=True,
        description="Where the guest is to mount it",
    ),
    Attribute(
        "occi.storagelink.state",
        values.one_of(LinkState),
        lambda attachment: attachment.state.value,
        "state",
        mutable=False,
        description="Present state",
    ),
    state_message("occi.storagelink.state.message"),
)


def describe(attachment: Attachment) -> Link:
    return Link(
        kind=names.STORAGE_LINK,
        id=attachment.id.urn,
        location=LOCATION + str(attachment.id),
        source=LinkEnd(f"/compute/{attachment.machine_id}", names.COMPUTE),
        target=LinkEnd(f"/storage/{attachment.disk_id}", names.STORAGE),
        title=attachment.title,
        mixins=shown_mixins(STORAGE_LINK, attachment, attachment.tags),
        attributes=shown_attributes(STORAGE_LINK, attachment),
    )


def inline(link: SentLink) -> NewAttachment:
    return NewAttachment(**inline_fields(STORAGE_LINK, (), link))


def create(cloud: Cloud, wanted: Wanted) -> Attachment:
    fields = dict(wanted.fields)
    machine_id = fields.pop("machine_id")
    refuse_links(cloud, machine_id, wanted.links)
    attachment = cloud.attach(machine_id, NewAttachment(**fields))
    for tag_id in wanted.tag_ids:
        cloud.tag(tag_id, [attachment.id])
    return cloud.attachment(attachment.id) if wanted.tag_ids else attachment


STORAGE_LINK: EntityType[Attachment] = EntityType(
    kind=Kind(
        names.STORAGE_LINK,
        "Link to a storage",
        names.LINK,
        tuple(attribute.definition() for attribute in OWN),
        location=LOCATION,
    ),
    attributes=(
        identified(),
        titled(),
        SOURCE,
        target("/storage/", "a storage", "disk_id"),
        *kinds_of_ends(names.COMPUTE, names.STORAGE),
        *OWN,
    ),
    mixins=(),
    actions=(),
    describe=describe,
    rows=lambda cloud, where, page: cloud.attachments(where, page),
    ids=lambda cloud, where, page: cloud.attachment_ids(where, page),
    row=lambda cloud, attachment_id: cloud.attachment(attachment_id),
    create=create,
    update=lambda cloud, attachment_id, fields: cloud.update_attachment(attachment_id, cast(AttachmentChanges, fields)),
    delete=lambda cloud, attachment_id: cloud.detach(attachment_id),
    add_links=refuse_links,
)
