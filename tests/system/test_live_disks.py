"""Disks by CDMI on a whole gateway, as the how-to does it: made, attached by object ID, grown, cloned, deleted."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from uuid import UUID

import pytest
from live import User, eventually, remove

from tests.conftest import GIB, repository
from tests.system.conftest import Gateway

CONTAINER = "application/cdmi-container"
HOW_TO = repository() / "docs" / "how-to" / "disks.md"


@pytest.fixture
def user(gateway: Gateway) -> Iterator[User]:
    with gateway.client() as http:
        yield User(http)


@pytest.fixture
def compute(user: User) -> Iterator[str]:
    """A machine that runs, without anything to run."""
    path = user.make("compute", {"occi.compute.memory": 0.0625})
    user.wait_for(path, "active")
    yield path
    remove(user, path)


def test_the_how_to_works_as_it_is_printed(gateway: Gateway, user: User, compute: str) -> None:
    settings, *blocks = re.findall(r"^```sh\n(.*?)^```", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    assert settings.split("=")[0] == "URL"
    script = "\n".join(["set -eu", *blocks])
    given = {"URL": gateway.url, "LOGIN": ":".join(gateway.credentials), "COMPUTE": compute, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", script], env=given, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'occi.storagelink.mountpoint="/dev/vda"' in done.stdout
    assert "\nclone/\n" in done.stdout
    assert user.http.get("/cdmi/disks/data/").status_code == 404

    def clone() -> dict[str, object]:
        return dict(user.http.get("/cdmi/2.0.0/disks/clone/", headers={"Accept": CONTAINER}).json())

    eventually(lambda: clone()["completionStatus"] == "Complete", "the clone")
    assert clone()["metadata"]["cdmi_assignedsize"] == str(2 * GIB)  # type: ignore[index]
    storage = f"/storage/{UUID(hex=str(clone()['objectID'])[16:])}"
    assert user.shown(storage)["occi.storage.size"] == 2.0
    assert user.http.delete("/cdmi/disks/clone/").status_code == 204
    assert user.http.get(storage).status_code == 404
