"""Snapshots: what one standard takes, the other shows."""

from __future__ import annotations

from conformance.cdmi.server import Thing
from conformance.interop.server import Server, check
from conformance.suite import Level, NotApplicable, expect, require


def snapshot_source(server: Server) -> tuple[Thing, str]:
    """A disk of which CDMI takes snapshots, and its storage."""
    server.cdmi.needs_system("cdmi_snapshots")
    compute = server.compute()
    disk = server.disk([compute])
    server.cdmi.needs("cdmi_snapshot", of=disk.fields)
    link = server.linked(compute, disk)
    storage = server.storage_of(link)
    server.needs_storage(storage)
    server.unlink(link)
    return disk, storage


def snapshots_of(server: Server, disk: Thing) -> list[str]:
    return list(server.cdmi.settled(disk.url, "container").get("snapshots", []))


@check("snapshots/by-occi", "14", "14.1", "GFD.184 §3.3", "CDMI lists what OCCI's action snapshot takes.", Level.SHOULD)
def by_occi(server: Server) -> None:
    disk, storage = snapshot_source(server)
    if "snapshot" not in server.occi.offered(storage):
        raise NotApplicable("the storage offers no action snapshot")
    expect(server.occi.act(storage, "storage", "snapshot"), {200, 202}, "the action snapshot")
    server.occi.wait_until(lambda: len(snapshots_of(server, disk)) == 1, "the field snapshots lists one")


@check("snapshots/by-cdmi", "14", "14.2", "GFD.184 §3.3", "A snapshot taken by CDMI has the disk's size.", Level.SHOULD)
def by_cdmi(server: Server) -> None:
    disk, _ = snapshot_source(server)
    expect(server.cdmi.update(disk.url, "container", {"snapshot": "first"}), {201, 202, 204}, "a snapshot")
    url = f"{disk.url}cdmi_snapshots/first/"
    require(server.size_of(url) == server.size_of(disk.url), "cdmi_assignedsize of the snapshot is another")


@check("snapshots/clone", "9.2.6, 14", "9.3.6, 14.1", "", "A copy of a snapshot is a disk for computes.", Level.SHOULD)
def clone(server: Server) -> None:
    disk, _ = snapshot_source(server)
    server.cdmi.needs("cdmi_copy_container")
    expect(server.cdmi.update(disk.url, "container", {"snapshot": "first"}), {201, 202, 204}, "a snapshot")
    url = f"{disk.url}cdmi_snapshots/first/"
    server.cdmi.settled(url, "container")
    copy = server.cdmi.make("container", {"copy": server.cdmi.path_of(url)}, server.cdmi.new_url("/"))
    compute = server.compute()
    expect(server.permit(copy, compute), {200, 202, 204}, "a permission for a compute")
    server.linked(compute, copy)
