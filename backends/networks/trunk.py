"""VLANs: one VLAN-filtering bridge per host, whose uplink carries tagged frames; a network is an access port of it."""

from __future__ import annotations

import errno
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from backends.networks.errors import NameClashError, NetworkDriverError
from backends.networks.links import Link, absent, find, netlink_socket, set_ipv6

_PVID, _UNTAGGED = 0x2, 0x4


def _make(netlink: Any, name: str) -> Link:
    try:
        netlink.link(
            "add",
            ifname=name,
            kind="bridge",
            br_forward_delay=0,
            br_stp_state=0,
            br_mcast_snooping=0,
            br_vlan_filtering=1,
            br_vlan_default_pvid=0,
        )
    except NetlinkError as failure:
        if failure.code != errno.EOPNOTSUPP:
            raise
        raise NetworkDriverError("This host's kernel has no VLAN filtering in bridges.") from None
    return _made(netlink, name)


def can_filter_vlans(probe: str) -> bool:
    """Found out by making a bridge of this name, which is gone again then."""
    absent(probe)
    with suppress(NetworkDriverError), netlink_socket() as netlink:
        _make(netlink, probe)
    return absent(probe)


def ensure_trunk(name: str, alias: str, uplink: str) -> list[str]:
    """The bridge with its uplink, which must be free for it; returns what was wrong."""
    wrong: list[str] = []
    with netlink_socket() as netlink:
        found, outer = find(netlink, name), find(netlink, uplink)
        if outer is None:
            raise NetworkDriverError(f"vlan_uplink is {uplink}, but this host has no such link.")
        if found is None:
            found = _make(netlink, name)
            set_ipv6(name, {"disable_ipv6": "1"})
            netlink.link("set", index=found.index, ifalias=alias)
            wrong.append(f"Bridge {name} for VLANs was missing.")
        elif found.kind != "bridge" or found.alias not in ("", alias):
            raise NameClashError(f"Link {name} is {found.alias or found.kind!r}; expected {alias!r}.")
        if outer.master not in (None, found.index):
            raise NetworkDriverError(f"vlan_uplink is {uplink}, which belongs to another bridge; expected a free link.")
        addresses = (message.get("address") for message in netlink.get_addr(index=outer.index))
        if outer.master is None and any(not ip_address(address).is_link_local for address in addresses):
            raise NetworkDriverError(f"vlan_uplink is {uplink}, which has addresses of the host; expected a free link.")
        for link, master in ((outer, found.index), (found, None)):
            wrong += _attached(netlink, link, master)
    return wrong


def ensure_access(
    trunk: str, uplink: str, bridge: str, ends: tuple[str, str], alias: str, vlan: int, taken: set[int]
) -> list[str]:
    """The pair of links between a network's bridge and the trunk; `ends` are the bridge's and the trunk's.

    `taken` are the VLANs of all networks: the uplink carries those and no other.
    """
    wrong: list[str] = []
    inner, outer = ends
    with netlink_socket() as netlink:
        master, own = find(netlink, trunk), find(netlink, bridge)
        if master is None or own is None:
            raise NetworkDriverError(f"Bridge {trunk} or {bridge} vanished while a VLAN was joined to it.")
        found = find(netlink, inner)
        if found is not None and (found.kind != "veth" or found.alias not in ("", alias)):
            raise NameClashError(f"Link {inner} is {found.alias or found.kind!r}; expected {alias!r}.")
        if found is None:
            netlink.link("add", ifname=inner, kind="veth", peer={"ifname": outer})
            for each in ends:
                set_ipv6(each, {"disable_ipv6": "1"})
            found = _made(netlink, inner)
            netlink.link("set", index=found.index, ifalias=alias)
            wrong.append(f"Link {inner} to VLAN {vlan} was missing.")
        peer = _made(netlink, outer)
        wrong += _attached(netlink, peer, master.index)
        wrong += _set_vlans(netlink, peer, {(vlan, _PVID | _UNTAGGED)})
        wrong += _set_vlans(netlink, _made(netlink, uplink), {(each, 0) for each in taken | {vlan}})
        return wrong + _attached(netlink, found, own.index)


def release(trunk: str, uplink: str, taken: set[int]) -> None:
    """Takes back from the uplink what no network has any more; the trunk goes with the last."""
    with netlink_socket() as netlink:
        found, outer = find(netlink, trunk), find(netlink, uplink)
        if found is None:
            return
        if not taken:
            netlink.link("del", index=found.index)
        elif outer is not None and outer.master == found.index:
            _set_vlans(netlink, outer, {(each, 0) for each in taken})


def _set_vlans(netlink: Any, link: Link, wanted: set[tuple[int, int]]) -> list[str]:
    present = {
        (entry["vid"], entry["flags"] & (_PVID | _UNTAGGED))
        for message in netlink.get_vlans(index=link.index)
        if message["index"] == link.index and message.get("af_spec") is not None
        for entry in message.get("af_spec").get_attrs("IFLA_BRIDGE_VLAN_INFO")
    }
    for vid, _ in present - wanted:
        netlink.vlan_filter("del", index=link.index, vlan_info={"vid": vid})
    for vid, flags in wanted - present:
        info: dict[str, Any] = {"vid": vid, "flags": flags} if flags else {"vid": vid}
        netlink.vlan_filter("add", index=link.index, vlan_info=info)
    return [f"Link {link.name} was in other VLANs than it should be."] if present != wanted else []


def _attached(netlink: Any, link: Link, master: int | None) -> list[str]:
    if link.master == master and link.up:
        return []
    if link.master != master:
        netlink.link("set", index=link.index, master=master)
    netlink.link("set", index=link.index, state="up")
    return [f"Link {link.name} was not in its bridge or was down."]


def _made(netlink: Any, name: str) -> Link:
    found = find(netlink, name)
    if found is None:
        raise NetworkDriverError(f"Link {name} vanished while it was made.")
    return found
