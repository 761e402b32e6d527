"""Whatever a client sends, the answer is a 2xx or a 4xx with one clear sentence, in the rendering it asked for."""

from __future__ import annotations

import json
from uuid import uuid4

import falcon.testing
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from occi_client import COMPUTE, INFRASTRUCTURE, NETWORK, STORAGE, Client

from backends.cloud import Cloud


@pytest.fixture
def client(cloud: Cloud, image: str) -> Client:
    return Client(cloud)


def raw(client: Client, method: str, path: str, **headers: str) -> falcon.testing.Result:
    return client.http.simulate_request(method, path, headers={n.replace("_", "-"): v for n, v in headers.items()})


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(client: Client) -> None:
    refused = client.http.simulate_post(
        "/compute/", headers={"Content-Type": "text/plain", "Content-Length": str(10**12)}, body=b"x"
    )
    assert refused.status_code == 413
    assert client.send("POST", "/compute/", body="x" * (2 << 20), content_type="text/plain").status_code == 413


def test_a_body_that_ends_early_is_a_400(client: Client) -> None:
    headers = {"Content-Type": "text/plain", "Content-Length": "99"}
    assert client.http.simulate_post("/compute/", headers=headers, body=b"Category: x").status_code == 400


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("text/plain", b"Category: \xff\xfe"),
        ("text/plain; charset=utf-16", b"Category: x"),
        ("text/plain", b"no field at all"),
        ("text/plain", b'Category: compute; scheme="http'),
        ("text/plain", b"X-OCCI-Attribute: occi.core.title=\x00"),
        ("application/occi+json", b"{"),
        ("application/occi+json", b"\xff"),
        ("application/occi+json", b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["),
        ("application/occi+json", b'"text"'),
        ("application/occi+json", b'{"kind": 5}'),
        ("application/json", b'{"kind": "nonsense"}'),
        ("text/uri-list", b"not a uri"),
    ],
)
def test_what_can_not_be_read_is_a_400(client: Client, media_type: str, body: bytes) -> None:
    refused = client.send("POST", "/compute/", body=body, content_type=media_type)

    assert refused.status_code == 400
    assert refused.text


def test_a_body_that_can_not_be_read_says_where(client: Client) -> None:
    refused = client.send("POST", "/compute/", body=f"Category: {COMPUTE}\nnonsense", content_type="text/plain")

    assert "line 2, column 1" in refused.text


def test_an_unknown_media_type_is_a_406(client: Client) -> None:
    assert client.send("POST", "/compute/", body="x", content_type="application/xml").status_code == 406
    assert client.send("GET", "/compute/", accept="image/png").status_code == 406
    assert client.send("GET", "/-/", accept="text/uri-list").status_code == 400


def test_a_list_of_content_types_is_read_as_the_first_known(client: Client) -> None:
    made = client.send("POST", "/compute/", body=f"Category: {COMPUTE}\r\n", content_type="text/plain,text/occi")
    assert made.status_code == 201


def test_a_later_occi_is_not_implemented_and_an_earlier_is(client: Client) -> None:
    assert client.send("GET", "/-/", user_agent="x OCCI/1.3").status_code == 501
    assert client.send("GET", "/-/", user_agent="x OCCI/1.2").status_code == 200
    assert client.send("GET", "/-/", user_agent="x OCCI/2.0 OCCI/1.1").status_code == 200


def test_every_answer_names_the_versions_and_the_types_that_are_read(client: Client) -> None:
    for path in ("/-/", "/compute/", f"/compute/{uuid4()}", "/no/such/path/"):
        answer = client.send("GET", path)
        assert "OCCI/1.1 OCCI/1.2" in answer.headers["Server"]
        assert "application/occi+json" in answer.headers["Accept"]


def test_errors_come_in_the_rendering_asked_for(client: Client) -> None:
    missing = f"/compute/{uuid4()}"

    assert "error" in client.send("GET", missing, accept="application/occi+json").json
    assert client.send("GET", missing, accept="text/html").headers["Content-Type"].startswith("text/html")
    assert missing.rpartition("/")[2] in client.send("GET", missing).text
    assert client.send("GET", "/-/", accept="image/png").headers["Content-Type"] == "text/plain"


def test_header_fields_that_would_not_fit_are_a_406(client: Client) -> None:
    client.make("/network/", NETWORK, attributes=f'occi.core.summary="{"x" * 1000}"')
    for number in range(120):
        category = f't{number}; scheme="http://example.com/{"s" * 200}#"; location="/tags/{"l" * 200}{number}/"'
        assert client.send("POST", "/-/", category, attributes="").status_code == 200

    assert client.send("GET", "/-/", accept="text/occi").status_code == 406
    assert client.send("GET", "/-/").status_code == 200


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "PROPFIND"])
def test_other_methods_are_not_allowed(client: Client, method: str) -> None:
    for path in ("/compute/", "/-/", "/"):
        refused = client.http.simulate_request(method, path)
        assert refused.status_code in (400, 405)
        assert refused.status_code == 400 or f"expected {refused.headers['Allow']}" in refused.text


@pytest.mark.parametrize("path", ["/compute/", "/-/", "/", "/os_tpl/"])
def test_every_place_says_which_methods_it_takes(client: Client, path: str) -> None:
    answer = client.http.simulate_request("OPTIONS", path)
    assert answer.status_code == 200
    assert "GET" in answer.headers["Allow"]


NASTY = st.one_of(
    st.text(max_size=40),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.lists(st.integers(), max_size=2),
    st.sampled_from(["\x00", "\ud800", "é" * 300, "10.0.0.0/33", "99999999999999999999", "/compute/", "../..", "%00"]),
)
NAMES = st.sampled_from(
    [
        "occi.core.id", "occi.core.title", "occi.core.summary", "occi.core.source", "occi.core.target",
        "occi.compute.cores", "occi.compute.memory", "occi.compute.hostname", "occi.compute.share",
        "occi.compute.speed", "occi.compute.state", "occi.compute.userdata", "occi.credentials.ssh.publickey",
        "occi.compute.architecture", "occi.network.vlan", "occi.network.label", "occi.network.address",
        "occi.network.gateway", "occi.network.allocation", "occi.storage.size", "occi.storage.state",
        "occi.compute.ephemeral_storage.size", "x" * 300,
    ]
)  # fmt: skip
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RELAXED
@given(
    kind=st.sampled_from(["compute", "network", "storage", "networkinterface", "storagelink", "\x00"]),
    attributes=st.dictionaries(NAMES, NASTY, max_size=3),
    mixins=st.lists(
        st.sampled_from(
            [
                "http://altostratus.local/occi/os_tpl#\x00", "http://altostratus.local/occi/os_tpl#tiny",
                "http://schemas.ogf.org/occi/infrastructure#os_tpl", "http://x/#" + "y" * 3000,
            ]
        ),
        max_size=2,
    ),
)  # fmt: skip
def test_no_json_makes_the_server_fail(
    client: Client, kind: str, attributes: dict[str, object], mixins: list[str]
) -> None:
    body = json.dumps({"kind": INFRASTRUCTURE + kind, "attributes": attributes, "mixins": mixins})
    for method, path in (("POST", f"/{kind}/"), ("POST", "/"), ("PUT", f"/{kind}/{uuid4()}")):
        if path.isprintable():
            answer = client.send(method, path, body=body, content_type="application/occi+json")
            assert answer.status_code < 500, answer.text


@RELAXED
@given(
    value=st.one_of(st.integers(), st.floats(allow_nan=False), st.text(max_size=20)), name=NAMES, update=st.booleans()
)
def test_no_text_makes_the_server_fail(client: Client, value: object, name: str, update: bool) -> None:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    path = client.make("/storage/", STORAGE, attributes="occi.storage.size=1") if update else "/compute/"
    body = f"Category: {STORAGE if update else COMPUTE}\nX-OCCI-Attribute: {name}={shown}"
    for method in ("POST", "PUT") if update else ("POST",):
        answer = client.send(method, path, body=body.encode("utf-8", "surrogatepass"), content_type="text/plain")
        assert answer.status_code < 500, answer.text


@RELAXED
@given(
    query=st.text(alphabet="abpagenumbercategoryattributevalue=&;%0123456789#.:/", max_size=60),
    field=st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    path=st.sampled_from(["/", "/compute/", "/-/", "/network/", "/os_tpl/", "/mixin/ipnetwork/", "/consolelink/"]),
)
def test_no_query_and_no_header_makes_the_server_fail(client: Client, query: str, field: str, path: str) -> None:
    for headers in ({"Category": field}, {"X-OCCI-Attribute": field}, {"Accept": field}, {"User-Agent": field}):
        answer = client.http.simulate_get(path, query_string=query.strip(), headers=headers)
        assert answer.status_code < 500 or answer.status_code == 501, answer.text


@pytest.mark.parametrize(
    "path", ["/%00/", "/os_tpl/%00/", "/os_tpl/../", "/compute/%00", "/" + "x" * 5000 + "/", "//", "/é/"]
)
def test_no_path_makes_the_server_fail(client: Client, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        if path != "//" or method == "GET":
            assert client.http.simulate_request(method, path).status_code < 500
