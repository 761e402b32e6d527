"""Consoles by their own locations: `/consolelink/UUID` and `/consolelink/UUID/log`, where the UUID is the compute's.

The log itself, as plain text, is at `/compute/UUID/console-log`.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import falcon

from backends.errors import NotFound
from backends.model import Machine
from occi_server import console
from occi_server.answers import answer_entities, answer_entity, introduce
from occi_server.model import Model
from occi_server.negotiation import answer_rendering
from occi_server.requests import cloud_of
from occi_server.selection import cut, read_page, read_query
from occi_server.templates import Templates
from renderers.occi.representation import Link


class Consoles:
    """All consoles there are now; nobody makes or deletes one."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        introduce(response, self.model.site)
        rendering = answer_rendering(request)
        page = read_page(read_query(request), self.model.site)
        machines = cloud_of(request).machines()
        links = [link for machine in machines for link in console.of_machine(machine, self.model.templates)]
        answer_entities(request, response, rendering, cut(links, page))


class ConsoleInstance:
    """One console of one compute: `of` tells which."""

    def __init__(self, model: Model, of: Callable[[Machine, Templates], Link | None]) -> None:
        self.model = model
        self.of = of

    def on_get(self, request: falcon.Request, response: falcon.Response, identity: str) -> None:
        introduce(response, self.model.site)
        rendering = answer_rendering(request)
        link = self.of(_machine(request, identity), self.model.templates)
        if link is None:
            raise NotFound(f"There is no console {identity[:80]!r}.")
        answer_entity(response, rendering, link)


class ConsoleLog:
    """What a guest wrote to its serial console, which may be any bytes: browsers must not take it for a page."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def on_get(self, request: falcon.Request, response: falcon.Response, identity: str) -> None:
        introduce(response, self.model.site)
        tail = cloud_of(request).console_log(_machine(request, identity).id)
        response.content_type = "text/plain; charset=utf-8"
        response.set_header("X-Content-Type-Options", "nosniff")
        response.data = tail.decode("utf-8", "replace").encode()


def _machine(request: falcon.Request, identity: str) -> Machine:
    try:
        machine_id = UUID(identity)
    except ValueError:
        raise NotFound(f"There is no compute {identity[:80]!r}.") from None
    return cloud_of(request).machine(machine_id)
