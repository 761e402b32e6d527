"""nft, the program that takes nftables' own language (nft(8)) and lists in JSON what the kernel has."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from backends.networks.errors import NetworkDriverError

Json = dict[str, Any]
TIME_LIMIT_S = 30


def run(script: str, *options: str) -> str | None:
    """None when done, else what nft said; it does all of the commands or none."""
    answer = _nft([*options, "-f", "-"], script)
    return None if answer.returncode == 0 else (answer.stderr.strip().splitlines() or ["no reason given"])[0]


def listed(*arguments: str) -> list[Json] | None:
    """What `nft list …` shows; None when there is no such thing."""
    answer = _nft(["-j", *arguments], None)
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


def _nft(arguments: list[str], script: str | None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["nft", *arguments],
            input=script,
            stdin=subprocess.DEVNULL if script is None else None,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise NetworkDriverError(f"The firewall couldn't be reached through nft: {failure}.") from None
