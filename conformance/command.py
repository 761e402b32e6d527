"""The command: `python -m conformance occi URL`, `… cdmi URL` or `… interop URL` runs a suite, `… list SUITE` lists it.

Exit status: 0 when every must passes, 1 when one fails, 2 when the run could not be done.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from conformance import cdmi as cdmi_suite
from conformance import interop as interop_suite
from conformance import occi as occi_suite
from conformance.cdmi.dialect import DIALECTS, Dialect
from conformance.cdmi.server import Server as CdmiServer
from conformance.interop.server import Server as InteropServer
from conformance.occi.server import Server as OcciServer
from conformance.report import list_checks, print_report, write_json, write_junit
from conformance.suite import CannotRun, Level, Report, Result, Run, Suite, joined
from conformance.wire import Wire

CANNOT_RUN = 2
PASSWORD_VARIABLE = "CONFORMANCE_PASSWORD"  # noqa: S105
SUITES: dict[str, Suite[Any]] = {each.name: each for each in (occi_suite.suite, cdmi_suite.suite, interop_suite.suite)}


@click.group()
def main() -> None:
    """Hold a server to an open cloud standard, clause by clause."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What every suite's command is told: of whom to ask what, and where to write the report."""

    wire: Wire
    limit_seconds: float
    level: Level
    pattern: str
    junit: Path | None
    json_file: Path | None


def suite_options(command: Callable[..., None]) -> Callable[..., None]:
    """The argument and options that every suite's command has; the command gets them as Wishes."""

    @wraps(command)
    def with_wishes(
        url: str,
        user: str | None,
        password_file: Path | None,
        level: str,
        only: str,
        junit: Path | None,
        json_file: Path | None,
        timeout: float,
        request_timeout: float,
        insecure: bool,
        **others: Any,
    ) -> None:
        if not url.startswith(("http://", "https://")) or "@" in url:
            raise click.UsageError("expected a URL http://… or https://…, without credentials in it")
        wire = Wire(url, credentials(user, password_file), request_timeout, verify=not insecure)
        command(Wishes(wire, timeout, Level(level), only, junit, json_file), **others)

    options = [
        click.argument("url"),
        click.option("--user", metavar="NAME[:PASSWORD]", help="HTTP Basic credentials."),
        click.option(
            "--password-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help=f"A file whose first line is the password; without it and without :PASSWORD, ${PASSWORD_VARIABLE}.",
        ),
        click.option(
            "--level",
            type=click.Choice([level.value for level in Level]),
            default=Level.MAY.value,
            show_default=True,
            help="The weakest clauses to check.",
        ),
        click.option("--only", metavar="PATTERN", default="", help="Identifiers, with * or parts of them, by comma."),
        click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML to this file."),
        click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON to it."),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0.1),
            default=120.0,
            show_default=True,
            help="Seconds to wait for one change of state.",
        ),
        click.option(
            "--request-timeout",
            type=click.FloatRange(min=0.1),
            default=30.0,
            show_default=True,
            help="Seconds to wait for one answer.",
        ),
        click.option("--insecure", is_flag=True, help="Don't check the server's TLS certificate."),
    ]
    decorated: Callable[..., None] = with_wishes
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


@main.command()
@suite_options
def occi(wishes: Wishes) -> None:
    """Check an OCCI 1.1 and 1.2 server; what is made is removed again."""
    conclude(wishes, lambda console: run_occi(wishes.wire, wishes.limit_seconds, wishes.level, wishes.pattern, console))


@main.command()
@suite_options
@click.option(
    "--version",
    type=click.Choice([*DIALECTS, "both"]),
    default="both",
    show_default=True,
    help="Which version to speak; both: those that the server speaks.",
)
@click.option("--container", metavar="PATH", default="", help="Where to make things, from the root; else in the root.")
@click.option("--holds", is_flag=True, help="Check holds too; only the server's operator can remove what is on hold.")
@click.option("--exports", metavar="PATH", default="", help="Where to make what is exported; else where it can be.")
def cdmi(wishes: Wishes, version: str, container: str, holds: bool, exports: str) -> None:
    """Check a CDMI 1.1.1 and 2.0 server; what is made is removed again."""
    dialects = tuple(DIALECTS.values()) if version == "both" else (DIALECTS[version],)
    conclude(
        wishes,
        lambda console: run_cdmi(
            wishes.wire,
            wishes.limit_seconds,
            wishes.level,
            wishes.pattern,
            dialects,
            container,
            holds,
            exports,
            console,
        ),
    )


@main.command()
@suite_options
@click.option("--cdmi", "cdmi_url", metavar="URL", default="", help="Where CDMI is; else at URL or cdmi/ below it.")
@click.option(
    "--version", type=click.Choice([*DIALECTS, "both"]), default="both", show_default=True, help="As for cdmi."
)
@click.option("--container", metavar="PATH", default="", help="Where disks are made; else the first that takes them.")
def interop(wishes: Wishes, cdmi_url: str, version: str, container: str) -> None:
    """Check where OCCI and CDMI meet: disks of CDMI in computes of OCCI; what is made is removed again."""
    dialects = tuple(DIALECTS.values()) if version == "both" else (DIALECTS[version],)
    occi, cdmi = wishes.wire, wishes.wire
    if cdmi_url:
        cdmi = Wire(cdmi_url, occi.credentials, occi.timeout_seconds, verify=occi.verify)
    conclude(
        wishes,
        lambda console: run_interop(
            occi, cdmi, wishes.limit_seconds, wishes.level, wishes.pattern, dialects, container, console
        ),
    )


def conclude(wishes: Wishes, run: Callable[[Console], Report]) -> None:
    """Run, report in every form that was wished, and exit with the status that says what came of it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a stopped run cleans up too
    console = Console()
    try:
        report = run(console)
    except CannotRun as reason:
        click.echo(f"Error: {reason}", err=True)
        sys.exit(CANNOT_RUN)
    finally:
        wishes.wire.close()
    print_report(report, console)
    if wishes.junit:
        write_junit(report, wishes.junit)
    if wishes.json_file:
        write_json(report, wishes.json_file)
    if report.interrupted:
        sys.exit(CANNOT_RUN)
    sys.exit(0 if report.conforms else 1)


def credentials(user: str | None, password_file: Path | None) -> tuple[str, str] | None:
    if user is None:
        return None
    name, colon, password = user.partition(":")
    if colon:
        return name, password
    if password_file is not None:
        return name, (password_file.read_text(encoding="utf-8").splitlines() or [""])[0]
    if PASSWORD_VARIABLE in os.environ:
        return name, os.environ[PASSWORD_VARIABLE]
    raise click.UsageError(f"{name} has no password, expected NAME:PASSWORD, --password-file or {PASSWORD_VARIABLE}")


def run_occi(wire: Wire, limit_seconds: float, level: Level, pattern: str, console: Console | None = None) -> Report:
    """Run the OCCI suite and clean up, whatever happens in between."""
    must_select(occi_suite.suite, level, pattern)
    server = OcciServer(wire, limit_seconds)
    server.discover()
    return run_through(Run(occi_suite.suite, server, wire.base_url, level, pattern), console)


def run_cdmi(
    wire: Wire,
    limit_seconds: float,
    level: Level,
    pattern: str,
    dialects: Sequence[Dialect],
    container: str = "",
    holds: bool = False,
    exports: str = "",
    console: Console | None = None,
) -> Report:
    """Run the CDMI suite in each of these versions that the server speaks, one after the other."""
    must_select(cdmi_suite.suite, level, pattern)

    def begin(dialect: Dialect) -> Run[CdmiServer]:
        server = CdmiServer(wire, dialect, limit_seconds, container, holds, exports)
        server.discover()
        return Run(cdmi_suite.suite, server, server.root, level, pattern)

    return run_dialects(dialects, begin, wire.base_url, console)


def run_interop(
    occi: Wire,
    cdmi: Wire,
    limit_seconds: float,
    level: Level,
    pattern: str,
    dialects: Sequence[Dialect],
    container: str = "",
    console: Console | None = None,
) -> Report:
    """As `run_cdmi`, for the suite of what OCCI and CDMI have in common."""
    must_select(interop_suite.suite, level, pattern)

    def begin(dialect: Dialect) -> Run[InteropServer]:
        server = InteropServer(occi, cdmi, dialect, limit_seconds, container)
        server.discover()
        return Run(interop_suite.suite, server, server.cdmi.root, level, pattern)

    return run_dialects(dialects, begin, occi.base_url, console)


def run_dialects(
    dialects: Sequence[Dialect], begin: Callable[[Dialect], Run[Any]], url: str, console: Console | None
) -> Report:
    """In each of these versions that the server speaks, one after the other."""
    reports, reasons = [], []
    for dialect in dialects:
        try:
            run = begin(dialect)
        except CannotRun as reason:
            reasons.append(str(reason))
            continue
        reports.append(run_through(run, console))
        if reports[-1].interrupted:
            break
    if not reports:
        raise CannotRun("; ".join(reasons))
    return joined(reports, url)


def must_select(suite: Suite[Any], level: Level, pattern: str) -> None:
    if not suite.selected(level, pattern):
        raise CannotRun(f"no check is called {pattern!r}; `python -m conformance list {suite.name}` lists them")


def run_through(run: Run[Any], console: Console | None) -> Report:
    try:
        for result in run.results():
            _show_progress(result, console)
    finally:
        report = run.report()
    return report


def _show_progress(result: Result, console: Console | None) -> None:
    if console is not None and console.is_terminal:
        console.print(f"{result.outcome:<14} {result.identifier}", style="dim", highlight=False)


@main.command("list")
@click.argument("suite", type=click.Choice(list(SUITES)))
def list_command(suite: str) -> None:
    """List the checks of a suite as Markdown."""
    click.echo(list_checks(SUITES[suite].checks), nl=False)
