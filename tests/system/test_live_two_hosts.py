"""Two whole hosts with a shared folder and a wire between them, and guests of both: they write to and read from the
same disk, one after the other, and reach each other.

The second host is `altostratus run` in namespaces of its own, with a libvirt of its own, on the first one's PostgreSQL.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from live import IP_NETWORK, Guest, User, eventually, make_guest, make_key, remove, removed_at_the_end

from tests.conftest import repository, wait_until
from tests.system.conftest import Gateway, free_port, make_gateway
from tests.system.namespaces import run

pytestmark = pytest.mark.timeout(1200)

WIRE = "10.201.0.0/24"
ON_THE_WIRE = """
until ip link show far 2>/dev/null >&2; do sleep 0.1; done
ip address add 10.201.0.2/24 dev far
ip link set far up
exec "$@"
"""

SHARED = "http://altostratus.local/occi/storage_tpl#shared"
READ_ONLY = "http://altostratus.local/occi/storage#readonly"
READ_ONLY_ATTRIBUTE = "local.altostratus.storage.readonly"
OCTETS = {"Content-Type": "application/octet-stream"}


@dataclass
class FarGateway(Gateway):
    """Of the second host."""

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    repository() / "deploy/isolated", "sh", "-c", ON_THE_WIRE, "host",
                    sys.executable, "-m", "altostratus", "run",
                ],
                env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        wait_until(self.is_isolated, 30)
        run("ip", "link", "set", "far", "netns", str(self.inside))

        def is_ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            return b"The gateway answers at" in self.log.read_bytes()

        wait_until(is_ready, 180)

    @property
    def inside(self) -> int:
        """A process in its namespaces: `run` itself, or what waits for the wire."""
        return self._inside()[0]

    def is_isolated(self) -> bool:
        return self._inside() != []

    def _inside(self) -> list[int]:
        own = Path("/proc/self/ns/net").readlink()
        return [
            number
            for number in self.processes("-m altostratus run")
            if Path(f"/proc/{number}/ns/net").readlink() != own
            and b"isolated" not in Path(f"/proc/{number}/cmdline").read_bytes()
        ]

    @property
    def enter(self) -> tuple[str, ...]:
        return ("nsenter", "--target", str(self.inside), "--net")

    def stop(self) -> None:
        os.kill(self.inside, signal.SIGINT)
        assert self.process is not None
        self.process.wait(120)


@dataclass(frozen=True)
class Hosts:
    near: Gateway
    far: FarGateway
    folder: Path

    @contextmanager
    def only(self, name: str) -> Iterator[None]:
        """New computes go there."""
        with self.near.connect() as connection:
            connection.execute("UPDATE host SET is_full = name <> %s", [name])
            yield
            connection.execute("UPDATE host SET is_full = false")

    def wait_until_free(self, storage: str) -> None:
        """Its link is gone for users before the guest has let go of it."""

        def is_free() -> bool:
            with self.near.connect() as connection:
                statement = "SELECT FROM attachment WHERE disk_id = %s"
                return connection.execute(statement, [storage.rpartition("/")[2]]).rowcount == 0

        eventually(is_free, f"{storage} is free")

    def home(self, storage: str) -> str:
        with self.near.connect() as connection:
            row = connection.execute("SELECT host FROM disk WHERE id = %s", [storage.rpartition("/")[2]]).fetchone()
        assert row is not None
        return str(row[0])


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    if os.geteuid() != 0:
        pytest.skip("the gateway makes domains and bridges, which needs root")
    base = tmp_path_factory.mktemp("sharing")
    folder = base / "exported"
    folder.mkdir()
    near = make_gateway(
        base,
        ALTOSTRATUS_SHARED_POOL=str(folder),
        ALTOSTRATUS_TUNNEL_NETWORK=WIRE,
        ALTOSTRATUS_HOST_NAME="rack1",
        ALTOSTRATUS_SWEEP_S="3",
    )
    run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
    run("ip", "address", "add", "10.201.0.1/24", "dev", "near")
    run("ip", "link", "set", "near", "up")
    try:
        near.start()
        done = near.command("share")
        assert done.returncode == 0, done.stderr
        assert near.command("share").stdout == done.stdout
        state = base / "far"
        shutil.copytree(near.state / "pool" / "images", state / "pool" / "images")
        far = FarGateway(
            state,
            f"127.0.0.1:{free_port()}",
            near.settings
            | {
                "ALTOSTRATUS_HOST_NAME": "rack2",
                "ALTOSTRATUS_DATABASE": f"host={near.state}/postgres dbname=postgres user=altostratus",
            },
        )
        far.start()
        yield Hosts(near, far, folder)
        far.stop()
    finally:
        near.stop()
        run("ip", "link", "delete", "near", check=False)  # it goes with the second host's namespace


@pytest.fixture(scope="module")
def user(hosts: Hosts) -> Iterator[User]:
    with hosts.near.client() as http:
        yield User(http)


@pytest.fixture(scope="module")
def guests(hosts: Hosts, user: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guest, Guest]]:
    """One on each host."""
    key = make_key(tmp_path_factory.mktemp("key"))
    with hosts.only("rack1"):
        near = make_guest(user, key)
    with hosts.only("rack2"):
        far = replace(make_guest(user, key), enter=hosts.far.enter)
    for guest in (near, far):
        guest.wait_for_boot()
    yield near, far
    for guest in (near, far):
        remove(user, guest.path)
    eventually(lambda: not user.exists(far.path), "the guest is gone")


@pytest.fixture
def storage(hosts: Hosts, user: User) -> Iterator[str]:
    with hosts.near.connect() as connection:
        eventually(
            lambda: connection.execute("SELECT FROM host WHERE shared_pool IS NOT NULL").rowcount == 2,
            "both hosts see the folder",
        )
    path = user.make("storage", {"occi.storage.size": 0.0625}, [SHARED])
    with removed_at_the_end(user, path):
        user.wait_for(path, "online")
        yield path


def attach(user: User, guest: Guest, storage: str) -> str:
    return user.link("storagelink", guest.path, storage)


def detach(hosts: Hosts, user: User, link: str, storage: str) -> None:
    user.delete(link)
    hosts.wait_until_free(storage)


def test_what_a_guest_of_one_host_writes_one_of_the_other_reads(
    hosts: Hosts, user: User, guests: tuple[Guest, Guest], storage: str
) -> None:
    near, far = guests
    link = attach(user, near, storage)
    device = near.device(link)
    near.output(f"mke2fs -q {device} && mkdir -p /data && mount -t ext4 {device} /data")
    first = near.output("head -c 3000000 /dev/urandom >/data/first && sync && sha256sum </data/first")
    refused = user.send(
        "POST", "/storagelink/",
        {
            "kind": "http://schemas.ogf.org/occi/infrastructure#storagelink",
            "attributes": {"occi.core.source": far.path, "occi.core.target": storage},
        },
    )  # fmt: skip
    assert refused.status_code == 409 and "is attached to the compute" in refused.text
    assert hosts.home(storage) == "rack1"
    near.output("umount /data")
    detach(hosts, user, link, storage)

    link = attach(user, far, storage)
    assert hosts.home(storage) == "rack2"
    device = far.device(link)
    far.output(f"mkdir -p /data && mount -t ext4 {device} /data")
    assert far.output("sha256sum </data/first") == first
    second = far.output("head -c 2000000 /dev/urandom >/data/second && sync && sha256sum </data/second")
    user.act(storage, "snapshot")
    user.act(storage, "resize", size=0.125)
    eventually(lambda: far.output(f"blockdev --getsize64 {device}") == str(128 << 20), "it has grown")
    far.output("umount /data")
    detach(hosts, user, link, storage)

    link = attach(user, near, storage)
    near.output(f"mount -t ext4 {near.device(link)} /data")
    assert near.output("sha256sum </data/first") == first
    assert near.output("sha256sum </data/second") == second
    near.output("umount /data")
    detach(hosts, user, link, storage)


def test_bytes_come_and_go_through_the_gateways_of_both(
    hosts: Hosts, user: User, guests: tuple[Guest, Guest], storage: str
) -> None:
    _, far = guests
    link = attach(user, far, storage)
    device = far.device(link)
    whole = far.output(f"dd if=/dev/urandom of={device} bs=64k conv=fsync 2>/dev/null; sha256sum <{device}").split()[0]
    value = f"/cdmi/disks/{storage.rpartition('/')[2]}/value"
    assert user.http.get(value).status_code == 409
    detach(hosts, user, link, storage)

    read = user.http.get(value)
    assert (read.status_code, hashlib.sha256(read.content).hexdigest()) == (200, whole)
    assert hosts.home(storage) == "rack1"
    written = user.http.put(value, content=b"near" * 1024, headers=OCTETS | {"Content-Range": "bytes 0-4095/*"})
    assert written.status_code == 204, written.text
    user_name, password = hosts.near.credentials
    command = ["curl", "-sf", "-u", f"{user_name}:{password}", "-r", "0-4095", f"{hosts.far.url}{value}"]
    done = subprocess.run([*hosts.far.enter, *command], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, b"near" * 1024)
    assert hosts.home(storage) == "rack2"


def test_disk_that_is_read_only_is_read_by_guests_of_both_at_once(
    hosts: Hosts, user: User, guests: tuple[Guest, Guest], storage: str
) -> None:
    value = f"/cdmi/disks/{storage.rpartition('/')[2]}/value"
    written = user.http.put(value, content=b"read me\n", headers=OCTETS | {"Content-Range": "bytes 0-7/*"})
    assert written.status_code == 204, written.text
    user.change(storage, {READ_ONLY_ATTRIBUTE: True}, [READ_ONLY])
    user.wait_for(storage, "online")
    links = [attach(user, guest, storage) for guest in guests]
    for guest, link in zip(guests, links, strict=True):
        device = guest.device(link)
        assert guest.output(f"head -n 1 {device}") == "read me"
        assert not guest.answers(f"echo x >{device} && sync {device}")
    for link in links:
        user.delete(link)
    hosts.wait_until_free(storage)


def test_guests_of_both_reach_each_other_on_the_site_s_network_and_on_one_of_their_own(
    user: User, guests: tuple[Guest, Guest]
) -> None:
    near, far = guests
    assert near.pings(far.address) and far.pings(near.address)
    network = user.make("network", {"occi.network.address": "10.77.0.0/24"}, [IP_NETWORK])
    with removed_at_the_end(user, network):
        user.wait_for(network, "active")
        links = [user.link("networkinterface", guest.path, network) for guest in guests]
        for guest in guests:
            guest.wait_for("ip -4 -o address show dev eth1 | grep -q 10.77.0.")
        of_near, of_far = (user.shown(link)["occi.networkinterface.address"] for link in links)
        near.wait_for(f"ping -c 1 -W 2 {of_far}")
        assert far.pings(of_near)
        # As large as they are told that frames may be, which tunnels make smaller.
        mtu = int(near.output("cat /sys/class/net/eth1/mtu"))
        assert mtu < 1500
        assert near.pings(f"-s {mtu - 28} {of_far}")
        assert "SSH-" in far.output(f"nc {of_near} 22 </dev/null | head -c 4")
        for link in links:
            user.delete(link)
        for guest in guests:
            eventually(lambda guest=guest: not guest.answers("test -e /sys/class/net/eth1"), "the card's leaving")  # type: ignore[misc]


def test_query_interface_and_metadata_name_the_pool(user: User, storage: str) -> None:
    assert SHARED in user.get(storage)["mixins"]
    found = user.http.get(
        f"/cdmi/2.0.0/disks/{storage.rpartition('/')[2]}/?metadata", headers={"Accept": "application/cdmi-container"}
    )
    assert found.json()["metadata"]["altostratus_pool"] == "shared"
    listed = user.http.get("/-/", headers={"Accept": "text/plain"}).text
    assert 'shared; scheme="http://altostratus.local/occi/storage_tpl#"' in listed


def test_disk_of_a_compute_that_is_deleted_goes_to_the_other_host(
    hosts: Hosts, user: User, guests: tuple[Guest, Guest], storage: str
) -> None:
    near, far = guests
    device = near.device(attach(user, near, storage))
    written = near.output(f"dd if=/dev/urandom of={device} bs=64k conv=fsync 2>/dev/null; sha256sum <{device}")
    user.delete(near.path)
    hosts.wait_until_free(storage)
    link = attach(user, far, storage)
    assert far.output(f"sha256sum <{far.device(link)}") == written
    assert hosts.home(storage) == "rack2"
    detach(hosts, user, link, storage)
