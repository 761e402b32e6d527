"""Saving a compute as an image, and making other computes from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from live import INFRASTRUCTURE, OS_TEMPLATES, Guest, User, eventually, make_guest, make_key, remove, removed_at_the_end

from tests.system.conftest import Gateway


@pytest.fixture(scope="module")
def user(gateway: Gateway) -> Iterator[User]:
    with gateway.client() as http:
        yield User(http)


@pytest.fixture(scope="module")
def guest(user: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    guest = make_guest(user, make_key(tmp_path_factory.mktemp("key")))
    guest.wait_for_boot()
    yield guest
    remove(user, guest.path)


def offered(user: User) -> set[str]:
    """The os_tpls that discovery shows."""
    shown = user.get("/-/")["mixins"]
    return {mixin["term"] for mixin in shown if mixin["scheme"] == OS_TEMPLATES}


def test_a_running_compute_is_saved_and_another_starts_from_it(user: User, guest: Guest) -> None:
    guest.output("echo hot >/root/saved; sync")
    user.act(guest.path, "save", method="hot", name="hot")
    eventually(lambda: is_ready(user, "hot"), "the saved image")
    copy = make_guest(user, guest.key, image=f"{OS_TEMPLATES}hot")
    with removed_at_the_end(user, copy.path):
        assert user.state(guest.path) == "active"
        copy.wait_for_boot()
        assert copy.output("cat /root/saved") == "hot"
    assert "hot" in offered(user)


def test_a_deferred_save_waits_for_the_stop_and_rebuilds_the_compute(user: User, guest: Guest) -> None:
    user.act(guest.path, "save", method="deferred", name="deferred")
    early = user.send("POST", "/compute/", {"kind": f"{INFRASTRUCTURE}compute", "mixins": [f"{OS_TEMPLATES}deferred"]})
    assert early.status_code == 409
    assert "pending" in early.text
    guest.output("echo deferred >/root/saved")
    guest.stop()
    eventually(lambda: is_ready(user, "deferred"), "the saved image")

    guest.start()
    guest.output("echo changed since >/root/saved; touch /root/new")
    guest.stop()
    user.change(guest.path, {}, [f"{OS_TEMPLATES}deferred"])
    guest.start()
    assert guest.output("cat /root/saved") == "deferred"
    assert not guest.answers("test -e /root/new")


def is_ready(user: User, name: str) -> bool:
    """Whether a compute can be made from it, tried out."""
    made = user.send("POST", "/compute/", {"kind": f"{INFRASTRUCTURE}compute", "mixins": [OS_TEMPLATES + name]})
    if made.status_code not in (200, 201):
        assert made.status_code == 409, made.text
        return False
    user.delete("/compute/" + made.headers["Location"].rpartition("/")[2])
    return True
