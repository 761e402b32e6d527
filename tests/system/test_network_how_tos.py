"""The commands of the how-to pages about networks and who may reach a compute, typed as they stand there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
from live import User, eventually, removed_at_the_end

from tests.conftest import repository
from tests.system.conftest import Gateway

OCCI = "http://schemas.ogf.org/occi/infrastructure"


@pytest.fixture
def user(gateway: Gateway) -> Iterator[User]:
    with gateway.client() as http:
        yield User(http)


def blocks_of(page: str) -> list[str]:
    text = (repository() / "docs" / "how-to" / page).read_text()
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def typed(gateway: Gateway, block: str) -> str:
    """The path that is printed, if it is one. Refusals fail, and places in the page that nothing was put into."""
    assert not re.search("/UUID", block), block
    given = {"URL": gateway.url, "LOGIN": ":".join(gateway.credentials), "PATH": "/usr/bin:/bin", "occi": OCCI}
    script = f'curl() {{ command curl --fail-with-body -sS "$@"; }}\n{block}'
    done = subprocess.run(["sh", "-euc", script], env=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (block, done.stdout, done.stderr)
    return done.stdout.strip().removeprefix(f"X-OCCI-Location: {gateway.url}")


def test_who_may_reach_a_compute(gateway: Gateway, user: User) -> None:
    make, join = blocks_of("firewall.md")
    another = user.make("securitygroup", {"occi.securitygroup.rules": []})
    compute = user.make("compute")
    with removed_at_the_end(user, compute):
        group = typed(gateway, make.replace("/securitygroup/UUID-OF-ANOTHER", another))
        assert len(user.shown(group)["occi.securitygroup.rules"]) == 5
        link = typed(gateway, join.replace("/compute/UUID", compute).replace("/securitygroup/UUID", group))
        assert user.get(link)["target"]["location"] == group
        user.delete(link)
        user.delete(group)
    user.delete(another)


def test_addresses_that_stay_and_bandwidth(gateway: Gateway, user: User) -> None:
    reserve, link, limit = blocks_of("networks.md")
    compute = user.make("compute")
    with removed_at_the_end(user, compute):
        # The page's site has public addresses, this one hasn't.
        reservation = typed(gateway, reserve.replace("#public", "#local").replace("192.0.2.150", "10.130.77.7"))
        assert user.shown(reservation)["occi.ipreservation.address"] == "10.130.77.7"
        card = typed(gateway, link.replace("/compute/UUID", compute).replace("/ipreservation/UUID", reservation))
        assert user.shown(card)["occi.networkinterface.address"] == "10.130.77.7"
        typed(gateway, limit.replace("/networkinterface/UUID", card))
        assert user.shown(card)["local.altostratus.networkinterface.bandwidth.egress_kbit_s"] == 5000
    eventually(lambda: user.http.delete(reservation).is_success, "the end of the reservation")
