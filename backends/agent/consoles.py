"""The end of each guest's serial console, brought to the database so that any gateway can show it."""

from __future__ import annotations

import os
from uuid import UUID

from backends.agent.host import Host

TAIL_BYTES = 64 * 1024


class Consoles:
    """Remembers how much of each log it has brought."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._seen: dict[UUID, tuple[int, int]] = {}

    def bring(self) -> None:
        present: dict[UUID, tuple[int, int]] = {}
        for machine_id in self._host.hypervisor.machines():
            path = self._host.hypervisor.console_log_path(machine_id)
            try:
                with path.open("rb") as file:
                    status = os.fstat(file.fileno())
                    present[machine_id] = (status.st_size, status.st_mtime_ns)
                    if self._seen.get(machine_id) != present[machine_id]:
                        file.seek(max(0, status.st_size - TAIL_BYTES))
                        self._write(machine_id, file.read(TAIL_BYTES))
            except FileNotFoundError:
                continue
        self._seen = present

    def _write(self, machine_id: UUID, tail: bytes) -> None:
        with self._host.connection() as connection:
            connection.execute(
                "INSERT INTO console_log (machine_id, tail) SELECT id, %(tail)s FROM machine WHERE id = %(id)s"
                " ON CONFLICT (machine_id) DO UPDATE SET tail = excluded.tail, updated_at = now()",
                {"id": machine_id, "tail": tail},
            )
