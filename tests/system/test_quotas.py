"""Quotas: whatever way something is made or grows, a project never has more than its limits, and is told which."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from cdmi_client import CONTAINER, DATAOBJECT, QUEUE
from cdmi_client import Client as CdmiClient
from click.testing import CliRunner
from occi_client import COMPUTE, STORAGE, action
from occi_client import Client as OcciClient

from altostratus.command import main
from backends import quotas
from backends.cloud import Cloud
from backends.model import NewDisk, NewInterface, NewMachine, NewNetwork
from backends.quotas import QuotaExceeded
from backends.store.database import Connection, Database
from backends.values import Values
from tests.conftest import GIB, SIZES

MIB = 2**20


@pytest.fixture
def cdmi(database: Database, cloud: Cloud, tmp_path: Path) -> CdmiClient:
    return CdmiClient(database, cloud.caller, tmp_path)


@pytest.fixture
def limit(cloud: Cloud, sql: Connection) -> Iterator[Callable[[str, int | None], None]]:
    """Sets a limit of the project; at the end, what was counted is what there is."""

    def set_it(resource: str, most: int | None) -> None:
        quotas.set_limit(sql, cloud.caller.project_id, resource, most)

    yield set_it
    counted = {each.resource.name: each.used for each in quotas.use(sql, cloud.caller.project_id)}
    sql.execute("DELETE FROM quota")
    assert {each.resource.name: each.used for each in quotas.use(sql, cloud.caller.project_id)} == counted
    assert sql.execute("SELECT count(*) FROM quota_change").fetchone() == (0,)


def used(sql: Connection, cloud: Cloud, resource: str) -> int:
    return next(each.used for each in quotas.use(sql, cloud.caller.project_id) if each.resource.name == resource)


def put(cdmi: CdmiClient, path: str, size_bytes: int, **headers: str) -> int:
    return cdmi.plain("PUT", path, b"x" * size_bytes, **headers).status_code


def test_a_refusal_names_the_limit_the_use_and_what_was_asked(
    cdmi: CdmiClient, limit: Callable[[str, int | None], None]
) -> None:
    cdmi.plain("PUT", "/cdmi/before", b"12345")
    limit("object_bytes", 10)
    assert put(cdmi, "/cdmi/o", 5) == 201
    refused = cdmi.plain("PUT", "/cdmi/p", b"123")
    assert refused.status_code == 507
    for part in ("may have 10 bytes of stored objects", "it has 10", "3 more are asked for", "object_bytes"):
        assert part in refused.text
    assert cdmi.send("GET", "/cdmi/p", DATAOBJECT).status_code == 404
    limit("object_bytes", None)
    assert put(cdmi, "/cdmi/p", 3) == 201


def test_objects_count_however_they_come_and_are_given_back(
    cdmi: CdmiClient, limit: Callable[[str, int | None], None], sql: Connection, cloud: Cloud
) -> None:
    limit("objects", 3)
    assert cdmi.send("PUT", "/cdmi/box/", CONTAINER, {}).status_code == 201
    assert put(cdmi, "/cdmi/box/o", 1) == 201
    assert cdmi.send("POST", "/cdmi/cdmi_objectid/", DATAOBJECT, {"value": "x"}).status_code == 201
    tree = {"objectType": CONTAINER, "metadata": {}, "children": [], "childrenrange": ""}
    serialized = base64.b64encode(json.dumps(tree).encode()).decode()
    for method, path, kind, body in (
        ("PUT", "/cdmi/p", DATAOBJECT, {"value": "x"}),
        ("POST", "/cdmi/box/", DATAOBJECT, {"value": "x"}),
        ("PUT", "/cdmi/p", DATAOBJECT, {"copy": "/box/o"}),
        ("PUT", "/cdmi/copy/", CONTAINER, {"copy": "/box/"}),
        ("PUT", "/cdmi/box/", CONTAINER, {"snapshot": "s"}),
        ("PUT", "/cdmi/tree/", CONTAINER, {"deserializevalue": serialized}),
        ("PUT", "/cdmi/s", DATAOBJECT, {"serialize": "/box/"}),
        ("PUT", "/cdmi/q", QUEUE, {}),
        ("PUT", "/cdmi/r", DATAOBJECT, {"reference": "/box/o"}),
    ):
        assert cdmi.send(method, path, kind, body).status_code == 507, (path, body)
    assert used(sql, cloud, "objects") == 3
    assert cdmi.send("PUT", "/cdmi/moved", DATAOBJECT, {"move": "/box/o"}).status_code == 201
    assert cdmi.send("DELETE", "/cdmi/box/", CONTAINER).status_code == 204
    assert put(cdmi, "/cdmi/p", 1) == 201


def test_bytes_count_as_they_are_told_whatever_the_disk_holds(
    cdmi: CdmiClient, limit: Callable[[str, int | None], None]
) -> None:
    limit("object_bytes", MIB)
    assert put(cdmi, "/cdmi/o", 1) == 201
    far = 2**42
    for path in ("/cdmi/o", "/cdmi/new"):
        assert put(cdmi, path, 1, Content_Range=f"bytes {far}-{far}/*") == 507
    assert put(cdmi, "/cdmi/o", 200_000) == 204
    assert cdmi.send("PUT", "/cdmi/copy", DATAOBJECT, {"copy": "/o"}).status_code == 201
    assert put(cdmi, "/cdmi/o", 900_000) == 507
    assert put(cdmi, "/cdmi/o", 848_576) == 204
    assert put(cdmi, "/cdmi/o", 100_001, X_CDMI_Partial="true") == 204
    assert put(cdmi, "/cdmi/o", 1, Content_Range="bytes 900000-900000/*") == 507
    assert put(cdmi, "/cdmi/o", 1, Content_Range="bytes 800000-800000/*") == 204
    assert len(cdmi.files()) == 2


def test_a_value_too_large_is_refused_before_it_is_here(
    cdmi: CdmiClient, limit: Callable[[str, int | None], None]
) -> None:
    limit("object_bytes", MIB)
    assert put(cdmi, "/cdmi/o", 1, Content_Length=str(10**13)) == 507
    parts = b"--e\r\nContent-Type: application/cdmi-object\r\n\r\n{}\r\n--e\r\n\r\n" + b"x" * (2 * MIB) + b"\r\n--e--"
    sent = cdmi.send("PUT", "/cdmi/o", DATAOBJECT, parts, Content_Type="multipart/mixed; boundary=e")
    assert sent.status_code == 507
    assert cdmi.files() == []


def test_values_in_queues_count(cdmi: CdmiClient, limit: Callable[[str, int | None], None]) -> None:
    cdmi.send("PUT", "/cdmi/q", QUEUE, {})
    cdmi.send("POST", "/cdmi/q", QUEUE, {"value": ["1234"]})
    limit("object_bytes", 10)
    assert cdmi.send("POST", "/cdmi/q", QUEUE, {"value": ["5678"]}).status_code == 204
    assert cdmi.send("POST", "/cdmi/q", QUEUE, {"value": ["9", "ab"]}).status_code == 507
    assert cdmi.send("PUT", "/cdmi/copy", QUEUE, {"copy": "/q"}).status_code == 507
    assert cdmi.send("DELETE", "/cdmi/q?value", QUEUE).status_code == 204
    assert cdmi.send("PUT", "/cdmi/copy", QUEUE, {"copy": "/q"}).status_code == 201
    assert cdmi.send("DELETE", "/cdmi/q", QUEUE).status_code == 204


def test_disks_count_by_number_and_size_in_both_standards(
    cdmi: CdmiClient, cloud: Cloud, limit: Callable[[str, int | None], None], sql: Connection
) -> None:
    occi = OcciClient(cloud)
    limit("disks", 2)
    limit("disk_bytes", 3 * GIB)
    path = occi.make("/storage/", STORAGE, attributes="occi.storage.size=1.0")

    def make(name: str, size_bytes: int) -> int:
        body = {"metadata": {"cdmi_assignedsize": str(size_bytes)}}
        return cdmi.send("PUT", f"/cdmi/disks/{name}/", CONTAINER, body).status_code

    assert make("huge", 2**60) == 400
    assert make("large", 2**50) == 507
    assert make("d", GIB) == 202
    assert make("e", GIB) == 507
    refused = occi.send("POST", "/storage/", STORAGE, attributes="occi.storage.size=1.0")
    assert (refused.status_code, "may have 2 disks" in refused.text) == (403, True)
    sql.execute("UPDATE disk SET state = wanted, observed_generation = generation")
    resize = action("storage", "resize")
    refused = occi.send("POST", f"{path}?action=resize", resize, attributes="size=3.0")
    assert (refused.status_code, "may have 3221225472 bytes of disks" in refused.text) == (403, True)
    assert occi.send("POST", f"{path}?action=resize", resize, attributes="size=2.0").status_code in (200, 204)
    assert occi.send("DELETE", path).status_code in (200, 204)
    assert make("f", 2 * GIB) == 202


def test_machines_count_with_their_cores_memory_disk_and_address(
    cloud: Cloud, image: str, limit: Callable[[str, int | None], None], sql: Connection
) -> None:
    most = {"machines": 3, "cores": 4, "memory_mib": 4096, "disk_bytes": 100 * GIB, "addresses": 2, "networks": 1}
    for resource, amount in most.items():
        limit(resource, amount)
    first = cloud.create_machine(NewMachine(image_name=image, cores=2, memory_mib=1024))
    for refused, resource in (
        (NewMachine(cores=3), "cores"),
        (NewMachine(cores=1, memory_mib=3500), "memory_mib"),
        (NewMachine(image_name=image, root_size_bytes=99 * GIB), "disk_bytes"),
    ):
        with pytest.raises(QuotaExceeded, match=f"limit {resource}"):
            cloud.create_machine(refused)
    cloud.create_machine(NewMachine(cores=1))
    with pytest.raises(QuotaExceeded, match="limit addresses"):
        cloud.create_machine(NewMachine(cores=1))
    cloud.create_network(NewNetwork())
    with pytest.raises(QuotaExceeded, match="limit networks"):
        cloud.create_network(NewNetwork())
    sql.execute("UPDATE machine SET state = 'inactive', wanted = 'inactive'")
    with pytest.raises(QuotaExceeded, match="limit cores"):
        cloud.update_machine(first.id, {"cores": 4})
    cloud.update_machine(first.id, {"cores": 3})
    cloud.delete_machine(first.id)
    assert used(sql, cloud, "cores") == 1


def test_public_addresses_count_apart_from_the_others(
    cloud: Cloud, limit: Callable[[str, int | None], None], sql: Connection
) -> None:
    row = sql.execute(
        "INSERT INTO network (id, title, cidr, gateway, allocation, shared, class, state) VALUES (gen_random_uuid(),"
        " 'public', '198.51.100.0/24', '198.51.100.1', 'dynamic', true, 'public', 'active') RETURNING id"
    ).fetchone()
    assert row is not None
    limit("public_addresses", 1)
    limit("addresses", 2)
    public = NewMachine(interfaces=(NewInterface(row[0]),))
    first = cloud.create_machine(public)
    with pytest.raises(QuotaExceeded, match="limit public_addresses"):
        cloud.create_machine(public)
    cloud.create_machine(NewMachine())
    cloud.create_machine(NewMachine())
    with pytest.raises(QuotaExceeded, match="limit addresses"):
        cloud.create_machine(NewMachine())
    sql.execute("UPDATE interface SET deleting = true WHERE machine_id = %s", [first.id])
    sql.execute("DELETE FROM interface WHERE machine_id = %s", [first.id])
    assert used(sql, cloud, "public_addresses") == 0


def test_of_a_collection_all_or_none_is_made(cloud: Cloud, limit: Callable[[str, int | None], None]) -> None:
    limit("machines", 1)
    occi = OcciClient(cloud)
    with pytest.raises(QuotaExceeded), cloud.atomically():
        cloud.create_machine(NewMachine())
        cloud.create_machine(NewMachine())
    assert cloud.machines() == []
    occi.make("/compute/", COMPUTE)
    assert occi.send("POST", "/compute/", COMPUTE).status_code == 403


def at_once(database: Database, cloud: Cloud, folder: Path, make: Callable[[Cloud], object], times: int = 24) -> int:
    """How many of so many callers have made it."""

    def attempt(_: int) -> bool:
        try:
            make(Cloud(database, cloud.caller, SIZES, "small", Values(folder)))
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        return sum(threads.map(attempt, range(times)))


def test_many_at_once_never_exceed_a_limit(
    database: Database, cloud: Cloud, tmp_path: Path, limit: Callable[[str, int | None], None], sql: Connection
) -> None:
    for resource in ("objects", "disks", "machines", "networks"):
        limit(resource, 7)
    client = CdmiClient(database, cloud.caller, tmp_path)

    def make_object(_: Cloud) -> None:
        made = client.plain("PUT", f"/cdmi/{uuid4()}", b"x").status_code
        assert made in (201, 507)
        if made == 507:
            raise QuotaExceeded("", "objects", 0, 0, 0)

    assert at_once(database, cloud, tmp_path, make_object) == 7
    assert at_once(database, cloud, tmp_path, lambda c: c.create_disk(NewDisk(MIB))) == 7
    assert at_once(database, cloud, tmp_path, lambda c: c.create_machine(NewMachine())) == 7
    assert at_once(database, cloud, tmp_path, lambda c: c.create_network(NewNetwork())) == 7


def test_trees_that_change_at_once_wait_for_nobody_twice(
    database: Database, cloud: Cloud, tmp_path: Path, limit: Callable[[str, int | None], None]
) -> None:
    """A snapshot that replaces another gives back room before it needs rows that others hold."""
    limit("objects", 10_000)
    limit("object_bytes", 10_000_000)
    client = CdmiClient(database, cloud.caller, tmp_path)
    client.send("PUT", "/cdmi/box/", CONTAINER, {})
    for number in range(5):
        client.plain("PUT", f"/cdmi/box/{number}", b"x")

    def change(number: int) -> int:
        if number % 2:
            return client.send("PUT", "/cdmi/box/", CONTAINER, {"snapshot": "s"}).status_code
        return client.plain("PUT", f"/cdmi/box/{number % 5}", b"x" * number).status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(change, range(60))) == {204}


def test_a_limit_set_while_others_make_things_counts_all_of_them(
    database: Database, cloud: Cloud, tmp_path: Path, limit: Callable[[str, int | None], None], sql: Connection
) -> None:
    client = CdmiClient(database, cloud.caller, tmp_path)
    with ThreadPoolExecutor(6) as threads:
        made = [threads.submit(client.plain, "PUT", f"/cdmi/{number}", b"xy") for number in range(60)]
        limit("objects", 1000)
        limit("object_bytes", 1000)
        assert {one.result().status_code for one in made} == {201}
    assert (used(sql, cloud, "objects"), used(sql, cloud, "object_bytes")) == (60, 120)


def test_a_limit_below_what_there_is_takes_nothing_away_and_lets_nothing_come(
    cloud: Cloud, limit: Callable[[str, int | None], None]
) -> None:
    disk = cloud.create_disk(NewDisk(MIB))
    cloud.create_disk(NewDisk(MIB))
    limit("disks", 1)
    with pytest.raises(QuotaExceeded):
        cloud.create_disk(NewDisk(MIB))
    cloud.delete_disk(disk.id)
    with pytest.raises(QuotaExceeded):
        cloud.create_disk(NewDisk(MIB))
    assert len(cloud.disks()) == 1


def test_a_project_has_no_part_in_anothers_quota(
    cloud: Cloud, other_cloud: Cloud, limit: Callable[[str, int | None], None]
) -> None:
    limit("disks", 0)
    other_cloud.create_disk(NewDisk(MIB))
    assert {use.most for use in other_cloud.use()} == {None}
    assert {use.resource.name: use.most for use in cloud.use()}["disks"] == 0


def test_the_administrator_sets_shows_and_lifts_limits(conninfo: str, cloud: Cloud, sql: Connection) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner(env={"ALTOSTRATUS_DATABASE": conninfo}).invoke(main, ["project", *arguments])
        return f"{result.exit_code} {result.output}"

    cloud.create_disk(NewDisk(MIB))
    assert run("limit", "mine", "memory_mib", "2GiB").startswith("0")
    assert run("limit", "mine", "disk_bytes", "3GiB").startswith("0")
    shown = {line.split()[0]: line.split()[1:] for line in run("show", "mine").splitlines() if line.strip()}
    assert shown["memory_mib"] == ["0", "2048"]
    assert shown["disk_bytes"] == [str(MIB), str(3 * GIB)]
    assert shown["objects"] == ["0", "none"]
    assert run("limit", "mine", "disk_bytes", "none").startswith("0")
    assert {use.most for use in cloud.use()} == {None, 2048}
    assert any(line.split()[0] == "mine" for line in run("list").splitlines() if line.strip())
    for wrong in (("limit", "nobody", "disks", "1"), ("limit", "mine", "disks", "1GiB"), ("limit", "mine", "x", "1")):
        assert not run(*wrong).startswith("0")
    assert not run("show", "nobody").startswith("0")
