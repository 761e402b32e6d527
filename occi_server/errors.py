"""Which status each refusal has in OCCI, in one place, and its body in the rendering that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import falcon
import structlog

from backends.errors import (
    CloudError,
    Conflict,
    DatabaseUnavailable,
    Deadlocked,
    Invalid,
    NoCapacity,
    NotAllowed,
    NotApplicable,
    NotFound,
    OutOfRoom,
    TryLater,
)
from backends.quotas import QuotaExceeded
from occi_server.answers import answer_error, introduce
from occi_server.negotiation import Rendering, preferred
from occi_server.site import Site
from renderers.occi.representation import RenderingError

STATUSES: dict[type[CloudError], str] = {
    NotFound: falcon.HTTP_404,
    NotAllowed: falcon.HTTP_403,
    Invalid: falcon.HTTP_400,
    Conflict: falcon.HTTP_409,
    NotApplicable: falcon.HTTP_400,
    NoCapacity: falcon.HTTP_400,
    QuotaExceeded: falcon.HTTP_403,
    OutOfRoom: falcon.HTTP_409,
    TryLater: falcon.HTTP_503,
}
"""GFD.185 §3.6.8: an action that doesn't apply now is a 400; so is a demand that no host could ever meet. What could be
met, but not for this project, is forbidden. Room that is lacking now is in conflict with what has it."""

log = structlog.get_logger()

Handler = Callable[[falcon.Request, falcon.Response, Any, dict[str, Any]], None]


def error_handler(site: Site) -> Handler:
    """Writes refusals of the door, of the renderers and of Falcon; what nobody expected is logged and a 500."""

    def handle(request: falcon.Request, response: falcon.Response, error: Exception, _params: dict[str, Any]) -> None:
        introduce(response, site)
        rendering = preferred(request.get_header("Accept") or "") or Rendering.TEXT
        status, message = refusal(error)
        if isinstance(error, falcon.HTTPError) and error.headers is not None:
            response.set_headers(error.headers)
        if isinstance(error, DatabaseUnavailable | TryLater):
            response.set_header("Retry-After", "1")
        answer_error(response, rendering, status, message)

    return handle


def refusal(error: Exception) -> tuple[str, str]:
    """The status line and the sentence for an error."""
    match error:
        case CloudError():
            return STATUSES.get(type(error), falcon.HTTP_400), error.message
        case RenderingError():
            return falcon.HTTP_400, str(error)
        case falcon.HTTPMethodNotAllowed():
            allowed = dict(error.headers or {}).get("Allow")
            return str(error.status), f"This method is not for this place: expected {allowed}."
        case falcon.HTTPError():
            return str(error.status), error.description or str(error.title)
        case Deadlocked():
            return falcon.HTTP_503, "Others were changing the same things just now; try again."
        case DatabaseUnavailable():
            return falcon.HTTP_503, "The cloud's database can't be reached just now; try again."
        case _:
            log.error("not answered", exc_info=error)
            return falcon.HTTP_500, "The gateway failed to answer; its log says why under this X-Request-ID."
