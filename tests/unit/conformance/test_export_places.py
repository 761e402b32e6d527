"""Where the suite of CDMI exports containers: where that is claimed, else where it works, else where it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from conformance.cdmi import suite
from conformance.cdmi.dialect import DIALECTS
from conformance.command import run_cdmi
from conformance.suite import Level, Outcome, Report
from conformance.wire import Wire
from tests.unit.conformance.cdmi_store import Node
from tests.unit.conformance.cdmi_subject import Asked, Cloud, Refusal
from tests.unit.conformance.http_subject import PASSWORD, USER, HttpSubject

CLAIMS = ("cdmi_export_container_iscsi", "cdmi_export_container_occi")


class DiskCloud(Cloud):
    """Only what is made in `disks` can be exported, and must have a size; no container claims it."""

    def __init__(self) -> None:
        super().__init__()
        self.disks = self.new("container", "disks", self.root)
        self.place(self.disks)
        self.tried: list[str] = []
        for name in CLAIMS:
            del self.claims["container"][name]

    def made(self, asked: Asked, kind: str, name: str, parent: Node | None, sent: dict[str, Any]) -> Node:
        if "exports" in sent:
            self.tried.append(parent.name if parent else "")
        if "exports" in sent and parent is not self.disks:
            raise Refusal(400, "only disks are exported")
        if parent is self.disks and "cdmi_assignedsize" not in sent.get("metadata", {}) and "copy" not in sent:
            raise Refusal(400, "disks have a size")
        return super().made(asked, kind, name, parent, sent)


@pytest.fixture
def subject() -> Iterator[HttpSubject[DiskCloud]]:
    running = HttpSubject(DiskCloud)
    yield running
    assert running.crashes == []
    running.close()


def run(subject: HttpSubject[DiskCloud], version: str, only: str = "exports/", **where: str) -> Report:
    wire = Wire(subject.url, (USER, PASSWORD), 5.0)
    try:
        return run_cdmi(wire, 5.0, Level.MAY, only, (DIALECTS[version],), **where)  # type: ignore[arg-type]
    finally:
        wire.close()


def outcomes(report: Report) -> set[tuple[str, Outcome]]:
    return {(one.identifier, one.outcome) for one in report.results}


@pytest.mark.parametrize("version", DIALECTS)
def test_what_can_be_exported_in_another_container_is_found_and_removed(
    subject: HttpSubject[DiskCloud], version: str
) -> None:
    report = run(subject, version)
    failed = [one.identifier for one in report.failures()]
    assert failed == (["exports/claimed"] if version == "2.0" else [])
    left_out = {one.identifier for one in report.results if one.outcome is Outcome.NOT_APPLICABLE}
    assert left_out == {one.identifier for one in suite.selected(Level.MAY, "exports/") if version not in one.versions}
    assert report.left_behind == ()
    assert subject.cloud.disks.children == {}


def test_nothing_is_exported_beside_the_container_that_was_asked_for(subject: HttpSubject[DiskCloud]) -> None:
    subject.cloud.place(subject.cloud.new("container", "mine", subject.cloud.root))
    report = run(subject, "2.0", "exports/iscsi", container="mine")
    assert {outcome for _, outcome in outcomes(report)} == {Outcome.NOT_APPLICABLE}
    assert "disks" not in subject.cloud.tried
    report = run(subject, "2.0", "exports/iscsi", container="mine", exports="disks")
    assert {outcome for _, outcome in outcomes(report)} == {Outcome.PASSED}


def test_without_a_place_exports_are_not_applicable(subject: HttpSubject[DiskCloud]) -> None:
    subject.cloud.remove(subject.cloud.disks)
    report = run(subject, "1.1.1")
    assert report.failures() == []
    assert outcomes(report) & {("exports/iscsi", Outcome.NOT_APPLICABLE), ("exports/unknown", Outcome.PASSED)}
