"""libvirt's secrets: what QEMU's initiator logs in with, named after the cloud; values go in and never come out."""

from __future__ import annotations

from uuid import UUID

import libvirt

from backends.machines.domain_xml import secret_xml
from backends.machines.errors import NotOurs


def ensure(connection: libvirt.virConnect, cloud_tag: str, secret_id: UUID, value: str) -> None:
    secret = _find(connection, cloud_tag, secret_id)
    if secret is None:
        secret = connection.secretDefineXML(secret_xml(secret_id, _usage(cloud_tag, secret_id)))
    secret.setValue(value.encode())


def absent(connection: libvirt.virConnect, cloud_tag: str, secret_id: UUID) -> None:
    secret = _find(connection, cloud_tag, secret_id)
    if secret is not None:
        secret.undefine()


def of_cloud(connection: libvirt.virConnect, cloud_tag: str) -> set[UUID]:
    found = set()
    for secret in connection.listAllSecrets():
        secret_id = UUID(bytes=secret.UUID())
        if secret.usageID() == _usage(cloud_tag, secret_id):
            found.add(secret_id)
    return found


def _usage(cloud_tag: str, secret_id: UUID) -> str:
    return f"{cloud_tag}-{secret_id}"


def _find(connection: libvirt.virConnect, cloud_tag: str, secret_id: UUID) -> libvirt.virSecret | None:
    try:
        secret = connection.secretLookupByUUID(secret_id.bytes)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return None
        raise
    if secret.usageID() != _usage(cloud_tag, secret_id):
        raise NotOurs(f"the secret {secret_id} is there, but isn't ours")
    return secret
