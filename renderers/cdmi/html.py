"""Pages for people, which the standard leaves open: what is in a container."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("renderers.cdmi"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Row:
    """A child; `url` is its escaped path."""

    name: str
    url: str
    kind: str
    size_bytes: int | None
    mimetype: str
    modified: str


@dataclass(frozen=True, slots=True)
class DiskRow:
    """A disk; without a size where the reader may know no more than its name, `value_url` is where its bytes are."""

    name: str
    url: str
    size_bytes: int | None = None
    completion: str = ""
    exports: Sequence[str] = ()
    value_url: str | None = None


@dataclass(frozen=True, slots=True)
class Crumb:
    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Export:
    """`permitted` are computes or initiators, never how they prove who they are."""

    name: str
    type: str
    permitted: Sequence[str]


@dataclass(frozen=True, slots=True)
class About:
    """What a container is; `size_bytes` is None where it has none of its own."""

    object_id: str
    completion: str
    size_bytes: int | None = None
    exports: Sequence[Export] = ()


def readable_size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


_ENVIRONMENT.filters["readable_size"] = readable_size


def render_container(
    crumbs: Sequence[Crumb],
    rows: Sequence[Row],
    total: int,
    next_page: str | None,
    about: About | None = None,
    site: str = "altostratus",
) -> str:
    """The children from the first row on, of `total`; `next_page` is where the others are."""
    template = _ENVIRONMENT.get_template("container.html")
    return template.render(crumbs=crumbs, rows=rows, total=total, next_page=next_page, about=about, site=site)


def render_disks(
    crumbs: Sequence[Crumb],
    rows: Sequence[DiskRow],
    total: int,
    next_page: str | None,
    about: About,
    site: str = "altostratus",
) -> str:
    """As `render_container`, for the container of disks."""
    template = _ENVIRONMENT.get_template("disks.html")
    return template.render(crumbs=crumbs, rows=rows, total=total, next_page=next_page, about=about, site=site)


def render_error(status: str, message: str, site: str = "altostratus") -> str:
    return _ENVIRONMENT.get_template("error.html").render(status=status, message=message, site=site)
