"""Finding things by what people type: an identifier, a name, or the beginning of an identifier.

Chooses among what it is given, never asks a server; what fits several is refused with the candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from stratus_client.errors import NotFoundError
from stratus_client.resources import Template

SHORT_ID_LENGTH = 8
CANDIDATES_SHOWN = 10


class Named(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def label(self) -> str: ...


AnyNamed = TypeVar("AnyNamed", bound=Named)


def choose(things: Sequence[AnyNamed], wanted: str, what: str, plural: str = "") -> AnyNamed:
    """The one thing meant: an identifier beats a name, a name beats the beginning of an identifier."""
    same_id = [one for one in things if one.id == wanted]
    same_name = [one for one in things if one.name == wanted]
    beginning = [one for one in things if wanted and one.id.startswith(wanted)]
    found = same_id or same_name or beginning
    if not found:
        raise NotFoundError(
            f"No {what} has the name or identifier {wanted!r}: see `stratus list {plural or what + 's'}`."
        )
    if len(found) > 1:
        shown = ", ".join(f"{one.id} ({one.label})" for one in found[:CANDIDATES_SHOWN])
        more = "" if len(found) <= CANDIDATES_SHOWN else f" and {len(found) - CANDIDATES_SHOWN} more"
        raise NotFoundError(
            f"{len(found)} {plural or what + 's'} fit {wanted!r}, say which by its identifier: {shown}{more}."
        )
    return found[0]


def choose_template(templates: Sequence[Template], wanted: str, what: str) -> Template:
    """The image or size meant: by name, full category or title."""
    for fits in (
        [one for one in templates if wanted in (one.id.term, str(one.id))],
        [one for one in templates if one.title == wanted],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            listed = ", ".join(str(one.id) for one in fits[:CANDIDATES_SHOWN])
            raise NotFoundError(f"{len(fits)} {what}s fit {wanted!r}, say which: {listed}.")
    raise NotFoundError(f"No {what} is called {wanted!r}: {offered(templates, what)}.")


def offered(templates: Sequence[Template], what: str) -> str:
    """What to choose from, as the end of a sentence."""
    if not templates:
        return f"the server offers no {what}s"
    listed = ", ".join(one.id.term for one in templates[:CANDIDATES_SHOWN])
    return f"the server offers {listed}" + (" and more" if len(templates) > CANDIDATES_SHOWN else "")


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Beginnings long enough to tell the identifiers apart; those that are no UUIDs stay whole."""
    length = SHORT_ID_LENGTH
    while length < 36 and len({one[:length] for one in ids}) < len(set(ids)):
        length += 4
    return {one: one[:length] if len(one) == 36 and one.count("-") == 4 else one for one in ids}
