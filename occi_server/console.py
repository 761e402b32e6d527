"""The consoles of a machine as links, which follow from the machine and can't be made by clients.

There are two: the display, while it runs, and the log of what the guest wrote to its serial port.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID, uuid5

from backends.model import Machine
from occi_server import names
from occi_server.templates import Templates
from renderers.occi.representation import AttributeValue, CategoryId, Link, LinkEnd

LOCATION = "/consolelink/"
LOG = "/console-log"
"""Below a compute's own path."""
IDENTITIES = UUID("5f0c3c52-6a41-4a35-9c56-3b1d9f2b7a10")
"""The name space (RFC 9562 §5.5) in which a console's identity follows from its machine's."""


def of_machine(machine: Machine, templates: Templates) -> tuple[Link, ...]:
    return tuple(link for link in (display(machine, templates), log(machine, templates)) if link is not None)


def display(machine: Machine, templates: Templates) -> Link | None:
    if machine.console is None:
        return None
    target = LinkEnd(f"vnc://{machine.console}", templates.console_target)
    password = machine.console_password
    secrets = {} if password is None else {templates.console_password.name: password}
    return _link(machine, templates.console_kind, str(machine.id), target, "Console", secrets)


def log(machine: Machine, templates: Templates) -> Link | None:
    if not machine.has_console_log:
        return None
    target = LinkEnd(f"/compute/{machine.id}{LOG}", templates.console_log_target)
    return _link(machine, templates.console_kind, f"{machine.id}/log", target, "Console log", {})


def _link(
    machine: Machine,
    kind: CategoryId,
    path: str,
    target: LinkEnd,
    title: str,
    attributes: Mapping[str, AttributeValue],
) -> Link:
    return Link(
        kind=kind,
        id=uuid5(IDENTITIES, path).urn,
        location=LOCATION + path,
        source=LinkEnd(f"/compute/{machine.id}", names.COMPUTE),
        target=target,
        title=title,
        attributes=attributes,
    )
