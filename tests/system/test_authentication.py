"""Who gets in, through the whole application on a real PostgreSQL."""

from __future__ import annotations

import base64

import falcon.testing
import pytest

from altostratus.application import create_application
from altostratus.settings import Settings
from backends import accounts
from backends.model import Role
from backends.store.database import Connection, Database


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def client(
    database: Database, sql: Connection, host: str, monkeypatch: pytest.MonkeyPatch
) -> falcon.testing.TestClient:
    import os

    for name in list(os.environ):
        if name.startswith("ALTOSTRATUS_"):
            monkeypatch.delenv(name)
    accounts.add_user(sql, "alice", "correct horse", "physics", Role.USER)
    accounts.add_user(sql, "root", "battery staple", "admins", Role.CLOUD_ADMIN)
    return falcon.testing.TestClient(create_application(Settings(), database))


def test_without_credentials_the_answer_says_which_are_expected(client: falcon.testing.TestClient) -> None:
    answer = client.simulate_get("/compute/")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    assert "HTTP Basic" in answer.text


@pytest.mark.parametrize(
    "header",
    [
        "Bearer abc",
        "Basic",
        "Basic !!!",
        "Basic \xff\xfe",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Basic " + base64.b64encode(b"alice:" + b"x" * 5000).decode(),
        "Basic " + base64.b64encode(b"a\0b:x").decode(),
    ],
)
def test_broken_credentials_are_refused_and_never_an_error(client: falcon.testing.TestClient, header: str) -> None:
    assert client.simulate_get("/compute/", headers={"Authorization": header}).status_code == 401


def test_wrong_password_and_unknown_user_look_the_same(client: falcon.testing.TestClient) -> None:
    wrong = client.simulate_get("/compute/", headers=basic("alice", "incorrect"))
    unknown = client.simulate_get("/compute/", headers=basic("mallory", "incorrect"))
    assert (wrong.status_code, wrong.text) == (unknown.status_code, unknown.text) == (401, wrong.text)


def test_the_right_password_gets_in_again_and_again(client: falcon.testing.TestClient) -> None:
    for _ in range(3):
        assert client.simulate_get("/compute/", headers=basic("alice", "correct horse")).status_code == 200


def test_a_remembered_user_does_not_open_the_door_to_other_passwords(client: falcon.testing.TestClient) -> None:
    assert client.simulate_get("/compute/", headers=basic("alice", "correct horse")).status_code == 200
    assert client.simulate_get("/compute/", headers=basic("alice", "correct horsf")).status_code == 401


def test_health_needs_no_credentials_and_metrics_those_of_a_cloud_admin(
    client: falcon.testing.TestClient,
) -> None:
    assert client.simulate_get("/healthz").text == "ok\n"
    assert client.simulate_get("/metrics").status_code == 401
    assert client.simulate_get("/metrics", headers=basic("alice", "correct horse")).status_code == 403


def test_a_decent_request_id_is_kept_and_another_replaced(client: falcon.testing.TestClient) -> None:
    assert client.simulate_get("/healthz", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    odd = client.simulate_get("/healthz", headers={"X-Request-ID": "a b\tc"}).headers["x-request-id"]
    assert odd != "a b\tc"


def test_the_request_id_goes_with_the_job_to_the_agent(client: falcon.testing.TestClient, sql: Connection) -> None:
    answer = client.simulate_post(
        "/compute/",
        headers=basic("alice", "correct horse")
        | {"X-Request-ID": "follow-me", "Content-Type": "application/occi+json"},
        body='{"kind": "http://schemas.ogf.org/occi/infrastructure#compute"}',
    )
    assert answer.status_code == 201
    assert sql.execute("SELECT args->>'request_id' FROM procrastinate_jobs").fetchall() == [("follow-me",)]


def test_a_page_of_another_site_cannot_use_the_browsers_password(client: falcon.testing.TestClient) -> None:
    login = basic("alice", "correct horse")
    forged = client.simulate_delete("/compute/", headers=login | {"Sec-Fetch-Site": "cross-site"})
    own = client.simulate_delete("/compute/", headers=login | {"Sec-Fetch-Site": "same-origin"})
    assert (forged.status_code, own.status_code) == (403, 200)
