"""Which computes may have a disk: the export says it, and computes are started and disks attached accordingly."""

from __future__ import annotations

from conformance.cdmi.server import Thing
from conformance.interop.server import INFRASTRUCTURE_CLAUSES, REFUSED, Server, check
from conformance.occi.reader import quote
from conformance.suite import CheckFailed, Exchange, Level, expect, require

STORAGE = "http://schemas.ogf.org/occi/infrastructure#storage"


@check("permissions/identifier", "13.6", "13.7", "", "The export is identified by the container's object ID.")
def identifier(server: Server) -> None:
    disk = server.disk([])
    found = server.export_of(disk)
    require(found.get("identifier") == disk.fields["objectID"], f"identifier is {found.get('identifier')!r}")
    require(found.get("permissions") == [], f"permissions is {found.get('permissions')!r}, expected none")


@check("permissions/compute", "13.6", "13.7", "", "Permissions are the URIs of computes, as OCCI gives them.")
def compute_uri(server: Server) -> None:
    compute, disk = server.compute(), server.disk([])
    expect(server.permit(disk, compute), {200, 202, 204}, "a permission for a compute")
    found = server.export_of(disk).get("permissions")
    require(found == [compute], f"permissions is {found!r}, expected [{compute!r}]")


@check("permissions/no-compute", "13.6", "13.7", "", "What is no compute gets no permission.", Level.SHOULD)
def no_compute(server: Server) -> None:
    disk = server.disk([])
    missing = server.compute().rstrip("/") + "-missing"
    expect(server.permit(disk, missing), {*REFUSED, 404}, "a permission for a compute that doesn't exist")
    require(server.export_of(disk).get("permissions") == [], "it is in the permissions all the same")


@check(
    "permissions/standard-order", "13.1", "13.7", INFRASTRUCTURE_CLAUSES,
    "Container, compute with it, permission, start: in this order of the text the compute runs.", Level.SHOULD,
)  # fmt: skip
def standard_order(server: Server) -> None:
    first = server.compute()
    disk = server.disk([first])
    link = server.linked(first, disk)
    target = server.storage_of(link)
    server.unlink(link)
    expect(server.permit(disk), {200, 202, 204}, "an export without permissions")
    inline = f'<{target}>; rel="{STORAGE}"; category="{STORAGE}link"'
    inline += f"; occi.storagelink.deviceid={quote(disk.fields['objectID'])}"
    try:
        compute = server.occi.create("compute", links=(inline,))
    except CheckFailed:  # it takes the disk after its creation only
        compute = server.other_compute()
        server.linked(compute, disk)
    state = server.occi.state(compute, "compute")
    require(state != "active", "the compute runs with a disk that it has no permission for")
    expect(server.permit(disk, compute), {200, 202, 204}, "a permission for the compute")
    if "start" in server.occi.offered(compute):
        expect(server.start(compute), {200, 202}, "the start of a compute that has the permission")
    server.turn_on(compute)
    server.turn_off(compute)


@check("permissions/start-refused", "13.1", "13.7", "", "A compute without permission isn't started with the disk.")
def start_refused(server: Server) -> None:
    refusal_of_start(server, server.compute())


@check("permissions/start-refused-why", "13.1", "13.7", "GFD.185 §3.6.8", "The refusal says why.", Level.SHOULD)
def start_refused_why(server: Server) -> None:
    says_why(refusal_of_start(server, server.compute()))


def refusal_of_start(server: Server, compute: str) -> Exchange:
    """The server may refuse the link already: then that is it."""
    disk = server.disk([])
    answer = server.link_to(compute, disk.fields)
    if answer.status in REFUSED:
        return answer
    expect(answer, {200, 201, 202}, "a storagelink of a compute that is off")
    answer = server.start(compute)
    expect(answer, REFUSED, "the start of a compute that has no permission for its disk")
    require(server.occi.state(compute, "compute") == "inactive", "the compute was started all the same")
    return answer


def says_why(answer: Exchange) -> None:
    require("permi" in answer.text.lower(), f"the refusal says {answer.text[:200]!r}, and nothing of permissions")


@check("permissions/running-refused", "13.1", "13.7", "", "A running compute isn't given a disk without permission.")
def running_refused(server: Server) -> None:
    compute = server.compute()
    disk = server.disk([])
    server.turn_on(compute)
    answer = server.link_to(compute, disk.fields)
    expect(answer, REFUSED, "a storagelink of a running compute that has no permission")


@check("permissions/running", "13.1", "13.7", INFRASTRUCTURE_CLAUSES, "With permission it is given the disk.")
def running(server: Server) -> None:
    compute = server.compute()
    disk = server.disk([])
    server.turn_on(compute)
    expect(server.permit(disk, compute), {200, 202, 204}, "a permission for a compute")
    link = server.linked(compute, disk)
    server.occi.wait_until(lambda: server.occi.state(link, "storagelink") == "active", f"{link} is active")
    withdrawn_while_running(server, disk, compute)
    server.turn_off(compute)


def withdrawn_while_running(server: Server, disk: Thing, compute: str) -> None:
    """The text doesn't say what becomes of it; but the export must tell the truth."""
    answer = server.permit(disk)
    kept = [compute] if answer.status in REFUSED else []
    found = server.export_of(disk).get("permissions")
    require(found == kept, f"permissions is {found!r} after {answer.status} for their withdrawal, expected {kept}")


@check("permissions/start", "13.1", "13.7", "", "With permission the compute is started with the disk.")
def start(server: Server) -> None:
    compute = server.compute()
    disk = server.disk([compute])
    server.linked(compute, disk)
    expect(server.start(compute), {200, 202}, "the start of a compute that has the permission")
    server.turn_on(compute)
    server.turn_off(compute)


@check("permissions/keep", "9.4.5", "9.5.5", "", "Attaching and detaching leave the permissions.", Level.SHOULD)
def keep(server: Server) -> None:
    compute = server.compute()
    disk = server.disk([compute])
    server.unlink(server.linked(compute, disk))
    found = server.export_of(disk).get("permissions")
    require(found == [compute], f"permissions is {found!r}, expected [{compute!r}]")


@check(
    "permissions/one-disk-one-compute", "13.1", "13.7", "GFD.184 §3.4.2",
    "A disk that one compute has isn't given to another in silence.", Level.SHOULD,
)  # fmt: skip
def one_compute(server: Server) -> None:
    compute, other = server.compute(), server.other_compute()
    disk = server.disk([compute, other])
    server.linked(compute, disk)
    expect(server.link_to(other, disk.fields), REFUSED, "a second storagelink to a disk")
