"""What a refusal tells: nothing of what the access list hides."""

from __future__ import annotations

from typing import Any

import pytest

from backends.acl import ALL_PERMS, AceMask
from backends.store.database import Database
from tests.system.cdmi_client import DATAOBJECT, QUEUE, Client
from tests.system.cdmi_users import OWNERS, ROOT, TO_ALL, own, patch, put, seen, value


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    """One for all tests here: each has a project of its own."""
    return shared_database


CHANGES = {
    "DELETE": lambda dave, **headers: dave.plain("DELETE", f"{ROOT}o", **headers),
    "PATCH": lambda dave, **headers: patch(dave, "o", {"metadata": {}}, **headers),
    "PUT": lambda dave, **headers: dave.send("PUT", f"{ROOT}o", DATAOBJECT, {"value": "y"}, **headers),
    "plain PUT": lambda dave, **headers: dave.plain("PUT", f"{ROOT}o", b"y", **headers),
    "a range": lambda dave, **headers: patch(dave, "o?value=0-0", {"value": "eQ=="}, **headers),
    "copy": lambda dave, **headers: patch(dave, "o", {"copy": "/other"}, **headers),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_precondition_tells_nothing_to_who_may_not_make_the_change(carol: Client, dave: Client, change: str) -> None:
    put(dave, "other", {"value": "y"})
    put(carol, "o", {"value": "x", **own(OWNERS)})
    refused = 400 if change == "copy" else 403
    for headers in ({"If_Match": '"no"'}, {"If_None_Match": "*"}):
        assert CHANGES[change](dave, **headers).status_code == refused
        assert CHANGES[change](carol, **headers).status_code == 412
    assert value(carol, "o") == "x"


def test_a_precondition_of_a_queue_tells_nothing_either(carol: Client, dave: Client) -> None:
    assert carol.send("PUT", f"{ROOT}q", QUEUE, own(OWNERS)).status_code == 201
    for client, refused in ((dave, 403), (carol, 412)):
        assert client.send("POST", f"{ROOT}q", QUEUE, {"value": ["a"]}, If_Match='"no"').status_code == refused
        assert client.plain("DELETE", f"{ROOT}q?values", If_Match='"no"').status_code == refused


@pytest.mark.parametrize("given", [AceMask(0), AceMask.WRITE_METADATA | AceMask.WRITE_ACL])
@pytest.mark.parametrize(
    "new",
    [
        {"value": '{"a": 1}'},
        {"value": "abc"},
        {"value": "/w==", "valuetransferencoding": "base64"},
        {"value": "a" * 100_000, "valuetransferencoding": "base64"},
    ],
    ids=["object", "text", "bytes", "large"],
)
def test_an_encoding_tells_nothing_of_a_value_to_who_may_not_write_it(
    carol: Client, dave: Client, new: dict[str, Any], given: AceMask
) -> None:
    put(carol, "o", {**new, **own(OWNERS, ("GROUP@", given, 0))})
    before = seen(carol, "o")
    encodings = {"utf-8", "json", "base64"} - {new.get("valuetransferencoding", "utf-8")}
    assert {patch(dave, "o", {"valuetransferencoding": one}).status_code for one in encodings} == {403}
    assert seen(carol, "o") == before


def test_what_an_object_has_is_not_told_by_how_much_more_fits(carol: Client, dave: Client) -> None:
    much = {"a": "x" * 4000}
    put(carol, "o", {"value": "x", "vendor": "x" * 60_000, "metadata": {**much, **own(OWNERS)["metadata"]}})
    more = {"vendors": "x" * 60_000, "metadata": {f"more{number}": "x" * 4000 for number in range(100)}}
    named = "&".join(f"metadata={name}" for name in more["metadata"])
    for query in ("", f"?{named}"):
        assert (patch(dave, f"o{query}", more).status_code, patch(carol, f"o{query}", more).status_code) == (403, 400)
    assert put(dave, "n", {"copy": "/o", **more}).text == put(dave, "n", {"copy": "/o"}).text
    assert put(dave, "n", {"move": "/o", **more}).text == put(dave, "n", {"move": "/o"}).text


KEPT: dict[str, Any] = {"cdmi_hold_id": ["case-smith"]}
LETTING_GO = AceMask.DELETE | AceMask.DELETE_OBJECT | AceMask.READ_OBJECT


@pytest.mark.parametrize("where", ["o", "box/", "box/o"])
@pytest.mark.parametrize("how", ["delete", "move"])
@pytest.mark.parametrize("given", [AceMask(0), LETTING_GO, LETTING_GO | AceMask.READ_METADATA])
def test_why_something_is_kept_is_told_to_who_may_read_its_metadata(
    carol: Client, dave: Client, where: str, how: str, given: AceMask
) -> None:
    acl = own(OWNERS, ("GROUP@", ALL_PERMS if where == "box/o" else given, 0))["metadata"]["cdmi_acl"]
    path = where.removesuffix("o") if where == "box/o" else where
    if path.endswith("/"):
        put(carol, path, {"metadata": {"cdmi_acl": acl, **(KEPT if where == "box/" else {})}})
    if where != "box/":
        put(carol, where, {"value": "x", "metadata": {**KEPT, **own(OWNERS, ("GROUP@", given, 0))["metadata"]}})
    if how == "delete":
        refused = dave.plain("DELETE", ROOT + path)
    else:
        refused = put(dave, "new/" if path.endswith("/") else "new", {"move": f"/{path}"})
    assert refused.status_code == (403 if how == "delete" else 400)
    assert ("case-smith" in refused.text) is bool(given & AceMask.READ_METADATA)
    assert ("kept" in refused.text) is (given == LETTING_GO)


@pytest.mark.parametrize("given", [AceMask(0), ALL_PERMS])
def test_what_is_still_being_written_is_told_to_who_may_copy_it(carol: Client, dave: Client, given: AceMask) -> None:
    put(carol, "box/", own(OWNERS, ("GROUP@", given, TO_ALL)))
    assert carol.plain("PUT", f"{ROOT}box/o", b"half", X_CDMI_Partial="true").status_code in (201, 202)
    refused = put(dave, "new/", {"copy": "/box/"})
    assert (refused.status_code, "written" in refused.text) == ((409, True) if given else (400, False)), refused.text


def test_the_hold_of_a_container_is_told_to_who_may_read_its_metadata(carol: Client, dave: Client) -> None:
    put(carol, "box/", own(OWNERS))
    put(carol, "box/o", {"value": "x", **own(OWNERS, ("GROUP@", ALL_PERMS, 0))})
    assert patch(carol, "box/?metadata=cdmi_hold_id", {"metadata": KEPT}).status_code == 204
    refused = {who: patch(who, "box/o", {"value": "y"}) for who in (carol, dave)}
    assert [found.status_code for found in refused.values()] == [403, 403]
    assert ["case-smith" in found.text for found in refused.values()] == [True, False]


def test_a_reference_leads_who_may_read_it(carol: Client, dave: Client) -> None:
    put(carol, "box/", own(OWNERS))
    put(carol, "box/link", {"reference": "https://example.com/?token=secret"})
    for path in ("box/link", "box/link/x"):
        for method in ("GET", "PUT", "PATCH", "POST"):
            refused = dave.plain(method, ROOT + path, Content_Type="text/plain", Content_Range="bytes 0-0/*")
            assert (refused.status_code, refused.headers.get("Location")) == (403, None), (method, path)
        assert carol.plain("GET", ROOT + path).status_code == 302
    for field in ("copy", "move", "serialize"):
        refused = put(dave, "new", {field: "/box/link"})
        assert (refused.status_code, "secret" in refused.text) == (400, False)
