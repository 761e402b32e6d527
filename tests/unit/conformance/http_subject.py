"""What the suites' subjects have in common: HTTP on a free port, with faults put between wire and server."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qs, unquote_plus, urlsplit

USER, PASSWORD = "tester", "secret"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: tuple[tuple[str, str], ...]
    body: bytes
    target: str = ""
    """Path and query as they were sent."""

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key.lower() == name)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key.lower() == name)


class Refusal(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Cloud(Protocol):
    base: str

    def answer(self, request: Request) -> Answer: ...


CloudT = TypeVar("CloudT", bound=Cloud)


@dataclass(frozen=True)
class Fault:
    """Something wrong that is put between the wire and the healthy server, and the checks that must see it."""

    name: str
    catches: tuple[str, ...]
    request: Callable[[Request], Request] | None = None
    answer: Callable[[Request, Answer], Answer] | None = None
    prepare: Callable[[Any], object] | None = None


class HttpSubject(Generic[CloudT]):
    """A server on a free port of 127.0.0.1 that answers what its cloud does; `fault` can be changed while it runs."""

    def __init__(self, make_cloud: Callable[[], CloudT], always: tuple[tuple[str, str], ...] = ()) -> None:
        self.make_cloud = make_cloud
        self.always = always
        """Headers of every answer."""
        self.cloud = make_cloud()
        self.fault: Fault | None = None
        subject = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def __getattr__(self, name: str) -> Callable[[], None]:
                if name.startswith("do_"):
                    return self.serve
                raise AttributeError(name)

            def serve(self) -> None:
                subject.serve(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = self.note_crash  # type: ignore[method-assign, assignment]
        self.crashes: list[str] = []
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.cloud.base = self.url
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def note_crash(self, *_: object) -> None:
        self.crashes.append(traceback.format_exc())

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def reset(self, fault: Fault | None = None) -> None:
        self.cloud = self.make_cloud()
        self.cloud.base = self.url
        self.crashes.clear()
        self.inject(fault)

    def inject(self, fault: Fault | None) -> None:
        self.fault = fault
        if fault and fault.prepare:
            fault.prepare(self.cloud)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length") or 0)
        split = urlsplit(handler.path)
        headers = tuple((n, v.encode("latin-1").decode("utf-8", "replace")) for n, v in handler.headers.items())
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        body = handler.rfile.read(length)
        request = Request(handler.command, unquote_plus(split.path), query, headers, body, handler.path)
        with self.lock:
            answer = self.respond(request)
        handler.send_response_only(answer.status)
        for name, value in answer.headers:
            handler.send_header(name, value.encode().decode("latin-1"))
        if answer.status != 204:
            handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(answer.body)
        handler.wfile.flush()

    def respond(self, request: Request) -> Answer:
        fault = self.fault
        if fault and fault.request:
            request = fault.request(request)
        answer = self.cloud.answer(request)
        answer = replace(answer, headers=(*self.always, *answer.headers))
        return fault.answer(request, answer) if fault and fault.answer else answer
