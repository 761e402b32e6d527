"""The command: exit status, reports, masked credentials, cleaning up."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from lxml import etree

from conformance.command import main
from conformance.occi import suite
from conformance.occi.server import Server
from conformance.suite import Level, Run
from conformance.wire import Wire
from tests.unit.conformance.faults import FAULTS
from tests.unit.conformance.subject import PASSWORD, USER, Answer, Fault, Request, Subject


@pytest.fixture
def subject() -> Iterator[Subject]:
    running = Subject()
    yield running
    running.close()


def command(subject: Subject, *arguments: str) -> Result:
    account = ["--user", f"{USER}:{PASSWORD}", "--timeout", "0.2"]
    return CliRunner().invoke(main, ["occi", subject.url, *account, *arguments])


def a_fault(name: str) -> Fault:
    return next(fault for fault in FAULTS if fault.name == name)


def test_status_is_0_when_all_pass(subject: Subject) -> None:
    result = command(subject, "--only", "query/get,text/ok")
    assert result.exit_code == 0, result.output


def test_status_is_1_when_a_must_fails(subject: Subject) -> None:
    subject.reset(a_fault("no version in Server"))
    assert command(subject, "--only", "negotiation/server-header").exit_code == 1


def test_failed_should_is_but_a_warning(subject: Subject) -> None:
    subject.reset(a_fault("ASCII only"))
    result = command(subject, "--only", "text/unicode")
    assert result.exit_code == 0
    assert "text/unicode" in result.output


def test_level_must_leaves_out_the_rest(subject: Subject) -> None:
    subject.reset(a_fault("ASCII only"))
    result = command(subject, "--only", "text/uni*,text/ok", "--level", "must")
    assert result.exit_code == 0
    assert "text/unicode" not in result.output


def test_status_is_2_when_nobody_answers() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert CliRunner().invoke(main, ["occi", f"http://127.0.0.1:{port}"]).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [["ftp://x/"], ["http://u:p@x/"], ["http://127.0.0.1:1/", "--user", "name-without-password"], []],
)
def test_status_is_2_for_wrong_arguments(arguments: list[str]) -> None:
    assert CliRunner(env={"CONFORMANCE_PASSWORD": None}).invoke(main, ["occi", *arguments]).exit_code == 2


def test_status_is_2_for_wrong_credentials(subject: Subject) -> None:
    result = CliRunner().invoke(main, ["occi", subject.url, "--user", f"{USER}:wrong"])
    assert result.exit_code == 2
    assert "401" in result.output


def test_status_is_2_when_no_check_is_selected(subject: Subject) -> None:
    assert command(subject, "--only", "no-such-check").exit_code == 2


def test_password_comes_from_a_file_or_the_environment(subject: Subject, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    start = ["occi", subject.url, "--only", "query/get", "--user", USER]
    assert CliRunner().invoke(main, [*start, "--password-file", str(file)]).exit_code == 0
    assert CliRunner(env={"CONFORMANCE_PASSWORD": PASSWORD}).invoke(main, start).exit_code == 0


def test_reports_show_the_exchange_but_no_password(subject: Subject, tmp_path: Path) -> None:
    subject.reset(a_fault("text/occi without OK"))
    junit, plain = tmp_path / "junit.xml", tmp_path / "report.json"
    result = command(subject, "--only", "text/ok,query/get", "--junit", str(junit), "--json", str(plain))
    assert result.exit_code == 1
    cases = {case.get("name"): case for case in etree.parse(str(junit)).getroot().findall("testcase")}
    failed = [name for name, case in cases.items() if case.find("failure") is not None]
    assert len(cases) == 2
    assert [str(name).split()[0] for name in failed] == ["text/ok"]
    found = {one["identifier"]: one for one in json.loads(plain.read_text())["results"]}
    assert "GET http" in found["text/ok"]["exchange"]
    assert "Authorization: ***" in found["text/ok"]["exchange"]
    for text in (result.output, junit.read_text(), plain.read_text()):
        assert PASSWORD not in text
        assert "dGVzdGVyOnNlY3JldA" not in text


def test_hostile_answers_break_no_report(subject: Subject, tmp_path: Path) -> None:
    def nonsense(request: Request, answer: Answer) -> Answer:
        if request.path == "/-/":
            return answer
        return Answer(200, (("Content-Type", "application/occi+json"),), b"[1, \x00\x1b[31m\xff]")

    subject.reset(Fault("nonsense", (), answer=nonsense))
    junit = tmp_path / "junit.xml"
    result = command(subject, "--junit", str(junit))
    assert result.exit_code == 1
    assert "\x1b[31m" not in result.output
    assert etree.parse(str(junit)).getroot().get("tests") == str(len(suite.checks))


def test_interrupted_run_leaves_nothing_behind(subject: Subject) -> None:
    wire = Wire(subject.url, (USER, PASSWORD), 5.0)
    server = Server(wire, 0.2)
    server.discover()
    run = Run(suite, server, subject.url, Level.MUST, "")
    healthy = server.create

    def interrupted(*arguments: object, **named: object) -> str:
        healthy(*arguments, **named)  # type: ignore[arg-type]
        if len(subject.cloud.entities) > 2:
            raise KeyboardInterrupt
        return healthy(*arguments, **named)  # type: ignore[arg-type]

    server.create = interrupted  # type: ignore[method-assign]
    list(run.results())
    report = run.report()
    wire.close()
    assert report.interrupted
    assert not report.conforms
    assert subject.cloud.entities == {}


def test_nothing_is_deleted_on_other_servers(subject: Subject) -> None:
    other = Subject()
    try:
        elsewhere = Fault(
            "elsewhere",
            (),
            answer=lambda request, answer: (
                Answer(201, (("Location", f"{other.url}/network/theirs"),)) if request.method == "POST" else answer
            ),
        )
        heard: list[Request] = []

        def listen(request: Request) -> Request:
            heard.append(request)
            return request

        other.reset(Fault("listening", (), request=listen))
        subject.reset(elsewhere)
        result = command(subject, "--only", "entities/create")
        assert "left behind" in result.output
        assert {request.method for request in heard} <= {"GET"}
        assert not any(request.header("authorization") for request in heard)
    finally:
        other.close()


def test_list_names_every_check() -> None:
    result = CliRunner().invoke(main, ["list", "occi"])
    assert result.exit_code == 0
    assert all(f"`{check.identifier}`" in result.output for check in suite.checks)


def test_documentation_lists_every_check() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "conformance.md"
    listed = CliRunner().invoke(main, ["list", "occi"]).output
    assert listed in page.read_text(), "run `python -m conformance list occi` and put its output into the page"
