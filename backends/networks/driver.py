"""The networks of one cloud on this host: what should be is passed in, and made so as often as asked.

Everything is idempotent, and may be cut off at any point and done again. Nothing without the cloud's tag is
touched. The firewall comes before links and links before DHCP, so that nothing is ever open too early.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from uuid import UUID

from backends.errors import CloudError
from backends.networks import dhcp, firewall, links, nft, records, routes, trunk, tunnels
from backends.networks.addresses import (
    dhcp_address,
    dhcp_address6,
    gateway6,
    mac_of_network,
    parse_subnet,
    parse_subnet6,
)
from backends.networks.errors import NameClashError, NetworkDriverError
from backends.networks.spec import (
    NetworkSpec,
    Port,
    Wiring,
    as_on,
    bridge_name,
    check_cloud_tag,
    check_network,
    check_port,
    dhcp_link_name,
    namespace_name,
    own_link_pattern,
    own_tap_pattern,
    tap_name,
    trunk_name,
    tunnel_name,
    vlan_link_names,
)


@dataclass(frozen=True, slots=True)
class Restored:
    """What `Networks.restore` found: faults put right, and networks and ports that couldn't be made."""

    repaired: tuple[str, ...]
    failed: dict[UUID, str]


NO_WIRING = Wiring()


class Networks:
    """The driver. `folder` holds records, configurations and leases; dnsmasq's user must be able to enter."""

    def __init__(self, cloud_tag: str, folder: Path, wiring: Wiring = NO_WIRING) -> None:
        check_cloud_tag(cloud_tag)
        self._wiring = wiring
        self._tag = cloud_tag
        self._folder = folder.absolute()
        self._lock = threading.RLock()

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Nobody else in this process changes the host's networks meanwhile."""
        with self._lock:
            yield

    def lacks(self) -> list[str]:
        """What this host can't do, a sentence each."""
        with self._changing():
            lacking = [] if links.has_ipv6() else ["The kernel has no IPv6: networks with IPv6 addresses are refused."]
            if not self.can_filter_vlans():
                lacking.append("The kernel has no VLAN filtering in bridges: networks with a VLAN are refused.")
            if (refusal := nft.refusal()) is not None:
                lacking.append(f"nftables can't be used: no network can be made, and iptables is no way out. {refusal}")
            return lacking

    def can_filter_vlans(self) -> bool:
        """Whether networks with a VLAN can be here."""
        with self._changing():
            return trunk.can_filter_vlans(f"{self._tag}probe")

    @property
    def tunnel_address(self) -> str | None:
        """This host's end of tunnels; None where there are none."""
        underlay = self._underlay()
        return None if underlay is None else underlay.address

    def bridge_name(self, network_id: UUID) -> str:
        """What a domain's `<source bridge=…>` says."""
        return bridge_name(self._tag, network_id)

    def tap_name(self, interface_id: UUID) -> str:
        """What a domain's `<target dev=…>` says."""
        return tap_name(self._tag, interface_id)

    def ensure_network(self, spec: NetworkSpec) -> None:
        check_network(spec)
        with self._changing():
            self._ensure_filtered_network(spec)
            self._ensure_links(spec)
            self._publish(spec)
            self._ensure_dhcp(spec)

    def ensure_port(self, spec: NetworkSpec, port: Port) -> None:
        """All that must be in place before the tap is; a tap that is there already joins its bridge."""
        check_network(spec)
        check_port(spec, port)
        port = as_on(spec, port)
        with self._changing():
            self._ensure_filtered_port(port)
            ended = self._end_former_leases(spec, [port])
            self._ensure_reservation(spec, port)
            if ended:
                self._ensure_dhcp(spec)
            self._publish(spec)
            links.ensure_attached(self.tap_name(port.id), self.bridge_name(spec.id))

    def absent_port(self, interface_id: UUID) -> None:
        """The tap, if it is still there, passes nothing from now on."""
        with self._changing():
            self._remove_port(self.tap_name(interface_id))

    def absent_network(self, network_id: UUID) -> None:
        with self._changing():
            self._remove_network(network_id)

    def networks(self) -> set[UUID]:
        """The networks of which something is here, even unfinished."""
        with self._lock:
            return set(records.network_ids(self._folder))

    def ports(self) -> set[UUID]:
        """The interfaces that may send through a tap, whether or not the tap exists."""
        with self._lock:
            return {port.id for port in records.ports(self._folder)}

    def port(self, interface_id: UUID) -> Port | None:
        """What the interface has been made as, if it has."""
        found = records.read_port(self._folder, self.tap_name(interface_id))
        return found if found is not None and found.id == interface_id else None

    def taps(self) -> set[str]:
        """The taps of this cloud's machines that are there."""
        pattern = own_tap_pattern(self._tag)
        return {found.name for found in links.links() if pattern.fullmatch(found.name)}

    def restore(self, networks: Collection[NetworkSpec], ports: Collection[Port]) -> Restored:
        """Makes everything what it should be and removes whatever of this cloud isn't listed.

        A fault is what differs from what has been made before: making what is new is no repair. One network or
        port that can't be made doesn't keep the others from it, and stays what it has been made as.
        """
        with self._changing():
            repaired: list[str] = []
            failed: dict[UUID, str] = {}
            specs = self._acceptable_networks(networks, failed)
            wanted = self._acceptable_ports(ports, specs, failed)
            made = {spec.id: spec for spec in records.networks(self._folder)}
            made_ports = {port.id: port for port in records.ports(self._folder)}
            for spec in specs.values():
                records.write_network(self._folder, spec)
            for tap, port in wanted.items():
                records.write_port(self._folder, tap, port)
            guarded = self._guarded(
                [*specs.values(), *(spec for spec in made.values() if spec.id in failed)],
                [*wanted.values(), *(port for port in made_ports.values() if port.id in failed)],
            )
            before = self._guarded(made.values(), made_ports.values())
            repaired += firewall.restore(self._tag, guarded, before)
            repaired += self._remove_unlisted({spec.id for spec in networks}, {port.id for port in ports})
            records.remove_unfinished(self._folder)
            members: dict[UUID, list[Port]] = {spec.id: [] for spec in specs.values()}
            for port in wanted.values():
                members[port.network_id].append(port)
            for spec in specs.values():
                try:
                    faults = self._ensure_links(spec)
                    faults += self._publish(spec)
                    faults += self._restore_reservations(spec, members[spec.id], made_ports)
                    faults += self._ensure_dhcp(spec)
                    repaired += faults if made.get(spec.id) == spec else []
                except (NetworkDriverError, OSError) as failure:
                    failed[spec.id] = str(failure)
            repaired += self._reattach(wanted)
            return Restored(tuple(repaired), failed)

    def is_ours(self, name: str) -> bool:
        """Whether a link of a network, or a table, that is called so is this cloud's."""
        return bool(own_link_pattern(self._tag).fullmatch(name)) or name.startswith(firewall.table_name(self._tag))

    def has_lost(self) -> bool:
        """Whether a table or a bridge that has been made is gone."""
        with self._changing():
            made = self.networks()
            bridges_lost = any(not links.is_there(self.bridge_name(network_id)) for network_id in made)
            return bridges_lost or bool(made and not firewall.are_there(self._tag))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except OSError as failure:
                raise NetworkDriverError(f"The host's networks couldn't be changed: {failure}.") from failure

    # Firewall and records

    def _ensure_filtered_network(self, spec: NetworkSpec) -> None:
        _refuse_overlap(spec, records.networks(self._folder))
        old = records.read_network(self._folder, spec.id)
        if old is not None and old != spec:
            self._unfilter(firewall.remove_network(self._tag, old), without=spec.id)
        records.write_network(self._folder, spec)
        self._filter(firewall.add_network(self._tag, spec))

    def _ensure_filtered_port(self, port: Port) -> None:
        tap = self.tap_name(port.id)
        old = records.read_port(self._folder, tap)
        if old is not None and old.id != port.id:
            raise NameClashError(
                f"Interfaces {old.id} and {port.id} both come out as tap {tap}; make one of them anew."
            )
        if old is not None and old != port:
            self._unfilter(firewall.remove_port(self._tag, old), without=port.id)
            if old.network_id != port.network_id:
                dhcp.withdraw(self._network_folder(old.network_id), [tap])
        records.write_port(self._folder, tap, port)
        self._filter(firewall.add_port(self._tag, port))

    def _filter(self, done: bool) -> None:
        """When somebody has flushed the tables, makes them anew from the records."""
        if not done:
            self._replace_tables(without=None)

    def _unfilter(self, done: bool, without: UUID) -> None:
        if not done:
            self._replace_tables(without=without)

    def _replace_tables(self, without: UUID | None) -> None:
        networks = [spec for spec in records.networks(self._folder) if spec.id != without]
        ports = [port for port in records.ports(self._folder) if port.id != without]
        firewall.restore(self._tag, self._guarded(networks, ports), firewall.Guarded())

    def _guarded(self, networks: Collection[NetworkSpec], ports: Collection[Port]) -> firewall.Guarded:
        try:
            underlay = self._underlay()
        except NetworkDriverError:
            underlay = None  # its networks say so; meanwhile nothing comes in by tunnels
        return firewall.Guarded(networks, ports, self._wiring.tunnel_network, underlay)

    def _underlay(self) -> tunnels.Underlay | None:
        """The host's own end of tunnels; None where there are none."""
        network = self._wiring.tunnel_network
        return tunnels.underlay_in(IPv4Network(network)) if network else None

    def _remove_port(self, tap: str) -> None:
        port = records.read_port(self._folder, tap)
        if port is not None:
            self._unfilter(firewall.remove_port(self._tag, port), without=port.id)
            dhcp.withdraw(self._network_folder(port.network_id), [tap])
        records.remove_port(self._folder, tap)
        spec = None if port is None else records.read_network(self._folder, port.network_id)
        if spec is not None and links.link(self.bridge_name(spec.id)) is not None:
            self._publish(spec)

    def _remove_network(self, network_id: UUID) -> None:
        spec = records.read_network(self._folder, network_id)
        dhcp.stop(self._network_folder(network_id))
        self._remove_links(network_id)
        if spec is not None:
            self._unfilter(firewall.remove_network(self._tag, spec), without=spec.id)
        self._dismantle_network(network_id)
        if not self.networks() and not self.ports():
            firewall.restore(self._tag, firewall.Guarded(), firewall.Guarded())

    def _dismantle_network(self, network_id: UUID) -> None:
        """Removes what isn't the firewall's; the record goes last, so that nothing unfinished is lost."""
        dhcp.stop(self._network_folder(network_id))
        self._remove_links(network_id)
        records.remove_network(self._folder, network_id)

    # Links

    def _ensure_links(self, spec: NetworkSpec) -> list[str]:
        bridge, alias = self.bridge_name(spec.id), self._alias(spec.id)
        for subnet in _routed_subnets(spec):
            for other in links.overlapping_links(subnet):
                if other not in (bridge, self._wiring.public_uplink if spec.public else bridge):
                    raise NetworkDriverError(f"Subnet {subnet} of network {spec.id} is in use on the host's {other}.")
        wrong: list[str] = []
        if spec.is_routed:
            wrong += links.ensure_forwarding()
        if spec.is_routed and spec.cidr6 is not None:
            wrong += links.ensure_forwarding6()
        addresses = _host_addresses(spec)
        own = addresses if spec.is_routed else ()
        wrong += links.ensure_bridge(
            links.Bridge(bridge, alias, mac_of_network(spec.id), own, spec.up, not spec.public)
        )
        wrong += self._ensure_vlan(spec)
        wrong += self._ensure_tunnel(spec)
        if spec.is_routed or not addresses:
            return wrong
        outer = dhcp_link_name(self._tag, spec.id)
        wrong += links.ensure_namespace(namespace_name(self._tag, spec.id), outer, alias, addresses)
        return wrong + links.ensure_attached(outer, bridge)

    def _ensure_vlan(self, spec: NetworkSpec) -> list[str]:
        uplink, bridge = self._wiring.vlan_uplink, self.bridge_name(spec.id)
        ends = vlan_link_names(self._tag, spec.id)
        if spec.vlan is None:
            if not links.absent(ends[0]):
                return []
            trunk.release(trunk_name(self._tag), uplink, self._vlans(without=spec.id))
            return [f"Network {spec.id} was in a VLAN."]
        if not uplink or not any(first <= spec.vlan <= last for first, last in self._wiring.vlans):
            raise NetworkDriverError(
                f"VLAN {spec.vlan} is not for users on this host: the settings vlan_uplink and vlans say which are."
            )
        for other in records.networks(self._folder):
            is_there = links.link(vlan_link_names(self._tag, other.id)[0]) is not None
            if other.vlan == spec.vlan and other.id != spec.id and is_there:
                raise NetworkDriverError(f"VLAN {spec.vlan} is that of another network.")
        name = trunk_name(self._tag)
        wrong = trunk.ensure_trunk(name, f"altostratus {self._tag} VLANs", uplink)
        taken = self._vlans(without=None)
        return wrong + trunk.ensure_access(name, uplink, bridge, ends, self._alias(spec.id), spec.vlan, taken)

    def _vlans(self, without: UUID | None) -> set[int]:
        """Of all networks that are or are being made, but for those that this host refuses."""
        allowed = [range(first, last + 1) for first, last in self._wiring.vlans]
        return {
            spec.vlan
            for spec in records.networks(self._folder)
            if spec.vlan is not None and spec.id != without and any(spec.vlan in each for each in allowed)
        }

    def _ensure_tunnel(self, spec: NetworkSpec) -> list[str]:
        name = tunnel_name(self._tag, spec.id)
        underlay = None if spec.tunnel is None else self._underlay()
        if spec.tunnel is None or underlay is None:
            return [f"Network {spec.id} had a tunnel."] if links.absent(name) else []
        return tunnels.ensure_tunnel(name, self._alias(spec.id), self.bridge_name(spec.id), spec.tunnel, underlay)

    def _publish(self, spec: NetworkSpec) -> list[str]:
        """Has the addresses of a public network's ports answered for outside."""
        if not spec.public:
            return []
        if not self._wiring.public_uplink:
            raise NetworkDriverError("This host has no public addresses: the setting public_uplink names no link.")
        ports = [port for port in records.ports(self._folder) if port.network_id == spec.id]
        addresses = {address for port in ports for address in (port.address, *firewall.addresses6(port)[1:]) if address}
        return routes.ensure_published(
            self.bridge_name(spec.id), self._wiring.public_uplink, _routed_subnets(spec), addresses
        )

    def _remove_links(self, network_id: UUID) -> None:
        spec = records.read_network(self._folder, network_id)
        if spec is not None and spec.public:
            routes.withdraw(self._wiring.public_uplink, _routed_subnets(spec))
        for name in (
            dhcp_link_name(self._tag, network_id),
            tunnel_name(self._tag, network_id),
            vlan_link_names(self._tag, network_id)[0],
            self.bridge_name(network_id),
        ):
            found = links.link(name)
            if found is not None and (not found.alias or found.alias.startswith(self._alias(network_id))):
                links.absent(name)
        links.absent_namespace(namespace_name(self._tag, network_id))
        if spec is not None and spec.vlan is not None:
            trunk.release(trunk_name(self._tag), self._wiring.vlan_uplink, self._vlans(without=network_id))

    def _alias(self, network_id: UUID) -> str:
        return f"altostratus {self._tag} network {network_id}"

    def _reattach(self, ports: dict[str, Port]) -> list[str]:
        wrong: list[str] = []
        present = {found.name: found for found in links.links()}
        for tap, port in ports.items():
            bridge = present.get(self.bridge_name(port.network_id))
            if tap in present and bridge is not None and present[tap].master != bridge.index:
                wrong += links.ensure_attached(tap, bridge.name)
        return wrong

    # DHCP

    def _network_folder(self, network_id: UUID) -> Path:
        return records.network_folder(self._folder, network_id)

    def _ensure_dhcp(self, spec: NetworkSpec) -> list[str]:
        folder = self._network_folder(spec.id)
        if not spec.has_addresses or not spec.up:
            return [f"A DHCP server ran on network {spec.id}."] if dhcp.stop(folder) else []
        return dhcp.ensure_running(self._dhcp_server(spec))

    def _dhcp_server(self, spec: NetworkSpec) -> dhcp.DhcpServer:
        link = links.link(self.bridge_name(spec.id) if spec.is_routed else dhcp_link_name(self._tag, spec.id))
        if link is None:
            raise NetworkDriverError(f"Network {spec.id} has no link for its DHCP server.")
        namespace = None if spec.is_routed else links.NAMESPACES / namespace_name(self._tag, spec.id)
        return dhcp.DhcpServer(
            folder=self._network_folder(spec.id),
            cidr=spec.cidr,
            link=link.name if spec.is_routed else links.INNER_LINK,
            address=spec.gateway if spec.is_routed else None,
            router=spec.gateway,
            names=spec.is_routed,
            namespace=namespace,
            generation=f"link {link.index} {link.name}",
            cidr6=spec.cidr6,
            address6=gateway6(spec.cidr6) if spec.cidr6 is not None else None,
            routes6=spec.is_routed,
            is_on_link=not spec.public,
            mtu=self._mtu(spec),
        )

    def _mtu(self, spec: NetworkSpec) -> int | None:
        underlay = None if spec.tunnel is None else self._underlay()
        return None if underlay is None else underlay.mtu

    def _ensure_reservation(self, spec: NetworkSpec, port: Port) -> bool:
        addresses = [address for address in (port.address, port.address6) if address is not None]
        if not addresses:
            return False
        folder, mac = self._network_folder(spec.id), port.mac.lower()
        hostname = port.hostname.partition(".")[0].lower() if port.hostname else None
        return dhcp.reserve(folder, self.tap_name(port.id), mac, addresses, hostname, is_router=port.routes is not None)

    def _end_former_leases(self, spec: NetworkSpec, ports: Collection[Port]) -> bool:
        """Lets the ports have their addresses although others' leases last; stops the server if so.

        Before the reservations are made: an IPv6 address that is leased and not yet reserved is somebody else's.
        """
        folder = self._network_folder(spec.id)
        leases, leases6 = dhcp.leases(folder), dhcp.leases6(folder)
        ended = {
            port.address
            for port in ports
            if port.address and leases.get(port.address, port.mac.lower()) != port.mac.lower()
        }
        ended |= {
            port.address6
            for port in ports
            if port.address6 in leases6 and not dhcp.is_reserved(folder, self.tap_name(port.id), port.address6)
        }
        if ended:
            dhcp.forget_leases(folder, ended)
        return bool(ended)

    def _restore_reservations(self, spec: NetworkSpec, ports: list[Port], made: dict[UUID, Port]) -> list[str]:
        folder = self._network_folder(spec.id)
        wrong: list[str] = []
        if self._end_former_leases(spec, ports):
            wrong.append(f"Former leases stood in the way on network {spec.id}.")
        wrong += [
            f"The reservation of {port.address or port.address6} for interface {port.id} was missing."
            for port in ports
            if self._ensure_reservation(spec, port) and made.get(port.id) == port
        ]
        strays = dhcp.reserved(folder) - {self.tap_name(port.id) for port in ports}
        dhcp.withdraw(folder, strays)
        wrong += [f"Tap {stray} had a reservation too many." for stray in sorted(strays)]
        return wrong

    # Restoring

    def _acceptable_networks(
        self, networks: Collection[NetworkSpec], failed: dict[UUID, str]
    ) -> dict[str, NetworkSpec]:
        accepted: dict[str, NetworkSpec] = {}
        for spec in networks:
            bridge = self.bridge_name(spec.id)
            try:
                check_network(spec)
                _refuse_overlap(spec, accepted.values())
                if bridge in accepted:
                    raise NameClashError(
                        f"Networks {accepted[bridge].id} and {spec.id} both come out as bridge {bridge}."
                    )
            except CloudError as failure:
                failed[spec.id] = failure.message
            else:
                accepted[bridge] = spec
        return accepted

    def _acceptable_ports(
        self, ports: Collection[Port], networks: dict[str, NetworkSpec], failed: dict[UUID, str]
    ) -> dict[str, Port]:
        accepted: dict[str, Port] = {}
        for port in ports:
            tap, spec = self.tap_name(port.id), networks.get(self.bridge_name(port.network_id))
            try:
                if spec is None:
                    raise NetworkDriverError(f"Interface {port.id} is on network {port.network_id}, which isn't here.")
                check_port(spec, port)
                if tap in accepted:
                    raise NameClashError(f"Interfaces {accepted[tap].id} and {port.id} both come out as tap {tap}.")
            except CloudError as failure:
                failed[port.id] = failure.message
            else:
                accepted[tap] = as_on(spec, port)
        return accepted

    def _remove_unlisted(self, wanted: set[UUID], wanted_ports: set[UUID]) -> list[str]:
        wrong: list[str] = []
        for port in list(records.ports(self._folder)):
            if port.id not in wanted_ports:
                records.remove_port(self._folder, self.tap_name(port.id))
                wrong.append(f"Interface {port.id} was left over.")
        for network_id in self.networks() - wanted:
            self._dismantle_network(network_id)
            wrong.append(f"Network {network_id} was left over.")
        for process in dhcp.all_running(self._folder / "networks"):
            if process.configuration.parent not in {self._network_folder(network_id) for network_id in wanted}:
                dhcp.terminate(process)
                wrong.append(f"DHCP server {process.id} was left over.")
        return wrong + self._remove_unlisted_links(wanted)

    def _remove_unlisted_links(self, wanted: set[UUID]) -> list[str]:
        wrong: list[str] = []
        names = {bridge_name(self._tag, network_id) for network_id in wanted}
        names |= {dhcp_link_name(self._tag, network_id) for network_id in wanted}
        names |= {tunnel_name(self._tag, network_id) for network_id in wanted}
        names |= {name for network_id in wanted for name in vlan_link_names(self._tag, network_id)}
        pattern, alias = own_link_pattern(self._tag), f"altostratus {self._tag} "
        for found in links.links():
            if pattern.fullmatch(found.name) and found.name not in names and found.alias.startswith(alias):
                links.absent(found.name)
                wrong.append(f"Link {found.name} was left over.")
        spaces = {namespace_name(self._tag, network_id) for network_id in wanted}
        for name in links.namespaces():
            if re.fullmatch(rf"{self._tag}-[0-9a-f-]{{36}}", name) and name not in spaces:
                links.absent_namespace(name)
                wrong.append(f"Network namespace {name} was left over.")
        return wrong


def _refuse_overlap(spec: NetworkSpec, others: Iterable[NetworkSpec]) -> None:
    """Networks with NAT share the host's routes; isolated ones may have what subnets they like."""
    own = _routed_subnets(spec)
    for other in others:
        for subnet in _routed_subnets(other) if other.id != spec.id else []:
            if any(links.overlap(subnet, mine) for mine in own):
                raise NetworkDriverError(f"Subnet {subnet} of network {other.id} overlaps that of network {spec.id}.")


def _routed_subnets(spec: NetworkSpec) -> list[IPv4Network | IPv6Network]:
    """The subnets that the host has routes to."""
    if not spec.is_routed:
        return []
    own: list[IPv4Network | IPv6Network] = [] if spec.cidr is None else [parse_subnet(spec.cidr)]
    return own if spec.cidr6 is None else [*own, parse_subnet6(spec.cidr6)]


def _host_addresses(spec: NetworkSpec) -> tuple[str, ...]:
    """The addresses, with prefix lengths, of the host or of the network's own DHCP server."""
    addresses = []
    if spec.cidr is not None:
        own = spec.gateway if spec.is_routed else dhcp_address(spec.cidr, spec.gateway)
        addresses.append(f"{own}/{spec.cidr.partition('/')[2]}")
    if spec.cidr6 is not None:
        own6 = gateway6(spec.cidr6) if spec.is_routed else dhcp_address6(spec.cidr6)
        addresses.append(f"{own6}/{spec.cidr6.partition('/')[2]}")
    return tuple(addresses)
