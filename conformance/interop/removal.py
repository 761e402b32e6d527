"""The end of disks: by either standard, and not while a compute has them."""

from __future__ import annotations

from conformance.cdmi.server import CHANGED, GONE, Thing
from conformance.interop.server import REFUSED, Server, check
from conformance.suite import Level, expect, require


def attached(server: Server) -> tuple[Thing, str, str]:
    """A disk that a compute has, the link, and the storage."""
    compute = server.compute()
    disk = server.disk([compute])
    link = server.linked(compute, disk)
    return disk, link, server.storage_of(link)


def delete_freed(server: Server, disk: Thing) -> None:
    """A guest may hold the disk for a while after its link is gone."""
    server.occi.wait_until(
        lambda: server.cdmi.delete(disk.url).status in CHANGED, f"DELETE of {disk.url}, which is free, works"
    )


@check("removal/attached", "9.5.5", "9.6.5", "", "DELETE of an attached container is answered 409.", Level.SHOULD)
def attached_container(server: Server) -> None:
    disk, _, _ = attached(server)
    expect(server.cdmi.delete(disk.url), {409}, "DELETE of a container that a compute has")
    expect(server.cdmi.get(disk.url, "container"), {200}, "a container whose DELETE was refused")


@check("removal/attached-storage", "13.1", "13.7", "GFD.184 §3.4.2", "Its storage isn't deleted either.", Level.SHOULD)
def attached_storage(server: Server) -> None:
    disk, link, storage = attached(server)
    server.needs_storage(storage)
    expect(server.occi.request("DELETE", storage), REFUSED, "DELETE of a storage that a compute has")
    expect(server.cdmi.get(disk.url, "container"), {200}, "a container whose storage's DELETE was refused")
    expect(server.occi.get(link), {200}, "its link")


@check("removal/detached", "9.5", "9.6", "GFD.185 §3.4.4", "Once the link is deleted the container can be.")
def detached(server: Server) -> None:
    disk, link, _ = attached(server)
    server.unlink(link)
    delete_freed(server, disk)
    expect(server.cdmi.get(disk.url, "container"), GONE, "a deleted container")


@check("removal/by-cdmi", "9.5", "9.6", "GFD.184 §3.3", "What CDMI deletes is gone from OCCI.", Level.SHOULD)
def by_cdmi(server: Server) -> None:
    disk, link, storage = attached(server)
    server.needs_storage(storage)
    server.unlink(link)
    delete_freed(server, disk)
    server.occi.wait_until(lambda: server.occi.get(storage).status in GONE, f"{storage} is gone")


@check("removal/by-occi", "9.5", "9.6", "GFD.184 §3.3", "What OCCI deletes is gone from CDMI.", Level.SHOULD)
def by_occi(server: Server) -> None:
    disk, link, storage = attached(server)
    server.needs_storage(storage)
    server.unlink(link)
    server.occi.wait_until(
        lambda: server.occi.request("DELETE", storage).status in CHANGED,
        f"DELETE of {storage}, which is free, works",
    )
    server.occi.wait_until(lambda: server.cdmi.get(disk.url, "container").status in GONE, f"{disk.url} is gone")


@check(
    "removal/compute", "13.1", "13.7", "GFD.183 §4.5.2",
    "With a compute its disks don't go, but its permission does.", Level.SHOULD,
)  # fmt: skip
def compute_deleted(server: Server) -> None:
    compute = server.other_compute()
    disk = server.disk([compute])
    server.linked(compute, disk)
    expect(server.occi.request("DELETE", compute), {200, 202, 204}, "DELETE of a compute")
    server.occi.wait_until(lambda: server.occi.get(compute).status in GONE, f"{compute} is gone")
    expect(server.cdmi.get(disk.url, "container"), {200, 202}, "the container of a compute that was deleted")
    server.occi.wait_until(
        lambda: server.export_of(disk).get("permissions") == [], "the deleted compute is in the permissions no more"
    )
    require(server.cdmi.delete(disk.url).status in (*CHANGED, 409), "the container can't be deleted")
