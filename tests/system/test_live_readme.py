"""The README's chapters about disks and networks, typed as they stand there."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from live import User, eventually, make_guest, make_key, removed_at_the_end

from tests.conftest import repository
from tests.system.conftest import Gateway

CONTAINER = "application/cdmi-container"


def blocks_of(chapter: str) -> list[str]:
    text = (repository() / "README.md").read_text()
    found = re.search(rf"^## {chapter}$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return re.findall(r"^```\n(.*?)^```", found[1], re.MULTILINE | re.DOTALL)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path)


@dataclass
class Terminal:
    """Where the README is typed; what is `given` are its variables."""

    folder: Path
    given: dict[str, str]

    def typed(self, *lines: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", "\n".join(lines)], env=self.given, cwd=self.folder, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def terminal(gateway: Gateway, tmp_path: Path, key: Path) -> Terminal:
    """With an `ssh` that knows the key and asks nothing."""
    options = f"-F none -i {key} -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    (tmp_path / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh {options} -o LogLevel=ERROR "$@"\n')
    (tmp_path / "ssh").chmod(0o755)
    login = ":".join(gateway.credentials)
    return Terminal(tmp_path, {"URL": gateway.url, "LOGIN": login, "PATH": f"{tmp_path}:/usr/bin:/bin"})


def test_the_readme_s_disk_is_made_filled_read_kept_and_let_out(
    gateway: Gateway, terminal: Terminal, key: Path
) -> None:
    make, attach, keep, go_back, let_out = blocks_of("A disk in two standards")
    typed = terminal.typed

    with gateway.client() as http:
        user = User(http)

        def is_complete(path: str) -> bool:
            shown = http.get(f"/cdmi/2.0.0/disks/{path}/", headers={"Accept": CONTAINER}).json()
            return bool(shown["completionStatus"] == "Complete")

        guest = make_guest(user, key)
        with removed_at_the_end(user, guest.path):
            guest.wait_for_boot()
            typed(make)
            settings, _, rest = make.partition("\n\n")
            place, _, rest = attach.partition("\n\n")
            assert place.count("…") == 2
            terminal.given |= {"COMPUTE": gateway.url + guest.path, "ADDRESS": guest.address}
            link = typed(settings, *rest.splitlines()[:-1], 'echo "$LINK"').split()[-1]
            eventually(lambda: guest.answers("test -b /dev/vdb"), "the disk in the guest")
            assert typed(rest.splitlines()[-1]) == "bytes of mine\n"

            terminal.given |= {"LINK": link}
            take, look, clone = keep.replace("\\\n", "").splitlines()
            detach, back = go_back.splitlines()
            typed(settings, take, look)
            eventually(lambda: is_complete("papers/cdmi_snapshots/before"), "the snapshot")
            typed(settings, clone, detach)
            eventually(lambda: is_complete("copy"), "the copy")
            eventually(lambda: not user.http.get(link).is_success, "the link's end")
            eventually(lambda: "is attached" not in typed(settings, back), "the disk's coming free")
            eventually(lambda: is_complete("papers"), "the way back")
        printed = typed(settings, let_out)
        assert "serves no disks" in printed
        assert (terminal.folder / "first-sector").read_bytes() == b"bytes of mine\n".ljust(512, b"\0")
        for name in ("copy", "papers"):
            eventually(lambda name=name: http.delete(f"/cdmi/disks/{name}/").is_success, f"the end of {name}")  # type: ignore[misc]


def test_the_readme_s_network_is_made_and_joined_let_in_to_and_its_address_kept(
    gateway: Gateway, terminal: Terminal, key: Path
) -> None:
    join, let_in, keep = blocks_of("A network of one's own")
    with gateway.client() as http:
        user = User(http)

        def made(block: str, variable: str) -> str:
            """The path of what the block makes and remembers."""
            path: str = terminal.typed(block, f'echo; echo "${variable}"').split()[-1].removeprefix(gateway.url)
            return path

        guest = make_guest(user, key)
        with removed_at_the_end(user, guest.path):
            guest.wait_for_boot()
            terminal.given |= {"COMPUTE": gateway.url + guest.path, "ADDRESS": guest.address}
            *lines, look = join.splitlines()
            network = made("\n".join(lines), "NETWORK")
            eventually(lambda: "inet 10.9.0.7/24" in terminal.typed(look), "the address in the guest")
            group = made(let_in, "GROUP")
            assert [link["target"]["location"] for link in user.links_of(guest.path, "securitygrouplink")] == [group]
            reservation = made(keep, "RESERVED")
            address = user.shown(reservation)["occi.ipreservation.address"]
            eventually(lambda: f"inet {address}/" in terminal.typed(f"ssh root@{guest.address} ip -4 address"), "it")
            # The guest answers by the card that was asked: what it sends from another is dropped.
            eventually(lambda: replace(guest, at=address).answers(), "an answer at the reserved address")
        for path in (network, group, reservation):
            eventually(lambda path=path: http.delete(path).is_success, f"the end of {path}")  # type: ignore[misc]
