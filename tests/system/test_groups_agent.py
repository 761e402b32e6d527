"""What an agent makes of security groups: from the door's rows to the kernel's table, without guests."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from backends.agent.groups import Unwanted, absent_port, converge_group, ensure_port_groups, restore_groups
from backends.agent.host import Host
from backends.agent.loop import look_if_lost
from backends.agent.machine import _ensure_port, _read
from backends.cloud import Cloud
from backends.model import Direction, GroupRule, Machine, NewGroup, NewGroupLink, NewInterface, NewMachine, NewNetwork
from backends.networks.bandwidth import Limits
from backends.networks.driver import Networks
from backends.networks.groups import Groups, Policy
from backends.networks.losses import Losses
from backends.networks.spec import tap_name
from backends.networks.traffic import Meter
from backends.store.database import Connection, Database
from tests.system.frames import inside, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")

TAG = "zq12ab"
TABLE = f"altostratus_{TAG}_groups"


@pytest.fixture
def agent(database: Database, host: str, tmp_path: Path) -> Iterator[Host]:
    """Of the host that the door's tests use, in a namespace; it drives neither machines nor disks here."""
    name = f"{TAG}host"
    run("ip", "netns", "add", name)
    unused = cast(Any, None)
    try:
        with inside(name):
            made = Host(
                name=host,
                database=database,
                hypervisor=unused,
                pool=unused,
                networks=Networks(TAG, tmp_path),
                files=unused,
                groups=Groups(TAG),
                limits=Limits(TAG),
                meter=Meter(TAG),
                seeds=tmp_path,
                values=tmp_path,
                graceful_stop_s=1,
            )
            yield made
            made.groups.restore({})
            made.meter.close()
            assert TAG not in run("nft", "list", "tables")
    finally:
        run("ip", "netns", "delete", name)


def listed(kind: str, name: str) -> list[Any]:
    entry = json.loads(run("nft", "-j", "list", kind, "bridge", TABLE, name))["nftables"][1][kind]
    elements: list[Any] = entry.get("elem", [])
    return elements


def members_of(policy: Policy) -> set[str]:
    (group_id,) = policy.members
    return set(listed("set", policy.member_set(group_id)))


def policy_of(agent: Host, machine: Machine) -> Policy:
    policy = agent.groups.policy_of(machine.interfaces[0].id)
    assert policy is not None
    return policy


def group_jobs(sql: Connection) -> set[str]:
    rows = sql.execute("DELETE FROM procrastinate_jobs WHERE args->>'kind' = 'group' RETURNING args->>'resource_id'")
    return {row[0] for row in rows}


def test_computes_of_the_default_group_become_its_members(agent: Host, cloud: Cloud, sql: Connection) -> None:
    first = cloud.create_machine(NewMachine())
    ensure_port_groups(agent, first.interfaces[0].id)
    default = cloud.groups()[0].id
    assert members_of(policy_of(agent, first)) == {first.interfaces[0].mac}
    second = cloud.create_machine(NewMachine())
    ensure_port_groups(agent, second.interfaces[0].id)
    both = {machine.interfaces[0].mac for machine in (first, second)}
    assert members_of(policy_of(agent, first)) == both
    assert {tap for tap, _ in listed("map", "sending")} == {
        tap_name(TAG, machine.interfaces[0].id) for machine in (first, second)
    }
    assert group_jobs(sql) == {str(default)}
    cloud.delete_machine(second.id)
    absent_port(agent, second.interfaces[0].id)
    assert group_jobs(sql) == {str(default)}
    converge_group(agent, default)
    assert members_of(policy_of(agent, first)) == {first.interfaces[0].mac}
    assert restore_groups(agent) == []


def test_taps_of_a_compute_that_is_deleted_while_they_are_made_are_not_made(agent: Host, cloud: Cloud) -> None:
    network = cloud.create_network(NewNetwork())
    machine = cloud.create_machine(NewMachine(interfaces=(NewInterface(network.id),) * 3))
    with agent.connection() as connection:
        wanted = _read(agent, connection, machine.id)
    assert wanted is not None
    first, second, third = wanted.interfaces
    _ensure_port(agent, wanted, first)
    cloud.delete_interface(second.id)
    with pytest.raises(Unwanted):
        _ensure_port(agent, wanted, second)
    cloud.delete_machine(machine.id)
    with pytest.raises(Unwanted):
        _ensure_port(agent, wanted, third)
    assert agent.networks.ports() == {first.id}
    absent_port(agent, first.id)
    agent.networks.absent_network(network.id)


def test_new_rules_and_groups_reach_running_computes(agent: Host, cloud: Cloud) -> None:
    machine = cloud.create_machine(NewMachine())
    interface_id = machine.interfaces[0].id
    ensure_port_groups(agent, interface_id)
    before = policy_of(agent, machine)
    group = cloud.create_group(NewGroup(rules=(GroupRule(Direction.IN, "tcp", (80, 80)),)))
    link = cloud.join_group(machine.id, NewGroupLink(group.id))
    ensure_port_groups(agent, interface_id)
    policy = policy_of(agent, machine)
    assert policy.name != before.name
    assert listed("map", "receiving") == [
        [tap_name(TAG, interface_id), {"goto": {"target": policy.chain("receiving")}}]
    ]
    cloud.update_group(group.id, {"rules": (GroupRule(Direction.IN, "udp", (53, 60)),)})
    converge_group(agent, group.id)
    assert "udp dport 53-60" in run("nft", "list", "chain", "bridge", TABLE, policy.chain("receiving"))
    assert "tcp dport 80" not in run("nft", "list", "table", "bridge", TABLE)
    cloud.leave_group(link.id)
    ensure_port_groups(agent, interface_id)
    assert policy_of(agent, machine).name == before.name
    assert restore_groups(agent) == []
    assert policy.chain("receiving") not in run("nft", "list", "table", "bridge", TABLE)


def test_flushed_table_comes_back_with_the_next_port_and_with_the_sweep(agent: Host, cloud: Cloud) -> None:
    first = cloud.create_machine(NewMachine())
    ensure_port_groups(agent, first.interfaces[0].id)
    run("nft", "flush", "ruleset")
    second = cloud.create_machine(NewMachine())
    ensure_port_groups(agent, second.interfaces[0].id)
    assert len(listed("map", "sending")) == 2
    run("nft", "flush", "ruleset")
    assert len(restore_groups(agent)) == 1
    assert len(listed("map", "sending")) == 2


def test_flushed_table_makes_the_agent_look_at_everything_at_once(agent: Host, cloud: Cloud) -> None:
    ensure_port_groups(agent, cloud.create_machine(NewMachine()).interfaces[0].id)
    look = threading.Event()
    losses = Losses(agent.networks.is_ours, lambda: look_if_lost(agent, look))
    run("nft", "add", "table", "inet", f"altostratus_{TAG}")
    run("nft", "delete", "table", "inet", f"altostratus_{TAG}")
    assert not look.wait(1)
    run("nft", "flush", "ruleset")
    assert look.wait(30)
    losses.stop()


def test_group_of_no_compute_here_needs_nothing(agent: Host, cloud: Cloud) -> None:
    group = cloud.create_group(NewGroup())
    converge_group(agent, group.id)
    assert TABLE not in run("nft", "list", "tables")
    assert restore_groups(agent) == []
