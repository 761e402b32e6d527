"""What the network driver answers when it can't do as told; each message is a sentence for the state message.

Wrong addresses and subnets are `backends.errors.Invalid`: the door checks them with the same functions.
"""

from __future__ import annotations

from backends.errors import CloudError


class NetworkDriverError(CloudError):
    """The host couldn't be made what was asked for; trying again may help."""


class NameClashError(NetworkDriverError):
    """Two networks or interfaces come out at the same link name, or somebody else has taken it."""
