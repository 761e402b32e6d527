"""What taps count, read so that nothing is missed and nothing counted twice.

A tap counts from 0 each time it is made, and is made anew whenever its guest starts. The kernel's notice that a link
has gone has its last counters: so not even what passed after the last reading is lost, while somebody listens.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Collection
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from backends.model import Traffic
from backends.networks.links import netlink_socket
from backends.networks.spec import own_tap_pattern

_RTMGRP_LINK = 1
_RTM_DELLINK = 17
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_WAITING_BYTES = 16 << 20
"""Of notices not yet read: those of a few thousand taps."""
_MESSAGE_BYTES = 1 << 16
_MESSAGE: Any = ifinfmsg


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters of one tap; `boot` and `link` tell it from others that had its name."""

    tap: str
    boot: str
    link: int
    counters: Traffic
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Counted:
    """What an interface has received and sent ever; of the tap `link`, what it had `seen` is in it already."""

    total: Traffic
    boot: str
    link: int
    seen: Traffic


def accumulate(counted: Counted, reading: Reading) -> Counted:
    """With the reading counted in. The same again, or one that comes late, changes nothing; nothing ever falls."""
    is_this_boot = reading.boot == counted.boot
    if is_this_boot and reading.link == counted.link:
        pairs = zip(astuple(reading.counters), astuple(counted.seen), strict=True)
        grown = Traffic(*(max(0, now - before) for now, before in pairs))
        return Counted(_sum(counted.total, grown), reading.boot, reading.link, _sum(counted.seen, grown))
    if reading.is_last and is_this_boot and reading.link < counted.link:
        return counted  # the kernel's indices rise: it has been read to its end, or a later one couldn't have been
    return Counted(_sum(counted.total, reading.counters), reading.boot, reading.link, reading.counters)


def _sum(one: Traffic, other: Traffic) -> Traffic:
    return Traffic(*(a + b for a, b in zip(astuple(one), astuple(other), strict=True)))


class Meter:
    """Reads the taps of one cloud on this host, and listens for the end of each from its making on."""

    def __init__(self, cloud_tag: str) -> None:
        self._pattern = own_tap_pattern(cloud_tag)
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._ended: dict[int, Reading] = {}
        self._notices = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._notices.setblocking(False)
        self._notices.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _WAITING_BYTES)
        _take_only_ends(self._notices)
        self._notices.bind((0, _RTMGRP_LINK))

    def close(self) -> None:
        self._notices.close()

    def readings(self) -> list[Reading]:
        """In the order in which they are to be counted. The last ones of taps are told until they are `done`."""
        with netlink_socket() as netlink:
            present = [reading for message in netlink.get_links() if (reading := self._reading(message)) is not None]
        self._listen()  # afterwards: a tap that has ended meanwhile is not read as the successor of its successor
        return [*self._ended.values(), *(reading for reading in present if reading.link not in self._ended)]

    def done(self, readings: Collection[Reading]) -> None:
        """These have been counted for good."""
        for reading in readings:
            if reading.is_last:
                self._ended.pop(reading.link, None)

    def _listen(self) -> None:
        while True:
            try:
                data = self._notices.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError as failure:
                if failure.errno != errno.ENOBUFS:  # then some ends were missed, and the others are still to be read
                    raise
                continue
            message = _MESSAGE(data)
            message.decode()
            reading = self._reading(message, is_last=True)
            if reading is not None:
                self._ended[reading.link] = reading

    def _reading(self, message: Any, *, is_last: bool = False) -> Reading | None:
        """None for other links, and for a notice that one has left its bridge."""
        name, counters = message.get("ifname"), message.get("stats64")
        if name is None or counters is None or not self._pattern.fullmatch(name):
            return None
        seen_by_guest = Traffic(
            received_bytes=counters["tx_bytes"],
            received_packets=counters["tx_packets"],
            sent_bytes=counters["rx_bytes"],
            sent_packets=counters["rx_packets"],
        )
        return Reading(name, self._boot, message["index"], seen_by_guest, is_last)


def _take_only_ends(notices: socket.socket) -> None:
    """A filter of the kernel's (socket(7), bpf): else each change of a link takes room of what is waiting.

    Classic BPF loads in network byte order, and netlink writes in the machine's own.
    """
    of_type = int.from_bytes(struct.pack("=H", _RTM_DELLINK), "big")
    load_half_word, jump_if_equal, answer = 0x28, 0x15, 0x06
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (load_half_word, 0, 0, 4),
            (jump_if_equal, 0, 1, of_type),
            (answer, 0, 0, 0xFFFFFFFF),
            (answer, 0, 0, 0),
        )
    )
    code = ctypes.create_string_buffer(program)
    notices.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 4, ctypes.addressof(code)))
