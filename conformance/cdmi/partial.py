"""Values that come in several writes: X-CDMI-Partial and completionStatus."""

from __future__ import annotations

from conformance.cdmi.fields import base64_of, document
from conformance.cdmi.server import CHANGED, MADE, Server, check
from conformance.suite import expect, require

PARTIAL = [("X-CDMI-Partial", "true")]


def begun(server: Server) -> str:
    server.needs("cdmi_create_dataobject")
    url = server.new_url(".bin")
    sent = {"valuetransferencoding": "base64", "value": base64_of(b"begin ")}
    answer = server.put(url, "object", sent, PARTIAL)
    expect(answer, MADE, "a creation with X-CDMI-Partial")
    found = document(answer)["completionStatus"]
    require(found == "Processing", f"completionStatus is {found!r}, expected 'Processing'", answer)
    return url


def status(server: Server, url: str) -> str:
    answer = server.get(url, "object")
    expect(answer, {200, 202}, "an object that is being written")
    return str(document(answer)["completionStatus"])


@check("partial/create", "8.2.4", "8.3.4", "An object made with X-CDMI-Partial is Processing.")
def create(server: Server) -> None:
    require(status(server, begun(server)) == "Processing", "it is Processing in the answer and not when it is read")


@check("partial/no-value", "8.2.2, 8.3.6", "8.3.2, 8.4.6", "As long as it is Processing no value is answered.")
def no_value(server: Server) -> None:
    answer = server.get(begun(server), "object")
    expect(answer, {200, 202}, "an object that is being written")
    require("value" not in document(answer), "there is a value", answer)


@check("partial/complete", "8.4.3", "8.5.3", "The next write without the header makes it Complete.")
def complete(server: Server) -> None:
    url = begun(server)
    server.needs("cdmi_modify_value", of=server.look_at(url))
    sent = {"valuetransferencoding": "base64", "value": base64_of(b"whole")}
    expect(server.update(url, "object", sent), CHANGED, "a write without X-CDMI-Partial")
    fields = server.look(url, "object")
    require(fields["completionStatus"] == "Complete", f"completionStatus is {fields['completionStatus']!r}")
    require(server.octets(url) == b"whole", "the value is not what was written last")


@check("partial/continue", "8.4.3, 8.4.4", "8.5.3, 8.5.4", "Parts are added while it stays Processing.")
def go_on(server: Server) -> None:
    url = begun(server)
    server.needs("cdmi_modify_value_range", of=server.look_at(url))
    for span, octets, headers in (("value:6-9", b"and ", PARTIAL), ("value:10-12", b"end", [])):
        answer = server.update(url, "object", {"value": base64_of(octets)}, span, headers=headers)
        expect(answer, CHANGED, f"an update of {span}")
        wanted = "Processing" if headers else "Complete"
        require(status(server, url) == wanted, f"after {span} it is not {wanted}")
    require(server.octets(url) == b"begin and end", f"the value is {server.octets(url)!r}")


@check("partial/http", "6.2.3, 6.4.3", "6.2.3, 6.4.3", "X-CDMI-Partial works across CDMI and plain HTTP.")
def across_http(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    url = server.new_url(".bin")
    answer = server.http("PUT", url, PARTIAL, b"begin ", "application/octet-stream")
    expect(answer, {201}, "a plain PUT with X-CDMI-Partial")
    require(status(server, url) == "Processing", "an object made so is not Processing")
    server.needs("cdmi_modify_value_range", of=server.look_at(url))
    expect(server.update(url, "object", {"value": base64_of(b"end")}, "value:6-8"), CHANGED, "an update by CDMI")
    require(status(server, url) == "Complete", "an update without the header left it Processing")


@check("partial/update", "8.4.3", "8.5.3", "An update with the header makes a complete object Processing again.")
def update(server: Server) -> None:
    made = server.new_object()
    server.needs("cdmi_modify_value", of=made.fields)
    expect(server.update(made.url, "object", {"value": "x"}, headers=PARTIAL), CHANGED, "an update")
    require(status(server, made.url) == "Processing", "an update with X-CDMI-Partial left it Complete")
