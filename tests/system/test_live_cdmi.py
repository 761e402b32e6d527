"""CDMI through the running gateway: the how-to's own commands, large values in constant memory, a killed worker."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import Gateway

from tests.conftest import repository, wait_until

MIB = 2**20
LARGE_MIB = 512
STREAMING_MAX_MIB = 64


def workers(gateway: Gateway) -> list[int]:
    """Those that answer; their parent has the lowest ID."""
    return sorted(gateway.processes("altostratus serve"))[1:]


def peak_mib(process: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) >> 10


def values_of(gateway: Gateway) -> list[Path]:
    return list((gateway.state / "values").iterdir())


@pytest.fixture
def box(client: httpx.Client) -> Iterator[str]:
    path = f"/cdmi/box-{os.urandom(4).hex()}/"
    client.put(path).raise_for_status()
    yield path
    client.delete(path).raise_for_status()


def test_the_commands_of_the_how_to_work(gateway: Gateway, tmp_path: Path) -> None:
    text = (repository() / "docs/how-to/objects.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    script = "\n".join(["set -eu", *blocks])
    script = script.replace("http://127.0.0.1:8787", gateway.url).replace("/var/lib/altostratus", str(gateway.state))
    (tmp_path / "picture.jpg").write_bytes(os.urandom(200_000))

    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy.jpg").read_bytes() == (tmp_path / "picture.jpg").read_bytes()
    assert (tmp_path / "first-bytes").stat().st_size == 100
    assert (tmp_path / "old.jpg").read_bytes()[6:] == (tmp_path / "picture.jpg").read_bytes()[6:]
    assert '"metadata":{"colour":"blue"}' in done.stdout


def test_a_large_value_goes_up_and_down_in_little_memory(gateway: Gateway, client: httpx.Client, box: str) -> None:
    chunk = os.urandom(MIB)
    sent, received = hashlib.sha256(), hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        for number in range(LARGE_MIB):
            data = number.to_bytes(8, "big") + chunk[8:]
            sent.update(data)
            yield data

    before = {worker: peak_mib(worker) for worker in workers(gateway)}
    assert before
    client.put(f"{box}large", content=chunks()).raise_for_status()
    with client.stream("GET", f"{box}large") as answer:
        assert int(answer.headers["Content-Length"]) == LARGE_MIB * MIB
        for data in answer.iter_raw():
            received.update(data)
    assert received.digest() == sent.digest()
    with client.stream(
        "GET", f"/cdmi/2.0.0{box[5:]}large?value", headers={"Accept": "application/cdmi-object"}
    ) as answer:
        length = sum(len(data) for data in answer.iter_raw())
    assert length > LARGE_MIB * MIB * 4 // 3
    for worker, least in before.items():
        assert peak_mib(worker) - least < STREAMING_MAX_MIB


def test_large_values_go_out_by_sendfile(gateway: Gateway, client: httpx.Client, box: str) -> None:
    client.put(f"{box}file", content=os.urandom(8 * MIB)).raise_for_status()
    before = {worker: reads(worker) for worker in workers(gateway)}
    for _ in range(8):
        assert len(client.get(f"{box}file").content) == 8 * MIB
    # Read in the blocks of 8 KiB that Falcon asks for, this would take 8192 calls.
    assert sum(reads(worker) - count for worker, count in before.items()) < 4096


def reads(process: int) -> int:
    """How many calls that read the process has made, those of sendfile among them."""
    found = re.search(r"syscr: (\d+)", Path(f"/proc/{process}/io").read_text())
    assert found is not None
    return int(found[1])


def test_a_hole_costs_no_room(gateway: Gateway, client: httpx.Client, box: str) -> None:
    end = 2**33
    ranged = {"Content-Range": f"bytes {end}-{end + 2}/*"}
    client.put(f"{box}sparse", content=b"end", headers=ranged).raise_for_status()
    client.put(f"{box}sparse", content=b"new", headers={"Content-Range": "bytes 5-7/*"}).raise_for_status()
    assert client.get(f"{box}sparse", headers={"Range": f"bytes={end - 2}-"}).content == b"\0\0end"
    assert client.get(f"{box}sparse", headers={"Range": "bytes=4-8"}).content == b"\0new\0"
    assert max(path.stat().st_blocks * 512 for path in values_of(gateway)) < MIB


def test_a_worker_killed_in_the_middle_of_an_upload_leaves_the_old_value_and_no_file(
    gateway: Gateway, client: httpx.Client, box: str
) -> None:
    client.put(f"{box}o", content=b"o" * 100_000).raise_for_status()
    files = set(values_of(gateway))
    old_workers = workers(gateway)
    host, _, port = gateway.listen.partition(":")
    name, password = gateway.credentials
    authorization = httpx.BasicAuth(name, password)
    request = next(authorization.auth_flow(httpx.Request("PUT", f"{gateway.url}{box}o")))
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"PUT {box}o HTTP/1.1\r\nHost: {gateway.listen}\r\nContent-Length: {10 * MIB}\r\n"
            f"Authorization: {request.headers['Authorization']}\r\n\r\n".encode()
        )
        connection.sendall(b"n" * 2 * MIB)
        # A nameless file of the values' folder is open in the worker that takes it.
        wait_until(lambda: any(receives_value(gateway, worker) for worker in old_workers))
        for worker in old_workers:
            os.kill(worker, signal.SIGKILL)
    wait_until(lambda: len(set(workers(gateway)) - set(old_workers)) == len(old_workers))

    assert client.get(f"{box}o").content == b"o" * 100_000
    assert set(values_of(gateway)) == files


def receives_value(gateway: Gateway, worker: int) -> bool:
    links = [str(link.readlink()) for link in Path(f"/proc/{worker}/fd").iterdir() if link.is_symlink()]
    return any(link.startswith(f"{gateway.state}/values/") and link.endswith("(deleted)") for link in links)


def test_a_value_that_no_row_points_to_is_swept_when_a_worker_starts(gateway: Gateway, client: httpx.Client) -> None:
    """As a crash between naming the file and committing the row leaves it."""
    orphan = gateway.state / "values" / "6b9f3d54-9f5e-4f0e-8f77-7d8a0ad3e0e2"
    orphan.write_bytes(b"x")
    old = workers(gateway)
    os.kill(old[0], signal.SIGKILL)
    wait_until(lambda: not orphan.exists())
    wait_until(lambda: client.get("/healthz").status_code == 200)


def test_a_query_goes_on_when_the_workers_are_killed(gateway: Gateway, client: httpx.Client, box: str) -> None:
    copies, each = 60, 50
    new = f"/cdmi/2.0.0/{box.removeprefix('/cdmi/')}"
    client.put(f"{box}tree0/").raise_for_status()
    for number in range(each):
        client.put(f"{box}tree0/o{number}", content=b"x").raise_for_status()
    container = {"Content-Type": "application/cdmi-container"}
    for number in range(1, copies):
        copy = {"copy": f"{box}tree0/"}
        client.put(f"{new}tree{number}/", json=copy, headers=container).raise_for_status()
    metadata = {
        "cdmi_queue_type": "cdmi_query_queue",
        "cdmi_scope_specification": [{"parentURI": f"starts {box}tree", "objectName": "starts o"}],
        "cdmi_results_specification": {"objectID": ""},
    }
    queue = {"Content-Type": "application/cdmi-queue", "Accept": "application/cdmi-queue"}
    client.put(f"{new}q", json={"metadata": metadata}, headers=queue).raise_for_status()
    for worker in workers(gateway):
        os.kill(worker, signal.SIGKILL)

    def is_done() -> bool:
        try:
            answer = client.get(f"{new}q?metadata=cdmi_query_status", headers=queue)
        except httpx.TransportError:
            return False
        return answer.is_success and answer.json()["metadata"] == {"cdmi_query_status": "Current"}

    wait_until(is_done)
    identities: list[str] = []
    while values := client.get(f"{new}q?value&values=1000", headers=queue).json()["value"]:
        identities += [value["objectID"] for value in values]
        client.delete(f"{new}q?values={len(values)}", headers=queue).raise_for_status()
    assert len(identities) == len(set(identities)) == copies * each


def test_what_takes_long_ends_with_its_client_and_leaves_places_to_others(
    gateway: Gateway, client: httpx.Client, box: str
) -> None:
    size_bytes = 700 * MIB
    ranged = {"Content-Range": f"bytes {size_bytes - 2}-{size_bytes - 1}/*"}
    client.put(f"{box}hole", content=b"xy", headers=ranged).raise_for_status()
    body = {"serialize": f"{box}hole"}
    headers = {"Content-Type": "application/cdmi-object", "X-CDMI-Specification-Version": "1.1.1"}

    def serialize(number: int) -> int:
        """0: the client has left."""
        try:
            return client.put(f"{box}all{number}", json=body, headers=headers, timeout=0.3).status_code
        except httpx.TimeoutException:
            return 0

    with ThreadPoolExecutor(12) as pool:
        answers = pool.map(serialize, range(24))
        assert client.get(f"{box}hole", headers={"Range": "bytes=-1"}).content == b"y"
        assert set(answers) <= {0, 503}
    wait_until(lambda: not any(receives_value(gateway, worker) for worker in workers(gateway)))
    for number in range(24):
        assert client.get(f"{box}all{number}").status_code == 404


def test_a_path_that_is_no_utf8_is_refused(client: httpx.Client) -> None:
    assert client.get("/cdmi/%FF").status_code == 400
