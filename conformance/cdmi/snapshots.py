"""Snapshots of containers: made by an update, found below cdmi_snapshots/, restored by a copy."""

from __future__ import annotations

from conformance.cdmi.server import CHANGED, GONE, Server, Thing, check
from conformance.suite import Exchange, expect, require


def source_of(server: Server) -> tuple[Thing, Thing]:
    """A container that can be snapshot, and a data object in it."""
    server.needs_system("cdmi_snapshots")
    made = server.new_container()
    server.needs("cdmi_snapshot", of=made.fields)
    return made, server.new_object("before", parent=made)


def snapshot(server: Server, made: Thing, name: str = "first") -> str:
    """Take one and answer its URL. The table has 204 and 202, an example of 2.0 §14.2.2 shows 201: all are taken."""
    answer: Exchange = server.update(made.url, "container", {"snapshot": name})
    expect(answer, {201, 202, 204}, "a snapshot")
    url = f"{made.url}cdmi_snapshots/{name}/"
    server.settled(url, "container")
    return url


@check("snapshots/create", "9.4.8, 14", "9.5.8, 14.2", "A snapshot is a container below cdmi_snapshots/.")
def create(server: Server) -> None:
    made, _ = source_of(server)
    found = server.look(snapshot(server, made), "container")
    require(found["objectType"] == "application/cdmi-container", f"it is {found['objectType']!r}")
    require(found["objectID"] != made.fields["objectID"], "it has its source's ID")


@check("snapshots/listed", "9.3.6", "9.4.6", "The field snapshots lists it.")
def listed(server: Server) -> None:
    made, _ = source_of(server)
    url = snapshot(server, made)
    found = server.look(made.url, "container")["snapshots"]
    there = [uri for uri in found if url in (one.rstrip("/") + "/" for one in server.resolved(uri))]
    require(len(found) == 1 and there, f"snapshots is {found}, expected the URI of {url}")


@check("snapshots/image", "14", "14.1", "It holds what was there when it was taken.")
def image(server: Server) -> None:
    made, inner = source_of(server)
    server.needs("cdmi_modify_value", of=inner.fields)
    url = snapshot(server, made)
    expect(server.update(inner.url, "object", {"value": "after"}), CHANGED, "an update")
    found = server.look(url + inner.fields["objectName"], "object")["value"]
    require(found == "before", f"the value in the snapshot is {found!r}, expected 'before'")


@check("snapshots/no-snapshots-inside", "14", "14.1", "It holds no cdmi_snapshots/ of its source.")
def none_inside(server: Server) -> None:
    made, inner = source_of(server)
    snapshot(server, made)
    found = server.children(snapshot(server, made, "second"))
    require(found == [inner.fields["objectName"]], f"children of the snapshot is {found}")


@check("snapshots/again", "9.4.5", "9.5.5", "One of the same name takes the old one's place.")
def again(server: Server) -> None:
    made, inner = source_of(server)
    server.needs("cdmi_modify_value", of=inner.fields)
    snapshot(server, made)
    expect(server.update(inner.url, "object", {"value": "after"}), CHANGED, "an update")
    url = snapshot(server, made)
    found = server.look(url + inner.fields["objectName"], "object")["value"]
    require(found == "after", f"the value in the second snapshot is {found!r}")
    listed_now = server.look(made.url, "container")["snapshots"]
    require(len(listed_now) == 1, f"snapshots is {listed_now}, expected one")


@check("snapshots/restore", "14", "14.2", "A copy of it onto its source restores what was there.")
def restore(server: Server) -> None:
    made, inner = source_of(server)
    server.needs("cdmi_copy_container")
    server.needs("cdmi_modify_value", of=inner.fields)
    url = snapshot(server, made)
    expect(server.update(inner.url, "object", {"value": "after"}), CHANGED, "an update")
    expect(server.update(made.url, "container", {"copy": server.path_of(url)}), CHANGED, "a copy of the snapshot")
    server.settled(made.url, "container")
    found = server.look(inner.url, "object")["value"]
    require(found == "before", f"the value after restoring is {found!r}, expected 'before'")


@check("snapshots/delete", "14, 9.5", "14.3", "DELETE removes a snapshot and leaves its source.")
def delete(server: Server) -> None:
    made, inner = source_of(server)
    url = snapshot(server, made)
    expect(server.delete(url), CHANGED, "DELETE of a snapshot")
    expect(server.get(url, "container"), GONE, "a deleted snapshot")
    expect(server.get(inner.url, "object"), {200}, "what lies in the source of a deleted snapshot")


@check("snapshots/delete-source", "9.5.1", "9.6.1", "With its container a snapshot goes too.")
def delete_source(server: Server) -> None:
    made, _ = source_of(server)
    url = snapshot(server, made)
    expect(server.delete(made.url), CHANGED, "DELETE of a container with a snapshot")
    expect(server.get(url, "container"), GONE, "a snapshot of a deleted container")
