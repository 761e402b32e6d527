"""The libvirt driver: makes domains be what their specifications say, and tells what they are.

Every method may be called at any time, from any thread, and again after a crash at any step. Time limits
for guests, the order of steps, disks' files, bridges and the database are the callers'.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import libvirt

from backends.machines import copying, devices, iscsi_secrets, observation
from backends.machines.connection import Connection
from backends.machines.domain_xml import METADATA_NAMESPACE, domain_name, domain_xml, parse_metadata
from backends.machines.errors import (
    AnotherCopyRuns,
    InvalidSpec,
    MachineAbsent,
    NotOurs,
    WrongPower,
)
from backends.machines.events import EventCallback, Watch
from backends.machines.spec import (
    CLOUD_TAG,
    DomainDisk,
    DomainInterface,
    DomainSpec,
    DomainType,
    Observed,
    Power,
    Statistics,
)

LIBVIRT_LOGS = Path("/var/log/libvirt/qemu")
VNC_PASSWORD_BYTES = 6
"""Eight characters, which is all that VNC's authentication looks at (RFC 6143 §7.2.2); new at each definition."""
_UNDEFINE_ALL = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)


class Hypervisor:
    """The domains of one cloud on one libvirt; those of others are neither seen nor touched."""

    def __init__(
        self,
        uri: str,
        cloud_tag: str,
        *,
        domain_type: DomainType,
        console_directory: Path,
        libvirt_log_directory: Path = LIBVIRT_LOGS,
    ) -> None:
        if not CLOUD_TAG.fullmatch(cloud_tag):
            raise InvalidSpec(f"the cloud's tag is {cloud_tag!r}, expected 2 to 16 letters a-z and digits")
        self.cloud_tag = cloud_tag
        self.domain_type = domain_type
        self._connection = Connection(uri)
        self._console_directory = console_directory
        self._libvirt_log_directory = libvirt_log_directory
        self._shares_work = True
        self._copying: set[UUID] = set()
        self._copying_lock = threading.Lock()

    def close(self) -> None:
        self._connection.close()

    # What should be

    def ensure_defined(self, spec: DomainSpec) -> None:
        """A running guest keeps what it has; the definition counts from its next start."""
        with self._connection.calling(f"define machine {spec.id}") as connection:
            self._define(connection, spec)

    def ensure_running(self, spec: DomainSpec) -> None:
        """Defined and running: started, woken from hibernation with its memory, or resumed, as need be."""
        with self._connection.calling(f"start machine {spec.id}") as connection:
            domain = self._define(connection, spec)
            power, _ = observation.power_of(domain)
            match power:
                case Power.RUNNING:
                    return
                case Power.PAUSED:
                    _resume(domain)
                case Power.CRASHED:
                    _destroy(domain)
                    self._start(connection, domain, spec)
                case Power.OFF | Power.HIBERNATED:
                    self._start(connection, domain, spec)

    def ensure_off(self, machine_id: UUID) -> None:
        """Without power, at once, and without saved memory. A machine that isn't there is off."""
        with self._connection.calling(f"power off machine {machine_id}") as connection:
            domain = self._find(connection, machine_id)
            if domain is None:
                return
            _destroy(domain)
            if domain.hasManagedSaveImage():
                domain.managedSaveRemove()

    def request_shutdown(self, machine_id: UUID) -> None:
        """Presses the guest's power button and returns; a guest without ACPI won't notice."""
        with self._connection.calling(f"shut down machine {machine_id}") as connection:
            domain = self._get(connection, machine_id)
            if domain.isActive():
                with _unless_off(domain):
                    domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)

    def reset(self, machine_id: UUID) -> None:
        """The reset button: the guest starts anew in the same domain."""
        with self._connection.calling(f"reset machine {machine_id}") as connection:
            domain = self._get(connection, machine_id)
            _require_active(domain, machine_id, "reset")
            domain.reset()

    def ensure_paused(self, machine_id: UUID) -> None:
        with self._connection.calling(f"pause machine {machine_id}") as connection:
            domain = self._get(connection, machine_id)
            power, _ = observation.power_of(domain)
            if power is Power.PAUSED:
                return
            _require_active(domain, machine_id, "paused")
            domain.suspend()

    def ensure_hibernated(self, machine_id: UUID) -> None:
        """Memory on disk, power off. A save that was cut off leaves the guest running, so it is done anew."""
        with self._connection.calling(f"hibernate machine {machine_id}") as connection:
            domain = self._get(connection, machine_id)
            power, _ = observation.power_of(domain)
            if power is Power.HIBERNATED:
                return
            _require_active(domain, machine_id, "hibernated")
            domain.managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)

    def forget_hibernation(self, machine_id: UUID) -> None:
        """Discards the saved memory, for one that can't be woken any more."""
        with self._connection.calling(f"discard the saved memory of machine {machine_id}") as connection:
            domain = self._get(connection, machine_id)
            if domain.hasManagedSaveImage():
                domain.managedSaveRemove()

    def absent(self, machine_id: UUID) -> None:
        """Nothing of it left: domain, saved memory, logs. Disks and seed belong to the caller."""
        with self._connection.calling(f"remove machine {machine_id}") as connection:
            domain = self._find(connection, machine_id)
            if domain is not None:
                _destroy(domain)
                _undefine(domain)
        self._remove_logs(machine_id)

    # What is

    def observe(self, machine_id: UUID) -> Observed | None:
        """None when there is no such domain of ours."""
        try:
            with self._connection.calling(f"look at machine {machine_id}") as connection:
                domain = self._find(connection, machine_id)
                return None if domain is None else observation.observe(domain, machine_id)
        except MachineAbsent:  # removed while being looked at
            return None

    def machines(self) -> set[UUID]:
        """All domains of this cloud, whatever their power."""
        with self._connection.calling("list the machines") as connection:
            return set(self._ours(connection))

    def statistics(self) -> dict[UUID, Statistics]:
        """Of all running machines of this cloud, in one call to libvirt."""
        with self._connection.calling("measure the machines") as connection:
            running = self._ours(connection, libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            return observation.statistics_of(connection, running)

    def console_log_path(self, machine_id: UUID) -> Path:
        """What the guest wrote to its serial port; older parts lie beside it, suffixed .0, .1 and so on."""
        return self._console_directory / f"{domain_name(self.cloud_tag, machine_id)}.log"

    def watch(self, callback: EventCallback) -> Watch:
        """Calls back with (machine id, event) from a thread of its own until `stop()`; see `events`."""
        return Watch(self._connection, self.identify, callback)

    def identify(self, domain: libvirt.virDomain) -> UUID | None:
        """The machine that this domain is by its name, None when it isn't of this cloud. Asks nobody."""
        machine_id = UUID(bytes=domain.UUID())
        return machine_id if domain.name() == domain_name(self.cloud_tag, machine_id) else None

    def ensure_cores(self, machine_id: UUID, cores: int) -> None:
        """A running guest gets what it lacks, up to the maximum it was started with; none are taken away.

        It is told by ACPI, and uses them once it has brought them online.
        """
        with self._connection.calling(f"give machine {machine_id} {cores} cores") as connection:
            domain = self._get(connection, machine_id)
            _require_active(domain, machine_id, "given cores")
            live = libvirt.VIR_DOMAIN_AFFECT_LIVE
            within = min(cores, domain.vcpusFlags(live | libvirt.VIR_DOMAIN_VCPU_MAXIMUM))
            if domain.vcpusFlags(live) < within:
                domain.setVcpusFlags(within, live)

    # Devices of a machine that may be running

    def ensure_disk_attached(self, machine_id: UUID, disk: DomainDisk) -> None:
        """Plugged now if it runs, and at its next start: a hibernated guest wakes without it."""
        with self._connection.calling(f"plug disk {disk.device} into machine {machine_id}") as connection:
            devices.attach_disk(self._get(connection, machine_id), disk)

    def ensure_disk_detached(self, machine_id: UUID, device: str, patience_seconds: float = 10) -> bool:
        """True once it is gone; False while the guest still holds it: ask again later.

        A hibernated guest can't let go: `WrongPower`.
        """
        with self._connection.calling(f"unplug disk {device} from machine {machine_id}") as connection:
            domain = self._get(connection, machine_id)
            if device in _saved_devices(domain):
                raise WrongPower(f"machine {machine_id} is hibernated and can't let go of disk {device}")
            return devices.detach_disk(domain, device, patience_seconds)

    def ensure_interface_attached(self, machine_id: UUID, interface: DomainInterface) -> None:
        """Plugged now if it runs, and at its next start: a hibernated guest wakes without it."""
        with self._connection.calling(f"plug {interface.tap} into machine {machine_id}") as connection:
            devices.attach_interface(self._get(connection, machine_id), interface)

    def ensure_interface_detached(self, machine_id: UUID, tap: str, patience_seconds: float = 10) -> bool:
        """As `ensure_disk_detached`."""
        with self._connection.calling(f"unplug {tap} from machine {machine_id}") as connection:
            domain = self._get(connection, machine_id)
            if tap in _saved_devices(domain):
                raise WrongPower(f"machine {machine_id} is hibernated and can't let go of {tap}")
            return devices.detach_interface(domain, tap, patience_seconds)

    # Secrets, by which a guest's disk logs in where it is served

    def ensure_secret(self, secret_id: UUID, value: str) -> None:
        """Kept by libvirtd until it ends, so this comes before each start or plugging that needs it."""
        with self._connection.calling(f"keep the secret {secret_id}") as connection:
            iscsi_secrets.ensure(connection, self.cloud_tag, secret_id, value)

    def secret_absent(self, secret_id: UUID) -> None:
        with self._connection.calling(f"forget the secret {secret_id}") as connection:
            iscsi_secrets.absent(connection, self.cloud_tag, secret_id)

    def secrets(self) -> set[UUID]:
        """Those of this cloud."""
        with self._connection.calling("list the secrets") as connection:
            return iscsi_secrets.of_cloud(connection, self.cloud_tag)

    def grow_disk(self, machine_id: UUID, device: str, size_bytes: int) -> None:
        """Grows the file and tells the guest. The machine must run: a file at rest is its owner's to grow."""
        with self._connection.calling(f"grow disk {device} of machine {machine_id}") as connection:
            domain = self._get(connection, machine_id)
            _require_active(domain, machine_id, "told of a larger disk")
            capacity_bytes = domain.blockInfo(device)[0]
            if capacity_bytes < size_bytes:
                domain.blockResize(device, size_bytes, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def copy_disk(self, machine_id: UUID, device: str, target: Path, limit_seconds: float = 3600) -> None:
        """A full qcow2 copy, as of the moment of the call, of a disk whose guest runs or is paused.

        Returns when `target` is complete; blocks its thread meanwhile. The file is owned by root.
        """
        with self._one_copy_at_a_time(machine_id):
            doing = f"copy disk {device} of machine {machine_id}"
            with self._connection.calling(doing) as connection:
                domain = self._get(connection, machine_id)
                _require_active(domain, machine_id, "copied while it runs")
                copying.copy_disk(domain, device, target, limit_seconds)

    # Steps

    def _define(self, connection: libvirt.virConnect, spec: DomainSpec) -> libvirt.virDomain:
        self._find(connection, spec.id)  # refuses to redefine somebody else's
        self._console_directory.mkdir(parents=True, exist_ok=True)
        xml = domain_xml(
            spec if self._shares_work else replace(spec, share=None),
            cloud_tag=self.cloud_tag,
            domain_type=self.domain_type,
            console_log=self.console_log_path(spec.id),
            vnc_password=secrets.token_urlsafe(VNC_PASSWORD_BYTES),
        )
        domain: libvirt.virDomain = connection.defineXML(xml)
        return domain

    def _start(self, connection: libvirt.virConnect, domain: libvirt.virDomain, spec: DomainSpec) -> None:
        try:
            domain.create()
        except libvirt.libvirtError as error:
            if domain.isActive():  # another thread was faster
                return
            if not (self._shares_work and spec.share is not None and _blames_cgroups(error)):
                raise
            self._define(connection, replace(spec, share=None)).create()
            self._shares_work = False

    def _find(self, connection: libvirt.virConnect, machine_id: UUID) -> libvirt.virDomain | None:
        try:
            domain: libvirt.virDomain = connection.lookupByUUID(machine_id.bytes)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        if not self._is_ours(domain):
            raise NotOurs(f"domain {domain.name()} has the identity of machine {machine_id} but isn't ours")
        return domain

    def _get(self, connection: libvirt.virConnect, machine_id: UUID) -> libvirt.virDomain:
        if (domain := self._find(connection, machine_id)) is None:
            raise MachineAbsent(f"there is no domain for machine {machine_id}")
        return domain

    def _ours(self, connection: libvirt.virConnect, flags: int = 0) -> dict[UUID, libvirt.virDomain]:
        found: dict[UUID, libvirt.virDomain] = {}
        for domain in connection.listAllDomains(flags):
            if (machine_id := self.identify(domain)) is not None and self._is_ours(domain):
                found[machine_id] = domain
        return found

    def _is_ours(self, domain: libvirt.virDomain) -> bool:
        machine_id = self.identify(domain)
        if machine_id is None:
            return False
        try:
            xml = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, METADATA_NAMESPACE)
        except libvirt.libvirtError as error:
            if error.get_error_code() in (
                libvirt.VIR_ERR_NO_DOMAIN_METADATA,
                libvirt.VIR_ERR_NO_DOMAIN,
            ):
                return False
            raise
        return parse_metadata(xml) == (self.cloud_tag, machine_id)

    def _remove_logs(self, machine_id: UUID) -> None:
        name = domain_name(self.cloud_tag, machine_id)
        for directory in (self._console_directory, self._libvirt_log_directory):
            for path in directory.glob(f"{name}.log*"):
                path.unlink(missing_ok=True)

    @contextmanager
    def _one_copy_at_a_time(self, machine_id: UUID) -> Iterator[None]:
        with self._copying_lock:
            if machine_id in self._copying:
                raise AnotherCopyRuns(f"another disk of machine {machine_id} is being copied")
            self._copying.add(machine_id)
        try:
            yield
        finally:
            with self._copying_lock:
                self._copying.discard(machine_id)


def _saved_devices(domain: libvirt.virDomain) -> set[str]:
    """The disks and taps that a hibernated guest will look for when it wakes."""
    if observation.power_of(domain)[0] is not Power.HIBERNATED:
        return set()
    description = observation.describe(domain, Power.HIBERNATED)
    return {*description.disks, *description.interfaces}


def _require_active(domain: libvirt.virDomain, machine_id: UUID, what: str) -> None:
    if not domain.isActive():
        power, _ = observation.power_of(domain)
        raise WrongPower(f"machine {machine_id} is {power}, so it can't be {what}")


@contextmanager
def _unless_off(domain: libvirt.virDomain) -> Iterator[None]:
    """For calls that mind when the machine goes off just before them."""
    try:
        yield
    except libvirt.libvirtError:
        if domain.isActive():
            raise


def _destroy(domain: libvirt.virDomain) -> None:
    if domain.isActive():
        with _unless_off(domain):
            domain.destroy()


def _resume(domain: libvirt.virDomain) -> None:
    try:
        domain.resume()
    except libvirt.libvirtError:
        if observation.power_of(domain)[0] is not Power.RUNNING:
            raise


def _undefine(domain: libvirt.virDomain) -> None:
    try:
        domain.undefineFlags(_UNDEFINE_ALL)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise


def _blames_cgroups(error: libvirt.libvirtError) -> bool:
    return (
        error.get_error_domain() in (libvirt.VIR_FROM_CGROUP, libvirt.VIR_FROM_SYSTEMD)
        or error.get_error_code() == libvirt.VIR_ERR_CONFIG_UNSUPPORTED
    )
