"""The cloud's nftables: anti-spoofing at bridges, filter and masquerading at the host, a table per family.

Both tables have the cloud's name. Rules are fixed; networks and ports are elements of sets, so that a port
costs the same whatever the number of others. Nothing here touches another's table or knows of links and DHCP.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from backends.networks.errors import NetworkDriverError
from backends.networks.spec import TAP, NetworkSpec, Port, bridge_name, tap_name

Json = dict[str, Any]
Element = Any
TIME_LIMIT_S = 30
PROVIDER_METADATA = {"prefix": {"addr": "169.254.0.0", "len": 16}}


@dataclass(frozen=True, slots=True)
class _Set:
    family: str
    name: str
    type: tuple[str, ...]
    interval: bool = False


SOURCES = _Set("bridge", "sources", ("ifname", "ether_addr"))
ADDRESSES = _Set("bridge", "addresses", ("ifname", "ether_addr", "ipv4_addr"))
PLAIN = _Set("bridge", "plain", ("ifname",))
NAT_BRIDGES = _Set("inet", "nat_bridges", ("ifname",))
ISOLATED_BRIDGES = _Set("inet", "isolated_bridges", ("ifname",))
SAME_BRIDGE = _Set("inet", "same_bridge", ("ifname", "ifname"))
SERVED = _Set("inet", "served_addresses", ("ifname", "ipv4_addr"))
NAT_SOURCES = _Set("inet", "nat_sources", ("ipv4_addr",), interval=True)
_SETS = (SOURCES, ADDRESSES, PLAIN, NAT_BRIDGES, ISOLATED_BRIDGES, SAME_BRIDGE, SERVED, NAT_SOURCES)

Elements = dict[_Set, list[Element]]


def table_name(cloud_tag: str) -> str:
    return f"altostratus_{cloud_tag}"


def network_elements(cloud_tag: str, spec: NetworkSpec) -> Elements:
    bridge = bridge_name(cloud_tag, spec.id)
    elements: Elements = {SAME_BRIDGE: [{"concat": [bridge, bridge]}]}
    if not spec.nat or spec.cidr is None:
        return elements | {ISOLATED_BRIDGES: [bridge]}
    address, _, length = spec.cidr.partition("/")
    return elements | {
        NAT_BRIDGES: [bridge],
        SERVED: [{"concat": [bridge, spec.gateway]}, {"concat": [bridge, "255.255.255.255"]}],
        NAT_SOURCES: [{"prefix": {"addr": address, "len": int(length)}}],
    }


def port_elements(cloud_tag: str, port: Port) -> Elements:
    tap, mac = tap_name(cloud_tag, port.id), port.mac.lower()
    elements: Elements = {SOURCES: [{"concat": [tap, mac]}]}
    if port.address is None:
        return elements | {PLAIN: [tap]}
    return elements | {ADDRESSES: [{"concat": [tap, mac, port.address]}]}


def add_elements(cloud_tag: str, elements: Elements) -> bool:
    """Adds them in one transaction; False when the tables aren't there or aren't what they were."""
    return _run(_element_commands("add", cloud_tag, elements)) is None


def remove_elements(cloud_tag: str, elements: Elements) -> bool:
    """Removes them in one transaction, whether present or not; False when the tables aren't there."""
    add, delete = (_element_commands(verb, cloud_tag, elements) for verb in ("add", "delete"))
    return _run([*add, *delete]) is None


def faults(cloud_tag: str, networks: Iterable[NetworkSpec], ports: Iterable[Port]) -> list[str]:
    """How the kernel's tables differ from what they should be, a sentence each."""
    wanted = _collect(cloud_tag, networks, ports)
    found: list[str] = []
    for family in ("bridge", "inet"):
        listing = _list(family, cloud_tag)
        if listing is None:
            found.append(f"The firewall table {family} {table_name(cloud_tag)} was missing.")
            continue
        if _rules_by_chain(_named(listing, "rule")) != _rules_by_chain(_rules(cloud_tag, family)) or {
            _shape(chain) for chain in _named(listing, "chain")
        } != {_shape(chain) for chain in _chains(family)}:
            found.append(f"The rules of firewall table {family} {table_name(cloud_tag)} had been changed.")
        actual = {entry["name"]: entry.get("elem", []) for entry in _named(listing, "set")}
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


def replace_tables(cloud_tag: str, networks: Iterable[NetworkSpec], ports: Iterable[Port]) -> None:
    """Makes both tables anew in one transaction: at no moment is a guest unfiltered or cut off."""
    name = table_name(cloud_tag)
    commands: list[Json] = []
    for family in ("bridge", "inet"):
        table = {"table": {"family": family, "name": name}}
        commands += [{"add": table}, {"delete": table}, {"add": table}]
        commands += [
            {"add": {"set": _set_definition(name, definition)}} for definition in _SETS if definition.family == family
        ]
        commands += [{"add": {"chain": chain | {"table": name}}} for chain in _chains(family)]
        commands += [{"add": {"rule": rule}} for rule in _rules(cloud_tag, family)]
    commands += _element_commands("add", cloud_tag, _collect(cloud_tag, networks, ports))
    if (refusal := _run(commands)) is not None:
        raise NetworkDriverError(f"The kernel refused firewall table {name}: {refusal}")


def delete_tables(cloud_tag: str) -> None:
    commands: list[Json] = []
    for family in ("bridge", "inet"):
        table = {"table": {"family": family, "name": table_name(cloud_tag)}}
        commands += [{"add": table}, {"delete": table}]
    if (refusal := _run(commands)) is not None:
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


def _rules(cloud_tag: str, family: str) -> list[Json]:
    """The fixed rules; each comment ends in a digest of the rule, by which `faults` knows it again."""
    rules = _bridge_rules(cloud_tag) if family == "bridge" else _inet_rules()
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


_Rule = tuple[str, str, list[Json]]
_DROP: Json = {"drop": None}
_ACCEPT: Json = {"accept": None}


def _bridge_rules(cloud_tag: str) -> list[_Rule]:
    in_name, sender = _meta("iifname"), _field("ether", "saddr")
    arp_mac, arp_address = _field("arp", "saddr ether"), _field("arp", "saddr ip")
    arp, ipv4 = _is(_field("ether", "type"), "arp"), _is(_field("ether", "type"), "ip")
    from_server = _is(_field("udp", "sport"), 67)
    return [
        (
            "prerouting",
            "all that comes from a guest",
            [_is(in_name, f"{cloud_tag}{TAP}*"), _jump("from_guest")],
        ),
        ("from_guest", "MAC not its own", [_is_not(_concat(in_name, sender), f"@{SOURCES.name}"), _DROP]),
        ("from_guest", "network without addresses", [_is(in_name, f"@{PLAIN.name}"), _ACCEPT]),
        (
            "from_guest",
            "ARP with its own addresses",
            [arp, _is(_concat(in_name, arp_mac, arp_address), f"@{ADDRESSES.name}"), _ACCEPT],
        ),
        (
            "from_guest",
            "ARP probe for duplicates",
            [arp, _is(arp_address, "0.0.0.0"), _is(_concat(in_name, arp_mac), f"@{SOURCES.name}"), _ACCEPT],  # noqa: S104
        ),
        ("from_guest", "DHCP server", [ipv4, from_server, _DROP]),
        (
            "from_guest",
            "DHCP client without an address",
            [
                _is(_field("ip", "saddr"), "0.0.0.0"),  # noqa: S104
                _is(_field("ip", "daddr"), "255.255.255.255"),
                _is(_field("udp", "sport"), 68),
                _is(_field("udp", "dport"), 67),
                _ACCEPT,
            ],
        ),
        (
            "from_guest",
            "IPv4 from its own address",
            [ipv4, _is(_concat(in_name, sender, _field("ip", "saddr")), f"@{ADDRESSES.name}"), _ACCEPT],
        ),
        ("from_guest", "anything else, IPv6 too", [_DROP]),
    ]


def _inet_rules() -> list[_Rule]:
    in_name, out_name = _meta("iifname"), _meta("oifname")
    from_nat, to_nat = _is(in_name, f"@{NAT_BRIDGES.name}"), _is(out_name, f"@{NAT_BRIDGES.name}")
    from_isolated = _is(in_name, f"@{ISOLATED_BRIDGES.name}")
    known = _is_in(_ct_state(), ["established", "related"])
    dns = {"set": ["tcp", "udp"]}
    return [
        ("untracked", "overlapping subnets share no connections", [from_isolated, {"notrack": None}]),
        ("input", "the host isn't on isolated networks", [from_isolated, _DROP]),
        ("input", "answers to the host", [from_nat, known, _ACCEPT]),
        (
            "input",
            "DHCP requests",
            [from_nat, _is(_field("udp", "sport"), 68), _is(_field("udp", "dport"), 67), _served(), _ACCEPT],
        ),
        (
            "input",
            "DNS queries",
            [from_nat, _is(_meta("l4proto"), dns), _is(_field("th", "dport"), 53), _served(), _ACCEPT],
        ),
        (
            "input",
            "echo requests",
            [from_nat, _is(_field("icmp", "type"), "echo-request"), _served(), _ACCEPT],
        ),
        ("input", "nothing else of the host", [from_nat, _DROP]),
        ("forward", "within a bridge", [_is(_concat(in_name, out_name), f"@{SAME_BRIDGE.name}"), _ACCEPT]),
        ("forward", "out of an isolated network", [from_isolated, _DROP]),
        ("forward", "into an isolated network", [_is(out_name, f"@{ISOLATED_BRIDGES.name}"), _DROP]),
        ("forward", "IPv6", [from_nat, _is(_meta("nfproto"), "ipv6"), _DROP]),
        (
            "forward",
            "metadata of the host's provider",
            [_is(_field("ip", "daddr"), PROVIDER_METADATA), from_nat, _DROP],
        ),
        ("forward", "answers from outside", [to_nat, known, _ACCEPT]),
        ("forward", "anything else from outside", [to_nat, _DROP]),
        (
            "postrouting",
            "guests appear as the host",
            [
                _is(_field("ip", "saddr"), f"@{NAT_SOURCES.name}"),
                _is_not(out_name, f"@{NAT_BRIDGES.name}"),
                _is_not(out_name, "lo"),
                {"masquerade": None},
            ],
        ),
    ]


def _meta(key: str) -> Json:
    return {"meta": {"key": key}}


def _field(protocol: str, field: str) -> Json:
    return {"payload": {"protocol": protocol, "field": field}}


def _ct_state() -> Json:
    return {"ct": {"key": "state"}}


def _concat(*parts: Json) -> Json:
    return {"concat": list(parts)}


def _is(left: Json, right: object) -> Json:
    return {"match": {"op": "==", "left": left, "right": right}}


def _is_not(left: Json, right: object) -> Json:
    return {"match": {"op": "!=", "left": left, "right": right}}


def _is_in(left: Json, right: list[str]) -> Json:
    return {"match": {"op": "in", "left": left, "right": right}}


def _jump(chain: str) -> Json:
    return {"jump": {"target": chain}}


def _served() -> Json:
    return _is(_concat(_meta("iifname"), _field("ip", "daddr")), f"@{SERVED.name}")


def _list(family: str, cloud_tag: str) -> list[Json] | None:
    answer = _nft(["list", "table", family, table_name(cloud_tag)], None)
    if answer.returncode != 0:
        return None
    entries: list[Json] = json.loads(answer.stdout)["nftables"]
    return entries


def _run(commands: Sequence[Json]) -> str | None:
    """None when done, else what nft said; it does all of the commands or none."""
    answer = _nft(["-f", "-"], json.dumps({"nftables": commands}))
    return None if answer.returncode == 0 else answer.stderr.strip().splitlines()[0]


def _nft(arguments: list[str], rules: str | None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["nft", "-j", *arguments],
            input=rules,
            stdin=subprocess.DEVNULL if rules is None else None,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise NetworkDriverError(f"The firewall couldn't be reached through nft: {failure}.") from None
