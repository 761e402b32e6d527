"""The door to machines: make, change, delete, and the verbs start, stop, restart, suspend, save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TypedDict
from uuid import UUID, uuid4

from backends.cloud.disk_removal import DiskRemovalDoor
from backends.cloud.door import check_range, check_text
from backends.cloud.grants import check_permits, first_restricted
from backends.cloud.groups import GroupDoor
from backends.cloud.images import ImageDoor
from backends.cloud.links import MOST_INTERFACES, LinkDoor
from backends.errors import Conflict, Invalid, NotApplicable
from backends.jobs import Kind
from backends.model import (
    EVERYTHING,
    NO_FILTER,
    Architecture,
    Filter,
    Image,
    Machine,
    MachineState,
    NewInterface,
    NewMachine,
    Page,
    RestartMethod,
    SaveMethod,
    StopMethod,
    SuspendMethod,
)
from backends.placement import Need, choose_host, shortage, waiting_message
from backends.states import MACHINE_ACTIONS, MACHINE_TARGETS
from backends.store.database import Connection, query
from backends.store.rows import MACHINES, NETWORKS
from backends.terms import check_hostname, check_user_data

MOST_CORES = 255
LEAST_MEMORY_MIB, MOST_MEMORY_MIB = 16, 16 * 2**20
MOST_DISK_BYTES = 2**50
LEAST_SHARE, MOST_SHARE = 2, 262144


class MachineChanges(TypedDict, total=False):
    """The fields of a machine that may change; one that is absent stays, None clears or resets it.

    cores, memory_mib, share, architecture, image_name and size_name need the machine inactive (else
    `NotApplicable`), but that an active one may grow up to its max_cores; a new image_name rebuilds the root disk.
    `Conflict` if the machine has a host on which there is no room to grow.
    """

    title: str | None
    summary: str | None
    hostname: str | None
    architecture: Architecture
    cores: int | None
    memory_mib: int | None
    share: int | None
    image_name: str | None
    size_name: str | None
    ssh_key: str | None
    user_data: str | None


class MachineDoor(LinkDoor, DiskRemovalDoor, ImageDoor, GroupDoor):
    """Machines, with their interfaces and attachments."""

    def machines(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[Machine]:
        """In order of creation."""
        return self._many(MACHINES, where, page)

    def machine_ids(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[UUID]:
        """As `machines`, but only the identities: what a listing of ten thousand needs."""
        return self._identities(MACHINES, where, page)

    def machine(self, machine_id: UUID) -> Machine:
        return self._one(MACHINES, machine_id)

    def create_machine(self, new: NewMachine) -> Machine:
        """Wanted active at once, unless with a disk that it has no permission for: then its start is to be asked for.

        Without an interface asked for, it gets one on the shared network.
        """
        machine_id = new.id or uuid4()
        _check_texts(new.title, new.summary, new.hostname, new.ssh_key, new.user_data)
        if len(new.interfaces) > MOST_INTERFACES:
            raise Conflict(f"{len(new.interfaces)} network interfaces are asked for; at most {MOST_INTERFACES} fit")
        with self._change() as connection:
            size = self._size(new.size_name or self._default_size)
            cores = size.cores if new.cores is None else new.cores
            memory_mib = size.memory_mib if new.memory_mib is None else new.memory_mib
            _check_sizes(cores, memory_mib, new.share)
            image = self._usable_image(new.image_name) if new.image_name else None
            root_size_bytes = None
            if image is not None:
                root_size_bytes = _root_size(new.root_size_bytes, size.root_size_bytes, image)
            tied_to, shared_pool = self._place_of_links(connection, new.interfaces, new.attachments)
            networks = [self._network_id(interface) for interface in new.interfaces]
            need = Need(cores, memory_mib, root_size_bytes or 0, tied_to, networks, shared_pool=shared_pool)
            host = choose_host(connection, need)
            forbidden = first_restricted(connection, [attachment.disk_id for attachment in new.attachments])
            message = "starting" if host else waiting_message(connection, need)
            if forbidden is not None:
                message = f"not in the permissions of the storage {forbidden}: to be permitted, then started"
            self._insert(
                connection,
                "machine",
                {
                    "id": machine_id,
                    "project_id": self._caller.project_id,
                    "title": new.title,
                    "summary": new.summary,
                    "hostname": new.hostname,
                    "architecture": new.architecture.value,
                    "cores": cores,
                    "memory_mib": memory_mib,
                    "share": new.share,
                    "root_size_bytes": root_size_bytes,
                    "image_id": image.id if image else None,
                    "size_name": new.size_name,
                    "max_cores": size.max_cores,
                    "ssh_key": new.ssh_key,
                    "user_data": new.user_data,
                    "wanted": (MachineState.INACTIVE if forbidden else MachineState.ACTIVE).value,
                    "host": host,
                    "admitted": host is not None and not forbidden,
                    "observed_generation": 1 if forbidden else 0,  # nothing is to be done, and the message stays
                    "state_message": message,
                },
            )
            for index, interface in enumerate(new.interfaces):
                network = self._one(NETWORKS, networks[index], lock=True)
                self._insert_interface(
                    connection, machine_id, self._caller.project_id, network, interface, f"eth{index}"
                )
            if not new.interfaces:
                network = self._locked_shared_network(connection)
                self._insert_interface(
                    connection, machine_id, self._caller.project_id, network, NewInterface(network.id), "eth0"
                )
            for attachment in new.attachments:
                self._insert_attachment(
                    connection, machine_id, self._caller.project_id, attachment, has_root=image is not None
                )
            for group in new.groups:
                self.join_group(machine_id, group)
            self._tag_new(connection, new.tag_ids, machine_id)
            if not forbidden:
                self._converge(connection, host, Kind.MACHINE, machine_id)
            return self.machine(machine_id)

    def update_machine(self, machine_id: UUID, changes: MachineChanges) -> Machine:
        with self._change() as connection:
            machine = self._one(MACHINES, machine_id, lock=True)
            _check_texts(
                changes.get("title"),
                changes.get("summary"),
                changes.get("hostname"),
                changes.get("ssh_key"),
                changes.get("user_data"),
            )
            values: dict[str, object] = {
                name: value
                for name, value in changes.items()
                if name not in ("image_name", "size_name", "cores", "memory_mib")
            }
            if "architecture" in changes:
                values["architecture"] = changes["architecture"].value
            values |= self._resized(machine, changes)
            values = {name: value for name, value in values.items() if _present(machine, name) != value}
            hardware = values.keys() & {
                "cores", "max_cores", "memory_mib", "share", "architecture", "image_id", "root_size_bytes"
            }  # fmt: skip
            if hardware and not _grows_running(machine, values, hardware):
                _check_inactive(machine, hardware)
            self._require_room_to_grow(connection, machine, values)
            self._update(connection, "machine", machine_id, values)
            if values:
                self._converge(connection, machine.host, Kind.MACHINE, machine_id)
            return self.machine(machine_id)

    def _resized(self, machine: Machine, changes: MachineChanges) -> dict[str, object]:
        """The sizes that result: those named, else the new template's, else the present ones."""
        values: dict[str, object] = {}
        size = self._size(machine.size_name or self._default_size)
        if "size_name" in changes:
            size = self._size(changes["size_name"] or self._default_size)
            values["size_name"] = changes["size_name"]
            if size.name != (machine.size_name or self._default_size):
                values |= {"cores": size.cores, "max_cores": size.max_cores, "memory_mib": size.memory_mib}
                if machine.root_size_bytes is not None:
                    values["root_size_bytes"] = max(machine.root_size_bytes, size.root_size_bytes)
        if "cores" in changes:
            asked_cores = changes["cores"]
            values["cores"] = size.cores if asked_cores is None else asked_cores
        if "memory_mib" in changes:
            memory_mib = changes["memory_mib"]
            values["memory_mib"] = size.memory_mib if memory_mib is None else memory_mib
        if "image_name" in changes and changes["image_name"] != machine.image_name:
            name = changes["image_name"]
            image = self._usable_image(name) if name else None
            values["image_id"] = image.id if image else None
            values["root_size_bytes"] = _root_size(machine.root_size_bytes, size.root_size_bytes, image)
        _check_sizes(
            int(str(values.get("cores", machine.cores))),
            int(str(values.get("memory_mib", machine.memory_mib))),
            changes.get("share", machine.share),
        )
        return values

    def delete_machine(self, machine_id: UUID) -> None:
        """Gone for everybody at once, with its volatile disks; the agents then take away what there is of it.

        `NotAllowed`: all of it stays, since the caller may not delete one of these disks.
        """
        with self._change() as connection:
            machine = self._one(MACHINES, machine_id, lock=True)
            volatile = self._volatile_disks(connection, machine_id)
            if machine.host is None:
                connection.execute("DELETE FROM interface WHERE machine_id = %s", [machine_id])
                connection.execute("DELETE FROM attachment WHERE machine_id = %s", [machine_id])
                connection.execute("DELETE FROM tagging WHERE resource_id = %s", [machine_id])
                connection.execute("DELETE FROM machine WHERE id = %s", [machine_id])
            else:
                self._update(connection, "machine", machine_id, {"deleting": True})
                self._converge(connection, machine.host, Kind.MACHINE, machine_id)
            for disk in volatile:
                self._remove_disk(connection, disk)

    def start_machine(self, machine_id: UUID) -> Machine:
        """With no room free it waits, and starts when there is."""
        with self._change() as connection:
            machine = self._for_action(machine_id, "start")
            check_permits(connection, machine_id)
            admitted = self._is_admitted(connection, machine_id)
            values: dict[str, object] = {"wanted": MachineState.ACTIVE.value, "asked_to_stop_at": None}
            host = machine.host
            if not admitted:
                disk_bytes = 0 if machine.host else machine.root_size_bytes or 0
                rows = connection.execute("SELECT network_id FROM interface WHERE machine_id = %s", [machine_id])
                networks = [network_id for (network_id,) in rows]
                tied = connection.execute(query("placement.tied"), {"id": machine_id}).fetchone() or (None, None)
                need = Need(
                    machine.cores,
                    machine.memory_mib,
                    disk_bytes,
                    machine.host or tied[0],
                    networks,
                    shared_pool=tied[1],
                )
                host = choose_host(connection, need)
                values["state_message"] = "starting" if host else waiting_message(connection, need)
                if host:
                    values |= {"host": host, "admitted": True}
            self._update(connection, "machine", machine_id, values)
            self._converge(connection, host, Kind.MACHINE, machine_id)
            return self.machine(machine_id)

    def stop_machine(self, machine_id: UUID, method: StopMethod = StopMethod.GRACEFUL) -> Machine:
        return self._act(machine_id, "stop", stop_method=method.value, asked_to_stop_at=None)

    def restart_machine(self, machine_id: UUID, method: RestartMethod = RestartMethod.GRACEFUL) -> Machine:
        """`NotApplicable`, as `suspend_machine`, while it waits for room."""
        with self._change() as connection:
            self._for_action(machine_id, "restart")
            self._require_room(connection, machine_id)
            connection.execute("UPDATE machine SET boots_wanted = boots_wanted + 1 WHERE id = %s", [machine_id])
            return self._act(machine_id, "restart", restart_method=method.value, asked_to_stop_at=None)

    def suspend_machine(self, machine_id: UUID, method: SuspendMethod = SuspendMethod.SUSPEND) -> Machine:
        with self._change() as connection:
            self._for_action(machine_id, "suspend")
            self._require_room(connection, machine_id)
            return self._act(machine_id, "suspend", suspend_method=method.value)

    def save_machine(self, machine_id: UUID, method: SaveMethod, name: str | None) -> Image:
        """A new image of the root disk, `pending` until the agent has copied it. `Conflict` without room for it."""
        with self._change() as connection:
            machine = self._for_action(machine_id, "save")
            if machine.root_size_bytes is None:
                raise Conflict(f"the compute {machine_id} has no root disk of its own that could be saved")
            if machine.host is None:
                raise NotApplicable(f"the compute {machine_id} has no root disk yet: {machine.state_message}")
            need = Need(disk_bytes=machine.root_size_bytes, host=machine.host)
            if choose_host(connection, need) is None:
                raise Conflict(f"the compute can't be saved: {shortage(connection, need)}")
            title = f"Saved from {machine.title or machine.id}"
            return self._new_image(connection, name, title, machine, method.value)

    def console_log(self, machine_id: UUID) -> bytes:
        """The end of what the guest wrote to its serial console, at most 64 KiB."""
        with self._read() as connection:
            self.machine(machine_id)
            row = connection.execute("SELECT tail FROM console_log WHERE machine_id = %s", [machine_id]).fetchone()
        return bytes(row[0]) if row else b""

    def _act(self, machine_id: UUID, action: str, **values: str | None) -> Machine:
        with self._change() as connection:
            machine = self._for_action(machine_id, action)
            wanted = MACHINE_TARGETS[action]
            self._update(connection, "machine", machine_id, {"wanted": wanted.value, **values})
            if machine.host is None:
                connection.execute("UPDATE machine SET state_message = '' WHERE id = %s", [machine_id])
            self._converge(connection, machine.host, Kind.MACHINE, machine_id)
            return self.machine(machine_id)

    def _for_action(self, machine_id: UUID, action: str) -> Machine:
        """The machine, its row held. An action applies by what is, or by what is already on its way."""
        machine = self._one(MACHINES, machine_id, lock=True)
        if action not in MACHINE_ACTIONS[machine.state] + MACHINE_ACTIONS[machine.wanted]:
            raise NotApplicable(
                f"{action} does not apply to the compute {machine_id}, which is {machine.state}; what applies is"
                f" {', '.join(MACHINE_ACTIONS[machine.state])}"
            )
        return machine

    def _require_room(self, connection: Connection, machine_id: UUID) -> None:
        if not self._is_admitted(connection, machine_id):
            raise NotApplicable(f"the compute {machine_id} has not started yet: it waits for room")

    def _require_room_to_grow(self, connection: Connection, machine: Machine, values: Mapping[str, object]) -> None:
        """What counts on its host already may count more only where that is free."""

        def more(name: str, present: int | None) -> int:
            return max(0, int(str(values.get(name) or 0)) - (present or 0))

        if machine.host is None:
            return
        admitted = self._is_admitted(connection, machine.id)
        need = Need(
            more("cores", machine.cores) if admitted else 0,
            more("memory_mib", machine.memory_mib) if admitted else 0,
            more("root_size_bytes", machine.root_size_bytes),
            machine.host,
        )
        if need != Need(host=machine.host) and choose_host(connection, need) is None:
            raise Conflict(f"the compute can't grow: {shortage(connection, need)}")

    @staticmethod
    def _is_admitted(connection: Connection, machine_id: UUID) -> bool:
        row = connection.execute("SELECT admitted FROM machine WHERE id = %s", [machine_id]).fetchone()
        return bool(row and row[0])


def _present(machine: Machine, name: str) -> object:
    return machine.architecture.value if name == "architecture" else getattr(machine, name)


def _grows_running(machine: Machine, values: Mapping[str, object], hardware: Set[str]) -> bool:
    """Whether all that it asks for is more cores, which a running guest can be given."""
    return (
        hardware == {"cores"}
        and machine.wanted is machine.state is MachineState.ACTIVE
        and machine.cores < int(str(values["cores"])) <= (machine.max_cores or 0)
    )


def _check_inactive(machine: Machine, hardware: Set[str]) -> None:
    if machine.state is not MachineState.INACTIVE:  # while it is stopping it still has what it had
        limit = ""
        if machine.max_cores is not None and machine.cores < machine.max_cores:
            limit = f"; while active, it can only grow from {machine.cores} to at most {machine.max_cores} cores"
        raise NotApplicable(
            f"{', '.join(sorted(hardware))} can change only while the compute is inactive; it is {machine.state}{limit}"
        )
    if machine.wanted is not MachineState.INACTIVE and machine.host is not None:
        raise NotApplicable("the compute is starting; stop it before changing its hardware")


def _root_size(asked: int | None, template: int, image: Image | None) -> int | None:
    if image is None:
        return None
    if asked is None:
        return max(template, image.size_bytes)
    if asked < image.size_bytes:
        raise Invalid(f"the root disk is {asked} bytes; the image {image.name!r} needs {image.size_bytes}")
    check_range("the root disk's size in bytes", asked, 1, MOST_DISK_BYTES)
    return asked


def _check_sizes(cores: int, memory_mib: int, share: int | None) -> None:
    check_range("the number of cores", cores, 1, MOST_CORES)
    check_range("the memory in MiB", memory_mib, LEAST_MEMORY_MIB, MOST_MEMORY_MIB)
    if share is not None:
        check_range("the CPU share", share, LEAST_SHARE, MOST_SHARE)


def _check_texts(
    title: str | None, summary: str | None, hostname: str | None, ssh_key: str | None, user_data: str | None
) -> None:
    check_text("the title", title)
    check_text("the summary", summary, 8192)
    if hostname is not None:
        check_hostname(hostname)
    if ssh_key is not None:
        check_text("the SSH key", ssh_key, 16384)
        if not ssh_key.strip():
            raise Invalid("the SSH key is empty: expected the form 'ssh-ed25519 AAAA... comment'")
        if any(len(line.split(None, 2)) < 2 for line in ssh_key.splitlines() if line.strip()):
            raise Invalid("the SSH key is not in the form 'ssh-ed25519 AAAA... comment'")
    if user_data is not None:
        check_user_data(user_data)
