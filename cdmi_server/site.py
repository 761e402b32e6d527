"""What a provider settles about the CDMI front-end, once, when the application starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from renderers.cdmi.objectid import DOCUMENTATION_ENTERPRISE
from renderers.cdmi.representation import Version


@dataclass(frozen=True, slots=True)
class Site:
    """Who issues the object IDs, and what is read of a request."""

    enterprise_number: int = DOCUMENTATION_ENTERPRISE
    json_max_bytes: int = 4 << 20
    """Of a JSON body, values in it included; larger values come by plain HTTP or as parts of multipart/mixed."""
    metadata_maxitems: int = 1024
    metadata_maxsize_bytes: int = 4096
    metadata_maxtotalsize_bytes: int = 64 << 10
    fields_maxsize_bytes: int = 64 << 10
    """Of an object's fields that the standard doesn't define, together."""
    region: str = ""
    """Where all of its data are: an ISO 3166 code; empty: it doesn't say."""
    page_size: int = 1000
    """Rows of a page for people."""


class Spoken(Protocol):
    """In which dialect, and by whom, objects are shown."""

    @property
    def site(self) -> Site: ...
    @property
    def version(self) -> Version: ...
    @property
    def domain(self) -> str:
        """The name of the project whose objects are shown."""
