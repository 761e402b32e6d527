"""The XML of domains and of their devices, to and from libvirt; pure functions.

https://libvirt.org/formatdomain.html names every element. Nothing here talks to libvirt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from lxml import etree

from backends.machines.spec import (
    BaseImage,
    DomainDisk,
    DomainInterface,
    DomainSpec,
    DomainType,
    IscsiSource,
    PluggedDisk,
    PluggedInterface,
)
from backends.model import Architecture

METADATA_NAMESPACE = "urn:altostratus:domain:1"
SPARE_PORTS = 8
"""PCIe root ports beyond the devices a machine starts with: how much can be plugged in while it runs."""
_FIXED_PCI_DEVICES = 3  # serial controller of the agent's channel, balloon, random numbers
_TITLE_LIMIT = 200
_SHARE_RANGE = (2, 10_000)  # accepted by cgroups of either version
_ARCHITECTURES = {Architecture.X86: "i686", Architecture.X64: "x86_64"}
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)


def domain_name(cloud_tag: str, machine_id: UUID) -> str:
    return f"{cloud_tag}-{machine_id}"


def domain_xml(
    spec: DomainSpec, *, cloud_tag: str, domain_type: DomainType, console_log: Path, vnc_password: str
) -> str:
    """The whole domain, with a secret in it: never log it.

    `spec.share` becomes a cgroup's weight: leave it None where there are no cgroups.
    """
    domain = _node("domain", type=domain_type)
    domain.append(_node("name", domain_name(cloud_tag, spec.id)))
    domain.append(_node("uuid", str(spec.id)))
    if spec.title and (title := _printable(spec.title)):
        domain.append(_node("title", title))
    domain.append(_node("metadata", _metadata(cloud_tag, spec.id)))
    domain.append(_node("memory", str(spec.memory_mib), unit="MiB"))
    domain.append(_vcpu(spec))
    if spec.share is not None:
        low, high = _SHARE_RANGE
        domain.append(_node("cputune", _node("shares", str(min(max(spec.share, low), high)))))
    domain.append(_node("os", _node("type", "hvm", arch=_ARCHITECTURES[spec.architecture], machine="q35")))
    domain.append(_node("features", _node("acpi"), _node("apic")))
    domain.append(_cpu(spec, domain_type))
    domain.append(_clock(domain_type))
    domain.append(_node("on_poweroff", "destroy"))
    domain.append(_node("on_reboot", "restart"))
    domain.append(_node("on_crash", "destroy"))
    domain.append(_node("pm", _node("suspend-to-mem", enabled="no"), _node("suspend-to-disk", enabled="no")))
    domain.append(_devices(spec, console_log, vnc_password))
    return _text(domain)


def disk_xml(disk: DomainDisk) -> str:
    return _text(_disk(disk, boot_order=None))


def interface_xml(interface: DomainInterface) -> str:
    return _text(_interface(interface))


def secret_xml(secret_id: UUID, usage: str) -> str:
    """Held in libvirtd's memory only, and never shown to anybody."""
    return _text(
        _node(
            "secret",
            _node("uuid", str(secret_id)),
            _node("usage", _node("target", usage), type="iscsi"),
            ephemeral="yes",
            private="yes",
        )
    )


def backup_xml(device: str, target: Path, all_devices: tuple[str, ...]) -> str:
    """A push-mode backup of one disk of a running domain, the others left out."""
    disks = _node("disks")
    for each in all_devices:
        if each == device:
            driver, file = _node("driver", type="qcow2"), _node("target", file=str(target))
            disks.append(_node("disk", driver, file, name=each, backup="yes", type="file"))
        else:
            disks.append(_node("disk", name=each, backup="no"))
    return _text(_node("domainbackup", disks, mode="push"))


@dataclass(frozen=True, slots=True)
class Device:
    """One plugged disk or interface, with the alias by which libvirt knows it (None while off)."""

    element_xml: str
    alias: str | None


@dataclass(frozen=True, slots=True)
class Description:
    """What a domain's XML says, as far as this driver asks."""

    disks: dict[str, tuple[PluggedDisk, Device]]
    interfaces: dict[str, tuple[PluggedInterface, Device]]
    """By tap."""
    seed: Path | None
    vnc: str | None
    vnc_password: str | None
    """Where libvirt was asked for secrets."""
    guest_agent: bool
    cores: int
    memory_mib: int


def parse_domain(xml: str) -> Description:
    root = etree.fromstring(xml.encode(), _PARSER)
    disks = {
        device: (PluggedDisk(device, _source(disk)), _device(disk))
        for disk in root.iterfind("devices/disk[@device='disk']")
        if (device := _attribute(disk, "target", "dev")) is not None
    }
    interfaces = {
        tap: (
            PluggedInterface(
                tap,
                _attribute(interface, "source", "bridge"),
                _attribute(interface, "mac", "address") or "",
            ),
            _device(interface),
        )
        for interface in root.iterfind("devices/interface")
        if (tap := _attribute(interface, "target", "dev")) is not None
    }
    seed = root.find("devices/disk[@device='cdrom']")
    channel = root.find("devices/channel/target[@name='org.qemu.guest_agent.0']")
    return Description(
        disks=disks,
        interfaces=interfaces,
        seed=None if seed is None else _file(seed),
        vnc=_vnc(root),
        vnc_password=_attribute(root, "devices/graphics[@type='vnc']", "passwd"),
        guest_agent=channel is not None and channel.get("state") == "connected",
        cores=int(_attribute(root, "vcpu", "current") or root.findtext("vcpu") or 0),
        memory_mib=int(root.findtext("memory", "0")) // 1024,
    )


def parse_metadata(xml: str) -> tuple[str, UUID] | None:
    """The cloud tag and machine id in our metadata element, None when they are not what we write."""
    element = etree.fromstring(xml.encode(), _PARSER)
    cloud_tag, machine_id = element.get("cloud"), element.get("id")
    if cloud_tag is None or machine_id is None:
        return None
    try:
        return cloud_tag, UUID(machine_id)
    except ValueError:
        return None


def _node(tag: str, *content: etree._Element | str, **attributes: str) -> etree._Element:
    element = etree.Element(tag, attributes)
    for each in content:
        if isinstance(each, str):
            element.text = each
        else:
            element.append(each)
    return element


def _metadata(cloud_tag: str, machine_id: UUID) -> etree._Element:
    element = etree.Element(etree.QName(METADATA_NAMESPACE, "machine"), nsmap={"altostratus": METADATA_NAMESPACE})
    element.set("cloud", cloud_tag)
    element.set("id", str(machine_id))
    return element


def _most_cores(spec: DomainSpec) -> int:
    return max(spec.cores, spec.max_cores or 0)


def _vcpu(spec: DomainSpec) -> etree._Element:
    """Places for all that it may grow to, of which the guest has its cores."""
    most = _most_cores(spec)
    vcpu = _node("vcpu", str(most), placement="static")
    if most > spec.cores:
        vcpu.set("current", str(spec.cores))
    return vcpu


def _cpu(spec: DomainSpec, domain_type: DomainType) -> etree._Element:
    """All that the host has under KVM; all that QEMU can emulate otherwise (no slower than qemu64)."""
    mode = "host-passthrough" if domain_type == "kvm" else "maximum"
    topology = _node("topology", sockets="1", dies="1", cores=str(_most_cores(spec)), threads="1")
    return _node("cpu", topology, mode=mode, check="none", migratable="on")


def _clock(domain_type: DomainType) -> etree._Element:
    clock = _node("clock", offset="utc")
    if domain_type == "kvm":
        clock.append(_node("timer", name="rtc", tickpolicy="catchup"))
        clock.append(_node("timer", name="pit", tickpolicy="delay"))
        clock.append(_node("timer", name="hpet", present="no"))
    return clock


def _devices(spec: DomainSpec, console_log: Path, vnc_password: str) -> etree._Element:
    devices = _node(
        "devices",
        _node("controller", type="usb", model="none"),
        _node("controller", type="pci", model="pcie-root"),
    )
    seed_devices = 0 if spec.seed is None else 1
    own = _FIXED_PCI_DEVICES + seed_devices + len(spec.disks) + len(spec.interfaces)
    for _ in range(own + SPARE_PORTS):
        devices.append(_node("controller", type="pci", model="pcie-root-port"))
    for order, disk in enumerate(spec.disks, start=1):
        devices.append(_disk(disk, boot_order=order))
    if spec.seed is not None:
        devices.append(_node("controller", type="scsi", index="0", model="virtio-scsi"))
        devices.append(_seed(spec.seed))
    for interface in spec.interfaces:
        devices.append(_interface(interface))
    log = _node("log", file=str(console_log), append="on")
    devices.append(_node("serial", log, _node("target", type="isa-serial", port="0"), type="pty"))
    devices.append(_node("console", _node("target", type="serial", port="0"), type="pty"))
    devices.append(_node("channel", _node("target", type="virtio", name="org.qemu.guest_agent.0"), type="unix"))
    devices.append(
        _node(
            "graphics",
            _node("listen", type="address", address="127.0.0.1"),
            type="vnc",
            port="-1",
            autoport="yes",
            passwd=vnc_password,
        )
    )
    devices.append(_node("video", _node("model", type="vga")))
    balloon = _node("memballoon", _node("stats", period="10"), model="virtio", autodeflate="on", freePageReporting="on")
    devices.append(balloon)
    devices.append(_node("rng", _node("backend", "/dev/urandom", model="random"), model="virtio"))
    return devices


def _disk(disk: DomainDisk, boot_order: int | None) -> etree._Element:
    """Written back through the host's page cache, which honours the guest's flushes on every file system."""
    driver = _node("driver", name="qemu", type=disk.format, cache="writeback", discard="unmap", detect_zeroes="unmap")
    element = _node(
        "disk",
        driver,
        _source_node(disk.source),
        _node("target", dev=disk.device, bus="virtio"),
        type="network" if isinstance(disk.source, IscsiSource) else "file",
        device="disk",
    )
    if disk.bases:
        element.append(_backing_store(disk.bases))
    if disk.read_only:
        element.append(_node("readonly"))
    if disk.serial is not None:
        element.append(_node("serial", disk.serial))
    if boot_order is not None:
        element.append(_node("boot", order=str(boot_order)))
    return element


def _source_node(source: Path | IscsiSource) -> etree._Element:
    if isinstance(source, Path):
        return _node("source", file=str(source))
    return _node(
        "source",
        _node("host", name=source.address, port=str(source.port)),
        _node("initiator", _node("iqn", name=source.initiator)),
        _node("auth", _node("secret", type="iscsi", uuid=str(source.secret_id)), username=source.initiator),
        protocol="iscsi",
        name=f"{source.target}/0",
    )


def _backing_store(bases: Sequence[BaseImage]) -> etree._Element:
    """Images are shared: QEMU's user may read them as they lie, and must not come to own them."""
    if not bases:
        return _node("backingStore")
    nearest = bases[0]
    source = _node("source", _node("seclabel", model="dac", relabel="no"), file=str(nearest.path))
    below = _backing_store(bases[1:])
    return _node("backingStore", _node("format", type=nearest.format), source, below, type="file")


def _seed(path: Path) -> etree._Element:
    """Behind virtio-scsi: Debian's cloud kernels, for one, have no driver for a SATA drive."""
    return _node(
        "disk",
        _node("driver", name="qemu", type="raw"),
        _node("source", file=str(path)),
        _node("target", dev="sda", bus="scsi"),
        _node("readonly"),
        type="file",
        device="cdrom",
    )


def _interface(interface: DomainInterface) -> etree._Element:
    return _node(
        "interface",
        _node("mac", address=interface.mac),
        _node("source", bridge=interface.bridge),
        _node("target", dev=interface.tap),
        _node("model", type="virtio"),
        type="bridge",
    )


def _printable(title: str) -> str:
    return "".join(each if each.isprintable() else " " for each in title[:_TITLE_LIMIT]).strip()


def _text(element: etree._Element) -> str:
    return etree.tostring(element, pretty_print=True, encoding="unicode")


def _attribute(element: etree._Element, child: str, name: str) -> str | None:
    found = element.find(child)
    return None if found is None else found.get(name)


def _file(disk: etree._Element) -> Path | None:
    file = _attribute(disk, "source", "file")
    return None if file is None else Path(file)


def _source(disk: etree._Element) -> Path | IscsiSource | None:
    """None too for what isn't of the form that is written here."""
    if disk.get("type") != "network":
        return _file(disk)
    target, _, unit = (_attribute(disk, "source", "name") or "").partition("/")
    address, port = _attribute(disk, "source/host", "name"), _attribute(disk, "source/host", "port")
    initiator = _attribute(disk, "source/initiator/iqn", "name")
    secret = _attribute(disk, "source/auth/secret", "uuid")
    if unit != "0" or address is None or port is None or initiator is None or secret is None:
        return None
    return IscsiSource(address, int(port), target, initiator, UUID(secret))


def _device(element: etree._Element) -> Device:
    return Device(etree.tostring(element, encoding="unicode"), _attribute(element, "alias", "name"))


def _vnc(root: etree._Element) -> str | None:
    graphics = root.find("devices/graphics[@type='vnc']")
    if graphics is None or (port := graphics.get("port", "-1")) == "-1":
        return None
    return f"{graphics.get('listen', '127.0.0.1')}:{port}"
