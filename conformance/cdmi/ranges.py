"""Parts of values by CDMI: reading and writing them, and the gaps that writing leaves."""

from __future__ import annotations

from conformance.cdmi.fields import base64_of, octets_of
from conformance.cdmi.server import CHANGED, Server, Thing, check
from conformance.suite import Level, expect, require

DIGITS = "0123456789"


def readable(server: Server, value: str = DIGITS) -> Thing:
    made = server.new_object(value)
    server.needs("cdmi_read_value_range", of=made.fields)
    return made


def writable(server: Server, value: str = DIGITS) -> Thing:
    made = server.new_object(value)
    server.needs("cdmi_modify_value_range", of=made.fields)
    return made


def write(server: Server, made: Thing, first: int, octets: bytes) -> None:
    span = f"value:{first}-{first + len(octets) - 1}"
    answer = server.update(made.url, "object", {"value": base64_of(octets)}, span)
    expect(answer, CHANGED, f"an update of {span}")


@check("ranges/read", "8.1, 8.3.1", "8.2.3, 8.4.1", "A part of a value is read, both ends included, in base64.")
def read(server: Server) -> None:
    found = server.look(readable(server).url, "object", "value:2-5")["value"]
    require(octets_of(found) == b"2345", f"value:2-5 of {DIGITS!r} is {found!r}, expected {base64_of(b'2345')!r}")


@check("ranges/read-inside-character", "8.1", "8.2.3", "A part may begin and end inside a character of UTF-8.")
def inside_character(server: Server) -> None:
    found = server.look(readable(server, "☃☃").url, "object", "value:1-3")["value"]
    require(octets_of(found) == "☃☃".encode()[1:4], f"value:1-3 is {found!r}")


@check("ranges/valuerange", "8.3.6", "8.4.6", "valuerange says which part came.")
def valuerange(server: Server) -> None:
    found = server.look(readable(server).url, "object", "valuerange", "value:2-5")
    require(found["valuerange"] == "2-5", f"valuerange is {found['valuerange']!r}, expected '2-5'")


@check("ranges/clipped", "8.3.6", "8.4.6", "What reaches beyond the end is cut there, and valuerange says so.")
def clipped(server: Server) -> None:
    found = server.look(readable(server).url, "object", "valuerange", "value:7-99")
    require(octets_of(found["value"]) == b"789", f"value:7-99 is {found['value']!r}")
    require(found["valuerange"] == "7-9", f"valuerange is {found['valuerange']!r}, expected '7-9'")


@check("ranges/malformed", "8.3.7", "8.4.7", "What is no range is answered 400.")
def malformed(server: Server) -> None:
    made = readable(server)
    for wrong in ("value:5-2", "value:x-y", "value:-"):
        expect(server.get(made.url, "object", wrong), {400}, f"the range {wrong}")


@check("ranges/write", "8.4.4", "8.5.4", "A part of a value is written in its place.")
def write_part(server: Server) -> None:
    made = writable(server)
    write(server, made, 3, b"xyz")
    require(server.octets(made.url) == b"012xyz6789", f"the value is {server.octets(made.url)!r}")


@check("ranges/write-encoding", "8.4.4", "8.5.4", "Writing a part makes the encoding base64.")
def write_encoding(server: Server) -> None:
    made = writable(server)
    write(server, made, 3, b"xyz")
    found = server.look(made.url, "object")["valuetransferencoding"]
    require(found == "base64", f"valuetransferencoding is {found!r}, expected 'base64'")


@check("ranges/write-not-base64", "8.1, 8.4.4", "8.2.3, 8.5.4", "A part that is not base64 is answered 400.")
def write_not_base64(server: Server) -> None:
    made = writable(server)
    answer = server.update(made.url, "object", {"value": "%%%"}, "value:0-2")
    expect(answer, {400}, "a part that is no base64")
    require(server.octets(made.url) == DIGITS.encode(), "a refused part changed the value")


@check("ranges/write-longer", "8.4.4", "8.5.4", "Writing at the end makes the value longer.")
def write_longer(server: Server) -> None:
    made = writable(server)
    write(server, made, 10, b"abc")
    require(server.octets(made.url) == b"0123456789abc", f"the value is {server.octets(made.url)!r}")


@check("ranges/gap", "8.1.2, 8.4.4", "8.2.6, 8.5.4", "A gap reads as zeros.")
def gap(server: Server) -> None:
    made = writable(server)
    write(server, made, 14, b"end")
    require(server.octets(made.url) == b"0123456789\0\0\0\0end", f"the value is {server.octets(made.url)!r}")


@check("ranges/gap-size", "8.3.6, 8.4.4", "8.4.6, 8.5.4", "Gaps count in cdmi_size.")
def gap_size(server: Server) -> None:
    made = writable(server)
    write(server, made, 14, b"end")
    found = server.metadata(made.url).get("cdmi_size", "17")
    require(found == "17", f"cdmi_size is {found!r}, expected '17'")


@check("ranges/gap-valuerange", "8.3.6", "8.4.6", "valuerange ends where the first gap begins.", Level.SHOULD)
def gap_valuerange(server: Server) -> None:
    # A gap "shall be treated as if zeros had been written" (§8.4.4): a server that forgets them says the whole.
    made = writable(server)
    write(server, made, 14, b"end")
    found = server.look(made.url, "object")["valuerange"]
    require(found in ("0-9", "0-16"), f"valuerange is {found!r}, expected '0-9' or '0-16'")


@check("ranges/gap-read", "6.3.2", "6.3.2", "A part inside a gap is read as zeros.")
def gap_read(server: Server) -> None:
    made = writable(server)
    server.needs("cdmi_read_value_range", of=made.fields)
    write(server, made, 14, b"end")
    found = server.look(made.url, "object", "value:9-14")["value"]
    require(octets_of(found) == b"9\0\0\0\0e", f"value:9-14 is {octets_of(found)!r}")
