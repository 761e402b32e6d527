"""Plugging disks and interfaces into a domain and out again, running or not; each step may be repeated.

The running guest is changed first and the definition after it, so that what fails for the guest is
not promised for its next start.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import libvirt

from backends.machines.domain_xml import Description, Device, disk_xml, interface_xml, parse_domain
from backends.machines.errors import DeviceConflict
from backends.machines.observation import describe_definition
from backends.machines.spec import DomainDisk, DomainInterface

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
_POLL_SECONDS = 0.2
_ALREADY_LEAVING = "in the process of unplug"


def attach_disk(domain: libvirt.virDomain, disk: DomainDisk) -> None:
    _attach(domain, disk_xml(disk), lambda description: _has_disk(description, disk))


def attach_interface(domain: libvirt.virDomain, interface: DomainInterface) -> None:
    _attach(domain, interface_xml(interface), lambda description: _has_interface(description, interface))


def detach_disk(domain: libvirt.virDomain, device: str, patience_seconds: float) -> bool:
    """Whether it is gone; False when the guest hasn't let go of it yet."""
    return _detach(domain, lambda description: _disk_device(description, device), patience_seconds)


def detach_interface(domain: libvirt.virDomain, tap: str, patience_seconds: float) -> bool:
    """Whether it is gone; False when the guest hasn't let go of it yet."""
    return _detach(domain, lambda description: _interface_device(description, tap), patience_seconds)


def _attach(domain: libvirt.virDomain, xml: str, is_there: Callable[[Description], bool]) -> None:
    active = bool(domain.isActive())
    if active and not is_there(parse_domain(domain.XMLDesc())):
        domain.attachDeviceFlags(xml, _LIVE)
    if not is_there(describe_definition(domain)):
        domain.attachDeviceFlags(xml, _CONFIG)


def _detach(domain: libvirt.virDomain, find: Callable[[Description], Device | None], patience_seconds: float) -> bool:
    defined = find(describe_definition(domain))
    if defined is not None:
        domain.detachDeviceFlags(defined.element_xml, _CONFIG)
    if not domain.isActive():
        return True
    device = find(parse_domain(domain.XMLDesc()))
    if device is None:
        return True
    if device.alias is None:
        raise DeviceConflict(f"a device of {domain.name()} has no alias by which it could be unplugged")
    try:
        domain.detachDeviceAlias(device.alias, _LIVE)
    except libvirt.libvirtError as error:
        if _ALREADY_LEAVING not in (error.get_error_message() or ""):
            raise
    deadline = time.monotonic() + patience_seconds
    while find(parse_domain(domain.XMLDesc())) is not None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _has_disk(description: Description, disk: DomainDisk) -> bool:
    if (entry := description.disks.get(disk.device)) is None:
        return False
    plugged, _ = entry
    if plugged.source != disk.source:
        raise DeviceConflict(f"{disk.device} is taken by {plugged.source}, so {disk.source} can't be plugged there")
    return True


def _has_interface(description: Description, interface: DomainInterface) -> bool:
    if (entry := description.interfaces.get(interface.tap)) is None:
        return False
    plugged, _ = entry
    if (plugged.mac, plugged.bridge) != (interface.mac, interface.bridge):
        raise DeviceConflict(
            f"tap {interface.tap} has MAC {plugged.mac} on bridge {plugged.bridge}, "
            f"expected {interface.mac} on {interface.bridge}"
        )
    return True


def _disk_device(description: Description, device: str) -> Device | None:
    entry = description.disks.get(device)
    return None if entry is None else entry[1]


def _interface_device(description: Description, tap: str) -> Device | None:
    entry = description.interfaces.get(tap)
    return None if entry is None else entry[1]
