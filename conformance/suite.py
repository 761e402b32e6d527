"""What every conformance suite is made of: checks, the registry they stand in, exchanges, and the runner.

No standard lives here, and no output format: those are conformance/occi/ and conformance/report.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Generic, Protocol, TypeVar

import httpx


class Level(StrEnum):
    """How strongly a clause asks (RFC 2119)."""

    MUST = "must"
    SHOULD = "should"
    MAY = "may"

    def includes(self, other: Level) -> bool:
        order = (Level.MUST, Level.SHOULD, Level.MAY)
        return order.index(other) <= order.index(self)


class Outcome(StrEnum):
    """What came of a check."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, as they were on the wire; status 0 means that no answer came."""

    method: str
    url: str
    request_headers: tuple[tuple[str, str], ...]
    request_body: bytes
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header_values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str:
        return ", ".join(self.header_values(name))

    @property
    def media_type(self) -> str:
        return self.header("content-type").split(";")[0].strip().lower()

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")


class CheckFailed(Exception):
    """The server did not do what the clause asks; `exchange` shows it."""

    def __init__(self, message: str, exchange: Exchange | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.exchange = exchange


class NotApplicable(Exception):
    """The clause is about something that this server rightly lacks."""


class CannotRun(Exception):
    """The run as a whole can't be done: nobody answers, or what answers speaks another protocol."""


def expect(answer: Exchange, statuses: Collection[int], what: str) -> None:
    """Fail unless the status is one of those that the standards allow."""
    if answer.status not in statuses:
        allowed = " or ".join(str(status) for status in sorted(statuses))
        raise CheckFailed(f"{what} was answered {answer.status}, expected {allowed}", answer)


def require(condition: object, message: str, answer: Exchange | None = None) -> None:
    if not condition:
        raise CheckFailed(message, answer)


class Subject(Protocol):
    """What a suite runs against: it knows which versions it speaks and can remove what a check made."""

    @property
    def versions(self) -> frozenset[str]: ...

    @property
    def last_exchange(self) -> Exchange | None: ...

    def clean_check(self) -> None:
        """Remove what the last check made for itself."""

    def clean_all(self) -> list[str]:
        """Remove all that the run made; the answer names what could not be removed."""


SubjectT = TypeVar("SubjectT", bound=Subject)


@dataclass(frozen=True, slots=True)
class Check(Generic[SubjectT]):
    """One clause of a standard and the function that holds a server to it."""

    identifier: str
    clause: str
    level: Level
    versions: frozenset[str]
    statement: str
    run: Callable[[SubjectT], None]

    @property
    def area(self) -> str:
        return self.identifier.split("/", 1)[0]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one check: `message` says why if it did not pass."""

    identifier: str
    area: str
    clause: str
    level: Level
    versions: tuple[str, ...]
    statement: str
    outcome: Outcome
    message: str = ""
    exchange: Exchange | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    suite: str
    url: str
    versions: tuple[str, ...]
    results: tuple[Result, ...]
    left_behind: tuple[str, ...] = ()
    """What the run made and could not remove."""
    interrupted: bool = False

    def failures(self, level: Level | None = None) -> list[Result]:
        return [
            result
            for result in self.results
            if result.outcome is Outcome.FAILED and (level is None or result.level is level)
        ]

    @property
    def conforms(self) -> bool:
        return not self.failures(Level.MUST) and not self.interrupted


def joined(reports: Sequence[Report], url: str) -> Report:
    """The reports of several versions of one standard as one; each area is named with its version."""
    results = [
        replace(result, area=f"{' '.join(report.versions)} {result.area}", versions=report.versions)
        for report in reports
        for result in report.results
    ]
    return Report(
        reports[0].suite,
        url,
        tuple(version for report in reports for version in report.versions),
        tuple(results),
        tuple(where for report in reports for where in report.left_behind),
        any(report.interrupted for report in reports),
    )


class Suite(Generic[SubjectT]):
    """The checks of one standard; `areas` is the order in which they run."""

    def __init__(self, name: str, areas: tuple[str, ...], versions: frozenset[str]) -> None:
        self.name = name
        self.areas = areas
        self.versions = versions
        self._checks: list[Check[SubjectT]] = []

    @property
    def checks(self) -> list[Check[SubjectT]]:
        return sorted(self._checks, key=lambda check: self.areas.index(check.area))

    def check(
        self,
        identifier: str,
        clause: str,
        statement: str,
        level: Level = Level.MUST,
        versions: frozenset[str] | None = None,
    ) -> Callable[[Callable[[SubjectT], None]], Callable[[SubjectT], None]]:
        """Register the decorated function as the check of a clause."""
        if any(known.identifier == identifier for known in self._checks):
            raise ValueError(f"two checks are called {identifier!r}; identifiers are unique")

        def register(run: Callable[[SubjectT], None]) -> Callable[[SubjectT], None]:
            self._checks.append(
                Check(identifier, clause, level, versions or self.versions, statement, run),
            )
            return run

        return register

    def selected(self, level: Level, pattern: str) -> list[Check[SubjectT]]:
        return [check for check in self.checks if level.includes(check.level) and _selects(pattern, check.identifier)]


def _selects(pattern: str, identifier: str) -> bool:
    if not pattern:
        return True
    parts = [part for part in re.split(r"[,\s]+", pattern) if part]
    return any(fnmatchcase(identifier, part) or part in identifier for part in parts)


@dataclass(slots=True)
class Run(Generic[SubjectT]):
    """A run in progress: iterate over `results()`, then ask for `report()`, which cleans up first."""

    suite: Suite[SubjectT]
    subject: SubjectT
    url: str
    level: Level = Level.MAY
    pattern: str = ""
    _results: list[Result] = field(default_factory=list)
    _interrupted: bool = False

    def results(self) -> Iterator[Result]:
        """Run check after check; Ctrl-C ends the run early and is noted in the report."""
        try:
            for check in self.suite.selected(self.level, self.pattern):
                result = run_check(check, self.subject)
                self._results.append(result)
                yield result
        except KeyboardInterrupt:
            self._interrupted = True

    def report(self) -> Report:
        """Remove all that was made and say what came of it all."""
        left_behind = self.subject.clean_all()
        return Report(
            self.suite.name,
            self.url,
            tuple(sorted(self.subject.versions)),
            tuple(self._results),
            tuple(left_behind),
            self._interrupted,
        )


def run_check(check: Check[SubjectT], subject: SubjectT) -> Result:
    """Run one check and remove what it made for itself."""
    started = time.monotonic()
    outcome, message, exchange = Outcome.PASSED, "", None
    if not check.versions & subject.versions:
        outcome = Outcome.NOT_APPLICABLE
        message = f"belongs to version {' and '.join(sorted(check.versions))}, which the server doesn't claim"
    else:
        try:
            check.run(subject)
        except NotApplicable as reason:
            outcome, message = Outcome.NOT_APPLICABLE, str(reason)
        except CheckFailed as failure:
            outcome, message = Outcome.FAILED, failure.message
            exchange = failure.exchange or subject.last_exchange
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            outcome = Outcome.FAILED
            message = f"the exchange broke off: {type(error).__name__}: {error}"
            exchange = subject.last_exchange
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # Checks read what a server says as if it were of the right shape; when it isn't, they end here.
            outcome = Outcome.FAILED
            message = f"the answer could not be read: {type(error).__name__}: {error}"
            exchange = subject.last_exchange
        finally:
            subject.clean_check()
    return Result(
        check.identifier,
        check.area,
        check.clause,
        check.level,
        tuple(sorted(check.versions)),
        check.statement,
        outcome,
        message,
        exchange,
        time.monotonic() - started,
    )
