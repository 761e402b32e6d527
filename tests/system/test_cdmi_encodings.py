"""A value is what its encoding says, whichever way its bytes came: else nobody could read it by CDMI."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import falcon.testing
import pytest
from cdmi_client import CONTAINER, DATAOBJECT, QUEUE, Client
from test_cdmi_objects import multipart

from backends.store.database import Connection, Database
from tests.conftest import caller, project

TWO = "/cdmi/2.0.0"
TEXT = "Content-Type: text/plain; charset=utf-8"
LARGE = b"x" * 3_000_000


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    """One for all tests here: each has a project of its own."""
    return shared_database


@pytest.fixture
def client(database: Database, sql: Connection, tmp_path: Path) -> Client:
    return Client(database, caller(project(sql, f"mine {uuid4()}")), tmp_path)


def send_parts(client: Client, fields: object, *parts: tuple[str, bytes], method: str = "PUT") -> falcon.testing.Result:
    body = multipart((f"Content-Type: {DATAOBJECT}", json.dumps(fields).encode()), *parts)
    return client.send(method, f"{TWO}/o", DATAOBJECT, body, Content_Type="multipart/mixed; boundary=edge")


def read(client: Client, path: str = "/o") -> dict[str, object]:
    return dict(client.send("GET", f"{TWO}{path}", DATAOBJECT).json)


@pytest.mark.parametrize(
    "value",
    [
        b'1,"evil":true', b"not json", b"", b"[1]", b'"text"', b'{"a":1}}', b'{"a":\xff}', b'{"a":"\\ud800"}',
        b'{"a":' * 100 + b"1" + b"}" * 100,
    ],
)  # fmt: skip
def test_parts_that_are_no_json_are_not_taken_for_it(client: Client, value: bytes) -> None:
    client.send("PUT", f"{TWO}/there", DATAOBJECT, {"value": "old"})
    said = {"valuetransferencoding": "json"}
    for part in ("Content-Type: text/plain", TEXT, "Content-Type: application/json"):
        assert send_parts(client, said, (part, value)).status_code == 400
    assert client.send("GET", f"{TWO}/o", DATAOBJECT).status_code == 404
    client.send("PUT", f"{TWO}/o", DATAOBJECT, {"value": "old"})
    for method in ("PUT", "PATCH"):
        assert send_parts(client, said, (TEXT, value), method=method).status_code == 400
    assert read(client)["value"] == "old"
    assert client.files() == []


def test_json_in_parts_is_kept_as_it_is(client: Client) -> None:
    text = b' {"a": ["\xc3\xa9\\u0000", 1.50]}\n'
    made = send_parts(client, {"valuetransferencoding": "json"}, ("X: y", text[:10]), ("X: y", text[10:]))
    assert made.status_code == 201
    shown = read(client)
    assert (shown["valuetransferencoding"], shown["value"]) == ("json", {"a": ["é\0", 1.5]})
    assert client.plain("GET", "/cdmi/o").content == text
    large = b'{"a":"' + LARGE * 2 + b'"}'
    assert send_parts(client, {"valuetransferencoding": "json"}, ("X: y", large)).status_code == 413
    assert client.plain("GET", "/cdmi/o").content == text


@pytest.mark.parametrize("value", [b"\xff\xfe", b"abc\xc3", b"\xed\xa0\x80", LARGE + b"\x80", b"\xc0\xae"])
def test_parts_that_are_no_text_are_not_taken_for_it(client: Client, value: bytes) -> None:
    assert send_parts(client, {}, (TEXT, value)).status_code == 400
    assert send_parts(client, {}, (TEXT, b"x"), (TEXT, value)).status_code == 400
    said = {"valuetransferencoding": "utf-8"}
    assert send_parts(client, said, ("Content-Type: image/png", value)).status_code == 400
    client.send("PUT", f"{TWO}/o", DATAOBJECT, {"value": "old"})
    for method in ("PUT", "PATCH"):
        assert send_parts(client, said, ("X: y", value), method=method).status_code == 400
        assert send_parts(client, {}, (TEXT, value), method=method).status_code == 400
    assert read(client)["value"] == "old"
    assert client.files() == []


def test_text_may_be_cut_anywhere(client: Client) -> None:
    letter = "é".encode()
    assert send_parts(client, {}, (TEXT, LARGE + letter[:1]), (TEXT, letter[1:])).status_code == 201
    shown = read(client)
    assert (shown["valuetransferencoding"], shown["value"]) == ("utf-8", LARGE.decode() + "é")


def test_what_is_not_said_to_be_text_may_be_anything(client: Client) -> None:
    assert send_parts(client, {}, (TEXT, b"x"), ("Content-Type: image/png", b"\xff")).status_code == 201
    assert (read(client)["valuetransferencoding"], read(client)["value"]) == ("base64", "eP8=")
    assert send_parts(client, {"valuetransferencoding": "base64"}, (TEXT, b"\xfe")).status_code in (201, 204)
    assert (read(client)["valuetransferencoding"], read(client)["value"]) == ("base64", "/g==")


@pytest.mark.parametrize("encoding", ["utf-8", "json"])
def test_parts_of_a_value_have_no_other_encoding_than_base64(client: Client, encoding: str) -> None:
    piece = ("Content-Range: bytes 1-1/*", b"\xff")
    said = {"valuetransferencoding": encoding}
    assert send_parts(client, said, piece).status_code == 400
    client.send("PUT", f"{TWO}/o", DATAOBJECT, {"value": "old"})
    assert send_parts(client, said, piece, method="PATCH").status_code == 400
    assert read(client)["value"] == "old"
    assert send_parts(client, {}, ("Content-Range: bytes 1-1/*\r\n" + TEXT, b"\xff"), method="PATCH").status_code == 204
    assert (read(client)["valuetransferencoding"], read(client)["value"]) == ("base64", "b/9k")


def test_another_encoding_alone_must_fit_what_is_there(client: Client) -> None:
    def encode(encoding: str, **headers: str) -> int:
        said = {"valuetransferencoding": encoding}
        return client.send("PATCH", f"{TWO}/o", DATAOBJECT, said, **headers).status_code

    client.plain("PUT", "/cdmi/o", b"")
    assert encode("json") == 400
    assert encode("utf-8") == 204
    client.plain("PUT", "/cdmi/o", b'{"a":"\\u0000"}')
    assert encode("json") == 204
    assert read(client)["value"] == {"a": "\0"}
    client.plain("PUT", "/cdmi/o", b"\xff", X_CDMI_Partial="true")
    for partial in ("true", "false"):
        assert encode("utf-8", X_CDMI_Partial=partial) == 400
        assert encode("json", X_CDMI_Partial=partial) == 400


def test_a_range_by_any_way_makes_text_base64(client: Client) -> None:
    ways = [
        lambda: client.plain("PUT", "/cdmi/o", b"\xff", Content_Range="bytes 0-0/*", Content_Type=TEXT[14:]),
        lambda: client.plain("PATCH", f"{TWO}/o", b"\xff", Content_Range="bytes 0-0/*", Content_Type=TEXT[14:]),
        lambda: client.send("PATCH", f"{TWO}/o?value=0-0", DATAOBJECT, {"value": "/w=="}),
        lambda: client.send(
            "PATCH", f"{TWO}/o?value=0-0", DATAOBJECT, {"value": "/w==", "valuetransferencoding": "utf-8"}
        ),
        lambda: client.send("PUT", "/cdmi/o?value:0-0", DATAOBJECT, {"value": "/w=="}),
        lambda: client.send("PATCH", f"{TWO}/o", DATAOBJECT, {"copy": "/letter?value=1-1"}),
        lambda: client.plain("PUT", "/cdmi/o", b"\xa9"),
    ]
    client.send("PUT", f"{TWO}/letter", DATAOBJECT, {"value": "é"})
    for way in ways:
        for fields in ({"value": "é"}, {"value": {"a": 1}, "valuetransferencoding": "json"}):
            client.send("PUT", f"{TWO}/o", DATAOBJECT, fields)
            assert way().status_code == 204
            assert read(client)["valuetransferencoding"] == "base64"


def test_what_a_value_may_hold_can_be_serialized_and_brought_back(client: Client) -> None:
    client.send("PUT", f"{TWO}/c/", CONTAINER, {})
    client.send("PUT", f"{TWO}/c/text", DATAOBJECT, {"value": "a\0é"})
    client.send("PUT", f"{TWO}/c/json", DATAOBJECT, {"value": {"a": "\0"}, "valuetransferencoding": "json"})
    client.plain("PUT", "/cdmi/c/bytes", b"\0\xff")
    client.send("PUT", f"{TWO}/c/q", QUEUE, {})
    values = {"value": [{"a": "\0"}, "\0"], "valuetransferencoding": ["json", "utf-8"]}
    assert client.send("POST", f"{TWO}/c/q", QUEUE, values).status_code == 204
    assert client.send("GET", f"{TWO}/c/q?values=2", QUEUE).json["value"] == values["value"]
    assert client.send("PUT", f"{TWO}/s", DATAOBJECT, {"serialize": "/c/"}).status_code == 201
    assert client.send("PUT", f"{TWO}/d/", CONTAINER, {"deserialize": "/s"}).status_code == 201
    assert read(client, "/d/text")["value"] == "a\0é"
    assert read(client, "/d/json")["value"] == {"a": "\0"}
    assert client.plain("GET", "/cdmi/d/bytes").content == b"\0\xff"
    assert client.send("GET", f"{TWO}/d/q?values=2", QUEUE).json["value"] == values["value"]


def test_nul_in_a_serialized_objects_metadata_is_refused(client: Client) -> None:
    bad = {"objectType": DATAOBJECT, "objectName": "o", "value": "x", "metadata": {"a": "\0"}}
    versions = {"objectType": DATAOBJECT, "value": [bad, bad]}
    container = {"objectType": CONTAINER, "children": [bad]}
    for number, (fields, media_type, slash) in enumerate(
        [(bad, DATAOBJECT, ""), (versions, DATAOBJECT, ""), (container, CONTAINER, "/")]
    ):
        client.send("PUT", f"{TWO}/s", DATAOBJECT, {"value": json.dumps(fields)})
        made = client.send("PUT", f"{TWO}/n{number}{slash}", media_type, {"deserialize": "/s"})
        assert (number, made.status_code) == (number, 400)
