"""The rows that start real domains, next to what a person at a shell would type."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import libvirt
from lxml import etree

from bench.measure import BenchError, Row, alternate
from bench.requests import TEXT
from bench.site import Site

CLIENTS = 20
START_LIMIT_S = 600
POLL_S = 0.005
COMPUTE = 'Category: compute; scheme="http://schemas.ogf.org/occi/infrastructure#"; class="kind"'
FROM_IMAGE = f"""{COMPUTE}
Category: default; scheme="http://altostratus.local/occi/os_tpl#"; class="mixin"
X-OCCI-Attribute: occi.compute.memory=0.125
"""
EMPTY = f"""{COMPUTE}
X-OCCI-Attribute: occi.compute.memory=0.03125
"""


@dataclass(frozen=True, slots=True)
class Twin:
    """A domain with the XML of one of the gateway's, but names and files of its own."""

    xml: Path
    name: str
    disk: Path | None
    base: Path | None


def guest_rows(site: Site, rounds: int, machines: int) -> Iterator[Row]:
    libvirt.registerErrorHandler(lambda *_: None, None)
    connection = libvirt.open("qemu:///system")
    try:
        yield _one(site, connection, rounds)
        yield _many(site, connection, machines)
    finally:
        connection.close()


def _one(site: Site, connection: libvirt.virConnect, rounds: int) -> Row:
    model = create(site, FROM_IMAGE)
    wait_running(connection, {model})
    xml = described(connection, model)
    folder = twin_folder(site)
    base = next((site.state / "pool" / "images").glob("*.qcow2"))
    seed = folder / "seed.iso"
    seed.write_bytes((site.state / "seeds" / f"{model}.iso").read_bytes())
    delete(site, connection, [model])

    def through_the_gateway() -> float:
        started = time.perf_counter()
        machine_id = create(site, FROM_IMAGE)
        wait_running(connection, {machine_id})
        took_ms = (time.perf_counter() - started) * 1000
        delete(site, connection, [machine_id])
        return took_ms

    def by_hand() -> float:
        twin = _twin(xml, folder, base)
        size = f"{10 * 2**30}"
        started = time.perf_counter()
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(twin.base), str(twin.disk), size)
        run("virsh", "-q", "create", str(twin.xml))
        took_ms = (time.perf_counter() - started) * 1000
        run("virsh", "-q", "destroy", twin.name)
        return took_ms

    value, yardstick_value = alternate(through_the_gateway, by_hand, rounds)
    return Row(
        "create a compute until its domain runs", value, "ms", "qemu-img create -b, virsh create", yardstick_value, 1.2
    )


def _many(site: Site, connection: libvirt.virConnect, machines: int) -> Row:
    """The loop is a plain one, one machine after the other; the gateway has 20 clients and an agent of 8 threads."""
    model = create(site, EMPTY)
    wait_running(connection, {model})
    xml = described(connection, model)
    delete(site, connection, [model])
    folder = twin_folder(site)

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        made = set(clients.map(lambda _: create(site, EMPTY), range(machines)))
    wait_running(connection, made)
    value = time.perf_counter() - started
    _refuse_errors(site)
    delete(site, connection, made)

    twins = [_twin(xml, folder) for _ in range(machines)]
    started = time.perf_counter()
    for twin in twins:
        run("virsh", "-q", "define", str(twin.xml))
        run("virsh", "-q", "start", twin.name)
    yardstick_value = time.perf_counter() - started
    with ThreadPoolExecutor(2) as removers:
        list(removers.map(lambda twin: _remove_twin(twin), twins))
    return Row(
        f"{machines} computes by {CLIENTS} clients until all run", value, "s", "virsh define and start in a loop",
        yardstick_value, 1.2,
    )  # fmt: skip


def create(site: Site, message: str) -> UUID:
    client = site.client()
    answer = client.send("POST", "/compute/", message.encode(), Content_Type=TEXT, Accept=TEXT)
    client.close()
    return UUID(answer.decode().rsplit("/", 1)[1])


def delete(site: Site, connection: libvirt.virConnect, machine_ids: list[UUID] | set[UUID]) -> None:
    client = site.client()
    for machine_id in machine_ids:
        client.send("DELETE", f"/compute/{machine_id}")
    client.close()
    names = {machine_id.bytes for machine_id in machine_ids}
    deadline = time.monotonic() + START_LIMIT_S
    with site.connect() as database:
        while (
            names & {domain.UUID() for domain in connection.listAllDomains()}
            or database.execute("SELECT 1 FROM machine WHERE id = ANY(%s) LIMIT 1", [list(machine_ids)]).fetchone()
        ):
            if time.monotonic() > deadline:
                raise BenchError("the machines were not removed in time")
            time.sleep(0.05)


def wait_running(connection: libvirt.virConnect, machine_ids: set[UUID]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    waiting = {machine_id.bytes for machine_id in machine_ids}
    while waiting:
        waiting -= {domain.UUID() for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING)}
        if time.monotonic() > deadline:
            raise BenchError(f"{len(waiting)} machines did not start in time")
        time.sleep(POLL_S if len(machine_ids) == 1 else 20 * POLL_S)


def _refuse_errors(site: Site) -> None:
    with site.connect() as database:
        failed = database.execute("SELECT state_message FROM machine WHERE state = 'error'").fetchall()
    if failed:
        raise BenchError(f"{len(failed)} machines are in error: {failed[0][0]}")


def twin_folder(site: Site) -> Path:
    folder = site.state.parent / "twins"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    return folder


def described(connection: libvirt.virConnect, machine_id: UUID) -> str:
    xml: str = connection.lookupByUUID(machine_id.bytes).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    return xml


def _twin(xml: str, folder: Path, base: Path | None = None) -> Twin:
    domain = etree.fromstring(xml.encode())
    twin_id = uuid4()
    name, disk = f"twin-{twin_id}", None
    for path, text in (("name", name), ("uuid", str(twin_id))):
        _found(domain, path).text = text
    for source in domain.iterfind("devices/disk[@device='disk']/source"):
        disk = folder / f"{twin_id}.qcow2"
        source.set("file", str(disk))
    for serial in domain.iterfind("devices/disk/serial"):
        serial.text = twin_id.hex[:20]
    for source in domain.iterfind("devices/disk[@device='cdrom']/source"):
        seed = folder / "seed.iso"
        if not seed.exists():
            seed.write_bytes(Path(source.get("file", "")).read_bytes())
        source.set("file", str(seed))
    for index, interface in enumerate(domain.iterfind("devices/interface")):
        _found(interface, "target").set("dev", f"tw{twin_id.hex[:10]}{index}")
        _found(interface, "mac").set("address", f"52:54:00:{twin_id.hex[:2]}:{twin_id.hex[2:4]}:{twin_id.hex[4:6]}")
    for log in domain.iterfind(".//log"):
        log.set("file", str(folder / f"{twin_id}.log"))
    written = folder / f"{twin_id}.xml"
    written.write_bytes(etree.tostring(domain))
    return Twin(written, name, disk, base)


def _found(element: etree._Element, path: str) -> etree._Element:
    found = element.find(path)
    if found is None:
        raise BenchError(f"the domain's XML has no {path}")
    return found


def start_twin(xml: str, folder: Path) -> str:
    """The name of a domain that runs, with another's XML."""
    twin = _twin(xml, folder)
    run("virsh", "-q", "define", str(twin.xml))
    run("virsh", "-q", "start", twin.name)
    return twin.name


def _remove_twin(twin: Twin) -> None:
    run("virsh", "-q", "destroy", twin.name)
    run("virsh", "-q", "undefine", twin.name)


def run(*command: str) -> str:
    """What it prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
