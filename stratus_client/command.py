"""The `stratus` command: its subcommands and options, and the exit status of each outcome.

0 done, 1 refused or failed, 2 wrong usage, 3 no such thing, 4 nobody answers, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import click

from stratus_client import choices, config, machines, names, output, ssh
from stratus_client.errors import StratusError
from stratus_client.listing import listing
from stratus_client.occi import Server
from stratus_client.options import (
    Memory,
    as_json_option,
    connection_options,
    machines_argument,
    no_wait_option,
    one_line,
    timeout_option,
)
from stratus_client.resources import IP_RESERVATION, NETWORK, POOL, SIZE_TEMPLATE, STORAGE, Machine, MachineState

SSH_WAIT_SECONDS = 60.0
INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--endpoint", metavar="URL", help="Where the cloud is.  [STRATUS_ENDPOINT]")
@click.option("--user", metavar="NAME", help="Who you are there.  [STRATUS_USER]")
@click.option("--json", "as_json", is_flag=True, hidden=True)
@click.version_option(package_name="altostratus", prog_name="stratus")
@click.pass_context
def stratus(
    context: click.Context,
    endpoint: str | None,  # noqa: ARG001
    user: str | None,  # noqa: ARG001
    as_json: bool,
) -> None:
    """Run virtual machines in any cloud that speaks OCCI.

    A MACHINE is its name, its identifier, or the beginning of its identifier.

    \b
    The password comes from STRATUS_PASSWORD, from the user:password file that
    STRATUS_CREDENTIALS names, from ~/.config/stratus/config.toml, or is asked for.

    \b
    Exit status: 0 done, 1 refused or failed, 2 wrong usage,
                 3 no such thing, 4 nobody answers.
    """
    asked = stratus.commands.get(context.invoked_subcommand or "")
    if as_json and asked is not None and not any(option.name == "as_json" for option in asked.params):
        raise click.UsageError(f"`stratus {asked.name}` has no --json.")


def _connect() -> tuple[Server, config.Settings]:
    asked = click.get_current_context().find_root().params
    settings = config.load(asked.get("endpoint"), asked.get("user"))
    for warning in settings.warnings:
        output.note(warning)
    if settings.user is not None and settings.password is None and sys.stdin.isatty():
        question = f"Password of {settings.user} at {settings.endpoint}"
        settings = replace(settings, password=click.prompt(question, hide_input=True, err=True))
    server = click.get_current_context().with_resource(Server(settings))
    return server, settings


@stratus.command()
@click.argument("image", required=False)
@click.option("--name", callback=one_line, help="What to call it.")
@click.option("--size", metavar="NAME", help="A size on offer; see `stratus list sizes`.")
@click.option("--cores", type=click.IntRange(min=1), help="Cores, whatever the size says.")
@click.option("--memory", "memory_gib", type=Memory(), help="Memory such as 2GiB, whatever the size says.")
@click.option("--network", "network_names", multiple=True, metavar="NETWORK", help="A network to join (repeatable).")
@click.option("--address", "addresses", multiple=True, metavar="ADDRESS", help="A reserved address (repeatable).")
@click.option("--disk", "disk_names", multiple=True, metavar="DISK", help="A disk to attach (repeatable).")
@click.option("--ssh-key", type=click.Path(path_type=Path), help="Public key to log in with.  [~/.ssh/id_*.pub]")
@click.option("--no-ssh-key", is_flag=True, help="Put no key in.")
@click.option("--user-data", type=click.File("rb"), help="A file for cloud-init; - is standard input.")
@click.option("-n", "--count", type=click.IntRange(1, 100), default=1, help="How many: NAME-1, NAME-2...")
@no_wait_option
@timeout_option
@as_json_option
@connection_options
def run(
    image: str | None,
    name: str | None,
    size: str | None,
    cores: int | None,
    memory_gib: float | None,
    network_names: tuple[str, ...],
    addresses: tuple[str, ...],
    disk_names: tuple[str, ...],
    ssh_key: Path | None,
    no_ssh_key: bool,
    user_data: BinaryIO | None,
    count: int,
    no_wait: bool,
    limit_seconds: float,
    as_json: bool,
) -> None:
    """Make machines from IMAGE and start them.

    Without IMAGE: the only image on offer, or none when a disk is attached.

    \b
    stratus run debian --name web --size small
    stratus run debian --cores 2 --memory 4GiB --user-data setup.yaml -n 3
    """
    server, _ = _connect()
    with output.progress("Asking what the cloud offers..."):
        new = machines.NewMachine(
            image=choices.chosen_image(server, image, has_disk=bool(disk_names)),
            size=choices.chosen_template(server, size, SIZE_TEMPLATE, "size"),
            cores=cores,
            memory_gib=memory_gib,
            ssh_key=None if no_ssh_key else choices.public_key(server, ssh_key),
            user_data=choices.user_data(user_data),
            networks=choices.paths(machines.all_networks, server, network_names, "network"),
            addresses=tuple(machines.find_address(server, one).entity.path for one in addresses),
            disks=choices.paths(machines.all_disks, server, disk_names, "disk"),
        )
    made: list[Machine] = []
    try:
        for number in range(1, count + 1):
            title = f"{name}-{number}" if name and count > 1 else name
            made.append(machines.create(server, replace(new, name=title)))
    except StratusError:
        if made:
            output.note(f"Made before that: {', '.join(one.id for one in made)}")
        raise
    if not no_wait:
        made = [_await(server, one, MachineState.ACTIVE, limit_seconds) for one in made]
    if as_json:
        output.show_json([one.as_json() for one in made])
        return
    for one in made:
        output.say(_arrival(one))
    if not no_wait and sys.stdout.isatty():
        output.note(f"Log in: stratus ssh {made[0].name or names.short_ids([made[0].id])[made[0].id]}")


@stratus.command("list")
@click.argument(
    "what",
    type=click.Choice(["machines", "images", "sizes", "networks", "addresses", "disks"]),
    default="machines",
)
@as_json_option
@connection_options
def list_(what: str, as_json: bool) -> None:
    """List machines, or images, sizes, networks, reserved addresses or disks."""
    server, _ = _connect()
    with output.progress(f"Listing {what}..."):
        headings, found, rows = listing(server, what)
    if as_json:
        output.show_json(found)
    elif rows:
        output.show_table(headings, rows)
    else:
        hint = " Make one with `stratus run IMAGE`; see `stratus list images`." if what == "machines" else ""
        output.note(f"There are no {what} yet.{hint}")


@stratus.command()
@click.argument("wanted", metavar="MACHINE")
@as_json_option
@connection_options
def show(wanted: str, as_json: bool) -> None:
    """Show all about a machine."""
    server, _ = _connect()
    found = machines.find(server, wanted)
    if as_json:
        output.show_json(found.as_json())
        return
    networks = [
        _joined(
            machines.label_of(server, one.network, NETWORK, IP_RESERVATION),
            one.address,
            one.mac,
            _unless(one.state, "active"),
        )
        for one in found.interfaces
    ]
    disks = [
        _joined(machines.label_of(server, one.disk, STORAGE), one.device, _unless(one.state, "active"))
        for one in found.disks
    ]
    output.show_details(
        [
            ("Name", found.name),
            ("Id", found.id),
            ("State", found.state),
            ("Message", found.state_message),
            ("Hostname", found.hostname),
            ("Image", found.image),
            ("Size", found.size),
            ("Cores", None if found.cores is None else str(found.cores)),
            ("Memory", output.gibibytes(found.memory_gib)),
            *(("Network", line) for line in networks),
            *(("Disk", line) for line in disks),
            ("Display", found.console),
            ("Actions", ", ".join(sorted(one.term for one in found.entity.actions))),
            ("Location", server.endpoint + found.entity.path),
        ]
    )


@stratus.command()
@machines_argument
@no_wait_option
@timeout_option
@as_json_option
@connection_options
def start(wanted: tuple[str, ...], no_wait: bool, limit_seconds: float, as_json: bool) -> None:
    """Start machines, or resume suspended ones."""
    _bring(wanted, "start", MachineState.ACTIVE, None, None if no_wait else limit_seconds, as_json)


@stratus.command()
@machines_argument
@click.option(
    "--method",
    type=click.Choice(["graceful", "acpioff", "poweroff"]),
    help="graceful asks and then forces, acpioff only asks, poweroff forces.",
)
@no_wait_option
@timeout_option
@as_json_option
@connection_options
def stop(wanted: tuple[str, ...], method: str | None, no_wait: bool, limit_seconds: float, as_json: bool) -> None:
    """Stop machines; their disks and addresses stay."""
    _bring(wanted, "stop", MachineState.INACTIVE, method, None if no_wait else limit_seconds, as_json)


@stratus.command()
@machines_argument
@click.option(
    "--method",
    type=click.Choice(["suspend", "hibernate"]),
    help="suspend keeps the memory, hibernate saves it.",
)
@no_wait_option
@timeout_option
@as_json_option
@connection_options
def suspend(wanted: tuple[str, ...], method: str | None, no_wait: bool, limit_seconds: float, as_json: bool) -> None:
    """Suspend machines; `stratus start` resumes them."""
    _bring(wanted, "suspend", MachineState.SUSPENDED, method, None if no_wait else limit_seconds, as_json)


@stratus.command()
@machines_argument
@click.option(
    "--method",
    type=click.Choice(["graceful", "warm", "cold"]),
    help="graceful shuts down first, warm resets, cold cuts the power.",
)
@as_json_option
@connection_options
def restart(wanted: tuple[str, ...], method: str | None, as_json: bool) -> None:
    """Restart machines.

    Returns as soon as the server has agreed.
    """
    _bring(wanted, "restart", None, method, None, as_json)


@stratus.command()
@machines_argument
@click.option("-y", "--yes", is_flag=True, help="Don't ask; without a terminal nobody is asked.")
@as_json_option
@connection_options
def delete(wanted: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete machines for good.

    Attached networks stay, and disks that aren't volatile.
    """
    server, settings = _connect()
    found = _found(server, wanted)
    if not yes and sys.stdin.isatty():
        listed = ", ".join(output.printable(_called(one)) for one in found)
        click.confirm(f"Delete {listed}?", abort=True, err=True)
    for one in found:
        server.delete(one.entity.path)
        ssh.forget(ssh.known_hosts_file(config.state_folder(os.environ), settings.endpoint, one.id))
        if not as_json:
            output.say(f"Deleted {_called(one)}")
    if as_json:
        output.show_json([{"id": one.id, "name": one.name} for one in found])


@stratus.command()
@click.argument("address", required=False)
@click.option("--pool", metavar="POOL", help="Of which network; the server's foremost when not given.")
@click.option("--name", callback=one_line, help="What to call it.")
@as_json_option
@connection_options
def reserve(address: str | None, pool: str | None, name: str | None, as_json: bool) -> None:
    """Reserve an address that outlives machines: ADDRESS, or a free one.

    \b
    stratus reserve --pool public
    stratus run debian --address 192.0.2.7
    """
    server, _ = _connect()
    made = machines.reserve(server, address, choices.chosen_template(server, pool, POOL, "pool"), name)
    if as_json:
        output.show_json(made.as_json())
        return
    output.say(f"{made.label} is reserved")


@stratus.command()
@click.argument("wanted", metavar="ADDRESS")
@as_json_option
@connection_options
def release(wanted: str, as_json: bool) -> None:
    """Give a reserved address back.

    No machine may have it; it goes to whoever is next.
    """
    server, _ = _connect()
    found = machines.find_address(server, wanted)
    server.delete(found.entity.path)
    if as_json:
        output.show_json({"id": found.id, "address": found.address})
        return
    output.say(f"Released {found.label}")


@stratus.command("ssh")
@click.argument("wanted", metavar="[LOGIN@]MACHINE")
@click.argument("remote_command", nargs=-1, metavar="[-- COMMAND...]")
@click.option("-l", "--login", help="Whom to log in as.  [STRATUS_SSH_LOGIN, else root]")
@click.option("-p", "--port", type=click.IntRange(1, 65535), default=ssh.SSH_PORT, show_default=True)
@click.option("-i", "--identity", type=click.Path(exists=True, path_type=Path), help="Private key to log in with.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=SSH_WAIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a machine that is still starting.",
)
@connection_options
def ssh_(
    wanted: str,
    remote_command: tuple[str, ...],
    login: str | None,
    port: int,
    identity: Path | None,
    wait_seconds: float,
) -> None:
    """Log in to a machine, or run a command there.

    \b
    stratus ssh web
    stratus ssh debian@web -- systemctl status
    """
    server, settings = _connect()
    before, separator, after = wanted.rpartition("@")
    found = machines.find(server, after if separator else wanted)
    if found.state != MachineState.ACTIVE:
        raise StratusError(f"{found.label} is {found.state}: start it with `stratus start {found.label}`.")
    if not found.addresses:
        raise StratusError(f"{found.label} has no address to log in to.")
    address = ssh.checked_address(found.addresses[0])
    with output.progress(f"Waiting for {found.label} to answer at {address} port {port}..."):
        ssh.wait_for_port(address, port, wait_seconds)
    known_hosts = ssh.known_hosts_file(config.state_folder(os.environ), settings.endpoint, found.id)
    ssh.prepare_known_hosts(known_hosts)
    user = login or before or settings.ssh_login or "root"
    ssh.replace_process(
        ssh.arguments(ssh.Login(address, user, port, identity), known_hosts, remote_command),
    )


@stratus.command()
@click.argument("wanted", metavar="MACHINE")
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Only so many lines of its end.")
@click.option("--raw", is_flag=True, help="Leave control characters in, also on a terminal.")
@as_json_option
@connection_options
def console(wanted: str, lines: int | None, raw: bool, as_json: bool) -> None:
    """Print what a machine said on its console."""
    server, _ = _connect()
    found = machines.find(server, wanted)
    text = machines.console_text(server, found)
    if lines is not None:
        text = "".join(text.splitlines(keepends=True)[-lines:] if lines else [])
    if as_json:
        output.show_json({"id": found.id, "name": found.name, "log": text})
        return
    if not raw and sys.stdout.isatty():
        text = output.printable(output.without_escapes(text), lines=True)
    click.echo(text, nl=bool(text) and not text.endswith("\n"))


stratus.add_command(console, "log")


def _found(server: Server, wanted: Sequence[str]) -> list[Machine]:
    """The machines meant, each once; one that can't be found stops it all before anything happens."""
    found = {}
    for one in wanted:
        target = machines.find(server, one)
        found[target.id] = target
    return list(found.values())


def _bring(
    wanted: Sequence[str],
    action: str,
    state: MachineState | None,
    method: str | None,
    limit_seconds: float | None,
    as_json: bool,
) -> None:
    """Acts on machines and waits for the state; no state or no limit means not to wait."""
    server, _ = _connect()
    found = _found(server, wanted)
    idle = {one.id for one in found if one.state == state}
    for one in found:
        if one.id not in idle:
            machines.act(server, one, action, {"method": method} if method else {})
    done = []
    for one in found:
        if one.id in idle or state is None or limit_seconds is None:
            done.append(one if one.id in idle else machines.read(server, one.entity.path))
        else:
            done.append(_await(server, one, state, limit_seconds))
    if as_json:
        output.show_json([one.as_json() for one in done])
        return
    for one in done:
        if one.id in idle:
            output.say(f"{_called(one)} is {one.state} already")
        elif state is None or limit_seconds is None:
            output.say(f"{_called(one)}: {action} is under way")
        else:
            output.say(f"{_called(one)} is {one.state}")


def _await(server: Server, target: Machine, state: MachineState, limit_seconds: float) -> Machine:
    def told(now: Machine) -> str:
        message = f" ({now.state_message})" if now.state_message else ""
        return f"Waiting for {now.label} to be {state}: {now.state}{message}"

    try:
        with output.progress(told(target)) as change:
            return machines.wait_for_state(server, target, state, limit_seconds, lambda now: change(told(now)))
    except KeyboardInterrupt:
        output.note(f"No longer waiting; {_called(target)} goes on without you.")
        raise


def _called(one: Machine) -> str:
    short = names.short_ids([one.id])[one.id]
    return f"{one.label} ({short})" if one.label != one.id else one.id


def _arrival(one: Machine) -> str:
    where = f" at {', '.join(one.addresses)}" if one.addresses else ""
    return f"{_called(one)} is {one.state}{where}"


def _joined(*parts: str | None) -> str:
    return "  ".join(part for part in parts if part)


def _unless(value: str | None, usual: str) -> str | None:
    return None if value == usual else value


def main() -> None:
    """Runs the command and leaves with the documented exit status."""
    try:
        stratus(prog_name="stratus", standalone_mode=False)
    except StratusError as error:
        output.complain(error.message)
        sys.exit(error.exit_status)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
