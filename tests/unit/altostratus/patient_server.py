"""A gateway's worker around an application for tests: PORT, LIMIT_S and the file that notes each answer's end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from altostratus import patience
from altostratus.patience import PatientWorker, Wsgi, in_turn
from backends.errors import TryLater
from cdmi_server.call import AT_LENGTH

PLACES = 2
READ_BEFORE_BYTES = 1000
LONG_ANSWER = b"x" * (64 * 2**20)

patience.LEAST_BYTES_PER_S = 64 << 20  # so that what the kernel buffers for a client buys no time worth waiting for


class Answer:
    def __init__(self, content: bytes, notes: Path) -> None:
        self._content = content
        self._notes = notes

    def __iter__(self) -> Iterator[bytes]:
        yield self._content

    def close(self) -> None:
        with self._notes.open("a") as file:
            file.write(f"{len(self._content)}\n")


class Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, port: str, limit_s: str, notes: str) -> None:
        PatientWorker.limit_s = float(limit_s)
        self._port = port
        self._notes = Path(notes)
        super().__init__()

    def load_config(self) -> None:
        chosen = {"bind": [f"127.0.0.1:{self._port}"], "worker_class": PatientWorker, "threads": PLACES,
                  "control_socket_disable": True, "keepalive": 60}  # fmt: skip
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> Wsgi:
        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if environ["PATH_INFO"] == "/lengthy":
                return self._work(environ, start_response)
            read = environ["wsgi.input"].read
            body = b"".join(iter(lambda: read(700), b"")) if environ["PATH_INFO"] == "/pieces" else read()
            content = LONG_ANSWER if environ["PATH_INFO"] == "/long" else body
            start_response("200 OK", [("Content-Length", str(len(content)))])
            return Answer(content, self._notes)

        return in_turn(application, PLACES, READ_BEFORE_BYTES)

    def _work(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """For ever, as far as the client is concerned."""
        try:
            with environ[AT_LENGTH]() as check:
                while True:
                    check()
                    time.sleep(0.05)
        except TryLater:
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return []
        except ConnectionError:
            start_response("408 Request Timeout", [("Content-Length", "4")])
            return Answer(b"gone", self._notes)


if __name__ == "__main__":
    Server(*sys.argv[1:]).run()
