"""A small OCCI server over loopback to try the client against: every quirk is a field of `Cloud`."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from renderers.occi.representation import Message
from renderers.occi.text import parse_text, quoted

I = "http://schemas.ogf.org/occi/infrastructure#"  # noqa: E741
ACTION = "http://schemas.ogf.org/occi/infrastructure/compute/action#"
CREDENTIALS = "http://schemas.ogf.org/occi/infrastructure/credentials#"
USER_DATA = "http://schemas.ogf.org/occi/infrastructure/compute#"
OURS = "http://example.org/occi#"
OPENSTACK = "http://schemas.openstack.org/"

KINDS = f"""\
Category: compute; scheme="{I}"; class="kind"; title="Machine"; location="/compute/"; \
actions="{ACTION}start {ACTION}stop {ACTION}restart {ACTION}suspend"
Category: network; scheme="{I}"; class="kind"; title="Network"; location="/network/"
Category: storage; scheme="{I}"; class="kind"; title="Disk"; location="/storage/"
Category: networkinterface; scheme="{I}"; class="kind"; location="/networkinterface/"
Category: storagelink; scheme="{I}"; class="kind"; location="/storagelink/"
Category: os_tpl; scheme="{I}"; class="mixin"
Category: resource_tpl; scheme="{I}"; class="mixin"
Category: debian; scheme="{OURS}"; class="mixin"; title="Debian 12"; rel="{I}os_tpl"; location="/os/debian/"
Category: small; scheme="{OURS}"; class="mixin"; title="1 core, 1 GiB"; \
rel="{I}resource_tpl"; location="/small/"
"""
NEWER = f"""\
Category: ssh_key; scheme="{CREDENTIALS}"; class="mixin"; location="/ssh_key/"
Category: user_data; scheme="{USER_DATA}"; class="mixin"; location="/user_data/"
"""
OLDER = f"""\
Category: public_key; scheme="{OPENSTACK}instance/credentials#"; class="mixin"; location="/public_key/"
Category: user_data; scheme="{OPENSTACK}compute/instance#"; class="mixin"; location="/user_data/"
"""
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDeqnwsNVyRzHbVjIwYTNvI6yNLw9fZCHuSc6cr6DyLX me@home"
WEB = "1a2b3c4d-0000-4000-8000-000000000001"
DB = "1a2b3c4e-0000-4000-8000-000000000002"


@dataclass(frozen=True)
class Outcome:
    """How a call of `stratus` ended."""

    status: int
    output: str
    messages: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)


class Stratus(Protocol):
    def __call__(self, *arguments: str) -> Outcome: ...


TARGETS = {"start": "active", "stop": "inactive", "suspend": "suspended", "restart": "active"}


@dataclass
class Machine:
    id: str
    name: str = ""
    state: str = "inactive"
    becomes: str = "active"
    message: str = ""
    asked: int = 0
    """How often it was looked at since its state was to change."""


@dataclass
class Cloud:
    """What the server has, and how it behaves."""

    discovery: str = KINDS + NEWER
    absolute: bool = True
    prefix: str = ""
    named_origin: str = ""
    """The origin that the server writes into locations, when it is not its own."""
    location_header: bool = True
    inline_addresses: bool = True
    console_log: str | None = "Linux version 6.1\r\nlogin: \x1b[31mred\x1b[0m\x07\n"
    credentials: str | None = None
    refusal: tuple[int, str, str] | None = None
    """Status, content type and body of the answer to any change."""
    body: bytes | None = None
    """The answer to everything."""
    body_type: str = "text/plain"
    looks_until_done: int = 1
    """How many answers still show a machine's former state."""
    failing_message: str = ""
    machines: dict[str, Machine] = field(default_factory=dict)
    created: list[Message] = field(default_factory=list)
    acted: list[tuple[str, Message]] = field(default_factory=list)
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and Authorization of each request."""
    origin: str = ""

    @property
    def endpoint(self) -> str:
        return self.origin + self.prefix

    def add(self, machine_id: str, name: str = "", state: str = "active", message: str = "") -> Machine:
        made = Machine(machine_id, name, state, state, message)
        self.machines[machine_id] = made
        return made

    def location(self, path: str) -> str:
        return (self.named_origin or self.origin) + self.prefix + path if self.absolute else path

    def rendering(self, machine: Machine) -> str:
        lines = [
            f'Category: compute; scheme="{I}"; class="kind"',
            f'Category: debian; scheme="{OURS}"; class="mixin"',
            f'Category: small; scheme="{OURS}"; class="mixin"',
            f'X-OCCI-Attribute: occi.core.id="urn:uuid:{machine.id}"',
            f'X-OCCI-Attribute: occi.compute.state="{machine.state}"',
            "X-OCCI-Attribute: occi.compute.cores=1",
            "X-OCCI-Attribute: occi.compute.memory=0.5",
            self.interface_link(machine),
            f'Link: <{self.location(f"/compute/{machine.id}")}?action=stop>; rel="{ACTION}stop"',
            f'Link: <vnc://10.0.0.1:5901>; rel="{OURS}console"; self="/c/1"; category="{OURS}console"',
        ]
        if machine.name:
            lines.append(f"X-OCCI-Attribute: occi.core.title={quoted(machine.name)}")
        if machine.message:
            lines.append(f'X-OCCI-Attribute: occi.compute.state.message="{machine.message}"')
        if self.console_log is not None:
            log = self.location(f"/compute/{machine.id}/console-log")
            lines.append(f'Link: <{log}>; rel="{OURS}console_log"')
        return "\n".join(lines)

    def interface_link(self, machine: Machine) -> str:
        link = (
            f'Link: <{self.location("/network/n1")}>; rel="{I}network"; '
            f'self="{self.location(f"/networkinterface/{machine.id}")}"; category="{I}networkinterface"'
        )
        if self.inline_addresses:
            link += '; occi.networkinterface.address="127.0.0.1"; occi.networkinterface.mac="52:54:00:00:00:01"'
        return link


class Handler(BaseHTTPRequestHandler):
    cloud: Cloud
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def answer(self, status: int, body: str | bytes = "", kind: str = "text/plain", location: str = "") -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(content)

    def may(self) -> bool:
        """Notes the request, and answers it when it isn't to be served."""
        cloud = self.cloud
        authorization = self.headers.get("Authorization")
        cloud.seen.append((self.command, self.path, authorization))
        if cloud.body is not None:
            self.answer(200, cloud.body, cloud.body_type)
            return False
        if cloud.credentials:
            wanted = "Basic " + base64.b64encode(cloud.credentials.encode()).decode()
            if authorization != wanted:
                self.answer(401, "who are you?")
                return False
        if not urlsplit(self.path).path.startswith(cloud.prefix + "/"):
            self.answer(404, "not here")
            return False
        if cloud.refusal and self.command != "GET":
            self.answer(*cloud.refusal[:1], cloud.refusal[2], cloud.refusal[1])
            return False
        return True

    @property
    def route(self) -> str:
        return urlsplit(self.path).path.removeprefix(self.cloud.prefix)

    def machine(self) -> Machine | None:
        found = re.fullmatch(r"/compute/([^/]+)", self.route)
        machine = self.cloud.machines.get(found[1]) if found else None
        if machine is None:
            self.answer(404, f"there is no {self.route}")
        return machine

    def do_GET(self) -> None:
        if not self.may():
            return
        cloud = self.cloud
        match self.route:
            case "/-/":
                self.answer(200, cloud.discovery)
            case "/compute/":
                listed = (cloud.location(f"/compute/{one}") for one in cloud.machines)
                self.answer(200, "\n".join(f"X-OCCI-Location: {one}" for one in listed))
            case "/network/":
                self.answer(200, f"X-OCCI-Location: {cloud.location('/network/n1')}")
            case "/storage/":
                self.answer(200, f"X-OCCI-Location: {cloud.location('/storage/d1')}")
            case "/network/n1":
                kind = f'Category: network; scheme="{I}"; class="kind"\n'
                title = 'X-OCCI-Attribute: occi.core.title="public"\n'
                self.answer(200, kind + title + 'X-OCCI-Attribute: occi.network.address="10.0.0.0/24"')
            case "/storage/d1":
                kind = f'Category: storage; scheme="{I}"; class="kind"\n'
                title = 'X-OCCI-Attribute: occi.core.title="data"\n'
                self.answer(200, kind + title + "X-OCCI-Attribute: occi.storage.size=10.0")
            case route if route.startswith("/networkinterface/"):
                kind = f'Category: networkinterface; scheme="{I}"; class="kind"\n'
                self.answer(200, kind + 'X-OCCI-Attribute: occi.networkinterface.address="127.0.0.1"')
            case route if route.endswith("/console-log"):
                self.answer(200, cloud.console_log or "")
            case _:
                self.machine_details()

    def machine_details(self) -> None:
        machine = self.machine()
        if machine is None:
            return
        if machine.state != machine.becomes:
            machine.asked += 1
            if machine.asked > self.cloud.looks_until_done:
                machine.state = machine.becomes
                machine.message = self.cloud.failing_message
        self.answer(200, self.cloud.rendering(machine))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if not self.may():
            return
        message = parse_text(body)
        action = parse_qs(urlsplit(self.path).query).get("action")
        if action:
            machine = self.machine()
            if machine is not None:
                self.cloud.acted.append((action[0], message))
                machine.becomes, machine.asked = TARGETS[action[0]], 0
                self.answer(200, self.cloud.rendering(machine))
            return
        self.cloud.created.append(message)
        made = Machine(
            f"{len(self.cloud.created):08d}-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
            str(message.attributes.get("occi.core.title", "")),
            becomes="error" if self.cloud.failing_message else "active",
        )
        self.cloud.machines[made.id] = made
        where = self.cloud.location(f"/compute/{made.id}")
        if self.cloud.location_header:
            self.answer(201, "OK", location=where)
        else:
            self.answer(201, f"X-OCCI-Location: {where}")

    def do_DELETE(self) -> None:
        if self.may() and (machine := self.machine()):
            del self.cloud.machines[machine.id]
            self.answer(200, "OK")


@contextmanager
def serving(cloud: Cloud) -> Iterator[Cloud]:
    handler = type("BoundHandler", (Handler,), {"cloud": cloud})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        cloud.origin = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield cloud
        finally:
            server.shutdown()
            thread.join()
