"""Whole collections, acted on and emptied: last of all, and only where just the run's own would be hit."""

from __future__ import annotations

from conformance.occi.actions import DONE
from conformance.occi.entities import GONE
from conformance.occi.reader import read
from conformance.occi.server import ACTIONS, INFRASTRUCTURE, TARGETS, V11, Sent, Server, identify, suite
from conformance.suite import NotApplicable, expect, require

check = suite.check


def cleared(server: Server) -> tuple[str, str]:
    """A kind and its collection, which is empty; not applicable if others have instances in all of them."""
    server.clean_all()
    for term in TARGETS:
        kind = server.find(INFRASTRUCTURE + term)
        if kind is not None and kind.words("actions") and not server.listed(server.collection(term)):
            return term, server.collection(term)
    raise NotApplicable("every collection holds instances that the run did not make")


@check(
    "batch/action",
    "GFD.185 §3.4.3; GFD.223 §11.3.3",
    "An action on a collection is answered 200 and reaches every instance in it.",
)
def action(server: Server) -> None:
    term, collection = cleared(server)
    urls = [server.create(term), server.create(term)]
    changing: list[tuple[str, str]] = []

    def change_offered() -> bool:
        """What is new may still be on its way to another state, in which it offers other actions."""
        states, offers = {server.state(url, term) for url in urls}, [server.offered(url) for url in urls]
        changing[:] = [
            (name, state)
            for name, state in TARGETS[term].items()
            if state not in states and all(name in offer for offer in offers)
        ]
        return bool(changing)

    server.wait_until(change_offered, "all instances offer an action that changes their state")
    name, wanted = changing[0]
    category = identify(ACTIONS.format(term) + name, "action")
    answer = server.send("POST", f"{collection}?action={name}", Sent((category,)))
    expect(answer, DONE, f"the action {name} on a collection")
    for url in urls:
        server.wait_until(
            lambda url=url: server.state(url, term) == wanted,  # type: ignore[misc]
            f"{url} is {wanted} after {name} on its collection",
        )


@check(
    "batch/delete",
    "GFD.185 §3.2, §3.4.3; GFD.223 §11.4.1",
    "DELETE on a kind's collection deletes all its instances.",
)
def delete(server: Server) -> None:
    term, collection = cleared(server)
    urls = [server.create(term), server.create(term)]
    expect(server.request("DELETE", collection), {200, 204}, "DELETE on a kind's collection")
    for url in urls:
        server.wait_until(
            lambda url=url: server.get(url).status in GONE,  # type: ignore[misc]
            f"{url} is gone with its collection",
        )
    require(not server.listed(collection), "the collection still lists instances")


@check(
    "batch/below-a-path",
    "GFD.185 §3.4.2",
    "GET on a path lists the instances below it, DELETE deletes just those.",
    versions=V11,
)
def below_a_path(server: Server) -> None:
    term = server.a_resource_kind()
    path = server.wire.absolute(f"/{server.prefix}-below/")
    answer = server.send("PUT", path + "one", server.minimal(term))
    if answer.status in (400, 403, 404, 405):
        raise NotApplicable("the server doesn't let clients choose paths")
    expect(answer, {200, 201}, "PUT to a new path")
    server._made.append(path + "one")
    outside = server.create(term)
    listing = server.look_at(path)
    found = [server.wire.absolute(location) for location in read(listing).locations]
    require(found == [path + "one"], f"{path} lists {found}, expected {path}one", listing)
    expect(server.request("DELETE", path), {200, 204}, "DELETE on a path")
    server.wait_until(lambda: server.get(path + "one").status in GONE, f"{path}one is gone")
    require(server.get(outside).status == 200, f"{outside}, which is not below {path}, went too")
