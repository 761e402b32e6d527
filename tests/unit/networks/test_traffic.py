"""Adding up what taps have counted, whatever comes between two readings."""

from __future__ import annotations

from dataclasses import astuple

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backends.model import Traffic
from backends.networks.traffic import Counted, Reading, accumulate

NOTHING = Traffic(0, 0, 0, 0)
TAP = "zt12abtabcdefgh"
COUNTS = st.builds(Traffic, *[st.integers(0, 2**40)] * 4)
READINGS = st.builds(
    Reading, st.just(TAP), st.sampled_from(["one boot", "another"]), st.integers(1, 3), COUNTS, st.booleans()
)


def plus(one: Traffic, other: Traffic) -> Traffic:
    return Traffic(*(a + b for a, b in zip(astuple(one), astuple(other), strict=True)))


class AnInterface(RuleBasedStateMachine):
    """A tap that comes and goes, on a host that may start anew, and agents that read it and may be killed.

    `told` are the ends of taps that the agent has heard of, and that it may tell again as long as it lives.
    """

    @initialize()
    def begin(self) -> None:
        self.passed, self.lost = NOTHING, NOTHING
        self.counted = Counted(NOTHING, "", 0, NOTHING)
        self.boots, self.last_link = 1, 0
        self.tap: Traffic | None = None
        self.told: list[Reading] = []
        self.is_listening = True
        self.highest = NOTHING

    @property
    def boot(self) -> str:
        return f"boot {self.boots}"

    @precondition(lambda self: self.tap is None)
    @rule()
    def plug(self) -> None:
        self.tap = NOTHING
        self.last_link += 1

    @precondition(lambda self: self.tap is not None)
    @rule(counts=COUNTS)
    def passes(self, counts: Traffic) -> None:
        assert self.tap is not None
        self.tap = plus(self.tap, counts)
        self.passed = plus(self.passed, counts)

    @precondition(lambda self: self.tap is not None)
    @rule()
    def unplug(self) -> None:
        assert self.tap is not None
        if self.is_listening:
            self.told.append(Reading(TAP, self.boot, self.last_link, self.tap, is_last=True))
        else:
            self._lose(self.tap)
        self.tap = None

    @precondition(lambda self: self.is_listening)
    @rule(is_known=st.booleans())
    def count(self, is_known: bool) -> None:
        """What isn't known to be committed is told again."""
        readings = [*self.told]
        if self.tap is not None:
            readings.append(Reading(TAP, self.boot, self.last_link, self.tap))
        for reading in readings:
            self.counted = accumulate(self.counted, reading)
        if is_known:
            self.told.clear()

    @rule()
    def kill_agent(self) -> None:
        for reading in self.told:
            self._lose(reading.counters)
        self.told.clear()
        self.is_listening = False

    @precondition(lambda self: not self.is_listening)
    @rule()
    def start_agent(self) -> None:
        self.is_listening = True

    @rule()
    def reboot(self) -> None:
        self.kill_agent()
        if self.tap is not None:
            self._lose(self.tap)
        self.tap = None
        self.boots, self.last_link = self.boots + 1, 0
        self.is_listening = True

    def _lose(self, counters: Traffic) -> None:
        """At most all of it: what had been read before is counted."""
        self.lost = plus(self.lost, counters)

    @invariant()
    def nothing_falls_and_nothing_is_counted_twice(self) -> None:
        total = self.counted.total
        for now, before, passed in zip(astuple(total), astuple(self.highest), astuple(self.passed), strict=True):
            assert before <= now <= passed
        self.highest = total

    @invariant()
    def nothing_is_missed_that_somebody_could_have_read(self) -> None:
        total = self.counted
        for reading in self.told:
            total = accumulate(total, reading)
        if self.tap is not None:
            total = accumulate(total, Reading(TAP, self.boot, self.last_link, self.tap))
        for counted, lost, passed in zip(astuple(total.total), astuple(self.lost), astuple(self.passed), strict=True):
            assert counted + lost >= passed


TestAnInterface = AnInterface.TestCase


@given(st.lists(READINGS, max_size=20), READINGS)
def test_a_reading_counts_once_however_often_it_is_told(readings: list[Reading], reading: Reading) -> None:
    counted = Counted(NOTHING, "", 0, NOTHING)
    for one in readings:
        counted = accumulate(counted, one)
    once = accumulate(counted, reading)
    assert accumulate(once, reading) == once
    assert all(now >= before for now, before in zip(astuple(once.total), astuple(counted.total), strict=True))


def test_what_a_later_tap_has_overtaken_is_not_counted_again() -> None:
    first = Reading(TAP, "boot", 7, Traffic(100, 1, 0, 0), is_last=True)
    second = Reading(TAP, "boot", 8, Traffic(50, 1, 0, 0))
    counted = Counted(NOTHING, "", 0, NOTHING)
    for reading in (first, second, first, second):
        counted = accumulate(counted, reading)
    assert counted.total == Traffic(150, 2, 0, 0)


def test_a_link_of_the_same_index_after_a_reboot_is_another() -> None:
    counted = Counted(NOTHING, "", 0, NOTHING)
    for boot in ("one", "another"):
        counted = accumulate(counted, Reading(TAP, boot, 7, Traffic(100, 1, 10, 1)))
    assert counted.total == Traffic(200, 2, 20, 2)
