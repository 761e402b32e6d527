"""The cloud's nftables: anti-spoofing at bridges, filter and masquerading at the host, a table per family.

Both tables have the cloud's name. Rules are fixed; networks and ports are elements of sets, so that a port
costs the same whatever the number of others; only what a port may say in neighbour discovery is a chain of its own,
because nft compares no target address with a set. Nothing here touches another's table or knows of links and DHCP.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Interface

from backends.networks import nft, tables
from backends.networks.addresses import address6_of, gateway6, link_local_of
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
from backends.networks.tables import Chain, Hook, Rule, Set, Table, rule
from backends.networks.tunnels import PORT as TUNNEL_PORT
from backends.networks.tunnels import Underlay

PROVIDER_METADATA = "169.254.0.0/16"
PROVIDER_METADATA6 = "{ fd00:ec2::254, fd20:ce::254 }"
DHCPV6_SERVERS = "ff02::1:2"
BRIDGES = "01:80:c2:00:00:00-01:80:c2:00:00:0f"

_SETS = {
    "bridge": {
        "sources": Set(("ifname", "ether_addr")),
        "addresses": Set(("ifname", "ether_addr", "ipv4_addr")),
        "addresses6": Set(("ifname", "ether_addr", "ipv6_addr")),
        "discovery": Set(("ifname",), to_chains=True),
        "gateways": Set(("ifname",), to_chains=True),  # guests' that are the gateways of their own networks
        "served_outward": Set(("ifname",)),  # links that lead on from networks whose addresses the hosts give out
        "plain": Set(("ifname",)),
    },
    "inet": {
        "routed_bridges": Set(("ifname",)),
        "nat_bridges": Set(("ifname",)),
        "isolated_bridges": Set(("ifname",)),
        "same_bridge": Set(("ifname", "ifname")),
        "served_addresses": Set(("ifname", "ipv4_addr")),
        "served_addresses6": Set(("ifname", "ipv6_addr")),
        "gateway_addresses": Set(("ipv4_addr",)),  # the host's, on routed bridges
        "gateway_addresses6": Set(("ipv6_addr",)),
        "nat_sources": Set(("ipv4_addr",), more="flags interval;"),
        "nat_sources6": Set(("ipv6_addr",), more="flags interval;"),
    },
}

Elements = dict[str, list[str]]
"""By set, whose name is in one of the tables only."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the tables are about; `tunnel_network` is the hosts' own, `underlay` where this host is in it."""

    networks: Collection[NetworkSpec] = ()
    ports: Collection[Port] = ()
    tunnel_network: str = ""
    underlay: Underlay | None = None

    def __bool__(self) -> bool:
        return bool(self.networks or self.ports)


def table_name(cloud_tag: str) -> str:
    return f"altostratus_{cloud_tag}"


def network_elements(cloud_tag: str, spec: NetworkSpec) -> Elements:
    bridge = bridge_name(cloud_tag, spec.id)
    elements: Elements = {"same_bridge": [f"{bridge} . {bridge}"]}
    if spec.has_addresses:
        outward = [tunnel_name(cloud_tag, spec.id)] if spec.tunnel is not None else []
        outward += [vlan_link_names(cloud_tag, spec.id)[0]] if spec.vlan is not None else []
        elements["served_outward"] = outward
    if not spec.is_routed:
        return elements | {"isolated_bridges": [bridge]}
    elements["routed_bridges"] = [bridge]
    elements["nat_bridges"] = [bridge] if spec.nat else []
    if spec.cidr is not None:
        elements["served_addresses"] = [f"{bridge} . {spec.gateway}", f"{bridge} . 255.255.255.255"]
        elements["gateway_addresses"] = [str(spec.gateway)]
        elements["nat_sources"] = [spec.cidr] if spec.nat else []
    if spec.cidr6 is not None:
        elements["served_addresses6"] = [f"{bridge} . {address}" for address in (gateway6(spec.cidr6), DHCPV6_SERVERS)]
        elements["gateway_addresses6"] = [gateway6(spec.cidr6)]
        elements["nat_sources6"] = [spec.cidr6] if spec.nat and spec.masquerade6 else []
    return elements


def port_elements(cloud_tag: str, port: Port) -> Elements:
    tap, mac = tap_name(cloud_tag, port.id), port.mac.lower()
    elements: Elements = {"sources": [f"{tap} . {mac}"]}
    if port.address is None and port.address6 is None:
        return elements | {"plain": [tap]}
    if port.address is not None:
        elements["addresses"] = [f"{tap} . {mac} . {port.address}"]
    if port.routes is not None:
        elements["gateways"] = [f"{tap} : jump {_gateway_chain(tap)}"]
    if port.address6 is not None:
        elements["addresses6"] = [f"{tap} . {mac} . {address}" for address in addresses6(port)]
        elements["discovery"] = [f"{tap} : jump {_discovery_chain(tap)}"]
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
    return nft.run(_commands("add", cloud_tag, network_elements(cloud_tag, spec))) is None


def remove_network(cloud_tag: str, spec: NetworkSpec) -> bool:
    """Forgets it in one transaction, whether present or not; False when the tables aren't there."""
    return nft.run(_removal(cloud_tag, network_elements(cloud_tag, spec))) is None


def add_port(cloud_tag: str, port: Port) -> bool:
    """Lets it send, in one transaction; False when the tables aren't there or aren't what they were."""
    chains = tables.add(f"bridge {table_name(cloud_tag)}", {}, _port_chains(cloud_tag, port))
    return nft.run(chains + _commands("add", cloud_tag, port_elements(cloud_tag, port))) is None


def remove_port(cloud_tag: str, port: Port) -> bool:
    """Forgets it in one transaction, whether present or not; False when the tables aren't there."""
    chains = [f"chain bridge {table_name(cloud_tag)} {name}\n" for name in _port_chains(cloud_tag, port)]
    made = "".join(f"add {chain}" for chain in chains)
    ends = "".join(f"flush {chain}delete {chain}" for chain in chains)
    return nft.run(made + _removal(cloud_tag, port_elements(cloud_tag, port)) + ends) is None


def _removal(cloud_tag: str, elements: Elements) -> str:
    return "".join(_commands(verb, cloud_tag, elements) for verb in ("add", "delete"))


def _commands(verb: str, cloud_tag: str, elements: Elements) -> str:
    return "".join(
        tables.add_elements(
            f"{family} {table_name(cloud_tag)}",
            {name: members for name, members in elements.items() if name in sets},
            verb,
        )
        for family, sets in _SETS.items()
    )


def _discovery_chain(tap: str) -> str:
    return f"discovery_{tap}"


def _gateway_chain(tap: str) -> str:
    return f"gateway_{tap}"


def _port_chains(cloud_tag: str, port: Port) -> dict[str, Chain]:
    """What a port may say of itself, and for others if it is a gateway."""
    tap = tap_name(cloud_tag, port.id)
    chains = {} if port.address6 is None else {_discovery_chain(tap): _discovery(port)}
    if port.routes is not None:
        nobodys = "0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3"
        chains[_gateway_chain(tap)] = Chain(
            (
                rule(f"ip saddr {{ {port.routes} }} drop", "its neighbours' addresses"),
                rule(f"ip saddr != {{ {nobodys} }} accept", "what it carries on from beyond"),
            )
        )
    return chains


def _discovery(port: Port) -> Chain:
    """Of its addresses, its MAC address, with one option (RFC 4861 §4.3, §4.4).

    The target follows eight octets after the ICMPv6 header's start, the first option after the target.
    """
    targets = ", ".join(f"0x{int(IPv6Address(address)):032x}" for address in addresses6(port))
    target, option, option_mac = "@th,64,128", "@th,192,16", "@th,208,48"
    mac = f"0x{port.mac.lower().replace(':', '')}"
    return Chain(
        (
            rule("ip6 length > 32 drop", "more than one option"),
            rule(f"{option} {{ 0x0101, 0x0201 }} {option_mac} != {mac} drop", "another's MAC"),
            rule(f"icmpv6 type nd-neighbor-advert {target} != {{ {targets} }} drop", "another's address"),
            rule(
                f"ip6 saddr :: icmpv6 type nd-neighbor-solicit {target} {{ {targets} }} accept",
                "search for duplicates",
            ),
        )
    )


def restore(cloud_tag: str, guarded: Guarded, before: Guarded) -> list[str]:
    """Makes both tables what they should be, and says how they differed from what they were made as.

    At no moment is a guest unfiltered or cut off: what is as it should be is left alone.
    """
    told: list[str] = []
    for should, was in zip(_tables(cloud_tag, guarded), _tables(cloud_tag, before), strict=True):
        listing = nft.listed("list", "table", should.family, should.name)
        found = tables.found_in(should.family, should.name, listing)
        told += tables.faults(was, found) if before else []
        if guarded:
            tables.restore(should, found)
        elif found is not None:
            tables.remove(should)
    return told


def are_there(cloud_tag: str) -> bool:
    """Both tables, whatever is in them."""
    return all(tables.is_there(family, table_name(cloud_tag)) for family in _SETS)


def _tables(cloud_tag: str, guarded: Guarded) -> tuple[Table, Table]:
    elements: Elements = {}
    chains = {"bridge": _bridge_chains(cloud_tag), "inet": _inet_chains(guarded)}
    for spec in guarded.networks:
        for name, members in network_elements(cloud_tag, spec).items():
            elements.setdefault(name, []).extend(members)
    for port in guarded.ports:
        for name, members in port_elements(cloud_tag, port).items():
            elements.setdefault(name, []).extend(members)
        chains["bridge"] |= _port_chains(cloud_tag, port)
    bridge, inet = (
        Table(
            family,
            table_name(cloud_tag),
            {name: replace(one, elements=elements.get(name, ())) for name, one in _SETS[family].items()},
            chains[family],
        )
        for family in ("bridge", "inet")
    )
    return bridge, inet


def _bridge_chains(cloud_tag: str) -> dict[str, Chain]:
    return {
        "prerouting": Chain(
            (rule(f'iifname "{cloud_tag}{TAP}*" jump from_guest', "all that comes from a guest"),),
            Hook("filter", "prerouting", -200),
        ),
        "from_guest": Chain(
            (
                rule("iifname . ether saddr != @sources drop", "MAC not its own"),
                rule("iifname @plain accept", "network without addresses"),
                rule(
                    "ether type arp iifname . arp saddr ether . arp saddr ip @addresses accept",
                    "ARP with its own addresses",
                ),
                rule(
                    "ether type arp arp saddr ip 0.0.0.0 iifname . arp saddr ether @sources accept",
                    "ARP probe for duplicates",
                ),
                rule("ether type ip udp dport 68 drop", "DHCP server, whatever port it sends from"),
                rule(
                    "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
                    "DHCP client without an address",
                ),
                rule("ether type ip iifname . ether saddr . ip saddr @addresses accept", "IPv4 from its own address"),
                rule("ether type ip iifname vmap @gateways", "gateways, for those beyond"),
                rule("icmpv6 type { nd-router-advert, nd-redirect } drop", "router's advertisements and redirects"),
                rule("ether type ip6 udp dport 546 drop", "DHCPv6 server, whatever port it sends from"),
                rule(
                    "ip6 saddr fe80::/10 exthdr frag exists drop",
                    "fragments that could hide either (RFC 7113, RFC 6980)",
                ),
                rule(
                    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } iifname vmap @discovery",
                    "neighbour discovery by port",
                ),
                rule(
                    "ether type ip6 iifname . ether saddr . ip6 saddr @addresses6 accept",
                    "IPv6 from its own addresses",
                ),
                rule("drop", "anything else"),
            )
        ),
        "forward": Chain(_outward_rules(cloud_tag), Hook("filter", "forward", -200)),
        "output": Chain(
            tuple(
                rule(f"{outward} drop", f"the host's own, to {where}") for outward, where in _outward_links(cloud_tag)
            ),
            Hook("filter", "output", -200),
        ),
    }


def _outward_links(cloud_tag: str) -> list[tuple[str, str]]:
    return [
        (f'oifname "{cloud_tag}{kind}*"', where) for kind, where in ((TUNNEL, "other hosts"), (VLAN_LINK, "a VLAN"))
    ]


def _outward_rules(cloud_tag: str) -> tuple[Rule, ...]:
    """Each host is its guests' gateway and DHCP server itself: no other guest hears of it, nor do others' bridges.

    Where guests give out addresses themselves, or the VLAN's own servers do, everybody may ask them.
    """
    from_server = f'iifname "{cloud_tag}{DHCP_LINK}*"'
    return (
        rule("udp dport 67 oifname @served_outward drop", "DHCP requests, to elsewhere"),
        rule("udp dport 547 oifname @served_outward drop", "DHCPv6 requests, to elsewhere"),
        rule("icmpv6 type nd-router-solicit oifname @served_outward drop", "searches for routers, to elsewhere"),
        *(
            made
            for outward, where in _outward_links(cloud_tag)
            for made in (
                rule(f"{from_server} {outward} drop", f"the DHCP server's, to {where}"),
                rule(f"ether daddr {BRIDGES} {outward} drop", f"what bridges say, to {where}"),
            )
        ),
    )


def _inet_chains(guarded: Guarded) -> dict[str, Chain]:
    from_routed, from_isolated, to_nat = (
        "iifname @routed_bridges",
        "iifname @isolated_bridges",
        "oifname @nat_bridges",
    )
    served, served6 = "iifname . ip daddr @served_addresses", "iifname . ip6 daddr @served_addresses6"
    dns = "meta l4proto { tcp, udp } th dport 53"
    to_server = "meta l4proto { tcp, udp } th dport { 53, 67, 547 } iifname != lo"
    tunnels, hosts = _underlay_rules(guarded.tunnel_network, guarded.underlay)
    outward = "oifname != @nat_bridges oifname != lo masquerade"
    return {
        "untracked": Chain(
            (rule(f"{from_isolated} notrack", "overlapping subnets share no connections"),),
            Hook("filter", "prerouting", -300),
        ),
        "input": Chain(
            (
                *tunnels,
                rule(f"{from_isolated} drop", "the host isn't on isolated networks"),
                rule(f"{from_routed} ct state established,related accept", "answers to the host"),
                rule(f"{from_routed} udp sport 68 udp dport 67 {served} accept", "DHCP requests"),
                rule(f"{from_routed} {dns} {served} accept", "DNS queries"),
                rule(f"{from_routed} icmp type echo-request {served} accept", "echo requests"),
                rule(
                    f"{from_routed} icmpv6 type "
                    "{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept",
                    "neighbour discovery",
                ),
                rule(f"{from_routed} udp sport 546 udp dport 547 {served6} accept", "DHCPv6 requests"),
                rule(f"{from_routed} {dns} {served6} accept", "DNS queries over IPv6"),
                rule(f"{from_routed} icmpv6 type echo-request {served6} accept", "echo requests over IPv6"),
                rule(f"{from_routed} drop", "nothing else of the host"),
                # dnsmasq binds the address, which the kernel takes packets to from any link.
                rule(f"{to_server} ip daddr @gateway_addresses drop", "guests' DNS and DHCP, from elsewhere"),
                rule(f"{to_server} ip6 daddr @gateway_addresses6 drop", "guests' DNS and DHCPv6, from elsewhere"),
            ),
            Hook("filter", "input", 0),
        ),
        "forward": Chain(
            (
                *hosts,
                rule("iifname . oifname @same_bridge accept", "within a bridge"),
                rule(f"{from_isolated} drop", "out of an isolated network"),
                rule("oifname @isolated_bridges drop", "into an isolated network"),
                rule(f"ip daddr {PROVIDER_METADATA} {from_routed} drop", "metadata of the host's provider"),
                rule(f"ip6 daddr {PROVIDER_METADATA6} {from_routed} drop", "metadata of the host's provider over IPv6"),
                rule(f"{to_nat} ct state established,related accept", "answers from outside"),
                rule(f"{to_nat} drop", "anything else from outside"),
            ),
            Hook("filter", "forward", 0),
        ),
        "postrouting": Chain(
            (
                rule(f"ip saddr @nat_sources {outward}", "guests appear as the host"),
                rule(f"ip6 saddr @nat_sources6 {outward}", "guests appear as the host over IPv6"),
            ),
            Hook("nat", "postrouting", 100),
        ),
    }


def _underlay_rules(network: str, underlay: Underlay | None) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """Frames of tunnels come from the hosts' own network by its own link: the kernel takes them at any address.

    Nor does the host carry such frames on from elsewhere: the others would take them for its own.
    """
    if not network:
        return (), ()
    at_port = f"udp dport {TUNNEL_PORT}"
    let_in: tuple[Rule, ...] = ()
    if underlay is not None:
        from_hosts = f'iifname "{underlay.link}" ip saddr {network} ip daddr {underlay.address}'
        let_in = (rule(f"{from_hosts} {at_port} accept", "tunnels of the other hosts"),)
    return (
        (*let_in, rule(f"{at_port} drop", "tunnels from elsewhere")),
        (
            rule(f"ip daddr {network} {at_port} drop", "tunnels from elsewhere, to other hosts"),
            rule(f"ip daddr {network} iifname @routed_bridges drop", "guests among the hosts"),
        ),
    )
