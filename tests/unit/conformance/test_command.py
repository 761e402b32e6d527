"""The command: exit status, reports, masked credentials, cleaning up."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from lxml import etree

from conformance.command import SUITES, main
from conformance.occi import suite as occi_suite
from conformance.occi.server import Server
from conformance.suite import Level, Run, Suite
from conformance.wire import Wire
from tests.unit.conformance.cdmi_faults import FAULTS as CDMI_FAULTS
from tests.unit.conformance.cdmi_subject import Subject as CdmiSubject
from tests.unit.conformance.faults import FAULTS
from tests.unit.conformance.http_subject import PASSWORD, USER, Answer, Fault, Request
from tests.unit.conformance.subject import Subject


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
    assert etree.parse(str(junit)).getroot().get("tests") == str(len(occi_suite.checks))


def test_interrupted_run_leaves_nothing_behind(subject: Subject) -> None:
    wire = Wire(subject.url, (USER, PASSWORD), 5.0)
    server = Server(wire, 0.2)
    server.discover()
    run = Run(occi_suite, server, subject.url, Level.MUST, "")
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


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_list_names_every_check(suite: Suite[Any]) -> None:
    result = CliRunner().invoke(main, ["list", suite.name])
    assert result.exit_code == 0
    assert all(f"`{check.identifier}`" in result.output for check in suite.checks)


@pytest.mark.parametrize(
    ("suite", "name"),
    [("occi", "conformance.md"), ("cdmi", "conformance-cdmi.md"), ("interop", "conformance-interop.md")],
)
def test_documentation_lists_every_check(suite: str, name: str) -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / name
    listed = CliRunner().invoke(main, ["list", suite]).output
    assert listed in page.read_text(), f"run `python -m conformance list {suite}` and put its output into the page"


@pytest.fixture(scope="module")
def cdmi_subject() -> Iterator[CdmiSubject]:
    running = CdmiSubject()
    yield running
    running.close()


def cdmi_command(subject: CdmiSubject, *arguments: str) -> Result:
    account = ["--user", f"{USER}:{PASSWORD}", "--timeout", "0.2"]
    return CliRunner().invoke(main, ["cdmi", subject.url, *account, *arguments])


def test_both_versions_of_cdmi_stand_in_one_report(cdmi_subject: CdmiSubject, tmp_path: Path) -> None:
    cdmi_subject.reset()
    plain = tmp_path / "report.json"
    result = cdmi_command(cdmi_subject, "--only", "data/create,versions/no-header", "--json", str(plain))
    assert result.exit_code == 0, result.output
    found = json.loads(plain.read_text())
    assert found["versions"] == ["1.1.1", "2.0"]
    outcomes = {(one["area"], one["identifier"]): one["outcome"] for one in found["results"]}
    assert outcomes["1.1.1 data", "data/create"] == outcomes["2.0 data", "data/create"] == "passed"
    assert outcomes["1.1.1 versions", "versions/no-header"] == "not applicable"
    assert "not applicable, belongs to version 2.0, which the server doesn't claim: versions/no-header" in result.output
    assert outcomes["2.0 versions", "versions/no-header"] == "passed"


def test_failed_cdmi_check_shows_its_version_and_exchange(cdmi_subject: CdmiSubject) -> None:
    cdmi_subject.reset(next(fault for fault in CDMI_FAULTS if fault.name == "updates are 200"))
    result = cdmi_command(cdmi_subject, "--only", "data/update", "--version", "1.1.1")
    assert result.exit_code == 1
    assert "data/update (1.1.1)" in result.output
    assert "CDMI 1.1.1 §8.4.7" in result.output
    assert "> PUT http" in result.output


def test_one_version_of_cdmi_can_be_asked_for(cdmi_subject: CdmiSubject) -> None:
    cdmi_subject.reset()
    result = cdmi_command(cdmi_subject, "--only", "data/create", "--version", "2.0")
    assert result.exit_code == 0
    assert "CDMI 2.0 at" in result.output


def test_everything_is_made_in_the_container_that_was_named(cdmi_subject: CdmiSubject) -> None:
    made: list[str] = []

    def listen(request: Request) -> Request:
        if request.method == "PUT":
            made.append(request.target)
        return request

    cdmi_subject.reset(Fault("listening", (), request=listen))
    cloud = cdmi_subject.cloud
    cloud.place(cloud.new("container", "tests", cloud.root))
    result = cdmi_command(cdmi_subject, "--only", "data/update,http/create", "--container", "tests")
    assert result.exit_code == 0, result.output
    assert made
    assert all("/tests/conformance-" in target for target in made)
    assert list(cloud.root.children) == ["tests"]
    assert cloud.root.children["tests"].children == {}


def test_status_is_2_where_no_cdmi_is_spoken(subject: Subject) -> None:
    result = CliRunner().invoke(main, ["cdmi", subject.url, "--user", f"{USER}:{PASSWORD}"])
    assert result.exit_code == 2
    assert "cdmi_capabilities" in result.output
