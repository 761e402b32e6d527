"""How things are measured: subject and yardstick take turns, and medians are compared."""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

REQUESTS_PER_SECOND = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
REFUSED = re.compile(r"^\s*Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)$", re.MULTILINE)


class BenchError(Exception):
    """What was to be measured doesn't work; the sentence says how."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `aim` is the ratio to reach: at least, of what is better high; else at most."""

    name: str
    value: float
    unit: str
    yardstick: str
    yardstick_value: float
    aim: float
    high_is_good: bool = False

    @property
    def ratio(self) -> float:
        return self.value / self.yardstick_value

    @property
    def met(self) -> bool:
        return self.ratio >= self.aim if self.high_is_good else self.ratio <= self.aim

    def document(self) -> dict[str, object]:
        return {**asdict(self), "ratio": round(self.ratio, 3), "met": self.met}


def alternate(subject: Callable[[], float], yardstick: Callable[[], float], rounds: int) -> tuple[float, float]:
    """The medians of both. The one that begins changes, so that neither always runs on the warmer machine."""
    measured: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for index in (0, 1) if number % 2 == 0 else (1, 0):
            measured[index].append((subject, yardstick)[index]())
    return statistics.median(measured[0]), statistics.median(measured[1])


def median_ms(do: Callable[[], object], times: int) -> float:
    """The median duration of one call among `times`."""
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        do()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations) * 1000


def requests_per_second(
    url: str, fields: Mapping[str, str], *, connections: int, seconds: int, script: Path | None = None
) -> float:
    """What wrk measures, with a Lua script's requests if there is one; an answer that isn't a success is an error."""
    given = [part for name, value in fields.items() for part in ("-H", f"{name}: {value}")]
    if script is not None:
        given += ["-s", str(script)]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *given, url]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True).stdout
    found, refused = REQUESTS_PER_SECOND.search(printed), REFUSED.search(printed)
    if found is None or refused is not None:
        raise BenchError(f"wrk on {url} says: {printed.strip()}")
    return float(found[1])
