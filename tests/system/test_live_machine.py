"""A compute's life on a whole gateway: made, stopped, restarted, suspended, killed, and what its guest notices."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from live import (
    GROWING,
    USER_DATA,
    Guest,
    User,
    eventually,
    inline_link,
    make_guest,
    make_key,
    remove,
    removed_at_the_end,
    shared_network,
)

from tests.system.conftest import SWEEP_S, Gateway

ADDRESS = "10.130.77.7"
MAC = "52:54:00:77:00:07"
SCRIPT = "#!/bin/sh\necho ran on $(hostname) >/root/made-by-script\n"


@pytest.fixture(scope="module")
def user(gateway: Gateway) -> Iterator[User]:
    with gateway.client() as http:
        yield User(http)


@pytest.fixture(scope="module")
def machine(user: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """One guest for all tests here, made with everything that can be asked for."""
    guest = make_guest(
        user,
        make_key(tmp_path_factory.mktemp("key")),
        {
            "occi.core.title": "web",
            "occi.compute.hostname": "web-1",
            "occi.compute.userdata": base64.b64encode(SCRIPT.encode()).decode(),
        },
        mixins=[USER_DATA, GROWING],
        links=[
            inline_link(
                shared_network(user),
                {"occi.networkinterface.address": ADDRESS, "occi.networkinterface.mac": MAC},
            )
        ],
    )
    yield guest
    remove(user, guest.path)


@pytest.fixture
def guest(machine: Guest) -> Guest:
    """The guest, running, whatever the test before did to it."""
    if machine.user.state(machine.path) != "active":
        machine.user.act(machine.path, "start")
    machine.wait_for_boot()
    return machine


def qemu_of(guest: Guest) -> int:
    """The process of the guest's QEMU."""
    found = subprocess.run(
        ["pgrep", "-f", f"qemu-system.*-uuid {guest.id}"], capture_output=True, text=True, timeout=10, check=False
    )
    return int(found.stdout.split()[0]) if found.stdout else 0


def test_a_guest_is_made_as_asked(guest: Guest) -> None:
    assert guest.address == ADDRESS
    assert guest.output("hostname") == "web-1"
    guest.wait_for("test -s /root/made-by-script")
    assert guest.output("cat /root/made-by-script") == "ran on web-1"
    assert guest.output("cat /sys/class/net/eth0/address") == MAC
    assert guest.output("ip -4 -o address show dev eth0").split()[3] == f"{ADDRESS}/16"


def test_the_console_log_is_behind_a_link(guest: Guest) -> None:
    def log() -> str:
        (path,) = [
            link["target"]["location"]
            for link in guest.user.links_of(guest.path, "consolelink")
            if link["target"]["kind"].endswith("#console_log")
        ]
        answer = guest.user.http.get(path)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        return answer.text

    eventually(lambda: "web-1 login:" in log(), "the login prompt on the console")


def test_the_display_listens_on_loopback_alone(guest: Guest) -> None:
    (display,) = [
        link["target"]["location"]
        for link in guest.user.links_of(guest.path, "consolelink")
        if link["target"]["location"].startswith("vnc://")
    ]
    (password,) = [
        link["attributes"]["local.altostratus.vnc.password"]
        for link in guest.user.links_of(guest.path, "consolelink")
        if link.get("attributes")
    ]
    assert len(password) == 8
    host, _, port = display.removeprefix("vnc://").partition(":")
    assert host == "127.0.0.1"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        assert connection.recv(12).startswith(b"RFB ")
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, timeout=10, check=True).stdout
    assert [line.split()[3] for line in listening.splitlines() if line.split()[3].endswith(f":{port}")] == [
        f"127.0.0.1:{port}"
    ]


def test_what_a_running_guest_uses_is_among_the_metrics(guest: Guest) -> None:
    def value(name: str) -> float:
        metrics = guest.user.http.get("/metrics").text
        found = re.search(rf'^altostratus_machine_{name}{{machine="{guest.id}",project="\w+"}} (\S+)$', metrics, re.M)
        return float(found[1]) if found else 0

    for name in ("cpu_seconds", "memory_resident_mib", "disk_read_bytes", "network_sent_bytes"):
        eventually(lambda name=name: value(name) > 0, name)
    metrics = guest.user.http.get("/metrics").text
    assert metrics.count("# TYPE altostratus_machines gauge") == 1
    assert 'pid="' not in metrics


@pytest.mark.parametrize("method", ["graceful", "acpioff", "poweroff"])
def test_a_stopped_guest_starts_again_with_its_files(guest: Guest, method: str) -> None:
    guest.output(f"echo {method} >/root/kept; sync; echo unsynced >/root/unsynced-{method}")
    before = guest.boot_id
    guest.user.act(guest.path, "stop", method=method)
    guest.user.wait_for(guest.path, "inactive")
    assert not qemu_of(guest)

    guest.start()
    assert guest.output("cat /root/kept") == method
    assert guest.boot_id != before
    if method != "poweroff":
        assert guest.output(f"cat /root/unsynced-{method}") == "unsynced"


def test_a_start_while_the_guest_is_shutting_down_is_not_lost(guest: Guest) -> None:
    before = guest.boot_id
    guest.user.act(guest.path, "stop", method="graceful")
    eventually(lambda: "waiting" in guest.user.message(guest.path), "the press of the power button")
    guest.user.act(guest.path, "start")

    def has_booted_again() -> bool:
        answer = guest.ssh("cat /proc/sys/kernel/random/boot_id")
        return answer.returncode == 0 and answer.stdout.strip() != before

    eventually(has_booted_again, "another boot")
    guest.user.wait_for(guest.path, "active")


@pytest.mark.parametrize("method", ["graceful", "warm", "cold"])
def test_a_restarted_guest_boots_anew(guest: Guest, method: str) -> None:
    before, process = guest.boot_id, qemu_of(guest)
    guest.output("touch /run/gone-after-boot")
    guest.user.act(guest.path, "restart", method=method)

    guest.wait_for("test ! -e /run/gone-after-boot", 120)
    assert guest.boot_id != before
    guest.user.wait_for(guest.path, "active")
    assert (qemu_of(guest) == process) == (method == "warm")


@pytest.mark.parametrize("method", ["suspend", "hibernate"])
def test_a_suspended_guest_goes_on_where_it_was(guest: Guest, method: str) -> None:
    before = guest.boot_id
    guest.output("sleep 10000 >/dev/null 2>&1 & echo $! >/run/sleeper")
    guest.user.act(guest.path, "suspend", method=method)
    guest.user.wait_for(guest.path, "suspended")
    assert bool(qemu_of(guest)) == (method == "suspend")
    assert not guest.answers()

    guest.start()
    assert guest.boot_id == before
    guest.output("kill $(cat /run/sleeper)")


def bare(user: User) -> str:
    """A compute without an operating system, which hears no power button."""
    return user.make("compute", {"occi.compute.memory": 0.0625, "occi.compute.cores": 1})


def test_a_deaf_guest_is_forced_by_graceful_and_left_alone_by_acpioff(user: User) -> None:
    forced, spared, changed = bare(user), bare(user), bare(user)
    with removed_at_the_end(user, forced, spared, changed):
        for path in (forced, spared, changed):
            user.wait_for(path, "active")
        user.act(forced, "stop", method="graceful")
        user.act(changed, "stop", method="graceful")
        user.act(spared, "stop", method="acpioff")
        eventually(lambda: "waiting" in user.message(changed), "the stop's beginning")
        user.act(changed, "start")
        user.wait_for(forced, "inactive")
        eventually(lambda: "did not react" in user.message(spared), "the end of the patience")
        time.sleep(2 * SWEEP_S)
        assert user.state(spared) == "active"
        assert "did not react" in user.message(spared)
        assert user.state(changed) == "active"
        assert user.message(changed) == ""


@pytest.mark.parametrize(
    ("action", "method", "state"),
    [("stop", "poweroff", "inactive"), ("suspend", "suspend", "suspended"), ("restart", "cold", "active")],
)
def test_an_action_right_after_the_making_takes_effect(user: User, action: str, method: str, state: str) -> None:
    path = bare(user)
    with removed_at_the_end(user, path):
        user.act(path, action, method=method)
        user.wait_for(path, state)
        time.sleep(2 * SWEEP_S)
        assert (user.state(path), user.message(path)) == (state, "")


def test_a_suspended_compute_takes_links_which_it_has_when_it_goes_on(user: User) -> None:
    path, disk = bare(user), user.make_storage(0.0625)
    with removed_at_the_end(user, path, disk):
        user.wait_for(path, "active")
        user.act(path, "suspend", method="hibernate")
        user.wait_for(path, "suspended")
        link = user.make("storagelink", {"occi.core.source": path, "occi.core.target": disk})
        assert user.state(link) == "inactive"
        user.act(path, "start")
        user.wait_for(path, "active")
        user.wait_for(link, "active")


def test_a_guest_that_powers_itself_off_stays_off(guest: Guest) -> None:
    guest.ssh("poweroff")
    guest.user.wait_for(guest.path, "inactive")
    assert guest.user.message(guest.path) == "the guest shut itself down"
    time.sleep(2 * SWEEP_S)
    assert guest.user.state(guest.path) == "inactive"
    assert guest.user.message(guest.path) == "the guest shut itself down"
    assert not qemu_of(guest)


def test_a_killed_hypervisor_process_is_replaced(guest: Guest) -> None:
    before, process = guest.boot_id, qemu_of(guest)
    os.kill(process, signal.SIGKILL)

    eventually(lambda: qemu_of(guest) not in (0, process), "a new QEMU")
    guest.wait_for_boot()
    assert guest.boot_id != before


def test_a_running_guest_gets_another_core_and_works_on(guest: Guest) -> None:
    before = guest.boot_id
    assert guest.output("nproc") == "1"
    guest.user.change(guest.path, {"occi.compute.cores": 2})
    guest.wait_for("test $(nproc) = 2")
    assert guest.boot_id == before
    assert guest.user.state(guest.path) == "active"


def test_a_stopped_compute_takes_other_hardware_and_a_running_one_refuses(guest: Guest) -> None:
    for attributes in ({"occi.compute.cores": 3}, {"occi.compute.memory": 0.25}):
        refused = guest.user.send("POST", guest.path, {"attributes": attributes})
        assert refused.status_code == 400
        assert "inactive" in refused.text

    guest.stop()
    cores = 3 - int(guest.user.shown(guest.path)["occi.compute.cores"])
    guest.user.change(guest.path, {"occi.compute.cores": cores, "occi.compute.memory": 0.25})
    guest.start()
    assert guest.output("nproc") == str(cores)
    memory_kib = re.search(r"MemTotal: +(\d+)", guest.output("cat /proc/meminfo"))
    assert memory_kib is not None
    assert 160 < int(memory_kib[1]) / 1024 <= 256
    guest.stop()
    guest.user.change(guest.path, {"occi.compute.cores": 1, "occi.compute.memory": 0.125})
