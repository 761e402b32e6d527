"""What a run found, for people (a table), CI (JUnit XML) and programs (JSON); and the list of checks."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lxml import etree
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conformance.suite import Check, Exchange, Level, Outcome, Report, Result

BODY_SHOWN_CHARACTERS = 2_000
HEADER_SHOWN_CHARACTERS = 500
_COLOURS = {Level.MUST: "red", Level.SHOULD: "yellow", Level.MAY: "cyan"}
_FORBIDDEN_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def shown_exchange(exchange: Exchange) -> str:
    """An exchange as lines: > sent, < answered; credentials masked, what is long cut off."""
    lines = [f"> {exchange.method} {exchange.url}"]
    lines += [f"> {name}: {_masked(name, value)}" for name, value in exchange.request_headers]
    lines += [f"> {line}" for line in _cut(exchange.request_body.decode("utf-8", "replace"))]
    if exchange.status == 0:
        return "\n".join([*lines, "< (no answer)"])
    lines.append(f"< {exchange.status}")
    lines += [f"< {name}: {_masked(name, value)}" for name, value in exchange.headers]
    lines += [f"< {line}" for line in _cut(exchange.text)]
    return "\n".join(lines)


def _masked(name: str, value: str) -> str:
    if name.lower() in ("authorization", "proxy-authorization", "cookie", "set-cookie", "x-auth-token"):
        return "***"
    shown = value if len(value) <= HEADER_SHOWN_CHARACTERS else value[:HEADER_SHOWN_CHARACTERS] + " …"
    return _printable(shown)


def _cut(text: str) -> list[str]:
    if not text:
        return []
    shown = text[:BODY_SHOWN_CHARACTERS]
    lines = [_printable(line) for line in shown.splitlines()]
    return lines if shown == text else [*lines, f"… ({len(text)} characters in all)"]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in text)


def print_report(report: Report, console: Console) -> None:
    table = Table(title=f"{report.suite.upper()} {', '.join(report.versions)} at {report.url}")
    table.add_column("area")
    for heading in ("passed", "failed must", "failed should", "failed may", "not applicable"):
        table.add_column(heading, justify="right")
    areas = list(dict.fromkeys(result.area for result in report.results))
    for area in [*areas, ""]:
        rows = [result for result in report.results if not area or result.area == area]
        failed = [sum(row.outcome is Outcome.FAILED and row.level is level for row in rows) for level in Level]
        table.add_row(
            area or "in all",
            str(sum(row.outcome is Outcome.PASSED for row in rows)),
            *(f"[{_COLOURS[level]}]{n}[/]" if n else "-" for n, level in zip(failed, Level, strict=True)),
            str(sum(row.outcome is Outcome.NOT_APPLICABLE for row in rows) or "-"),
            end_section=area == areas[-1] if areas else False,
        )
    for result in report.failures():
        _print_failure(result, console)
    reasons: dict[str, list[str]] = {}
    for result in report.results:
        if result.outcome is Outcome.NOT_APPLICABLE:
            reasons.setdefault(result.message, []).append(result.identifier)
    for reason, identifiers in reasons.items():
        console.print(escape(f"not applicable, {reason}: {', '.join(identifiers)}"), highlight=False, soft_wrap=True)
    console.print(table)
    for url in report.left_behind:
        console.print(f"[red]left behind:[/] {escape(url)}")
    if report.interrupted:
        console.print("[red]interrupted: not all checks were run[/]")
    verdict = "conforms" if report.conforms else "does not conform"
    console.print(f"{escape(report.url)} [bold]{verdict}[/]")


def _print_failure(result: Result, console: Console) -> None:
    colour = _COLOURS[result.level]
    console.rule(
        f"[{colour}]{result.level}[/] {escape(result.identifier)} ({', '.join(result.versions)})", align="left"
    )
    console.print(escape(f"{result.clause}: {result.statement}"), highlight=False)
    console.print(escape(result.message), style=colour, highlight=False)
    if result.exchange:
        console.print(escape(shown_exchange(result.exchange)), style="dim", highlight=False, soft_wrap=True)


def write_junit(report: Report, path: Path) -> None:
    root = etree.Element(
        "testsuite",
        name=f"conformance.{report.suite}",
        tests=str(len(report.results)),
        failures=str(len(report.failures(Level.MUST))),
        skipped=str(sum(result.outcome is Outcome.NOT_APPLICABLE for result in report.results)),
    )
    for result in report.results:
        case = etree.SubElement(
            root,
            "testcase",
            classname=f"{report.suite}.{result.area}",
            name=f"{result.identifier} ({result.clause})",
            time=f"{result.seconds:.3f}",
        )
        if result.outcome is Outcome.NOT_APPLICABLE:
            etree.SubElement(case, "skipped", message=_for_xml(result.message))
        elif result.outcome is Outcome.FAILED:
            details = f"{result.statement}\n{result.message}\n"
            details += shown_exchange(result.exchange) if result.exchange else ""
            if result.level is Level.MUST:
                failure = etree.SubElement(case, "failure", type="must", message=_for_xml(result.message))
                failure.text = _for_xml(details)
            else:
                warning = etree.SubElement(case, "system-out")
                warning.text = _for_xml(f"{result.level}: {details}")
    path.write_bytes(etree.tostring(root, xml_declaration=True, encoding="utf-8", pretty_print=True))


def _for_xml(text: str) -> str:
    return _FORBIDDEN_IN_XML.sub("�", text)


def write_json(report: Report, path: Path) -> None:
    def plain(result: Result) -> dict[str, Any]:
        exchange = shown_exchange(result.exchange) if result.exchange else None
        return {**asdict(result), "exchange": exchange}

    content = {
        "suite": report.suite,
        "url": report.url,
        "versions": report.versions,
        "conforms": report.conforms,
        "interrupted": report.interrupted,
        "left_behind": report.left_behind,
        "results": [plain(result) for result in report.results],
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def list_checks(checks: Sequence[Check[Any]]) -> str:
    """The checks as Markdown, a table for each area."""
    lines: list[str] = []
    area = ""
    for check in checks:
        if check.area != area:
            area = check.area
            lines += [
                "",
                f"### {area}",
                "",
                "| check | clause | level | versions | statement |",
                "|---|---|---|---|---|",
            ]
        versions = ", ".join(sorted(check.versions))
        statement = check.statement.replace("|", "\\|").replace("<", "&lt;")
        lines.append(f"| `{check.identifier}` | {check.clause} | {check.level} | {versions} | {statement} |")
    return "\n".join(lines).strip() + "\n"
