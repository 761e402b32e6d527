"""Actions: which are offered, how they are triggered, and what must be refused."""

from __future__ import annotations

from conformance.occi.reader import read
from conformance.occi.server import ACTIONS, INFRASTRUCTURE, TARGETS, Sent, Server, identify, suite
from conformance.suite import Level, NotApplicable, expect, require

check = suite.check

DONE = {200, 202}


def subject(server: Server) -> tuple[str, str]:
    """A kind with actions, the cheapest that there is, and an instance of it."""
    for term in TARGETS:
        kind = server.find(INFRASTRUCTURE + term)
        if kind is not None and kind.words("actions"):
            return term, server.create(term)
    raise NotApplicable("no kind of the server has actions")


def one_offered(server: Server) -> tuple[str, str, str]:
    """An instance and the action that it offers now which leads to another state."""
    term, url = subject(server)
    server.wait_until(
        lambda: any(action in TARGETS[term] for action in server.offered(url)),
        f"{url} offers one of the actions {', '.join(TARGETS[term])}",
    )
    action = next(action for action in server.offered(url) if action in TARGETS[term])
    return term, url, action


@check(
    "actions/offered",
    "GFD.185 §3.4.4, §3.5.3; GFD.184 §3.1-3.3; GFD.229 §5.1.1",
    "An instance offers actions, each one that its kind or mixins define and each at its own URL.",
)
def offered(server: Server) -> None:
    term, url, _ = one_offered(server)
    answer = server.look_at(url)
    rendering = read(answer)
    known = {
        action
        for category in rendering.category_ids()
        for found in [server.find(category)]
        if found is not None
        for action in found.words("actions")
    }
    for link in rendering.action_links():
        relation = link.parameters.get("rel", "")
        require(relation in known, f"{relation} is no action of {term}", answer)
        target = server.wire.absolute(link.head).partition("?")[0]
        require(target == url, f"the action {relation} is at {target}, expected {url}", answer)


@check(
    "actions/applicable-only",
    "GFD.185 §3.4.4; GFD.229 §5.1.1",
    "Only actions that apply in the present state are offered.",
    Level.SHOULD,
)
def applicable_only(server: Server) -> None:
    term, url = subject(server)
    state = server.state(url, term)
    actions = server.offered(url)
    pointless = [action for action, target in TARGETS[term].items() if target == state and action in actions]
    require(not pointless, f"{', '.join(pointless)} is offered in state {state}", server.last_exchange)


@check(
    "actions/perform",
    "GFD.185 §3.4.4; GFD.223 §10.3.2",
    "An action that is offered is answered 200 and leads to its target state.",
)
def perform(server: Server) -> None:
    term, url, action = one_offered(server)
    expect(server.act(url, term, action), DONE, f"the action {action}")
    wanted = TARGETS[term][action]
    server.wait_until(lambda: server.state(url, term) == wanted, f"{url} is {wanted} after {action}")


@check(
    "actions/perform-in-headers",
    "GFD.185 §3.4.4, §3.6.6.2; GFD.229 §5.1.1.1, §7",
    "An action can be triggered with text/occi.",
)
def perform_in_headers(server: Server) -> None:
    term, url, action = one_offered(server)
    category = identify(ACTIONS.format(term) + action, "action")
    answer = server.send_in_headers("POST", f"{url}?action={action}", Sent((category,)))
    expect(answer, DONE, f"the action {action} in headers")
    wanted = TARGETS[term][action]
    server.wait_until(lambda: server.state(url, term) == wanted, f"{url} is {wanted} after {action}")


@check(
    "actions/unavailable",
    "GFD.185 §3.4.4",
    "An action that doesn't apply in the present state is answered 400.",
    Level.SHOULD,
)
def unavailable(server: Server) -> None:
    term, url, action = one_offered(server)
    expect(server.act(url, term, action), DONE, f"the action {action}")
    wanted = TARGETS[term][action]
    server.wait_until(lambda: server.state(url, term) == wanted, f"{url} is {wanted}")
    expect(server.act(url, term, action), {400}, f"{action} in state {wanted}")


@check("actions/unknown", "GFD.185 §3.6.8", "An action that doesn't exist is refused with 404 or 400.")
def unknown(server: Server) -> None:
    _, url = subject(server)
    category = identify("http://conformance.example.com/nowhere#nothing", "action")
    answer = server.send("POST", f"{url}?action=nothing", Sent((category,)))
    expect(answer, {400, 404}, "an unknown action")


@check(
    "actions/category-missing",
    "GFD.185 §3.4.4; GFD.223 §10.3.2",
    "An action without its category in the request is refused.",
)
def category_missing(server: Server) -> None:
    _, url, action = one_offered(server)
    answer = server.send("POST", f"{url}?action={action}", Sent())
    expect(answer, {400, 404}, "an action without a category")


@check(
    "actions/mismatch",
    "GFD.223 §10.3.2",
    "A query that names another action than the body is refused.",
    Level.SHOULD,
)
def mismatch(server: Server) -> None:
    term, url, action = one_offered(server)
    other = next(name for name in TARGETS[term] if name != action)
    category = identify(ACTIONS.format(term) + other, "action")
    answer = server.send("POST", f"{url}?action={action}", Sent((category,)))
    expect(answer, {400, 404, 409}, f"?action={action} with the category of {other}")


@check(
    "actions/unknown-instance",
    "GFD.185 §3.6.8",
    "An action on what doesn't exist is answered 404.",
)
def unknown_instance(server: Server) -> None:
    term, _, action = one_offered(server)
    answer = server.act(server.collection(term) + "nothing-is-here", term, action)
    expect(answer, {404}, "an action on nothing")


@check(
    "actions/wrong-parameter",
    "GFD.184 §3.1; GFD.185 §3.6.8",
    "A parameter's value that the action doesn't know is answered 400.",
    Level.SHOULD,
)
def wrong_parameter(server: Server) -> None:
    server.kind("compute")
    url = server.shared("compute")
    server.wait_until(
        lambda: bool({"stop", "restart", "suspend"} & set(server.offered(url)) or server.offered(url)),
        f"{url} offers an action",
    )
    actions = server.offered(url)
    action = next((name for name in ("stop", "restart", "suspend") if name in actions), "stop")
    answer = server.act(url, "compute", action, ['method="conformance-nothing"'])
    expect(answer, {400}, f"{action} with a method that doesn't exist")
