"""What `altostratus run` does: all parts in order, the first user, the default image, and the words that greet."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import psycopg

from altostratus import logs, preflight
from altostratus.agent import DEFAULT_IMAGE
from altostratus.cloud_tag import cloud_tag
from altostratus.images import add_image
from altostratus.postgres import PostgresError
from altostratus.settings import Settings
from altostratus.supervisor import (
    LIBVIRT_DAEMONS,
    START_LIMIT_S,
    Child,
    StartError,
    libvirt_children,
    own_command,
    start,
    watch,
)
from backends import accounts
from backends.disks.errors import DiskError
from backends.machines.errors import MachineError
from backends.machines.hypervisor import Hypervisor
from backends.machines.spec import Power
from backends.model import Role
from backends.networks.driver import Networks
from backends.store.database import migrate

T = TypeVar("T")

ADMIN = "admin"
ADMINS_PROJECT = "admins"


def run_everything(settings: Settings, default_image: Path | None) -> None:
    """Until Ctrl-C. Guests go on when it stops, and are taken up again when it starts."""
    logs.configure(settings, "run")
    os.umask(0o022)  # the workers and QEMU, who are other users, must enter the folders
    try:
        preflight.check(settings)
        for name, mode in (("", 0o755), ("log", 0o750), ("pool", 0o711)):
            (settings.state / name).mkdir(parents=True, mode=mode, exist_ok=True)
        preflight.claim(settings.state)
    except preflight.Unusable as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"state is {settings.state}, which can't be made: {error}") from None
    children: list[Child] = []
    tag = None
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if not settings.database:
            settings.cluster.ensure_made()
            _start(children, _postgres(settings))
        _with_database(children, lambda: migrate(settings.conninfo))
        tag = _with_database(children, lambda: cloud_tag(settings))
        for child in libvirt_children(settings):
            _start(children, child)
        is_new = _with_database(children, lambda: _first_user(settings))
        _with_database(children, lambda: _import_default_image(settings, default_image))
        _start(children, _agent(settings))
        _start(children, _gateway(settings))
        click.echo(_greeting(settings, shows_password=is_new))
        watch(children)
        click.echo("stopping", err=True)
    except KeyboardInterrupt:
        click.echo("stopping", err=True)
    except (StartError, PostgresError, DiskError, MachineError, psycopg.OperationalError) as error:
        raise click.ClickException(str(error)) from None
    finally:
        _stop(settings, tag, children)


def _start(children: list[Child], child: Child) -> None:
    click.echo(f"starting {child.name}", err=True)
    children.append(child)
    start(child, after=children[:-1])


def _with_database(children: list[Child], do: Callable[[], T]) -> T:
    """Does it again while the database is away: one that ended is started again, as anything here is."""
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            return do()
        except psycopg.OperationalError:
            if not children or time.monotonic() > deadline:
                raise
        for child in children:
            child.restart_if_dead()
        time.sleep(0.1)


def _stop(settings: Settings, tag: str | None, children: list[Child]) -> None:
    """In reverse. libvirt goes on while guests run; without any, the host's networks are left as they were."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    guests = None
    for child in reversed(children):
        if child.name in LIBVIRT_DAEMONS:
            if guests is None:
                guests = _guests(settings, tag)
            if guests:
                continue
        if child.name == "agent":
            child.stop()
            guests = _guests(settings, tag)
            if guests == 0 and tag is not None:
                Networks(tag, settings.state / "networks").restore([], [])
            continue
        child.stop()
    if guests:
        click.echo(f"{guests} machines go on running; the next start takes them up again", err=True)


def _guests(settings: Settings, tag: str | None) -> int:
    """How many machines of this cloud run now."""
    if tag is None:
        return 0
    hypervisor = Hypervisor(
        settings.libvirt_uri,
        tag,
        domain_type="qemu",
        console_directory=settings.state / "consoles",
    )
    try:
        observed = [hypervisor.observe(machine_id) for machine_id in hypervisor.machines()]
    except MachineError:
        return 0
    finally:
        hypervisor.close()
    return sum(machine is not None and machine.power in (Power.RUNNING, Power.PAUSED) for machine in observed)


def _postgres(settings: Settings) -> Child:
    return Child(
        "postgres",
        settings.cluster.command(),
        settings.cluster.is_ready,
        user=settings.user,
        stop_signal=signal.SIGINT,
        log_file=settings.state / "log" / "postgres.log",
    )


def _agent(settings: Settings) -> Child:
    return Child("agent", own_command("agent"), lambda: _is_agent_alive(settings))


def _gateway(settings: Settings) -> Child:
    account = pwd.getpwnam(settings.user)
    run_folder = settings.metrics_folder.parent
    run_folder.mkdir(exist_ok=True)
    settings.values_folder.mkdir(mode=0o700, exist_ok=True)
    for folder in (run_folder, settings.values_folder):
        os.chown(folder, account.pw_uid, account.pw_gid)
    return Child(
        "gateway",
        own_command("serve"),
        lambda: _answers(f"{settings.url}/healthz"),
        user=settings.user,
        environment={"HOME": "/nonexistent"},
    )


def _is_agent_alive(settings: Settings) -> bool:
    with (
        contextlib.suppress(psycopg.OperationalError),
        psycopg.connect(settings.conninfo, autocommit=True) as connection,
    ):
        row = connection.execute(
            "SELECT 1 FROM host JOIN network ON network.class = 'local' WHERE name = %s"
            " AND started_at > pg_postmaster_start_time() AND heartbeat_at > now() - interval '30 seconds'"
            " AND EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint ="
            " (hashtext('agent')::bigint & 4294967295))",
            [settings.host_name],
        ).fetchone()
        return row is not None
    return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _first_user(settings: Settings) -> bool:
    """A cloud admin with a password of its own making, kept where only the caller of `run` can read it.

    Whether one was made.
    """
    credentials = settings.state / "credentials"
    with psycopg.connect(settings.conninfo, autocommit=True) as connection:
        if accounts.users(connection):
            return False
        password = secrets.token_urlsafe(18)
        credentials.unlink(missing_ok=True)
        descriptor = os.open(credentials, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            os.fchown(file.fileno(), int(os.environ.get("SUDO_UID", "0")), int(os.environ.get("SUDO_GID", "0")))
            file.write(f"{ADMIN}:{password}\n")
        accounts.add_user(connection, ADMIN, password, ADMINS_PROJECT, Role.CLOUD_ADMIN)
    return True


def _import_default_image(settings: Settings, path: Path | None) -> None:
    if path is None:
        return
    with psycopg.connect(settings.conninfo, autocommit=True) as connection:
        present = connection.execute(
            "SELECT 1 FROM image WHERE name = %s AND project_id IS NULL AND state = 'ready'", [DEFAULT_IMAGE]
        )
        if present.fetchone() is None:
            click.echo("importing the default image", err=True)
            title = "A small Linux to try things with"
            add_image(settings, connection, DEFAULT_IMAGE, str(path), sha256=None, title=title)


def _greeting(settings: Settings, *, shows_password: bool) -> str:
    credentials = settings.state / "credentials"
    command = Path(sys.executable).with_name("altostratus")
    if shows_password:
        login = f"user:password {credentials.read_text().strip()}   (kept in {credentials})"
    elif credentials.exists():
        login = f"user:password are in {credentials}"
    else:
        login = f"users: {command} user list"
    return f"""
The gateway answers at {settings.url}/   {login}
The command is {command}

Start a machine that your SSH key opens (ssh-keygen -t ed25519 makes one):

  curl -u "$(cat {credentials})" {settings.url}/compute/ \\
    -H 'Content-Type: text/plain' --data-binary '
Category: compute; scheme="http://schemas.ogf.org/occi/infrastructure#"; class="kind"
Category: default; scheme="{settings.occi_scheme}os_tpl#"; class="mixin"
Category: ssh_key; scheme="http://schemas.ogf.org/occi/infrastructure/credentials#"; class="mixin"
X-OCCI-Attribute: occi.core.title="first"
X-OCCI-Attribute: occi.credentials.ssh.publickey="'"$(cat ~/.ssh/id_ed25519.pub)"'"'

Look at it, and find its address:   curl -u "$(cat {credentials})" THE_URL_ANSWERED
Ctrl-C stops the gateway; machines go on, and the next start takes them up again.
"""
