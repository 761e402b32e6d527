"""Servers of every sort: where they are, what they write, how they refuse, how they break."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from occi_in_thread import WEB, Cloud, Stratus

from stratus_client import occi


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("prefix", ["", "/occi1.1"])
@pytest.mark.parametrize("location_header", [True, False])
def test_locations_may_be_absolute_or_relative(
    run: Stratus, cloud: Cloud, absolute: bool, prefix: str, location_header: bool
) -> None:
    cloud.absolute, cloud.prefix, cloud.location_header = absolute, prefix, location_header
    made = run("--endpoint", cloud.endpoint + "/", "run", "--json").json
    assert made[0]["location"].startswith("/compute/")
    assert made[0]["interfaces"][0]["network"] == "/network/n1"
    assert run("list", "--endpoint", cloud.endpoint).output.count("127.0.0.1") == 3
    assert run("console", "web", "--endpoint", cloud.endpoint).status == 0


def test_credentials_go_to_the_endpoint_only_whatever_locations_say(
    stratus: Stratus, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATUS_USER", "alice")
    monkeypatch.setenv("STRATUS_PASSWORD", "secret")
    cloud.named_origin = "http://elsewhere.invalid"
    assert stratus("show", "web", "--json").json["id"] == WEB
    assert all(authorization for _, _, authorization in cloud.seen)


@pytest.mark.parametrize("location", ["x:@elsewhere.invalid/", "//elsewhere.invalid/a", "@elsewhere/a"])
def test_no_location_changes_the_host(cloud: Cloud, location: str) -> None:
    with occi.Server(occi.Settings("http://cloud.invalid:1")) as server:
        assert server.path(location).startswith("/")


def test_basic_credentials_are_sent_and_refusals_name_the_user(
    stratus: Stratus, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.credentials = "alice:s3cret"
    outcome = stratus("list")
    assert outcome.status == 1
    assert "STRATUS_USER" in outcome.messages
    monkeypatch.setenv("STRATUS_PASSWORD", "wr0ng")
    outcome = stratus("list", "--user", "alice")
    assert outcome.status == 1
    assert "'alice'" in outcome.messages
    assert "wr0ng" not in outcome.messages
    monkeypatch.setenv("STRATUS_PASSWORD", "s3cret")
    assert stratus("--user", "alice", "list").status == 0


def test_nobody_at_the_endpoint(run: Stratus) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        outcome = run("list", "--endpoint", endpoint)
    assert outcome.status == 4
    assert endpoint in outcome.messages
    assert "Traceback" not in outcome.messages


def test_a_web_site_is_not_an_occi_server(stratus: Stratus, cloud: Cloud) -> None:
    cloud.body, cloud.body_type = b"<html>hello</html>", "text/html"
    outcome = stratus("list")
    assert outcome.status == 4
    assert "text/html" in outcome.messages


def test_a_wrong_path_is_not_an_occi_server(run: Stratus, cloud: Cloud) -> None:
    cloud.prefix = "/occi"
    outcome = run("list", "--endpoint", cloud.origin)
    assert outcome.status == 4
    assert "not as an OCCI server" in outcome.messages


@pytest.mark.parametrize(
    "body",
    [
        b"Category: compute; scheme=",
        b"\xff\xfe\x00",
        b"hello",
        b'X-OCCI-Attribute: a="never closed',
        b"",
        b"OK",
    ],
)
def test_broken_answers_are_one_sentence(stratus: Stratus, cloud: Cloud, body: bytes) -> None:
    cloud.body = body
    outcome = stratus("list")
    assert outcome.status in (1, 4)
    assert outcome.messages.startswith("stratus: ")
    assert "Traceback" not in outcome.messages


def test_an_endless_answer_is_cut_off(stratus: Stratus, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(occi, "ANSWER_LIMIT_BYTES", 1000)
    cloud.body = b"X-OCCI-Location: /a\n" * 100
    assert stratus("list").status == 1


def test_the_servers_words_are_shown_when_it_refuses(stratus: Stratus, cloud: Cloud) -> None:
    cloud.refusal = (409, "text/plain", "The name 'web' is\ntaken.\x1b[2J")
    outcome = stratus("run", "--name", "web")
    assert outcome.status == 1
    assert "It says: The name 'web' is taken." in outcome.messages
    assert "\x1b[2J" not in outcome.messages


def test_a_page_of_html_is_not_shown_when_it_refuses(stratus: Stratus, cloud: Cloud) -> None:
    cloud.refusal = (502, "text/html", "<h1>Bad gateway</h1>")
    outcome = stratus("stop", "web")
    assert outcome.status == 1
    assert "502" in outcome.messages
    assert "<h1>" not in outcome.messages


def test_names_cannot_steer_the_terminal(stratus: Stratus, cloud: Cloud) -> None:
    cloud.add("ffff", "evil\x1b[2J[red]", message="\x07")
    for arguments in (("list",), ("show", "ffff"), ("stop", "ffff")):
        outcome = stratus(*arguments)
        assert outcome.status == 0
        assert "\x1b" not in outcome.output + outcome.messages
        assert "\x07" not in outcome.output + outcome.messages
    assert "[red]" in stratus("list").output


def test_a_server_without_machines_says_which_kind_is_missing(stratus: Stratus, cloud: Cloud) -> None:
    cloud.discovery = 'Category: network; scheme="http://schemas.ogf.org/occi/infrastructure#"; class="kind"'
    outcome = stratus("list")
    assert outcome.status == 1
    assert "compute" in outcome.messages


def test_settings_come_from_the_configuration_file(run: Stratus, cloud: Cloud, home: Path) -> None:
    cloud.credentials = "alice:s3cret"
    path = home / ".config/stratus/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f'endpoint = "{cloud.endpoint}"\nuser = "alice"\npassword = "s3cret"\n')
    path.chmod(0o644)
    outcome = run("list")
    assert outcome.status == 0
    assert "chmod 600" in outcome.messages
    path.chmod(0o600)
    assert run("list").messages == ""


def test_a_password_is_not_sent_for_another_user(run: Stratus, cloud: Cloud, home: Path) -> None:
    path = home / ".config/stratus/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f'endpoint = "{cloud.endpoint}"\nuser = "alice"\npassword = "s3cret"\n')
    path.chmod(0o600)
    run("list", "--user", "bob")
    assert {authorization for _, _, authorization in cloud.seen} == {None}


def test_credentials_may_stand_in_a_file(
    stratus: Stratus, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.credentials = "alice:s3:cret"
    path = tmp_path / "credentials"
    path.write_text("alice:s3:cret\n")
    path.chmod(0o600)
    monkeypatch.setenv("STRATUS_CREDENTIALS", str(path))
    assert stratus("list").status == 0
    assert stratus("list", "--user", "bob").status == 2
    path.write_text("nonsense\n")
    outcome = stratus("list")
    assert outcome.status == 2
    assert "nonsense" not in outcome.messages


@pytest.mark.parametrize(
    "endpoint",
    [
        "cloud.example",
        "ftp://cloud.example",
        "http://",
        "http://a:b@cloud.example",
        "http://h:x",
        "http://h?a",
    ],
)
def test_an_endpoint_that_is_no_address_is_wrong_usage(run: Stratus, endpoint: str) -> None:
    outcome = run("list", "--endpoint", endpoint)
    assert outcome.status == 2
    assert "a:b" not in outcome.messages


@pytest.mark.parametrize("content", ["endpoint = ", "endpoint = 3", 'pasword = "x"'])
def test_a_broken_configuration_is_wrong_usage(run: Stratus, home: Path, content: str) -> None:
    path = home / ".config/stratus/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    outcome = run("list")
    assert outcome.status == 2
    assert str(path) in outcome.messages


def test_without_any_endpoint_the_ways_to_name_one_are_said(run: Stratus) -> None:
    outcome = run("list")
    assert outcome.status == 2
    assert "STRATUS_ENDPOINT" in outcome.messages
