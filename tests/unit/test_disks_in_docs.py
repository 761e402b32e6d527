"""The chapters about disks, as far as they can be held to their word without a cloud."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.conftest import repository

HOW_TO = (repository() / "docs" / "how-to" / "disks.md").read_text()
LOOPS = re.findall(r"\| (grep .*)\ndo sleep", HOW_TO)


@pytest.mark.parametrize(
    ("status", "ends"),
    [("Complete", True), ("Error: the host h1 has no room", True), ("Processing", False)],
)
def test_the_loops_end_when_a_disk_is_made_and_when_it_can_not_be(status: str, ends: bool) -> None:
    assert len(LOOPS) == HOW_TO.count("until curl -sf") > 0
    for loop in LOOPS:
        shown = f'{{"objectName":"data/","completionStatus":"{status}"}}'
        done = subprocess.run(["sh", "-c", loop], input=shown, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is ends


def test_whoever_types_both_chapters_makes_different_disks() -> None:
    def disks(text: str) -> set[str]:
        return set(re.findall(r"\bdisks/([a-z]+)/", text))

    readme = disks((repository() / "README.md").read_text())
    assert readme
    assert readme & disks(HOW_TO) == set()
