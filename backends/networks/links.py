"""Bridges, addresses, veth pairs and network namespaces of the host, through pyroute2, by name.

Each call opens a netlink socket of its own, so threads share nothing. Whose a link is stands in its alias;
which links there should be is the driver's business, and taps are libvirt's except for their bridge.
"""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from backends.networks.errors import NameClashError, NetworkDriverError

NAMESPACES = Path("/run/netns")
SYSCTL = Path("/proc/sys/net")
INNER_LINK = "dhcp"
TIME_LIMIT_S = 30
_IFF_UP = 1
_OPEN: Any = IPRoute


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    kind: str | None
    alias: str
    mac: str
    master: int | None
    up: bool


@dataclass(frozen=True, slots=True)
class Bridge:
    """What a bridge should be; `address` with its prefix length, None when the host isn't on it."""

    name: str
    alias: str
    mac: str
    address: str | None
    up: bool


def link(name: str) -> Link | None:
    with _netlink() as netlink:
        return _find(netlink, name)


def links() -> list[Link]:
    with _netlink() as netlink:
        return [_parse(message) for message in netlink.get_links()]


def ensure_bridge(wanted: Bridge) -> list[str]:
    """Makes it so and returns what was wrong; raises `NameClashError` when the name is somebody else's."""
    wrong: list[str] = []
    with _netlink() as netlink:
        found = _find(netlink, wanted.name)
        if found is None:
            wrong.append(f"Bridge {wanted.name} was missing.")
            netlink.link(
                "add",
                ifname=wanted.name,
                kind="bridge",
                address=wanted.mac,
                br_forward_delay=0,
                br_stp_state=0,
                br_mcast_snooping=0,
            )
            found = _find(netlink, wanted.name)
            if found is None:
                raise NetworkDriverError(f"Bridge {wanted.name} vanished while it was made.")
        if found.kind != "bridge" or found.alias not in ("", wanted.alias):
            raise NameClashError(f"Link {wanted.name} is {found.alias or found.kind!r}; expected {wanted.alias!r}.")
        if not found.alias:
            _run(["ip", "link", "set", wanted.name, "type", "bridge", *_LEARN_NO_STOLEN_MAC])
            netlink.link("set", index=found.index, ifalias=wanted.alias)
        if found.mac != wanted.mac:
            netlink.link("set", index=found.index, address=wanted.mac)
        _keep_host_quiet(wanted)
        wrong += _set_address(netlink, found, wanted.address)
        if found.up != wanted.up:
            wrong.append(f"Bridge {wanted.name} was {'up' if found.up else 'down'}.")
            netlink.link("set", index=found.index, state="up" if wanted.up else "down")
    return wrong


def ensure_attached(name: str, bridge: str) -> list[str]:
    """Puts an existing link into the bridge and up; a link that isn't there yet is no fault."""
    with _netlink() as netlink:
        found, master = _find(netlink, name), _find(netlink, bridge)
        if found is None or master is None or (found.master == master.index and found.up):
            return []
        netlink.link("set", index=found.index, master=master.index)
        netlink.link("set", index=found.index, state="up")
    return [f"Link {name} was not in bridge {bridge} or was down."]


def absent(name: str) -> bool:
    """Removes the link; False when there was none."""
    with _netlink() as netlink:
        found = _find(netlink, name)
        if found is None:
            return False
        try:
            netlink.link("del", index=found.index)
        except NetlinkError as failure:
            if failure.code != errno.ENODEV:
                raise
            return False
    return True


def overlapping_links(subnet: IPv4Network) -> list[str]:
    """The names of the links with an IPv4 subnet that overlaps this one."""
    with _netlink() as netlink:
        names = {found.index: found.name for found in map(_parse, netlink.get_links())}
        return [
            names.get(message["index"], "")
            for message in netlink.get_addr(family=2)
            if IPv4Interface(f"{message.get('address')}/{message['prefixlen']}").network.overlaps(subnet)
        ]


def ensure_namespace(name: str, outer: str, owner: str, address: str) -> list[str]:
    """A namespace with one veth, `dhcp` inside with the address and `outer` outside, both up.

    The alias of the outer end is set last and says with which address the inner end has been set up.
    """
    wrong: list[str] = []
    alias = f"{owner} {address}"
    path = NAMESPACES / name
    if not _is_namespace(path):
        path.unlink(missing_ok=True)
        absent(outer)
        _run(["ip", "netns", "add", name])
        wrong.append(f"Network namespace {name} was missing.")
    with _netlink() as netlink:
        found = _find(netlink, outer)
        if found is not None and (found.kind != "veth" or not (found.alias == "" or found.alias.startswith(owner))):
            raise NameClashError(f"Link {outer} is {found.alias or found.kind!r}; expected {alias!r}.")
        if found is not None and found.alias != alias:
            netlink.link("del", index=found.index)
            found = None
        if found is None:
            netlink.link("add", ifname=outer, kind="veth", peer={"ifname": INNER_LINK, "net_ns_fd": name})
            _run(["ip", "-n", name, "-batch", "-"], _INNER_SETUP.format(link=INNER_LINK, address=address))
            found = _find(netlink, outer)
            if found is None:
                raise NetworkDriverError(f"Link {outer} vanished while it was made.")
            netlink.link("set", index=found.index, ifalias=alias)
            wrong.append(f"Link {outer} to the DHCP server was missing.")
    return wrong


def absent_namespace(name: str) -> bool:
    """Removes the namespace; processes in it must have been stopped. False when there was none."""
    path = NAMESPACES / name
    if not path.exists():
        return False
    if _is_namespace(path):
        _run(["ip", "netns", "delete", name])
    path.unlink(missing_ok=True)
    return True


def namespaces() -> list[str]:
    return sorted(path.name for path in NAMESPACES.iterdir()) if NAMESPACES.is_dir() else []


def ensure_forwarding() -> list[str]:
    """Turns on IPv4 forwarding of the whole host, which NAT needs; nothing here turns it off again."""
    setting = SYSCTL / "ipv4/ip_forward"
    if setting.read_text().strip() == "1":
        return []
    setting.write_text("1")
    return ["IPv4 forwarding was off."]


_LEARN_NO_STOLEN_MAC = ("no_linklocal_learn", "1")
"""Else bridges learn the sender of a frame to a reserved group before any rule sees it; pyroute2 lacks it."""

_INNER_SETUP = """\
link set lo up
address add {address} dev {link}
link set {link} up
"""


def _keep_host_quiet(bridge: Bridge) -> None:
    """No IPv6 of the host's own, and no answers to ARP for addresses that it has elsewhere."""
    settings = {
        SYSCTL / "ipv6/conf" / bridge.name / "disable_ipv6": "1",
        SYSCTL / "ipv4/conf" / bridge.name / "arp_ignore": "8" if bridge.address is None else "1",
    }
    for setting, value in settings.items():
        if setting.exists() and setting.read_text().strip() != value:
            setting.write_text(value)


def _set_address(netlink: Any, bridge: Link, address: str | None) -> list[str]:
    wrong: list[str] = []
    present = {
        f"{message.get('address')}/{message['prefixlen']}" for message in netlink.get_addr(family=2, index=bridge.index)
    }
    for stray in sorted(present - {address}):
        stray_address, _, length = stray.partition("/")
        netlink.addr("del", index=bridge.index, address=stray_address, prefixlen=int(length))
        wrong.append(f"Bridge {bridge.name} had address {stray}.")
    if address is not None and address not in present:
        interface = IPv4Interface(address)
        netlink.addr(
            "add",
            index=bridge.index,
            address=str(interface.ip),
            prefixlen=interface.network.prefixlen,
            broadcast=str(interface.network.broadcast_address),
        )
        wrong.append(f"Bridge {bridge.name} had no address {address}.")
    return wrong


def _find(netlink: Any, name: str) -> Link | None:
    try:
        messages = list(netlink.link("get", ifname=name))
    except NetlinkError as failure:
        if failure.code == errno.ENODEV:
            return None
        raise
    return _parse(messages[0])


def _parse(message: Any) -> Link:
    info = message.get("linkinfo")
    return Link(
        index=message["index"],
        name=message.get("ifname"),
        kind=info.get("kind") if info else None,
        alias=message.get("ifalias") or "",
        mac=message.get("address") or "",
        master=message.get("master"),
        up=bool(message["flags"] & _IFF_UP),
    )


def _is_namespace(path: Path) -> bool:
    """True when a namespace is mounted there; a plain file is what an interrupted `ip netns add` leaves."""
    return path.exists() and path.stat().st_dev != path.parent.stat().st_dev


@contextmanager
def _netlink() -> Iterator[Any]:
    try:
        with _OPEN() as netlink:
            yield netlink
    except NetlinkError as failure:
        raise NetworkDriverError(f"The kernel refused a change of links: {failure.args[1]}.") from failure


def _run(command: list[str], text: str | None = None) -> None:
    try:
        subprocess.run(
            command,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=True,
        )
    except subprocess.CalledProcessError as failure:
        raise NetworkDriverError(f"{' '.join(command)} failed: {failure.stderr.strip()}") from None
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise NetworkDriverError(f"{' '.join(command)} didn't run: {failure}.") from None
