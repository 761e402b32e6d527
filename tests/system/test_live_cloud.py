"""The cloud as a whole: room for machines, projects that don't see each other, and nothing left at the end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from live import (
    DEFAULT_IMAGE,
    INFRASTRUCTURE,
    IP_NETWORK,
    User,
    eventually,
    inline_link,
    remove,
    removed_at_the_end,
    shared_network,
)

from tests.system.conftest import Gateway

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def admin(gateway: Gateway) -> Iterator[User]:
    with gateway.client() as http:
        yield User(http)


def member(gateway: Gateway, name: str) -> User:
    """A user of a project of its own."""
    added = subprocess.run(
        [sys.executable, "-m", "altostratus", "user", "add", name, "--project", f"{name}s", "--password-stdin"],
        env=gateway.environment, input=f"{PASSWORD}\n", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    return User(httpx.Client(base_url=gateway.url, auth=(name, PASSWORD), timeout=30))


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Iterator[User]:
    user = member(gateway, "alice")
    yield user
    user.http.close()


@pytest.fixture(scope="module")
def bob(gateway: Gateway) -> Iterator[User]:
    user = member(gateway, "bob")
    yield user
    user.http.close()


def memory_mib(gateway: Gateway) -> int:
    """What the host offers to machines."""
    status = json.loads(gateway.command("status", "--json").stdout)
    return int(status["hosts"][0]["memory_mib"])


def make_filler(user: User, mib: int) -> str:
    """A compute without an operating system: all it takes is room."""
    return user.make("compute", {"occi.compute.cores": 1, "occi.compute.memory": mib / 1024})


def test_a_machine_without_room_waits_and_starts_when_there_is(gateway: Gateway, admin: User) -> None:
    most = memory_mib(gateway) // 4 * 3
    first = make_filler(admin, most)
    second = make_filler(admin, most)
    with removed_at_the_end(admin, first, second):
        admin.wait_for(first, "active")
        assert admin.state(second) == "inactive"
        assert admin.message(second).startswith("waiting for room: asks for 1 core")
        for term in ("suspend", "restart"):
            assert admin.send("POST", f"{second}?action={term}", invocation(term)).status_code == 400
        assert admin.message(second).startswith("waiting for room")
        admin.delete(first)
        admin.wait_for(second, "active")
        assert admin.message(second) == ""


def test_the_room_is_never_exceeded(gateway: Gateway, admin: User) -> None:
    total = memory_mib(gateway)
    each = total // 3 - 8
    machines = [make_filler(admin, each) for _ in range(6)]
    with removed_at_the_end(admin, *machines):
        eventually(lambda: [admin.state(path) for path in machines].count("active") == 3, "three active machines")
        running = [path for path in machines if admin.state(path) == "active"]
        for path in running:
            admin.act(path, "stop", method="poweroff")
        waiting = [path for path in machines if path not in running]
        states: list[int] = []

        def are_all_started() -> bool:
            now = [admin.state(path) for path in machines]
            states.append(now.count("active"))
            return all(admin.state(path) == "active" for path in waiting)

        eventually(are_all_started, "the start of those that waited")
        assert max(states) <= 3
        refused = admin.send("POST", f"{running[0]}?action=start", invocation("start"))
        assert refused.status_code == 200
        assert admin.message(running[0]).startswith("waiting for room")


def invocation(term: str) -> dict[str, object]:
    """Of an action on a compute."""
    return {"action": f"{INFRASTRUCTURE.removesuffix('#')}/compute/action#{term}"}


def test_projects_do_not_see_each_other(admin: User, alice: User, bob: User) -> None:
    network = alice.make("network", {"occi.network.address": "10.97.0.0/24"}, [IP_NETWORK])
    disk = alice.make_storage(0.0625)
    compute = alice.make("compute", {"occi.compute.memory": 0.0625}, links=[inline_link(network), inline_link(disk)])
    alice.wait_for(compute, "active")
    with removed_at_the_end(alice, compute, disk, network):
        links = alice.link_paths(compute, "networkinterface") + alice.link_paths(compute, "storagelink")
        assert len(links) == 2
        consoles = [f"/consolelink/{compute.rpartition('/')[2]}", f"{compute}/console-log"]
        for path in (compute, disk, network, *links):
            assert bob.http.get(path).status_code == 404
            assert bob.http.delete(path).status_code == 404
            assert bob.send("POST", path, {"attributes": {"occi.core.title": "mine"}}).status_code == 404
            assert admin.exists(path)
        for path in consoles:
            assert bob.http.get(path).status_code == 404
            assert admin.http.get(path).status_code == 200
        assert bob.send("POST", f"{compute}?action=stop", invocation("stop")).status_code == 404
        for kind in ("compute", "storage", "networkinterface", "storagelink", "consolelink"):
            assert bob.http.get(f"/{kind}/", headers={"Accept": "text/uri-list"}).text.strip() == ""
            assert admin.http.get(f"/{kind}/", headers={"Accept": "text/uri-list"}).text.strip() != ""
        for target in (network, disk):
            stolen = {"kind": f"{INFRASTRUCTURE}compute", "links": [inline_link(target)]}
            assert bob.send("POST", "/compute/", stolen).status_code == 404
        bob.http.delete("/compute/")
        assert alice.state(compute) == "active"


def test_a_project_starts_nothing_from_anothers_saved_image(admin: User, alice: User, bob: User) -> None:
    compute = alice.make("compute", {"occi.compute.memory": 0.0625}, [DEFAULT_IMAGE])
    with removed_at_the_end(alice, compute):
        alice.wait_for(compute, "active")
        alice.act(compute, "stop", method="poweroff")
        alice.wait_for(compute, "inactive")
        alice.act(compute, "save", method="hot", name="alices")
        template = DEFAULT_IMAGE.replace("#default", "#alices")
        document = {"kind": f"{INFRASTRUCTURE}compute", "mixins": [template]}
        assert bob.send("POST", "/compute/", document).status_code == 404
        terms = {user.http: {mixin["term"] for mixin in user.get("/-/")["mixins"]} for user in (admin, alice, bob)}
        assert "alices" in terms[alice.http] & terms[admin.http]
        assert "alices" not in terms[bob.http]


def test_nothing_is_left_of_what_is_deleted(gateway: Gateway, alice: User) -> None:
    eventually(lambda: not rows(gateway), "the end of what earlier tests deleted")
    before = on_the_host(gateway)
    shared = shared_network(alice)
    network = alice.make("network", {"occi.network.address": "10.96.0.0/24"}, [IP_NETWORK])
    disk = alice.make_storage(0.0625)
    running = alice.make(
        "compute", {"occi.compute.memory": 0.0625}, [DEFAULT_IMAGE],
        [inline_link(network), inline_link(shared), inline_link(disk)],
    )  # fmt: skip
    stopped = alice.make("compute", {"occi.compute.memory": 0.0625}, [DEFAULT_IMAGE], [inline_link(network)])
    asleep = alice.make("compute", {"occi.compute.memory": 0.0625}, [DEFAULT_IMAGE], [inline_link(network)])
    for path in (running, stopped, asleep):
        alice.wait_for(path, "active")
    alice.act(stopped, "stop", method="poweroff")
    alice.act(asleep, "suspend", method="hibernate")
    alice.wait_for(stopped, "inactive")
    alice.wait_for(asleep, "suspended")
    assert len(on_the_host(gateway) - before) > 8

    for path in (running, stopped, asleep, disk, network):
        remove(alice, path)
    eventually(lambda: not rows(gateway), "the end of the rows")
    try:
        eventually(lambda: on_the_host(gateway) == before, "the end of everything on the host")
    except AssertionError:
        assert on_the_host(gateway) == before  # shows the difference
        raise
    assert not [path for path in Path("/var/lib/libvirt/qemu/save").glob("*") if gateway.cloud_tag() in path.name]


def on_the_host(gateway: Gateway) -> set[str]:
    """What carries the cloud's name on the host, its DHCP servers included."""
    commands = [command_line(folder) for folder in Path("/proc").glob("[0-9]*")]
    servers = {command for command in commands if "dnsmasq" in command and str(gateway.state) in command}
    return set(gateway.leftovers()) | servers


def command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def rows(gateway: Gateway) -> list[str]:
    """Kinds of which the database still has a row, the shared network apart."""
    with gateway.connect() as connection:
        return [
            table
            for table in ("machine", "disk", "interface", "attachment", "network", "console_log", "tagging")
            if connection.execute(
                f"SELECT 1 FROM {table}" + (" WHERE NOT shared" if table == "network" else "") + " LIMIT 1"
            ).fetchone()
        ]
