"""The XML that machines become, against files that a person has read.

`ALTOSTRATUS_WRITE_GOLDEN=1` rewrites them: read the difference before committing it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from lxml import etree

from backends.machines.domain_xml import (
    METADATA_NAMESPACE,
    SPARE_PORTS,
    backup_xml,
    disk_xml,
    domain_xml,
    interface_xml,
    parse_domain,
    parse_metadata,
    secret_xml,
)
from backends.machines.errors import InvalidSpec
from backends.machines.spec import BaseImage, DomainDisk, DomainInterface, DomainSpec, DomainType, IscsiSource
from backends.model import Architecture

DATA = Path(__file__).parent / "data"
STATE = Path("/var/lib/altostratus")
ID = UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
CHAIN = (
    BaseImage(STATE / "disks/snapshot.qcow2", "qcow2"),
    BaseImage(STATE / "images/debian.raw", "raw"),
)
TARGET = IscsiSource(
    "192.0.2.7",
    3260,
    "iqn.2026-01.local.altostratus:as12ab.disk",
    "iqn.2026-01.local.altostratus:as12ab.attachment",
    UUID("0f0f0f0f-8b86-4d01-b42d-00cf4fc964ff"),
)
BARE = DomainSpec(id=ID, title=None, cores=1, memory_mib=256, share=None, architecture=Architecture.X64)
FULL = DomainSpec(
    id=ID,
    title="Front & <back>\n\x00",
    cores=4,
    memory_mib=4096,
    share=512,
    architecture=Architecture.X64,
    disks=(
        DomainDisk(STATE / "disks/root.qcow2", "qcow2", "vda", "root", bases=CHAIN),
        DomainDisk(STATE / "disks/data.raw", "raw", "vdb", read_only=True),
        DomainDisk(TARGET, "raw", "vdc", "served"),
    ),
    interfaces=(
        DomainInterface("ast0a", "asbr0", "52:54:00:00:00:01"),
        DomainInterface("ast0b", "asbr1", "52:54:00:00:00:02"),
    ),
    seed=STATE / "seeds/6f9619ff.iso",
)


def build(spec: DomainSpec, domain_type: DomainType = "qemu") -> str:
    return domain_xml(
        spec,
        cloud_tag="as12ab",
        domain_type=domain_type,
        console_log=STATE / "consoles/c.log",
        vnc_password="s3cret-8",
    )


def compare(name: str, xml: str) -> None:
    path = DATA / name
    if os.environ.get("ALTOSTRATUS_WRITE_GOLDEN"):
        path.write_text(xml)
    assert xml == path.read_text()


def test_secret_is_kept_in_memory_and_private() -> None:
    compare("secret.xml", secret_xml(TARGET.secret_id, "as12ab-secret"))


def test_target_s_disk_is_raw_and_its_names_are_checked() -> None:
    with pytest.raises(InvalidSpec, match="what a target serves is raw"):
        DomainDisk(TARGET, "qcow2", "vdb")
    with pytest.raises(InvalidSpec, match="initiator"):
        replace(TARGET, initiator="iqn.2026-01.org.example:a/b")


def test_bare_machine() -> None:
    compare("bare.xml", build(BARE))


def test_machine_with_everything() -> None:
    compare("full.xml", build(FULL))


def test_machine_under_kvm() -> None:
    compare("kvm.xml", build(FULL, "kvm"))


def test_machine_of_32_bits() -> None:
    compare("x86.xml", build(replace(BARE, architecture=Architecture.X86)))


def test_machine_that_may_grow() -> None:
    compare("growing.xml", build(replace(BARE, max_cores=4)))


def test_machine_beyond_its_limit_has_no_room_to_grow() -> None:
    assert build(replace(BARE, cores=4, max_cores=2)) == build(replace(BARE, cores=4))


def test_plugged_disk() -> None:
    compare("disk.xml", disk_xml(FULL.disks[0]))


def test_plugged_interface() -> None:
    compare("interface.xml", interface_xml(FULL.interfaces[0]))


def test_backup_of_one_disk() -> None:
    compare("backup.xml", backup_xml("vdb", STATE / "images/copy.qcow2", ("vda", "vdb")))


def test_every_device_leaves_the_spare_ports_free() -> None:
    def ports(spec: DomainSpec) -> int:
        root = etree.fromstring(build(spec))
        return len(root.findall("devices/controller[@model='pcie-root-port']"))

    assert ports(BARE) > SPARE_PORTS
    seed_controllers = 1
    assert ports(FULL) - ports(BARE) == len(FULL.disks) + len(FULL.interfaces) + seed_controllers


def test_hostile_title_stays_text() -> None:
    root = etree.fromstring(build(replace(BARE, title="</title><on_crash>\x00\ud800" + "x" * 999)))
    title = root.findtext("title")
    assert title is not None
    assert title.startswith("</title><on_crash>")
    assert len(title) <= 200


def test_what_is_built_is_read_back() -> None:
    description = parse_domain(build(FULL))
    assert [plugged.source for plugged, _ in description.disks.values()] == [disk.source for disk in FULL.disks]
    assert {tap: plugged.mac for tap, (plugged, _) in description.interfaces.items()} == {
        "ast0a": "52:54:00:00:00:01",
        "ast0b": "52:54:00:00:00:02",
    }
    assert description.seed == FULL.seed
    assert (description.cores, description.vnc, description.guest_agent) == (4, None, False)


def test_cores_read_back_are_those_that_the_guest_has() -> None:
    assert parse_domain(build(replace(BARE, cores=2, max_cores=4))).cores == 2


def test_metadata_names_the_cloud_and_the_machine() -> None:
    element = etree.fromstring(build(BARE)).find(f"metadata/{{{METADATA_NAMESPACE}}}machine")
    assert element is not None
    assert parse_metadata(etree.tostring(element, encoding="unicode")) == ("as12ab", ID)


@pytest.mark.parametrize("xml", ["<machine/>", "<machine cloud='as12ab' id='7'/>"])
def test_other_metadata_is_nobodys(xml: str) -> None:
    assert parse_metadata(xml) is None


@pytest.mark.parametrize("device", ["sda", "vd", "vda1", "VDA", "../vda"])
def test_disk_at_no_virtio_place_is_refused(device: str) -> None:
    with pytest.raises(InvalidSpec, match="device"):
        DomainDisk(STATE / "d", "raw", device)


def test_tap_that_libvirt_would_rename_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="vnet"):
        DomainInterface("vnet7", "asbr0", "52:54:00:00:00:01")


@pytest.mark.parametrize("mac", ["53:54:00:00:00:01", "52-54-00-00-00-01", "52:54:00:00:00", ""])
def test_mac_that_is_not_unicast_is_refused(mac: str) -> None:
    with pytest.raises(InvalidSpec, match="MAC"):
        DomainInterface("ast0a", "asbr0", mac)


def test_raw_disk_on_an_image_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="can't stand on"):
        DomainDisk(STATE / "d", "raw", "vda", bases=CHAIN)


def test_two_disks_at_one_device_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="one device"):
        replace(BARE, disks=(FULL.disks[0], FULL.disks[0]))
