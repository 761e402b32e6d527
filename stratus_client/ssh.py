"""Logging in by the system's ssh: its argument list, host keys kept per machine, waiting for the port.

Knows nothing of OCCI. Addresses come from a server and are checked before ssh sees them.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stratus_client.errors import StratusError, UsageError

SSH_PORT = 22
RETRY_SECONDS = 0.5
KEY_FILES = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")
KEY_LIMIT_BYTES = 16 * 1024
_PUBLIC_KEY = re.compile(r"(ssh-[a-z0-9-]+|ecdsa-[a-z0-9-]+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/]+=*( [^\x00-\x1f\x7f]*)?")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")


@dataclass(frozen=True, slots=True)
class Login:
    """Where to log in and how."""

    address: str
    user: str
    port: int = SSH_PORT
    identity: Path | None = None


def arguments(login: Login, known_hosts: Path, command: Sequence[str] = ()) -> list[str]:
    """ssh's argument list. A machine's first key is accepted and remembered, another one later is not."""
    if not _LOGIN.fullmatch(login.user):
        raise UsageError(f"The login name {login.user!r} can't be used: expected letters, digits and _ . @ -")
    listed = [
        "ssh",
        "-o", f'UserKnownHostsFile="{str(known_hosts).replace("%", "%%")}"',
        "-o", "GlobalKnownHostsFile=none",
        "-o", f"HostKeyAlias={known_hosts.name}",
        "-o", "StrictHostKeyChecking=accept-new",
        "-o", "CheckHostIP=no",
        "-o", "LogLevel=ERROR",
        "-l", login.user,
        "-p", str(login.port),
    ]  # fmt: skip
    if login.identity:
        listed += ["-i", str(login.identity)]
    return [*listed, "--", checked_address(login.address), *command]


def checked_address(text: str) -> str:
    """The address as ssh may have it; servers' answers could hold anything."""
    try:
        return str(ipaddress.ip_interface(text).ip)
    except ValueError:
        raise StratusError(f"The server gives the machine the address {text!r}, which is not an IP address.") from None


def known_hosts_file(state: Path, endpoint: str, machine_id: str) -> Path:
    """The machine's own file. Clouds have folders of their own, as identifiers may repeat among them."""
    cloud = hashlib.sha256(endpoint.encode()).hexdigest()[:16]
    name = machine_id if _SAFE_NAME.fullmatch(machine_id) else hashlib.sha256(machine_id.encode()).hexdigest()
    return state / "known_hosts" / cloud / name


def prepare_known_hosts(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StratusError(f"The folder {path.parent} for host keys can't be made: {error.strerror}.") from None


def forget(path: Path) -> None:
    """Drops the host keys of a machine that is gone."""
    path.unlink(missing_ok=True)


def wait_for_port(address: str, port: int, limit_seconds: float) -> bool:
    """Whether something listens there before the time is up."""
    deadline = time.monotonic() + limit_seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            socket.create_connection((address, port), timeout=min(left, 3)).close()
            return True
        except OSError:
            time.sleep(min(RETRY_SECONDS, max(0.0, deadline - time.monotonic())))
    return False


def default_public_key(home: Path) -> Path | None:
    """The key that ssh itself would offer first."""
    folder = home / ".ssh"
    usual = (folder / name for name in KEY_FILES)
    return next((path for path in (*usual, *sorted(folder.glob("id_*.pub"))) if path.is_file()), None)


def read_public_key(path: Path) -> str:
    """The first key in the file; a private key is refused before it could leave the machine."""
    try:
        with path.open("rb") as stream:
            text = stream.read(KEY_LIMIT_BYTES).decode(errors="replace")
    except OSError as error:
        raise UsageError(f"The SSH key {path} can't be read: {error.strerror}.") from None
    if "PRIVATE KEY" in text:
        raise UsageError(f"{path} is a private key, which never leaves your machine: give its .pub file.")
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if not _PUBLIC_KEY.fullmatch(first):
        raise UsageError(f"{path} is not an SSH public key: expected a line such as ssh-ed25519 AAAA... me@home.")
    return first


def replace_process(argument_list: list[str]) -> None:
    """Becomes ssh, so that its exit status and signals are the caller's. Returns only by an error."""
    try:
        os.execvp(argument_list[0], argument_list)  # noqa: S606
    except FileNotFoundError:
        raise StratusError("The program ssh is not installed: install openssh-client.") from None
