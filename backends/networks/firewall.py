"""The cloud's nftables: anti-spoofing at bridges, filter and masquerading at the host, a table per family.

Both tables have the cloud's name. Rules are fixed; networks and ports are elements of sets, so that a port
costs the same whatever the number of others; only what a port may say in neighbour discovery is a chain of its own,
because nft compares no target address with a set. Nothing here touches another's table or knows of links and DHCP.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv6Address, IPv6Interface
from typing import Any

from backends.networks.addresses import address6_of, gateway6, link_local_of
from backends.networks.errors import NetworkDriverError
from backends.networks.nft import ACCEPT, DROP, Json, any_of, concat, field, jump, listed, match, meta, run
from backends.networks.spec import (
    DHCP_LINK,
    TAP,
    TUNNEL,
    VLAN_LINK,
    NetworkSpec,
    Port,
    bridge_name,
    tap_name,
    tunnel_name,
    vlan_link_names,
)

Element = Any
PROVIDER_METADATA = {"prefix": {"addr": "169.254.0.0", "len": 16}}
PROVIDER_METADATA6 = {"set": ["fd00:ec2::254", "fd20:ce::254"]}
LINK_LOCAL6 = {"prefix": {"addr": "fe80::", "len": 10}}
DHCPV6_SERVERS = "ff02::1:2"
BRIDGES = {"range": ["01:80:c2:00:00:00", "01:80:c2:00:00:0f"]}
TUNNEL_PORT = 4789


@dataclass(frozen=True, slots=True)
class _Set:
    family: str
    name: str
    type: tuple[str, ...]
    interval: bool = False
    to_chains: bool = False
    """A map whose values are jumps."""


SOURCES = _Set("bridge", "sources", ("ifname", "ether_addr"))
ADDRESSES = _Set("bridge", "addresses", ("ifname", "ether_addr", "ipv4_addr"))
ADDRESSES6 = _Set("bridge", "addresses6", ("ifname", "ether_addr", "ipv6_addr"))
DISCOVERY = _Set("bridge", "discovery", ("ifname",), to_chains=True)
SERVED_OUTWARD = _Set("bridge", "served_outward", ("ifname",))
"""The links that lead on from networks whose addresses the hosts give out."""
PLAIN = _Set("bridge", "plain", ("ifname",))
ROUTED_BRIDGES = _Set("inet", "routed_bridges", ("ifname",))
NAT_BRIDGES = _Set("inet", "nat_bridges", ("ifname",))
ISOLATED_BRIDGES = _Set("inet", "isolated_bridges", ("ifname",))
SAME_BRIDGE = _Set("inet", "same_bridge", ("ifname", "ifname"))
SERVED = _Set("inet", "served_addresses", ("ifname", "ipv4_addr"))
SERVED6 = _Set("inet", "served_addresses6", ("ifname", "ipv6_addr"))
NAT_SOURCES = _Set("inet", "nat_sources", ("ipv4_addr",), interval=True)
NAT_SOURCES6 = _Set("inet", "nat_sources6", ("ipv6_addr",), interval=True)
_SETS = (
    SOURCES,
    ADDRESSES,
    ADDRESSES6,
    DISCOVERY,
    SERVED_OUTWARD,
    PLAIN,
    ROUTED_BRIDGES,
    NAT_BRIDGES,
    ISOLATED_BRIDGES,
    SAME_BRIDGE,
    SERVED,
    SERVED6,
    NAT_SOURCES,
    NAT_SOURCES6,
)

Elements = dict[_Set, list[Element]]
_Rule = tuple[str, str, list[Json]]


def table_name(cloud_tag: str) -> str:
    return f"altostratus_{cloud_tag}"


def network_elements(cloud_tag: str, spec: NetworkSpec) -> Elements:
    bridge = bridge_name(cloud_tag, spec.id)
    elements: Elements = {SAME_BRIDGE: [{"concat": [bridge, bridge]}]}
    if spec.has_addresses:
        outward = [tunnel_name(cloud_tag, spec.id)] if spec.tunnel is not None else []
        outward += [vlan_link_names(cloud_tag, spec.id)[0]] if spec.vlan is not None else []
        elements[SERVED_OUTWARD] = list(outward)
    if not spec.is_routed:
        return elements | {ISOLATED_BRIDGES: [bridge]}
    elements[ROUTED_BRIDGES] = [bridge]
    elements[NAT_BRIDGES] = [bridge] if spec.nat else []
    if spec.cidr is not None:
        elements[SERVED] = [{"concat": [bridge, spec.gateway]}, {"concat": [bridge, "255.255.255.255"]}]
        elements[NAT_SOURCES] = [_prefix(spec.cidr)] if spec.nat else []
    if spec.cidr6 is not None:
        elements[SERVED6] = [{"concat": [bridge, address]} for address in (gateway6(spec.cidr6), DHCPV6_SERVERS)]
        elements[NAT_SOURCES6] = [_prefix(spec.cidr6)] if spec.nat and spec.masquerade6 else []
    return elements


def _prefix(cidr: str) -> Json:
    address, _, length = cidr.partition("/")
    return {"prefix": {"addr": address, "len": int(length)}}


def port_elements(cloud_tag: str, port: Port) -> Elements:
    tap, mac = tap_name(cloud_tag, port.id), port.mac.lower()
    elements: Elements = {SOURCES: [{"concat": [tap, mac]}]}
    if port.address is None and port.address6 is None:
        return elements | {PLAIN: [tap]}
    if port.address is not None:
        elements[ADDRESSES] = [{"concat": [tap, mac, port.address]}]
    if port.address6 is not None:
        elements[ADDRESSES6] = [{"concat": [tap, mac, address]} for address in addresses6(port)]
        elements[DISCOVERY] = [[tap, jump(_discovery_chain(tap))]]
    return elements


def addresses6(port: Port) -> tuple[str, ...]:
    """All that a guest may use: the address of its own, and those it makes of its MAC address."""
    if port.address6 is None:
        return ()
    mac = port.mac.lower()
    own = IPv6Interface(f"{port.address6}/64")
    return tuple(dict.fromkeys((link_local_of(mac), str(own.ip), address6_of(str(own.network), mac))))


def add_network(cloud_tag: str, spec: NetworkSpec) -> bool:
    """Lets it be, in one transaction; False when the tables aren't there or aren't what they were."""
    return run(_element_commands("add", cloud_tag, network_elements(cloud_tag, spec))) is None


def remove_network(cloud_tag: str, spec: NetworkSpec) -> bool:
    """Forgets it in one transaction, whether present or not; False when the tables aren't there."""
    return run(_removal(cloud_tag, network_elements(cloud_tag, spec))) is None


def add_port(cloud_tag: str, port: Port) -> bool:
    """Lets it send, in one transaction; False when the tables aren't there or aren't what they were."""
    chain, rules = _port_chain(cloud_tag, port)
    flush = [{"flush": each["add"]} for each in chain]
    elements = _element_commands("add", cloud_tag, port_elements(cloud_tag, port))
    return run([*chain, *flush, *rules, *elements]) is None


def remove_port(cloud_tag: str, port: Port) -> bool:
    """Forgets it in one transaction, whether present or not; False when the tables aren't there."""
    chain, _ = _port_chain(cloud_tag, port)
    ends = [{verb: each["add"]} for each in chain for verb in ("flush", "delete")]
    return run([*chain, *_removal(cloud_tag, port_elements(cloud_tag, port)), *ends]) is None


def _removal(cloud_tag: str, elements: Elements) -> list[Json]:
    return [command for verb in ("add", "delete") for command in _element_commands(verb, cloud_tag, elements)]


def _discovery_chain(tap: str) -> str:
    return f"discovery_{tap}"


def _port_chain(cloud_tag: str, port: Port) -> tuple[list[Json], list[Json]]:
    """The commands that add the chain of a port with IPv6, and its rules; none for another's."""
    if port.address6 is None:
        return [], []
    chain = {"family": "bridge", "table": table_name(cloud_tag), "name": _discovery_chain(tap_name(cloud_tag, port.id))}
    rules = _numbered(cloud_tag, "bridge", _discovery_rules(cloud_tag, port))
    return [{"add": {"chain": chain}}], [{"add": {"rule": rule}} for rule in rules]


def faults(cloud_tag: str, networks: Iterable[NetworkSpec], ports: Iterable[Port], underlay: str = "") -> list[str]:
    """How the kernel's tables differ from what they should be, a sentence each; `underlay` is the hosts' network."""
    networks, ports = list(networks), list(ports)
    wanted = _collect(cloud_tag, networks, ports)
    found: list[str] = []
    for family in ("bridge", "inet"):
        listing = listed("list", "table", family, table_name(cloud_tag))
        if listing is None:
            found.append(f"The firewall table {family} {table_name(cloud_tag)} was missing.")
            continue
        rules, chains = _rules(cloud_tag, family, underlay), _chains(family)
        for port in ports if family == "bridge" else []:
            chain, more = _port_chain(cloud_tag, port)
            chains += [each["add"]["chain"] for each in chain]
            rules += [each["add"]["rule"] for each in more]
        if _rules_by_chain(_named(listing, "rule")) != _rules_by_chain(rules) or {
            _shape(chain) for chain in _named(listing, "chain")
        } != {_shape(chain) for chain in chains}:
            found.append(f"The rules of firewall table {family} {table_name(cloud_tag)} had been changed.")
        actual = {entry["name"]: entry.get("elem", []) for kind in ("set", "map") for entry in _named(listing, kind)}
        for definition, elements in wanted.items():
            if definition.family == family:
                found += _set_faults(definition, elements, actual.get(definition.name, []))
    return found


def _set_faults(definition: _Set, wanted: list[Element], actual: list[Element]) -> list[str]:
    should, have = ({json.dumps(element) for element in elements} for elements in (wanted, actual))
    if should == have:
        return []
    stray, missing = len(have - should), len(should - have)
    return [f"Set {definition.name} of the firewall had {stray} entries too many and missed {missing}."]


def _named(listing: list[Json], kind: str) -> list[Json]:
    return [entry[kind] for entry in listing if kind in entry]


def _rules_by_chain(rules: list[Json]) -> dict[str, list[str | None]]:
    by_chain: dict[str, list[str | None]] = {}
    for rule in rules:
        by_chain.setdefault(rule["chain"], []).append(rule.get("comment"))
    return by_chain


def replace_tables(cloud_tag: str, networks: Iterable[NetworkSpec], ports: Iterable[Port], underlay: str = "") -> None:
    """Makes both tables anew in one transaction: at no moment is a guest unfiltered or cut off."""
    name = table_name(cloud_tag)
    networks, ports = list(networks), list(ports)
    commands: list[Json] = []
    for family in ("bridge", "inet"):
        table = {"table": {"family": family, "name": name}}
        commands += [{"add": table}, {"delete": table}, {"add": table}]
        commands += [
            {"add": {"map" if definition.to_chains else "set": _set_definition(name, definition)}}
            for definition in _SETS
            if definition.family == family
        ]
        commands += [{"add": {"chain": chain | {"table": name}}} for chain in _chains(family)]
        commands += [{"add": {"rule": rule}} for rule in _rules(cloud_tag, family, underlay)]
    for port in ports:
        chain, rules = _port_chain(cloud_tag, port)
        commands += chain + rules
    commands += _element_commands("add", cloud_tag, _collect(cloud_tag, networks, ports))
    if (refusal := run(commands)) is not None:
        raise NetworkDriverError(f"The kernel refused firewall table {name}: {refusal}")


def delete_tables(cloud_tag: str) -> None:
    commands: list[Json] = []
    for family in ("bridge", "inet"):
        table = {"table": {"family": family, "name": table_name(cloud_tag)}}
        commands += [{"add": table}, {"delete": table}]
    if (refusal := run(commands)) is not None:
        raise NetworkDriverError(f"The kernel kept firewall table {table_name(cloud_tag)}: {refusal}")


def _collect(cloud_tag: str, networks: Iterable[NetworkSpec], ports: Iterable[Port]) -> Elements:
    collected: Elements = {definition: [] for definition in _SETS}
    parts = [network_elements(cloud_tag, spec) for spec in networks]
    parts += [port_elements(cloud_tag, port) for port in ports]
    for part in parts:
        for definition, elements in part.items():
            collected[definition] += elements
    return collected


def _set_definition(table: str, definition: _Set) -> Json:
    kind: Any = definition.type[0] if len(definition.type) == 1 else list(definition.type)
    described: Json = {"family": definition.family, "table": table, "name": definition.name, "type": kind}
    if definition.to_chains:
        described["map"] = "verdict"
    return described | ({"flags": ["interval"]} if definition.interval else {})


def _element_commands(verb: str, cloud_tag: str, elements: Elements) -> list[Json]:
    return [
        {
            verb: {
                "element": {
                    "family": definition.family,
                    "table": table_name(cloud_tag),
                    "name": definition.name,
                    "elem": members,
                }
            }
        }
        for definition, members in elements.items()
        if members
    ]


def _chains(family: str) -> list[Json]:
    base = {"type": "filter", "policy": "accept"}
    if family == "bridge":
        return [
            {"family": family, "name": "prerouting", "hook": "prerouting", "prio": -200} | base,
            {"family": family, "name": "from_guest"},
            {"family": family, "name": "forward", "hook": "forward", "prio": -200} | base,
            {"family": family, "name": "output", "hook": "output", "prio": -200} | base,
        ]
    return [
        {"family": family, "name": "untracked", "hook": "prerouting", "prio": -300} | base,
        {"family": family, "name": "input", "hook": "input", "prio": 0} | base,
        {"family": family, "name": "forward", "hook": "forward", "prio": 0} | base,
        {
            "family": family,
            "name": "postrouting",
            "hook": "postrouting",
            "prio": 100,
            "type": "nat",
            "policy": "accept",
        },
    ]


def _shape(chain: Json) -> tuple[object, ...]:
    return tuple(chain.get(key) for key in ("name", "type", "hook", "prio", "policy"))


def _rules(cloud_tag: str, family: str, underlay: str) -> list[Json]:
    """The fixed rules; each comment ends in a digest of the rule, by which `faults` knows it again."""
    return _numbered(cloud_tag, family, _bridge_rules(cloud_tag) if family == "bridge" else _inet_rules(underlay))


def _numbered(cloud_tag: str, family: str, rules: list[_Rule]) -> list[Json]:
    return [
        {
            "family": family,
            "table": table_name(cloud_tag),
            "chain": chain,
            "comment": f"{comment} #{blake2b(json.dumps(expression).encode(), digest_size=4).hexdigest()}",
            "expr": expression,
        }
        for chain, comment, expression in rules
    ]


def _bridge_rules(cloud_tag: str) -> list[_Rule]:
    in_name, sender = meta("iifname"), field("ether", "saddr")
    arp_mac, arp_address = field("arp", "saddr ether"), field("arp", "saddr ip")
    arp, ipv4 = match(field("ether", "type"), "arp"), match(field("ether", "type"), "ip")
    ipv6 = match(field("ether", "type"), "ip6")
    from_server = match(field("udp", "sport"), 67)
    return [
        (
            "prerouting",
            "all that comes from a guest",
            [match(in_name, f"{cloud_tag}{TAP}*"), jump("from_guest")],
        ),
        ("from_guest", "MAC not its own", [_is_not(concat(in_name, sender), f"@{SOURCES.name}"), DROP]),
        ("from_guest", "network without addresses", [match(in_name, f"@{PLAIN.name}"), ACCEPT]),
        (
            "from_guest",
            "ARP with its own addresses",
            [arp, match(concat(in_name, arp_mac, arp_address), f"@{ADDRESSES.name}"), ACCEPT],
        ),
        (
            "from_guest",
            "ARP probe for duplicates",
            [arp, match(arp_address, "0.0.0.0"), match(concat(in_name, arp_mac), f"@{SOURCES.name}"), ACCEPT],  # noqa: S104
        ),
        ("from_guest", "DHCP server", [ipv4, from_server, DROP]),
        (
            "from_guest",
            "DHCP client without an address",
            [
                match(field("ip", "saddr"), "0.0.0.0"),  # noqa: S104
                match(field("ip", "daddr"), "255.255.255.255"),
                match(field("udp", "sport"), 68),
                match(field("udp", "dport"), 67),
                ACCEPT,
            ],
        ),
        (
            "from_guest",
            "IPv4 from its own address",
            [ipv4, match(concat(in_name, sender, field("ip", "saddr")), f"@{ADDRESSES.name}"), ACCEPT],
        ),
        ("from_guest", "router's advertisements and redirects", [_icmpv6("nd-router-advert", "nd-redirect"), DROP]),
        ("from_guest", "DHCPv6 server", [ipv6, match(field("udp", "sport"), 547), DROP]),
        (
            "from_guest",
            "fragments that could hide either (RFC 7113, RFC 6980)",
            [match(field("ip6", "saddr"), LINK_LOCAL6), {"match": _EXISTING_FRAGMENT}, DROP],
        ),
        (
            "from_guest",
            "neighbour discovery by port",
            [
                _icmpv6("nd-neighbor-solicit", "nd-neighbor-advert"),
                {"vmap": {"key": in_name, "data": f"@{DISCOVERY.name}"}},
            ],
        ),
        (
            "from_guest",
            "IPv6 from its own addresses",
            [ipv6, match(concat(in_name, sender, field("ip6", "saddr")), f"@{ADDRESSES6.name}"), ACCEPT],
        ),
        ("from_guest", "anything else", [DROP]),
        *_outward_rules(cloud_tag),
    ]


def _outward_rules(cloud_tag: str) -> list[_Rule]:
    """Each host is its guests' gateway and DHCP server itself: no other guest hears of it, nor do others' bridges.

    Where guests give out addresses themselves, or the VLAN's own servers do, everybody may ask them.
    """
    out_name = meta("oifname")
    served = match(out_name, f"@{SERVED_OUTWARD.name}")
    return [
        ("forward", "DHCP requests, to elsewhere", [match(field("udp", "dport"), 67), served, DROP]),
        ("forward", "DHCPv6 requests, to elsewhere", [match(field("udp", "dport"), 547), served, DROP]),
        ("forward", "searches for routers, to elsewhere", [_icmpv6("nd-router-solicit"), served, DROP]),
        *(
            rule
            for kind, where in ((TUNNEL, "other hosts"), (VLAN_LINK, "a VLAN"))
            for rule in _rules_of_links(cloud_tag, match(out_name, f"{cloud_tag}{kind}*"), where)
        ),
    ]


def _rules_of_links(cloud_tag: str, outward: Json, where: str) -> list[_Rule]:
    from_server = match(meta("iifname"), f"{cloud_tag}{DHCP_LINK}*")
    return [
        ("output", f"the host's own, to {where}", [outward, DROP]),
        ("forward", f"the DHCP server's, to {where}", [from_server, outward, DROP]),
        ("forward", f"what bridges say, to {where}", [match(field("ether", "daddr"), BRIDGES), outward, DROP]),
    ]


_EXISTING_FRAGMENT: Json = {"op": "==", "left": {"exthdr": {"name": "frag"}}, "right": True}


def _discovery_rules(cloud_tag: str, port: Port) -> list[_Rule]:
    """What a port may say of itself: its addresses, its MAC address, one option (RFC 4861 §4.3, §4.4).

    The target follows eight octets after the ICMPv6 header's start, the first option after the target.
    """
    chain = _discovery_chain(tap_name(cloud_tag, port.id))
    targets = {"set": [f"0x{int(IPv6Address(address)):032x}" for address in addresses6(port)]}
    target, option, option_mac = _raw(64, 128), _raw(192, 16), _raw(208, 48)
    mac = f"0x{port.mac.lower().replace(':', '')}"
    from_any = match(field("ip6", "saddr"), "::")
    link_layer_address = {"set": [0x0101, 0x0201]}
    return [
        (chain, "more than one option", [match(field("ip6", "length"), 32, ">"), DROP]),
        (chain, "another's MAC", [match(option, link_layer_address), _is_not(option_mac, mac), DROP]),
        (chain, "another's address", [_icmpv6("nd-neighbor-advert"), _is_not(target, targets), DROP]),
        (chain, "search for duplicates", [from_any, _icmpv6("nd-neighbor-solicit"), match(target, targets), ACCEPT]),
    ]


def _inet_rules(underlay: str) -> list[_Rule]:
    in_name, out_name = meta("iifname"), meta("oifname")
    from_routed, to_nat = match(in_name, f"@{ROUTED_BRIDGES.name}"), match(out_name, f"@{NAT_BRIDGES.name}")
    from_isolated = match(in_name, f"@{ISOLATED_BRIDGES.name}")
    known = _is_in(_ct_state(), ["established", "related"])
    dns = {"set": ["tcp", "udp"]}
    return [
        ("untracked", "overlapping subnets share no connections", [from_isolated, {"notrack": None}]),
        *_underlay_rules(underlay, from_routed),
        ("input", "the host isn't on isolated networks", [from_isolated, DROP]),
        ("input", "answers to the host", [from_routed, known, ACCEPT]),
        (
            "input",
            "DHCP requests",
            [from_routed, match(field("udp", "sport"), 68), match(field("udp", "dport"), 67), _served(), ACCEPT],
        ),
        (
            "input",
            "DNS queries",
            [from_routed, match(meta("l4proto"), dns), match(field("th", "dport"), 53), _served(), ACCEPT],
        ),
        (
            "input",
            "echo requests",
            [from_routed, match(field("icmp", "type"), "echo-request"), _served(), ACCEPT],
        ),
        (
            "input",
            "neighbour discovery",
            [from_routed, _icmpv6("nd-neighbor-solicit", "nd-neighbor-advert", "nd-router-solicit"), ACCEPT],
        ),
        (
            "input",
            "DHCPv6 requests",
            [from_routed, match(field("udp", "sport"), 546), match(field("udp", "dport"), 547), _served6(), ACCEPT],
        ),
        (
            "input",
            "DNS queries over IPv6",
            [from_routed, match(meta("l4proto"), dns), match(field("th", "dport"), 53), _served6(), ACCEPT],
        ),
        ("input", "echo requests over IPv6", [from_routed, _icmpv6("echo-request"), _served6(), ACCEPT]),
        ("input", "nothing else of the host", [from_routed, DROP]),
        ("forward", "within a bridge", [match(concat(in_name, out_name), f"@{SAME_BRIDGE.name}"), ACCEPT]),
        ("forward", "out of an isolated network", [from_isolated, DROP]),
        ("forward", "into an isolated network", [match(out_name, f"@{ISOLATED_BRIDGES.name}"), DROP]),
        (
            "forward",
            "metadata of the host's provider",
            [match(field("ip", "daddr"), PROVIDER_METADATA), from_routed, DROP],
        ),
        (
            "forward",
            "metadata of the host's provider over IPv6",
            [match(field("ip6", "daddr"), PROVIDER_METADATA6), from_routed, DROP],
        ),
        ("forward", "answers from outside", [to_nat, known, ACCEPT]),
        ("forward", "anything else from outside", [to_nat, DROP]),
        (
            "postrouting",
            "guests appear as the host",
            [
                match(field("ip", "saddr"), f"@{NAT_SOURCES.name}"),
                _is_not(out_name, f"@{NAT_BRIDGES.name}"),
                _is_not(out_name, "lo"),
                {"masquerade": None},
            ],
        ),
        (
            "postrouting",
            "guests appear as the host over IPv6",
            [
                match(field("ip6", "saddr"), f"@{NAT_SOURCES6.name}"),
                _is_not(out_name, f"@{NAT_BRIDGES.name}"),
                _is_not(out_name, "lo"),
                {"masquerade": None},
            ],
        ),
    ]


def _underlay_rules(underlay: str, from_routed: Json) -> list[_Rule]:
    """Frames of tunnels come from the cloud's hosts alone, and no guest reaches those to make some up."""
    if not underlay:
        return []
    from_host, to_host = (field("ip", end) for end in ("saddr", "daddr"))
    network = _prefix(underlay)
    return [
        (
            "input",
            "tunnels from elsewhere",
            [match(field("udp", "dport"), TUNNEL_PORT), match(to_host, network), _is_not(from_host, network), DROP],
        ),
        ("forward", "guests among the hosts", [match(to_host, network), from_routed, DROP]),
    ]


def _ct_state() -> Json:
    return {"ct": {"key": "state"}}


def _raw(offset_bits: int, length_bits: int) -> Json:
    """Of the transport header."""
    return {"payload": {"base": "th", "offset": offset_bits, "len": length_bits}}


def _icmpv6(*types: str) -> Json:
    return match(field("icmpv6", "type"), types[0] if len(types) == 1 else any_of(*types))


def _is_not(left: Json, right: object) -> Json:
    return match(left, right, "!=")


def _is_in(left: Json, right: list[str]) -> Json:
    return match(left, right, "in")


def _served() -> Json:
    return match(concat(meta("iifname"), field("ip", "daddr")), f"@{SERVED.name}")


def _served6() -> Json:
    return match(concat(meta("iifname"), field("ip6", "daddr")), f"@{SERVED6.name}")
