"""OCCI and CDMI held to the clauses in which they meet, by the suite that anybody can run, on the whole gateway."""

from __future__ import annotations

import pytest
from conftest import Gateway

from conformance.cdmi.dialect import DIALECTS
from conformance.command import run_interop
from conformance.suite import Level
from conformance.wire import Wire


@pytest.mark.parametrize("version", DIALECTS)
def test_the_gateway_passes_every_must_and_should(gateway: Gateway, version: str) -> None:
    wire = Wire(gateway.url, gateway.credentials, 30.0)
    try:
        report = run_interop(wire, wire, 60.0, Level.SHOULD, "", (DIALECTS[version],))
    finally:
        wire.close()
    assert [f"{one.identifier} ({one.clause}): {one.message}" for one in report.failures()] == []
    assert report.left_behind == ()
