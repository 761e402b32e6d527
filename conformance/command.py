"""The command: `python -m conformance occi URL` runs a suite, `… list occi` lists its checks.

Exit status: 0 when every must passes, 1 when one fails, 2 when the run could not be done.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import click
from rich.console import Console

from conformance import occi as occi_suite
from conformance.occi.server import Server
from conformance.report import list_checks, print_report, write_json, write_junit
from conformance.suite import CannotRun, Level, Report, Result, Run
from conformance.wire import Wire

CANNOT_RUN = 2
PASSWORD_VARIABLE = "CONFORMANCE_PASSWORD"  # noqa: S105


@click.group()
def main() -> None:
    """Hold a server to an open cloud standard, clause by clause."""


@main.command()
@click.argument("url")
@click.option("--user", metavar="NAME[:PASSWORD]", help="HTTP Basic credentials.")
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"A file whose first line is the password; without it and without :PASSWORD, ${PASSWORD_VARIABLE}.",
)
@click.option(
    "--level",
    type=click.Choice([level.value for level in Level]),
    default=Level.MAY.value,
    show_default=True,
    help="The weakest clauses to check.",
)
@click.option("--only", metavar="PATTERN", default="", help="Identifiers, with * or parts of them, by comma.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML to this file.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON to it.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=120.0,
    show_default=True,
    help="Seconds to wait for one change of state.",
)
@click.option(
    "--request-timeout",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    help="Seconds to wait for one answer.",
)
@click.option("--insecure", is_flag=True, help="Don't check the server's TLS certificate.")
def occi(
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
) -> None:
    """Check an OCCI 1.1 and 1.2 server; what is made is removed again."""
    if not url.startswith(("http://", "https://")) or "@" in url:
        raise click.UsageError("expected a URL http://… or https://…, without credentials in it")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a stopped run cleans up too
    console = Console()
    wire = Wire(url, credentials(user, password_file), request_timeout, verify=not insecure)
    try:
        report = run_occi(wire, timeout, Level(level), only, console)
    except CannotRun as reason:
        click.echo(f"Error: {reason}", err=True)
        sys.exit(CANNOT_RUN)
    finally:
        wire.close()
    print_report(report, console)
    if junit:
        write_junit(report, junit)
    if json_file:
        write_json(report, json_file)
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
    selected = occi_suite.suite.selected(level, pattern)
    if not selected:
        raise CannotRun(f"no check is called {pattern!r}; `python -m conformance list occi` lists them")
    server = Server(wire, limit_seconds)
    server.discover()
    run = Run(occi_suite.suite, server, wire.base_url, level, pattern)
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
@click.argument("suite", type=click.Choice(["occi"]))
def list_command(suite: str) -> None:
    """List the checks of a suite as Markdown."""
    assert suite == occi_suite.suite.name
    click.echo(list_checks(occi_suite.suite.checks), nl=False)
