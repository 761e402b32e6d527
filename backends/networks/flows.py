"""How security groups know an answer: who began a flow, as elements of sets.

The kernel's own connection tracking needs a module for bridges that not every kernel has, keeps one table for all
tenants and the host, and takes equal addresses of two networks for one. These sets need only nftables, and each
element names the guest's tap. The side that began a flow owns it: what goes its way must match a rule each time;
what goes back must be in a set and match the same rule turned round. So a rule that goes takes its connections along.

The sets are shared out: each project has one of 256 shares, sets of its own and chains that use them, so that who fills
them keeps hardly anybody else from being answered. (Sets without end would not do: the kernel finds one by trying all.)
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

from backends.networks.tables import Chain, Hook, Rule, Set, rule

UNANSWERED_S = 60
CLOSING_S = 60
TCP_IDLE_S = 3600
OTHER_IDLE_S = 180

SENDING, RECEIVING = "sending", "receiving"
"""Maps from a tap to the rules for what it sends and what reaches it."""
TOLD_APART = "told_apart"
"""The protocols of which more is known than addresses."""

_ERRORS4 = "{ destination-unreachable, time-exceeded, parameter-problem }"
_ERRORS6 = "{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }"
_NEIGHBOURS = (
    "nd-neighbor-solicit, nd-neighbor-advert, "
    "mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report"
)


@dataclass(frozen=True, slots=True)
class _Sort:
    """Flows of one protocol and family: `other` goes by addresses alone."""

    protocol: str
    family: str

    @property
    def name(self) -> str:
        return self.protocol + ("4" if self.family == "ip" else "6")

    @property
    def idle_s(self) -> int:
        return TCP_IDLE_S if self.protocol == "tcp" else OTHER_IDLE_S

    @property
    def type(self) -> tuple[str, ...]:
        address = "ipv4_addr" if self.family == "ip" else "ipv6_addr"
        if self.protocol == "other":
            return ("ifname", address, "inet_proto", address)
        return ("ifname", address, "inet_service", address, "inet_service")

    def key(self, *, is_sent: bool) -> str:
        """The packet's flow as its guest sees it: own end first."""
        tap = "iifname" if is_sent else "oifname"
        own, other = ("s", "d") if is_sent else ("d", "s")
        addresses = f"{self.family} {own}addr", f"{self.family} {other}addr"
        if self.protocol == "other":
            return f"{tap} . {addresses[0]} . meta l4proto . {addresses[1]}"
        ports = f"{self.protocol} {own}port", f"{self.protocol} {other}port"
        return f"{tap} . {addresses[0]} . {ports[0]} . {addresses[1]} . {ports[1]}"


_SORTS = tuple(_Sort(protocol, family) for protocol in ("tcp", "udp", "other") for family in ("ip", "ip6"))


def share_of(project_id: UUID) -> str:
    """What the names of the sets and chains end in that a project has."""
    return blake2b(project_id.bytes, digest_size=1).hexdigest()


def flow_sets(share: str) -> dict[str, Set]:
    """Without a size, which would be room made at once, the kernel takes in 65,535 of each."""
    more = f"flags timeout; timeout {UNANSWERED_S}s;"
    return {f"{began}_{sort.name}_{share}": Set(sort.type, None, more) for began in ("out", "in") for sort in _SORTS}


def common_chains(guests: str) -> dict[str, Chain]:
    """`guests` matches the names of the guests' taps."""
    return {
        "from_guest": _way(is_sent=True),
        "to_guest": _way(is_sent=False),
        "prerouting": Chain(
            (rule(f'iifname "{guests}" goto from_guest', "what guests send"),), Hook("filter", "prerouting", -150)
        ),
        "postrouting": Chain(
            (rule(f'oifname "{guests}" goto to_guest', "what reaches guests"),), Hook("filter", "postrouting", 0)
        ),
    }


def common_sets() -> dict[str, Set]:
    return {TOLD_APART: Set(("inet_proto",), ("tcp", "udp", "icmp", "ipv6-icmp"))}


def flow_chains(share: str) -> dict[str, Chain]:
    return {
        f"begun_out_{share}": _begun(share, "out", is_sent=True),
        f"begun_in_{share}": _begun(share, "in", is_sent=False),
        f"answer_out_{share}": _answer(share, "out", is_sent=False),
        f"answer_in_{share}": _answer(share, "in", is_sent=True),
    }


def _way(*, is_sent: bool) -> Chain:
    """What needs no group's leave, and then by the guest's groups."""
    tap, rules = ("iifname", SENDING) if is_sent else ("oifname", RECEIVING)
    client, server = ("s", "d") if is_sent else ("d", "s")
    return Chain(
        (
            rule("ether type arp accept", "ARP"),
            rule(
                f"icmpv6 type {{ nd-router-{'solicit' if is_sent else 'advert'}, {_NEIGHBOURS} }} accept", "neighbours"
            ),
            *(
                rule(
                    f"ether type {family} udp {client}port {at_client} udp {server}port {at_server} accept",
                    f"DHCP on {family}",
                )
                for family, at_client, at_server in (("ip", 68, 67), ("ip6", 546, 547))
            ),
            rule(f"icmp type {_ERRORS4} accept", "errors"),
            rule(f"icmpv6 type {_ERRORS6} accept", "errors of IPv6"),
            rule("ip frag-off & 0x1fff != 0 accept", "fragments, worthless without the first"),
            rule("frag frag-off != 0 accept", "fragments of IPv6"),
            rule(f"{tap} vmap @{rules}", "by the guest's groups"),
            rule("drop", "a guest without any"),
        )
    )


def _begun(share: str, way: str, *, is_sent: bool) -> Chain:
    """A rule allows it. It begins a flow, unless that belongs to the other side, who may have lost its own rule."""
    other_way = "in" if way == "out" else "out"
    rules: list[Rule] = []
    for sort in _SORTS:
        key, name = sort.key(is_sent=is_sent), f"{sort.name}_{share}"
        if sort.protocol == "other" and sort.family == "ip":
            rules += [rule(f"meta l4proto {full} accept", f"no room for {full}") for full in ("tcp", "udp")]
        beginning = f"add @{way}_{name} {{ {key} timeout {UNANSWERED_S}s }} accept"
        if sort.protocol == "other":  # both sides may ask at once, and what answers either looks otherwise
            echo = "icmp" if sort.family == "ip" else "icmpv6"
            rules.append(rule(f"{echo} type echo-request {beginning}", f"asking by {echo}"))
        rules.append(rule(f"{key} @{other_way}_{name} accept", f"the other side's, {sort.name}"))
        if sort.protocol == "tcp":
            rules.append(_ending(sort, f"{way}_{name}", key))
        rules.append(rule(beginning, f"beginning, {sort.name}"))
    return Chain((*rules, rule("accept", "nothing to remember")))


def _answer(share: str, way: str, *, is_sent: bool) -> Chain:
    """A rule, turned round, allows it: it passes if it answers something."""
    rules: list[Rule] = []
    for sort in _SORTS:
        key, name = sort.key(is_sent=is_sent), f"{way}_{sort.name}_{share}"
        known, only = f"{key} @{name} ", [(sort.name, "")]
        if sort.protocol == "tcp":
            rules.append(_ending(sort, name, key, known))
        if sort.protocol == "other":
            echo = "icmp" if sort.family == "ip" else "icmpv6"
            only = [
                (echo, f"{echo} type echo-reply "),
                (f"other of {sort.family}", f"meta l4proto != @{TOLD_APART} "),
            ]
        rules += [
            rule(f"{first}{known}update @{name} {{ {key} timeout {sort.idle_s}s }} accept", f"going on, {what}")
            for what, first in only
        ]
    return Chain(tuple(rules))


def _ending(sort: _Sort, name: str, key: str, known: str = "") -> Rule:
    return rule(
        f"tcp flags fin,rst {known}update @{name} {{ {key} timeout {CLOSING_S}s }} accept", f"ending, {sort.name}"
    )
