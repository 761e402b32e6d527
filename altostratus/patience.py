"""Threads for clients that send and read slowly: each request has so long, however its bytes are doled out."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

LEAST_BYTES_PER_S = 256 << 10
"""What has come buys time for what is to come at this rate, so that large values can be sent."""


class TimedSocket(socket.socket):
    """A client's connection whose requests must be here by `due`, and whose answers be taken `limit_s` after.

    What a client sends moves `due` on.

    Who is late is treated as gone (`ConnectionResetError`).
    """

    limit_s: float
    due: float

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if self.gettimeout() == 0:
            return super().recv(size, flags)
        try:
            self.settimeout(max(0.001, self.due - time.monotonic()))
            data = super().recv(size, flags)
            self.due += len(data) / LEAST_BYTES_PER_S
            return data
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client sends too slowly") from None
        finally:
            self.setblocking(True)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        try:
            self.settimeout(self.limit_s)
            super().sendall(data, flags)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client reads too slowly") from None
        finally:
            self.setblocking(True)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """As `sendall`, but the limit is for each piece that the kernel takes: values may be large."""
        try:
            self.settimeout(self.limit_s)
            return super().sendfile(file, offset, count)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client reads too slowly") from None
        finally:
            self.setblocking(True)


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threads, with an end to what one client may have of them (the setting `request_s`)."""

    limit_s: float

    def enqueue_req(self, conn: Any) -> None:
        if not isinstance(conn.sock, TimedSocket):
            conn.sock = TimedSocket(fileno=conn.sock.detach())
            conn.sock.limit_s = self.limit_s
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        conn.sock.due = time.monotonic() + self.limit_s
        return super().handle(conn)
