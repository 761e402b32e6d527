"""Clients that are slow, on purpose or not, take nothing from others and not more than their time."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from altostratus.patience import AT_LENGTH_AT_ONCE, TRANSFERS_AT_ONCE, Late, TimedSocket
from tests.conftest import repository, wait_until

SLOW_CLIENTS = 40
PATIENCE_S = 30
LARGE_BEGUN = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"x" * 2000
"""More than is read before the application begins."""
BEGUN = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nx"


@dataclass(frozen=True)
class Server:
    port: int
    notes: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def post(self, body: bytes, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer

    def ended(self) -> list[str]:
        """The sizes of the answers that are over, sent or not."""
        return self.notes.read_text().split() if self.notes.exists() else []


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[float], Server]]:
    processes = []

    def start(limit_s: float) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        notes = tmp_path / "notes"
        script = Path(__file__).with_name("patient_server.py")
        processes.append(
            subprocess.Popen(
                [sys.executable, str(script), str(port), str(limit_s), str(notes)],
                cwd=repository(),
                env={"PYTHONPATH": str(repository())},
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

        def is_up() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(is_up, PATIENCE_S)
        return Server(port, notes)

    yield start
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)


@pytest.mark.parametrize("sent", [b"", b"POST / HTT", BEGUN], ids=["nothing", "half a line", "a byte of the body"])
def test_others_are_served_while_forty_clients_dawdle(serve: Callable[[float], Server], sent: bytes) -> None:
    server = serve(4 * PATIENCE_S)
    with ExitStack() as clients:
        for _ in range(SLOW_CLIENTS):
            clients.enter_context(server.connect()).sendall(sent)
        assert server.post(b"abc").getheader("Content-Length") == "3"


def test_others_are_served_while_forty_clients_stop_in_the_middle_of_a_large_body(
    serve: Callable[[float], Server],
) -> None:
    server = serve(4 * PATIENCE_S)
    with ExitStack() as clients:
        for _ in range(SLOW_CLIENTS):
            clients.enter_context(server.connect()).sendall(LARGE_BEGUN)
        assert server.post(b"abc").getheader("Content-Length") == "3"
        assert server.post(b"x" * 5000).getheader("Content-Length") == "5000"


@pytest.mark.parametrize("begun", ["up", "down"])
def test_large_bodies_never_take_all_threads(serve: Callable[[float], Server], begun: str) -> None:
    server = serve(4 * PATIENCE_S)
    large = {"up": LARGE_BEGUN, "down": b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n"}[begun]

    def is_refused() -> bool:
        """One more each time, until they are too many."""
        client = clients.enter_context(server.connect())
        client.sendall(large)
        client.settimeout(0.1)
        try:
            start = client.recv(12)
        except TimeoutError:
            return False
        return start == b"HTTP/1.1 503"

    with ExitStack() as clients:
        for _ in range(TRANSFERS_AT_ONCE - 1):
            clients.enter_context(server.connect()).sendall(large)
        wait_until(is_refused, PATIENCE_S)
        assert server.post(b"abc").getheader("Content-Length") == "3"
        refused = server.post(b"x" * 5000)
        assert (refused.status, refused.getheader("Retry-After")) == (503, "5")
    wait_until(lambda: server.post(b"x" * 5000).status == 200, PATIENCE_S)


def test_others_are_served_while_forty_clients_do_not_read(serve: Callable[[float], Server]) -> None:
    server = serve(4 * PATIENCE_S)
    with ExitStack() as clients:
        for _ in range(SLOW_CLIENTS):
            clients.enter_context(server.connect()).sendall(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        assert server.post(b"abc").getheader("Content-Length") == "3"


def test_who_sends_a_byte_at_a_time_is_cut_off(serve: Callable[[float], Server]) -> None:
    server = serve(2)
    with server.connect() as client:
        client.sendall(BEGUN)
        client.setblocking(False)
        end = time.monotonic() + PATIENCE_S
        answer = b""
        while not answer:
            assert time.monotonic() < end, "never cut off"
            try:
                client.send(b"x")
                answer = client.recv(4096)
            except BlockingIOError:
                time.sleep(0.01)
            except ConnectionError:
                break
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")


def test_who_never_reads_its_answer_is_cut_off(serve: Callable[[float], Server]) -> None:
    server = serve(2)
    with server.connect() as client:
        client.sendall(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: len(server.ended()) == 1, PATIENCE_S)
        received = 0
        try:
            while part := client.recv(2**20):
                received += len(part)
        except ConnectionError:
            pass
    assert received < int(server.ended()[0])


def test_each_request_of_a_connection_has_its_own_time() -> None:
    ours, theirs = socket.socketpair()
    with TimedSocket(fileno=ours.detach()) as connection, theirs:
        connection.begin(0.01)
        with pytest.raises(Late):
            connection.recv(1)
        theirs.sendall(b"x")
        with pytest.raises(Late):
            connection.recv(1)
        connection.begin(PATIENCE_S)
        assert connection.recv(1) == b"x"


def test_a_shorter_limit_on_the_socket_holds() -> None:
    ours, theirs = socket.socketpair()
    with TimedSocket(fileno=ours.detach()) as connection, theirs:
        connection.begin(PATIENCE_S)
        connection.settimeout(0.01)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert connection.gettimeout() == 0.01


def test_long_bodies_and_bodies_in_chunks_are_served_whole(serve: Callable[[float], Server]) -> None:
    server = serve(PATIENCE_S)
    assert server.post(iter([b"abc", b"de"])).getheader("Content-Length") == "5"  # type: ignore[arg-type]
    assert server.post(b"x" * 5000).getheader("Content-Length") == "5000"
    assert server.post(iter([b"x" * 999, b"y" * 2000])).getheader("Content-Length") == "2999"  # type: ignore[arg-type]
    with server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("path", ["/", "/pieces"])
@pytest.mark.parametrize("in_chunks", [False, True])
def test_each_byte_of_a_body_arrives_in_its_place_and_none_of_the_next_request(
    serve: Callable[[float], Server], path: str, in_chunks: bool
) -> None:
    """Of sizes around what is read before the application runs, and around gunicorn's own reading ahead."""
    bodies = [random.Random(size).randbytes(size) for size in (0, 999, 1000, 1001, 2023, 2024, 9000, 3_000_000)]
    how = "Transfer-Encoding: chunked" if in_chunks else "Content-Length: {}"
    sent = b"".join(
        f"POST {path} HTTP/1.1\r\nHost: a\r\n{how.format(len(body))}\r\n\r\n".encode()
        + ((b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n" if in_chunks else body)
        for body in bodies
    )
    with serve(PATIENCE_S).connect() as client, client.makefile("rb") as answers, ThreadPoolExecutor(1) as sender:
        sending = sender.submit(client.sendall, sent)
        for body in bodies:
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            assert answers.read(int(http.client.parse_headers(answers)["Content-Length"])) == body
        sending.result()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_length_that_no_body_can_have_is_refused_at_once(serve: Callable[[float], Server], method: str) -> None:
    with serve(4 * PATIENCE_S).connect() as client, client.makefile("rb") as answer:
        client.sendall(f"{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n".encode())
        assert answer.readline() == b"HTTP/1.1 413 Request Entity Too Large\r\n"
        length = int(http.client.parse_headers(answer)["Content-Length"])
        assert answer.read(length).endswith(b"bytes are expected.\n")


def test_a_client_that_waits_to_be_told_to_continue_is_told(serve: Callable[[float], Server]) -> None:
    with serve(PATIENCE_S).connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 100 Continue")
        client.sendall(b"abc")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")


def test_what_takes_long_leaves_places_to_others_and_ends_with_its_client(serve: Callable[[float], Server]) -> None:
    server = serve(PATIENCE_S)
    asked = b"GET /lengthy HTTP/1.1\r\nHost: a\r\n\r\n"

    def refused() -> bool:
        """Whether so many are under way that the next is refused; if not, it has gone at once."""
        with server.connect() as one:
            one.sendall(asked)
            one.settimeout(0.5)
            try:
                return b" 503 " in one.recv(100)
            except TimeoutError:
                return False

    with ExitStack() as stack:
        for _ in range(AT_LENGTH_AT_ONCE):
            stack.enter_context(server.connect()).sendall(asked)
        wait_until(refused, PATIENCE_S)
        assert server.post(b"short").status == 200
    wait_until(lambda: server.ended().count("4") >= AT_LENGTH_AT_ONCE, PATIENCE_S)
    wait_until(lambda: not refused(), PATIENCE_S)
