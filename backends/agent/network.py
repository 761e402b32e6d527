"""Converging a network on this host."""

from __future__ import annotations

from uuid import UUID

import structlog

from backends.agent.host import DRIVER_ERRORS, Host, network_spec, with_remotes
from backends.jobs import Kind
from backends.model import LinkState
from backends.networks.spec import NetworkSpec
from backends.store.database import query

log = structlog.get_logger()


def converge_network(host: Host, network_id: UUID) -> None:
    with host.exclusively(Kind.NETWORK, network_id):
        with host.connection() as connection:
            row = connection.execute(query("agent.network"), {"id": network_id, "host": host.name}).fetchone()
            if row is None:
                return
            *facts, generation, deleting, has_interfaces, is_at_home, has_machines_here = row
            (spec,) = with_remotes(host, connection, [network_spec(*facts)])
        if not is_at_home:
            _converge_away_from_home(host, spec, is_used=has_machines_here)
            return
        if deleting and has_interfaces:
            return  # the machines being deleted with it defer this again when they are gone
        state, message = LinkState.ACTIVE if spec.up else LinkState.INACTIVE, ""
        try:
            if deleting:
                host.networks.absent_network(network_id)
            else:
                host.networks.ensure_network(spec)
        except DRIVER_ERRORS as error:
            log.warning("network not converged", network=str(network_id), reason=str(error))
            state, message = LinkState.ERROR, str(error)
        with host.connection() as connection, connection.transaction():
            if deleting and not message:
                connection.execute("DELETE FROM tagging WHERE resource_id = %s", [network_id])
                connection.execute("DELETE FROM network WHERE id = %s", [network_id])
            else:
                connection.execute(
                    query("agent.network_observed"),
                    {"id": network_id, "state": state.value, "message": message, "generation": generation},
                )


def _converge_away_from_home(host: Host, spec: NetworkSpec, *, is_used: bool) -> None:
    """It is here for as long as machines here are on it; its state is told by the host where it is at home."""
    try:
        if is_used:
            host.networks.ensure_network(spec)
        else:
            host.networks.absent_network(spec.id)
    except DRIVER_ERRORS as error:
        log.warning("network not converged", network=str(spec.id), reason=str(error))
