"""Version negotiation: the header of 1.x, and its absence in 2.0."""

from __future__ import annotations

from conformance.cdmi.dialect import VERSION_HEADER
from conformance.cdmi.fields import document
from conformance.cdmi.server import REFUSED, Server, check
from conformance.suite import Exchange, Level, expect, require


def asking(server: Server, versions: str) -> Exchange:
    return server.request("GET", server.home.url, accept="container", headers=[(VERSION_HEADER, versions)])


@check("versions/answered", "9.3.5, 12.2.5", "", "The answer to a CDMI request names one version in its header.")
def answered(server: Server) -> None:
    answer = server.get(server.home.url, "container")
    found = answer.header_values(VERSION_HEADER)
    require(len(found) == 1, f"{VERSION_HEADER} is {found}, expected one", answer)
    require("," not in found[0] and found[0].strip(), f"{VERSION_HEADER} is {found[0]!r}, expected one version", answer)


@check("versions/answered-among-asked", "9.3.5", "", "The version that is answered is one that the client named.")
def answered_among_asked(server: Server) -> None:
    answer = asking(server, "1.1, 1.1.1")
    found = answer.header(VERSION_HEADER)
    require(found in ("1.1", "1.1.1"), f"asked for 1.1 or 1.1.1, the answer is {found!r}", answer)


@check("versions/one-asked", "9.3.5", "", "A client that names a single version gets that one, or 400.")
def one_asked(server: Server) -> None:
    for version in ("1.1", "1.1.1"):
        answer = asking(server, version)
        expect(answer, {200, 400}, f"a client of version {version}")
        found = answer.header(VERSION_HEADER)
        require(answer.status == 400 or found == version, f"asked for {version}, answered {found!r}", answer)


@check("versions/highest", "9.3.5", "", "Versions that the server can't speak are passed over in the client's list.")
def highest(server: Server) -> None:
    usual = asking(server, server.dialect.claimed).header(VERSION_HEADER)
    answer = asking(server, f"0.9,{server.dialect.claimed},  97.1, 98.0.3")
    expect(answer, {200}, "a list in which one version is the server's")
    found = answer.header(VERSION_HEADER)
    require(found == usual, f"the answer is in version {found!r}, expected {usual!r}", answer)


@check("versions/none-in-common", "9.3.5, 12.2.5", "", "Without a version in common the answer is 400.")
def none_in_common(server: Server) -> None:
    expect(asking(server, "97.1, 98.0.3"), {400}, "a client of versions 97.1 and 98.0.3")


@check(
    "versions/header-missing",
    "9.3.3",
    "",
    "A CDMI request without the header is refused, unless the server speaks 2.0 there.",
    Level.SHOULD,
)
def header_missing(server: Server) -> None:
    answer = server.request("GET", server.home.url, accept="container", cdmi=False)
    if answer.status == 200:  # CDMI 2.0 §5.7.1: 2.x servers take the header's absence as a client of 2.x
        require(not answer.header(VERSION_HEADER), "a request without version is answered in 1.x", answer)


@check("versions/no-header", "", "5.7.1", "Clients of 2.0, which send no version header, are served.")
def no_header(server: Server) -> None:
    answer = server.get(server.home.url, "container")
    expect(answer, {200}, "a CDMI request without version header")
    require("objectID" in document(answer), "the answer has no objectID", answer)


@check("versions/no-1.x-in-2.0", "", "5.7.1", "Answers in 2.0 carry no version header.", Level.SHOULD)
def no_old_header(server: Server) -> None:
    answer = server.get(server.home.url, "container")
    require(not answer.header(VERSION_HEADER), f"{VERSION_HEADER} is {answer.header(VERSION_HEADER)!r}", answer)


@check("versions/patch-missing", "", "8.5.1, 9.5.1", "PATCH on what doesn't exist is answered 404.")
def patch_missing(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    answer = server.update(server.new_url(".txt"), "object", {"value": "x"})
    expect(answer, {404}, "an update of an object that doesn't exist")


@check("versions/capabilities-unchangeable", "12.1", "12.2", "Capabilities can't be changed by clients.", Level.SHOULD)
def capabilities_unchangeable(server: Server) -> None:
    url = f"{server.root}cdmi_capabilities/"
    answer = server.update(url, "capability", {"capabilities": {}})
    expect(answer, REFUSED, "a change of the capabilities")
