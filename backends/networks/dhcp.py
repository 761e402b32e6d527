"""One dnsmasq per network with a subnet: its configuration, its reservations, and the process itself.

The process outlives whoever started it and is found again by its command line, which names a configuration in
our folder by the digest of its content. Bridges and namespaces are made before it is started, elsewhere.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv4Network
from pathlib import Path

from backends.networks.errors import NetworkDriverError
from backends.networks.records import replace_file

USER, GROUP = "dnsmasq", "nogroup"
LEASE_TIME = "1h"
TIME_LIMIT_S = 20
STOP_LIMIT_S = 5
ADVERTISED_EVERY_S = 60
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_MEANT_OTHERWISE = re.compile(r"wpad|isatap|localhost|ignore|infinite|\d+[wdhms]?", re.IGNORECASE)
"""Everybody's proxy, tunnel, and each machine itself; and to dnsmasq, in its lists of hosts, no name at all."""
_PROCESSES = Path("/proc")
_CONFIGURATION = "dnsmasq-"
_ROUTER = "router"
"""The tag of the guest that is the network's gateway, which isn't told to send to itself."""


@dataclass(frozen=True, slots=True)
class DhcpServer:
    """What the server of a network should be. `link` is where it listens, `namespace` where that is."""

    folder: Path
    cidr: str | None
    link: str
    address: str | None
    router: str | None
    names: bool
    """Whether it answers DNS too: guests' host names, and all else through the host's resolvers."""
    namespace: Path | None
    generation: str
    """Changes when the link has been made anew, so that the server is started anew."""
    cidr6: str | None = None
    address6: str | None = None
    mtu: int | None = None
    """What guests are told, where frames of the usual size don't fit."""
    is_on_link: bool = True
    """Whether guests may take it that they reach the others of their IPv6 subnet without a router."""
    routes6: bool = False
    """Whether its host is the IPv6 router: announced as one, else only the prefix is."""


def configuration(server: DhcpServer) -> str:
    lines = [
        f"# {server.generation}",
        f"interface={server.link}",
        "except-interface=lo",
        "bind-interfaces",
        f"user={USER}",
        f"group={GROUP}",
        f"pid-file={server.folder / 'dnsmasq.pid'}",
        f"dhcp-leasefile={server.folder / 'leases'}",
        f"dhcp-hostsdir={reservations(server.folder)}",
        "dhcp-authoritative",
        "dhcp-ignore-clid",
        "dhcp-ignore-names",
        "dhcp-lease-max=65536",
        "no-hosts",
        *(["domain-needed", "bogus-priv"] if server.names else ["port=0"]),
    ]
    lines += [] if server.mtu is None else [f"dhcp-option-force=option:mtu,{server.mtu}"]
    if server.cidr is not None:
        subnet = IPv4Network(server.cidr)
        lines += [
            f"dhcp-range={subnet.network_address},static,{subnet.netmask},{LEASE_TIME}",
            *([f"dhcp-option=tag:!{_ROUTER},option:router,{server.router}"] if server.router else []),
            f"dhcp-option=tag:{_ROUTER},option:router" if server.router else "dhcp-option=option:router",
            f"dhcp-option=option:dns-server,{server.address}" if server.names else "dhcp-option=option:dns-server",
        ]
    if server.cidr6 is not None:
        prefix, _, length = server.cidr6.partition("/")
        modes = "static,slaac" if server.is_on_link else "static,slaac,off-link"
        lines += ["enable-ra", f"dhcp-range={prefix},{modes},{length},{LEASE_TIME}"]
        mtu = "" if server.mtu is None else f"mtu:{server.mtu},"
        lifetime = "" if server.routes6 else ",0"
        lines += [f"ra-param={server.link},{mtu}{ADVERTISED_EVERY_S}{lifetime}"] if mtu or lifetime else []
        lines += [f"dhcp-option=option6:dns-server,[{server.address6}]"] if server.names else []
    return "\n".join(lines) + "\n"


def reservations(folder: Path) -> Path:
    return folder / "reservations"


def ensure_running(server: DhcpServer) -> list[str]:
    """Starts it when it isn't running as it should be; returns what was wrong."""
    text = configuration(server)
    path = server.folder / f"{_CONFIGURATION}{blake2b(text.encode(), digest_size=8).hexdigest()}.conf"
    processes = running(server.folder)
    if [process.configuration for process in processes] == [path] and _is_in(processes[0].id, server.namespace):
        return []
    stop(server.folder)
    reservations(server.folder).mkdir(mode=0o755, parents=True, exist_ok=True)
    _check_reachable(reservations(server.folder))
    for old in server.folder.glob(f"{_CONFIGURATION}*.conf"):
        if old != path:
            old.unlink()
    replace_file(path, text)
    _start(path, server.namespace)
    return [f"The DHCP server of {server.cidr or server.cidr6} on {server.link} was not running as it should."]


def reserve(
    folder: Path, name: str, mac: str, addresses: Sequence[str], hostname: str | None, *, is_router: bool = False
) -> bool:
    """Has the addresses given to the MAC address; True when that is a change. Takes effect at once, by inotify.

    A host name belongs to whoever came first, so that nobody on a shared network takes over another's. Names that
    mean something to others' programs are nobody's.
    """
    path = reservations(folder) / name
    known = hostname is not None and _may_be_known(hostname) and _claim(folder, hostname, name)
    given = [f"[{address}]" if ":" in address else address for address in addresses]
    tags = [f"set:{_ROUTER}"] if is_router else []
    line = ",".join([mac, *tags, *given, *([hostname] if known and hostname is not None else [])]) + "\n"
    old = path.read_text() if path.exists() else None
    if old == line:
        return False
    replace_file(path, line)
    if old is not None:
        _give_up_name(folder, name, old, but_not=hostname)
        reread(folder)
    return True


def _may_be_known(hostname: str) -> bool:
    return _LABEL.fullmatch(hostname) is not None and _MEANT_OTHERWISE.fullmatch(hostname) is None


def _claim(folder: Path, hostname: str, name: str) -> bool:
    claim = folder / "names" / hostname
    if not claim.exists():
        replace_file(claim, name)
    return claim.read_text() == name


def _give_up_name(folder: Path, name: str, reservation: str, but_not: str | None) -> None:
    hostname = [part for part in reservation.strip().split(",")[1:] if "." not in part and ":" not in part]
    if hostname and hostname[0] != but_not and _claim(folder, hostname[0], name):
        (folder / "names" / hostname[0]).unlink()


def withdraw(folder: Path, names: Collection[str]) -> None:
    """Takes these reservations back, as far as there are any."""
    present = [path for name in names if (path := reservations(folder) / name).exists()]
    for path in present:
        _give_up_name(folder, path.name, path.read_text(), but_not=None)
        path.unlink()
    if present:
        reread(folder)


def reserved(folder: Path) -> set[str]:
    return {path.name for path in reservations(folder).iterdir()} if reservations(folder).is_dir() else set()


def reread(folder: Path) -> None:
    for process in running(folder):
        with _handle(process) as handle:
            if handle is not None:
                signal.pidfd_send_signal(handle, signal.SIGHUP)


def leases(folder: Path) -> dict[str, str]:
    """The MAC address that holds each leased address, which dnsmasq gives to nobody else meanwhile."""
    path = folder / "leases"
    fields = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return {lease[2]: lease[1] for lease in fields if len(lease) >= 3 and ":" not in lease[2]}


def leases6(folder: Path) -> set[str]:
    """The leased IPv6 addresses; whose they are, only the holders' own names for themselves would tell."""
    path = folder / "leases"
    fields = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return {lease[2] for lease in fields if len(lease) >= 3 and ":" in lease[2]}


def is_reserved(folder: Path, name: str, address6: str) -> bool:
    path = reservations(folder) / name
    return path.exists() and f"[{address6}]" in path.read_text().strip().split(",")


def forget_leases(folder: Path, addresses: Collection[str]) -> None:
    """Stops the server, which keeps leases in memory, and drops these; the caller starts it again."""
    stop(folder)
    path = folder / "leases"
    kept = [line for line in path.read_text().splitlines() if not set(line.split()[2:3]) & set(addresses)]
    replace_file(path, "".join(f"{line}\n" for line in kept))


@dataclass(frozen=True, slots=True)
class Process:
    id: int
    configuration: Path


def running(folder: Path) -> list[Process]:
    """The servers whose configuration lies in this folder: none, one, or more after an accident."""
    with suppress(FileNotFoundError, ValueError):
        noted = int((folder / "dnsmasq.pid").read_text())
        path = _configuration_of(noted)
        if path is not None and path.parent == folder:
            return [Process(noted, path)]
    return [process for process in all_running(folder.parent) if process.configuration.parent == folder]


def all_running(folder: Path) -> Iterator[Process]:
    """The servers of every network below the folder."""
    for entry in _PROCESSES.iterdir():
        if entry.name.isdecimal():
            path = _configuration_of(int(entry.name))
            if path is not None and path.parent.parent == folder:
                yield Process(int(entry.name), path)


def stop(folder: Path) -> bool:
    """Stops the folder's server and waits for its end; False when none ran."""
    processes = running(folder)
    for process in processes:
        terminate(process)
    return bool(processes)


def terminate(process: Process) -> None:
    with _handle(process) as handle:
        if handle is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], STOP_LIMIT_S)[0]:
                return
    raise NetworkDriverError(f"The DHCP server with process number {process.id} doesn't end.")


@contextmanager
def _handle(process: Process) -> Iterator[int | None]:
    """A handle that stays this process's whatever becomes of its number; None when it has ended."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(process.id)
        try:
            yield handle if _configuration_of(process.id) == process.configuration else None
        finally:
            os.close(handle)
        return
    yield None


def _configuration_of(process_id: int) -> Path | None:
    """The configuration of ours that the process was started with, None for anybody else's process."""
    try:
        arguments = (_PROCESSES / str(process_id) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    if len(arguments) < 2 or Path(arguments[0]).name != "dnsmasq":
        return None
    option, _, value = arguments[1].partition("=")
    path = Path(value)
    return path if option == "--conf-file" and path.name.startswith(_CONFIGURATION) else None


def _start(path: Path, namespace: Path | None) -> None:
    command = ["dnsmasq", f"--conf-file={path}"]
    if namespace is not None:
        command = ["nsenter", f"--net={namespace}", *command]
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=True,
        )
    except subprocess.CalledProcessError as failure:
        raise NetworkDriverError(f"The DHCP server didn't start: {failure.stderr.strip()}") from None
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise NetworkDriverError(f"The DHCP server didn't start: {failure}.") from None


def _is_in(process_id: int, namespace: Path | None) -> bool:
    wanted = namespace if namespace is not None else Path("/proc/thread-self/ns/net")
    try:
        actual = (_PROCESSES / str(process_id) / "ns/net").stat()
        return os.path.samestat(actual, wanted.stat())
    except FileNotFoundError:
        return False


def _check_reachable(path: Path) -> None:
    """Reservations are read while the server has no rights: every folder above them must let it pass."""
    for folder in (path, *path.parents):
        if not folder.stat().st_mode & 0o001:
            raise NetworkDriverError(f"Folder {folder} is closed to {USER}; expected that others may pass (o+x).")
