"""Times: their form, and what moves them."""

from __future__ import annotations

from conformance.cdmi.fields import TIME, Fields
from conformance.cdmi.server import CHANGED, Server, check
from conformance.suite import Level, NotApplicable, expect, require


def times(metadata: Fields, *names: str) -> list[str]:
    missing = [name for name in names if name not in metadata]
    if missing:
        raise NotApplicable(f"the server has no {' nor '.join(missing)}")
    return [metadata[name] for name in names]


@check("times/format", "5.14, 16.3", "5.6, 16.2", "Times have six decimals and end in Z.")
def form(server: Server) -> None:
    found = {**server.metadata(server.home.url, "container"), **server.metadata(server.new_object().url)}
    shown = {name: found[name] for name in ("cdmi_ctime", "cdmi_mtime", "cdmi_atime") if name in found}
    if not shown:
        raise NotApplicable("the server has no times")
    for name, value in shown.items():
        require(isinstance(value, str) and TIME.fullmatch(value), f"{name} is {value!r}")


@check("times/new", "16.3", "16.2", "A new object was changed last when it was created.")
def new(server: Server) -> None:
    created, modified = times(server.new_object().fields["metadata"], "cdmi_ctime", "cdmi_mtime")
    require(created == modified, f"created at {created}, and modified at {modified}")


@check("times/modified", "16.3", "16.2", "An update moves cdmi_mtime and leaves cdmi_ctime.")
def modified(server: Server) -> None:
    made = server.new_object()
    server.needs("cdmi_modify_value", of=made.fields)
    created, first = times(made.fields["metadata"], "cdmi_ctime", "cdmi_mtime")
    expect(server.update(made.url, "object", {"value": "new"}), CHANGED, "an update")
    after, second = times(server.metadata(made.url), "cdmi_ctime", "cdmi_mtime")
    require(after == created, f"cdmi_ctime moved from {created} to {after}")
    require(second > first, f"cdmi_mtime is {second} after an update, it was {first}")


@check("times/read-modifies-nothing", "16.3", "16.2", "Reading leaves cdmi_mtime.")
def reading(server: Server) -> None:
    made = server.new_object()
    (first,) = times(made.fields["metadata"], "cdmi_mtime")
    server.octets(made.url)
    (second,) = times(server.metadata(made.url), "cdmi_mtime")
    require(second == first, f"cdmi_mtime moved from {first} to {second} by reading")


@check("times/child", "16.3", "16.2", "A change of a child is no change of its container.")
def child(server: Server) -> None:
    made = server.new_container()
    inner = server.new_object(parent=made)
    server.needs("cdmi_modify_value", of=inner.fields)
    (first,) = times(server.metadata(made.url, "container"), "cdmi_mtime")
    expect(server.update(inner.url, "object", {"value": "new"}), CHANGED, "an update")
    (second,) = times(server.metadata(made.url, "container"), "cdmi_mtime")
    require(second == first, f"cdmi_mtime of the container moved from {first} to {second}")


@check("times/not-for-clients", "16.3", "16.2", "A client without privilege can't set times.", Level.SHOULD)
def not_for_clients(server: Server) -> None:
    made = server.new_object()
    server.needs("cdmi_modify_metadata", of=made.fields)
    (before,) = times(server.metadata(made.url), "cdmi_ctime")
    sent = {"metadata": {"cdmi_ctime": "2001-01-01T00:00:00.000000Z"}}
    expect(server.update(made.url, "object", sent, "metadata:cdmi_ctime"), CHANGED, "an update that is ignored")
    (after,) = times(server.metadata(made.url), "cdmi_ctime")
    require(after == before, f"cdmi_ctime became {after}")
