"""The rows of the text rendering alone: no HTTP, no database."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.measure import BenchError, Row, alternate, median_ms
from renderers.occi.representation import CategoryId, Link, LinkEnd, Resource
from renderers.occi.text import as_body, parse_text, render_entity

INFRASTRUCTURE = "http://schemas.ogf.org/occi/infrastructure#"
COMPUTE = CategoryId(INFRASTRUCTURE, "compute")
ACTIONS = "http://schemas.ogf.org/occi/infrastructure/compute/action#"
MACHINE_ID = "3f0d6d4e-0a51-4a0b-9c36-6d3a4a3c2f10"
TIMES_A_ROUND = 300

LINES = {
    "Category": re.compile(r'([^;]+); scheme="([^"]*)"; class="([^"]*)"'),
    "Link": re.compile(r'<([^>]*)>((?:; [\w.]+=(?:"[^"]*"|[^;]*))*)'),
    "X-OCCI-Attribute": re.compile(r'([\w.]+)=(?:"([^"]*)"|(.*))'),
}


def _link(kind: str, target: str, number: int, attributes: dict[str, str]) -> Link:
    link_id = f"3f0d6d4e-0a51-4a0b-9c36-6d3a4a3c2f2{number}"
    return Link(
        kind=CategoryId(INFRASTRUCTURE, kind),
        id=link_id,
        location=f"/{kind}/{link_id}",
        source=LinkEnd(f"/compute/{MACHINE_ID}", COMPUTE),
        target=LinkEnd(f"/{target}/{link_id}", CategoryId(INFRASTRUCTURE, target)),
        attributes={f"occi.{kind}.{name}": value for name, value in attributes.items()},
    )


MACHINE = Resource(
    kind=COMPUTE,
    id=MACHINE_ID,
    location=f"/compute/{MACHINE_ID}",
    title="a machine",
    mixins=(CategoryId("http://schemas.ogf.org/occi/infrastructure/compute/template/1.1#", "small"),),
    attributes={
        "occi.compute.architecture": "x64",
        "occi.compute.cores": 1,
        "occi.compute.hostname": "vm1",
        "occi.compute.memory": 1.0,
        "occi.compute.state": "active",
    },
    actions=(CategoryId(ACTIONS, "stop"), CategoryId(ACTIONS, "restart"), CategoryId(ACTIONS, "suspend")),
    links=(
        _link("networkinterface", "network", 1, {"interface": "eth0", "mac": "52:54:00:00:00:01", "state": "active"}),
        _link("networkinterface", "network", 2, {"interface": "eth1", "mac": "52:54:00:00:00:02", "state": "active"}),
        _link("storagelink", "storage", 3, {"deviceid": "/dev/vdb", "state": "active"}),
    ),
)


def rendering_rows(rounds: int) -> Iterator[Row]:
    body = as_body(render_entity(MACHINE))
    if _joined(MACHINE) != body:
        raise BenchError(f"the join of strings is not what the renderer writes:\n{_joined(MACHINE)}\n\n{body}")
    value, yardstick_value = alternate(
        lambda: median_ms(lambda: parse_text(body), TIMES_A_ROUND) * 1000,
        lambda: median_ms(lambda: _matched(body), TIMES_A_ROUND) * 1000,
        rounds,
    )
    name = "parse a compute with 3 links (text/plain)"
    yield Row(name, value, "µs", "one compiled regex a line", yardstick_value, 6.0)
    value, yardstick_value = alternate(
        lambda: median_ms(lambda: as_body(render_entity(MACHINE)), TIMES_A_ROUND) * 1000,
        lambda: median_ms(lambda: _joined(MACHINE), TIMES_A_ROUND) * 1000,
        rounds,
    )
    name = "render a compute with 3 links (text/plain)"
    yield Row(name, value, "µs", "a join of strings", yardstick_value, 3.0)


def _matched(body: str) -> list[tuple[str, tuple[str, ...]]]:
    found = []
    for line in body.split("\n"):
        name, _, value = line.partition(": ")
        match = LINES[name].fullmatch(value)
        if match is None:
            raise BenchError(f"no expression fits the line {line}")
        found.append((name, match.groups()))
    return found


def _joined(machine: Resource) -> str:
    """What a programmer in a hurry writes: no value is checked or escaped."""
    lines = [
        f'Category: {machine.kind.term}; scheme="{machine.kind.scheme}"; class="kind"',
        *(f'Category: {mixin.term}; scheme="{mixin.scheme}"; class="mixin"' for mixin in machine.mixins),
    ]
    for link in machine.links:
        attributes = "".join([f'; {name}="{value}"' for name, value in link.attributes.items()])
        lines.append(
            f'Link: <{link.target.location}>; rel="{link.target.kind}"; self="{link.location}"; '
            f'category="{link.kind}"; occi.core.id="{link.id}"{attributes}'
        )
    lines += [f'Link: <{machine.location}?action={a.term}>; rel="{a.scheme}{a.term}"' for a in machine.actions]
    lines.append(f'X-OCCI-Attribute: occi.core.id="{machine.id}"')
    lines.append(f'X-OCCI-Attribute: occi.core.title="{machine.title}"')
    lines += [
        f'X-OCCI-Attribute: {name}="{value}"' if isinstance(value, str) else f"X-OCCI-Attribute: {name}={value}"
        for name, value in machine.attributes.items()
    ]
    return "\n".join(lines)
