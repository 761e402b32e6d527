"""What a provider settles about the OCCI front-end, once, when the application starts."""

from __future__ import annotations

from dataclasses import dataclass

from backends.model import Size
from renderers.cdmi.objectid import DOCUMENTATION_ENTERPRISE


@dataclass(frozen=True, slots=True)
class Site:
    """The provider's own names and limits."""

    server_name: str = "altostratus"
    server_version: str = "0.1.0"
    scheme_prefix: str = "http://altostratus.local/occi/"
    """Schemes of the provider's own categories start so; never under schemas.ogf.org (GFD.221 §4.3.1)."""
    attribute_prefix: str = "local.altostratus"
    """Attributes of the provider's own start so; never with `occi.`."""
    sizes: tuple[Size, ...] = ()
    enterprise_number: int = DOCUMENTATION_ENTERPRISE
    """In the CDMI object IDs of disks."""
    page_size: int = 100
    """Entries of a page when `?page=` comes without `&number=`."""
    page_size_max: int = 10_000
    body_size_max_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        if "schemas.ogf.org" in self.scheme_prefix:
            raise ValueError(f"scheme_prefix is {self.scheme_prefix!r}: expected a domain of the provider's own")
        if self.attribute_prefix.startswith("occi"):
            raise ValueError(f"attribute_prefix is {self.attribute_prefix!r}: expected a domain of the provider's own")

    @property
    def server_header(self) -> str:
        return f"{self.server_name}/{self.server_version} OCCI/1.1 OCCI/1.2 OCCI-CRTP/1.1"
