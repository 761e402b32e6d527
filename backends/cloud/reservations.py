"""The door to reserved addresses: a project keeps them, and gives them to one machine after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict
from uuid import UUID, uuid4

from backends.cloud.addresses import chosen_address, chosen_address6, free_mac, next_address, own_address6
from backends.cloud.door import Door, check_text
from backends.errors import Conflict, Invalid, NotAllowed, NotFound
from backends.model import EVERYTHING, NO_FILTER, Filter, Network, NewReservation, Page, Reservation
from backends.networks.addresses import mac_of_reservation
from backends.store.database import Connection
from backends.store.rows import NETWORKS, RESERVATIONS


class ReservationChanges(TypedDict, total=False):
    """Other addresses are another reservation: `NotAllowed` for another network."""

    title: str | None
    summary: str | None
    network_id: UUID


class ReservationDoor(Door):
    """A reservation is of a network that its project sees. It has all that an interface there would have."""

    def reservations(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[Reservation]:
        return self._many(RESERVATIONS, where, page)

    def reservation_ids(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[UUID]:
        return self._identities(RESERVATIONS, where, page)

    def reservation(self, reservation_id: UUID) -> Reservation:
        return self._one(RESERVATIONS, reservation_id)

    def reserve(self, new: NewReservation) -> Reservation:
        reservation_id = new.id or uuid4()
        check_text("the title", new.title)
        check_text("the summary", new.summary, 8192)
        with self._change() as connection:
            network = self._pool(connection, new.network_id)
            if network.cidr is None and network.cidr6 is None:
                raise Invalid(f"the network {network.id} has no address range, so no address of it can be reserved")
            mac = free_mac(connection, network, mac_of_reservation(reservation_id))
            address, address6 = None, own_address6(network, mac)
            if new.address6 is not None:
                address6 = chosen_address6(connection, network, new.address6, mac)
            if new.address is not None:
                address = chosen_address(connection, network, new.address)
            elif network.cidr is not None:
                address = next_address(connection, network)
            self._insert(
                connection,
                "reservation",
                {
                    "id": reservation_id,
                    "project_id": self._caller.project_id,
                    "network_id": network.id,
                    "title": new.title,
                    "summary": new.summary,
                    "mac": mac,
                    "address": address,
                    "address6": address6,
                },
            )
            self._tag_new(connection, new.tag_ids, reservation_id)
            return self.reservation(reservation_id)

    def update_reservation(self, reservation_id: UUID, changes: ReservationChanges) -> Reservation:
        check_text("the title", changes.get("title"))
        check_text("the summary", changes.get("summary"), 8192)
        with self._change() as connection:
            reservation = self._one(RESERVATIONS, reservation_id, lock=True)
            if changes.get("network_id") not in (None, reservation.network_id):
                raise NotAllowed(
                    f"the addresses are of the network {reservation.network_id}: reserve others of another"
                )
            values: dict[str, object] = {
                name: value for name, value in changes.items() if getattr(reservation, name) != value
            }
            self._update(connection, "reservation", reservation_id, values)
            return self.reservation(reservation_id)

    def release(self, reservation_id: UUID) -> None:
        """`Conflict` while a machine has it. One that is letting go of it keeps the addresses from others meanwhile."""
        with self._change() as connection:
            reservation = self._one(RESERVATIONS, reservation_id, lock=True)
            parameters = {"id": reservation_id}
            user = connection.execute(
                "SELECT m.id FROM interface i JOIN machine m ON m.id = i.machine_id"
                " WHERE i.reservation_id = %(id)s AND NOT i.deleting AND NOT m.deleting",
                parameters,
            ).fetchone()
            if user is not None:
                shown = reservation.address or reservation.address6
                raise Conflict(f"the reserved address {shown} is in use: the compute {user[0]} has it")
            connection.execute("UPDATE interface SET reservation_id = NULL WHERE reservation_id = %(id)s", parameters)
            connection.execute("DELETE FROM tagging WHERE resource_id = %(id)s", parameters)
            connection.execute("DELETE FROM reservation WHERE id = %(id)s", parameters)

    def _pool(self, connection: Connection, network_id: UUID | None) -> Network:
        """The network that was named, or the site's foremost; its row is held until commit."""
        if network_id is not None:
            return self._one(NETWORKS, network_id, lock=True)
        row = connection.execute(
            NETWORKS.select
            + " WHERE r.class IN ('public', 'local') ORDER BY r.class = 'public' DESC LIMIT 1 FOR UPDATE OF r"
        ).fetchone()
        if row is None:
            raise NotFound("the cloud has no network that all share yet: name one of the project's own")
        return NETWORKS.from_row(row)
