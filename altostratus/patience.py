"""Threads for clients that send and read slowly, so that they take none from those who don't.

A request is read, and its answer sent, by one of many cheap threads, within the setting `request_s`; only in between
does it take one of the few places in which the application works.
"""

from __future__ import annotations

import errno
import io
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from selectors import EVENT_READ
from typing import Any, TypeVar, cast

import gunicorn.util
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.wsgi import FileWrapper
from gunicorn.workers.gthread import ThreadWorker

from backends.errors import TryLater
from cdmi_server.call import AT_LENGTH

CLIENTS_AT_ONCE = 64
"""Of one worker: each may cost a body's memory and a thread that mostly waits."""
LEAST_BYTES_PER_S = 256 << 10
"""What has come buys time for what is to come at this rate, so that large values can be sent; and so have answers."""
SENT_AT_ONCE_BYTES = 1 << 20
READ_AT_ONCE_BYTES = 1 << 20
TRANSFERS_AT_ONCE = CLIENTS_AT_ONCE * 3 // 4
"""Of one worker: large bodies, up or down, hold their threads for as long as they last, and leave some to others."""
AT_LENGTH_AT_ONCE = 2
"""Of one worker: work that takes long for an answer that is short, each of which keeps a processor busy."""
LARGE_BYTES = 1 << 20
"""An answer beyond this counts as a transfer: what is smaller is soon with the client, or with the kernel."""
RETRY_AFTER_S = 5
BUSY = b"Too many large bodies are on their way; try again.\n"
LENGTH_MAX_BYTES = 2**63 - 1
"""Of a body: a file has no more."""
TOO_LONG = f"The body is said to be too long: at most {LENGTH_MAX_BYTES} bytes are expected.\n".encode()
LATE = b"The request was not here in time.\n"

T = TypeVar("T")
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Late(ConnectionResetError):
    """A client that sends or reads too slowly, which is treated as one that is gone."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client is too slow")


class TimedSocket(socket.socket):
    """A client's connection: a request must be here by `due`, its answer be taken by `answer_due`.

    Both move on with the bytes that pass.
    """

    limit_s: float
    due: float
    answer_due: float | None

    def begin(self, limit_s: float) -> None:
        """A new request, from now on."""
        self.limit_s = limit_s
        self.due = time.monotonic() + limit_s
        self.answer_due = None

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if self.gettimeout() == 0:
            return super().recv(size, flags)
        data = self._within(self.due, lambda: super(TimedSocket, self).recv(size, flags))
        self.due += len(data) / LEAST_BYTES_PER_S
        return data

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        rest = memoryview(data).cast("B")
        due = self._begin_answer()
        while rest:
            piece, rest = rest[:SENT_AT_ONCE_BYTES], rest[SENT_AT_ONCE_BYTES:]
            self._within(due, partial(super().sendall, piece, flags))
            due += len(piece) / LEAST_BYTES_PER_S
            self.answer_due = due

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        due = self._begin_answer()
        sent = 0
        while count is None or sent < count:
            piece = SENT_AT_ONCE_BYTES if count is None else min(SENT_AT_ONCE_BYTES, count - sent)
            taken = self._within(due, partial(super().sendfile, file, offset + sent, piece))
            if taken == 0:
                break
            sent += taken
            due += taken / LEAST_BYTES_PER_S
            self.answer_due = due
        return sent

    def _begin_answer(self) -> float:
        return time.monotonic() + self.limit_s if self.answer_due is None else self.answer_due

    def _within(self, due: float, act: Callable[[], T]) -> T:
        """`TimeoutError` still is the end of a shorter limit that somebody has set on the socket."""
        own_s = self.gettimeout()
        left_s = due - time.monotonic()
        if left_s <= 0:
            raise Late
        self.settimeout(left_s if own_s is None else min(own_s, left_s))
        try:
            return act()
        except TimeoutError:
            if own_s is not None and own_s < left_s:
                raise
            raise Late from None
        finally:
            self.settimeout(own_s)


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threads, with an end to what one client may have of them."""

    limit_s: float

    def get_thread_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(CLIENTS_AT_ONCE)

    def enqueue_req(self, conn: Any) -> None:
        """Who has sent nothing yet takes no thread: the loop waits for the first byte, as long as for the next."""
        if not isinstance(conn.sock, TimedSocket):
            conn.sock = TimedSocket(fileno=conn.sock.detach())
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def handle(self, conn: Any) -> Any:
        conn.sock.begin(self.limit_s)
        goes_on = super().handle(conn)
        if not goes_on:
            # Here and not in the loop, which would wait two seconds for each client that doesn't close its end.
            gunicorn.util.close_graceful(conn.sock)
            conn.close = lambda graceful=False: None  # noqa: ARG005
        return goes_on


class Arriving:
    """A body of which the first part was read before. `read` of a size gives what is there: b"" only at the end.

    Who waits for the rest gives up its place among those at work for so long.
    """

    def __init__(self, first: bytes, rest: Body, places: threading.BoundedSemaphore) -> None:
        self._first = io.BytesIO(first)
        self._rest = rest
        self._places = places

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return b"".join(iter(partial(self.read, READ_AT_ONCE_BYTES), b""))
        first = self._first.read(size)
        if first:
            return first
        self._places.release()
        try:
            return self._read_rest(size)
        finally:
            self._places.acquire()

    def _read_rest(self, size: int) -> bytes:
        """From the socket where the length is known: gunicorn's readers would copy each byte some six times."""
        reader, ahead = self._rest.reader, self._rest.buf.tell()
        if ahead or not isinstance(reader, LengthReader):
            return bytes(self._rest.read(min(size, ahead) or size))
        size = min(size, reader.length)
        if size == 0:
            return b""
        held = reader.unreader.take_buffered()
        reader.unreader.unread(held[size:])
        try:
            data = held[:size] or reader.unreader.sock.recv(size)
        except OSError:
            self._rest.failed = True
            raise
        reader.length -= len(data)
        return bytes(data)


@contextmanager
def at_length(
    free: threading.BoundedSemaphore, lengthy: threading.BoundedSemaphore, client: socket.socket | None
) -> Iterator[Callable[[], None]]:
    """Around work that takes long: it gives up its place, and the function it gets ends it once the client has gone."""
    if not lengthy.acquire(blocking=False):
        raise TryLater("too much that takes long is under way")
    free.release()
    try:
        yield partial(check_present, client)
    finally:
        lengthy.release()
        free.acquire()


def check_present(client: socket.socket | None) -> None:
    """`ConnectionResetError` if the client has closed its end."""
    if client is not None:
        poll = select.poll()
        poll.register(client, select.POLLRDHUP)
        if poll.poll(0):
            raise ConnectionResetError(errno.ECONNRESET, "the client has gone")


class Answered:
    """An answer of which the server must tell when it has been sent, or never will be."""

    def __init__(self, answer: Iterable[bytes], when_over: Callable[[], None]) -> None:
        self._answer = answer
        self._when_over = when_over

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        try:
            close_answer(self._answer)
        finally:
            self._when_over()


def close_answer(answer: Iterable[bytes]) -> None:
    if hasattr(answer, "close"):
        answer.close()


def close_with(answer: Iterable[bytes], when_over: Callable[[], None]) -> Iterable[bytes]:
    """`answer`, still a file for sendfile if it is one."""
    if not isinstance(answer, FileWrapper):
        return Answered(answer, when_over)
    answer.close = Answered(FileWrapper(answer.filelike), when_over).close
    return cast(Iterable[bytes], answer)


def is_large(status: str, headers: Sequence[tuple[str, str]], method: str) -> bool:
    """Whether the answer has more than so many bytes, or nobody knows how many."""
    length = next((value for name, value in headers if name.lower() == "content-length"), "")
    has_body = method != "HEAD" and status[:3] not in ("204", "304")
    return has_body and (not length.isdecimal() or int(length) > LARGE_BYTES)


def in_turn(application: Wsgi, places: int, read_before_bytes: int) -> Wsgi:
    """The application with at most `places` requests at work at a time, each with the start of its body at hand."""
    free = threading.BoundedSemaphore(places)
    transfers = threading.BoundedSemaphore(TRANSFERS_AT_ONCE)
    lengthy = threading.BoundedSemaphore(AT_LENGTH_AT_ONCE)

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        announced = environ.get("CONTENT_LENGTH") or "0"
        if announced.isdecimal() and int(announced) > LENGTH_MAX_BYTES:
            told = [("Content-Type", "text/plain"), ("Content-Length", str(len(TOO_LONG)))]
            start_response("413 Request Entity Too Large", told)
            return [TOO_LONG]
        body = environ["wsgi.input"]
        try:
            first = bytes(body.read(read_before_bytes))
        except Late:
            start_response("408 Request Timeout", [("Content-Type", "text/plain"), ("Connection", "close")])
            return [LATE]
        is_transfer = len(first) == read_before_bytes
        if is_transfer and not transfers.acquire(blocking=False):
            return busy(start_response)
        begun: list[tuple[str, Sequence[tuple[str, str]]]] = []
        environ[AT_LENGTH] = partial(at_length, free, lengthy, environ.get("gunicorn.socket"))
        environ["wsgi.input"] = Arriving(first, body, free) if is_transfer else io.BytesIO(first)
        try:
            with free:
                answer = application(environ, lambda status, headers, *_: begun.append((status, headers)))
        except BaseException:
            if is_transfer:
                transfers.release()
            raise
        status, headers = begun[-1]
        if not is_transfer and is_large(status, headers, environ["REQUEST_METHOD"]):
            is_transfer = transfers.acquire(blocking=False)
            if not is_transfer:
                close_answer(answer)
                return busy(start_response)
        start_response(status, headers)
        return close_with(answer, transfers.release) if is_transfer else answer

    return serve


def busy(start_response: Callable[..., Any]) -> Iterable[bytes]:
    headers = [("Content-Type", "text/plain"), ("Retry-After", str(RETRY_AFTER_S)), ("Connection", "close")]
    start_response("503 Service Unavailable", headers)
    return [BUSY]
