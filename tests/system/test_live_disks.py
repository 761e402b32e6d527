"""Disks by CDMI on a whole gateway, as the how-to does it: made, attached by object ID, grown, cloned, deleted."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from live import INFRASTRUCTURE, User, eventually, inline_link, make_guest, make_key, removed_at_the_end

from tests.conftest import GIB, repository
from tests.system.conftest import Gateway

CONTAINER = "application/cdmi-container"
HOW_TO = repository() / "docs" / "how-to" / "disks.md"


@pytest.fixture
def user(gateway: Gateway) -> Iterator[User]:
    with gateway.client() as http:
        yield User(http)


def run(gateway: Gateway, folder: Path, blocks: list[str], **given: str) -> str:
    """What the how-to's commands print."""
    variables = {"URL": gateway.url, "LOGIN": ":".join(gateway.credentials), "PATH": "/usr/bin:/bin", **given}
    script = "\n".join(["set -eu", *blocks])
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_how_to_works_as_it_is_printed(gateway: Gateway, user: User, tmp_path: Path) -> None:
    settings, *blocks, restoration, deletion = re.findall(
        r"^```sh\n(.*?)^```", HOW_TO.read_text(), re.MULTILINE | re.DOTALL
    )
    assert settings.startswith("URL=")
    guest = make_guest(user, make_key(tmp_path))
    with removed_at_the_end(user, guest.path):
        guest.wait_for_boot()
        printed = run(gateway, tmp_path, [*blocks, 'echo; echo "$LINK"'], COMPUTE=guest.path)
        assert 'occi.storagelink.mountpoint="/dev/vdb"' in printed
        assert "clone/\ndata/\n" in printed
        assert '"objectName":"before/"' in printed
        assert "hello" in printed
        part = (tmp_path / "part.raw").read_bytes()
        assert (tmp_path / "disk.raw").read_bytes() == part.ljust(GIB, b"\0")
        assert (tmp_path / "before.raw").read_bytes() == part
        link = printed.split()[-1]
        eventually(
            lambda: guest.answers(f"test $(cat /sys/block/vdb/size) = {2 * GIB // 512}"), "the disk in the guest"
        )
        assert user.http.delete("/cdmi/disks/data/").status_code == 409
        run(gateway, tmp_path, [restoration, deletion], LINK=link)
    assert user.http.get("/cdmi/disks/data/").status_code == 404

    def clone() -> dict[str, object]:
        return dict(user.http.get("/cdmi/2.0.0/disks/clone/", headers={"Accept": CONTAINER}).json())

    eventually(lambda: clone()["completionStatus"] == "Complete", "the clone")
    assert clone()["metadata"]["cdmi_assignedsize"] == str(2 * GIB)  # type: ignore[index]
    storage = f"/storage/{UUID(hex=str(clone()['objectID'])[16:])}"
    assert user.shown(storage)["occi.storage.size"] == 2.0
    assert user.http.delete("/cdmi/disks/clone/").status_code == 204
    assert user.http.delete("/cdmi/disks/other/").status_code == 204
    assert user.http.get(storage).status_code == 404


def completed(user: User, path: str) -> None:
    def is_complete() -> bool:
        shown = user.http.get(f"/cdmi/2.0.0/disks/{path}/", headers={"Accept": CONTAINER}).json()
        assert not shown["completionStatus"].startswith("Error"), shown
        return bool(shown["completionStatus"] == "Complete")

    eventually(is_complete, f"the completion of {path}")


def change(user: User, method: str, path: str, body: dict[str, object]) -> int:
    answer = user.http.request(method, f"/cdmi/2.0.0/disks/{path}/", json=body, headers={"Content-Type": CONTAINER})
    assert answer.status_code in (201, 202, 204, 409), answer.text
    return answer.status_code


def test_a_disk_goes_back_to_its_snapshots_whether_they_were_taken_in_use_or_at_rest(
    user: User, tmp_path: Path
) -> None:
    guest = make_guest(user, make_key(tmp_path))
    change(user, "PUT", "kept", {"metadata": {"cdmi_assignedsize": str(64 << 20)}})
    completed(user, "kept")
    shown = user.http.get("/cdmi/2.0.0/disks/kept/", headers={"Accept": CONTAINER}).json()
    storage = f"/storage/{UUID(hex=shown['objectID'][16:])}"

    def write(text: str) -> None:
        guest.output(f"echo {text} | dd of={device} bs=512 conv=sync,fsync 2>/dev/null")

    def read() -> str:
        return guest.output(f"head -c 512 {device} | tr -d '\\0'")

    def detach() -> None:
        user.delete(link)
        eventually(lambda: not guest.has_disk(storage), "the disk's leaving the guest")

    def give_back(body: dict[str, object]) -> None:
        """The guest lets go of the disk a little before its compute does."""
        eventually(lambda: change(user, "PATCH", "kept", body) == 202, "the disk's coming free")

    with removed_at_the_end(user, guest.path):
        guest.wait_for_boot()
        link = user.link("storagelink", guest.path, storage)
        eventually(lambda: guest.has_disk(storage), "the disk in the guest")
        device = guest.device(link)
        write("first")
        assert change(user, "PATCH", "kept", {"snapshot": "in-use"}) == 202
        completed(user, "kept/cdmi_snapshots/in-use")
        write("second")
        detach()
        assert change(user, "PATCH", "kept", {"snapshot": "at-rest"}) == 202
        completed(user, "kept/cdmi_snapshots/at-rest")
        for name, text in (("in-use", "first"), ("at-rest", "second"), ("in-use", "first")):
            back = {"copy": f"/disks/kept/cdmi_snapshots/{name}/"}
            give_back(back)
            completed(user, "kept")
            link = user.link("storagelink", guest.path, storage)
            eventually(lambda: guest.has_disk(storage), "the disk in the guest")
            device = guest.device(link)
            assert read() == text
            assert change(user, "PATCH", "kept", back) == 409
            write("other")
            detach()
        assert change(user, "PUT", "clone", {"copy": "/disks/kept/cdmi_snapshots/at-rest/"}) == 202
        completed(user, "clone")
        eventually(lambda: user.http.delete("/cdmi/disks/kept/").status_code == 204, "the disk's coming free")
        shown = user.http.get("/cdmi/2.0.0/disks/clone/", headers={"Accept": CONTAINER}).json()
        storage = f"/storage/{UUID(hex=shown['objectID'][16:])}"
        link = user.link("storagelink", guest.path, storage)
        eventually(lambda: guest.has_disk(storage), "the clone in the guest")
        device = guest.device(link)
        assert read() == "second"
    assert user.http.delete("/cdmi/disks/clone/").status_code == 204


def object_id(user: User, name: str) -> str:
    shown = user.http.get(f"/cdmi/2.0.0/disks/{name}/", headers={"Accept": CONTAINER}).json()
    return str(shown["objectID"])


def permit(user: User, name: str, *computes: str) -> None:
    uris = [f"{user.http.base_url}".rstrip("/") + compute for compute in computes]
    assert change(user, "PATCH", name, {"exports": {"OCCI/iSCSI": {"permissions": uris}}}) == 204


def start(user: User, compute: str) -> httpx.Response:
    document = {"action": "http://schemas.ogf.org/occi/infrastructure/compute/action#start"}
    return user.send("POST", f"{compute}?action=start", document)


def test_cdmi_first_a_guest_made_with_the_disk_starts_when_it_is_permitted(user: User, tmp_path: Path) -> None:
    """In the order of 1.1.1 §13.1."""
    body = {"metadata": {"cdmi_assignedsize": str(64 << 20)}, "exports": {"OCCI/iSCSI": {"permissions": []}}}
    change(user, "PUT", "first", body)
    completed(user, "first")
    storage = f"/storage/{UUID(hex=object_id(user, 'first')[16:])}"
    device = {"occi.storagelink.deviceid": object_id(user, "first")}
    guest = make_guest(user, make_key(tmp_path), links=[inline_link(storage, device)])
    with removed_at_the_end(user, guest.path, storage):
        assert user.state(guest.path) == "inactive"
        refused = start(user, guest.path)
        assert (refused.status_code, "not in the permissions" in refused.text) == (403, True)
        assert user.state(guest.path) == "inactive"
        permit(user, "first", guest.path)
        assert start(user, guest.path).status_code == 200
        guest.wait_for_boot()
        assert guest.has_disk(storage)
        assert change(user, "PATCH", "first", {"exports": {"OCCI/iSCSI": {"permissions": []}}}) == 409


def test_occi_first_a_running_guest_is_given_the_disk_when_cdmi_permits_it(user: User, tmp_path: Path) -> None:
    guest = make_guest(user, make_key(tmp_path))
    storage = user.make_storage(0.0625)
    name = storage.rpartition("/")[2]
    with removed_at_the_end(user, guest.path, storage):
        guest.wait_for_boot()
        permit(user, name)
        document = {
            "kind": f"{INFRASTRUCTURE}storagelink",
            "attributes": {
                "occi.core.source": guest.path,
                "occi.storagelink.deviceid": object_id(user, name),
            },
        }
        refused = user.send("POST", "/storagelink/", document)
        assert (refused.status_code, "not in the permissions" in refused.text) == (403, True)
        assert not guest.has_disk(storage)
        permit(user, name, guest.path)
        link = httpx.URL(user.send("POST", "/storagelink/", document).headers["Location"]).path
        user.wait_for(link, "active")
        eventually(lambda: guest.has_disk(storage), "the disk in the guest")
        assert user.shown(link)["occi.storagelink.deviceid"] == object_id(user, name)
