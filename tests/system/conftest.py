"""The whole gateway, as `altostratus run` starts it, for tests that go through HTTP down to real guests.

These tests run as root in namespaces of their own (deploy/isolated), with a libvirt that is theirs alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx
import psycopg
import pytest

from altostratus.postgres import PrivateCluster
from altostratus.settings import Settings
from altostratus.supervisor import libvirt_children, start
from backends.store.database import Database
from tests.conftest import let_others_enter, new_database, repository, wait_until
from tests.system.cdmi_users import admin, carol, dave, users  # noqa: F401
from tests.system.namespaces import host_namespace, make_guest, networks, networks_folder, outside  # noqa: F401
from tests.system.worlds import Worlds

INFRASTRUCTURE = "http://schemas.ogf.org/occi/infrastructure#"
OS_TEMPLATE = "http://altostratus.local/occi/os_tpl#default"
SWEEP_S = 3
"""Often, so that whatever a sweep could disturb meets one."""
SHARED_NETWORKS = count(140)
AGENTS = """
while :; do
    "$PYTHON" -m altostratus agent &
    while kill -0 $! 2>/dev/null; do
        if [ -e "$FOLDER/kill" ]; then kill -9 $!; wait $!; rm "$FOLDER/kill"; fi
        sleep 0.2
    done
done
"""
"""Of a storage host in a lab machine: one after another, each until it is killed by way of a file."""
IMAGE_VARIABLE = "ALTOSTRATUS_TEST_IMAGE"
DEFAULT_IMAGE = Path(os.environ.get(IMAGE_VARIABLE, repository() / ".cache" / "default.qcow2"))


@dataclass
class Gateway:
    """A gateway of the test's own in a folder of its own."""

    state: Path
    listen: str
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.listen}"

    @property
    def log(self) -> Path:
        return self.state.parent / f"{self.state.name}.log"

    @property
    def credentials(self) -> tuple[str, str]:
        name, _, password = (self.state / "credentials").read_text().strip().partition(":")
        return name, password

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, auth=self.credentials, timeout=30)

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "ALTOSTRATUS_STATE": str(self.state),
            "ALTOSTRATUS_LISTEN": self.listen,
            "ALTOSTRATUS_DOMAIN_TYPE": "qemu",
            "ALTOSTRATUS_LOG_FORMAT": "json",
        }
        inherited = {name: value for name, value in os.environ.items() if name != IMAGE_VARIABLE}
        return {**inherited, **own, **self.settings}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`altostratus ARGUMENTS…` with this gateway's settings."""
        return subprocess.run(
            [sys.executable, "-m", "altostratus", *arguments],
            env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def start(self) -> None:
        with self.log.open("ab") as log:
            mark = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "altostratus", "run", "--default-image", str(DEFAULT_IMAGE)],
                env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

        def is_ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            return b"The gateway answers at" in self.log.read_bytes()[mark:]

        wait_until(is_ready, 120)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(120)

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            f"host={self.state}/postgres dbname=postgres user=altostratus", autocommit=True, connect_timeout=10
        )

    def processes(self, words: str) -> list[int]:
        """The IDs of this gateway's processes whose command line has these words."""
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                environment = (folder / "environ").read_bytes()
                if words in command and f"ALTOSTRATUS_STATE={self.state}\0".encode() in environment + b"\0":
                    found.append(int(folder.name))
        return found

    def cloud_tag(self) -> str:
        with self.connect() as connection:
            row = connection.execute("SELECT tag FROM cloud").fetchone()
        assert row is not None
        return str(row[0])

    def leftovers(self, tag: str | None = None) -> list[str]:
        """Whatever carries this cloud's name on the host: domains, links, namespaces, tables, files."""
        tag = tag or self.cloud_tag()
        found = [f"domain {name}" for name in _run("virsh", "-q", "list", "--all", "--name").split() if tag in name]
        found += [
            f"link {name}" for name in re.findall(r"^\d+: ([^:@]+)", _run("ip", "-o", "link"), re.M) if tag in name
        ]
        found += [f"namespace {line}" for line in _run("ip", "netns").splitlines() if tag in line]
        found += [f"table {line}" for line in _run("nft", "list", "tables").splitlines() if tag in line]
        pool = self.state / "pool"
        found += [str(path) for name in ("disks", "machines") for path in (pool / name).glob("*")]
        found += [str(path) for path in (self.state / "seeds").glob("*")]
        return found


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout


@pytest.fixture(scope="module")
def libvirt_daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """libvirt for tests that drive it without a gateway; nothing is started where one answers."""
    if os.geteuid() != 0:
        pytest.skip("libvirt's system daemons need root")
    folder = tmp_path_factory.mktemp("libvirt")
    (folder / "log").mkdir()
    children = libvirt_children(Settings(state=folder))
    for child in children:
        start(child)
    yield
    for child in reversed(children):
        child.stop()


@pytest.fixture(scope="module")
def shared_database(cluster: PrivateCluster, template_database: str) -> Iterator[Database]:
    """A database of the module's own, for tests that each work in a project of their own."""
    with new_database(cluster, template_database) as conninfo:
        database = Database(conninfo, connections=8)
        database.open()
        yield database
        database.close()


@pytest.fixture(scope="module")
def worlds(
    cluster: PrivateCluster, template_database: str, libvirt_daemons: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worlds]:
    """Clouds without gateways; at the end nothing of them is left on the host."""
    folder = tmp_path_factory.mktemp("worlds")
    let_others_enter(folder)
    made = Worlds(cluster, template_database, folder)
    yield made
    assert made.end() == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_gateway(folder: Path, **settings: str) -> Gateway:
    """Each with a shared network of its own: another may run beside it."""
    let_others_enter(folder)
    shared = {"ALTOSTRATUS_SHARED_NETWORK": f"10.{next(SHARED_NETWORKS)}.0.0/16"}
    return Gateway(folder / "state", f"127.0.0.1:{free_port()}", shared | settings)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway for all tests that break nothing. At the end nothing of it is left on the host."""
    if os.geteuid() != 0:
        pytest.skip("the gateway makes domains and bridges, which needs root")
    gateway = make_gateway(
        tmp_path_factory.mktemp("gateway"),
        ALTOSTRATUS_SHARED_NETWORK="10.130.0.0/16",
        ALTOSTRATUS_SHARED_NETWORK6="fd00:130::/64",
        ALTOSTRATUS_CORES_OVERCOMMIT="16",
        ALTOSTRATUS_SIZES='{"growing": {"cores": 1, "memory_gib": 0.125, "disk_gib": 1, "max_cores": 2}}',
        ALTOSTRATUS_GRACEFUL_STOP_S="30",
        ALTOSTRATUS_SWEEP_S=str(SWEEP_S),
    )
    gateway.start()
    with gateway.client() as client:
        yield gateway
        client.delete("/compute/")
        for _ in range(300):
            if not any("domain" in found for found in gateway.leftovers()):
                break
            time.sleep(0.1)
        for path in ("/storage/", "/ipreservation/", "/network/"):
            for location in client.get(path, headers={"Accept": "text/uri-list"}).text.split():
                client.delete(location)
    gateway.stop()


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        yield client
