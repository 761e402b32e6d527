"""What people and scripts see: tables, details, JSON, sentences on standard error.

Everything from a server is stripped of control characters before a terminal gets it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {
    "active": "green", "online": "green", "inactive": "yellow", "offline": "yellow",
    "suspended": "cyan", "error": "bold red", "degraded": "red",
}  # fmt: skip
NOTHING = "-"
ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_()][0-9A-Z]?)")

OTHER_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str, *, lines: bool = False) -> str:
    """The text without what could steer a terminal; `lines` keeps line ends and tabs."""
    kept = "\n\t" if lines else ""
    return "".join(one if one.isprintable() or one in kept else "\ufffd" for one in text)


def without_escapes(text: str) -> str:
    """Console output without the sequences that colour text or move the cursor, and with plain line ends."""
    return OTHER_CONTROLS.sub("", ESCAPE_SEQUENCE.sub("", text))


def show_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(headings: Sequence[str], rows: Sequence[Sequence[str | None]]) -> None:
    """Aligned columns: fitted and coloured on a terminal, whole and plain in a pipe."""
    cells = [[printable(cell) if cell else NOTHING for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for line in _aligned([list(headings), *cells]):
            print(line)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="ellipsis", no_wrap=heading in ("ID", "STATE", "ADDRESS"))
    for row in cells:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    Console().print(table)


def show_details(pairs: Sequence[tuple[str, str | None]]) -> None:
    """Names and values, one a line; what is unknown is left out."""
    known = [(name, printable(value)) for name, value in pairs if value]
    width = max(len(name) for name, _ in known)
    console = Console(soft_wrap=True, highlight=False)
    for name, value in known:
        console.print(Text(f"{name:<{width}}  ", style="dim").append(Text(value, style=COLOURS.get(value, "not dim"))))


def say(sentence: str) -> None:
    """A result for a person."""
    Console(soft_wrap=True, highlight=False).print(Text(printable(sentence)))


def note(sentence: str) -> None:
    """Something beside the result, on standard error."""
    Console(stderr=True, soft_wrap=True).print(Text(printable(sentence), style="yellow"))


def complain(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print(
        Text("stratus: ", style="bold red").append(Text(printable(message, lines=True), style="not bold default"))
    )


@contextmanager
def progress(sentence: str) -> Iterator[Callable[[str], None]]:
    """A line that moves while something lasts; silent when nobody watches. Gives what changes the line."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(Text(printable(sentence))) as status:
        yield lambda changed: status.update(Text(printable(changed)))


def gibibytes(value: float | None) -> str | None:
    """`0.5` as 512 MiB, `2.0` as 2 GiB."""
    if value is None:
        return None
    return f"{value * 1024:.0f} MiB" if value < 1 else f"{value:.4g} GiB"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
