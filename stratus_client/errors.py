"""What can go wrong for the user of `stratus`, and the exit status of each.

Every message is one sentence (perhaps followed by the server's own words); none ever holds a password.
"""

from __future__ import annotations

from typing import ClassVar


class StratusError(Exception):
    """Refused by the server, or failed on the way."""

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UsageError(StratusError):
    """An option, a file or a configuration that can't be used."""

    exit_status = 2


class NotFoundError(StratusError):
    """No such thing, or a name that fits several."""

    exit_status = 3


class UnreachableError(StratusError):
    """Nobody answers at the endpoint, or it doesn't speak OCCI."""

    exit_status = 4
