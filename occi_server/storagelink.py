"""The storagelink kind: a disk plugged into a compute.

Its deviceid is the disk's object ID in CDMI, as OCCI Infrastructure's "Linking to CDMI Managed Storage" says. The
guest's device is the mountpoint, unless the client has said where the guest mounts the disk; clients that send a
device as deviceid are understood too.
"""

from __future__ import annotations

import re
from typing import cast
from uuid import UUID

from backends.cloud import AttachmentChanges, Cloud
from backends.errors import Invalid, NotApplicable
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
from occi_server.links import SOURCE, inline_fields, kinds_of_ends, refuse_links, tagged, target
from occi_server.values import ValueType
from renderers.cdmi.objectid import decode, encode
from renderers.occi.representation import AttributeValue, Kind, Link, LinkEnd, SentLink

LOCATION = "/storagelink/"
DEVICE = re.compile(r"(?:/dev/)?(?:vd|sd|hd|xvd)([a-z])")
PATH = re.compile(r"/[^\x00-\x1f\x7f]{0,4095}")
OBJECT_ID_PATTERN = "[0-9A-Fa-f]{18,80}"


class GuestDevice(str):
    """The guest's name for a disk, `vdb`."""

    __slots__ = ()


def parse_device(value: str) -> GuestDevice | None:
    """All disks are virtio disks, so the other buses' names stand for the same letter."""
    match = DEVICE.fullmatch(value)
    return GuestDevice(f"vd{match[1]}") if match else None


def device_id(enterprise: int) -> ValueType:
    """The disk by its object ID, or the guest's device."""

    def take(value: AttributeValue) -> UUID | GuestDevice:
        if not isinstance(value, str):
            raise ValueError
        return parse_device(value) or decode(value, enterprise)

    expected = "the CDMI object ID of a storage here, or a device such as /dev/vdb"
    return ValueType("string", expected, take, {"pattern": f"^(?:{OBJECT_ID_PATTERN}|{DEVICE.pattern})$"})


def mount_point() -> ValueType:
    def take(value: AttributeValue) -> str:
        if not isinstance(value, str) or PATH.fullmatch(value) is None:
            raise ValueError
        return parse_device(value) or value

    return ValueType("string", "an absolute path, or a device such as /dev/vdb", take, {"pattern": "^/"})


def fields_of(value: object) -> dict[str, object]:
    """What a deviceid or mountpoint says."""
    if isinstance(value, UUID):
        return {"disk_id": value}
    return {"device" if isinstance(value, GuestDevice) else "mount_point": value}


def own_attributes(enterprise: int) -> tuple[Attribute[Attachment], ...]:
    return (
        Attribute(
            "occi.storagelink.deviceid",
            device_id(enterprise),
            lambda attachment: encode(attachment.disk_id, enterprise),
            "device",
            description="The storage's CDMI object ID; or, when sent, the guest's device",
            fields_of=fields_of,
        ),
        Attribute(
            "occi.storagelink.mountpoint",
            mount_point(),
            lambda attachment: attachment.mount_point or f"/dev/{attachment.device}",
            "mount_point",
            clearable=True,
            description="Where the guest is to mount it; else the guest's device, which the cloud chooses if not given",
            fields_of=fields_of,
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


def describe(kind: EntityType[Attachment], attachment: Attachment) -> Link:
    return Link(
        kind=names.STORAGE_LINK,
        id=attachment.id.urn,
        location=LOCATION + str(attachment.id),
        source=LinkEnd(f"/compute/{attachment.machine_id}", names.COMPUTE),
        target=LinkEnd(f"/storage/{attachment.disk_id}", names.STORAGE),
        title=attachment.title,
        mixins=shown_mixins(kind, attachment, attachment.tags),
        attributes=shown_attributes(kind, attachment),
    )


def inline(kind: EntityType[Attachment], link: SentLink) -> NewAttachment:
    return NewAttachment(**inline_fields(kind, (), link))


def create(cloud: Cloud, wanted: Wanted) -> Attachment:
    fields = dict(wanted.fields)
    machine_id = fields.pop("machine_id")
    refuse_links(cloud, machine_id, wanted.links)
    if "disk_id" not in fields:
        raise Invalid("occi.core.target is missing: expected it, or its object ID as occi.storagelink.deviceid.")
    return tagged(cloud, wanted, cloud.attach(machine_id, NewAttachment(**fields)), cloud.attachment)


def update(cloud: Cloud, attachment_id: UUID, fields: dict[str, object]) -> Attachment:
    if "disk_id" in fields:
        raise NotApplicable("occi.storagelink.deviceid names another storage: make another storagelink for that.")
    return cloud.update_attachment(attachment_id, cast(AttachmentChanges, fields))


def storage_link_type(enterprise: int) -> EntityType[Attachment]:
    """The kind where object IDs carry this enterprise number."""
    own = own_attributes(enterprise)
    kind: EntityType[Attachment] = EntityType(
        kind=Kind(
            names.STORAGE_LINK,
            "Link to a storage",
            names.LINK,
            tuple(attribute.definition() for attribute in own),
            location=LOCATION,
        ),
        attributes=(
            identified(),
            titled(),
            SOURCE,
            target("/storage/", "a storage", "disk_id", required=False),
            *kinds_of_ends(names.COMPUTE, names.STORAGE),
            *own,
        ),
        mixins=(),
        actions=(),
        describe=lambda attachment: describe(kind, attachment),
        rows=lambda cloud, where, page: cloud.attachments(where, page),
        ids=lambda cloud, where, page: cloud.attachment_ids(where, page),
        row=lambda cloud, attachment_id: cloud.attachment(attachment_id),
        create=create,
        update=update,
        delete=lambda cloud, attachment_id: cloud.detach(attachment_id),
        add_links=refuse_links,
    )
    return kind
