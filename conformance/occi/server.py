"""An OCCI server as a check sees it: discovered by its query interface, driven over raw HTTP and left clean.

Nothing is assumed beyond the standard: kinds, locations, required attributes and templates are looked up.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import httpx

from conformance.occi.reader import Rendering, Value, quote, read
from conformance.suite import CannotRun, CheckFailed, Exchange, NotApplicable, Suite, expect
from conformance.wire import Wire

INFRASTRUCTURE = "http://schemas.ogf.org/occi/infrastructure#"
CORE = "http://schemas.ogf.org/occi/core#"
ACTIONS = "http://schemas.ogf.org/occi/infrastructure/{}/action#"
OS_TEMPLATE = INFRASTRUCTURE + "os_tpl"
RESOURCE_TEMPLATE = INFRASTRUCTURE + "resource_tpl"
TARGETS = {
    "network": {"up": "active", "down": "inactive"},
    "storage": {"online": "online", "offline": "offline"},
    "compute": {"start": "active", "stop": "inactive"},
}
"""Actions that lead to another state, and that state, for each kind; the cheapest kind first."""

CLIENT = "altostratus-conformance OCCI/1.1"
JSON = "application/occi+json"

V11 = frozenset({"1.1"})
V12 = frozenset({"1.2"})
BOTH = V11 | V12


@dataclass(frozen=True, slots=True)
class Sent:
    """A message to send: values just as they stand on the wire, right or deliberately wrong."""

    categories: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()

    def fields(self) -> list[tuple[str, str]]:
        return [
            *(("Category", value) for value in self.categories),
            *(("Link", value) for value in self.links),
            *(("X-OCCI-Attribute", value) for value in self.attributes),
            *(("X-OCCI-Location", value) for value in self.locations),
        ]

    def body(self, line_end: str = "\r\n") -> bytes:
        return "".join(f"{name}: {value}{line_end}" for name, value in self.fields()).encode()


def identify(type_identifier: str, category_class: str = "") -> str:
    """A Category value that only names a category."""
    scheme, term = type_identifier.rsplit("#", 1)
    suffix = f'; class="{category_class}"' if category_class else ""
    return f'{term}; scheme="{scheme}#"{suffix}'


class Server:
    """The subject of the OCCI suite."""

    def __init__(self, wire: Wire, limit_seconds: float) -> None:
        self.wire = wire
        self.limit_seconds = limit_seconds
        self.prefix = f"conformance-{secrets.token_hex(4)}"
        self.versions: frozenset[str] = frozenset()
        self.banner = ""
        self.categories: list[Value] = []
        self._made: list[str] = []
        self._removed: list[str] = []
        self._foreign: list[str] = []
        self._subnet = "10.99.0"
        self._mixins: list[str] = []
        self._shared: dict[str, str] = {}
        self._counter = 0

    @property
    def last_exchange(self) -> Exchange | None:
        return self.wire.last

    # -- discovery -------------------------------------------------------------------------------

    def discover(self) -> None:
        """Ask the query interface; without its answer no check can run."""
        try:
            answer = self.get("/-/")
        except httpx.HTTPError as error:
            raise CannotRun(f"{self.wire.base_url} does not answer: {error}") from error
        if answer.status != 200:
            hint = ", give --user" if answer.status == 401 else ""
            raise CannotRun(f"{answer.url} answers {answer.status}, expected 200 and the query interface{hint}")
        self.banner = answer.header("server")
        claimed = re.findall(r"OCCI/(\d+\.\d+)", self.banner)
        self.versions = frozenset(claimed) & BOTH or BOTH
        self.categories = read(answer).categories
        if not self.categories:
            raise CannotRun(f"{answer.url} lists no category, expected the query interface in text/plain")

    def find(self, type_identifier: str) -> Value | None:
        return next((c for c in self.categories if c.type_identifier == type_identifier), None)

    def of_class(self, category_class: str) -> list[Value]:
        return [c for c in self.categories if c.parameters.get("class") == category_class]

    def kind(self, term: str) -> Value:
        """A kind of the infrastructure extension; servers are free to lack it."""
        found = self.find(INFRASTRUCTURE + term)
        if found is None:
            raise NotApplicable(f"the server has no kind {term}")
        return found

    def location_of(self, category: Value) -> str:
        location = category.parameters.get("location", "")
        if not location:
            raise CheckFailed(f"{category.type_identifier} has no location in the query interface")
        return self.wire.absolute(location)

    def collection(self, term: str) -> str:
        return self.location_of(self.kind(term))

    def template(self, base: str) -> str | None:
        """A provider's mixin that depends on os_tpl or resource_tpl, the smallest if names tell."""
        found = [m.type_identifier for m in self.of_class("mixin") if base in m.words("rel")]
        small = [identifier for identifier in found if identifier.rpartition("#")[2] == "small"]
        return next(iter(small + found), None)

    def a_resource_kind(self) -> str:
        """The term of the cheapest kind of resource that the server has."""
        for term in ("network", "storage", "compute"):
            if self.find(INFRASTRUCTURE + term):
                return term
        raise NotApplicable("the server has none of the kinds network, storage and compute")

    # -- requests --------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        location: str,
        *,
        accept: str | None = "text/plain",
        headers: Sequence[tuple[str, str]] = (),
        content_type: str | None = None,
        body: bytes = b"",
    ) -> Exchange:
        if method != "GET" and not self.wire.is_ours(self.wire.absolute(location)):
            raise CheckFailed(f"the server names {location}, at another origin than {self.wire.base_url}")
        sent = [("User-Agent", CLIENT)] if not _has(headers, "user-agent") else []
        if accept is not None:
            sent.append(("Accept", accept))
        if content_type is not None:
            sent.append(("Content-Type", content_type))
        answer = self.wire.send(method, location, [*sent, *headers], body)
        self._note(answer)
        return answer

    def get(self, location: str, accept: str | None = "text/plain") -> Exchange:
        return self.request("GET", location, accept=accept)

    def send(
        self, method: str, location: str, message: Sent, accept: str = "text/plain", line_end: str = "\r\n"
    ) -> Exchange:
        """Send a message as text/plain, in the body."""
        return self.request(method, location, accept=accept, content_type="text/plain", body=message.body(line_end))

    def send_in_headers(self, method: str, location: str, message: Sent, accept: str = "text/occi") -> Exchange:
        """Send a message as text/occi, in headers, one for each value."""
        return self.request(method, location, accept=accept, content_type="text/occi", headers=message.fields())

    def _note(self, answer: Exchange) -> None:
        """Remember what was made, asked for or not, so that it goes at the end."""
        if answer.method == "DELETE" and answer.status in (200, 204) and answer.url in self._made:
            self._made.remove(answer.url)
        if answer.method not in ("POST", "PUT") or answer.status not in (200, 201, 202):
            return
        if "?action=" in answer.url:
            return
        made = answer.header_values("location")
        if answer.status == 201:
            made += [line.strip() for line in re.findall(r"(?im)^X-OCCI-Location:(.*)$", answer.text)]
        known = {*self._made, *self._shared.values()}
        for location in made:
            url = self.wire.absolute(location)
            if not self.wire.is_ours(url):
                self._foreign.append(url)
            elif url not in known and not url.endswith("/"):
                self._made.append(url)

    # -- making things ---------------------------------------------------------------------------

    def title(self) -> str:
        self._counter += 1
        return f"{self.prefix}-{self._counter}"

    def known_value(self, name: str) -> str:
        values = {
            "occi.storage.size": "1.0",
            "occi.networkinterface.mac": '"02:00:5e:{:02x}:{:02x}:{:02x}"'.format(*secrets.token_bytes(3)),
            "occi.storagelink.deviceid": '"/dev/vdb"',
            "occi.networkinterface.address": f'"{self._subnet}.9"',
            "occi.networkinterface.allocation": '"static"',
        }
        if name not in values:
            raise NotApplicable(f"the server demands {name}, for which no standard gives a value")
        return values[name]

    def new_subnet(self) -> str:
        """The first three numbers of a network of addresses that nothing else is likely to use."""
        self._subnet = f"10.{100 + secrets.randbelow(150)}.{secrets.randbelow(256)}"
        return self._subnet

    def required_attributes(self, category: Value) -> list[str]:
        """Attributes that a client must give: required, and not the server's own."""
        demanded = re.findall(r"(\S+?)\{([^}]*)\}", category.parameters.get("attributes", ""))
        return [
            name
            for name, properties in demanded
            if "required" in properties.split()
            and "immutable" not in properties.split()
            and not name.startswith("occi.core.")
        ]

    def minimal(self, term: str, title: str = "") -> Sent:
        """The least message that makes an instance of a kind on this server."""
        kind = self.kind(term)
        attributes = [f"occi.core.title={quote(title or self.title())}"]
        attributes += [f"{name}={self.known_value(name)}" for name in self.required_attributes(kind)]
        categories = [identify(kind.type_identifier, "kind")]
        if term == "compute":
            templates = (self.template(OS_TEMPLATE), self.template(RESOURCE_TEMPLATE))
            categories += [identify(template, "mixin") for template in templates if template]
        return Sent(tuple(categories), (), tuple(attributes))

    def create(
        self,
        term: str,
        attributes: Sequence[str] = (),
        mixins: Sequence[str] = (),
        links: Sequence[str] = (),
        title: str = "",
    ) -> str:
        """Make an instance and answer its URL; it goes when the check is over."""
        message = self.minimal(term, title)
        names = {attribute.partition("=")[0] for attribute in attributes}
        kept = [a for a in message.attributes if a.partition("=")[0] not in names]
        message = replace(
            message,
            categories=(*message.categories, *(identify(mixin, "mixin") for mixin in mixins)),
            attributes=(*kept, *attributes),
            links=tuple(links),
        )
        return self.made(self.send("POST", self.collection(term), message), term)

    def made(self, answer: Exchange, what: str) -> str:
        """The URL of what a creation made."""
        expect(answer, {200, 201, 202}, f"a well-formed request for a new {what}")
        location = answer.header("location")
        if not location and answer.status == 200:
            identifier = read(answer).attributes.get("occi.core.id", "")
            location = self._location_by_id(answer.url, identifier)
        if not location:
            raise CheckFailed(f"the new {what} has no Location", answer)
        return self.wire.absolute(location)

    def _location_by_id(self, collection: str, identifier: str) -> str:
        listed = read(self.get(collection)).locations
        return next((url for url in listed if identifier and url.endswith(identifier.split(":")[-1])), "")

    def link(self, term: str, source: str, target: str, attributes: Sequence[str] = ()) -> str:
        """Make a link between two resources."""
        ends = (f"occi.core.source={quote(source)}", f"occi.core.target={quote(target)}")
        return self.create(term, (*ends, *attributes))

    def shared(self, term: str) -> str:
        """An instance that many checks look at and none changes beyond its title."""
        if term not in self._shared:
            url = self.create(term)
            self._made = [made for made in self._made if made != url]
            self._shared[term] = url
        return self._shared[term]

    def user_mixin(self) -> tuple[str, str]:
        """A user's mixin: its type identifier and its collection's URL."""
        term = f"t{secrets.token_hex(4)}"
        identifier = f"http://conformance.example.com/{self.prefix}#{term}"
        location = f"/{self.prefix}-{term}/"
        answer = self.add_mixin(identifier, location)
        if answer.status in (401, 403, 404, 405, 501):
            raise NotApplicable(f"the server takes no mixins of users (it answers {answer.status})")
        expect(answer, {200}, "a new mixin of a user")
        return identifier, self.wire.absolute(location)

    def add_mixin(self, identifier: str, location: str, extra: str = "") -> Exchange:
        value = f'{identify(identifier, "mixin")}{extra}; location="{location}"'
        answer = self.send("POST", "/-/", Sent((value,)))
        if answer.status == 200:
            self._mixins.append(identifier)
        return answer

    def remove_mixin(self, identifier: str) -> Exchange:
        self._mixins = [known for known in self._mixins if known != identifier]
        return self.send("DELETE", "/-/", Sent((identify(identifier, "mixin"),)))

    # -- looking ---------------------------------------------------------------------------------

    def look(self, url: str, accept: str = "text/plain") -> Rendering:
        return read(self.look_at(url, accept))

    def look_at(self, url: str, accept: str = "text/plain") -> Exchange:
        answer = self.get(url, accept)
        expect(answer, {200}, "an existing thing")
        return answer

    def listed(self, collection: str) -> list[str]:
        """The absolute URLs that a collection lists."""
        answer = self.get(collection)
        expect(answer, {200, 204}, "a collection")
        return [self.wire.absolute(location) for location in read(answer).locations]

    def filtered(self, collection: str, message: Sent) -> list[str]:
        answer = self.send_in_headers("GET", collection, message, accept="text/plain")
        expect(answer, {200, 204}, "a collection with a filter")
        return [self.wire.absolute(location) for location in read(answer).locations]

    # -- time ------------------------------------------------------------------------------------

    def wait_until(self, done: Callable[[], bool], what: str) -> None:
        """Poll until something is so, or fail when the limit is over."""
        deadline = time.monotonic() + self.limit_seconds
        pause_seconds = 0.02
        while not done():
            if time.monotonic() > deadline:
                raise CheckFailed(f"after {self.limit_seconds:g} s still not so: {what}")
            time.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, 1.0)

    def state(self, url: str, term: str) -> str:
        return self.look(url).attributes.get(f"occi.{term}.state", "")

    def offered(self, url: str) -> dict[str, str]:
        """The actions offered now: term to URL."""
        links = self.look(url).action_links()
        return {link.head.rpartition("?action=")[2]: self.wire.absolute(link.head) for link in links}

    def act(self, url: str, term: str, action: str, attributes: Sequence[str] = ()) -> Exchange:
        """Trigger an action of a kind on an instance."""
        category = identify(ACTIONS.format(term) + action, "action")
        return self.send("POST", f"{url}?action={action}", Sent((category,), (), tuple(attributes)))

    def bring(self, url: str, term: str, wanted: str, ways: Mapping[str, Sequence[str]]) -> None:
        """Act until an instance is in a state: `ways` says which actions lead there, best first."""
        tried_at: dict[tuple[str, str], float] = {}

        def there() -> bool:
            state = self.state(url, term)
            if state == wanted:
                return True
            offered = self.offered(url)
            action = next((action for action in ways[wanted] if action in offered), None)
            if action and time.monotonic() - tried_at.get((state, action), -60.0) > 10.0:
                tried_at[state, action] = time.monotonic()
                expect(self.act(url, term, action), {200, 202}, f"the action {action}, which was offered")
            return False

        self.wait_until(there, f"{url} is {wanted}")

    # -- removal ---------------------------------------------------------------------------------

    def clean_check(self) -> None:
        self._remove()
        for identifier in list(self._mixins):
            self._quietly(lambda identifier=identifier: self.remove_mixin(identifier))  # type: ignore[misc]

    def clean_all(self) -> list[str]:
        self.clean_check()
        self._made += self._shared.values()
        self._shared.clear()
        self._remove()
        deadline = time.monotonic() + self.limit_seconds
        while self._removed and time.monotonic() < deadline:
            self._removed = [url for url in self._removed if not self._is_gone(url)]
            if self._removed:
                time.sleep(0.05)
        return [*self._made, *self._removed, *self._foreign]

    def _is_gone(self, url: str) -> bool:
        answer = self._quietly(lambda: self.get(url))
        return answer is not None and answer.status in (404, 410)

    def _remove(self) -> None:
        """Remove the newest first, as links lie on what was made before; twice, as some refuse at once."""
        for _ in range(2):
            for url in reversed(list(self._made)):
                answer = self._quietly(lambda url=url: self.request("DELETE", url))  # type: ignore[misc]
                gone = answer is not None and answer.status in (200, 202, 204, 404, 410)
                if gone:
                    self._removed.append(url)
                    if url in self._made:
                        self._made.remove(url)

    def _quietly(self, request: Callable[[], Exchange]) -> Exchange | None:
        """Cleaning up goes on when one removal breaks; what is left is named in the report."""
        kept = self.wire.last
        try:
            return request()
        except (CheckFailed, httpx.HTTPError, httpx.InvalidURL):
            return None
        finally:
            self.wire.last = kept


def _has(headers: Sequence[tuple[str, str]], name: str) -> bool:
    return any(key.lower() == name for key, _ in headers)


AREAS = (
    "query",
    "negotiation",
    "text",
    "entities",
    "collections",
    "links",
    "actions",
    "infrastructure",
    "json",
    "batch",  # last, because it empties collections
)
suite: Suite[Server] = Suite("occi", AREAS, BOTH)
