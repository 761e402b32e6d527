"""Names that become part of URLs, terms, host names, and user data: checked here, once."""

from __future__ import annotations

import base64
import binascii
import re

from backends.errors import Invalid

TERM = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
IQN = re.compile(r"iqn\.\d{4}-(0[1-9]|1[0-2])\.[a-z0-9-]+(\.[a-z0-9-]+)+(:[a-z0-9.:-]+)?")
MOST_IQN_CHARACTERS = 223
WORLD_WIDE = re.compile(r"eui\.[0-9a-f]{16}|naa\.[125c-f][0-9a-f]{15}")
"""The other names that LIO takes."""
USER_DATA_MAX_BYTES = 16 * 1024
HOSTNAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")


def check_term(what: str, value: str) -> None:
    """A term that OCCI 1.1 and 1.2 clients both take (GFD.185 §5.1)."""
    if not TERM.fullmatch(value):
        raise Invalid(
            f"{what} is {value[:80]!r}; it must be a lower-case letter and up to 62 letters, digits, '-' or '_'"
        )


def check_initiator(value: str) -> None:
    """RFC 3720 §3.2.6.3, RFC 3980."""
    is_iqn = len(value) <= MOST_IQN_CHARACTERS and IQN.fullmatch(value)
    if not is_iqn and not WORLD_WIDE.fullmatch(value):
        raise Invalid(
            f"the initiator is {value[:80]!r}; a name like iqn.2026-01.org.example:host, eui.02004567a425678d or"
            " naa.52004567ba64678d in lower case is expected"
        )


def check_hostname(value: str) -> None:
    """RFC 1123: labels of letters, digits and hyphens."""
    if not HOSTNAME.fullmatch(value):
        raise Invalid(f"the host name is {value[:80]!r}; it must be labels of letters, digits and hyphens")


def check_user_data(value: str) -> None:
    """Base64 of at most 16 KiB, which is what other clouds allow at least."""
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"the user data is not base64: {error}") from None
    if len(decoded) > USER_DATA_MAX_BYTES:
        raise Invalid(f"the user data has {len(decoded)} bytes; at most {USER_DATA_MAX_BYTES} are allowed")
