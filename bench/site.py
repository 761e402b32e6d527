"""The gateway under test, whole, as `altostratus run` runs it, and the bare server that it is compared with."""

from __future__ import annotations

import base64
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from backends.store.database import Connection
from bench.measure import BenchError

START_LIMIT_S = 180
REPOSITORY = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway that runs, in a folder of its own."""

    state: Path
    listen: str
    environment: Mapping[str, str]

    @property
    def origin(self) -> str:
        return f"http://{self.listen}"

    @property
    def authorization(self) -> str:
        return "Basic " + base64.b64encode((self.state / "credentials").read_bytes().strip()).decode()

    def connect(self) -> Connection:
        return psycopg.connect(f"host={self.state}/postgres dbname=postgres user=altostratus", autocommit=True)

    def client(self) -> Client:
        return Client(self.listen, {"Authorization": self.authorization})


class Client:
    """One kept connection, with as little of its own as can be."""

    def __init__(self, listen: str, fields: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection(listen, timeout=60)
        self._fields = fields

    def send(self, method: str, path: str, body: bytes | None = None, **fields: str) -> bytes:
        """The answer's body; `fields` are header fields with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        self._connection.request(method, path, body, {**self._fields, **named})
        answer = self._connection.getresponse()
        received = answer.read()
        if not 200 <= answer.status < 300:
            raise BenchError(f"{method} {path} answered {answer.status}: {received[:500].decode('utf-8', 'replace')}")
        return received

    def close(self) -> None:
        self._connection.close()


@contextmanager
def running_site(image: Path) -> Iterator[Site]:
    """The gateway, stopped and removed at the end with everything that it made."""
    folder = Path(tempfile.mkdtemp(prefix="altostratus-bench-"))
    folder.chmod(0o755)
    listen = f"127.0.0.1:{free_port()}"
    own = {
        "ALTOSTRATUS_STATE": str(folder / "state"),
        "ALTOSTRATUS_LISTEN": listen,
        "ALTOSTRATUS_DOMAIN_TYPE": "qemu",
        "ALTOSTRATUS_CORES_OVERCOMMIT": "64",
        "ALTOSTRATUS_LOG_FORMAT": "json",
        "ALTOSTRATUS_LOG_LEVEL": "info",
    }
    site = Site(folder / "state", listen, {**os.environ, **own})
    command = [sys.executable, "-m", "altostratus", "run", "--default-image", str(image)]
    try:
        with running(command, site.environment, folder / "gateway.log", lambda: _is_greeted(folder / "gateway.log")):
            try:
                yield site
            finally:
                _remove_machines(site)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_bare(site: Site, answers: Path) -> Iterator[str]:
    """The address of the bare server, which uses the site's database and gives the answers in a file."""
    listen = f"127.0.0.1:{free_port()}"
    metrics = answers.with_suffix(".metrics")
    metrics.mkdir()
    environment = {
        **site.environment,
        "ALTOSTRATUS_LISTEN": listen,
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH")))),
    }
    command = [sys.executable, "-m", "bench.bare", str(answers)]
    with running(command, environment, answers.with_suffix(".log"), lambda: listens(listen)):
        yield listen


@contextmanager
def running(
    command: list[str], environment: Mapping[str, str], log: Path, is_ready: Callable[[], bool]
) -> Iterator[None]:
    """A program from when it is ready until the end of the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{' '.join(command[1:4])} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


def _is_greeted(log: Path) -> bool:
    return b"The gateway answers at" in log.read_bytes()


def listens(listen: str) -> bool:
    host, _, port = listen.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _remove_machines(site: Site) -> None:
    """Asks for it and waits until nothing of them is on the host."""
    site.client().send("DELETE", "/compute/")
    deadline = time.monotonic() + START_LIMIT_S
    with site.connect() as connection:
        while connection.execute("SELECT 1 FROM machine LIMIT 1").fetchone():
            if time.monotonic() > deadline:
                raise BenchError("some machines were not removed in time")
            time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
