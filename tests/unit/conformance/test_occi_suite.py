"""The OCCI suite: silent on a healthy server, and each fault found by the check that claims its clause."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from conformance.command import run_occi
from conformance.occi import suite
from conformance.suite import Level, Outcome, Report
from conformance.wire import Wire
from tests.unit.conformance.faults import FAULTS
from tests.unit.conformance.http_subject import PASSWORD, USER, Fault
from tests.unit.conformance.subject import Subject

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Made once, as a context for each of hundreds of runs would take longer than the runs."""
NOT_COVERED: dict[str, str] = {}
"""Checks of level must that no fault is known for, with the reason."""


@pytest.fixture(scope="module")
def subject() -> Iterator[Subject]:
    running = Subject()
    yield running
    running.close()


def run(subject: Subject, only: str = "", limit_seconds: float = 0.15, fault: Fault | None = None) -> Report:
    subject.reset(fault)
    wire = Wire(subject.url, (USER, PASSWORD), 10.0, NO_TLS)
    try:
        return run_occi(wire, limit_seconds, Level.MAY, only)
    finally:
        wire.close()


def test_no_check_fails_on_the_healthy_server(subject: Subject) -> None:
    report = run(subject, limit_seconds=5.0)
    assert [f"{failure.identifier}: {failure.message}" for failure in report.failures()] == []
    assert len(report.results) == len(suite.checks)


def test_every_check_applies_to_the_healthy_server(subject: Subject) -> None:
    report = run(subject, limit_seconds=5.0)
    skipped = [r.identifier for r in report.results if r.outcome is Outcome.NOT_APPLICABLE]
    assert skipped == []


def test_nothing_is_left_behind(subject: Subject) -> None:
    report = run(subject, limit_seconds=5.0)
    assert report.left_behind == ()
    assert subject.cloud.entities == {}
    assert [category.id for category in subject.cloud.categories if category.user] == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_found_by_the_check_of_its_clause(subject: Subject, fault: Fault) -> None:
    report = run(subject, ",".join(fault.catches), fault=fault)
    failed = {failure.identifier for failure in report.failures() if "broke off" not in failure.message}
    assert set(fault.catches) <= failed
    assert subject.crashes == []


def test_every_check_catches_some_fault() -> None:
    caught = {identifier for fault in FAULTS for identifier in fault.catches}
    must = {check.identifier for check in suite.checks if check.level is Level.MUST}
    assert must - caught == set(NOT_COVERED)


def test_faults_name_checks_that_exist() -> None:
    known = {check.identifier for check in suite.checks}
    assert {identifier for fault in FAULTS for identifier in fault.catches} <= known
