"""What the OCCI tests share: a client that speaks HTTP to the front-end over a door, and the identifiers it sends."""

from __future__ import annotations

import falcon
import falcon.testing

from backends.cloud import Cloud
from occi_server.application import add_occi
from occi_server.site import Site

ORIGIN = "http://falconframework.org"
INFRASTRUCTURE = "http://schemas.ogf.org/occi/infrastructure#"
COMPUTE = f'compute; scheme="{INFRASTRUCTURE}"; class="kind"'
NETWORK = f'network; scheme="{INFRASTRUCTURE}"; class="kind"'
STORAGE = f'storage; scheme="{INFRASTRUCTURE}"; class="kind"'
INTERFACE = f'networkinterface; scheme="{INFRASTRUCTURE}"; class="kind"'
STORAGE_LINK = f'storagelink; scheme="{INFRASTRUCTURE}"; class="kind"'
TINY = 'tiny; scheme="http://altostratus.local/occi/os_tpl#"; class="mixin"'
SMALL = 'small; scheme="http://schemas.ogf.org/occi/infrastructure/compute/template/1.1#"; class="mixin"'
LARGE = 'large; scheme="http://schemas.ogf.org/occi/infrastructure/compute/template/1.1#"; class="mixin"'
IP_NETWORK = 'ipnetwork; scheme="http://schemas.ogf.org/occi/infrastructure/network#"; class="mixin"'
MINE = 'mine; scheme="http://example.com/occi#"; class="mixin"'


class Authenticated:
    """Puts one caller's cloud where authentication puts it."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        request.context.cloud = self.cloud


class Client:
    """Sends messages in text/occi, whose header fields are easy to write down, unless a body is given."""

    def __init__(self, cloud: Cloud) -> None:
        app = falcon.App(middleware=[Authenticated(cloud)])
        add_occi(app, Site(sizes=tuple(cloud.sizes())))
        self.http = falcon.testing.TestClient(app)

    def send(
        self,
        method: str,
        path: str,
        *categories: str,
        attributes: str = "",
        link: str = "",
        locations: str = "",
        accept: str = "text/plain",
        body: str | bytes = "",
        content_type: str = "text/occi",
        user_agent: str = "test",
    ) -> falcon.testing.Result:
        fields = {
            "Accept": accept,
            "User-Agent": user_agent,
            "Category": ", ".join(categories),
            "X-OCCI-Attribute": attributes,
            "Link": link,
            "X-OCCI-Location": locations,
        }
        headers = {name: value for name, value in fields.items() if value}
        if method != "GET" or body:
            headers["Content-Type"] = content_type
        path, _, query = path.removeprefix(ORIGIN).partition("?")
        return self.http.simulate_request(method, path, query_string=query, headers=headers, body=body)

    def make(self, path: str, *categories: str, attributes: str = "", link: str = "") -> str:
        """The path of a new instance."""
        made = self.send("POST", path, *categories, attributes=attributes, link=link)
        assert made.status_code == 201, made.text
        return str(made.headers["Location"]).removeprefix(ORIGIN)

    def text(self, path: str, accept: str = "text/plain") -> str:
        found = self.send("GET", path, accept=accept)
        assert found.status_code == 200, found.text
        return str(found.text)

    def document(self, path: str) -> dict[str, object]:
        found = self.send("GET", path, accept="application/occi+json")
        assert found.status_code == 200, found.text
        return dict(found.json)


def action(kind: str, term: str) -> str:
    return f'{term}; scheme="http://schemas.ogf.org/occi/infrastructure/{kind}/action#"; class="action"'
