"""One disk in two standards: made by either, it has one identity, one size and one state in both."""

from __future__ import annotations

from conformance.cdmi.fields import unknown_object_id
from conformance.interop.server import GIB, INFRASTRUCTURE_CLAUSES, REFUSED, SIZE_BYTES, Server, check
from conformance.occi.reader import read
from conformance.suite import Level, expect, require


@check("disks/by-object-id", "13.1", "13.7", INFRASTRUCTURE_CLAUSES, "A storagelink takes a container's object ID.")
def by_object_id(server: Server) -> None:
    compute = server.compute()
    expect(server.link_to(compute, server.disk([compute]).fields), {200, 201, 202}, "a storagelink with an object ID")


@check("disks/shown", "13.1", "13.7", INFRASTRUCTURE_CLAUSES, "The link shows the object ID as its deviceid.")
def shown(server: Server) -> None:
    compute = server.compute()
    disk = server.disk([compute])
    found = server.occi.look(server.linked(compute, disk)).attributes.get("occi.storagelink.deviceid", "")
    require(found.upper() == disk.fields["objectID"].upper(), f"occi.storagelink.deviceid is {found!r}")


@check("disks/unknown", "13.1", "13.7", INFRASTRUCTURE_CLAUSES, "An object ID that nothing has is refused.")
def unknown(server: Server) -> None:
    answer = server.link_to(server.compute(), {"objectID": unknown_object_id()})
    expect(answer, {*REFUSED, 404}, "a storagelink with the object ID of nothing")


@check("disks/lower-case", "5.10", "5.5.9", "", "Object IDs are the same in lower case.", Level.SHOULD)
def lower_case(server: Server) -> None:
    compute = server.compute()
    fields = server.disk([compute]).fields
    answer = server.link_to(compute, {**fields, "objectID": fields["objectID"].lower()})
    expect(answer, {200, 201, 202}, "a storagelink with an object ID in lower case")


@check(
    "disks/cdmi-first",
    "13.1",
    "13.7",
    INFRASTRUCTURE_CLAUSES,
    "A disk made by CDMI has its size in OCCI.",
    Level.SHOULD,
)
def cdmi_first(server: Server) -> None:
    compute = server.compute()
    storage = server.storage_of(server.linked(compute, server.disk([compute])))
    server.needs_storage(storage)
    found = server.size_in_occi(storage)
    require(found == SIZE_BYTES, f"occi.storage.size means {found} bytes, cdmi_assignedsize {SIZE_BYTES}")


@check(
    "disks/occi-first", "13.1", "13.7", INFRASTRUCTURE_CLAUSES,
    "A disk made by OCCI has an object ID, by which it is a container of its size.", Level.SHOULD,
)  # fmt: skip
def occi_first(server: Server) -> None:
    storage = server.storage()
    container = server.container_of(server.occi.link("storagelink", server.compute(), storage))
    found = server.size_of(container)
    require(found == SIZE_BYTES, f"cdmi_assignedsize is {found}, occi.storage.size means {SIZE_BYTES}")


@check(
    "disks/state", "9.3.6", "9.4.6", "GFD.184 §3.3", "A container that is complete is a storage online.", Level.SHOULD
)
def state(server: Server) -> None:
    compute = server.compute()
    storage = server.storage_of(server.linked(compute, server.disk([compute])))
    server.needs_storage(storage)
    found = server.occi.state(storage, "storage")
    require(found == "online", f"occi.storage.state is {found!r}, completionStatus 'Complete'")


@check(
    "disks/grown-by-cdmi", "16.4", "16.5", "GFD.184 §3.3", "OCCI shows what CDMI has made of the size.", Level.SHOULD
)
def grown_by_cdmi(server: Server) -> None:
    compute = server.compute()
    disk = server.disk([compute])
    storage = server.storage_of(server.linked(compute, disk))
    server.needs_storage(storage)
    grown = {"metadata": {"cdmi_assignedsize": str(2 * GIB)}}
    expect(
        server.cdmi.update(disk.url, "container", grown, "metadata:cdmi_assignedsize"), {200, 202, 204}, "a larger size"
    )
    server.cdmi.settled(disk.url, "container")
    require(server.size_in_occi(storage) == 2 * GIB, f"occi.storage.size means {server.size_in_occi(storage)} bytes")


@check(
    "disks/grown-by-occi", "16.4", "16.5", "GFD.184 §3.3", "CDMI shows what OCCI has made of the size.", Level.SHOULD
)
def grown_by_occi(server: Server) -> None:
    compute = server.compute()
    disk = server.disk([compute])
    storage = server.storage_of(server.linked(compute, disk))
    server.needs_storage(storage)
    expect(server.occi.act(storage, "storage", "resize", ("size=2.0",)), {200, 202}, "the action resize")
    server.occi.wait_until(lambda: server.size_of(disk.url) == 2 * GIB, "cdmi_assignedsize is 2 GiB")


@check("disks/listed-once", "9.2.7", "9.3.7", "GFD.183 §4.5.1", "Both show the disk once.", Level.SHOULD)
def once(server: Server) -> None:
    compute = server.compute()
    disk = server.disk([compute])
    storage = server.storage_of(server.linked(compute, disk))
    server.needs_storage(storage)
    listed = [url for url in read(server.occi.get(server.occi.collection("storage"))).locations if url == storage]
    require(len(listed) == 1, f"the collection of storages lists {storage} {len(listed)} times")
