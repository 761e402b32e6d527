"""libvirt's events about our machines, handed to a callback as they come, across losses of the connection.

What to do about an event is the callback's business. Definitions are not told: the driver itself defines
at every turn, and whoever converges upon events would never rest.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import libvirt

from backends.machines.connection import Connection
from backends.machines.errors import HypervisorUnavailable

_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 10.0


class EventKind(StrEnum):
    """CONNECTED concerns no machine: events before it may be missing, so look at everything."""

    CONNECTED = "connected"
    UNDEFINED = "undefined"
    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    SHUTTING_DOWN = "shutting_down"
    STOPPED = "stopped"
    CRASHED = "crashed"
    REBOOTED = "rebooted"
    DISK_ERROR = "disk_error"
    DEVICE_REMOVED = "device_removed"
    DEVICE_REMOVAL_REFUSED = "device_removal_refused"
    GUEST_AGENT = "guest_agent"


@dataclass(frozen=True, slots=True)
class MachineEvent:
    kind: EventKind
    detail: str | None = None
    """The alias of the device, the failed disk's path, or the guest agent's new state."""


EventCallback = Callable[[UUID | None, MachineEvent], None]
IdentifyDomain = Callable[[libvirt.virDomain], UUID | None]

_LIFECYCLE = {
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: EventKind.UNDEFINED,
    libvirt.VIR_DOMAIN_EVENT_STARTED: EventKind.STARTED,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: EventKind.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_RESUMED: EventKind.RESUMED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED: EventKind.STOPPED,
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: EventKind.SHUTTING_DOWN,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: EventKind.CRASHED,
}
_AGENT_STATES = {
    libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED: "connected",
    libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED: "disconnected",
}


class _Signal(StrEnum):
    LOST = "lost"
    STOP = "stop"


_Item = tuple[UUID | None, MachineEvent] | _Signal


class Watch:
    """A thread that calls back, one event at a time, until stopped.

    The callback must deal with its own errors: one that escapes it ends the thread and shows in
    threading.excepthook.
    """

    def __init__(self, connection: Connection, identify: IdentifyDomain, callback: EventCallback) -> None:
        self._connection = connection
        self._identify = identify
        self._callback = callback
        self._items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="machine-events", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._items.put(_Signal.STOP)
        self._thread.join()

    def _run(self) -> None:
        delay = _FIRST_DELAY_SECONDS
        while not self._stopped.is_set():
            try:
                connection = self._connection.open()
                registrations = self._register(connection)
            except (HypervisorUnavailable, libvirt.libvirtError):
                self._stopped.wait(delay)
                delay = min(2 * delay, _LONGEST_DELAY_SECONDS)
                continue
            delay = _FIRST_DELAY_SECONDS
            self._callback(None, MachineEvent(EventKind.CONNECTED))
            try:
                self._deliver()
            finally:
                _deregister(connection, registrations)

    def _deliver(self) -> None:
        while not isinstance(item := self._items.get(), _Signal):
            self._callback(*item)

    def _register(self, connection: libvirt.virConnect) -> list[int]:
        connection.registerCloseCallback(self._closed, None)
        handlers: dict[int, Callable[..., None]] = {
            libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE: self._lifecycle,
            libvirt.VIR_DOMAIN_EVENT_ID_REBOOT: self._rebooted,
            libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR: self._disk_error,
            libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED: self._device_removed,
            libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED: self._device_removal_failed,
            libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE: self._agent,
        }
        return [connection.domainEventRegisterAny(None, event, handler, None) for event, handler in handlers.items()]

    def _put(self, domain: libvirt.virDomain, kind: EventKind, detail: str | None = None) -> None:
        if (machine_id := self._identify(domain)) is not None:
            self._items.put((machine_id, MachineEvent(kind, detail)))

    def _closed(self, _connection: libvirt.virConnect, _reason: int, _opaque: None) -> None:
        self._items.put(_Signal.LOST)

    def _lifecycle(
        self,
        _connection: libvirt.virConnect,
        domain: libvirt.virDomain,
        event: int,
        _detail: int,
        _opaque: None,
    ) -> None:
        if (kind := _LIFECYCLE.get(event)) is not None:
            self._put(domain, kind)

    def _rebooted(self, _connection: libvirt.virConnect, domain: libvirt.virDomain, _opaque: None) -> None:
        self._put(domain, EventKind.REBOOTED)

    def _disk_error(
        self,
        _connection: libvirt.virConnect,
        domain: libvirt.virDomain,
        path: str,
        _alias: str,
        _action: int,
        _opaque: None,
    ) -> None:
        self._put(domain, EventKind.DISK_ERROR, path)

    def _device_removed(
        self, _connection: libvirt.virConnect, domain: libvirt.virDomain, alias: str, _opaque: None
    ) -> None:
        self._put(domain, EventKind.DEVICE_REMOVED, alias)

    def _device_removal_failed(
        self, _connection: libvirt.virConnect, domain: libvirt.virDomain, alias: str, _opaque: None
    ) -> None:
        self._put(domain, EventKind.DEVICE_REMOVAL_REFUSED, alias)

    def _agent(
        self,
        _connection: libvirt.virConnect,
        domain: libvirt.virDomain,
        state: int,
        _reason: int,
        _opaque: None,
    ) -> None:
        self._put(domain, EventKind.GUEST_AGENT, _AGENT_STATES.get(state))


def _deregister(connection: libvirt.virConnect, registrations: list[int]) -> None:
    with suppress(libvirt.libvirtError):
        if connection.isAlive():
            connection.unregisterCloseCallback()
            for registration in registrations:
                connection.domainEventDeregisterAny(registration)
