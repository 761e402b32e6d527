"""The door to what joins machines to networks and disks: interfaces and attachments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypedDict, TypeVar
from uuid import UUID, uuid4

from backends.cloud.addresses import (
    check_gateway,
    chosen_address,
    chosen_address6,
    free_mac,
    gateway_of,
    next_address,
    own_address6,
    unnamed,
)
from backends.cloud.copies import check_not_copied
from backends.cloud.disk_rights import READ, WRITE, DiskRightsDoor
from backends.cloud.door import check_range, check_text
from backends.cloud.grants import check_not_attached, check_not_exported, check_permit, grant_attachment
from backends.errors import Conflict, Invalid, NotFound
from backends.jobs import Kind
from backends.model import (
    BANDWIDTH_MAX_KBIT_S,
    BANDWIDTH_MIN_KBIT_S,
    EVERYTHING,
    NO_FILTER,
    Allocation,
    Attachment,
    DiskState,
    Filter,
    Interface,
    LinkState,
    Network,
    NewAttachment,
    NewInterface,
    Page,
    Pool,
    Reservation,
)
from backends.networks.addresses import mac_of
from backends.placement import not_offered
from backends.store.database import Connection, query
from backends.store.rows import ATTACHMENTS, DISKS, INTERFACES, MACHINES, NETWORKS, RESERVATIONS, Table

DEVICE = re.compile(r"vd[a-z]")
MOST_INTERFACES = 8
BANDWIDTHS: tuple[Literal["ingress_kbit_s", "egress_kbit_s"], ...] = ("ingress_kbit_s", "egress_kbit_s")
L = TypeVar("L", Interface, Attachment)


class InterfaceChanges(TypedDict, total=False):
    """A new mac or address reaches a running guest by plugging its interface again."""

    title: str | None
    mac: str
    address: str | None
    address6: str | None
    gateway: str | None
    ingress_kbit_s: int | None
    egress_kbit_s: int | None


class AttachmentChanges(TypedDict, total=False):
    title: str | None
    device: str
    mount_point: str | None


class LinkDoor(DiskRightsDoor):
    """Both ends of a link belong to one project, but for the shared network."""

    def interfaces(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[Interface]:
        return self._many(INTERFACES, where, page)

    def interface_ids(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[UUID]:
        return self._identities(INTERFACES, where, page)

    def interface(self, interface_id: UUID) -> Interface:
        return self._one(INTERFACES, interface_id)

    def create_interface(self, machine_id: UUID, new: NewInterface) -> Interface:
        with self._change() as connection:
            machine = self._one(MACHINES, machine_id, lock=True)
            network_id = self._network_id(new)
            host, _ = self._place_of_links(connection, (new,), ())
            if host is not None and machine.host not in (None, host):
                raise Conflict(f"the network {network_id} is on host {host}, the compute on {machine.host}")
            missing = not_offered(connection, [network_id], machine.host) if machine.host else ()
            if missing:
                raise Conflict(f"the compute is on host {machine.host}, which doesn't have the network {missing[0]}")
            names = {
                row[0] for row in connection.execute("SELECT name FROM interface WHERE machine_id = %s", [machine_id])
            }
            if len(names) >= MOST_INTERFACES:
                raise Conflict(f"the compute {machine_id} has {len(names)} interfaces; at most {MOST_INTERFACES} fit")
            name = next(f"eth{index}" for index in range(MOST_INTERFACES) if f"eth{index}" not in names)
            network = self._one(NETWORKS, network_id, lock=True)
            interface_id = self._insert_interface(connection, machine_id, machine.project_id, network, new, name)
            self._touch(connection, machine_id)
            return self.interface(interface_id)

    def update_interface(self, interface_id: UUID, changes: InterfaceChanges) -> Interface:
        with self._change() as connection:
            interface = self._locked(connection, INTERFACES, interface_id)
            check_text("the title", changes.get("title"))
            values: dict[str, object] = {
                name: value for name, value in changes.items() if getattr(interface, name) != value
            }
            values |= {name: self._bandwidth(name, changes.get(name)) for name in BANDWIDTHS if name in values}
            network = self._locked_network(connection, interface.network_id)
            fixed = values.keys() & {"mac", "address", "address6"}
            if fixed and interface.reservation_id is not None:
                raise Conflict(
                    f"{', '.join(sorted(fixed))} can't change: the IP reservation {interface.reservation_id} has it"
                )
            if "mac" in values:
                values["mac"] = free_mac(connection, network, str(values["mac"]))
            mac = str(values.get("mac", interface.mac))
            if values.get("address6") is not None:
                values["address6"] = chosen_address6(connection, network, str(values["address6"]), mac)
                values["allocation"] = Allocation.STATIC.value
            elif "address6" in values or ("mac" in values and _is_made_of_mac(network, interface)):
                values["address6"] = own_address6(network, mac)
            if values.get("address") is not None:
                values["address"] = chosen_address(connection, network, str(values["address"]))
                values["allocation"] = Allocation.STATIC.value
            elif "address" in values:
                values["address"] = next_address(connection, network)
                values["allocation"] = Allocation.DYNAMIC.value
            if values.get("gateway") is not None:
                check_gateway(network, str(values["gateway"]))
            if values.keys() - {"title", *BANDWIDTHS}:
                values["state"] = LinkState.INACTIVE.value
            self._update(connection, "interface", interface_id, values)
            if values:
                self._touch(connection, interface.machine_id)
            return self.interface(interface_id)

    def delete_interface(self, interface_id: UUID) -> None:
        with self._change() as connection:
            interface = self._locked(connection, INTERFACES, interface_id)
            self._update(connection, "interface", interface_id, {"deleting": True})
            if not self._touch(connection, interface.machine_id):
                connection.execute("DELETE FROM tagging WHERE resource_id = %s", [interface_id])
                connection.execute("DELETE FROM interface WHERE id = %s", [interface_id])

    def attachments(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[Attachment]:
        return self._many(ATTACHMENTS, where, page)

    def attachment_ids(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[UUID]:
        return self._identities(ATTACHMENTS, where, page)

    def attachment(self, attachment_id: UUID) -> Attachment:
        return self._one(ATTACHMENTS, attachment_id)

    def attach(self, machine_id: UUID, new: NewAttachment) -> Attachment:
        """`Conflict` when the disk is attached already or the device is taken."""
        with self._change() as connection:
            machine = self._one(MACHINES, machine_id, lock=True)
            host, shared_pool = self._place_of_links(connection, (), (new,))
            if host is not None and machine.host not in (None, host):
                raise Conflict(f"the storage {new.disk_id} is on host {host}, the compute on {machine.host}")
            _check_has_folder(connection, machine.host, new.disk_id, shared_pool)
            has_root = machine.root_size_bytes is not None
            attachment_id = self._insert_attachment(connection, machine_id, machine.project_id, new, has_root=has_root)
            self._touch(connection, machine_id)
            return self.attachment(attachment_id)

    def update_attachment(self, attachment_id: UUID, changes: AttachmentChanges) -> Attachment:
        with self._change() as connection:
            attachment = self._locked(connection, ATTACHMENTS, attachment_id)
            check_text("the title", changes.get("title"))
            check_text("the mount point", changes.get("mount_point"))
            values: dict[str, object] = {
                name: value for name, value in changes.items() if getattr(attachment, name) != value
            }
            if "device" in values:
                machine = self._one(MACHINES, attachment.machine_id)
                has_root = machine.root_size_bytes is not None
                values["device"] = self._free_device(connection, machine.id, str(values["device"]), has_root)
            self._update(connection, "attachment", attachment_id, values)
            if values:
                self._touch(connection, attachment.machine_id)
            return self.attachment(attachment_id)

    def detach(self, attachment_id: UUID) -> None:
        with self._change() as connection:
            attachment = self._locked(connection, ATTACHMENTS, attachment_id)
            self._update(connection, "attachment", attachment_id, {"deleting": True})
            if not self._touch(connection, attachment.machine_id):
                connection.execute("DELETE FROM tagging WHERE resource_id = %s", [attachment_id])
                connection.execute("DELETE FROM attachment WHERE id = %s", [attachment_id])
                disk = self._one(DISKS, attachment.disk_id)
                self._converge(connection, disk.host, Kind.DISK, disk.id)

    def _locked(self, connection: Connection, table: Table[L], link_id: UUID) -> L:
        """Held with its machine, which comes first as for all who change links: else two could wait for each other."""
        machine_id = self._one(table, link_id).machine_id
        connection.execute("SELECT FROM machine WHERE id = %s FOR UPDATE", [machine_id])
        return self._one(table, link_id, lock=True)

    def _touch(self, connection: Connection, machine_id: UUID) -> bool:
        """Has the machine's agent look at it again; False while it has none."""
        row = connection.execute(
            "UPDATE machine SET generation = generation + 1 WHERE id = %s RETURNING host", [machine_id]
        ).fetchone()
        host = row[0] if row else None
        self._converge(connection, host, Kind.MACHINE, machine_id)
        return host is not None

    def _place_of_links(
        self,
        connection: Connection,
        interfaces: Sequence[NewInterface],
        attachments: Sequence[NewAttachment],
    ) -> tuple[str | None, UUID | None]:
        """The host that these networks and disks are on, and the shared folder; None when any will do."""
        hosts: set[str] = set()
        folders: set[UUID] = set()
        for interface in interfaces:
            network = self._one(NETWORKS, self._network_id(interface))
            row = connection.execute(query("links.host_of_network"), {"id": network.id}).fetchone()
            hosts |= {row[0]} if row and row[0] else set()
        for attachment in attachments:
            disk = self._one(DISKS, attachment.disk_id)
            hosts |= {disk.host} if disk.host and disk.pool is Pool.FILE else set()
            folders |= {disk.shared_pool} if disk.shared_pool else set()
        if len(hosts) > 1:
            raise Conflict(f"its networks and storage are on different hosts: {', '.join(sorted(hosts))}")
        if len(folders) > 1:
            raise Conflict(f"its storage is in different shared pools: {', '.join(sorted(map(str, folders)))}")
        return hosts.pop() if hosts else None, folders.pop() if folders else None

    @staticmethod
    def _locked_shared_network(connection: Connection) -> Network:
        row = connection.execute(NETWORKS.select + " WHERE r.class = 'local' FOR UPDATE OF r").fetchone()
        if row is None:
            raise NotFound("the cloud has no shared network yet: no agent has made it")
        return NETWORKS.from_row(row)

    @staticmethod
    def _locked_network(connection: Connection, network_id: UUID) -> Network:
        """Held until commit, so that two interfaces never take the same address."""
        row = connection.execute(NETWORKS.select + " WHERE r.id = %s FOR UPDATE OF r", [network_id]).fetchone()
        if row is None:
            raise NotFound(f"there is no network {network_id}")
        return NETWORKS.from_row(row)

    def _network_id(self, new: NewInterface) -> UUID:
        if new.reservation_id is not None:
            return self._one(RESERVATIONS, new.reservation_id).network_id
        if new.network_id is None:
            raise Invalid("a network interface is on a network: neither one nor an IP reservation is named")
        return new.network_id

    def _insert_interface(
        self,
        connection: Connection,
        machine_id: UUID,
        project_id: UUID,
        network: Network,
        new: NewInterface,
        name: str,
    ) -> UUID:
        """The network's row must be held until commit, so that two interfaces never take the same address.

        `project_id` is the machine's, which the interface belongs to, whoever makes it.
        """
        check_text("the title", new.title)
        if not network.shared and network.project_id != project_id:
            raise Conflict(f"the network {network.id} belongs to another project than the compute {machine_id}")
        interface_id = new.id or uuid4()
        if new.gateway is not None:
            check_gateway(network, new.gateway)
        if new.reservation_id is not None:
            reservation = self._unused_reservation(connection, machine_id, new.reservation_id)
            _check_agrees(new, reservation)
            mac, address, address6 = reservation.mac, reservation.address, reservation.address6
            allocation = Allocation.STATIC
        else:
            mac = free_mac(connection, network, new.mac or mac_of(interface_id))
            address, address6 = None, own_address6(network, mac)
            is_named = new.address is not None or new.address6 is not None
            allocation = Allocation.STATIC if is_named else new.allocation or network.allocation
            if new.allocation is Allocation.STATIC and not is_named:
                raise unnamed(network)
            if new.address6 is not None:
                address6 = chosen_address6(connection, network, new.address6, mac)
            if new.address is not None:
                address = chosen_address(connection, network, new.address)
            elif network.cidr is not None:
                address = next_address(connection, network)
        self._insert(
            connection,
            "interface",
            {
                "id": interface_id,
                "project_id": project_id,
                "machine_id": machine_id,
                "network_id": network.id,
                "reservation_id": new.reservation_id,
                "title": new.title,
                "name": name,
                "mac": mac,
                "address": address,
                "address6": address6,
                "gateway": new.gateway or gateway_of(network),
                "allocation": allocation.value,
                "ingress_kbit_s": self._bandwidth("ingress_kbit_s", new.ingress_kbit_s),
                "egress_kbit_s": self._bandwidth("egress_kbit_s", new.egress_kbit_s),
            },
        )
        return interface_id

    def _bandwidth(self, name: str, asked_kbit_s: int | None) -> int | None:
        """The site's limit for who asks for none."""
        most = self._bandwidth_max_kbit_s
        if asked_kbit_s is None:
            return most
        check_range(name, asked_kbit_s, BANDWIDTH_MIN_KBIT_S, BANDWIDTH_MAX_KBIT_S)
        if most is not None and asked_kbit_s > most:
            raise Invalid(f"{name} is {asked_kbit_s}; this site lets an interface have {most} at most")
        return asked_kbit_s

    def _unused_reservation(self, connection: Connection, machine_id: UUID, reservation_id: UUID) -> Reservation:
        """Of the machine's own project, and held by no machine, not even one that is just letting go of it."""
        reservation = self._one(RESERVATIONS, reservation_id, lock=True)
        shown = reservation.address or reservation.address6
        row = connection.execute("SELECT project_id FROM machine WHERE id = %s", [machine_id]).fetchone()
        if row is None or row[0] != reservation.project_id:
            raise Conflict(f"the reserved address {shown} belongs to another project than the compute {machine_id}")
        user = connection.execute(
            "SELECT i.machine_id, i.deleting OR m.deleting FROM interface i JOIN machine m ON m.id = i.machine_id"
            " WHERE i.reservation_id = %s",
            [reservation_id],
        ).fetchone()
        if user is not None:
            does = "is just letting go of it" if user[1] else "has it"
            raise Conflict(f"the reserved address {shown} is in use: the compute {user[0]} {does}")
        return reservation

    def _insert_attachment(
        self, connection: Connection, machine_id: UUID, project_id: UUID, new: NewAttachment, *, has_root: bool
    ) -> UUID:
        check_text("the title", new.title)
        check_text("the mount point", new.mount_point)
        disk = self._one(DISKS, new.disk_id, lock=True)
        if disk.project_id != project_id:
            raise Conflict(f"the storage {disk.id} belongs to another project than the compute {machine_id}")
        self.require_of_bytes(disk.id, READ if disk.read_only else READ | WRITE)
        if not disk.read_only:
            self.require_unkept(disk.id)
        if disk.wanted is DiskState.OFFLINE:
            raise Conflict(f"the storage {disk.id} is offline: take it online first")
        if not disk.read_only:
            check_not_attached(connection, disk.id)
        elif self._is_attached(connection, disk.id, machine_id):
            raise Conflict(f"the storage {disk.id} is attached to the compute {machine_id} already")
        if disk.snapshot_of is not None:
            raise Conflict(f"the storage {disk.id} is a snapshot of {disk.snapshot_of}: attach a copy of it")
        check_not_copied(connection, disk.id, only_restored=True)
        check_permit(connection, disk, machine_id)
        check_not_exported(connection, disk.id)
        device = self._free_device(connection, machine_id, new.device, has_root)
        attachment_id = new.id or uuid4()
        self._insert(
            connection,
            "attachment",
            {
                "id": attachment_id,
                "project_id": project_id,
                "machine_id": machine_id,
                "disk_id": disk.id,
                "title": new.title,
                "device": device,
                "mount_point": new.mount_point,
                "read_only": disk.read_only,
            },
        )
        if disk.pool is Pool.ISCSI:
            grant_attachment(connection, disk.id, attachment_id)
            self._converge(connection, disk.host, Kind.DISK, disk.id)
        return attachment_id

    @staticmethod
    def _is_attached(connection: Connection, disk_id: UUID, machine_id: UUID) -> bool:
        row = connection.execute(
            "SELECT 1 FROM attachment WHERE disk_id = %s AND machine_id = %s", [disk_id, machine_id]
        ).fetchone()
        return row is not None

    @staticmethod
    def _free_device(connection: Connection, machine_id: UUID, asked: str | None, has_root: bool) -> str:
        rows = connection.execute("SELECT device FROM attachment WHERE machine_id = %s", [machine_id])
        taken = {row[0] for row in rows} | ({"vda"} if has_root else set())
        if asked is None:
            free = (f"vd{letter}" for letter in "abcdefghijklmnopqrstuvwxyz" if f"vd{letter}" not in taken)
            device = next(free, None)
            if device is None:
                raise Conflict(f"the compute {machine_id} has no free device for another storage")
            return device
        device = asked.removeprefix("/dev/")
        if not DEVICE.fullmatch(device):
            raise Invalid(f"the device is {asked[:80]!r}; it must be one of /dev/vda to /dev/vdz")
        if device in taken:
            raise Conflict(f"the device {device} of the compute {machine_id} is taken")
        return device


def _check_has_folder(connection: Connection, host: str | None, disk_id: UUID, shared_pool: UUID | None) -> None:
    if host is None or shared_pool is None:
        return
    row = connection.execute("SELECT shared_pool FROM host WHERE name = %s", [host]).fetchone()
    if row is None or row[0] != shared_pool:
        raise Conflict(f"the storage {disk_id} is in a shared folder that isn't mounted on {host}, the compute's host")


def _check_agrees(asked: NewInterface, reservation: Reservation) -> None:
    """What is asked for besides may repeat the reservation, as a rendering sent back does."""
    for what, wish, kept in (
        ("address", asked.address, reservation.address),
        ("IPv6 address", asked.address6, reservation.address6),
        ("MAC address", asked.mac, reservation.mac),
    ):
        if wish not in (None, kept):
            raise Invalid(f"the {what} is {wish}, but the IP reservation {reservation.id} has {kept or 'none'}")


def _is_made_of_mac(network: Network, interface: Interface) -> bool:
    return interface.address6 is not None and interface.address6 == own_address6(network, interface.mac)
