"""Converging security groups: what the database says of them, at the taps of this host.

All is read and applied under the lock of the host's networks, so that nothing old comes after something new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog

from backends import jobs
from backends.agent.host import DRIVER_ERRORS, Host
from backends.jobs import Kind
from backends.model import GroupRule
from backends.networks.errors import NetworkDriverError
from backends.networks.groups import Policy
from backends.store.database import Connection, query
from backends.store.rows import Row, rule_from_row

log = structlog.get_logger()


class Unwanted(Exception):
    """The interface, or its machine, is being deleted: its tap isn't to be made, and another job removes what is."""


def converge_group(host: Host, group_id: UUID) -> None:
    """Its rules and members have changed: the policies that it is in, or that name it, are made anew."""
    try:
        with host.networks.exclusively():
            with host.connection() as connection:
                rows = connection.execute(
                    query("groups.policies_of_project"), {"host": host.name, "id": group_id}
                ).fetchall()
                policies = _policies(connection, rows).values()
            concerned = [policy for policy in policies if group_id in policy.group_ids or group_id in policy.members]
            if not host.groups.ensure_policies(concerned):
                restore_groups(host)
    except DRIVER_ERRORS as error:
        log.warning("security group not converged", group=str(group_id), reason=str(error))


def ensure_port_groups(host: Host, interface_id: UUID) -> None:
    """The tap obeys its machine's groups before it is there; who lets members of these in knows it too.

    `Unwanted` once it is being deleted, of which who makes many taps may not have heard yet.
    """
    with host.networks.exclusively():
        with host.connection() as connection:
            row = connection.execute(query("groups.policy_of_port"), {"id": interface_id}).fetchone()
            policy = _policies(connection, [row])[interface_id] if row else None
        if policy is None:
            raise Unwanted(f"the interface {interface_id} is being deleted")
        if host.groups.has(interface_id, policy):
            return
        if not host.groups.ensure_port(interface_id, policy):
            restore_groups(host)
            if (refusal := host.groups.refused.get(interface_id)) is not None:
                raise NetworkDriverError(f"The kernel refused the rules of its security groups: {refusal}")
    _tell_members(host, policy.group_ids)


def absent_port(host: Host, interface_id: UUID) -> None:
    """The tap, if it is still there, passes nothing from now on, and is nobody's member."""
    with host.networks.exclusively():
        policy = host.groups.policy_of(interface_id)
        host.groups.absent_port(interface_id)
        host.limits.absent_port(interface_id)
        host.networks.absent_port(interface_id)
    if policy is not None:
        _tell_members(host, policy.group_ids)


def restore_groups(host: Host) -> list[str]:
    """All of this host; says what had been changed by others."""
    with host.networks.exclusively():
        with host.connection() as connection:
            rows = connection.execute(query("groups.policies_of_host"), {"host": host.name}).fetchall()
            ports = _policies(connection, rows)
        changed = host.groups.restore(ports)
    for interface_id, reason in host.groups.refused.items():
        log.warning("security groups refused", interface=str(interface_id), reason=reason)
    return changed


def _tell_members(host: Host, group_ids: Sequence[UUID]) -> None:
    """The members of these have changed, on whichever host somebody lets them in."""
    with host.connection() as connection:
        for group_id in group_ids:
            hosts = connection.execute(query("groups.hosts_of_group"), {"id": group_id}).fetchall()
            for (name,) in hosts:
                jobs.defer(connection, name, Kind.GROUP, group_id)


def _policies(connection: Connection, rows: Sequence[Row]) -> Mapping[UUID, Policy]:
    """By interface; `rows` are interface, project, network, groups."""
    ids = {group_id for *_, group_ids in rows for group_id in group_ids}
    rules: dict[UUID, tuple[GroupRule, ...]] = {
        group_id: tuple(map(rule_from_row, listed))
        for group_id, listed in connection.execute(query("groups.rules"), {"ids": list(ids)})
    }
    named = {rule.group_id for listed in rules.values() for rule in listed if rule.group_id is not None}
    members: dict[tuple[UUID, UUID, UUID], frozenset[str]] = {}
    if named:
        parameters = {
            "project_ids": list({row[1] for row in rows}),
            "network_ids": list({row[2] for row in rows}),
            "ids": list(named),
        }
        for project_id, network_id, group_id, macs in connection.execute(query("groups.members"), parameters):
            members[(project_id, network_id, group_id)] = frozenset(macs)
    made: dict[UUID, Policy] = {}
    for interface_id, project_id, network_id, group_ids in rows:
        allowed = tuple(dict.fromkeys(rule for group_id in sorted(group_ids) for rule in rules.get(group_id, ())))
        of_rules = {rule.group_id for rule in allowed if rule.group_id is not None}
        known = {group_id: members.get((project_id, network_id, group_id), frozenset()) for group_id in of_rules}
        made[interface_id] = Policy(project_id, network_id, tuple(sorted(group_ids)), allowed, known)
    return made
