"""What the CDMI tests share: a client that speaks HTTP to the front-end over a door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import falcon
import falcon.testing

from backends.cloud import Cloud
from backends.cloud.queries import run_page
from backends.model import Caller
from backends.opened import OpenedDisks
from backends.store.database import Database
from backends.values import Values
from cdmi_server.application import add_cdmi
from cdmi_server.presentation import Presentation
from cdmi_server.site import Site
from renderers.cdmi.representation import Version

CONTAINER = "application/cdmi-container"
DATAOBJECT = "application/cdmi-object"
QUEUE = "application/cdmi-queue"
CAPABILITY = "application/cdmi-capability"
DOMAIN = "application/cdmi-domain"


class Authenticated:
    """Puts one caller's cloud where authentication puts it, a new one for each request as there."""

    def __init__(self, database: Database, caller: Caller, folder: Path, opened: OpenedDisks | None) -> None:
        self.make = lambda: Cloud(database, caller, {}, "small", Values(folder), opened)

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        request.context.cloud = self.make()


class Client:
    """Speaks 1.1.1 below /cdmi/ and 2.0 below /cdmi/2.0.0/, and plain HTTP in both."""

    def __init__(
        self,
        database: Database,
        caller: Caller,
        folder: Path,
        site: Site | None = None,
        opened: OpenedDisks | None = None,
    ) -> None:
        app = falcon.App(middleware=[Authenticated(database, caller, folder, opened)])
        add_cdmi(app, site or Site())
        self.http = falcon.testing.TestClient(app)
        self.caller = caller
        self.database = database
        self.folder = folder

    def send(self, method: str, path: str, media_type: str, body: Any = None, **headers: str) -> falcon.testing.Result:
        """A CDMI request; `body` is sent as JSON."""
        fields = {"Accept": media_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if not path.startswith("/cdmi/2.0.0/"):
            fields.setdefault("X-CDMI-Specification-Version", "1.1.1")
        data = b""
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            fields.setdefault("Content-Type", media_type)
        return self.plain(method, path, data, **fields)

    def plain(self, method: str, path: str, body: bytes = b"", **headers: str) -> falcon.testing.Result:
        """A request with just these header fields."""
        path, _, query = path.removeprefix("http://falconframework.org").partition("?")
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.simulate_request(method, path, query_string=query, headers=fields, body=body)

    def run_queries(self) -> None:
        """As a gateway's worker does beside its requests, until there is nothing left to do."""
        while run_page(self.database, Presentation(Site(), Version.V2)):
            pass

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())
