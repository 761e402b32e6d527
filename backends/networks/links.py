"""Bridges, addresses, veth pairs and network namespaces of the host, through pyroute2, by name.

Each call opens a netlink socket of its own, so threads share nothing. Whose a link is stands in its alias;
which links there should be is the driver's business, and taps are libvirt's except for their bridge.
"""

from __future__ import annotations

import errno
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Network, ip_interface
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
_IFA_F_NODAD = 0x02
_IFA_F_NOPREFIXROUTE = 0x200
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
    """What a bridge should be; `addresses` of the host on it with their prefix lengths, IPv4 and IPv6."""

    name: str
    alias: str
    mac: str
    addresses: tuple[str, ...]
    up: bool
    is_on_link: bool = True
    """Whether the subnets of its addresses are behind it as a whole; else only what has a route of its own."""

    @property
    def has_ipv6(self) -> bool:
        return any(":" in address for address in self.addresses)


def is_there(name: str) -> bool:
    """Asked of the kernel without a netlink socket, which takes Python a millisecond."""
    try:
        return bool(socket.if_nametoindex(name))
    except OSError:
        return False


def link(name: str) -> Link | None:
    with netlink_socket() as netlink:
        return find(netlink, name)


def links() -> list[Link]:
    with netlink_socket() as netlink:
        return [_parse(message) for message in netlink.get_links()]


def ensure_bridge(wanted: Bridge) -> list[str]:
    """Makes it so and returns what was wrong; raises `NameClashError` when the name is somebody else's."""
    wrong: list[str] = []
    with netlink_socket() as netlink:
        found = find(netlink, wanted.name)
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
            found = find(netlink, wanted.name)
            if found is None:
                raise NetworkDriverError(f"Bridge {wanted.name} vanished while it was made.")
        if found.kind != "bridge" or found.alias not in ("", wanted.alias):
            raise NameClashError(f"Link {wanted.name} is {found.alias or found.kind!r}; expected {wanted.alias!r}.")
        if not found.alias:
            run(["ip", "link", "set", wanted.name, "type", "bridge", *_LEARN_NO_STOLEN_MAC])
            netlink.link("set", index=found.index, ifalias=wanted.alias)
        if found.mac != wanted.mac:
            netlink.link("set", index=found.index, address=wanted.mac)
        _keep_host_quiet(wanted)
        wrong += _set_addresses(netlink, found, wanted)
        if found.up != wanted.up:
            wrong.append(f"Bridge {wanted.name} was {'up' if found.up else 'down'}.")
            netlink.link("set", index=found.index, state="up" if wanted.up else "down")
    return wrong


def ensure_attached(name: str, bridge: str) -> list[str]:
    """Puts an existing link into the bridge and up; a link that isn't there yet is no fault."""
    if not is_there(name):
        return []
    with netlink_socket() as netlink:
        found, master = find(netlink, name), find(netlink, bridge)
        if found is None or master is None or (found.master == master.index and found.up):
            return []
        netlink.link("set", index=found.index, master=master.index)
        netlink.link("set", index=found.index, state="up")
    return [f"Link {name} was not in bridge {bridge} or was down."]


def absent(name: str) -> bool:
    """Removes the link; False when there was none."""
    with netlink_socket() as netlink:
        found = find(netlink, name)
        if found is None:
            return False
        try:
            netlink.link("del", index=found.index)
        except NetlinkError as failure:
            if failure.code != errno.ENODEV:
                raise
            return False
    return True


def overlapping_links(subnet: IPv4Network | IPv6Network) -> list[str]:
    """The names of the links with a subnet that overlaps this one."""
    with netlink_socket() as netlink:
        names = {found.index: found.name for found in map(_parse, netlink.get_links())}
        family = socket.AF_INET if isinstance(subnet, IPv4Network) else socket.AF_INET6
        return [
            names.get(message["index"], "")
            for message in netlink.get_addr(family=family)
            if overlap(ip_interface(f"{message.get('address')}/{message['prefixlen']}").network, subnet)
        ]


def overlap(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)


def ensure_namespace(name: str, outer: str, owner: str, addresses: Sequence[str]) -> list[str]:
    """A namespace with one veth, `dhcp` inside with the addresses and `outer` outside, both up.

    The alias of the outer end is set last and says with which addresses the inner end has been set up.
    """
    wrong: list[str] = []
    alias = " ".join([owner, *addresses])
    path = NAMESPACES / name
    if not _is_namespace(path):
        path.unlink(missing_ok=True)
        absent(outer)
        run(["ip", "netns", "add", name])
        wrong.append(f"Network namespace {name} was missing.")
    with netlink_socket() as netlink:
        found = find(netlink, outer)
        if found is not None and (found.kind != "veth" or not (found.alias == "" or found.alias.startswith(owner))):
            raise NameClashError(f"Link {outer} is {found.alias or found.kind!r}; expected {alias!r}.")
        if found is not None and found.alias != alias:
            netlink.link("del", index=found.index)
            found = None
        if found is None:
            netlink.link("add", ifname=outer, kind="veth", peer={"ifname": INNER_LINK, "net_ns_fd": name})
            run(["ip", "-n", name, "-batch", "-"], _inner_setup(addresses))
            found = find(netlink, outer)
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
        run(["ip", "netns", "delete", name])
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


def has_ipv6() -> bool:
    return (SYSCTL / "ipv6").exists()


def ensure_forwarding6() -> list[str]:
    """Turns on IPv6 forwarding of the whole host, which goes on taking its own routes from its routers.

    A host that forwards ignores routers unless accept_ra is 2, and forgets what it has learned of them.
    """
    if not has_ipv6():
        raise NetworkDriverError("This host's kernel has no IPv6; expected a network with IPv4 addresses only.")
    setting = SYSCTL / "ipv6/conf/all/forwarding"
    if setting.read_text().strip() == "1":
        return []
    for listening in SYSCTL.glob("ipv6/conf/*/accept_ra"):
        if listening.read_text().strip() == "1":
            listening.write_text("2")
    setting.write_text("1")
    return ["IPv6 forwarding was off."]


_LEARN_NO_STOLEN_MAC = ("no_linklocal_learn", "1")
"""Else bridges learn the sender of a frame to a reserved group before any rule sees it; pyroute2 lacks it."""


def _inner_setup(addresses: Sequence[str]) -> str:
    added = [f"address add {address} dev {INNER_LINK}{' nodad' if ':' in address else ''}" for address in addresses]
    return "\n".join(["link set lo up", *added, f"link set {INNER_LINK} up\n"])


def _keep_host_quiet(bridge: Bridge) -> None:
    """No IPv6 where the host has no address, no routes from guests, no answers to ARP for addresses elsewhere."""
    of_ipv6 = SYSCTL / "ipv6/conf" / bridge.name
    settings = {
        of_ipv6 / "accept_ra": "0",
        of_ipv6 / "accept_redirects": "0",
        of_ipv6 / "accept_dad": "0",
        of_ipv6 / "addr_gen_mode": "0",
        of_ipv6 / "disable_ipv6": "0" if bridge.has_ipv6 else "1",
        SYSCTL / "ipv4/conf" / bridge.name / "arp_ignore": "1" if bridge.addresses else "8",
    }
    for setting, value in settings.items():
        set_sysctl(str(setting.relative_to(SYSCTL)), value)


def _set_addresses(netlink: Any, bridge: Link, should: Bridge) -> list[str]:
    wrong: list[str] = []
    present = {
        ip_interface(f"{message.get('address')}/{message['prefixlen']}")
        for family in (socket.AF_INET, socket.AF_INET6)
        for message in netlink.get_addr(family=family, index=bridge.index)
    }
    wanted = {ip_interface(address) for address in should.addresses}
    for stray in sorted(map(str, present - wanted)):
        interface = ip_interface(stray)
        if interface.version == 6 and interface.is_link_local:
            continue
        netlink.addr("del", index=bridge.index, address=str(interface.ip), prefixlen=interface.network.prefixlen)
        wrong.append(f"Bridge {bridge.name} had address {stray}.")
    for interface in sorted(wanted - present, key=str):
        more: dict[str, Any] = (
            {"broadcast": str(interface.network.broadcast_address)} if isinstance(interface, IPv4Interface) else {}
        )
        flags = (_IFA_F_NODAD if interface.version == 6 else 0) | (0 if should.is_on_link else _IFA_F_NOPREFIXROUTE)
        more |= {"flags": flags} if flags else {}
        netlink.addr(
            "add", index=bridge.index, address=str(interface.ip), prefixlen=interface.network.prefixlen, **more
        )
        wrong.append(f"Bridge {bridge.name} had no address {interface}.")
    return wrong


def set_sysctl(name: str, value: str) -> None:
    """Of the kernel's networks; one that it hasn't got is left out."""
    setting = SYSCTL / name
    if setting.exists() and setting.read_text().strip() != value:
        setting.write_text(value)


def set_ipv6(name: str, settings: dict[str, str]) -> None:
    """IPv6's settings of a link."""
    for setting, value in settings.items():
        set_sysctl(f"ipv6/conf/{name}/{setting}", value)


def find(netlink: Any, name: str) -> Link | None:
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
def netlink_socket() -> Iterator[Any]:
    try:
        with _OPEN() as netlink:
            yield netlink
    except NetlinkError as failure:
        raise NetworkDriverError(f"The kernel refused a change of links: {failure.args[1]}.") from failure


def run(command: list[str], text: str | None = None) -> str:
    try:
        return subprocess.run(
            command,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=True,
        ).stdout
    except subprocess.CalledProcessError as failure:
        raise NetworkDriverError(f"{' '.join(command)} failed: {failure.stderr.strip()}") from None
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise NetworkDriverError(f"{' '.join(command)} didn't run: {failure}.") from None
