"""The connection to libvirt that all threads of a process share, and libvirt's event loop.

Opened at first use and again after a loss; neither survives a fork. What is asked over it isn't here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import libvirt

from backends.machines.errors import HypervisorUnavailable, is_connection_loss, translate

_KEEPALIVE_SECONDS = 5
_KEEPALIVE_MISSES = 3

_event_loop_lock = threading.Lock()
_event_loop: threading.Thread | None = None


def start_event_loop() -> None:
    """libvirt knows one event loop a process, which must run before the first connection opens."""
    global _event_loop
    with _event_loop_lock:
        if _event_loop is not None:
            return
        libvirt.registerErrorHandler(_ignore_error, None)
        libvirt.virEventRegisterDefaultImpl()
        _event_loop = threading.Thread(target=_run_event_loop, name="libvirt-events", daemon=True)
        _event_loop.start()


def _run_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _ignore_error(_context: object, _error: object) -> None:
    """Errors arrive as exceptions; by default libvirt prints them to stderr as well."""


class Connection:
    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._lock = threading.Lock()
        self._connection: libvirt.virConnect | None = None

    def open(self) -> libvirt.virConnect:
        """The living connection, or `HypervisorUnavailable`."""
        start_event_loop()
        with self._lock:
            if self._connection is not None and self._connection.isAlive():
                return self._connection
            self._connection = None
            try:
                connection: libvirt.virConnect = libvirt.open(self.uri)
                connection.setKeepAlive(_KEEPALIVE_SECONDS, _KEEPALIVE_MISSES)
            except libvirt.libvirtError as error:
                reason = translate(error, f"connect to the hypervisor at {self.uri}").message
                raise HypervisorUnavailable(reason) from error
            self._connection = connection
            return connection

    @contextmanager
    def calling(self, doing: str) -> Iterator[libvirt.virConnect]:
        """Calls made inside raise this driver's errors; `doing` completes "could not ..."."""
        connection = self.open()
        try:
            yield connection
        except libvirt.libvirtError as error:
            if is_connection_loss(error):
                self._forget(connection)
            raise translate(error, doing) from error

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(libvirt.libvirtError):
                connection.close()

    def _forget(self, lost: libvirt.virConnect) -> None:
        with self._lock:
            if self._connection is lost:
                self._connection = None
