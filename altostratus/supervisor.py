"""`altostratus run`: all of the gateway on one machine, started in order, watched, restarted, stopped cleanly."""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import libvirt
import structlog

from altostratus.settings import Settings

log = structlog.get_logger()

LIBVIRT_DAEMONS = ("virtlogd", "libvirtd")
KVM = Path("/dev/kvm")
PID_FOLDER = Path("/run")
STARTED_FOR = "ALTOSTRATUS_STARTED_FOR"
"""In the environment of libvirt's daemons that a run has started: its state folder."""
VIRTLOGD_SOCKET = "/run/libvirt/virtlogd-sock"
START_LIMIT_S = 120
STOP_LIMIT_S = 75
"""Longer than the agent takes to finish the jobs it runs."""
SLOWEST_RESTART_S = 10.0
DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


class StartError(Exception):
    """Something didn't start; the sentence says what and where its log is."""


class Adopted:
    """A process that an earlier run or somebody else started: watched, and left alone at the end unless it is ours."""

    def __init__(self, process_id: int, *, is_ours: bool) -> None:
        self._handle = os.pidfd_open(process_id)
        self.is_ours = is_ours
        """Whether an earlier run of the same state folder started it."""

    def poll(self) -> int | None:
        """Nobody but its parent learns its status: 0 stands for any."""
        return 0 if self._ends_within(0) else None

    def send_signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, limit_s: float | None = None) -> int:
        if not self._ends_within(limit_s):
            raise subprocess.TimeoutExpired("a process of an earlier run", limit_s or 0)
        return 0

    def _ends_within(self, limit_s: float | None) -> bool:
        return bool(select.select([self._handle], [], [], limit_s)[0])


@dataclass(slots=True)
class Child:
    """A program that must run. `ready` tells when those after it may start."""

    name: str
    command: Sequence[str]
    ready: Callable[[], bool]
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    environment: dict[str, str] = field(default_factory=dict)
    log_file: Path | None = None
    dies_with_parent: bool = True
    """Killed when `altostratus run` is, so that the next run finds nothing of the last in its way."""
    find_running: Callable[[], Adopted | None] = lambda: None
    """One that somebody else has started, which is watched like one of our own."""
    process: subprocess.Popen[bytes] | Adopted | None = None
    started_at: float = 0.0
    delay_s: float = 0.0

    def start(self) -> None:
        account = pwd.getpwnam(self.user) if self.user else None
        output = self.log_file.open("ab") if self.log_file else None
        self.process = subprocess.Popen(
            [*DIES_WITH_PARENT, *self.command] if self.dies_with_parent else list(self.command),
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            env={**os.environ, **self.environment},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        if output is not None:
            output.close()
        self.started_at = time.monotonic()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def restart_if_dead(self) -> bool:
        """At once the first time; ever slower when it keeps dying. True if it was started."""
        if self.is_running or self.process is None:
            return False
        alive_s = time.monotonic() - self.started_at
        if alive_s < self.delay_s:
            return False
        if (found := self.find_running()) is not None:
            self.process = found
            return False
        self.delay_s = 0.5 if alive_s > SLOWEST_RESTART_S else min(SLOWEST_RESTART_S, self.delay_s * 2 + 0.5)
        log.warning("restarting what has ended", child=self.name, status=self.process.poll())
        try:
            self.start()
        except OSError as refused:
            self.started_at = time.monotonic()
            log.error("cannot be started; trying again later", child=self.name, error=str(refused))
            return False
        return True

    def stop(self) -> None:
        if self.process is None or not self.is_running:
            return
        if isinstance(self.process, Adopted) and not self.process.is_ours:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            log.warning("killed, having ignored the request to stop", child=self.name)
            self.process.kill()
            self.process.wait()


def libvirt_children(settings: Settings) -> list[Child]:
    """libvirt's daemons, where no service manager runs them; they go on when the gateway stops, as guests do."""
    if Path("/run/systemd/system").is_dir() and _libvirt_answers(settings.libvirt_uri):
        return []
    for folder in ("/var/log/libvirt/qemu", "/var/cache/libvirt", "/run/libvirt"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    _open_kvm()
    children = []
    for name in LIBVIRT_DAEMONS:
        program = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if program is None:
            raise StartError(f"{name} is not installed; deploy/install installs it")
        answers = _virtlogd_answers if name == "virtlogd" else (lambda: _libvirt_answers(settings.libvirt_uri))
        log_file = settings.state / "log" / f"{name}.log"
        answers_already = answers()
        find_running = partial(running_daemon, name, settings.state)
        running = find_running() if answers_already else None
        if answers_already and running is None:
            continue  # whoever runs it looks after it
        children.append(
            Child(
                name,
                [program],
                answers,
                environment=started_for(settings.state),
                log_file=log_file,
                dies_with_parent=False,
                find_running=find_running,
                process=running,
            )
        )
    return children


def _open_kvm() -> None:
    """As udev would, which isn't there either: QEMU's user may open the device.

    Else libvirt finds KVM when it probes QEMU as root, doubts it because that user can't, and probes again at every
    look at QEMU's abilities: most of a second's work, several times a domain.
    """
    with contextlib.suppress(OSError, LookupError):
        if KVM.stat().st_mode & 0o777 == 0o600:
            shutil.chown(KVM, group="kvm")
            KVM.chmod(0o660)


def started_for(state: Path) -> dict[str, str]:
    return {STARTED_FOR: str(state)}


def running_daemon(name: str, state: Path) -> Adopted | None:
    """The one whose PID file names a process of that name; a process may have taken a dead one's number."""
    try:
        process_id = int((PID_FOLDER / f"{name}.pid").read_text())
        process = Path(f"/proc/{process_id}")
        if process.joinpath("comm").read_text().strip() != name:
            return None
        mark = f"{STARTED_FOR}={state}".encode()
        return Adopted(process_id, is_ours=mark in process.joinpath("environ").read_bytes().split(b"\0"))
    except (OSError, ValueError):
        return None


def _virtlogd_answers() -> bool:
    """By its socket: a process of that name may belong to another namespace."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(VIRTLOGD_SOCKET) == 0


def _libvirt_answers(uri: str) -> bool:
    libvirt.registerErrorHandler(lambda *_: None, None)
    try:
        libvirt.open(uri).close()
    except libvirt.libvirtError:
        return False
    return True


def start(child: Child, after: Sequence[Child] = ()) -> None:
    """Returns when it is ready, at once if it runs already; `StartError` when it ended or took too long.

    What it comes `after` is started again when it ends meanwhile, and then the child may have ended with it.
    """
    if not child.is_running:
        try:
            child.start()
        except OSError as refused:
            raise StartError(f"{child.name} can't be started: {refused}") from refused
    deadline = time.monotonic() + START_LIMIT_S
    stumbled = False
    while not child.ready():
        for earlier in after:
            stumbled |= earlier.restart_if_dead()
        where = f"; see {child.log_file}" if child.log_file else ""
        if stumbled:
            child.restart_if_dead()
        elif not child.is_running:
            status = child.process.poll() if child.process else None
            raise StartError(f"{child.name} ended with status {status} while it started{where}")
        if time.monotonic() > deadline:
            raise StartError(f"{child.name} was not ready after {START_LIMIT_S} s{where}")
        time.sleep(0.05)


def watch(children: Sequence[Child]) -> None:
    """Restarts what ends, until SIGINT or SIGTERM; SIGHUP goes on to the gateway, which reloads."""
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    def reload(_number: int, _frame: object) -> None:
        for child in children:
            if child.name == "gateway" and isinstance(child.process, subprocess.Popen):
                child.process.send_signal(signal.SIGHUP)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, reload)
    while not stopping:
        for child in children:
            child.restart_if_dead()
        time.sleep(0.2)


def own_command(*arguments: str) -> list[str]:
    """This very program, with other arguments."""
    return [sys.executable, "-m", "altostratus", *arguments]
