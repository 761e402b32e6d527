"""Names that become part of URLs, terms, host names: checked here, once."""

from __future__ import annotations

import re

from backends.errors import Invalid

TERM = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOSTNAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")


def check_term(what: str, value: str) -> None:
    """A term that OCCI 1.1 and 1.2 clients both take (GFD.185 §5.1)."""
    if not TERM.fullmatch(value):
        raise Invalid(
            f"{what} is {value[:80]!r}; it must be a lower-case letter and up to 62 letters, digits, '-' or '_'"
        )


def check_hostname(value: str) -> None:
    """RFC 1123: labels of letters, digits and hyphens."""
    if not HOSTNAME.fullmatch(value):
        raise Invalid(f"the host name is {value[:80]!r}; it must be labels of letters, digits and hyphens")
