"""Retention and holds: what is under either can be neither changed nor deleted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from conformance.cdmi.fields import TIME, moment, written
from conformance.cdmi.server import CHANGED, Server, Thing, check
from conformance.suite import CheckFailed, Exchange, Level, NotApplicable, expect, require

FIRST_SECONDS = 2.0
LONGEST_SECONDS = 60.0
CAPABILITY = "cdmi_data_retention"


def period(seconds: float) -> str:
    """An interval from an hour ago until some seconds from now."""
    now = datetime.now(UTC)
    return f"{written(now - timedelta(hours=1))}/{written(now + timedelta(seconds=seconds))}"


def retained(server: Server, seconds: float, parent: Thing | None = None) -> tuple[Thing, str]:
    made = server.new_object("kept", parent)
    server.needs(CAPABILITY, "cdmi_modify_metadata", of=made.fields)
    interval = period(seconds)
    set_retention(server, made, interval, CHANGED)
    return made, interval


def set_retention(server: Server, made: Thing, interval: str, statuses: set[int]) -> None:
    answer = server.update(
        made.url, "object", {"metadata": {"cdmi_retention_period": interval}}, "metadata:cdmi_retention_period"
    )
    expect(answer, statuses, f"cdmi_retention_period {interval}")


def while_retained(server: Server, ask: Callable[[Thing], Exchange], what: str, parent: Thing | None = None) -> None:
    """What is asked of a retained object is answered 403; asked again for longer if the period ended meanwhile."""
    seconds = FIRST_SECONDS
    while True:
        made, interval = retained(server, seconds, parent)
        answer = ask(made)
        if datetime.now(UTC) < moment(interval.partition("/")[2]) or answer.status == 403:
            expect(answer, {403}, what)
            return
        if seconds > LONGEST_SECONDS:
            raise CheckFailed(f"{what}: the server needs longer than {seconds:g} s for an answer", answer)
        seconds *= 4


@check("retention/delete", "17.3.1", "18.3.1", "What is under retention can't be deleted: 403.")
def delete(server: Server) -> None:
    while_retained(server, lambda made: server.delete(made.url), "DELETE of an object under retention")


@check("retention/delete-container", "17.3.1", "18.3.1", "Nor with the container in which it lies.")
def delete_container(server: Server) -> None:
    outer = server.new_container()
    server.needs("cdmi_delete_container", of=outer.fields)
    what = "DELETE of a container with an object under retention"
    while_retained(server, lambda _: server.delete(outer.url), what, outer)


@check("retention/change", "17.3.1", "18.3.1", "Nor can its value be changed: 403.")
def change(server: Server) -> None:
    while_retained(
        server,
        lambda made: server.update(made.url, "object", {"value": "changed"}),
        "a new value for an object under retention",
    )


@check("retention/change-http", "17.3.1", "18.3.1", "Nor by plain HTTP.")
def change_http(server: Server) -> None:
    while_retained(
        server,
        lambda made: server.http("PUT", made.url, body=b"changed", content_type="text/plain"),
        "a plain PUT on an object under retention",
    )


@check("retention/shorten", "16.4, 17.3.1", "16.3, 18.3.1", "The period can't be made shorter: 403.")
def shorten(server: Server) -> None:
    def ask(made: Thing) -> Exchange:
        sent = {"metadata": {"cdmi_retention_period": period(0.1)}}
        return server.update(made.url, "object", sent, "metadata:cdmi_retention_period")

    while_retained(server, ask, "a shorter retention period")


@check("retention/lengthen", "17.3.1", "18.3.1", "The period can be made longer.")
def lengthen(server: Server) -> None:
    made, interval = retained(server, FIRST_SECONDS)
    longer = f"{interval.partition('/')[0]}/{period(FIRST_SECONDS + 0.5).partition('/')[2]}"
    set_retention(server, made, longer, CHANGED)
    found = server.metadata(made.url)["cdmi_retention_period"]
    require(found == longer, f"cdmi_retention_period is {found!r}, expected {longer!r}")


@check(
    "retention/lengthen-and-move",
    "17.3.2",
    "18.3.2",
    "The longer period may begin later, as long as it has begun.",
    Level.SHOULD,
)
def lengthen_and_move(server: Server) -> None:
    made, _ = retained(server, FIRST_SECONDS)
    set_retention(server, made, period(FIRST_SECONDS + 0.5), CHANGED)


@check("retention/read", "17.3.1", "18.3.1", "What is under retention can be read.")
def read(server: Server) -> None:
    made, interval = retained(server, FIRST_SECONDS)
    found = server.look(made.url, "object")
    require(found["value"] == "kept", f"the value is {found['value']!r}")
    require(found["metadata"]["cdmi_retention_period"] == interval, "cdmi_retention_period is another")
    require(all(TIME.fullmatch(end) for end in interval.split("/")), "the interval is not of the right form")


@check("retention/malformed", "16.4", "16.3", "A period that is no interval is answered 400.")
def malformed(server: Server) -> None:
    made = server.new_object()
    server.needs(CAPABILITY, "cdmi_modify_metadata", of=made.fields)
    backwards = "/".join(reversed(period(60.0).split("/")))
    for wrong in ("soon", "2030-01-01", "2030-01-01T00:00:00.000000Z", backwards):
        set_retention(server, made, wrong, {400})


@check("retention/over", "17.3.1", "18.3.1", "When the period is over the object can be deleted.")
def over(server: Server) -> None:
    made = server.new_object()
    server.needs(CAPABILITY, "cdmi_modify_metadata", of=made.fields)
    set_retention(server, made, period(-60.0), CHANGED)
    expect(server.delete(made.url), CHANGED, "DELETE of an object whose retention is over")


@check("retention/not-copied", "17.3.1", "18.3.1", "A copy is under no retention.")
def not_copied(server: Server) -> None:
    server.needs("cdmi_copy_dataobject")
    made, _ = retained(server, FIRST_SECONDS)
    copy = server.make("object", {"copy": server.path_of(made.url)}, server.new_url(".txt"))
    require("cdmi_retention_period" not in copy.fields["metadata"], "the copy has a retention period")
    expect(server.delete(copy.url), CHANGED, "DELETE of a copy of an object under retention")


def held(server: Server) -> Thing:
    if not server.holds:
        raise NotApplicable("what is on hold stays for ever; ask for it with --holds")
    made = server.new_object("held")
    server.needs("cdmi_data_holds", "cdmi_modify_metadata", of=made.fields)
    answer = hold(server, made, ["first", "second"])
    expect(answer, CHANGED, "cdmi_hold_id")
    return made


def hold(server: Server, made: Thing, identifiers: list[str]) -> Exchange:
    """An array, as CDMI 1.1.1 Table 119 has it; the examples of §17.4.2 show an object."""
    return server.update(made.url, "object", {"metadata": {"cdmi_hold_id": identifiers}}, "metadata:cdmi_hold_id")


@check("retention/hold-delete", "17.4.1", "18.4.1", "What is on hold can't be deleted: 403.")
def hold_delete(server: Server) -> None:
    expect(server.delete(held(server).url), {403}, "DELETE of an object on hold")


@check("retention/hold-change", "17.4.1", "18.4.1", "What is on hold can't be changed: 403.")
def hold_change(server: Server) -> None:
    answer = server.update(held(server).url, "object", {"value": "changed"})
    expect(answer, {403}, "a new value for an object on hold")


@check("retention/hold-release", "16.4, 17.4.1", "16.3, 18.4.1", "Holds can't be taken away: 403.")
def hold_release(server: Server) -> None:
    expect(hold(server, held(server), ["first"]), {403}, "taking away a hold")


@check("retention/hold-more", "17.4.1", "18.4.1", "More holds can be added.")
def hold_more(server: Server) -> None:
    made = held(server)
    expect(hold(server, made, ["first", "second", "third"]), CHANGED, "one hold more")
    found = server.metadata(made.url)["cdmi_hold_id"]
    require(sorted(found) == ["first", "second", "third"], f"cdmi_hold_id is {found!r}")
