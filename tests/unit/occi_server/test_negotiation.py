"""Which rendering is chosen for which Accept."""

from __future__ import annotations

import falcon
import falcon.testing
import pytest

from occi_server.negotiation import Rendering, preferred, request_rendering


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Rendering.TEXT),
        ("*/*", Rendering.TEXT),
        ("text/*", Rendering.TEXT),
        ("application/*", Rendering.JSON),
        ("text/occi", Rendering.HEADERS),
        ("TEXT/OCCI", Rendering.HEADERS),
        ("text/plain,text/occi;q=0.2", Rendering.TEXT),
        ("text/plain;q=0.2, text/occi", Rendering.HEADERS),
        ("text/occi, */*", Rendering.HEADERS),
        ("text/occi, text/plain", Rendering.HEADERS),
        ("application/xml, text/uri-list;q=0.1", Rendering.URI_LIST),
        ("application/json", Rendering.PLAIN_JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Rendering.HTML),
        ("*/*, text/plain;q=0", Rendering.HEADERS),
        ("text/plain;q=nonsense, text/occi;q=0.1", Rendering.HEADERS),
        ("image/png", None),
        ("text/plain;q=0", None),
    ],
)
def test_the_best_liked_rendering_is_chosen(accept: str, expected: Rendering | None) -> None:
    assert preferred(accept) is expected


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("", None),
        ("text/plain; charset=utf-8", Rendering.TEXT),
        ("text/plain,text/occi", Rendering.TEXT),
        ("application/xml, text/occi", Rendering.HEADERS),
        ("Application/OCCI+JSON", Rendering.JSON),
    ],
)
def test_the_first_known_content_type_is_read(content_type: str, expected: Rendering | None) -> None:
    request = falcon.Request(falcon.testing.create_environ(headers={"Content-Type": content_type}))

    assert request_rendering(request) is expected


def test_an_unknown_content_type_is_not_acceptable() -> None:
    request = falcon.Request(falcon.testing.create_environ(headers={"Content-Type": "application/xml"}))

    with pytest.raises(falcon.HTTPNotAcceptable):
        request_rendering(request)
