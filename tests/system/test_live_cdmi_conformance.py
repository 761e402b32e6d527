"""Ours held to CDMI by the suite that anybody can run, over HTTP against the whole gateway."""

from __future__ import annotations

import pytest
from conftest import Gateway

from conformance.cdmi.dialect import DIALECTS
from conformance.command import run_cdmi
from conformance.suite import Level
from conformance.wire import Wire


@pytest.mark.parametrize("version", DIALECTS)
def test_the_gateway_passes_every_must_and_should(gateway: Gateway, version: str) -> None:
    wire = Wire(f"{gateway.url}/cdmi/", gateway.credentials, 30.0)
    try:
        report = run_cdmi(wire, 30.0, Level.SHOULD, "", (DIALECTS[version],))
    finally:
        wire.close()
    assert [f"{one.identifier} ({one.clause}): {one.message}" for one in report.failures()] == []
    assert report.left_behind == ()
