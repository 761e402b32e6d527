"""One request on its way: who asks, in which dialect, for what; and the bodies, read within bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import falcon

from backends.cloud import Cloud
from backends.objects import COMPLETE, PROCESSING
from cdmi_server.negotiation import VERSION_FIELD, specification_version
from cdmi_server.paths import Place
from cdmi_server.site import Site
from renderers.cdmi import json
from renderers.cdmi.fields import Selection, parse_fields
from renderers.cdmi.representation import Version

CHUNK_BYTES = 1 << 20
AT_LENGTH = "altostratus.at_length"
"""Where the server leaves how to begin what may take long, if it has something for that."""


@dataclass(frozen=True)
class Call:
    request: falcon.Request
    response: falcon.Response
    site: Site
    version: Version
    place: Place

    @property
    def cloud(self) -> Cloud:
        """The caller's, as authentication left it with the request."""
        return cast(Cloud, self.request.context.cloud)

    @property
    def domain(self) -> str:
        return self.cloud.caller.project_name

    @cached_property
    def selection(self) -> Selection:
        return parse_fields(self.request.query_string, self.version)

    @property
    def completion(self) -> str:
        """What X-CDMI-Partial makes of an object that is written."""
        partial = (self.request.get_header("X-CDMI-Partial") or "false").strip().lower()
        if partial not in ("true", "false"):
            raise falcon.HTTPBadRequest(description=f"X-CDMI-Partial is {partial[:40]!r}: expected true or false.")
        return PROCESSING if partial == "true" else COMPLETE

    @contextmanager
    def at_length(self) -> Iterator[Callable[[], None]]:
        """Around work that may take long, of which few go on at once (503): beside other requests.

        What it gives is to be called between pieces, and ends the work when the client has gone.
        """
        begin = self.request.env.get(AT_LENGTH)
        if begin is None:
            yield lambda: None
            return
        with begin() as check:
            try:
                yield check
            except ConnectionError:
                raise falcon.HTTPError(falcon.HTTP_408, description="The client has gone.") from None

    def check_version(self) -> None:
        """CDMI requests of 1.x must say which version they speak; the answer says which it is."""
        if self.version is Version.V2:
            return
        chosen = specification_version(self.request)
        if chosen is None:
            raise falcon.HTTPBadRequest(
                description=f"There is no {VERSION_FIELD}: expected one, such as 1.1.1; CDMI 2.0 is at /cdmi/2.0.0/."
            )
        self.response.set_header(VERSION_FIELD, chosen)

    def answer_json(self, media_type: str, fields: json.Body, *, status: str = falcon.HTTP_200) -> None:
        self.begin_answer(media_type, status)
        self.response.data = json.render(fields)

    def begin_answer(self, media_type: str, status: str = falcon.HTTP_200) -> None:
        self.response.status = status
        with_suffix = f"{media_type}+json"
        is_asked = with_suffix in self.request.env.get("HTTP_ACCEPT", "").lower()
        self.response.content_type = with_suffix if is_asked else media_type

    def read_object(self) -> dict[str, Any]:
        """The body as a JSON object."""
        return json.parse_object(self.read_body(self.site.json_max_bytes))

    def read_body(self, limit_bytes: int) -> bytes:
        announced = self.request.content_length
        if announced is not None and announced > limit_bytes:
            raise falcon.HTTPContentTooLarge(
                description=f"The body has {announced} bytes: as JSON at most {limit_bytes} are read;"
                " send larger values by plain HTTP or as parts of multipart/mixed."
            )
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > limit_bytes:
                raise falcon.HTTPContentTooLarge(description=f"The body is longer than {limit_bytes} bytes.")
        return bytes(body)

    def chunks(self) -> Iterator[bytes]:
        """The body, piece by piece; 400 when it ends early."""
        announced = self.request.content_length
        if announced is None and not self.request.env.get("wsgi.input_terminated"):
            return
        count = 0
        while True:
            try:
                chunk = self.request.stream.read(CHUNK_BYTES)
            except ConnectionError:
                raise falcon.HTTPError(falcon.HTTP_408, description="The body was not here in time.") from None
            except OSError as error:
                raise falcon.HTTPBadRequest(description=f"The body can't be read: {error}") from None
            if not chunk:
                break
            count += len(chunk)
            yield chunk
        if announced is not None and count < announced:
            raise falcon.HTTPBadRequest(description=f"The body ends after {count} of {announced} bytes.")
