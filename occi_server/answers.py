"""What goes back to the client: the same answer in whichever rendering it likes best.

Errors are written here too; which status each has is in `errors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import falcon

from occi_server.negotiation import ACCEPTED, IN_JSON, IN_TEXT, Rendering
from occi_server.site import Site
from renderers.occi import html, json, text
from renderers.occi.representation import Category, Entity, Link, Resource

SITE = "altostratus"
"""What pages for people are headed with."""
HEADERS_MAX_BYTES = 32 << 10
"""More than this in header fields gets lost in servers and clients: GFD.185 §3.6.6 wants 406 rather than that."""


def introduce(response: falcon.Response, site: Site) -> None:
    """The fields that every answer has: who answers, and what may be sent."""
    response.set_header("Server", site.server_header)
    response.set_header("Accept", ACCEPTED)
    response.set_header("Vary", "Accept")


def answer_entity(response: falcon.Response, rendering: Rendering, entity: Entity) -> None:
    if rendering is Rendering.TEXT or rendering is Rendering.TEXT_OCCI:
        _in_body(response, rendering, text.as_body(text.render_entity(entity)))
    elif rendering in IN_JSON:
        _in_json(response, rendering, json.render_entity_json(entity))
    elif rendering is Rendering.HEADERS:
        _in_headers(response, text.render_entity(entity))
    elif rendering is Rendering.HTML:
        _in_body(response, rendering, html.render_entity_html(entity, SITE))
    else:
        refuse_uri_list(rendering)


def answer_created(
    request: falcon.Request, response: falcon.Response, rendering: Rendering, entity: Entity, *, status: str
) -> None:
    """A new instance: where it is, and with 200 or in JSON all of it."""
    url = request.prefix + entity.location
    response.status = status
    response.set_header("Location", url)
    if rendering is Rendering.URI_LIST:
        _in_body(response, rendering, url)
    elif rendering in IN_TEXT and status == falcon.HTTP_201:
        _in_body(response, rendering, text.as_body(text.render_locations([url])))
    elif rendering is Rendering.HEADERS and status == falcon.HTTP_201:
        _in_headers(response, text.render_locations([url]))
    else:
        answer_entity(response, rendering, entity)


def answer_entities(
    request: falcon.Request, response: falcon.Response, rendering: Rendering, entities: Sequence[Entity]
) -> None:
    """A collection of which the rendering shows everything."""
    if rendering in IN_JSON:
        resources = [entity for entity in entities if isinstance(entity, Resource)]
        links = [entity for entity in entities if isinstance(entity, Link)]
        body = json.render_entities_json(resources if resources or not links else None, links or None)
        _in_json(response, rendering, body)
    elif rendering is Rendering.HTML:
        _in_body(response, rendering, html.render_collection_html(entities, request.path, SITE, path=request.path))
    else:
        answer_locations(request, response, rendering, (entity.location for entity in entities))


def answer_locations(
    request: falcon.Request, response: falcon.Response, rendering: Rendering, paths: Iterable[str]
) -> None:
    """A collection of which the rendering shows where its members are."""
    prefix = request.prefix
    urls = (prefix + path for path in paths)
    if rendering is Rendering.URI_LIST:
        _in_body(response, rendering, text.render_uri_list(urls))
    elif rendering in IN_TEXT:
        _in_body(response, rendering, text.as_body(text.render_locations(urls)))
    elif rendering is Rendering.HEADERS:
        _in_headers(response, text.render_locations(urls))
    elif rendering in IN_JSON:
        _in_json(response, rendering, json.render_locations_json(urls))
    else:
        _in_body(response, Rendering.TEXT, text.render_uri_list(urls))


def answer_categories(response: falcon.Response, rendering: Rendering, categories: Iterable[Category]) -> None:
    if rendering in IN_TEXT:
        _in_body(response, rendering, text.as_body(text.render_categories(categories)))
    elif rendering in IN_JSON:
        _in_json(response, rendering, json.render_categories_json(categories))
    elif rendering is Rendering.HEADERS:
        _in_headers(response, text.render_categories(categories))
    elif rendering is Rendering.HTML:
        _in_body(response, rendering, html.render_categories_html(categories, SITE))
    else:
        refuse_uri_list(rendering)


def answer_done(response: falcon.Response, rendering: Rendering) -> None:
    """A success that has nothing to show."""
    if rendering in IN_JSON:
        _in_json(response, rendering, b"{}")
    elif rendering is Rendering.HEADERS:
        _in_headers(response, [])
    else:
        _in_body(response, Rendering.TEXT, "OK")


def answer_error(response: falcon.Response, rendering: Rendering, status: str, message: str) -> None:
    response.status = status
    if rendering in IN_JSON:
        _in_json(response, rendering, json.render_error_json(message))
    elif rendering is Rendering.HTML:
        _in_body(response, rendering, html.render_error_html(status, message, SITE))
    else:
        _in_body(response, Rendering.TEXT, message)


def refuse_uri_list(rendering: Rendering) -> None:
    """GFD.229 §6: a URI list can only be had of a collection."""
    if rendering is Rendering.URI_LIST:
        raise falcon.HTTPBadRequest(description="text/uri-list is for listings: expected text/plain or another type.")


def _in_body(response: falcon.Response, rendering: Rendering, body: str) -> None:
    # A charset only where it matters: tools compare the header with the bare type.
    response.content_type = rendering.value if body.isascii() else f"{rendering}; charset=utf-8"
    response.data = body.encode("utf-8", "replace")


def _in_json(response: falcon.Response, rendering: Rendering, body: bytes) -> None:
    response.content_type = rendering.value
    response.data = body


def _in_headers(response: falcon.Response, lines: Iterable[tuple[str, str]]) -> None:
    fields = text.as_headers(lines)
    size_bytes = sum(len(name) + len(value) + 4 for name, value in fields)
    if size_bytes > HEADERS_MAX_BYTES:
        raise falcon.HTTPNotAcceptable(
            description=f"The answer takes {size_bytes} bytes of header fields, more than fit: ask for text/plain."
        )
    for name, value in fields:
        response.set_header(name, value)
    response.content_type = Rendering.HEADERS.value
    response.data = b"OK"
