"""What interfaces receive and send: real packets, real taps, a real database, and agents that are killed."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import falcon
import falcon.testing
import pytest

from altostratus.observability import Metrics
from backends.agent import traffic
from backends.agent.host import Host
from backends.agent.traffic import begin_counting, count_traffic
from backends.cloud import Cloud
from backends.model import Interface, NewInterface, NewMachine, Role, Traffic
from backends.networks.bandwidth import Limits
from backends.networks.driver import Networks
from backends.networks.groups import Groups
from backends.networks.spec import tap_name
from backends.networks.traffic import Meter
from backends.store.database import Connection, Database
from tests.system.frames import inside, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for taps in a network namespace")

TAG = "zu12ab"
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
FRAME_BYTES = 114
HEADER = b"\xff" * 6 + b"\x52\x54\x00\x00\x00\x02" + b"\x88\xb5"


@pytest.fixture
def namespace() -> Iterator[None]:
    name = f"{TAG}host"
    run("ip", "netns", "add", name)
    try:
        with inside(name):
            yield
    finally:
        run("ip", "netns", "delete", name)


def agent_of(database: Database, name: str, folder: Path) -> Host:
    unused = cast(Any, None)
    return Host(
        name=name,
        database=database,
        hypervisor=unused,
        pool=unused,
        networks=Networks(TAG, folder),
        files=unused,
        groups=Groups(TAG),
        limits=Limits(TAG),
        meter=Meter(TAG),
        seeds=folder,
        values=folder,
        graceful_stop_s=1,
    )


@pytest.fixture
def agent(namespace: None, database: Database, host: str, tmp_path: Path) -> Iterator[Host]:
    made = agent_of(database, host, tmp_path)
    yield made
    made.meter.close()


class Tap:
    """As QEMU has it: it is there for as long as its file is open."""

    def __init__(self, interface_id: UUID) -> None:
        self._name = tap_name(TAG, interface_id)
        self._file = os.open("/dev/net/tun", os.O_RDWR)
        request = struct.pack("16sH22x", self._name.encode(), IFF_TAP | IFF_NO_PI)
        fcntl.ioctl(self._file, TUNSETIFF, request)
        Path("/proc/sys/net/ipv6/conf", self._name, "disable_ipv6").write_text("1")
        run("ip", "link", "set", self._name, "up")
        self._host = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._host.bind((self._name, 0))

    def sends(self, frames: int) -> None:
        for _ in range(frames):
            os.write(self._file, HEADER + bytes(FRAME_BYTES - len(HEADER)))

    def receives(self, frames: int) -> None:
        for _ in range(frames):
            self._host.send(HEADER + bytes(FRAME_BYTES - len(HEADER)))
            assert len(os.read(self._file, 2000)) == FRAME_BYTES

    def goes(self) -> None:
        self._host.close()
        os.close(self._file)


@contextmanager
def plugged(interface: Interface) -> Iterator[Tap]:
    tap = Tap(interface.id)
    try:
        yield tap
    finally:
        tap.goes()


def frames(received: int, sent: int) -> Traffic:
    return Traffic(received * FRAME_BYTES, received, sent * FRAME_BYTES, sent)


def of_project(sql: Connection, cloud: Cloud) -> Traffic:
    row = sql.execute(
        "SELECT received_bytes, received_packets, sent_bytes, sent_packets FROM project_traffic WHERE project_id = %s",
        [cloud.caller.project_id],
    ).fetchone()
    assert row is not None
    return Traffic(*row)


@pytest.fixture
def interface(agent: Host, cloud: Cloud) -> Interface:
    (made,) = cloud.create_machine(NewMachine()).interfaces
    begin_counting(agent, made.id)
    return made


def test_counts_are_those_of_the_guest(agent: Host, cloud: Cloud, sql: Connection, interface: Interface) -> None:
    with plugged(interface) as tap:
        tap.sends(5)
        tap.receives(3)
        count_traffic(agent)
        assert cloud.interface(interface.id).traffic == frames(3, 5)
        count_traffic(agent)
        assert cloud.interface(interface.id).traffic == frames(3, 5)
        tap.sends(1)
        count_traffic(agent)
        assert of_project(sql, cloud) == frames(3, 6)


def test_counts_go_on_when_the_tap_is_made_anew(agent: Host, cloud: Cloud, interface: Interface) -> None:
    """What passed between the last reading and the end of the tap included, several times over."""
    sent = 0
    for number in range(1, 4):
        with plugged(interface) as tap:
            tap.sends(number)
            count_traffic(agent)
            tap.sends(10)
        sent += number + 10
    count_traffic(agent)
    assert cloud.interface(interface.id).traffic == frames(0, sent)


def test_tap_that_no_reading_saw_is_counted(agent: Host, cloud: Cloud, interface: Interface) -> None:
    for _ in range(2):
        with plugged(interface) as tap:
            tap.sends(7)
    count_traffic(agent)
    assert cloud.interface(interface.id).traffic == frames(0, 14)


def test_killed_agent_has_counted_all_or_nothing(
    agent: Host, cloud: Cloud, database: Database, interface: Interface, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plugged(interface) as tap:
        tap.sends(4)
        count_traffic(agent)
        tap.sends(4)

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(traffic, "_parameters", killed)
        with pytest.raises(KeyboardInterrupt):
            count_traffic(agent)
        monkeypatch.undo()
        assert cloud.interface(interface.id).traffic == frames(0, 4)
        successor = agent_of(database, agent.name, tmp_path)
        count_traffic(successor)
        assert cloud.interface(interface.id).traffic == frames(0, 8)
    count_traffic(successor)
    successor.meter.close()
    count_traffic(agent)  # who was only away tells the end of the tap again
    assert cloud.interface(interface.id).traffic == frames(0, 8)


def test_end_of_a_tap_is_told_until_it_is_counted(
    agent: Host, cloud: Cloud, interface: Interface, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plugged(interface) as tap:
        tap.sends(4)

    def fails(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(traffic, "_parameters", fails)
    with pytest.raises(OSError, match="the disk is full"):
        count_traffic(agent)
    monkeypatch.undo()
    count_traffic(agent)
    assert cloud.interface(interface.id).traffic == frames(0, 4)


def test_reboot_of_the_host_begins_from_nothing(
    agent: Host, cloud: Cloud, sql: Connection, interface: Interface
) -> None:
    """After it a tap may have the same index, and has counted less or more than the one before."""
    with plugged(interface) as tap:
        tap.sends(9)
        count_traffic(agent)
        sql.execute("UPDATE traffic SET boot = 'the boot before'")
        count_traffic(agent)
        assert cloud.interface(interface.id).traffic == frames(0, 18)


def test_project_keeps_what_a_deleted_interface_has_counted(
    agent: Host, cloud: Cloud, other_cloud: Cloud, sql: Connection, interface: Interface
) -> None:
    with plugged(interface) as tap:
        tap.sends(5)
        count_traffic(agent)
        tap.sends(1)
        sql.execute("DELETE FROM interface WHERE id = %s", [interface.id])
        count_traffic(agent)
        assert of_project(sql, cloud) == frames(0, 6)
        tap.sends(1)
    count_traffic(agent)
    assert of_project(sql, cloud) == frames(0, 7)
    assert of_project(sql, other_cloud) == frames(0, 0)
    assert sql.execute("SELECT 1 FROM traffic").fetchone() is None
    count_traffic(agent)
    assert of_project(sql, cloud) == frames(0, 7)


def test_identity_used_again_by_another_project_counts_from_nothing(
    agent: Host, cloud: Cloud, other_cloud: Cloud, sql: Connection
) -> None:
    identity, network = uuid4(), cloud.networks()[0].id
    for number, owner in enumerate((cloud, other_cloud), start=1):
        machine = owner.create_machine(NewMachine(interfaces=(NewInterface(network, id=identity),)))
        (interface,) = machine.interfaces
        begin_counting(agent, interface.id)
        with plugged(interface) as tap:
            tap.sends(number)
        sql.execute("DELETE FROM interface WHERE id = %s", [interface.id])
    count_traffic(agent)
    assert of_project(sql, cloud) == frames(0, 1)
    assert of_project(sql, other_cloud) == frames(0, 2)


def test_nobody_elses_links_are_read(agent: Host, interface: Interface) -> None:
    run("ip", "link", "add", "zu99zztabcdefgh", "type", "bridge")
    run("ip", "link", "delete", "zu99zztabcdefgh")
    assert agent.meter.readings() == []


def test_many_ends_at_once_are_all_heard(agent: Host, cloud: Cloud, sql: Connection) -> None:
    """As when a host with hundreds of machines is emptied between two readings."""
    interfaces = [uuid4() for _ in range(300)]
    taps = [Tap(interface_id) for interface_id in interfaces]
    for tap in taps:
        tap.sends(1)
    for tap in taps:
        tap.goes()
    readings = agent.meter.readings()
    assert {reading.tap for reading in readings} == {tap_name(TAG, interface_id) for interface_id in interfaces}
    assert {reading.counters for reading in readings} == {frames(0, 1)}
    assert all(reading.is_last for reading in readings)


def test_what_projects_have_used_outlives_interfaces_for_operators(
    cloud: Cloud,
    other_cloud: Cloud,
    database: Database,
    sql: Connection,
    interface: Interface,
    agent: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with plugged(interface) as tap:
        tap.sends(2)
        count_traffic(agent)
        alive = metrics(database, cloud)
        assert f'altostratus_interface_sent_bytes_total{{interface="{interface.id}",' in alive
        assert 'altostratus_project_sent_packets_total{project="mine"} 2.0' in alive
        assert 'altostratus_project_sent_packets_total{project="theirs"} 0.0' in alive
        assert "# TYPE altostratus_project_sent_packets_total counter" in alive
    sql.execute("DELETE FROM interface WHERE id = %s", [interface.id])
    count_traffic(agent)
    gone = metrics(database, cloud)
    assert str(interface.id) not in gone
    assert 'altostratus_project_sent_packets_total{project="mine"} 2.0' in gone


def metrics(database: Database, cloud: Cloud) -> str:
    class Admin:
        def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
            request.context.cloud = Cloud(database, replace(cloud.caller, role=Role.CLOUD_ADMIN), {}, "small")

    app = falcon.App(middleware=[Admin()])
    app.add_route("/metrics", Metrics(database))
    return str(falcon.testing.TestClient(app).simulate_get("/metrics").text)


def test_operators_command_lists_each_project(conninfo: str, cloud: Cloud, other_cloud: Cloud) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "altostratus", "project", "traffic", "--json"],
        env={**os.environ, "ALTOSTRATUS_DATABASE": conninfo},
        capture_output=True,
        text=True,
        check=True,
    )
    nothing = {"received_bytes": 0, "received_packets": 0, "sent_bytes": 0, "sent_packets": 0}
    assert json.loads(listed.stdout) == [{"name": "mine"} | nothing, {"name": "theirs"} | nothing]
