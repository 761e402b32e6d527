"""A CDMI server as a check sees it: discovered by its capabilities, driven over raw HTTP and left clean.

Nothing is assumed beyond the standard. What is made lies in one container, `home`, or, where containers can't be made,
has a name with the run's prefix.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpx

from conformance.cdmi.dialect import BOTH, CDMI_1, VERSION_HEADER, Dialect, clauses
from conformance.cdmi.fields import MEDIA_TYPES, Fields, base64_of, document
from conformance.suite import CannotRun, CheckFailed, Exchange, Level, NotApplicable, Suite, expect, require
from conformance.wire import Wire

CLIENT = "altostratus-conformance"
MADE = {201, 202}
CHANGED = {200, 202, 204}
GONE = {404, 410}
REFUSED = {400, 403, 404, 405, 406, 409, 411, 413, 414, 415, 422, 431, 501}

AREAS = (
    "versions",
    "media",
    "capabilities",
    "ids",
    "names",
    "retention",  # early, so that what it keeps can be deleted when the run ends
    "data",
    "ranges",
    "http",
    "partial",
    "multipart",
    "post",
    "containers",
    "metadata",
    "times",
    "references",
    "copies",
    "serialization",
    "snapshots",
    "versioning",
    "access",
    "queues",
    "feeds",
    "domains",
    "exports",
)
suite: Suite[Server] = Suite("cdmi", AREAS, BOTH)


def check(
    identifier: str, in_1_1_1: str, in_2_0: str, statement: str, level: Level = Level.MUST
) -> Callable[[Callable[[Server], None]], Callable[[Server], None]]:
    """Register the check of a clause, by its number in each version that has it."""
    cited, versions = clauses(in_1_1_1, in_2_0)
    return suite.check(identifier, cited, statement, level, versions)


def containers_in(fields: Fields) -> list[str]:
    """The children that may take what a client makes, as they stand in a URL; what is called cdmi_… is the server's."""
    names = [name for name in fields.get("children", []) if isinstance(name, str) and name.endswith("/")]
    usable = [name for name in names if not name.startswith("cdmi_") and name not in ("/", "./", "../")]
    return [quote(name, errors="replace") for name in usable]


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that a check made: where it is and what the server said of it."""

    url: str
    fields: Fields


class Server:
    """The subject of the CDMI suite, in one version."""

    def __init__(
        self,
        wire: Wire,
        dialect: Dialect,
        limit_seconds: float,
        place: str = "",
        holds: bool = False,
        export_place: str = "",
    ) -> None:
        self.wire = wire
        self.dialect = dialect
        self.limit_seconds = limit_seconds
        self.place = place
        self.holds = holds
        """Whether to make objects on hold, which only the operator can remove."""
        self.export_place = export_place
        """Where containers that are exported are made; "" for where one can be."""
        self.versions = frozenset({dialect.version})
        self.prefix = f"conformance-{secrets.token_hex(4)}"
        self.root = ""
        self.system: Fields = {}
        self.home = Thing("", {})
        self._home_is_ours = False
        self._capabilities: dict[str, Fields] = {}
        self._made: list[str] = []
        self._stuck: list[str] = []
        """What could not be removed when its check was over, and is tried again when the run is."""
        self._foreign: list[str] = []
        self._counter = 0
        self._shared: dict[str, Thing] = {}
        self.export_places: dict[str, Thing | None] = {}
        """Where containers can be exported, by protocol; None: nowhere."""

    @property
    def last_exchange(self) -> Exchange | None:
        return self.wire.last

    # -- discovery -------------------------------------------------------------------------------

    def discover(self) -> None:
        """Find the root and its capabilities, and make the container in which all else happens."""
        tried = []
        for candidate in self._candidates():
            try:
                answer = self.request("GET", f"{candidate}cdmi_capabilities/", accept="capability")
            except httpx.HTTPError as error:
                raise CannotRun(f"{self.wire.base_url} does not answer: {error}") from error
            if answer.status == 401:
                raise CannotRun(f"{answer.url} answers 401, give --user")
            tried.append(f"{answer.url} ({answer.status})")
            if answer.status == 200 and self._speaks(answer):
                self.root = candidate
                self.system = document(answer).get("capabilities", {})
                break
        else:
            raise CannotRun(f"no CDMI {self.dialect.version} found: tried {', '.join(tried)}")
        try:
            self._make_home()
        except (CheckFailed, httpx.HTTPError, httpx.InvalidURL) as reason:
            raise CannotRun(f"nothing can be made in {self.root}{self.place}: {reason}") from reason

    def _candidates(self) -> list[str]:
        """By the convention of CDMI 2.0 §5.5.5 a root ends in cdmi/<version>/."""
        base = self.wire.base_url
        if self.dialect is CDMI_1:
            return [base, f"{base}cdmi/"]
        return [f"{base}2.0.0/", f"{base}cdmi/2.0.0/", base, f"{base}cdmi/"]

    def _speaks(self, answer: Exchange) -> bool:
        """2.0 knows no version header: a server that answers with one speaks 1.x (CDMI 2.0 §5.7.1)."""
        try:
            found = document(answer)
        except CheckFailed:
            return False
        return "capabilities" in found and (self.dialect is CDMI_1 or not answer.header(VERSION_HEADER))

    def _make_home(self) -> None:
        place = self.root + self.place.strip("/") + "/" if self.place.strip("/") else self.root
        answer = self.get(place, "container")
        if answer.status != 200:
            hint = ", give --user" if answer.status == 401 else ""
            raise CannotRun(f"{answer.url} answers {answer.status}, expected 200 and a container{hint}")
        self.home = Thing(place, document(answer))
        if not self.claims(self.home.fields, "cdmi_create_container"):
            return
        made = self.put(f"{place}{self.prefix}/", "container", {})
        if made.status not in (200, *MADE):
            raise CannotRun(f"{made.url} can't be made: {made.status} {made.text[:200]}")
        self._home_is_ours = True
        url = f"{place}{self.prefix}/"
        self.home = Thing(url, self.settled(url, "container"))
        self._made.clear()

    # -- capabilities ----------------------------------------------------------------------------

    def capabilities_of(self, fields: Fields) -> Fields:
        """The capabilities that an object's capabilitiesURI leads to; they never change, so they are read once."""
        uri = fields.get("capabilitiesURI")
        if not isinstance(uri, str):
            return {}
        if uri not in self._capabilities:
            answer = self.follow(uri, "capability")
            found = document(answer).get("capabilities", {}) if answer.status == 200 else {}
            self._capabilities[uri] = found if isinstance(found, dict) else {}
        return self._capabilities[uri]

    def claims(self, fields: Fields | None, name: str) -> bool:
        """Whether a capability is claimed: of an object, or of the whole system (None)."""
        value = (self.system if fields is None else self.capabilities_of(fields)).get(name)
        return value.lower() not in ("", "false") if isinstance(value, str) else bool(value)

    def needs(self, *names: str, of: Fields | None = None) -> None:
        """Not applicable unless the container of the run (or another object) claims all of these."""
        for name in names:
            if not self.claims(self.home.fields if of is None else of, name):
                raise NotApplicable(f"the server doesn't claim {name}")

    def needs_system(self, *names: str) -> None:
        for name in names:
            if not self.claims(None, name):
                raise NotApplicable(f"the server doesn't claim {name}")

    # -- requests --------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        url: str,
        *items: str,
        accept: str = "",
        content_type: str = "",
        body: bytes | Fields = b"",
        headers: Sequence[tuple[str, str]] = (),
        cdmi: bool = True,
    ) -> Exchange:
        """Send a request: `accept` and `content_type` are kinds ("object") or whole types; `items` are the query."""
        if method != "GET" and not self.wire.is_ours(self.wire.absolute(url)):
            raise CheckFailed(f"the server names {url}, at another origin than {self.wire.base_url}")
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        sent = [("User-Agent", CLIENT)]
        sent += [("Accept", MEDIA_TYPES.get(accept, accept))] if accept else []
        sent += [("Content-Type", MEDIA_TYPES.get(content_type, content_type))] if content_type else []
        sent += self.dialect.headers() if cdmi and not any(name == VERSION_HEADER for name, _ in headers) else []
        sent += [(name, value) for name, value in headers if value]
        answer = self.wire.send(method, url + self.dialect.query(*items), sent, content)
        self._note(answer)
        return answer

    def get(self, url: str, kind: str, *items: str) -> Exchange:
        return self.request("GET", url, *items, accept=kind)

    def put(self, url: str, kind: str, body: Fields | bytes, headers: Sequence[tuple[str, str]] = ()) -> Exchange:
        """Create."""
        return self.request("PUT", url, accept=kind, content_type=kind, body=body, headers=headers)

    def update(
        self, url: str, kind: str, body: Fields | bytes, *items: str, headers: Sequence[tuple[str, str]] = ()
    ) -> Exchange:
        return self.request(self.dialect.update, url, *items, content_type=kind, body=body, headers=headers)

    def post(self, url: str, kind: str, body: Fields | bytes, headers: Sequence[tuple[str, str]] = ()) -> Exchange:
        return self.request("POST", url, accept=kind, content_type=kind, body=body, headers=headers)

    def delete(self, url: str, *items: str) -> Exchange:
        return self.request("DELETE", url, *items)

    def http(
        self, method: str, url: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"", content_type: str = ""
    ) -> Exchange:
        """A request of plain HTTP, in which nothing tells of CDMI."""
        return self.request(method, url, content_type=content_type, body=body, headers=headers, cdmi=False)

    def _note(self, answer: Exchange) -> None:
        """Remember what was made, asked for or not, so that it goes at the end."""
        where = answer.url.partition("?")[0]
        if answer.method == "DELETE" and answer.status in (200, 204) and "?" not in answer.url:
            self._made = [url for url in self._made if url != where]
        if answer.method not in ("POST", "PUT") or answer.status not in (200, *MADE, 204):
            return
        made = [where] if answer.method == "PUT" else answer.header_values("location")
        for location in made:
            url = self.wire.absolute(location)
            if not self.wire.is_ours(url):
                self._foreign.append(url)
            elif url not in self._made and self._may_be_removed(url):
                self._made.append(url)

    def _may_be_removed(self, url: str) -> bool:
        """Whatever a server answers, nothing goes that lies outside what the run made."""
        inside = url.startswith(self.home.url) if self._home_is_ours else self.prefix in url
        named_so = url.rstrip("/").rpartition("/")[2].startswith(f"{self.prefix}-")
        return url != self.home.url and (inside or named_so or url.startswith(f"{self.root}cdmi_objectid/"))

    # -- URIs ------------------------------------------------------------------------------------

    def resolved(self, uri: str) -> list[str]:
        """The URLs that a URI of the server's may mean, likeliest first.

        CDMI 1.1.1 Table 5 and 2.0 §5.5.5 resolve "/x" from the host, but the examples of 2.0 leave out the root path.
        """
        found = [urljoin(self.root, uri), self.root + uri.lstrip("/")]
        return found if urlsplit(self.root).path != "/" and uri.startswith("/") else found[:1]

    def follow(self, uri: str, kind: str) -> Exchange:
        """GET a URI that the server gave."""
        for url in self.resolved(uri):
            answer = self.get(url, kind)
            if answer.status == 200:
                break
        return answer

    def path_of(self, url: str) -> str:
        """A URL as the path that stands in copy, move and the like."""
        return urlsplit(url).path

    def by_id(self, fields: Fields, container: bool = False) -> str:
        return f"{self.root}cdmi_objectid/{fields['objectID']}{'/' if container else ''}"

    # -- making things ---------------------------------------------------------------------------

    def name(self, ending: str = "") -> str:
        self._counter += 1
        return f"{self.prefix}-{self._counter}{ending}"

    def new_url(self, ending: str = "", parent: Thing | None = None) -> str:
        return (parent or self.home).url + quote(self.name(ending))

    def make(self, kind: str, body: Fields, url: str) -> Thing:
        """Create, wait until it is complete if it takes time, and show what the server said of it."""
        answer = self.put(url, kind, body)
        expect(answer, MADE, f"a well-formed request for a new {kind}")
        fields = self.settled(url, kind) if answer.status == 202 else document(answer)
        return Thing(url, fields)

    def shared(self, what: str, make: Callable[[], Thing]) -> Thing:
        """One that checks only look at: made once, and removed when the run is over."""
        if what not in self._shared:
            self._shared[what] = made = make()
            self._made.remove(made.url)
            self._stuck.append(made.url)
        return self._shared[what]

    def new_object(self, value: Any = "The quick brown fox", parent: Thing | None = None, **body: Any) -> Thing:
        self.needs("cdmi_create_dataobject", of=parent.fields if parent else None)
        sent = body if value is None else {**body, "value": value}
        return self.make("object", sent, self.new_url(".txt", parent))

    def new_binary(self, octets: bytes, parent: Thing | None = None, **body: Any) -> Thing:
        return self.new_object(base64_of(octets), parent, valuetransferencoding="base64", **body)

    def new_container(self, parent: Thing | None = None, **body: Any) -> Thing:
        self.needs("cdmi_create_container", of=parent.fields if parent else None)
        return self.make("container", body, self.new_url("/", parent))

    # -- looking ---------------------------------------------------------------------------------

    def look(self, url: str, kind: str, *items: str) -> Fields:
        answer = self.get(url, kind, *items)
        expect(answer, {200}, f"an existing {kind}")
        return document(answer)

    def look_at(self, url: str) -> Fields:
        """A data object that may be being written."""
        answer = self.get(url, "object")
        expect(answer, {200, 202}, "an existing object")
        return document(answer)

    def metadata(self, url: str, kind: str = "object") -> Fields:
        found = self.look(url, kind)["metadata"]
        require(isinstance(found, dict), f"metadata is {found!r}, expected a JSON object")
        return dict(found)

    def containers(self) -> list[Thing]:
        """The root and the containers in it that aren't the server's own, as far as they can be read."""
        found = [Thing(self.root, self.look(self.root, "container"))]
        for name in containers_in(found[0].fields):
            answer = self.get(self.root + name, "container")
            found += [Thing(self.root + name, document(answer))] if answer.status == 200 else []
        return found

    def children(self, url: str) -> list[str]:
        return list(self.look(url, "container", "children")["children"])

    def octets(self, url: str) -> bytes:
        """The bytes of a data object, by plain HTTP."""
        answer = self.http("GET", url)
        expect(answer, {200}, "the value of a data object")
        return answer.body

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

    def settled(self, url: str, kind: str) -> Fields:
        """What an object says when it is no longer being made."""
        found: list[Fields] = []

        def complete() -> bool:
            answer = self.get(url, kind)
            if answer.status in GONE:  # CDMI 1.1.1 §8.2.2: it may not be there at once
                return False
            expect(answer, {200, 202}, f"a {kind} that is being made")
            found.append(document(answer))
            return found[-1].get("completionStatus") != "Processing"

        self.wait_until(complete, f"{url} is complete")
        status = str(found[-1].get("completionStatus"))
        require(not status.startswith("Error"), f"{url} came to completionStatus {status!r}")
        return found[-1]

    # -- removal ---------------------------------------------------------------------------------

    def clean_check(self) -> None:
        self._remove()
        self._stuck += self._made
        self._made.clear()

    def clean_all(self) -> list[str]:
        """Remove all, waiting for what is under retention for a little longer; the answer names what stays."""
        self._made = [*self._stuck, *self._made]
        if self._home_is_ours:
            self._made.append(self.home.url)
        deadline = time.monotonic() + self.limit_seconds
        self._remove()
        while self._made and time.monotonic() < deadline:
            time.sleep(0.05)
            self._remove()
        return [*self._made, *self._foreign]

    def _remove(self) -> None:
        """Remove the newest first, as they lie in what was made before; with a container goes what is in it."""
        for url in reversed(list(self._made)):
            kept = self.wire.last
            try:
                answer = self.delete(url) if url in self._made else None
                if answer is not None and answer.status == 409 and url.endswith("/"):
                    self.update(url, "container", {"exports": {}})  # it may go once nobody outside has it
                    answer = self.delete(url)
            except (CheckFailed, httpx.HTTPError, httpx.InvalidURL):
                continue
            finally:
                self.wire.last = kept
            if answer is not None and answer.status in (*GONE, *CHANGED):
                self._made = [made for made in self._made if not made.startswith(url)]
