"""nftables in its JSON form (libnftables-json(5)): expressions, and the program that takes and lists them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from backends.networks.errors import NetworkDriverError

Json = dict[str, Any]
TIME_LIMIT_S = 30
ACCEPT: Json = {"accept": None}
DROP: Json = {"drop": None}


def meta(key: str) -> Json:
    return {"meta": {"key": key}}


def field(protocol: str, name: str) -> Json:
    return {"payload": {"protocol": protocol, "field": name}}


def concat(*parts: Json) -> Json:
    return {"concat": list(parts)}


def match(left: Json, right: object, operator: str = "==") -> Json:
    return {"match": {"op": operator, "left": left, "right": right}}


def any_of(*values: str) -> Json:
    return {"set": list(values)}


def jump(chain: str) -> Json:
    return {"jump": {"target": chain}}


def goto(chain: str) -> Json:
    return {"goto": {"target": chain}}


def verdict_map(key: Json, name: str) -> Json:
    return {"vmap": {"key": key, "data": f"@{name}"}}


def remember(operation: str, name: str, key: Json, timeout_s: int) -> Json:
    """The packet's key becomes an element: `add` leaves one that is there, `update` renews its time."""
    return {"set": {"op": operation, "elem": {"elem": {"val": key, "timeout": timeout_s}}, "set": f"@{name}"}}


def run(commands: Sequence[Json]) -> str | None:
    """None when done, else what nft said; it does all of the commands or none."""
    answer = _nft(["-f", "-"], json.dumps({"nftables": commands}))
    return None if answer.returncode == 0 else (answer.stderr.strip().splitlines() or ["no reason given"])[0]


def listed(*arguments: str) -> list[Json] | None:
    """What `nft -j list …` shows; None when there is no such thing."""
    answer = _nft([*arguments], None)
    if answer.returncode != 0:
        return None
    entries: list[Json] = json.loads(answer.stdout)["nftables"]
    return entries


def refusal() -> str | None:
    """What nft says when it can't work here at all."""
    try:
        answer = _nft(["list", "tables"], None)
    except NetworkDriverError as failure:
        return failure.message
    return None if answer.returncode == 0 else answer.stderr.strip()


def _nft(arguments: list[str], rules: str | None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["nft", "-j", *arguments],
            input=rules,
            stdin=subprocess.DEVNULL if rules is None else None,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise NetworkDriverError(f"The firewall couldn't be reached through nft: {failure}.") from None
