"""Storage on a whole gateway: plugged into guests and out again, grown, copied, and what the guests see of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from live import DEFAULT_IMAGE, Guest, User, eventually, inline_link, make_guest, make_key, remove, removed_at_the_end

from tests.system.conftest import Gateway

GIB = 2**30


@pytest.fixture(scope="module")
def user(gateway: Gateway) -> Iterator[User]:
    with gateway.client() as http:
        yield User(http)


@pytest.fixture(scope="module")
def cold_disk(user: User) -> Iterator[str]:
    """A storage that the first guest has from its making."""
    path = user.make_storage(0.0625, "cold")
    yield path
    remove(user, path)


@pytest.fixture(scope="module")
def guests(user: User, cold_disk: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guest, Guest]]:
    key = make_key(tmp_path_factory.mktemp("key"))
    link = inline_link(cold_disk, {"occi.storagelink.deviceid": "/dev/vdc"})
    first, second = make_guest(user, key, links=[link]), make_guest(user, key)
    first.wait_for_boot()
    second.wait_for_boot()
    yield first, second
    for guest in (first, second):
        remove(user, guest.path)


@pytest.fixture
def disk(user: User, guests: tuple[Guest, Guest]) -> Iterator[str]:
    path = user.make_storage(0.0625, "data")
    yield path
    for guest in guests:
        for link in user.link_paths(guest.path, "storagelink"):
            if user.get(link)["target"]["location"] == path:
                user.delete(link)
    remove(user, path)


def write(guest: Guest, device: str, text: str) -> None:
    guest.output(f"printf '%-512s' '{text}' | dd of={device} bs=512 seek=100 conv=notrunc,fsync 2>/dev/null")


def read(guest: Guest, device: str) -> str:
    return guest.output(f"dd if={device} bs=512 skip=100 count=1 iflag=direct 2>/dev/null")


def size_in(guest: Guest, device: str) -> int:
    return int(guest.output(f"cat /sys/class/block/{device.rpartition('/')[2]}/size")) * 512


def attach(guest: Guest, disk: str) -> tuple[str, str]:
    """The link's path and the guest's device."""
    link = guest.user.link("storagelink", guest.path, disk)
    eventually(lambda: guest.has_disk(disk), "the disk in the guest")
    return link, guest.device(link)


def detach(guest: Guest, link: str, disk: str) -> None:
    guest.user.delete(link)
    eventually(lambda: not guest.has_disk(disk), "the disk's leaving the guest")


def test_an_inline_link_is_a_disk_from_the_first_boot(user: User, cold_disk: str, guests: tuple[Guest, Guest]) -> None:
    (link,) = user.links_of(guests[0].path, "storagelink")
    assert link["target"]["location"] == cold_disk
    assert link["attributes"]["occi.storagelink.mountpoint"] == "/dev/vdc"
    device = guests[0].device(user.link_paths(guests[0].path, "storagelink")[0])
    write(guests[0], device, "cold")
    assert read(guests[0], device) == "cold"
    assert size_in(guests[0], device) == GIB // 16


def test_a_storage_from_an_image_has_what_the_image_has(user: User, guests: tuple[Guest, Guest]) -> None:
    path = user.make("storage", {"occi.storage.size": 1.0}, [DEFAULT_IMAGE])
    user.wait_for(path, "online")
    link, device = attach(guests[0], path)
    boot_signature = guests[0].output(f"dd if={device} bs=1 skip=510 count=2 2>/dev/null | od -An -tx1")
    assert boot_signature.split() == ["55", "aa"]
    detach(guests[0], link, path)
    remove(user, path)


def test_a_disk_goes_from_one_running_guest_to_another_with_its_content(
    user: User, guests: tuple[Guest, Guest], disk: str
) -> None:
    first, second = guests
    link, device = attach(first, disk)
    write(first, device, "carried over")
    refused = user.send(
        "POST",
        "/storagelink/",
        {
            "kind": "http://schemas.ogf.org/occi/infrastructure#storagelink",
            "attributes": {"occi.core.source": second.path, "occi.core.target": disk},
        },
    )
    assert refused.status_code == 409
    detach(first, link, disk)
    eventually(lambda: not user.links_of(first.path, "storagelink")[1:], "the link's end")

    link = attach_when_free(second, disk)
    assert read(second, second.device(link)) == "carried over"
    detach(second, link, disk)


def attach_when_free(guest: Guest, disk: str) -> str:
    """Attached as soon as the machine before has let go of it, which a client learns by asking."""
    body = {
        "kind": "http://schemas.ogf.org/occi/infrastructure#storagelink",
        "attributes": {"occi.core.source": guest.path, "occi.core.target": disk},
    }
    made: list[str] = []

    def is_made() -> bool:
        answer = guest.user.send("POST", "/storagelink/", body)
        if answer.status_code in (200, 201):
            made.append(answer.headers["Location"].partition("/storagelink/")[2])
        return bool(made)

    eventually(is_made, "the attachment")
    link = f"/storagelink/{made[0]}"
    guest.user.wait_for(link, "active")
    eventually(lambda: guest.has_disk(disk), "the disk in the guest")
    return link


def test_a_disk_grows_in_a_running_guest(user: User, guests: tuple[Guest, Guest], disk: str) -> None:
    link, device = attach(guests[0], disk)
    user.act(disk, "resize", size=0.125)
    user.wait_for(disk, "online")
    eventually(lambda: size_in(guests[0], device) == GIB // 8, "the new size in the guest")
    assert user.shown(disk)["occi.storage.size"] == 0.125
    detach(guests[0], link, disk)


def test_a_disk_grows_while_nobody_has_it(user: User, guests: tuple[Guest, Guest], disk: str) -> None:
    user.act(disk, "offline")
    user.wait_for(disk, "offline")
    user.act(disk, "resize", size=0.1875)
    user.wait_for(disk, "offline")
    user.act(disk, "online")
    user.wait_for(disk, "online")
    link, device = attach(guests[0], disk)
    assert size_in(guests[0], device) == 3 * GIB // 16
    shrunk = user.send(
        "POST",
        f"{disk}?action=resize",
        {
            "action": "http://schemas.ogf.org/occi/infrastructure/storage/action#resize",
            "attributes": {"size": 0.0625},
        },
    )
    assert shrunk.status_code == 400
    detach(guests[0], link, disk)


def test_a_copy_of_a_disk_in_use_has_what_was_written_before(
    user: User, guests: tuple[Guest, Guest], disk: str
) -> None:
    """`backup` of a `snapshot`, for OCCI attaches no snapshot itself."""
    link, device = attach(guests[0], disk)
    write(guests[0], device, "before")
    snapshot = copied(user, disk, "snapshot")
    write(guests[0], device, "between")
    copy = copied(user, snapshot, "backup")
    with removed_at_the_end(user, copy, snapshot):
        write(guests[0], device, "after")
        user.wait_for(disk, "online")
        copy_link, copy_device = attach(guests[1], copy)
        assert read(guests[1], copy_device) == "before"
        assert read(guests[0], device) == "after"
        detach(guests[1], copy_link, copy)
        detach(guests[0], link, disk)


def test_a_copy_of_a_disk_at_rest_outlives_it(user: User, guests: tuple[Guest, Guest]) -> None:
    original = user.make_storage(0.0625)
    link, device = attach(guests[0], original)
    write(guests[0], device, "at rest")
    detach(guests[0], link, original)
    copy = copied(user, original, "backup")
    with removed_at_the_end(user, copy):
        remove(user, original)
        eventually(lambda: not user.exists(original), "the original's end")
        link, device = attach(guests[0], copy)
        assert read(guests[0], device) == "at rest"
        detach(guests[0], link, copy)


def copied(user: User, disk: str, action: str) -> str:
    """The path of the copy, once it is complete."""
    answer = user.act(disk, action)
    path = "/storage/" + answer.headers["Location"].rpartition("/")[2]
    assert path != disk
    user.wait_for(path, "online")
    return path


def test_a_disk_in_use_is_neither_deleted_nor_taken_offline(
    user: User, cold_disk: str, guests: tuple[Guest, Guest]
) -> None:
    assert user.http.delete(cold_disk).status_code == 409
    refused = user.send(
        "POST",
        f"{cold_disk}?action=offline",
        {"action": "http://schemas.ogf.org/occi/infrastructure/storage/action#offline"},
    )
    assert refused.status_code == 409
    assert user.state(cold_disk) == "online"


def test_a_disk_asked_back_while_the_guest_boots_comes_back(user: User, guests: tuple[Guest, Guest], disk: str) -> None:
    booting = make_guest(user, guests[0].key, links=[inline_link(disk)])
    with removed_at_the_end(user, booting.path):
        user.wait_for(booting.path, "active")
        user.delete(user.link_paths(booting.path, "storagelink")[0])
        link = attach_when_free(guests[0], disk)
        assert user.state(booting.path) == "active"
        booting.wait_for_boot()
        detach(guests[0], link, disk)


def test_links_of_a_stopped_compute_count_from_its_next_start(
    user: User, guests: tuple[Guest, Guest], disk: str
) -> None:
    guest, other = guests[1], user.make_storage(0.0625)
    with removed_at_the_end(user, other):
        gone, _ = attach(guest, other)
        guest.stop()
        link = user.make("storagelink", {"occi.core.source": guest.path, "occi.core.target": disk})
        user.delete(gone)
        guest.start()
        user.wait_for(link, "active")
        assert guest.has_disk(disk)
        assert not guest.has_disk(other)


def test_a_disk_survives_its_machine(user: User, disk: str) -> None:
    compute = user.make("compute", {"occi.compute.memory": 0.0625}, links=[inline_link(disk)])
    user.wait_for(compute, "active")
    user.delete(compute)
    assert user.state(disk) == "online"
