"""What the live tests share: a user who speaks OCCI over HTTP to a whole gateway, and guests reached by SSH."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import wait_until

INFRASTRUCTURE = "http://schemas.ogf.org/occi/infrastructure#"
OS_TEMPLATES = "http://altostratus.local/occi/os_tpl#"
DEFAULT_IMAGE = f"{OS_TEMPLATES}default"
GROWING = "http://altostratus.local/occi/resource_tpl#growing"
SSH_KEY = "http://schemas.ogf.org/occi/infrastructure/credentials#ssh_key"
USER_DATA = "http://schemas.ogf.org/occi/infrastructure/compute#user_data"
IP_NETWORK = "http://schemas.ogf.org/occi/infrastructure/network#ipnetwork"
IP_NETWORK_INTERFACE = "http://schemas.ogf.org/occi/infrastructure/networkinterface#ipnetworkinterface"
BOOT_LIMIT_S = 300
STEP_LIMIT_S = 300

Document = dict[str, Any]


@dataclass(frozen=True)
class User:
    """Somebody with an account."""

    http: httpx.Client

    def get(self, path: str) -> Document:
        answer = self.http.get(path, headers={"Accept": "application/occi+json"})
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return dict(answer.json())

    def exists(self, path: str) -> bool:
        return self.http.get(path, headers={"Accept": "application/occi+json"}).status_code == 200

    def shown(self, path: str) -> Document:
        """The attributes that an instance shows."""
        return dict(self.get(path).get("attributes", {}))

    def state(self, path: str) -> str:
        return str(self.shown(path)[f"occi.{_kind(path)}.state"])

    def message(self, path: str) -> str:
        return str(self.shown(path).get(f"occi.{_kind(path)}.state.message", ""))

    def send(self, method: str, path: str, document: Document) -> httpx.Response:
        headers = {"Accept": "application/occi+json", "Content-Type": "application/occi+json"}
        return self.http.request(method, path, json=document, headers=headers)

    def make(
        self,
        kind: str,
        attributes: Mapping[str, object] | None = None,
        mixins: Sequence[str] = (),
        links: Sequence[Document] = (),
    ) -> str:
        """The path of a new instance."""
        document: Document = {"kind": INFRASTRUCTURE + kind, "attributes": dict(attributes or {})}
        if mixins:
            document["mixins"] = list(mixins)
        if links:
            document["links"] = list(links)
        made = self.send("POST", f"/{kind}/", document)
        assert made.status_code in (200, 201), (document, made.status_code, made.text)
        return httpx.URL(made.headers["Location"]).path

    def make_storage(self, size_gib: float, title: str = "disk") -> str:
        path = self.make("storage", {"occi.storage.size": size_gib, "occi.core.title": title})
        self.wait_for(path, "online")
        return path

    def link(self, kind: str, source: str, target: str, attributes: Mapping[str, object] | None = None) -> str:
        """The path of a new link, once the compute has it."""
        ends = {"occi.core.source": source, "occi.core.target": target}
        path = self.make(kind, {**ends, **(attributes or {})})
        self.wait_for(path, "active")
        return path

    def change(self, path: str, attributes: Mapping[str, object], mixins: Sequence[str] = ()) -> None:
        document: Document = {"attributes": dict(attributes)}
        if mixins:
            document["mixins"] = list(mixins)
        changed = self.send("POST", path, document)
        assert changed.status_code == 200, (document, changed.text)

    def act(self, path: str, term: str, **parameters: object) -> httpx.Response:
        document: Document = {"action": f"http://schemas.ogf.org/occi/infrastructure/{_kind(path)}/action#{term}"}
        if parameters:
            document["attributes"] = parameters
        acted = self.send("POST", f"{path}?action={term}", document)
        assert acted.status_code == 200, (path, term, acted.status_code, acted.text)
        return acted

    def wait_for(self, path: str, state: str, limit_s: float = STEP_LIMIT_S) -> None:
        def is_there() -> bool:
            return self.state(path) == state

        try:
            wait_until(is_there, limit_s)
        except AssertionError:
            raise AssertionError(f"{path} is not {state} after {limit_s} s: {self.shown(path)}") from None

    def delete(self, path: str) -> None:
        deleted = self.http.delete(path)
        assert deleted.status_code in (200, 204), (path, deleted.status_code, deleted.text)

    def links_of(self, path: str, term: str) -> list[Document]:
        """The links of a compute whose kind has this term."""
        return [link for link in self.get(path).get("links", []) if link["kind"].endswith(f"#{term}")]

    def link_paths(self, path: str, term: str) -> list[str]:
        """Where these links are by themselves."""
        return [f"/{term}/{link['id'].removeprefix('urn:uuid:')}" for link in self.links_of(path, term)]


@dataclass
class Guest:
    """A compute with an operating system that answers SSH."""

    user: User
    path: str
    key: Path
    enter: tuple[str, ...] = ()
    """The command that leads to where it is reached from."""
    at: str = ""
    """The address to reach it at, if not that of its first interface."""

    @property
    def id(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def address(self) -> str:
        """Where the API says that its first interface is."""
        return self.at or str(
            self.user.links_of(self.path, "networkinterface")[0]["attributes"]["occi.networkinterface.address"]
        )

    def ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        options = "BatchMode=yes StrictHostKeyChecking=no UserKnownHostsFile=/dev/null ConnectTimeout=4 LogLevel=ERROR"
        arguments = [*self.enter, "ssh", "-F", "none", "-i", str(self.key)]
        arguments += [part for option in options.split() for part in ("-o", option)]
        return subprocess.run(
            [*arguments, f"root@{self.address}", command], capture_output=True, text=True, timeout=60, check=False
        )

    def output(self, command: str) -> str:
        done = self.ssh(command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def answers(self, command: str = "true") -> bool:
        return self.ssh(command).returncode == 0

    def wait_for(self, command: str, limit_s: float = STEP_LIMIT_S) -> None:
        """Until the command succeeds in the guest."""
        wait_until(lambda: self.answers(command), limit_s)

    def wait_for_boot(self) -> None:
        self.user.wait_for(self.path, "active", BOOT_LIMIT_S)
        self.wait_for("true", BOOT_LIMIT_S)

    @property
    def boot_id(self) -> str:
        return self.output("cat /proc/sys/kernel/random/boot_id")

    def stop(self) -> None:
        self.user.act(self.path, "stop", method="graceful")
        self.user.wait_for(self.path, "inactive")

    def start(self) -> None:
        self.user.act(self.path, "start")
        self.wait_for_boot()

    def device(self, storage_link: str) -> str:
        """The guest's own name for an attached disk, found by its serial."""
        storage = self.user.get(storage_link)["target"]["location"]
        found = self.output(f"grep -l {serial_of(storage)} /sys/block/vd*/serial")
        return f"/dev/{found.split('/')[3]}"

    def has_disk(self, storage: str) -> bool:
        return self.answers(f"grep -q {serial_of(storage)} /sys/block/vd*/serial")

    def pings(self, address: str) -> bool:
        return self.answers(f"ping -c 1 -W 2 {address}")


def serial_of(storage: str) -> str:
    """What the guest reads from the disk: the beginning of its identity."""
    return storage.rpartition("/")[2].replace("-", "")[:20]


def make_key(folder: Path) -> Path:
    key = folder / "key"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "live@test", "-f", str(key)]
    subprocess.run(command, check=True, timeout=20)
    return key


def make_guest(
    user: User,
    key: Path,
    attributes: Mapping[str, object] | None = None,
    *,
    mixins: Sequence[str] = (),
    links: Sequence[Document] = (),
    image: str = DEFAULT_IMAGE,
) -> Guest:
    """A compute of one core and little memory that the key opens; it may still be booting."""
    path = user.make(
        "compute",
        {
            "occi.compute.cores": 1,
            "occi.compute.memory": 0.125,
            "occi.credentials.ssh.publickey": key.with_suffix(".pub").read_text().strip(),
            **(attributes or {}),
        },
        [image, SSH_KEY, *mixins],
        links,
    )
    return Guest(user, path, key)


def inline_link(target: str, attributes: Mapping[str, object] | None = None) -> Document:
    kind = "storagelink" if _kind(target) == "storage" else "networkinterface"
    link: Document = {"kind": INFRASTRUCTURE + kind, "target": {"location": target}}
    if attributes:
        link["attributes"] = dict(attributes)
        if "occi.networkinterface.address" in attributes:
            link["mixins"] = [IP_NETWORK_INTERFACE]
    return link


@contextmanager
def removed_at_the_end(user: User, *paths: str) -> Iterator[None]:
    """Deletes them, computes first, and waits until nothing holds them any more."""
    try:
        yield
    finally:
        for path in paths:
            remove(user, path)


def remove(user: User, path: str) -> None:
    """Deleted; a storage or network that a compute is just letting go of is asked again."""
    wait_until(lambda: user.http.delete(path).status_code in (200, 204, 404), STEP_LIMIT_S)


def eventually(condition: Callable[[], bool], what: str, limit_s: float = STEP_LIMIT_S) -> None:
    try:
        wait_until(condition, limit_s)
    except AssertionError:
        raise AssertionError(f"{what} did not happen within {limit_s} s") from None


def shared_network(user: User) -> str:
    """The network that all share: the one that nobody can delete."""
    for location in user.http.get("/network/", headers={"Accept": "text/uri-list"}).text.split():
        path = httpx.URL(location).path
        if user.get(path).get("title") == "shared":
            return path
    raise AssertionError("there is no shared network")


def _kind(path: str) -> str:
    return path.split("/")[1]
