"""The `altostratus` command: run, serve, agent, image, share, user, project, status, migrate, settings."""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import psycopg
from rich.console import Console
from rich.table import Table
from rich.text import Text

from altostratus import settings as settings_module
from altostratus.settings import Settings, SettingsError
from backends import accounts, quotas, releases
from backends.disks.inspect import ImageFormat
from backends.errors import CloudError, DatabaseUnavailable
from backends.model import Role
from backends.store.database import Connection, query
from backends.store.rows import TRAFFIC_COLUMNS
from renderers.cdmi.objectid import ObjectIdError, decode

UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
MIB_UNITS = {"": 1, "MiB": 1, "GiB": 2**10, "TiB": 2**20}
NO_UNITS = {"": 1}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="altostratus")
@click.pass_context
def main(context: click.Context) -> None:
    """The open cloud gateway: OCCI over KVM, bridges and nftables.

    Settings come from the TOML file named by ALTOSTRATUS_CONFIG (else /etc/altostratus/altostratus.toml) and
    from ALTOSTRATUS_… in the environment; `altostratus settings` lists them.
    """
    try:
        context.obj = settings_module.load()
    except SettingsError as error:
        raise click.ClickException(f"wrong settings:\n{error}") from None


@main.command()
@click.option("--default-image", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Imported once.")
@click.pass_obj
def run(settings: Settings, default_image: Path | None) -> None:
    """Everything on this machine: database, libvirt, gateway, agent. Ctrl-C stops it."""
    from altostratus.everything import run_everything

    if settings.pool == "iscsi":
        raise click.ClickException("pool is 'iscsi': a storage host runs nothing but `altostratus agent`")
    _require_root("run")
    run_everything(settings, default_image)


@main.command()
@click.pass_obj
def serve(settings: Settings) -> None:
    """The gateway's workers alone, as an unprivileged user. SIGHUP reloads them."""
    if os.geteuid() == 0:
        raise click.ClickException(f"the workers never run as root: use `sudo -u {settings.user} altostratus serve`")
    shutil.rmtree(settings.metrics_folder, ignore_errors=True)
    settings.metrics_folder.mkdir(parents=True)
    settings.values_folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(settings.metrics_folder)  # read when the module below is loaded
    from altostratus.serve import Gateway

    Gateway(settings).run()


@main.command()
@click.pass_obj
def agent(settings: Settings) -> None:
    """This host's agent alone, as root."""
    from altostratus import logs
    from altostratus.preflight import Unusable, check_shared_network
    from backends.agent.queue import HostTaken

    _require_root("agent")
    logs.configure(settings, "agent")
    try:
        if settings.pool == "iscsi":
            from altostratus.storage import run_storage_agent

            run_storage_agent(settings)
            return
        from altostratus.agent import run_agent

        check_shared_network(settings)
        run_agent(settings)
    except (HostTaken, Unusable, DatabaseUnavailable, psycopg.OperationalError) as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.pass_obj
def migrate(settings: Settings) -> None:
    """Bring the database's schema up to date; safe while the cloud is in use."""
    from backends.store.database import migrate as apply

    try:
        names = apply(settings.conninfo)
    except psycopg.OperationalError as error:
        raise click.ClickException(f"the database can't be reached: {error}") from None
    click.echo("\n".join(f"applied {name}" for name in names) or "the schema is up to date")


@main.command("settings")
@click.pass_obj
def show_settings(settings: Settings) -> None:
    """Each setting with its value and what it means, as TOML."""
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        click.echo(f"# {field.description} ({settings_module.PREFIX}{name.upper()})")
        if name == "sizes":
            click.echo("# [sizes.NAME]: title, cores, memory_gib, disk_gib; max_cores if it may grow")
        elif name == "database" and "password" in str(value):
            click.echo(f'{name} = "(not shown: it holds a password)"')
        else:
            click.echo(f"{name} = {json.dumps(value if isinstance(value, int | float) else str(value))}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_obj
def status(settings: Settings, as_json: bool) -> None:
    """What the cloud is doing: hosts, machines by state, jobs."""
    with _database(settings) as connection:
        hosts = connection.execute(
            "SELECT name, domain_type, cores, memory_mib, extract(epoch FROM now() - heartbeat_at)::int FROM host"
            " ORDER BY name"
        ).fetchall()
        machines = dict(
            connection.execute("SELECT state, count(*) FROM machine WHERE NOT deleting GROUP BY state").fetchall()
        )
        jobs = connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'").fetchone()
    columns = ("host", "domain_type", "cores", "memory_mib", "last_sign_s")
    report = {
        "hosts": [dict(zip(columns, row, strict=True)) for row in hosts],
        "machines": machines,
        "jobs_waiting": jobs[0] if jobs else 0,
    }
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    _print_table(columns, hosts)
    states = ", ".join(f"{count} {state}" for state, count in sorted(machines.items()))
    click.echo(f"machines: {states or 'none'}\njobs waiting: {report['jobs_waiting']}")


@main.group()
def image() -> None:
    """What machines start from."""


@image.command("add")
@click.argument("name")
@click.argument("source")
@click.option("--sha256", help="Refuse the file unless it has this checksum.")
@click.option("--title", help="What people read; the name if not given.")
@click.option(
    "--format",
    "declared",
    type=click.Choice([ImageFormat.RAW.value]),
    help="Take a file without partition table and file system for a raw disk.",
)
@click.pass_obj
def image_add(
    settings: Settings, name: str, source: str, sha256: str | None, title: str | None, declared: str | None
) -> None:
    """Import SOURCE, a file or URL of any disk image (qcow2, raw, VMDK, VDI, VHD), under NAME."""
    from altostratus.images import add_image
    from backends.disks.errors import DiskError

    _require_root("image add")
    with _database(settings) as connection:
        try:
            facts = add_image(
                settings, connection, name, source, sha256=sha256, title=title or name,
                declared=ImageFormat(declared) if declared else None,
            )  # fmt: skip
        except (CloudError, DiskError) as error:
            raise click.ClickException(str(error)) from None
    click.echo(f"{name}: {facts.format}, {facts.size_bytes / 2**30:.2f} GiB, sha256 {facts.sha256}")


@image.command("list")
@click.pass_obj
def image_list(settings: Settings) -> None:
    """All images, saved machines included."""
    with _database(settings) as connection:
        rows = connection.execute(
            "SELECT i.name, i.title, i.format, round(i.size_bytes / 1073741824.0, 2), coalesce(p.name, 'everybody'),"
            " i.state, i.state_message FROM image i LEFT JOIN project p ON p.id = i.project_id"
            " WHERE NOT i.deleting ORDER BY i.name"
        ).fetchall()
    _print_table(("name", "title", "format", "GiB", "whose", "state", "message"), rows)


@image.command("remove")
@click.argument("name")
@click.option("--project", help="Whose saved image; everybody's if not given.")
@click.pass_obj
def image_remove(settings: Settings, name: str, project: str | None) -> None:
    """Nothing new starts from it; its file goes when no disk is made from it any more."""
    with _database(settings) as connection:
        gone = connection.execute(
            "UPDATE image SET deleting = true WHERE name = %s AND NOT deleting"
            " AND project_id IS NOT DISTINCT FROM (SELECT id FROM project WHERE name = %s)"
            " AND (project_id IS NULL) = %s",
            [name, project, project is None],
        )
        rows = connection.execute(
            "SELECT p.name FROM image i JOIN project p ON p.id = i.project_id WHERE i.name = %s AND NOT i.deleting"
            " ORDER BY 1",
            [name],
        ).fetchall()
    if gone.rowcount == 0:
        whose = f" of the project {project!r}" if project else " of everybody's"
        others = f"; there is one of {', '.join(row[0] for row in rows)} (--project)" if rows else ""
        raise click.ClickException(f"there is no image {name!r}{whose}{others}")


@main.command()
@click.pass_obj
def share(settings: Settings) -> None:
    """Make the folder of the setting shared_pool, mounted, a pool of this cloud: once, on one of its hosts."""
    from altostratus.shared_folder import make_shared_pool
    from backends.disks.errors import DiskError

    _require_root("share")
    with _database(settings) as connection:
        try:
            identity = make_shared_pool(settings, connection)
        except (CloudError, DiskError, OSError) as error:
            raise click.ClickException(str(error)) from None
    click.echo(f"{settings.shared_pool} is the shared pool {identity}")


@main.group()
def user() -> None:
    """Who may use the cloud."""


@user.command("add")
@click.argument("name")
@click.option("--project", required=True, help="Made if there is none of that name.")
@click.option("--role", type=click.Choice([role.value for role in Role]), default=Role.USER.value, show_default=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input; else one is made up.")
@click.pass_obj
def user_add(settings: Settings, name: str, project: str, role: str, password_stdin: bool) -> None:
    """Add a user; prints the password that was made up."""
    password = _password(password_stdin)
    with _database(settings) as connection, _refusals():
        accounts.add_user(connection, name, password, project, Role(role))
    click.echo(f"user {name} of project {project} added" + ("" if password_stdin else f"; the password: {password}"))


@user.command("password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input; else one is made up.")
@click.pass_obj
def user_password(settings: Settings, name: str, password_stdin: bool) -> None:
    """Set a new password; the old one may be taken for some seconds more (password_cache_s)."""
    password = _password(password_stdin)
    with _database(settings) as connection, _refusals():
        accounts.set_password(connection, name, password)
    click.echo(f"password of {name} changed" + ("" if password_stdin else f"; the new one: {password}"))


@user.command("remove")
@click.argument("name")
@click.pass_obj
def user_remove(settings: Settings, name: str) -> None:
    """Remove a user; what belongs to the project stays."""
    with _database(settings) as connection, _refusals():
        accounts.remove_user(connection, name)


@user.command("list")
@click.pass_obj
def user_list(settings: Settings) -> None:
    """All users with project and role."""
    with _database(settings) as connection:
        rows = [(account.name, account.project_name, account.role.value) for account in accounts.users(connection)]
    _print_table(("name", "project", "role"), rows)


@main.group()
def project() -> None:
    """What each project has, and may have at most. Projects are made with their users."""


@project.command("list")
@click.pass_obj
def project_list(settings: Settings) -> None:
    """All projects with what they have."""
    with _database(settings) as connection:
        rows = [
            (name, *(each.used for each in quotas.use(connection, project_id)))
            for name, project_id in connection.execute("SELECT name, id FROM project ORDER BY name").fetchall()
        ]
    _print_table(("name", *quotas.BY_NAME), rows)


@project.command("show")
@click.argument("name")
@click.pass_obj
def project_show(settings: Settings, name: str) -> None:
    """What the project has of each resource, and its limits."""
    with _database(settings) as connection, _refusals():
        found = quotas.use(connection, accounts.project_id(connection, name))
    rows = [(each.resource.name, each.used, "none" if each.most is None else each.most) for each in found]
    _print_table(("resource", "used", "limit"), rows)


@project.command("traffic")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_obj
def project_traffic(settings: Settings, as_json: bool) -> None:
    """What the guests of each project have received and sent, ever, also by interfaces that are gone."""
    columns = ("name", *TRAFFIC_COLUMNS)
    with _database(settings) as connection:
        rows = connection.execute(query("traffic.of_projects")).fetchall()
    if as_json:
        click.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2))
        return
    _print_table(columns, rows)


@project.command("limit")
@click.argument("name")
@click.argument("resource", type=click.Choice(list(quotas.BY_NAME)))
@click.argument("most")
@click.pass_obj
def project_limit(settings: Settings, name: str, resource: str, most: str) -> None:
    """Let the project have MOST of RESOURCE: a number, also such as 10GiB, or `none`. What it has already stays."""
    with _database(settings) as connection, _refusals():
        quotas.set_limit(connection, accounts.project_id(connection, name), resource, _amount(resource, most))


@project.command("release")
@click.argument("name")
@click.argument("path")
@click.option("--below", is_flag=True, help="And of all that is below it.")
@click.pass_obj
def project_release(settings: Settings, name: str, path: str, below: bool) -> None:
    """End the holds and the retention of what is at PATH in the project's tree, such as / or /disks/data/.

    What is reached by its ID alone is /cdmi_objectid/ID. Each end is written to log/releases.log in the state folder.
    """
    with _database(settings) as connection, _refusals(), connection.transaction():
        project_id = accounts.project_id(connection, name)
        names = [part for part in path.split("/") if part]
        if names[:1] == ["cdmi_objectid"] and len(names) > 1:
            try:
                start = decode(names[1], settings.cdmi_enterprise_number)
            except ObjectIdError as error:
                raise click.ClickException(str(error)) from None
            identity = releases.find(connection, project_id, names[2:], start)
        else:
            identity = releases.find(connection, project_id, names)
        released = [
            (f"/{'/'.join([*names, *filter(None, [one.path])])}", dict(one.items))
            for one in releases.release(connection, project_id, identity, below=below)
        ]
        _note_releases(settings, name, released)
    for place, items in released:
        click.echo(f"released {place}: {json.dumps(items)}")
    if not released:
        click.echo("nothing there is on hold or under retention of its own")


def _note_releases(settings: Settings, project_name: str, released: Sequence[tuple[str, dict[str, object]]]) -> None:
    """Who ended what and when; before it is done, so that none is without a note."""
    if not released:
        return
    who = os.environ.get("SUDO_USER")
    if who is None:
        try:
            who = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            who = str(os.getuid())
    folder = settings.state / "log"
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        with (folder / "releases.log").open("a") as file:
            for path, items in released:
                line = {"at": datetime.now(UTC).isoformat(), "by": who, "project": project_name, "path": path, **items}
                file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise click.ClickException(f"nothing was released, for it can't be noted down: {error}") from None


def _amount(resource: str, text: str) -> int | None:
    if text == "none":
        return None
    of_bytes = UNITS if resource.endswith("_bytes") else MIB_UNITS if resource.endswith("_mib") else NO_UNITS
    match = re.fullmatch(rf"(\d{{1,18}})({'|'.join(of_bytes)})", text, re.ASCII)
    if match is None:
        example = "20" if of_bytes is NO_UNITS else "10GiB"
        raise click.ClickException(
            f"the limit of {resource} is {text!r}: expected a number, such as {example}, or none"
        )
    return int(match[1]) * of_bytes[match[2]]


def _password(from_stdin: bool) -> str:
    return sys.stdin.readline().rstrip("\n") if from_stdin else secrets.token_urlsafe(18)


def _require_root(what: str) -> None:
    if os.geteuid() != 0:
        raise click.ClickException(f"`altostratus {what}` needs root: it makes domains, bridges and firewall rules")


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except CloudError as error:
        raise click.ClickException(error.message) from None


@contextmanager
def _database(settings: Settings) -> Iterator[Connection]:
    try:
        with psycopg.connect(settings.conninfo, autocommit=True, connect_timeout=10) as connection:
            yield connection
    except psycopg.OperationalError as error:
        hint = "" if settings.database else "; is `altostratus run` running, and are you root?"
        raise click.ClickException(f"the database can't be reached: {error}{hint}") from None


def _print_table(columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    """A line for each row, however wide: where lines end is for the terminal to decide."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row))
    Console(width=10_000).print(table)
