"""The HTTP rows: reading one machine, listing ten thousand, and creating one, next to the bare server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import UUID

from backends.store.database import Connection
from bench.measure import BenchError, Row, alternate, median_ms, requests_per_second
from bench.site import Client, Site, running_bare

MACHINES = 10_000
HOSTS = 100
CONNECTIONS = 8
WRK_SECONDS = 2
PAGE, PAGE_SIZE = 50, 100
CREATIONS_A_ROUND = 30

POPULATE = f"""
INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, heartbeat_at)
SELECT 'rack' || n, 1000000, 1000000000, 1::bigint << 50, 'qemu', now() + interval '1 day'
FROM generate_series(1, {HOSTS}) n;

INSERT INTO machine (id, project_id, title, hostname, architecture, cores, memory_mib, wanted, state, host, admitted,
    observed_generation)
SELECT gen_random_uuid(), (SELECT id FROM project LIMIT 1), 'machine ' || n, 'vm' || n, 'x64', 1, 1024, 'active',
    'active', 'rack' || 1 + n % {HOSTS}, true, 1
FROM generate_series(1, {MACHINES}) n;

INSERT INTO interface (id, project_id, machine_id, network_id, name, mac, address, gateway, allocation, state)
SELECT gen_random_uuid(), m.project_id, m.id, w.id, 'eth0',
    '52:54:00:' || substr(md5(m.id::text), 1, 2) || ':' || lpad(to_hex(m.sequence::integer / 256), 2, '0') || ':'
    || lpad(to_hex(m.sequence::integer % 256), 2, '0'),
    w.gateway::inet + 10 + m.sequence, w.gateway, 'dynamic', 'active'
FROM machine m, network w WHERE w.shared;

ANALYZE;
"""
DEPOPULATE = """
DELETE FROM procrastinate_jobs WHERE queue_name LIKE 'rack%';
DELETE FROM interface WHERE machine_id IN (SELECT id FROM machine WHERE host LIKE 'rack%');
DELETE FROM machine WHERE host LIKE 'rack%';
DELETE FROM host WHERE name LIKE 'rack%';
ANALYZE;
"""
NEW_MACHINE = b"""Category: compute; scheme="http://schemas.ogf.org/occi/infrastructure#"; class="kind"
X-OCCI-Attribute: occi.core.title="new"
"""
TEXT, JSON, URIS = "text/plain", "application/occi+json", "text/uri-list"


def request_rows(site: Site, rounds: int) -> Iterator[Row]:
    """The machines are rows only, on hosts that no agent serves."""
    with site.connect() as connection:
        connection.execute(POPULATE)
        # So many at once leave as many dead versions of the hosts' rows, which a cloud in use never has together.
        connection.execute("VACUUM (FULL, ANALYZE) host")
        try:
            machine_id = _middle_machine(connection)
            answers = site.state.parent / "bare.json"
            answers.write_text(json.dumps(_answers(site, connection, machine_id)))
            with running_bare(site, answers) as listen:
                ours, bare = site.client(), Client(listen, {})
                yield from _reading_one(site, listen, machine_id, rounds)
                yield from _listing(ours, bare, rounds)
                yield _creating(ours, bare, rounds)
                ours.close()
                bare.close()
        finally:
            connection.execute(DEPOPULATE)


def _reading_one(site: Site, listen: str, machine_id: UUID, rounds: int) -> Iterator[Row]:
    for name, media_type in (("text", TEXT), ("json", JSON)):
        ours = f"{site.origin}/compute/{machine_id}"
        bare = f"http://{listen}/{name}/{machine_id}"
        fields = {"Authorization": site.authorization, "Accept": media_type}

        measure = partial(requests_per_second, connections=CONNECTIONS, seconds=WRK_SECONDS)
        measure(ours, fields)  # the workers check the password once, which is not what is measured
        value, yardstick_value = alternate(partial(measure, ours, fields), partial(measure, bare, {}), rounds)
        yield Row(
            f"GET one compute as {media_type}, 2 workers", value, "requests/s",
            "bare Falcon, one SELECT, the same bytes", yardstick_value, 0.7, high_is_good=True,
        )  # fmt: skip


def _listing(ours: Client, bare: Client, rounds: int) -> Iterator[Row]:
    page = f"page={PAGE}&number={PAGE_SIZE}"
    for name, media_type, path, bare_path, times in (
        (f"GET /compute/ of {MACHINES}", URIS, "/compute/", "/uris", 5),
        (f"GET a page of {PAGE_SIZE}", TEXT, f"/compute/?{page}", f"/locations?{page}", 40),
        (f"GET a page of {PAGE_SIZE}", JSON, f"/compute/?{page}", f"/whole?{page}", 20),
    ):
        get = partial(ours.send, "GET", path, Accept=media_type)
        get_bare = partial(bare.send, "GET", bare_path)
        if get() != get_bare():
            raise BenchError(f"the bare server answers other bytes at {bare_path} than the gateway at {path}")
        value, yardstick_value = alternate(partial(median_ms, get, times), partial(median_ms, get_bare, times), rounds)
        yield Row(
            f"{name} as {media_type}", value, "ms", "one SELECT and a join of strings", yardstick_value, 2.0
        )  # fmt: skip


def _creating(ours: Client, bare: Client, rounds: int) -> Row:
    def create() -> bytes:
        return ours.send("POST", "/compute/", NEW_MACHINE, Content_Type=TEXT, Accept=TEXT)

    value, yardstick_value = alternate(
        lambda: median_ms(create, CREATIONS_A_ROUND),
        lambda: median_ms(lambda: bare.send("POST", "/create", NEW_MACHINE), CREATIONS_A_ROUND),
        rounds,
    )
    return Row(
        f"POST a compute, answered ({MACHINES} exist)", value, "ms", "the same INSERTs and defer", yardstick_value, 1.5
    )


def _middle_machine(connection: Connection) -> UUID:
    row = connection.execute(
        f"SELECT id FROM machine WHERE host LIKE 'rack%' ORDER BY sequence OFFSET {MACHINES // 2} LIMIT 1"
    ).fetchone()
    if row is None:
        raise BenchError("no machine was written")
    machine_id: UUID = row[0]
    return machine_id


def _answers(site: Site, connection: Connection, machine_id: UUID) -> dict[str, Any]:
    """What the bare server needs to give the bytes that the gateway gives."""
    client = site.client()
    project = connection.execute("SELECT id FROM project LIMIT 1").fetchone()
    answers = {
        "origin": site.origin,
        "text": client.send("GET", f"/compute/{machine_id}", Accept=TEXT).decode(),
        "json": client.send("GET", f"/compute/{machine_id}", Accept=JSON).decode(),
        "template": _template(client, connection),
        "project_id": str(project[0]) if project else "",
        "host": "rack1",
    }
    client.close()
    return answers


def _template(client: Client, connection: Connection) -> str:
    """One machine of a JSON page, with the values that differ from machine to machine left open."""
    page = client.send("GET", "/compute/?page=1&number=1", Accept=JSON).decode()
    row = connection.execute(
        "SELECT m.id, i.id, m.title, m.hostname, i.mac, host(i.address) FROM machine m"
        " JOIN interface i ON i.machine_id = m.id ORDER BY m.sequence LIMIT 1"
    ).fetchone()
    head, tail = '{"resources":[', "]}"
    if row is None or not page.startswith(head) or not page.endswith(tail):
        raise BenchError(f"a page in JSON is not an object of resources: {page[:200]}")
    template = page[len(head) : -len(tail)].replace("%", "%%")
    for name, value in zip("abcdef", row, strict=True):
        is_part = name in "ab"  # identities stand within paths too
        template = template.replace(*((f"{value}", f"%({name})s") if is_part else (f'"{value}"', f'"%({name})s"')))
    return template
