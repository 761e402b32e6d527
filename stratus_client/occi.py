"""OCCI over HTTP from the client's side: discovery, entities, creation, actions, deletion.

Wire form is text/plain, which every server has. Knows no machine from a network: that is resources.py.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

import httpx

from renderers.occi.representation import (
    AttributeValue,
    CategoryClass,
    CategoryId,
    Message,
    RenderingError,
    SentCategory,
    SentLink,
)
from renderers.occi.text import as_body, attribute_value, parse_text, quoted, uri
from stratus_client.config import Settings
from stratus_client.errors import NotFoundError, StratusError, UnreachableError, UsageError

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
ANSWER_SECONDS = 120.0
ANSWER_LIMIT_BYTES = 16 * 1024 * 1024
ERROR_LIMIT_CHARACTERS = 2000
FETCHES_AT_ONCE = 4
QUERY_PATHS = ("/-/", "/.well-known/org/ogf/occi/-/")
HEADERS = {"Accept": "text/plain", "Accept-Encoding": "identity", "User-Agent": "stratus OCCI/1.1"}


@dataclass(frozen=True, slots=True)
class Entity:
    """A resource or link as the server shows it. `path` is relative to the endpoint."""

    path: str
    id: str
    kind: CategoryId
    mixins: tuple[CategoryId, ...] = ()
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    links: tuple[SentLink, ...] = ()
    actions: tuple[CategoryId, ...] = ()

    def text(self, name: str) -> str | None:
        """The attribute as text; None when it is absent or empty."""
        value = self.attributes.get(name)
        return None if value is None or value == "" else str(value)

    def number(self, name: str) -> float | None:
        """The attribute as a number, also where a server quotes it."""
        value = self.attributes.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return None
        try:
            return float(value)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked to be made, or the action to be taken."""

    categories: tuple[tuple[CategoryId, CategoryClass], ...]
    attributes: Mapping[str, str | int | float] = field(default_factory=dict)
    links: tuple[tuple[str, CategoryId, CategoryId], ...] = ()
    """Target path, kind of the target, kind of the link."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the server's query interface offers."""

    categories: tuple[SentCategory, ...]

    def find(self, wanted: CategoryId) -> SentCategory | None:
        return next((one for one in self.categories if one.id == wanted), None)

    def location(self, kind: CategoryId) -> str:
        """Where the instances of the kind live."""
        found = self.find(kind)
        if found is None or not found.location:
            raise StratusError(f"The server doesn't offer {kind.term} (looked for the kind {kind}).")
        return found.location

    def templates(self, base: CategoryId) -> tuple[SentCategory, ...]:
        """The mixins derived from a base such as os_tpl."""
        return tuple(one for one in self.categories if base in one.related and one.id != base)

    def action(self, kind: CategoryId, term: str) -> CategoryId | None:
        """The kind's action by its term; the standard's own identity where the server lists none."""
        found = self.find(kind)
        offered = found.action_ids if found else ()
        if not offered:
            return CategoryId(f"{kind.scheme.removesuffix('#')}/{kind.term}/action#", term)
        return next((one for one in offered if one.term == term), None)


class Server:
    """A connection to one OCCI endpoint, with its catalogue once asked for."""

    def __init__(self, settings: Settings) -> None:
        self.endpoint = settings.endpoint
        self._user = settings.user
        self._endpoint_path = urlsplit(settings.endpoint).path
        credentials = None
        if settings.user is not None and settings.password is not None:
            credentials = httpx.BasicAuth(settings.user, settings.password)
        try:
            self._client = httpx.Client(
                auth=credentials,
                headers=HEADERS,
                timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
                verify=True if settings.ca_file is None else _trusting(str(settings.ca_file)),
            )
        except (OSError, ValueError) as error:
            raise UsageError(f"The connection can't be prepared: {error}.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    @cached_property
    def catalogue(self) -> Catalogue:
        """The query interface, at its usual path or the well-known one."""
        for path in QUERY_PATHS:
            try:
                message = self._parsed(path, self._send("GET", path))
            except NotFoundError:
                continue
            if message.categories:
                return Catalogue(message.categories)
        raise UnreachableError(
            f"{self.endpoint} answers, but not as an OCCI server: nothing is offered at {self.endpoint}/-/. "
            "Check the endpoint's path."
        )

    def paths(self, kind: CategoryId) -> tuple[str, ...]:
        """The paths of all instances of the kind that the user may see."""
        location = self.path(self.catalogue.location(kind))
        message = self._parsed(location, self._send("GET", location))
        return tuple(self.path(one) for one in message.locations)

    def entities(self, kind: CategoryId) -> list[Entity]:
        """All instances of the kind; one deleted meanwhile is left out."""
        paths = self.paths(kind)
        with ThreadPoolExecutor(FETCHES_AT_ONCE) as pool:
            found = pool.map(lambda path: self._entity_if_there(path, kind), paths)
            return [entity for entity in found if entity is not None]

    def entity(self, path: str, *kinds: CategoryId) -> Entity:
        """The instance at a path, expected to be of one of the kinds."""
        message = self._parsed(path, self._send("GET", path))
        shown = {one.id for one in message.categories}
        kind = next((one for one in kinds if one in shown), None)
        if kind is None:
            expected = " or ".join(map(str, kinds))
            raise StratusError(f"The server's answer for {self.endpoint}{path} is not of kind {expected}.")
        action_ids = tuple(one for link in message.links if "?action=" in link.target for one in link.relation)
        return Entity(
            path=path,
            id=str(message.attributes.get("occi.core.id") or last_segment(path)).removeprefix("urn:uuid:"),
            kind=kind,
            mixins=tuple(one.id for one in message.categories if one.id != kind),
            attributes=message.attributes,
            links=tuple(link for link in message.links if "?action=" not in link.target),
            actions=action_ids,
        )

    def create(self, kind: CategoryId, request: Request) -> str:
        """Makes an instance and gives its path."""
        location = self.path(self.catalogue.location(kind))
        answer = self._send("POST", location, request)
        if where := answer.headers.get("Location"):
            return self.path(where)
        found = self._parsed(location, answer).locations
        if len(found) != 1:
            raise StratusError(f"The server took the {kind.term} but didn't say where it is: look with `stratus list`.")
        return self.path(found[0])

    def act(self, entity: Entity, action: CategoryId, parameters: Mapping[str, str]) -> None:
        """Invokes an action on an instance."""
        request = Request(categories=((action, CategoryClass.ACTION),), attributes=parameters)
        self._send("POST", f"{entity.path}?action={action.term}", request)

    def delete(self, path: str) -> None:
        self._send("DELETE", path)

    def read(self, location: str) -> str:
        """Plain text behind a link of an entity, such as a console's log."""
        return self._send("GET", self.path(location)).text

    def path(self, location: str) -> str:
        """A location below the endpoint, whatever origin the server wrote into it.

        So credentials never leave for another host, and a server behind a proxy may name itself as it likes.
        """
        parts = urlsplit(urljoin(f"{self.endpoint}/", location))
        path = parts.path if parts.path.startswith("/") else f"/{parts.path}"
        if self._endpoint_path and path.startswith(f"{self._endpoint_path}/"):
            path = path.removeprefix(self._endpoint_path)
        return f"{path}?{parts.query}" if parts.query else path

    def _entity_if_there(self, path: str, kind: CategoryId) -> Entity | None:
        try:
            return self.entity(path, kind)
        except NotFoundError:
            return None

    def _parsed(self, path: str, answer: httpx.Response) -> Message:
        kind = answer.headers.get("Content-Type", "text/plain").partition(";")[0].strip().lower()
        if kind not in ("text/plain", "text/occi+plain", "text/occi"):
            raise UnreachableError(
                f"{self.endpoint}{path} answers with {kind[:80]}, not OCCI's text/plain. Check the endpoint."
            )
        if answer.content.strip() in (b"", b"OK"):
            return Message()
        try:
            return parse_text(answer.content.decode(errors="replace"))
        except RenderingError as error:
            raise StratusError(f"The server's answer from {self.endpoint}{path} can't be read: {error}") from None

    def _send(self, method: str, path: str, request: Request | None = None) -> httpx.Response:
        """One exchange, bounded in bytes and time, with refusals turned into errors."""
        body = None if request is None else request_body(request).encode()
        headers = {} if body is None else {"Content-Type": "text/plain"}
        try:
            with self._client.stream(method, self.endpoint + path, content=body, headers=headers) as answer:
                content = _bounded(answer)
                answer = httpx.Response(answer.status_code, headers=_without_lengths(answer.headers), content=content)
        except httpx.ConnectError as error:
            raise UnreachableError(
                f"Nobody answers at {self.endpoint} ({error}). "
                "Check the endpoint's address and port, and that the server runs."
            ) from None
        except httpx.TimeoutException:
            raise UnreachableError(f"{self.endpoint} doesn't answer within the time limit ({method} {path}).") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnreachableError(f"The exchange with {self.endpoint} broke off: {error}.") from None
        self._check(method, path, answer)
        return answer

    def _check(self, method: str, path: str, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        said = _reason(answer)
        match answer.status_code:
            case 401:
                whom = "says who you are (STRATUS_USER and STRATUS_PASSWORD)"
                if self._user is not None:
                    whom = f"is right for user {self._user!r}"
                raise StratusError(f"The server wants credentials: check that what you gave {whom}.{said}")
            case 403:
                raise StratusError(f"The server doesn't allow that.{said}")
            case 404 | 410:
                raise NotFoundError(f"The server has nothing at {path}.{said}")
            case status if answer.is_redirect:
                target = answer.headers.get("Location", "elsewhere")
                raise StratusError(f"{self.endpoint} sends us on to {target[:200]} ({status}): use that as endpoint.")
            case status if status >= 500:
                raise StratusError(f"The server failed on {method} {path} with status {status}.{said}")
            case status:
                raise StratusError(f"The server refused that with status {status}.{said}")


def request_body(request: Request) -> str:
    """A request as text/plain, in the order of the standard's examples: categories, links, attributes."""
    lines = [
        ("Category", f"{one.term}; scheme={quoted(one.scheme)}; class={quoted(kind)}")
        for one, kind in request.categories
    ]
    lines += [
        ("Link", f"<{uri(target)}>; rel={quoted(str(related))}; category={quoted(str(kind))}")
        for target, related, kind in request.links
    ]
    lines += [("X-OCCI-Attribute", f"{name}={attribute_value(value)}") for name, value in request.attributes.items()]
    return as_body(lines) + "\n"


def last_segment(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def linked(entity: Entity, kind: CategoryId) -> Sequence[SentLink]:
    """The entity's links of a kind."""
    return [link for link in entity.links if kind in link.categories]


def _trusting(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def _bounded(answer: httpx.Response) -> bytes:
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise StratusError("The server's answer is compressed, which nobody asked for.")
    deadline = time.monotonic() + ANSWER_SECONDS
    content = bytearray()
    for piece in answer.iter_raw():
        content += piece
        if len(content) > ANSWER_LIMIT_BYTES:
            raise StratusError(f"The server's answer is longer than {ANSWER_LIMIT_BYTES // 1024**2} MiB.")
        if time.monotonic() > deadline:
            raise UnreachableError(f"The server's answer is not complete after {ANSWER_SECONDS:.0f} s.")
    return bytes(content)


def _without_lengths(headers: httpx.Headers) -> httpx.Headers:
    kept = httpx.Headers(headers)
    for name in ("Content-Length", "Transfer-Encoding"):
        kept.pop(name, None)
    return kept


def _reason(answer: httpx.Response) -> str:
    """The server's own words, if they are words: a page of HTML says nothing to a terminal."""
    if "html" in answer.headers.get("Content-Type", ""):
        return ""
    text = " ".join(answer.text.split())[:ERROR_LIMIT_CHARACTERS]
    return f" It says: {text}" if text else ""
