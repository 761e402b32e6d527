"""What `altostratus run` must find before it makes anything: each refusal names the setting and what is in its way."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

from altostratus.postgres import LONGEST_SOCKET_PATH_BYTES
from altostratus.settings import Settings
from backends.networks.errors import NetworkDriverError
from backends.networks.links import overlapping_links
from backends.networks.tunnels import underlay_in

QEMU_USER = "libvirt-qemu"
"""Debian's user of QEMU's processes."""
OWN_BRIDGE = re.compile(r"as[0-9a-f]{4}")
"""How the names of a cloud's bridges begin; the cloud's own tag is in a database that doesn't run yet."""
ROOT_ID = 0


class Unusable(Exception):
    """A setting with which nothing can start; the sentence says why."""


def check(settings: Settings) -> None:
    account = _account(settings)
    _check_state(settings, account)
    _check_code(settings, account)
    check_shared_network(settings)


def check_shared_network(settings: Settings) -> None:
    """Machines would take the addresses of the host's own neighbours; and a host must be where its tunnels begin."""
    if settings.tunnel_network:
        try:
            underlay_in(IPv4Network(settings.tunnel_network))
        except NetworkDriverError as error:
            raise Unusable(str(error)) from None
    try:
        others = overlapping_links(IPv4Network(settings.shared_network))
    except NetworkDriverError as error:
        raise Unusable(f"the host's addresses can't be read: {error}") from None
    for name in others:
        if not OWN_BRIDGE.match(name):
            raise Unusable(
                f"shared_network is {settings.shared_network}, which overlaps the network of this host's {name}:"
                " expected a range that is used nowhere else"
            )


def claim(state: Path) -> int:
    """Holds the folder for this process: a descriptor that must stay open. `Unusable` names who has it already."""
    descriptor = os.open(state / "run.pid", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise Unusable(
            f"state is {state}, which `altostratus run` with process ID {holder} has: stop that one, or choose another"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
    return descriptor


def _account(settings: Settings) -> pwd.struct_passwd:
    try:
        account = pwd.getpwnam(settings.user)
    except KeyError:
        raise Unusable(
            f"user is {settings.user!r}, but there is no such system user for the gateway's workers; deploy/install"
            " makes one"
        ) from None
    if account.pw_uid == ROOT_ID:
        raise Unusable("user is root, but the gateway's workers must not be")
    return account


def _check_state(settings: Settings, account: pwd.struct_passwd) -> None:
    state = settings.state
    if not settings.database:
        size_bytes = len(os.fsencode(settings.cluster.socket))
        if size_bytes > LONGEST_SOCKET_PATH_BYTES:
            raise Unusable(
                f"state is {state}: the path of PostgreSQL's socket below it would have {size_bytes} bytes, and"
                f" {LONGEST_SOCKET_PATH_BYTES} are the most; expected a path that is"
                f" {size_bytes - LONGEST_SOCKET_PATH_BYTES} bytes shorter"
            )
    present = next(folder for folder in (state, *state.parents) if folder.exists())
    if not present.is_dir():
        raise Unusable(f"state is {state}, but {present} is not a folder")
    if os.statvfs(present).f_flag & os.ST_RDONLY:
        raise Unusable(f"state is {state}, but {present} is on a file system that can only be read")
    users = [account]
    if QEMU_USER in {entry.pw_name for entry in pwd.getpwall()}:
        users.append(pwd.getpwnam(QEMU_USER))
    for user in users:
        for folder in reversed((present, *present.parents)):
            if not _succeeds(["test", "-x", str(folder)], user):
                raise Unusable(
                    f"state is {state}, but the user {user.pw_name} can't enter {folder}: expected a folder that"
                    f" others may enter (chmod o+x {folder})"
                )


def _check_code(settings: Settings, account: pwd.struct_passwd) -> None:
    code = Path(__file__).parent.parent
    if not _succeeds([sys.executable, "-c", "import altostratus"], account):
        raise Unusable(
            f"user is {settings.user!r}, who can't run {sys.executable} or read the code in {code}: expected both where"
            " others may read them, as deploy/install puts them"
        )


def _succeeds(command: list[str], user: pwd.struct_passwd) -> bool:
    """Run as that user, since rights may come from groups, access lists and mounts."""
    try:
        ended = subprocess.run(
            command, user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/", capture_output=True, timeout=60
        )
    except PermissionError:
        return False
    return ended.returncode == 0
