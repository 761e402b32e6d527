"""An agent that dies by its own SIGKILL after a given step, and a normal one that comes after it.

A step is whatever changes something outside the process: a file renamed or removed, a program run (qemu-img, nft,
ip, dnsmasq), a link changed through netlink, a changing call to libvirt, a signal, a statement committed to
PostgreSQL. It counts when it has ended, so that killing after each step is killing
before and after each: in between the agent only looks. The product knows nothing of this: here its process is forked
and the functions that it uses are wrapped.
"""

from __future__ import annotations

import asyncio
import functools
import json
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

import libvirt
import psycopg
import structlog.testing

from altostratus import agent, logs
from altostratus.agent import capacity_of, opened_host
from altostratus.settings import Settings
from backends.agent.host import Host
from backends.agent.loop import begin, work
from backends.agent.sweep import sweep
from backends.disks import files
from backends.networks import links

SETTLE_LIMIT_S = 120
NOT_SETTLED = 3
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.system.stepwise"])
_ONE_ASKS = threading.Lock()
"""Starting a process asks how all others are, and of two threads that ask at once one is told 255."""

CHANGES: list[tuple[Any, str]] = [
    (subprocess, "run"),
    (os, "replace"),
    *((pathlib.Path, name) for name in ("rename", "replace")),
    (shutil, "rmtree"),
    (signal, "pidfd_send_signal"),
    (files, "unmount"),
    (libvirt.virConnect, "defineXML"),
    *(
        (libvirt.virDomain, name)
        for name in (
            "create", "destroy", "undefineFlags", "resume", "suspend", "reset", "managedSave", "managedSaveRemove",
            "attachDeviceFlags", "detachDeviceFlags", "detachDeviceAlias", "blockResize", "backupBegin", "abortJob",
        )
    ),
]  # fmt: skip


class _Steps:
    """Notes where each is taken, and kills the process when `is_last` says so of them; they count from `begin` on."""

    def __init__(self, is_last: Callable[[list[str]], bool]) -> None:
        self._is_last = is_last
        self.places: list[str] = []
        self._lock = threading.Lock()
        self._counts = False

    def wrap(self) -> None:
        for owner, name in CHANGES:
            setattr(owner, name, self._ends_a_step(getattr(owner, name)))
        pathlib.Path.unlink = self._ends_a_removal(pathlib.Path.unlink)  # type: ignore[method-assign]
        links._OPEN = self._netlink(links._OPEN)  # pyroute2 makes its methods per object
        psycopg.Cursor.execute = self._ends_a_statement(psycopg.Cursor.execute)  # type: ignore[method-assign]
        psycopg.Transaction.__exit__ = self._ends_a_transaction(psycopg.Transaction.__exit__)  # type: ignore[method-assign]

    def begin(self) -> None:
        self._counts = True

    def _ended(self) -> None:
        with self._lock:
            if not self._counts:
                return
            self.places.append(_place(sys._getframe()))
            if self._is_last(self.places):
                os.kill(os.getpid(), signal.SIGKILL)

    def _ends_a_step(self, function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def step(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named)
            if arguments[0:1] != ("get",):  # netlink's verb for looking
                self._ended()
            return result

        return step

    def _ends_a_removal(self, unlink: Callable[..., None]) -> Any:
        @functools.wraps(unlink)
        def step(path: pathlib.Path, missing_ok: bool = False) -> None:
            was_there = path.exists()
            unlink(path, missing_ok=missing_ok)
            if was_there:
                self._ended()

        return step

    def _netlink(self, opened: Callable[[], AbstractContextManager[Any]]) -> Any:
        @contextmanager
        def netlink() -> Iterator[Any]:
            with opened() as kernel:
                for name in ("link", "addr", "tc"):
                    setattr(kernel, name, self._ends_a_step(getattr(kernel, name)))
                yield kernel

        return netlink

    def _ends_a_statement(self, execute: Callable[..., Any]) -> Any:
        """Outside a transaction each statement is committed by itself; one that only reads changes nothing."""

        @functools.wraps(execute)
        def step(cursor: psycopg.Cursor[Any], text: Any, *arguments: Any, **named: Any) -> Any:
            result = execute(cursor, text, *arguments, **named)
            reads = str(text).lstrip().startswith("SELECT") and "procrastinate_" not in str(text)
            if _is_committed(cursor.connection) and not reads:
                self._ended()
            return result

        return step

    def _ends_a_transaction(self, leave: Callable[..., Any]) -> Any:
        @functools.wraps(leave)
        def step(transaction: psycopg.Transaction, *arguments: Any) -> Any:
            result = leave(transaction, *arguments)
            if _is_committed(transaction.connection):
                self._ended()
            return result

        return step


def _place(frame: FrameType | None) -> str:
    """Every line of code on the way there."""
    lines = []
    while frame is not None:
        lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    return " ".join(lines)


def _is_committed(connection: psycopg.Connection[Any]) -> bool:
    return connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE


def dies_after(settings: dict[str, Any], step: int | str | None) -> bool:
    """Does the jobs that wait until the agent kills itself after the step of that number or place; False if none is."""
    status = _status_of(_do_jobs_and_die, settings, step)
    log = (settings["state"] / "agent.log").read_text()
    assert status in (0, -signal.SIGKILL), f"killed after step {step}: status {status}\n{log}"
    return status != 0


def places_of_steps(settings: dict[str, Any]) -> list[str]:
    """Does the jobs that wait, and tells by which lines of code each step was taken."""
    assert not dies_after(settings, None)
    places: list[str] = json.loads((settings["state"] / "places.json").read_text())
    return places


def settle(settings: dict[str, Any]) -> None:
    """What a normal agent does from its start until nothing is left to do; then a sweep finds nothing either."""
    _normal(settings, must_settle=True)


def work_once(settings: dict[str, Any]) -> None:
    """What a normal agent does from its start until no job is left, however that ends."""
    _normal(settings, must_settle=False)


def work_now(settings: dict[str, Any]) -> None:
    """As `work_once`, without the jobs that are to be done after a while."""
    _normal(settings, must_settle=False, waits=False)


def _normal(settings: dict[str, Any], *, must_settle: bool, waits: bool = True) -> None:
    status = _status_of(_work, settings, must_settle, waits)
    log = (settings["state"] / "agent.log").read_text()
    assert status == 0, f"status {status}\n{log}"


def _status_of(target: Callable[..., None], *arguments: Any) -> int | None:
    """Of a process that does it; None if it goes on for too long."""
    with _ONE_ASKS:
        process = _FORKS.Process(target=target, args=arguments)
        process.start()
    multiprocessing.connection.wait([process.sentinel], SETTLE_LIMIT_S)
    with _ONE_ASKS:
        return process.exitcode


def _start(settings: dict[str, Any]) -> Settings:
    log = os.open(settings["state"] / "agent.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    if "tag" in settings:  # of a second host on this machine, whose names must be others
        agent.cloud_tag = lambda _: settings["tag"]
    made = Settings(**{name: value for name, value in settings.items() if name != "tag"})
    logs.configure(made, "agent")
    return made


def _do_jobs_and_die(raw: dict[str, Any], last: int | str | None) -> None:
    settings = _start(raw)
    steps = _Steps(lambda places: last in (len(places), places[-1]))
    with opened_host(settings) as host:
        begin(host, capacity_of(settings, can_filter_vlans=True))
        steps.wrap()
        steps.begin()
        _work_until_nothing_waits(host, settings)
    (settings.state / "places.json").write_text(json.dumps(steps.places))


def _work(raw: dict[str, Any], must_settle: bool, waits: bool) -> None:
    settings = _start(raw)
    with opened_host(settings) as host:
        begin(host, capacity_of(settings, can_filter_vlans=True))
        sweep(host)
        if not waits:
            asyncio.run(work(host, settings.conninfo, until_idle=True))
            return
        _work_until_nothing_waits(host, settings)
        if not must_settle:
            return
        with structlog.testing.capture_logs() as found:
            sweep(host)
        if found or _waiting(host):
            print(f"not settled: {found}, {_waiting(host)}", file=os.fdopen(2, "w"), flush=True)
            os._exit(NOT_SETTLED)


def _work_until_nothing_waits(host: Host, settings: Settings) -> None:
    """Delayed jobs too."""
    deadline = time.monotonic() + SETTLE_LIMIT_S
    asyncio.run(work(host, settings.conninfo, until_idle=True))
    while _waiting(host) and time.monotonic() < deadline:
        time.sleep(0.1)
        asyncio.run(work(host, settings.conninfo, until_idle=True))


def _waiting(host: Host) -> list[Any]:
    with host.connection() as connection:
        return connection.execute(
            "SELECT task_name, args, status FROM procrastinate_jobs WHERE queue_name = %s", [host.name]
        ).fetchall()
