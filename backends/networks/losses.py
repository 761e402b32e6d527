"""Hears from the kernel when a table of nftables or a link is taken away, so that nobody has to wait for the sweep."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from select import select
from typing import Any

_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1
_NETLINK_ROUTE, _RTNLGRP_LINK = 0, 1
_NETLINK_NETFILTER, _NFNLGRP_NFTABLES = 12, 7
_HEADER, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
_NAMES = {
    (_NETLINK_ROUTE, 17): (16, 3),  # RTM_DELLINK: struct ifinfomsg, IFLA_IFNAME
    (_NETLINK_NETFILTER, 10 << 8 | 2): (4, 1),  # NFT_MSG_DELTABLE: struct nfgenmsg, NFTA_TABLE_NAME
}
"""Where the name of what is gone stands in a message of this protocol and type."""
ROOM_BYTES = 1 << 20


class Losses:
    """Calls `on_loss` when one of these names may be gone, in a thread of its own, until it is stopped.

    That is also when something was missed; and who takes things away themselves hears of it too.
    """

    def __init__(self, is_ours: Callable[[str], object], on_loss: Callable[[], None]) -> None:
        self._is_ours, self._on_loss = is_ours, on_loss
        self._sockets = [_listening(_NETLINK_ROUTE, _RTNLGRP_LINK), _listening(_NETLINK_NETFILTER, _NFNLGRP_NFTABLES)]
        self._ended, self._end = os.pipe()
        self._thread = threading.Thread(target=self._listen, name="losses", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        os.write(self._end, b"\0")
        self._thread.join(timeout=30)
        for opened in self._sockets:
            opened.close()
        os.close(self._end)
        os.close(self._ended)

    def _listen(self) -> None:
        watched: list[Any] = [*self._sockets, self._ended]
        while True:
            ready, _, _ = select(watched, [], [])
            if self._ended in ready:
                return
            if any(heard in ready and self._has_lost(heard) for heard in self._sockets):
                self._on_loss()

    def _has_lost(self, heard: socket.socket) -> bool:
        try:
            return any(self._is_ours(name) for name in _lost(heard.proto, heard.recv(ROOM_BYTES)))
        except OSError:  # more was told than there was room for
            return True


def _listening(protocol: int, group: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    opened.bind((0, 0))
    opened.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM_BYTES)
    return opened


def _lost(protocol: int, messages: bytes) -> Iterator[str]:
    while len(messages) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(messages)
        if (protocol, kind) in _NAMES:
            fixed, wanted = _NAMES[protocol, kind]
            yield from _attributes(messages[_HEADER.size + fixed : length], wanted)
        messages = messages[max(_HEADER.size, length + 3 & ~3) :]


def _attributes(attributes: bytes, wanted: int) -> Iterator[str]:
    while len(attributes) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if kind == wanted:
            yield attributes[_ATTRIBUTE.size : length].rstrip(b"\0").decode()
        attributes = attributes[max(_ATTRIBUTE.size, length + 3 & ~3) :]
