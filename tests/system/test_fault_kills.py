"""Parts of a running gateway die by SIGKILL; what was asked for comes about all the same, and nothing is lost.

Machines without an image halt in their BIOS: quick to make, and as much a domain as any.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import wait_until
from tests.system.conftest import INFRASTRUCTURE, Gateway, make_gateway

ACTIVE = "active"
SMALL = {"kind": f"{INFRASTRUCTURE}compute", "attributes": {"occi.compute.memory": 0.0625}}


@pytest.fixture
def frail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of the test's own, swept every second."""
    if os.geteuid() != 0:
        pytest.skip("the gateway makes domains and bridges, which needs root")
    gateway = make_gateway(tmp_path_factory.mktemp("f"), ALTOSTRATUS_SWEEP_S="1")
    gateway.start()
    yield gateway
    with gateway.client() as client:
        settled(gateway, lambda: client.delete("/compute/").status_code == 200)
        settled(gateway, lambda: not [found for found in gateway.leftovers() if "domain" in found])
    gateway.stop()
    gateway.start()
    left = [found for found in gateway.leftovers() if "domain" in found or "pool" in found or "seeds" in found]
    gateway.stop()
    assert left == []


def settled(gateway: Gateway, condition: object) -> None:
    """Waits; a gateway that is being restarted may refuse connections or answer 503 meanwhile."""
    assert callable(condition)

    def holds() -> bool:
        try:
            return bool(condition())
        except (httpx.TransportError, KeyError, ValueError):
            return False

    wait_until(holds, 120)


def states(client: httpx.Client) -> list[str]:
    answer = client.get("/compute/", headers={"Accept": "application/occi+json"})
    return [found["attributes"]["occi.compute.state"] for found in answer.json()["resources"]]


def make(client: httpx.Client) -> str:
    answer = client.post("/compute/", json=SMALL, headers={"Content-Type": "application/occi+json"})
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def kill(gateway: Gateway, words: str) -> None:
    found = gateway.processes(words)
    assert found, f"no process of {words}"
    for process_id in found:
        os.kill(process_id, signal.SIGKILL)


@pytest.mark.parametrize("victim", ["altostratus agent", "altostratus serve", "bin/postgres -D"])
def test_a_killed_part_is_started_again_and_loses_nothing(frail: Gateway, victim: str) -> None:
    with frail.client() as client:
        first = make(client)
        second = make(client)
        kill(frail, victim)
        settled(frail, lambda: states(client) == [ACTIVE, ACTIVE])
        settled(frail, lambda: client.delete(first).status_code == 200)
        kill(frail, victim)
        settled(frail, lambda: client.get(first).status_code == 404)
        settled(frail, lambda: len([found for found in frail.leftovers() if "domain" in found]) == 1)
        settled(frail, lambda: client.get(second).status_code == 200)


def test_a_gateway_killed_whole_leaves_nothing_in_the_way_of_the_next(frail: Gateway) -> None:
    with frail.client() as client:
        make(client)
        settled(frail, lambda: states(client) == [ACTIVE])
    assert frail.process is not None
    frail.process.kill()
    frail.process.wait(30)
    wait_until(lambda: not frail.processes("altostratus serve") and not frail.processes("altostratus agent"))

    frail.start()

    with frail.client() as client:
        settled(frail, lambda: states(client) == [ACTIVE])


def test_a_killed_emulator_is_started_again(frail: Gateway) -> None:
    with frail.client() as client:
        make(client)
        settled(frail, lambda: states(client) == [ACTIVE])
        tag = frail.cloud_tag()
        before = emulators(tag)
        for process_id in before:
            os.kill(process_id, signal.SIGKILL)
        settled(frail, lambda: emulators(tag) and not emulators(tag) & before)
        settled(frail, lambda: states(client) == [ACTIVE])


def emulators(tag: str) -> set[int]:
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if b"qemu-system" in command and f"guest={tag}-".encode() in command:
                found.add(int(folder.name))
    return found
