"""The door to networks: the shared one, seen by all and changed by none, and the projects' own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict
from uuid import UUID, uuid4

from backends.cloud.door import Door, check_range, check_text
from backends.errors import Conflict, Invalid, NotAllowed, NotApplicable
from backends.jobs import Kind
from backends.model import EVERYTHING, NO_FILTER, Allocation, Filter, LinkState, Network, NetworkClass, NewNetwork, Page
from backends.networks.addresses import check_host_address, parse_subnet, parse_subnet6
from backends.networks.spec import LAST_VLAN
from backends.placement import PLACEMENT_LOCK, not_offered, settle_network
from backends.states import NETWORK_ACTIONS, NETWORK_TARGETS
from backends.store.database import Connection
from backends.store.rows import NETWORKS


class NetworkChanges(TypedDict, total=False):
    """cidr, cidr6, gateway, allocation and vlan can't change while addresses are used or reserved (`Conflict`)."""

    title: str | None
    summary: str | None
    label: str | None
    vlan: int | None
    cidr: str | None
    gateway: str | None
    allocation: Allocation
    cidr6: str | None
    network_class: NetworkClass | None


CHECKED = ("title", "summary", "label", "vlan", "cidr", "gateway", "cidr6", "allocation")


class NetworkDoor(Door):
    """A project's own network is isolated from all others."""

    def networks(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[Network]:
        return self._many(NETWORKS, where, page)

    def network_ids(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[UUID]:
        return self._identities(NETWORKS, where, page)

    def network(self, network_id: UUID) -> Network:
        return self._one(NETWORKS, network_id)

    def create_network(self, new: NewNetwork) -> Network:
        network_id = new.id or uuid4()
        _check(new.title, new.summary, new.label, new.vlan, new.cidr, new.gateway, new.cidr6, new.allocation)
        _refuse_class(new.network_class)
        with self._change() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [PLACEMENT_LOCK])
            self._check_vlan_free(connection, new.vlan, network_id)
            self._insert(
                connection,
                "network",
                {
                    "id": network_id,
                    "project_id": self._caller.project_id,
                    "title": new.title,
                    "summary": new.summary,
                    "label": new.label,
                    "vlan": new.vlan,
                    "cidr": new.cidr,
                    "gateway": new.gateway,
                    "cidr6": new.cidr6,
                    "allocation": new.allocation.value,
                },
            )
            self._check_vlan_offered(connection, new.vlan, network_id)
            host = settle_network(connection, network_id)
            self._tag_new(connection, new.tag_ids, network_id)
            self._converge(connection, host, Kind.NETWORK, network_id)
            return self.network(network_id)

    def update_network(self, network_id: UUID, changes: NetworkChanges) -> Network:
        with self._change() as connection:
            if changes.get("vlan") is not None:  # before the row, as placement does
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [PLACEMENT_LOCK])
            network = self._own(network_id)
            _refuse_class(changes.get("network_class"))
            if changes.get("vlan") not in (None, network.vlan):
                self._check_vlan_free(connection, changes.get("vlan"), network_id)
            values: dict[str, object] = {
                name: value for name, value in changes.items() if getattr(network, name) != value
            }
            final = {name: getattr(network, name) for name in CHECKED}
            _check(**(final | {name: value for name, value in values.items() if name in final}))
            topology = values.keys() & {"vlan", "cidr", "cidr6", "gateway", "allocation"}
            if topology and (use := self._use(connection, network_id)):
                raise Conflict(f"{', '.join(sorted(topology))} can't change while the network is in use: {use}")
            self._update(connection, "network", network_id, values)
            if "vlan" in values:
                self._check_vlan_offered(connection, changes.get("vlan"), network_id)
            if values:
                self._converge_network(connection, network_id)
            return self.network(network_id)

    def delete_network(self, network_id: UUID) -> None:
        """`Conflict` while machines are on it or addresses of it are reserved; `NotAllowed` for the site's own."""
        with self._change() as connection:
            self._own(network_id)
            if use := self._use(connection, network_id):
                raise Conflict(f"the network {network_id} is in use: {use}")
            self._update(connection, "network", network_id, {"deleting": True})
            self._converge_network(connection, network_id)

    def network_up(self, network_id: UUID) -> Network:
        return self._network_action(network_id, "up")

    def network_down(self, network_id: UUID) -> Network:
        """It carries no traffic, but keeps its configuration and interfaces."""
        return self._network_action(network_id, "down")

    def _network_action(self, network_id: UUID, action: str) -> Network:
        with self._change() as connection:
            network = self._own(network_id)
            if action not in NETWORK_ACTIONS[network.state] + NETWORK_ACTIONS[network.wanted]:
                raise NotApplicable(
                    f"{action} does not apply to the network {network_id}, which is {network.state}; what applies"
                    f" is {', '.join(NETWORK_ACTIONS[network.state])}"
                )
            self._update(connection, "network", network_id, {"wanted": NETWORK_TARGETS[action].value})
            self._converge_network(connection, network_id)
            return self.network(network_id)

    def _own(self, network_id: UUID) -> Network:
        network = self._one(NETWORKS, network_id, lock=True)
        if network.shared:
            raise NotAllowed(f"the network {network_id} is the cloud's own, shared by all: it can't be changed")
        return network

    def _check_vlan_free(self, connection: Connection, vlan: int | None, network_id: UUID) -> None:
        """The placement lock must be held: a VLAN carries one network, whoever's it is."""
        if vlan is None or not 0 < vlan <= LAST_VLAN:
            return
        if connection.execute("SELECT 1 FROM network WHERE vlan = %s AND id <> %s", [vlan, network_id]).fetchone():
            raise Conflict(f"the VLAN {vlan} is another network's")

    @staticmethod
    def _check_vlan_offered(connection: Connection, vlan: int | None, network_id: UUID) -> None:
        """Else it would be held by a network that no host can make. A cloud without hosts is yet to get them."""
        has_hosts = connection.execute("SELECT FROM host LIMIT 1").fetchone() is not None
        if vlan and has_hosts and not_offered(connection, [network_id], None):
            raise Conflict(f"no host of the site has the VLAN {vlan} for users")

    def _use(self, connection: Connection, network_id: UUID) -> str:
        """By what it is used, in words; empty if by nothing."""
        used = connection.execute(
            "SELECT 1 FROM interface i JOIN machine m ON m.id = i.machine_id"
            " WHERE i.network_id = %s AND NOT i.deleting AND NOT m.deleting LIMIT 1",
            [network_id],
        ).fetchone()
        if used is not None:
            return "computes have interfaces on it"
        reserved = connection.execute(
            "SELECT id FROM reservation WHERE network_id = %s LIMIT 1", [network_id]
        ).fetchone()
        return "" if reserved is None else f"addresses of it are reserved, such as by the IP reservation {reserved[0]}"

    def _converge_network(self, connection: Connection, network_id: UUID) -> None:
        row = connection.execute("SELECT host, deleting FROM network WHERE id = %s", [network_id]).fetchone()
        if row is None:
            return
        if row[0] is None and row[1]:
            connection.execute("DELETE FROM tagging WHERE resource_id = %s", [network_id])
            connection.execute("DELETE FROM network WHERE id = %s", [network_id])
            return
        if row[0] is None:
            state = connection.execute("SELECT wanted FROM network WHERE id = %s", [network_id]).fetchone()
            if state is not None and state[0] == LinkState.INACTIVE:
                connection.execute("UPDATE network SET state = 'inactive' WHERE id = %s", [network_id])
        for host in {row[0], *self._hosts_with_machines_on(connection, network_id)}:
            self._converge(connection, host, Kind.NETWORK, network_id)

    @staticmethod
    def _hosts_with_machines_on(connection: Connection, network_id: UUID) -> set[str | None]:
        rows = connection.execute(
            "SELECT DISTINCT m.host FROM interface i JOIN machine m ON m.id = i.machine_id WHERE i.network_id = %s",
            [network_id],
        )
        return {row[0] for row in rows}


def _refuse_class(network_class: NetworkClass | None) -> None:
    if network_class is not None:
        raise NotAllowed(f"{network_class.value} networks are the site's own: its settings make them")


def _check(
    title: str | None,
    summary: str | None,
    label: str | None,
    vlan: int | None,
    cidr: str | None,
    gateway: str | None,
    cidr6: str | None,
    allocation: Allocation,
) -> None:
    check_text("the title", title)
    check_text("the summary", summary, 8192)
    check_text("the label", label, 255)
    if vlan is not None:
        check_range("the VLAN", vlan, 0, 4095)
    if cidr6 is not None:
        parse_subnet6(cidr6)
    if cidr is not None:
        subnet = parse_subnet(cidr)
        if gateway is not None:
            check_host_address(gateway, subnet)
    elif allocation is Allocation.STATIC and cidr6 is None:
        raise Invalid("the allocation is static, but the network has no address range to choose from")
    elif gateway is not None:
        raise Invalid(f"the gateway is {gateway}, but the network has no address range for it to be in")
