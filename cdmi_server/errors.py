"""Which status each refusal has in CDMI, in one place. The standard has no body for errors: a sentence is sent."""

from __future__ import annotations

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
from backends.values import NoRoom
from cdmi_server.negotiation import accepted
from renderers.cdmi import html
from renderers.cdmi.representation import CdmiError

STATUSES: dict[type[CloudError], str] = {
    NotFound: falcon.HTTP_404,
    NotAllowed: falcon.HTTP_403,
    Invalid: falcon.HTTP_400,
    Conflict: falcon.HTTP_409,
    NotApplicable: falcon.HTTP_409,
    NoCapacity: falcon.HTTP_507,
    QuotaExceeded: falcon.HTTP_507,
    OutOfRoom: falcon.HTTP_507,
    TryLater: falcon.HTTP_503,
}
"""507 (RFC 4918 §11.5) also where the administrator's limit is what leaves no room."""

log = structlog.get_logger()


def answer_error(request: falcon.Request, response: falcon.Response, error: Exception) -> None:
    """Refusals of the door, of the renderers and of Falcon; what nobody expected is logged and a 500."""
    status, message = refusal(error)
    if isinstance(error, falcon.HTTPError) and error.headers is not None:
        response.set_headers(error.headers)
    if isinstance(error, DatabaseUnavailable | TryLater):
        response.set_header("Retry-After", "1")
    response.status = status
    response.stream = None
    types = accepted(request)
    if types and types[0] == "text/html":
        response.content_type = "text/html; charset=utf-8"
        response.text = html.render_error(status, message)
    else:
        response.content_type = "text/plain; charset=utf-8"
        response.data = (message + "\n").encode("utf-8", "replace")


def refusal(error: Exception) -> tuple[str, str]:
    match error:
        case CloudError():
            return STATUSES.get(type(error), falcon.HTTP_400), _sentence(error.message)
        case CdmiError():
            return falcon.HTTP_400, _sentence(str(error))
        case falcon.HTTPError():
            return str(error.status), error.description or str(error.title)
        case NoRoom():
            return falcon.HTTP_507, _sentence(str(error))
        case Deadlocked():
            return falcon.HTTP_503, "Others were changing the same things just now; try again."
        case DatabaseUnavailable():
            return falcon.HTTP_503, "The cloud's database can't be reached just now; try again."
        case _:
            log.error("not answered", exc_info=error)
            return falcon.HTTP_500, "The gateway failed to answer; its log says why under this X-Request-ID."


def _sentence(message: str) -> str:
    """With a capital letter, unless it begins with the name of a field or a metadata item."""
    first = message if "_" in message.partition(" ")[0] else message[:1].upper() + message[1:]
    return first + ("" if message.endswith(".") else ".")
