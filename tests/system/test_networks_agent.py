"""What an agent tells of its networks when the host doesn't let it make them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from backends.agent.host import Host
from backends.agent.network import converge_network
from backends.agent.sweep import _read, _restore_networks, _unsettled
from backends.cloud import Cloud
from backends.jobs import Kind
from backends.networks.driver import Networks
from backends.store.database import Connection, Database
from tests.system.namespaces import run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")


@pytest.fixture
def agent(networks: Networks, database: Database, host: str) -> Host:
    """Of the host that the door's tests use, in a namespace; it drives nothing but networks here."""
    unused = cast(Any, None)
    return Host(
        name=host,
        database=database,
        hypervisor=unused,
        pool=unused,
        networks=networks,
        files=unused,
        groups=unused,
        limits=unused,
        meter=unused,
        seeds=Path("/nowhere"),
        values=Path("/nowhere"),
        graceful_stop_s=1,
    )


def test_a_network_that_can_not_be_restored_says_so_until_it_can(agent: Host, cloud: Cloud, sql: Connection) -> None:
    (network,) = cloud.networks()

    def swept() -> bool:
        """Whether a sweep has the network looked at."""
        sql.execute("DELETE FROM procrastinate_jobs")
        rows = _read(agent)
        _restore_networks(agent, rows)
        deferred = sql.execute("SELECT FROM procrastinate_jobs").fetchone() is not None
        return deferred or (Kind.NETWORK, network.id) in _unsettled(agent, rows, set(), set())

    converge_network(agent, network.id)
    assert not swept()

    run("ip", "link", "add", "other", "type", "bridge")
    run("ip", "address", "add", "10.77.0.9/24", "dev", "other")
    assert swept()
    converge_network(agent, network.id)
    told = cloud.network(network.id)
    assert (told.state, told.wanted) == ("error", "active")
    assert "in use on the host's other" in told.state_message

    run("ip", "link", "delete", "other")
    assert swept()
    converge_network(agent, network.id)
    told = cloud.network(network.id)
    assert (told.state, told.state_message) == ("active", "")
    assert not swept()
