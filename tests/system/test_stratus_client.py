"""The user's command against our own OCCI front-end over loopback.

No agent runs here: machines stay as they are made, and what is asked of them stays to be done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import falcon
import pytest

from backends.cloud import Cloud
from occi_server.application import add_occi
from occi_server.site import Site

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDeqnwsNVyRzHbVjIwYTNvI6yNLw9fZCHuSc6cr6DyLX me@home"
COMMAND = "from stratus_client.command import main; main()"


class EveryoneIs:
    """Middleware that lets the one caller of a test in."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        request.context.cloud = self.cloud


class Server(ThreadingMixIn, WSGIServer):
    pass


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Stratus(Protocol):
    def __call__(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def endpoint(cloud: Cloud, image: str) -> Iterator[str]:
    """Where our front-end serves a cloud with one image."""
    application: Any = falcon.App(middleware=[EveryoneIs(cloud)])
    add_occi(application, Site(sizes=tuple(cloud.sizes())))
    with make_server("127.0.0.1", 0, application, Server, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def stratus(endpoint: str, tmp_path: Path) -> Stratus:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text(PUBLIC_KEY)

    def call(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "STRATUS_ENDPOINT": endpoint}
        ended = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            env=environment,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode == status, ended.stderr
        return ended

    return call


def listed(stratus: Stratus, *arguments: str) -> Sequence[dict[str, Any]]:
    found: Sequence[dict[str, Any]] = json.loads(stratus(*arguments, "--json").stdout)
    return found


def test_what_the_cloud_offers_is_listed(stratus: Stratus) -> None:
    assert [one["name"] for one in listed(stratus, "list", "images")] == ["tiny"]
    assert {"small", "large"} <= {one["name"] for one in listed(stratus, "list", "sizes")}
    assert [one["address"] for one in listed(stratus, "list", "networks")] == ["10.77.0.0/24"]
    assert listed(stratus, "list", "disks") == []
    assert listed(stratus, "list") == []


def test_a_machine_is_made_as_asked_and_deleted(stratus: Stratus, cloud: Cloud, tmp_path: Path) -> None:
    setup = tmp_path / "setup.yaml"
    setup.write_text("#cloud-config\n")
    stratus(
        *("run", "tiny", "--name", 'the "first"', "--size", "large", "--cores", "2", "--memory", "512MiB"),
        *("--user-data", str(setup), "--no-wait"),
    )
    (made,) = cloud.machines()
    assert made.title == 'the "first"'
    assert (made.image_name, made.size_name, made.cores, made.memory_mib) == ("tiny", "large", 2, 512)
    assert made.ssh_key == PUBLIC_KEY
    assert made.user_data == "I2Nsb3VkLWNvbmZpZwo="
    shown = json.loads(stratus("show", str(made.id)[:6], "--json").stdout)
    assert shown["id"] == str(made.id)
    assert shown["addresses"] == [one.address for one in made.interfaces]
    assert (shown["image"], shown["size"], shown["cores"], shown["memory_gib"]) == ("tiny", "large", 2, 0.5)
    stratus("delete", 'the "first"')
    assert listed(stratus, "list") == []


def test_waiting_for_a_machine_ends_with_its_state(stratus: Stratus) -> None:
    ended = stratus("run", "--name", "web", "--timeout", "0", status=1)
    assert "web" in ended.stderr
    assert "inactive, not yet active" in ended.stderr


def test_a_network_is_chosen_by_its_name(stratus: Stratus, cloud: Cloud) -> None:
    stratus("run", "--network", "shared", "--no-wait")
    (made,) = cloud.machines()
    (shared,) = cloud.networks()
    assert [one.network_id for one in made.interfaces] == [shared.id]


def test_an_address_is_reserved_given_to_a_machine_and_released(stratus: Stratus, cloud: Cloud) -> None:
    assert listed(stratus, "list", "addresses") == []
    assert "10.77.0.9 is reserved" in stratus("reserve", "10.77.0.9", "--pool", "local", "--name", "web").stdout
    (kept,) = cloud.reservations()
    stratus("run", "--address", "10.77.0.9", "--no-wait")
    (made,) = cloud.machines()
    assert [one.reservation_id for one in made.interfaces] == [kept.id]
    assert listed(stratus, "list", "addresses") == [
        {
            "id": str(kept.id),
            "name": "web",
            "address": "10.77.0.9",
            "pool": "local",
            "used": True,
            "location": f"/ipreservation/{kept.id}",
        }
    ]
    assert "web  10.77.0.9" in stratus("show", str(made.id)).stdout
    assert "yes" in stratus("list", "addresses").stdout
    assert str(made.id) in stratus("release", "web", status=1).stderr
    other = json.loads(stratus("reserve", "--json").stdout)
    assert other["used"] is False
    assert "Released" in stratus("release", other["address"]).stdout
    assert "stratus list addresses" in stratus("release", other["address"], status=3).stderr
    assert [one.id for one in cloud.reservations()] == [kept.id]


def test_the_doors_words_reach_the_user(stratus: Stratus) -> None:
    refused = stratus("run", "--cores", "4000", "--no-wait", status=1)
    assert "It says: " in refused.stderr
    assert "4000" in refused.stderr


def test_a_machine_that_has_no_console_log_is_said_to_have_none(stratus: Stratus) -> None:
    stratus("run", "--name", "web", "--no-wait")
    assert "no console log of web" in stratus("log", "web", status=1).stderr
