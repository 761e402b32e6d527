"""What the agents of all kinds of hosts share: one a host, the jobs of its queue, and chores done now and then."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NoReturn
from uuid import UUID

import procrastinate
import psycopg
import structlog
from procrastinate.jobs import DeleteJobCondition

from backends import jobs
from backends.errors import DatabaseUnavailable
from backends.jobs import Kind
from backends.store.database import Connection, Database, query

log = structlog.get_logger()

CONCURRENCY = 8
HEARTBEAT_S = 10
NETWORK_LOSS = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 20_000}
"""A connection that leads nowhere any more is lost here well before others take over what the host has."""
LOSS_THERE = """
SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
    set_config('tcp_keepalives_count', '2', false), set_config('tcp_user_timeout', '20000', false)
"""
"""The same at PostgreSQL's end, so that they can."""
TRIES, TRY_AGAIN_S = 5, 0.2
"""The host is held by others for a moment when they take over its disks."""
LOOK_FOR_LOSS_S = 0.5


class HostTaken(Exception):
    """Another agent runs for this host."""


@contextmanager
def taking(conninfo: str, host_name: str) -> Iterator[Connection]:
    """The connection that holds the host; no other agent gets it meanwhile. `HostTaken`."""
    with psycopg.connect(psycopg.conninfo.make_conninfo(conninfo, **NETWORK_LOSS), autocommit=True) as holder:
        holder.execute(LOSS_THERE)
        for _ in range(TRIES):
            taken = holder.execute("SELECT pg_try_advisory_lock(hashtext('agent'), hashtext(%s))", [host_name])
            if taken.fetchone() == (True,):
                break
            time.sleep(TRY_AGAIN_S)
        else:
            raise HostTaken(f"another agent runs for the host {host_name}")
        yield holder


def holding(stopping: threading.Event, holder: Connection, host_name: str) -> threading.Thread:
    """A thread that beats over the connection which holds the host, and ends the agent when that is lost."""

    def hold() -> None:
        try:
            while not stopping.is_set():
                holder.execute(query("agent.heartbeat"), {"name": host_name})
                due = time.monotonic() + HEARTBEAT_S
                while not stopping.is_set() and time.monotonic() < due:
                    list(holder.notifies(timeout=LOOK_FOR_LOSS_S))  # nobody notifies: it raises at a loss
        except psycopg.OperationalError as error:
            if not stopping.is_set():
                give_up(host_name, str(error))

    thread = threading.Thread(target=hold, name="heartbeat", daemon=True)
    thread.start()
    return thread


def give_up(host_name: str, reason: str) -> NoReturn:
    """Not even running jobs go on: every step may be cut off, but none may meet another agent's."""
    log.error("the database is gone, and with it the hold on the host", host=host_name, reason=reason.strip())
    os._exit(1)


async def do_jobs(
    host_name: str,
    database: Database,
    conninfo: str,
    converge_one: Callable[[Kind, UUID], None],
    *,
    until_idle: bool = False,
) -> None:
    """Does the jobs of the host's queue as they come; with `until_idle`, until none is left."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(CONCURRENCY))
    application = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=conninfo))

    def converge(kind: str, resource_id: str, request_id: str) -> None:
        with structlog.contextvars.bound_contextvars(request_id=request_id, kind=kind, resource=resource_id):
            started = time.monotonic()
            converge_one(Kind(kind), UUID(resource_id))
            log.info("converged", milliseconds=round((time.monotonic() - started) * 1000, 1))

    def converge_later(kind: str, resource_id: str, request_id: str) -> None:
        with structlog.contextvars.bound_contextvars(request_id=request_id), database.connection() as connection:
            jobs.defer(connection, host_name, Kind(kind), UUID(resource_id))

    application.task(name=jobs.CONVERGE)(converge)
    application.task(name=jobs.CONVERGE_LATER)(converge_later)
    async with application.open_async():
        await application.run_worker_async(
            queues=[host_name],
            wait=not until_idle,
            concurrency=CONCURRENCY,
            fetch_job_polling_interval=1,
            shutdown_graceful_timeout=60,
            delete_jobs=DeleteJobCondition.ALWAYS,
        )


def chore(
    stopping: threading.Event,
    name: str,
    period_s: float,
    do: Callable[[], None],
    expected: tuple[type[Exception], ...],
    soon: threading.Event | None = None,
) -> threading.Thread:
    """A thread that does it now, every `period_s`, and whenever `soon` is set; `expected` errors are logged."""
    wake = soon or stopping
    caught: tuple[type[Exception], ...] = (*expected, DatabaseUnavailable)

    def repeat() -> None:
        while not stopping.is_set():
            try:
                do()
            except caught as error:
                log.warning(f"{name} failed", reason=str(error))
            if wake.wait(period_s) and not stopping.is_set():
                wake.clear()

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    return thread
