"""Converging an image: saved from a machine's root disk, removed when nothing is made from it any more."""

from __future__ import annotations

from uuid import UUID

import structlog

from backends.agent.host import DRIVER_ERRORS, Host
from backends.disks.pool import root_disk
from backends.jobs import Kind
from backends.machines.errors import MachineError
from backends.machines.spec import Power
from backends.model import ImageState, SaveMethod
from backends.store.database import query

log = structlog.get_logger()

ROOT_DEVICE = "vda"


def converge_image(host: Host, image_id: UUID) -> None:
    with host.exclusively(Kind.IMAGE, image_id):
        with host.connection() as connection:
            row = connection.execute(query("agent.image"), {"id": image_id}).fetchone()
        if row is None:
            return
        _, _, _, state, deleting, machine_id, save_method, in_use = row
        try:
            if deleting and not in_use:
                host.pool.absent_image(image_id)
                with host.connection() as connection:
                    connection.execute("DELETE FROM image WHERE id = %s", [image_id])
            elif not deleting and state == ImageState.PENDING and machine_id is not None:
                _save(host, image_id, machine_id, SaveMethod(save_method))
        except DRIVER_ERRORS as error:
            log.warning("image not converged", image=str(image_id), reason=str(error))
            passes = deleting or isinstance(error, MachineError)  # the machine was stopped, libvirt is away
            state = ImageState.PENDING if passes else ImageState.ERROR
            host.write("image_message", id=image_id, state=state.value, message=str(error))


def _save(host: Host, image_id: UUID, machine_id: UUID, method: SaveMethod) -> None:
    with host.exclusively(Kind.MACHINE, machine_id):
        observed = host.hypervisor.observe(machine_id)
        is_on = observed is not None and observed.power in (Power.RUNNING, Power.PAUSED)
        if is_on and method is SaveMethod.DEFERRED:
            host.write("image_message", id=image_id, state="pending", message="waiting for the compute to stop")
            return
        if is_on:
            with host.pool.receiving_image(image_id) as part:
                host.hypervisor.copy_disk(machine_id, ROOT_DEVICE, part)
            facts = host.pool.image_facts(image_id)
        else:
            facts = host.pool.ensure_image_of(image_id, root_disk(machine_id))
    host.write("image_ready", id=image_id, format=facts.format, size_bytes=facts.size_bytes, sha256=facts.sha256)
