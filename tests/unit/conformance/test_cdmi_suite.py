"""The CDMI suite: silent on a healthy server, and each fault found by the check that claims its clause."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from conformance.cdmi import suite
from conformance.cdmi.dialect import DIALECTS
from conformance.command import run_cdmi
from conformance.suite import Level, Outcome, Report
from conformance.wire import Wire
from tests.unit.conformance.cdmi_faults import FAULTS, CdmiFault
from tests.unit.conformance.cdmi_subject import Cloud, Subject
from tests.unit.conformance.http_subject import PASSWORD, USER

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Made once, as a context for each of hundreds of runs would take longer than the runs."""
NOT_COVERED: dict[str, str] = {}
"""Checks of level must that no fault is known for, with the reason."""

BASIC_SYSTEM = {"cdmi_dataobjects", "cdmi_object_access_by_ID"}
BASIC = {"cdmi_list_children", "cdmi_create_container", "cdmi_create_dataobject", "cdmi_delete_container"}
OF_OBJECTS = {"cdmi_read_value", "cdmi_modify_value", "cdmi_modify_metadata"}


def make_bare(cloud: Cloud) -> None:
    """Claims, and does, nothing but containers and data objects."""
    for capabilities, kept in (
        (cloud.system, BASIC_SYSTEM),
        (cloud.claims["container"], BASIC),
        (cloud.claims["dataobject"], OF_OBJECTS),
    ):
        for name in [name for name in capabilities if name not in kept]:
            del capabilities[name]


def make_empty(cloud: Cloud) -> None:
    """Nothing can be made."""
    make_bare(cloud)
    cloud.claims["container"].clear()


PROFILES = {"full": lambda _: None, "bare": make_bare, "empty": make_empty}


@pytest.fixture(scope="module")
def subject() -> Iterator[Subject]:
    running = Subject()
    yield running
    running.close()


def run(
    subject: Subject,
    version: str,
    only: str = "",
    limit_seconds: float = 0.15,
    fault: CdmiFault | None = None,
    profile: str = "full",
    holds: bool = False,
) -> Report:
    subject.reset()
    PROFILES[profile](subject.cloud)
    subject.inject(fault)
    wire = Wire(subject.url, (USER, PASSWORD), 10.0, NO_TLS)
    try:
        return run_cdmi(wire, limit_seconds, Level.MAY, only, (DIALECTS[version],), holds=holds)
    finally:
        wire.close()


@dataclass(frozen=True)
class Healthy:
    """A run on a healthy server, and what the server held before and after it."""

    report: Report
    before: int
    after: int


@pytest.fixture(scope="module")
def healthy(subject: Subject) -> dict[tuple[str, str], Healthy]:
    found = {}
    for version in DIALECTS:
        for profile in PROFILES:
            subject.reset()
            before = len(subject.cloud.by_id)
            report = run(subject, version, limit_seconds=10.0, profile=profile)
            assert subject.crashes == []
            found[version, profile] = Healthy(report, before, len(subject.cloud.by_id))
    return found


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("version", DIALECTS)
def test_no_check_fails_on_the_healthy_server(
    healthy: dict[tuple[str, str], Healthy], version: str, profile: str
) -> None:
    report = healthy[version, profile].report
    assert [f"{failure.identifier}: {failure.message}" for failure in report.failures()] == []
    assert len(report.results) == len(suite.checks)


def test_nothing_is_left_behind(healthy: dict[tuple[str, str], Healthy]) -> None:
    for found in healthy.values():
        assert found.report.left_behind == ()
        assert found.after == found.before


def test_every_check_applies_to_a_healthy_server_of_some_kind(
    subject: Subject, healthy: dict[tuple[str, str], Healthy]
) -> None:
    results = [result for found in healthy.values() for result in found.report.results]
    results += run(subject, "1.1.1", only="retention/hold", holds=True).results
    applied = {result.identifier for result in results if result.outcome is not Outcome.NOT_APPLICABLE}
    assert {check.identifier for check in suite.checks} - applied == set()


def test_what_is_on_hold_is_named_as_left_behind(subject: Subject) -> None:
    report = run(subject, "1.1.1", only="retention/hold-delete", holds=True)
    assert report.conforms
    assert any(".txt" in url for url in report.left_behind)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_found_by_the_check_of_its_clause(subject: Subject, fault: CdmiFault) -> None:
    report = run(subject, fault.version, ",".join(fault.catches), fault=fault, profile=fault.profile, holds=fault.holds)
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


def test_faults_have_names_of_their_own() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(names) == len(set(names))
