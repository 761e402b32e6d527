"""Parts of a running gateway die by SIGKILL; what was asked for comes about all the same, and nothing is lost.

Machines without an image halt in their BIOS: quick to make, and as much a domain as any.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import httpx
import psycopg
import pytest

from tests.conftest import wait_until
from tests.system.conftest import INFRASTRUCTURE, Gateway, make_gateway
from tests.system.live import Guest, User, make_guest, make_key

ACTIVE, INACTIVE = "active", "inactive"
JSON = "application/occi+json"
SMALL = {"kind": f"{INFRASTRUCTURE}compute", "attributes": {"occi.compute.memory": 0.0625}}
SETTLE_LIMIT_S = 120
RANDOM_S = 25
CLIENTS = 3
LIBVIRT_STATES = Path("/run/libvirt/qemu")


@pytest.fixture(scope="module")
def frail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway for these tests alone, swept every second. At the end nothing of it is left on the host."""
    if os.geteuid() != 0:
        pytest.skip("the gateway makes domains and bridges, which needs root")
    gateway = make_gateway(
        tmp_path_factory.mktemp("f"),
        ALTOSTRATUS_SWEEP_S="1",
        ALTOSTRATUS_CORES_OVERCOMMIT="16",
        ALTOSTRATUS_SHARED_NETWORK="10.131.0.0/16",
    )
    gateway.start()
    tag = gateway.cloud_tag()
    yield gateway
    gateway.stop()
    assert gateway.leftovers(tag) == []


@pytest.fixture
def client(frail: Gateway) -> Iterator[httpx.Client]:
    """The admin's, whose machines and disks are gone at the end."""
    with frail.client() as client:
        yield client
        for kind in ("compute", "storage"):
            settled(lambda kind=kind: client.delete(f"/{kind}/").status_code in (200, 204))
            settled(lambda kind=kind: not paths(client, kind))
        settled(lambda: not [found for found in frail.leftovers() if found.startswith(("domain", "/"))])


def settled(condition: Callable[[], object]) -> None:
    """Waits; a gateway that is being restarted may refuse connections or answer 503 meanwhile."""

    def holds() -> bool:
        try:
            return bool(condition())
        except (httpx.TransportError, psycopg.OperationalError, KeyError, ValueError, AssertionError):
            return False

    wait_until(holds, SETTLE_LIMIT_S)


def paths(client: httpx.Client, kind: str) -> list[str]:
    answer = client.get(f"/{kind}/", headers={"Accept": "text/uri-list"})
    assert answer.status_code == 200, answer.text
    return [httpx.URL(line).path for line in answer.text.split()]


def states(client: httpx.Client) -> list[str]:
    answer = client.get("/compute/", headers={"Accept": JSON})
    return [found["attributes"]["occi.compute.state"] for found in answer.json()["resources"]]


def make(client: httpx.Client) -> str:
    """Asked again while the last test's database is being started."""
    answers: list[httpx.Response] = []

    def is_made() -> bool:
        answers.append(client.post("/compute/", json=SMALL, headers={"Content-Type": JSON}))
        return answers[-1].status_code == 201

    settled(is_made)
    return httpx.URL(answers[-1].headers["Location"]).path


def kill(gateway: Gateway, victim: str) -> None:
    for process_id in victims(gateway, victim):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


def victims(gateway: Gateway, victim: str) -> list[int]:
    """libvirt's daemons are found by their PID files, QEMU by the cloud's name, and all else by the settings."""
    if victim == "qemu":
        return sorted(emulators(gateway))
    if victim in ("libvirtd", "virtlogd"):
        with contextlib.suppress(FileNotFoundError, ValueError):
            return [int(Path(f"/run/{victim}.pid").read_text())]
        return []
    return gateway.processes(victim)


def emulators(gateway: Gateway) -> set[int]:
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes()
                if b"qemu-system" in command and f"{gateway.state}/".encode() in command:
                    found.add(int(folder.name))
    return found


PARTS = ["altostratus agent", "altostratus serve", "bin/postgres -D", "libvirtd", "virtlogd"]


@pytest.mark.parametrize("victim", PARTS)
def test_a_killed_part_is_started_again_and_loses_nothing(frail: Gateway, client: httpx.Client, victim: str) -> None:
    before = victims(frail, victim)
    assert before
    first, second = make(client), make(client)

    kill(frail, victim)

    settled(lambda: victims(frail, victim) and not set(victims(frail, victim)) & set(before))
    settled(lambda: states(client) == [ACTIVE, ACTIVE])
    settled(lambda: client.delete(first).status_code == 200)
    kill(frail, victim)
    settled(lambda: client.get(first).status_code == 404)
    settled(lambda: len([found for found in frail.leftovers() if "domain" in found]) == 1)
    settled(lambda: client.get(second).status_code == 200)


def test_an_agent_without_its_database_ends_for_another_may_have_its_host(frail: Gateway) -> None:
    agent = set(frail.processes("altostratus agent"))
    assert agent

    kill(frail, "bin/postgres -D")

    wait_until(lambda: not agent & set(frail.processes("altostratus agent")))
    wait_until(lambda: frail.processes("altostratus agent"))


def test_while_the_database_is_away_answers_say_so_and_then_go_on(frail: Gateway, client: httpx.Client) -> None:
    made = make(client)
    settled(lambda: states(client) == [ACTIVE])
    assert frail.process is not None
    frail.process.send_signal(signal.SIGSTOP)  # nobody starts the database again meanwhile
    try:
        kill(frail, "bin/postgres -D")
        wait_until(lambda: not frail.processes("bin/postgres -D"))
        answers = [
            client.get(made, headers={"Accept": JSON}),
            client.get("/compute/", headers={"Accept": "text/plain"}),
            client.post("/compute/", json=SMALL, headers={"Content-Type": JSON, "Accept": JSON}),
            client.delete(made),
        ]
    finally:
        frail.process.send_signal(signal.SIGCONT)

    for answer in answers:
        assert answer.status_code == 503
        assert "the cloud's database can't be reached" in answer.text.lower()
        assert "Traceback" not in answer.text
    settled(lambda: states(client) == [ACTIVE])


def test_a_second_run_on_the_same_folder_is_refused_by_name(frail: Gateway) -> None:
    assert frail.process is not None

    refused = frail.command("run")

    assert refused.returncode == 1
    assert str(frail.state) in refused.stderr
    assert f"process ID {frail.process.pid}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_gateway_killed_whole_leaves_nothing_in_the_way_of_the_next(frail: Gateway, client: httpx.Client) -> None:
    make(client)
    settled(lambda: states(client) == [ACTIVE])
    assert frail.process is not None
    frail.process.kill()
    frail.process.wait(30)
    wait_until(lambda: not frail.processes("altostratus serve") and not frail.processes("altostratus agent"))

    frail.start()

    settled(lambda: states(client) == [ACTIVE])
    for daemon in ("libvirtd", "virtlogd"):  # left by the one that was killed, and watched by the next
        before = victims(frail, daemon)
        kill(frail, daemon)
        settled(lambda daemon=daemon, before=before: victims(frail, daemon) not in ([], before))
    settled(lambda: states(client) == [ACTIVE])


def test_a_database_that_dies_while_all_starts_is_started_again(frail: Gateway, client: httpx.Client) -> None:
    frail.stop()
    mark = frail.log.stat().st_size
    with ThreadPoolExecutor(1) as threads:
        started = threads.submit(frail.start)
        wait_until(lambda: b"starting agent" in frail.log.read_bytes()[mark:] or started.done())
        kill(frail, "bin/postgres -D")
        started.result()

    settled(lambda: states(client) == [])


def test_a_killed_emulator_is_started_again(frail: Gateway, client: httpx.Client) -> None:
    make(client)
    settled(lambda: states(client) == [ACTIVE])
    before = emulators(frail)

    kill(frail, "qemu")

    settled(lambda: emulators(frail) and not emulators(frail) & before)
    settled(lambda: states(client) == [ACTIVE])


def test_after_a_reboot_of_the_host_all_is_back(frail: Gateway, client: httpx.Client) -> None:
    """A reboot leaves the files, and takes the processes, the links, the rules and what lies in /run."""
    make(client)
    stopped = make(client)
    settled(lambda: states(client) == [ACTIVE, ACTIVE])
    act(client, stopped, "stop")
    settled(lambda: states(client) == [ACTIVE, INACTIVE])
    tag = frail.cloud_tag()
    assert frail.process is not None
    frail.process.kill()
    frail.process.wait(30)
    for part in PARTS:
        kill(frail, part)
    kill(frail, "qemu")
    subprocess.run(["pkill", "-KILL", "-f", f"dnsmasq.*{frail.state}/"], check=False, timeout=10)
    wait_until(lambda: not emulators(frail))
    take_away_networks(tag)
    for path in LIBVIRT_STATES.glob(f"*{tag}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    frail.start()

    settled(lambda: states(client) == [ACTIVE, INACTIVE])
    assert [found for found in frail.leftovers() if found.startswith("link")]
    assert [found for found in frail.leftovers() if found.startswith("table")]


def take_away_networks(tag: str) -> None:
    for family in ("bridge", "inet"):
        subprocess.run(["nft", "delete", "table", family, f"altostratus_{tag}"], check=True, timeout=10)
    listed = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, timeout=10, check=True).stdout
    for name in re.findall(rf"^\d+: ({tag}\w+)", listed, re.M):
        subprocess.run(["ip", "link", "delete", name], check=False, timeout=10, capture_output=True)


def test_a_lost_disk_is_told_and_not_replaced_in_silence(frail: Gateway, client: httpx.Client) -> None:
    user = User(client)
    storage = user.make_storage(0.01)
    path = frail.state / "pool" / "disks" / f"{storage.rpartition('/')[2]}.qcow2"
    path.unlink()

    user.wait_for(storage, "error")

    assert "is not in the pool" in user.message(storage)
    assert not path.exists()


def test_what_somebody_takes_away_from_a_guests_network_comes_back(
    frail: Gateway, client: httpx.Client, tmp_path: Path
) -> None:
    guest = make_guest(User(client), make_key(tmp_path))
    guest.wait_for_boot()
    tag = frail.cloud_tag()
    bridge, tap = (link_named(tag, letter) for letter in "bt")
    damages = {
        "all rules": (["nft", "flush", "ruleset"], lambda: f"altostratus_{tag}" in output("nft", "list", "tables")),
        "the bridge": (["ip", "link", "delete", bridge], lambda: bridge in output("ip", "-o", "link")),
        "the DHCP server": (
            ["pkill", "-KILL", "-f", f"dnsmasq.*{frail.state}/"],
            lambda: f"{frail.state}/" in output("pgrep", "-a", "dnsmasq"),
        ),
        "the tap": (["ip", "link", "delete", tap], lambda: tap in output("ip", "-o", "link")),
    }
    for what, (command, is_back) in damages.items():
        subprocess.run(command, check=True, timeout=10)
        wait_until(is_back, SETTLE_LIMIT_S), what
        assert answers_again(guest), what
    assert states(client) == [ACTIVE]


def answers_again(guest: Guest) -> bool:
    guest.wait_for("true", SETTLE_LIMIT_S)
    return True


def link_named(tag: str, letter: str) -> str:
    found: list[str] = re.findall(rf"^\d+: ({tag}{letter}[a-z2-7]{{8}})", output("ip", "-o", "link"), re.M)
    assert len(found) == 1, found
    return found[0]


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout


# At random


def act(client: httpx.Client, path: str, term: str) -> httpx.Response:
    action = f"http://schemas.ogf.org/occi/infrastructure/compute/action#{term}"
    attributes = {"method": "poweroff"} if term == "stop" else {}
    return client.post(
        f"{path}?action={term}",
        json={"action": action, "attributes": attributes},
        headers={"Content-Type": JSON, "Accept": JSON},
    )


class Busy:
    """A client that makes, stops, starts and deletes machines, and remembers what the gateway has promised it."""

    def __init__(self, gateway: Gateway, seed: str, until: float) -> None:
        self._gateway = gateway
        self._choice = Random(seed)
        self._until = until
        self.promised: dict[str, str | None] = {}
        """The state of each machine that must come about; None where no answer came, so that either is right."""
        self.gone: set[str] = set()

    def work(self) -> None:
        with self._gateway.client() as client:
            while time.monotonic() < self._until:
                with contextlib.suppress(httpx.TransportError):  # the gateway is being started again
                    self._do_something(client)
                time.sleep(self._choice.uniform(0.3, 1))  # as people do; else hundreds of deletions queue up

    def _do_something(self, client: httpx.Client) -> None:
        if len(self.promised) < 2:
            answer = client.post("/compute/", json=SMALL, headers={"Content-Type": JSON})
            if answer.status_code == 201:
                self.promised[httpx.URL(answer.headers["Location"]).path] = ACTIVE
            return
        path = self._choice.choice(sorted(self.promised))
        wish = self._choice.choice(["stop", "start", "delete"])
        before, self.promised[path] = self.promised[path], None
        answer = client.delete(path) if wish == "delete" else act(client, path, wish)
        assert answer.status_code in (200, 204, 400, 404, 409, 503), answer.text
        if answer.status_code == 404:
            del self.promised[path]  # an earlier deletion had no answer, and yet was done
        elif answer.status_code in (400, 409):
            self.promised[path] = before
        elif answer.status_code != 503:
            self.promised[path] = ACTIVE if wish == "start" else INACTIVE
            if wish == "delete":
                self.promised.pop(path)
                self.gone.add(path)


def test_whatever_is_killed_while_clients_work_what_was_promised_comes_about(
    frail: Gateway, client: httpx.Client
) -> None:
    seed = os.environ.get("FAULTS_SEED", str(time.time_ns()))
    print(f"FAULTS_SEED={seed}")
    choice = Random(seed)
    until = time.monotonic() + RANDOM_S
    clients = [Busy(frail, f"{seed} {number}", until) for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        working = [threads.submit(busy.work) for busy in clients]
        while time.monotonic() < until:
            time.sleep(choice.uniform(0.2, 3))  # the kills are to be spread over all moments
            kill(frail, choice.choice([*PARTS, "qemu"]))
        for worker in working:
            worker.result()

    def all_is_as_promised() -> bool:
        present = paths(client, "compute")
        shown = {path: User(client).state(path) for path in present}
        return all(
            (path in shown or state is None) and (state is None or shown[path] == state)
            for busy in clients
            for path, state in busy.promised.items()
        ) and not any(path in shown for busy in clients for path in busy.gone)

    settled(all_is_as_promised)
    settled(lambda: all_is_wanted(frail))


def all_is_wanted(gateway: Gateway) -> bool:
    with gateway.connect() as connection:
        unsettled = connection.execute(
            "SELECT 1 FROM machine WHERE deleting OR state <> wanted OR generation <> observed_generation"
        ).fetchall()
        machines = connection.execute("SELECT count(*) FROM machine").fetchone()
    domains = [found for found in gateway.leftovers() if found.startswith("domain")]
    return not unsettled and machines is not None and len(domains) <= int(str(machines[0]))
