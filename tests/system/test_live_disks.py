"""Disks by CDMI on a whole gateway, as the how-to does it: made, attached by object ID, grown, cloned, deleted."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from live import User, eventually, make_guest, make_key, removed_at_the_end

from tests.conftest import GIB, repository
from tests.system.conftest import Gateway

CONTAINER = "application/cdmi-container"
HOW_TO = repository() / "docs" / "how-to" / "disks.md"


@pytest.fixture
def user(gateway: Gateway) -> Iterator[User]:
    with gateway.client() as http:
        yield User(http)


def run(gateway: Gateway, blocks: list[str], **given: str) -> str:
    """What the how-to's commands print."""
    variables = {"URL": gateway.url, "LOGIN": ":".join(gateway.credentials), "PATH": "/usr/bin:/bin", **given}
    script = "\n".join(["set -eu", *blocks])
    done = subprocess.run(
        ["sh", "-c", script], env=variables, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_how_to_works_as_it_is_printed(gateway: Gateway, user: User, tmp_path: Path) -> None:
    settings, *blocks, deletion = re.findall(r"^```sh\n(.*?)^```", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    assert settings.startswith("URL=")
    guest = make_guest(user, make_key(tmp_path))
    with removed_at_the_end(user, guest.path):
        guest.wait_for_boot()
        printed = run(gateway, [*blocks, 'echo "$LINK"'], COMPUTE=guest.path)
        assert 'occi.storagelink.mountpoint="/dev/vdb"' in printed
        assert "clone/\ndata/\n" in printed
        link = printed.split()[-1]
        eventually(
            lambda: guest.answers(f"test $(cat /sys/block/vdb/size) = {2 * GIB // 512}"), "the disk in the guest"
        )
        assert user.http.delete("/cdmi/disks/data/").status_code == 409
        run(gateway, [deletion], LINK=link)
    assert user.http.get("/cdmi/disks/data/").status_code == 404

    def clone() -> dict[str, object]:
        return dict(user.http.get("/cdmi/2.0.0/disks/clone/", headers={"Accept": CONTAINER}).json())

    eventually(lambda: clone()["completionStatus"] == "Complete", "the clone")
    assert clone()["metadata"]["cdmi_assignedsize"] == str(2 * GIB)  # type: ignore[index]
    storage = f"/storage/{UUID(hex=str(clone()['objectID'])[16:])}"
    assert user.shown(storage)["occi.storage.size"] == 2.0
    assert user.http.delete("/cdmi/disks/clone/").status_code == 204
    assert user.http.get(storage).status_code == 404
