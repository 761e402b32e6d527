"""Options that several subcommands share, and the forms of their values.

Connection options and --json may stand before or after the subcommand: `connection_options` makes each take them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import click

WAIT_SECONDS = 300.0
MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(GiB|MiB|GB|MB|G|M)", re.IGNORECASE)
BYTES_PER_UNIT = {"gib": 2**30, "g": 2**30, "gb": 10**9, "mib": 2**20, "m": 2**20, "mb": 10**6}

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])


class Memory(click.ParamType[float]):
    """A size of memory with its unit, as GiB."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = MEMORY.fullmatch(str(value).strip())
        if not found or not Decimal(found[1]):
            self.fail(f"{value!r} is no size of memory, expected one such as 2GiB or 512MiB.", param, ctx)
        return float(Decimal(found[1]) * BYTES_PER_UNIT[found[2].lower()] / 2**30)


def one_line(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuses what can't stand in a line of OCCI text."""
    if value is not None and not (value and value.isprintable()):
        raise click.BadParameter("expected printable characters.", ctx, param)
    return value


def _override(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Connection options stand before or after the subcommand; the later one counts."""
    if value is not None and param.name:
        ctx.find_root().params[param.name] = value


def connection_options(command: AnyCommand) -> AnyCommand:
    for flag in ("--endpoint", "--user"):
        command = click.option(flag, hidden=True, expose_value=False, callback=_override)(command)
    return command


def _wants_json(ctx: click.Context, param: click.Parameter, value: bool) -> bool:  # noqa: ARG001
    return value or bool(ctx.find_root().params["as_json"])


as_json_option = click.option("--json", "as_json", is_flag=True, callback=_wants_json, help="Print JSON for scripts.")
timeout_option = click.option(
    "--timeout",
    "limit_seconds",
    type=click.FloatRange(min=0),
    default=WAIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait.",
)
no_wait_option = click.option("--no-wait", is_flag=True, help="Return as soon as the server has agreed.")
machines_argument = click.argument("wanted", nargs=-1, required=True, metavar="MACHINE...")
