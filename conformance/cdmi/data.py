"""Data objects by CDMI: creation, reading, fields, encodings, updates, deletion."""

from __future__ import annotations

import threading
from typing import Any

from conformance.cdmi.dialect import CDMI_2
from conformance.cdmi.fields import base64_of, document, octets_of
from conformance.cdmi.server import CHANGED, GONE, MADE, Server, check
from conformance.suite import Exchange, Level, expect, require
from conformance.wire import Wire

BINARY = bytes(range(256))
CREATED = (
    "objectType", "objectID", "objectName", "parentURI", "parentID", "capabilitiesURI", "completionStatus", "mimetype",
    "metadata",
)  # fmt: skip
READ = (*CREATED, "valuerange", "valuetransferencoding", "value")


def has(answer: Exchange, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in document(answer)]
    require(not missing, f"the answer lacks {', '.join(missing)}", answer)


@check("data/create", "8.2.8", "8.3.8", "PUT makes a data object: 201 (or 202).")
def create(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    expect(server.put(server.new_url(".txt"), "object", {"value": "x"}), MADE, "a new data object")


@check("data/create-fields", "8.2.7", "8.3.7", "The answer to a creation has all mandatory fields.")
def create_fields(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    answer = server.put(server.new_url(".txt"), "object", {"value": "x"})
    expect(answer, MADE, "a new data object")
    if answer.status == 201:
        has(answer, CREATED)
    else:
        require(answer.header("location").startswith("http"), "202 without an absolute Location", answer)


@check("data/default-mimetype", "8.2.5", "8.3.5", "Without mimetype it is text/plain.")
def default_mimetype(server: Server) -> None:
    found = server.new_object().fields["mimetype"]
    require(found == "text/plain", f"mimetype is {found!r}, expected 'text/plain'")


@check("data/default-encoding", "8.2.5", "8.3.5", "Without valuetransferencoding it is utf-8.")
def default_encoding(server: Server) -> None:
    found = server.look(server.new_object().url, "object")["valuetransferencoding"]
    require(found == "utf-8", f"valuetransferencoding is {found!r}, expected 'utf-8'")


@check("data/default-value", "8.2.5", "8.3.5", "Without value it is empty.")
def default_value(server: Server) -> None:
    found = server.look(server.new_object(None).url, "object")["value"]
    require(found == "", f"value is {found!r}, expected an empty string")


@check("data/default-metadata", "8.2.5", "8.3.5", "Without metadata there is none of the user's.")
def default_metadata(server: Server) -> None:
    found = [name for name in server.new_object().fields["metadata"] if not name.startswith("cdmi_")]
    require(not found, f"metadata holds {found}, expected none that nobody gave")


@check("data/mimetype", "8.2.5", "8.3.5", "mimetype is stored, in lower case.")
def mimetype(server: Server) -> None:
    found = server.look(server.new_object("{}", mimetype="Application/JSON").url, "object")["mimetype"]
    require(found == "application/json", f"mimetype is {found!r}, expected 'application/json'")


@check("data/read", "8.3.6", "8.4.6", "Reading answers all mandatory fields.")
def read(server: Server) -> None:
    answer = server.get(server.new_object().url, "object")
    expect(answer, {200}, "a data object")
    has(answer, READ)


@check("data/status", "8.2.7", "8.3.7", "completionStatus is Complete, percentComplete, if there, the string 100.")
def status(server: Server) -> None:
    fields = server.look(server.new_object().url, "object")
    require(fields["completionStatus"] == "Complete", f"completionStatus is {fields['completionStatus']!r}")
    percent = fields.get("percentComplete", "100")
    require(percent == "100", f"percentComplete is {percent!r}, expected the string '100'")


@check("data/valuerange", "8.3.6", "8.4.6", "valuerange says which bytes the value has.")
def valuerange(server: Server) -> None:
    found = server.look(server.new_object("żółw").url, "object")["valuerange"]
    require(found == "0-6", f"valuerange is {found!r}, expected '0-6' for 7 bytes")


@check("data/order", "8.1.3", "8.2.7", "valuerange and value come last and in that order.")
def order(server: Server) -> None:
    # Table 27 and the example of §15.3.2 have valuetransferencoding between the two: that is taken too.
    fields = list(server.look(server.new_object().url, "object"))
    found = [name for name in fields if name != "valuetransferencoding"][-2:]
    require(found == ["valuerange", "value"], f"the last fields are {fields[-3:]}")
    require(fields[-1] == "value", f"the last field is {fields[-1]}, expected value")


@check("data/selection", "8.3.6", "8.4.6", "If fields are asked for, only those are answered.")
def selection(server: Server) -> None:
    made = server.new_object()
    found = set(server.look(made.url, "object", "objectName", "mimetype"))
    require(found == {"objectName", "mimetype"}, f"asked for objectName and mimetype, got {sorted(found)}")


@check(
    "data/selection-of-nothing", "8.3.6, 8.3.7", "8.4.6, 8.4.7", "A field that isn't there is left out.", Level.SHOULD
)
def selection_of_nothing(server: Server) -> None:
    # §6.3 has 404 for what is not found, §8.3.6 leaves it out: both are taken.
    answer = server.get(server.new_object().url, "object", "objectName", "nothing")
    expect(answer, {200, 404}, "a field that doesn't exist")
    require(answer.status == 404 or set(document(answer)) == {"objectName"}, "other fields are answered", answer)


@check("data/utf-8", "8.1, 8.2.5", "8.2.3, 8.3.5", "A utf-8 value comes back as it was.")
def utf8(server: Server) -> None:
    text = 'tabs\t, lines\n, "quotes", \\, ☃ and \u0001'
    found = server.look(server.new_object(text).url, "object")["value"]
    require(found == text, f"the value came back as {found!r}")


@check("data/base64", "8.1, 8.2.5", "8.2.3, 8.3.5", "Any bytes can be stored as base64, and come back so.")
def base64(server: Server) -> None:
    fields = server.look(server.new_binary(BINARY).url, "object")
    require(fields["valuetransferencoding"] == "base64", f"it is {fields['valuetransferencoding']!r}, expected base64")
    require(octets_of(fields["value"]) == BINARY, "other bytes came back")


@check("data/base64-malformed", "8.2.5", "8.3.5", "A value that is not the base64 it should be is answered 400.")
def base64_malformed(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    for wrong in ("%%%", "a", "abcde", 7):
        answer = server.put(server.new_url(), "object", {"valuetransferencoding": "base64", "value": wrong})
        expect(answer, {400}, f"the base64 {wrong!r}")


@check("data/encoding-unknown", "8.2.5", "8.3.5", "An unknown valuetransferencoding is answered 400.")
def encoding_unknown(server: Server) -> None:
    server.needs("cdmi_create_dataobject")
    answer = server.put(server.new_url(), "object", {"valuetransferencoding": "rot13", "value": "x"})
    expect(answer, {400}, "valuetransferencoding rot13")


@check("data/json", "", "8.2.3, 8.3.5", "A json value is a JSON object and comes back as one.")
def json_value(server: Server) -> None:
    made, sent = new_json(server)
    fields = server.look(made, "object")
    require(fields["valuetransferencoding"] == "json", f"it is {fields['valuetransferencoding']!r}, expected json")
    require(fields["value"] == sent, f"the value came back as {fields['value']!r}")


def new_json(server: Server) -> tuple[str, dict[str, Any]]:
    server.needs_system("cdmi_valuetransferencoding_json")
    sent = {"a": [1, 2.5, None, True], "b": {"c": "☃"}}
    return server.new_object(sent, valuetransferencoding="json", mimetype="application/json").url, sent


@check("data/json-malformed", "", "8.3.5", "A json value that is no object is answered 400.")
def json_malformed(server: Server) -> None:
    server.needs_system("cdmi_valuetransferencoding_json")
    server.needs("cdmi_create_dataobject")
    answer = server.put(server.new_url(), "object", {"valuetransferencoding": "json", "value": "{}"})
    expect(answer, {400}, "a string as json value")


@check("data/two-sources", "8.2.5", "8.3.5", "Of value, copy, move and the like only one may be given: else 400.")
def two_sources(server: Server) -> None:
    server.needs("cdmi_copy_dataobject")
    source = server.path_of(server.new_object().url)
    for body in ({"value": "x", "copy": source}, {"copy": source, "move": source}):
        expect(server.put(server.new_url(".txt"), "object", dict(body)), {400}, f"{' and '.join(body)} together")


@check("data/other-fields", "8.1", "8.2.2", "Fields that the standard doesn't define are kept.")
def other_fields(server: Server) -> None:
    made = server.new_object(conformance_field="kept")
    found = server.look(made.url, "object").get("conformance_field")
    require(found == "kept", f"the field came back as {found!r}")


@check("data/size", "16.3", "16.2", "cdmi_size, if there, is the number of bytes, as a string.")
def size(server: Server) -> None:
    for made, wanted in ((server.new_object("żółw"), "7"), (server.new_binary(BINARY), "256")):
        found = server.metadata(made.url).get("cdmi_size", wanted)
        require(found == wanted, f"cdmi_size is {found!r}, expected {wanted!r}")


@check("data/update", "8.4.7", "8.5.7", "A new value takes the old one's place: 204.")
def update(server: Server) -> None:
    made = server.new_object()
    server.needs("cdmi_modify_value", of=made.fields)
    expect(server.update(made.url, "object", {"value": "new"}), {204}, "an update of the value")
    require(server.look(made.url, "object")["value"] == "new", "the value is still the old one")


@check("data/update-keeps", "8.4.4", "8.5.4", "What an update doesn't name stays.")
def update_keeps(server: Server) -> None:
    made = server.new_object(mimetype="text/html", metadata={"colour": "red"})
    server.needs("cdmi_modify_value", of=made.fields)
    expect(server.update(made.url, "object", {"value": "new"}), CHANGED, "an update of the value")
    fields = server.look(made.url, "object")
    require(fields["mimetype"] == "text/html", f"mimetype became {fields['mimetype']!r}")
    require(fields["metadata"].get("colour") == "red", f"the user's metadata became {fields['metadata']!r}")


@check("data/update-mimetype", "8.4.4", "8.5.4", "A new mimetype takes the old one's place; the value stays.")
def update_mimetype(server: Server) -> None:
    made = server.new_object("kept")
    server.needs("cdmi_modify_value", of=made.fields)
    expect(server.update(made.url, "object", {"mimetype": "Text/HTML"}), CHANGED, "an update of mimetype")
    fields = server.look(made.url, "object")
    require((fields["mimetype"], fields["value"]) == ("text/html", "kept"), "mimetype or value are not right")


@check("data/update-encoding", "8.4.4", "8.5.4", "Value and encoding can be changed together.")
def update_encoding(server: Server) -> None:
    made = server.new_object()
    server.needs("cdmi_modify_value", of=made.fields)
    sent = {"valuetransferencoding": "base64", "value": base64_of(BINARY)}
    expect(server.update(made.url, "object", sent), CHANGED, "an update of value and encoding")
    fields = server.look(made.url, "object")
    require(octets_of(fields["value"]) == BINARY, "other bytes came back")


@check("data/update-atomic", "8.1.2", "8.2.6", "A refused update changes nothing.")
def update_atomic(server: Server) -> None:
    made = server.new_object("before", metadata={"colour": "red"})
    server.needs("cdmi_modify_value", "cdmi_modify_metadata", of=made.fields)
    sent = {"metadata": {"colour": "blue"}, "mimetype": "text/html", "valuetransferencoding": "base64", "value": "%%%"}
    expect(server.update(made.url, "object", sent), {400}, "an update with wrong base64")
    fields = server.look(made.url, "object")
    found = (fields["value"], fields["mimetype"], fields["metadata"].get("colour"))
    require(found == ("before", "text/plain", "red"), f"a refused update left {found}")


@check("data/atomic", "8.1.2", "8.2.6", "A reader sees the old value or the new one, never a mixture.")
def atomic(server: Server) -> None:
    values = ["a" * 20_000, "b" * 20_000]
    made = server.new_object(values[0])
    server.needs("cdmi_modify_value", of=made.fields)
    wire = Wire(server.wire.base_url, server.wire.credentials, server.wire.timeout_seconds, server.wire.verify)
    writer = Server(wire, server.dialect, server.limit_seconds)

    def write() -> None:
        for turn in range(1, 7):
            writer.update(made.url, "object", {"value": values[turn % 2]})

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(6):
            answer = server.get(made.url, "object", "value")
            expect(answer, {200}, "a value that is being replaced")
            require(document(answer)["value"] in values, "a mixture of two values was read", answer)
    finally:
        thread.join()
        wire.close()


@check("data/delete", "8.5.7", "8.6.7", "DELETE removes a data object: 204, then it is gone.")
def delete(server: Server) -> None:
    made = server.new_object()
    server.needs("cdmi_delete_dataobject", of=made.fields)
    expect(server.delete(made.url), {204}, "DELETE")
    expect(server.get(made.url, "object"), GONE, "a deleted object")


@check("data/delete-unlists", "8.5.1", "8.6.1", "A deleted object is no longer its container's child.")
def delete_unlists(server: Server) -> None:
    server.needs("cdmi_list_children")
    made = server.new_object()
    server.needs("cdmi_delete_dataobject", of=made.fields)
    require(made.fields["objectName"] in server.children(server.home.url), "a new object is not listed")
    expect(server.delete(made.url), CHANGED, "DELETE")
    require(made.fields["objectName"] not in server.children(server.home.url), "a deleted object is still listed")


@check("data/delete-missing", "8.5.7", "8.6.7", "DELETE of what doesn't exist is answered 404.")
def delete_missing(server: Server) -> None:
    expect(server.delete(server.new_url(".txt")), {404}, "DELETE of an object that doesn't exist")


@check("data/put-again", "8.4.1", "", "In 1.x PUT on an existing object updates it.")
def put_again(server: Server) -> None:
    assert server.dialect is not CDMI_2
    made = server.new_object(metadata={"colour": "red"})
    server.needs("cdmi_modify_metadata", of=made.fields)
    answer = server.put(made.url, "object", {"metadata": {"colour": "blue"}})
    expect(answer, {204}, "a second PUT")
    fields = server.look(made.url, "object")
    require(fields["value"] == "The quick brown fox", "a PUT without value took the value away")
    require(fields["metadata"].get("colour") == "blue", "the metadata is still the old one")
