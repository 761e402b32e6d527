"""Converging a network on this host."""

from __future__ import annotations

from uuid import UUID

import structlog

from backends.agent.host import DRIVER_ERRORS, Host, network_spec
from backends.jobs import Kind
from backends.model import LinkState
from backends.store.database import query

log = structlog.get_logger()


def converge_network(host: Host, network_id: UUID) -> None:
    with host.exclusively(Kind.NETWORK, network_id):
        with host.connection() as connection:
            row = connection.execute(query("agent.network"), {"id": network_id}).fetchone()
        if row is None:
            return
        *facts, generation, deleting, has_interfaces = row
        is_up = facts[-1]
        if deleting and has_interfaces:
            return  # the machines being deleted with it defer this again when they are gone
        state, message = LinkState.ACTIVE if is_up else LinkState.INACTIVE, ""
        try:
            if deleting:
                host.networks.absent_network(network_id)
            else:
                host.networks.ensure_network(network_spec(*facts))
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
