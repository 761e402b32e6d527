"""What guests receive and send at most: a token bucket at the tap for either way.

What reaches a guest waits in the tap's queueing discipline (tbf) until there are tokens. What a guest sends is dropped
beyond its limit, by a table of its own in the bridge family: holding it back would take a link more for each tap (ifb).
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import TC_H_ROOT

from backends.networks import nft
from backends.networks.errors import NetworkDriverError
from backends.networks.links import Link, find, links, netlink_socket
from backends.networks.nft import Json
from backends.networks.spec import own_tap_pattern, tap_name

MAP = "taps"
CHAIN = "prerouting"
EGRESS_BURST_BYTES = 1 << 16
"""Beyond one second's worth, which the kernel grants anyway. Guests hand over segments of up to 64 KiB as one."""
INGRESS_BURST_S = 0.01
INGRESS_QUEUE_S = 0.1
INGRESS_LEAST_BYTES = 1 << 14
"""Of burst and queue, for slow interfaces: some packets."""
_HANDLE = 1 << 16
_UNIT_BYTES = {"bytes": 1, "kbytes": 1 << 10, "mbytes": 1 << 20}
"""nft lists a number in the largest unit that divides it."""


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """In the guest's sense, in kbit/s of 1000 bits; None where there is no limit."""

    ingress_kbit_s: int | None = None
    egress_kbit_s: int | None = None


NO_LIMITS = Bandwidth()


class Limits:
    """The limits of one cloud on this host. Who calls does so in one thread at a time.

    What it has applied it remembers only to spare doing so again, and to tell what others have changed.
    """

    def __init__(self, cloud_tag: str) -> None:
        self._tag = cloud_tag
        self._table = f"bridge altostratus_{cloud_tag}_limits"
        self._policed: dict[str, int] = {}
        self._shaped: dict[str, tuple[int, int]] = {}
        """By tap, the index of the link and its rate."""

    def ensure_port(self, interface_id: UUID, bandwidth: Bandwidth) -> bool:
        """What it sends is limited whether or not the tap is there yet. False when all must be restored first."""
        tap = tap_name(self._tag, interface_id)
        if not self._police(tap, bandwidth.egress_kbit_s):
            return False
        if bandwidth.ingress_kbit_s is not None or tap in self._shaped:
            with netlink_socket() as netlink:
                found = find(netlink, tap)
                if found is not None:
                    self._shape(netlink, found, bandwidth.ingress_kbit_s)
        return True

    def absent_port(self, interface_id: UUID) -> None:
        """The queueing discipline goes with the tap."""
        tap = tap_name(self._tag, interface_id)
        self._shaped.pop(tap, None)
        self._police(tap, None)

    def restore(self, ports: Mapping[UUID, Bandwidth]) -> list[str]:
        """Makes all limits what they should be, and says what others have changed."""
        taps = {tap_name(self._tag, interface_id): bandwidth for interface_id, bandwidth in ports.items()}
        egress = {tap: limit.egress_kbit_s for tap, limit in taps.items() if limit.egress_kbit_s is not None}
        ingress = {tap: limit.ingress_kbit_s for tap, limit in taps.items() if limit.ingress_kbit_s is not None}
        return self._restore_policing(egress) + self._restore_shaping(ingress)

    # From guests

    def _police(self, tap: str, kbit_s: int | None) -> bool:
        before = self._policed.get(tap)
        if before == kbit_s:
            return True
        leaving = "" if before is None else self._removed(tap, before)
        entering = "" if kbit_s is None else self._added(tap, kbit_s)
        if nft.run(leaving + entering) is not None:
            return False
        self._policed.pop(tap, None)
        if kbit_s is not None:
            self._policed[tap] = kbit_s
        return True

    def _added(self, tap: str, kbit_s: int) -> str:
        name = _limit_name(tap, kbit_s)
        rate = f"rate over {kbit_s * 125} bytes/second burst {EGRESS_BURST_BYTES} bytes"
        return f"add limit {self._table} {name} {rate}\nadd element {self._table} {MAP} {{ {tap} : {name} }}\n"

    def _removed(self, tap: str, kbit_s: int) -> str:
        """A limit can't be changed: another of another name takes its place."""
        name = _limit_name(tap, kbit_s)
        return f"delete element {self._table} {MAP} {{ {tap} }}\ndelete limit {self._table} {name}\n"

    def _restore_policing(self, wanted: Mapping[str, int]) -> list[str]:
        listing = nft.listed("list", "table", *self._table.split())
        wrong = []
        if self._policed and not self._is_as(listing, self._policed):
            wrong.append(f"The firewall table {self._table} had been changed.")
        is_right = self._is_as(listing, wanted) if wanted else listing is None
        if not is_right and (refusal := nft.run(self._replacement(wanted))) is not None:
            raise NetworkDriverError(f"The kernel refused firewall table {self._table}: {refusal}")
        self._policed = dict(wanted)
        return wrong

    def _replacement(self, wanted: Mapping[str, int]) -> str:
        script = f"add table {self._table}\ndelete table {self._table}\n"
        if not wanted:
            return script
        return "".join(
            (
                f"{script}add table {self._table}\n",
                f"add map {self._table} {MAP} {{ type ifname : limit; }}\n",
                f"add chain {self._table} {CHAIN} {{ type filter hook prerouting priority -210; policy accept; }}\n",
                f"add rule {self._table} {CHAIN} limit name meta iifname map @{MAP} drop\n",
                *(self._added(tap, kbit_s) for tap, kbit_s in wanted.items()),
            )
        )

    def _is_as(self, listing: list[Json] | None, wanted: Mapping[str, int]) -> bool:
        entries = [(kind, found) for entry in listing or () for kind, found in entry.items()]
        rules = [found["expr"] for kind, found in entries if kind == "rule"]
        elements = [element for kind, found in entries if kind == "map" for element in found.get("elem", ())]
        limits = {found["name"]: _rate_bytes_s(found) for kind, found in entries if kind == "limit"}
        return (
            rules == [_RULE]
            and dict(elements) == {tap: _limit_name(tap, rate) for tap, rate in wanted.items()}
            and limits == {_limit_name(tap, rate): rate * 125 for tap, rate in wanted.items()}
        )

    # To guests

    def _shape(self, netlink: Any, tap: Link, kbit_s: int | None) -> None:
        if kbit_s is None:
            if self._shaped.pop(tap.name, (0, 0))[0] == tap.index:
                netlink.tc("del", index=tap.index, parent=TC_H_ROOT)
            return
        if self._shaped.get(tap.name) == (tap.index, kbit_s):
            return
        rate = kbit_s * 125
        try:
            netlink.tc(
                "replace",
                "tbf",
                tap.index,
                handle=_HANDLE,
                rate=rate,
                burst=max(int(rate * INGRESS_BURST_S), INGRESS_LEAST_BYTES),
                limit=max(int(rate * INGRESS_QUEUE_S), INGRESS_LEAST_BYTES),
            )
        except NetlinkError as failure:
            if failure.code == errno.ENODEV:
                return
            if failure.code != errno.ENOENT:
                raise
            raise NetworkDriverError(
                f"The kernel has no queueing discipline tbf: what {tap.name} receives can't be limited."
            ) from failure
        self._shaped[tap.name] = (tap.index, kbit_s)

    def _restore_shaping(self, wanted: Mapping[str, int]) -> list[str]:
        pattern = own_tap_pattern(self._tag)
        wrong = []
        with netlink_socket() as netlink:
            rates = {message["index"]: _shaped_rate(message) for message in netlink.get_qdiscs() if _is_root(message)}
            taps = [found for found in links() if pattern.fullmatch(found.name)]
            for tap in taps:
                present = rates.get(tap.index)
                before = self._shaped.pop(tap.name, None)
                if before is not None and before[0] == tap.index and present != before[1] * 125:
                    wrong.append(f"The queueing discipline of {tap.name} had been changed.")
                if present is not None and present % 125 == 0:
                    self._shaped[tap.name] = (tap.index, present // 125)
                self._shape(netlink, tap, wanted.get(tap.name))
        return wrong


_RULE: list[Json] = [{"limit": {"map": {"key": {"meta": {"key": "iifname"}}, "data": f"@{MAP}"}}}, {"drop": None}]
"""As nft lists it."""


def _limit_name(tap: str, kbit_s: int) -> str:
    return f"{tap}_{kbit_s}"


def _rate_bytes_s(limit: Json) -> int | None:
    """None for one that isn't of the sort that is made here."""
    if not limit.get("inv") or limit.get("per") != "second" or limit.get("rate_unit") not in _UNIT_BYTES:
        return None
    return int(limit["rate"]) * _UNIT_BYTES[limit["rate_unit"]]


def _is_root(message: Any) -> bool:
    return bool(message["parent"] == TC_H_ROOT)


def _shaped_rate(message: Any) -> int | None:
    """In bytes a second; None for other queueing disciplines."""
    if message.get("kind") != "tbf":
        return None
    rate: int = message.get_nested("TCA_OPTIONS", "TCA_TBF_PARMS")["rate"]
    return rate
