"""The fixed rules by which security groups know an answer: who began a flow, as elements of sets.

The kernel's own connection tracking needs a module for bridges that not every kernel has, keeps one table for all
tenants and the host, and takes equal addresses of two networks for one. These sets need only nftables, and each
element names the guest's tap. The side that began a flow owns it: what goes its way must match a rule each time;
what goes back must be in a set and match the same rule turned round. So a rule that goes takes its connections along.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.networks.nft import (
    ACCEPT,
    DROP,
    Json,
    any_of,
    concat,
    field,
    goto,
    match,
    meta,
    remember,
    verdict_map,
)

UNANSWERED_S = 60
CLOSING_S = 60
TCP_IDLE_S = 3600
OTHER_IDLE_S = 180
FLOWS_MAX = 1 << 18
"""Of each sort and direction, for all guests of the host."""

SENDING, ANSWERING, RECEIVING, ANSWERED = "sending", "answering", "receiving", "answered"
VERDICT_MAPS = (SENDING, ANSWERING, RECEIVING, ANSWERED)
"""By tap: the rules for what it sends and what reaches it, and those, turned round, for answers in either way."""

Rule = tuple[str, str, list[Json]]
"""Chain, comment, expressions."""

_ERRORS4 = any_of("destination-unreachable", "time-exceeded", "parameter-problem")
_ERRORS6 = any_of("destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem")
_NEIGHBOURS = ("nd-neighbor-solicit", "nd-neighbor-advert")
_LISTENERS = ("mld-listener-query", "mld-listener-report", "mld-listener-done", "mld2-listener-report")
_PLAIN_PROTOCOLS = any_of("tcp", "udp", "icmp", "ipv6-icmp")


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
    def type(self) -> list[str]:
        address = "ipv4_addr" if self.family == "ip" else "ipv6_addr"
        if self.protocol == "other":
            return ["ifname", address, "inet_proto", address]
        return ["ifname", address, "inet_service", address, "inet_service"]

    def key(self, *, is_sent: bool) -> Json:
        """The packet's flow as its guest sees it: own end first."""
        tap = meta("iifname" if is_sent else "oifname")
        own, other = ("s", "d") if is_sent else ("d", "s")
        addresses = field(self.family, f"{own}addr"), field(self.family, f"{other}addr")
        if self.protocol == "other":
            return concat(tap, addresses[0], meta("l4proto"), addresses[1])
        ports = field(self.protocol, f"{own}port"), field(self.protocol, f"{other}port")
        return concat(tap, addresses[0], ports[0], addresses[1], ports[1])


_SORTS = tuple(_Sort(protocol, family) for protocol in ("tcp", "udp", "other") for family in ("ip", "ip6"))
FLOW_SETS = {f"{began}_{sort.name}": sort.type for began in ("out", "in") for sort in _SORTS}


def fixed_chains() -> list[Json]:
    base = {"type": "filter", "policy": "accept"}
    return [
        {"name": "from_guest"},
        {"name": "to_guest"},
        *({"name": name} for way in ("out", "in") for name in (f"begun_{way}", f"answer_{way}")),
        {"name": "prerouting", "hook": "prerouting", "prio": -150} | base,
        {"name": "postrouting", "hook": "postrouting", "prio": 0} | base,
    ]


def fixed_rules(guests: str) -> list[Rule]:
    """`guests` matches the names of the guests' taps."""
    return [
        *_way(is_sent=True),
        *_way(is_sent=False),
        *_begun("out", is_sent=True),
        *_begun("in", is_sent=False),
        *_answer("out", is_sent=False),
        *_answer("in", is_sent=True),
        ("prerouting", "what guests send", [match(meta("iifname"), guests), goto("from_guest")]),
        ("postrouting", "what reaches guests", [match(meta("oifname"), guests), goto("to_guest")]),
    ]


def _way(*, is_sent: bool) -> list[Rule]:
    chain, tap = ("from_guest", meta("iifname")) if is_sent else ("to_guest", meta("oifname"))
    began, answers, rules = ("in", ANSWERING, SENDING) if is_sent else ("out", ANSWERED, RECEIVING)
    client, server = ("s", "d") if is_sent else ("d", "s")
    neighbours = any_of("nd-router-solicit" if is_sent else "nd-router-advert", *_NEIGHBOURS, *_LISTENERS)
    return [
        (chain, "ARP", [match(field("ether", "type"), "arp"), ACCEPT]),
        (chain, "neighbours", [match(field("icmpv6", "type"), neighbours), ACCEPT]),
        *(
            (
                chain,
                f"DHCP on {family}",
                [
                    match(field("ether", "type"), family),
                    match(field("udp", f"{client}port"), at_client),
                    match(field("udp", f"{server}port"), at_server),
                    ACCEPT,
                ],
            )
            for family, at_client, at_server in (("ip", 68, 67), ("ip6", 546, 547))
        ),
        (chain, "errors", [match(field("icmp", "type"), _ERRORS4), ACCEPT]),
        (chain, "errors of IPv6", [match(field("icmpv6", "type"), _ERRORS6), ACCEPT]),
        (chain, "fragments, worthless without the first", [_is_later_fragment("ip"), ACCEPT]),
        (chain, "fragments of IPv6", [_is_later_fragment("ip6"), ACCEPT]),
        *(
            (chain, f"answers, {name} {sort.family}", [*only, _known(began, sort, is_sent), verdict_map(tap, answers)])
            for sort in _SORTS
            for name, only in _what_answers(sort)
        ),
        (chain, "by the guest's groups", [verdict_map(tap, rules)]),
        (chain, "a guest without any", [DROP]),
    ]


def _what_answers(sort: _Sort) -> list[tuple[str, list[Json]]]:
    if sort.protocol != "other":
        return [(sort.protocol, [])]
    echo = field("icmp" if sort.family == "ip" else "icmpv6", "type")
    return [
        ("echo", [match(echo, "echo-reply")]),
        ("other", [match(meta("l4proto"), _PLAIN_PROTOCOLS, "!=")]),
    ]


def _known(began: str, sort: _Sort, is_sent: bool) -> Json:
    return match(sort.key(is_sent=is_sent), f"@{began}_{sort.name}")


def _is_later_fragment(family: str) -> Json:
    if family == "ip":
        return match({"&": [field("ip", "frag-off"), 0x1FFF]}, 0, "!=")
    return match({"exthdr": {"name": "frag", "field": "frag-off"}}, 0, "!=")


def _begun(way: str, *, is_sent: bool) -> list[Rule]:
    """A rule allows it. It begins a flow, unless that belongs to the other side, who may have lost its own rule."""
    chain, other_way = f"begun_{way}", "in" if way == "out" else "out"
    rules: list[Rule] = []
    for sort in _SORTS:
        key, name = sort.key(is_sent=is_sent), f"{way}_{sort.name}"
        rules.append((chain, f"the other side's, {sort.name}", [_known(other_way, sort, is_sent), ACCEPT]))
        if sort.protocol == "tcp":
            rules.append(
                (chain, f"ending, {sort.name}", [_is_last(), remember("update", name, key, CLOSING_S), ACCEPT])
            )
        rules.append((chain, f"beginning, {sort.name}", [remember("add", name, key, UNANSWERED_S), ACCEPT]))
    return [*rules, (chain, "nothing to remember", [ACCEPT])]


def _answer(way: str, *, is_sent: bool) -> list[Rule]:
    chain = f"answer_{way}"
    rules: list[Rule] = []
    for sort in _SORTS:
        key, name = sort.key(is_sent=is_sent), f"{way}_{sort.name}"
        if sort.protocol == "tcp":
            rules.append(
                (chain, f"ending, {sort.name}", [_is_last(), remember("update", name, key, CLOSING_S), ACCEPT])
            )
        rules.append((chain, f"going on, {sort.name}", [remember("update", name, key, sort.idle_s), ACCEPT]))
    return [*rules, (chain, "however", [ACCEPT])]


def _is_last() -> Json:
    return match(field("tcp", "flags"), ["fin", "rst"], "in")
