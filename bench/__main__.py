"""`make bench`: measures, prints a table, writes bench.json. As root, in the namespaces of deploy/isolated."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bench.disks import disk_rows, lab_rows
from bench.guests import guest_rows
from bench.measure import BenchError, Row
from bench.networks import network_rows
from bench.objects import object_rows
from bench.renderings import rendering_rows
from bench.requests import request_rows
from bench.site import REPOSITORY, running_site

PARTS = ("renderings", "requests", "objects", "disks", "networks", "lab", "guests")


@click.command()
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, help="Only these parts; all if not given.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Turns of subject and yardstick.")
@click.option("--machines", type=click.IntRange(1), default=100, show_default=True, help="Computes of the last row.")
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=REPOSITORY / ".cache" / "default.qcow2",
    help="The default image.",
)
@click.option("--output", type=click.Path(path_type=Path), default=Path("bench.json"), show_default=True)
def main(parts: tuple[str, ...], rounds: int, machines: int, image: Path, output: Path) -> None:
    """Ratios against yardsticks that are measured in the same run, in turns; medians."""
    if os.geteuid() != 0:
        raise click.ClickException("the benchmarks start machines, which needs root: make bench")
    rows = []
    try:
        for row in _rows(parts or PARTS, rounds, machines, image):
            click.echo(f"{row.name}: {_shown(row.ratio)}", err=True)
            rows.append(row)
    except BenchError as error:
        raise click.ClickException(str(error)) from None
    finally:
        output.write_text(json.dumps([row.document() for row in rows], indent=2) + "\n")
        _print(rows)


def _rows(parts: tuple[str, ...], rounds: int, machines: int, image: Path) -> Iterator[Row]:
    if "renderings" in parts:
        yield from rendering_rows(rounds)
    if set(parts) & {"requests", "objects", "disks", "guests"}:
        with running_site(image) as site:
            if "requests" in parts:
                yield from request_rows(site, rounds)
            if "objects" in parts:
                yield from object_rows(site, rounds)
            if "disks" in parts:
                yield from disk_rows(site, rounds)
            if "guests" in parts:
                yield from guest_rows(site, rounds, machines)
    if "networks" in parts:
        yield from network_rows(rounds)
    if "lab" in parts:
        yield from lab_rows(rounds)


def _print(rows: list[Row]) -> None:
    table = Table("what", "measured", "yardstick", "its value", "ratio", "aim", "met")
    for row in rows:
        table.add_row(
            row.name,
            f"{_shown(row.value)} {row.unit}",
            row.yardstick,
            f"{_shown(row.yardstick_value)} {row.unit}",
            _shown(row.ratio),
            f"{'≥' if row.high_is_good else '≤'} {row.aim:g}",
            "yes" if row.met else "no",
        )
    Console(width=160).print(table)


def _shown(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.2f}"


if __name__ == "__main__":
    main()
