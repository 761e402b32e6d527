"""What `stratus list` shows of each sort of thing: the table's columns and the JSON shapes."""

from __future__ import annotations

from collections.abc import Sequence

from stratus_client import machines, names, output
from stratus_client.occi import Server
from stratus_client.resources import IMAGE_TEMPLATE, SIZE_TEMPLATE, templates


def listing(server: Server, what: str) -> tuple[Sequence[str], list[dict[str, object]], list[list[str | None]]]:
    """Column headings, JSON shapes and rows of `what`, as `stratus list` names it."""
    match what:
        case "machines":
            found = machines.all_machines(server)
            short = names.short_ids([one.id for one in found])
            headings = ["ID", "NAME", "STATE", "ADDRESS", "IMAGE", "SIZE"]
            rows = [
                [short[one.id], one.name, one.state, ", ".join(one.addresses), one.image, one.size] for one in found
            ]
            if any(one.state_message for one in found):
                headings.append("MESSAGE")
                rows = [[*row, one.state_message] for row, one in zip(rows, found, strict=True)]
            return headings, [one.as_json() for one in found], rows
        case "networks":
            networks = machines.all_networks(server)
            short = names.short_ids([one.id for one in networks])
            return (
                ("ID", "NAME", "STATE", "ADDRESS"),
                [one.as_json() for one in networks],
                [[short[one.id], one.name, one.state, one.address] for one in networks],
            )
        case "addresses":
            addresses = machines.all_addresses(server)
            short = names.short_ids([one.id for one in addresses])
            return (
                ("ID", "NAME", "ADDRESS", "POOL", "USED"),
                [one.as_json() for one in addresses],
                [[short[one.id], one.name, one.address, one.pool, "yes" if one.used else "no"] for one in addresses],
            )
        case "disks":
            disks = machines.all_disks(server)
            short = names.short_ids([one.id for one in disks])
            return (
                ("ID", "NAME", "STATE", "SIZE"),
                [one.as_json() for one in disks],
                [[short[one.id], one.name, one.state, output.gibibytes(one.size_gib)] for one in disks],
            )
    offered = templates(server.catalogue, IMAGE_TEMPLATE if what == "images" else SIZE_TEMPLATE)
    return (
        ("NAME", "TITLE"),
        [one.as_json() for one in offered],
        [[one.id.term, one.title] for one in offered],
    )
