"""Where the suite of OCCI and CDMI finds a place for its disks, whatever else a server has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.cdmi.dialect import DIALECTS
from conformance.interop.server import Containers
from conformance.suite import CannotRun
from conformance.wire import Wire
from tests.unit.conformance.cdmi_store import Node
from tests.unit.conformance.cdmi_subject import Answer, Asked, Cloud, Refusal
from tests.unit.conformance.http_subject import PASSWORD, USER, HttpSubject

ODD = ["a\r\nb", "50%", "a?b#c", "<x>", " ", "é", "..", "disks"]


class OddCloud(Cloud):
    """Disks can be made in `disks` only, the last of its containers with odd names."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[str] = []
        for name in ODD:
            self.root.children[name] = Node("container", f"{len(self.root.children):032X}", name, self.root)

    def create(self, asked: Asked, parent: Node | None, name: str, slash: bool) -> Answer:  # noqa: ARG002
        where = parent.name if parent else ""
        self.tried.append(where)
        if parent is None or where != "disks":
            raise Refusal(400, "no disks here")
        self.place(self.new("container", name, parent))
        return Answer(201)


@pytest.fixture
def subject() -> Iterator[HttpSubject[OddCloud]]:
    running = HttpSubject(OddCloud)
    yield running
    running.close()


def discovered(subject: HttpSubject[OddCloud], version: str) -> Containers:
    wire = Wire(subject.url, (USER, PASSWORD), 5.0)
    try:
        found = Containers(wire, DIALECTS[version], 5.0)
        found.discover()
    finally:
        wire.close()
    return found


@pytest.mark.parametrize("version", DIALECTS)
def test_containers_with_odd_names_do_not_stop_the_search(subject: HttpSubject[OddCloud], version: str) -> None:
    found = discovered(subject, version)
    assert found.home.url == f"{found.root}disks/"
    assert subject.cloud.tried == ["", *(name for name in ODD if name != "..")]
    assert subject.crashes == []


def test_nothing_is_made_where_the_server_claims_that_nothing_can_be(subject: HttpSubject[OddCloud]) -> None:
    del subject.cloud.claims["container"]["cdmi_create_container"]
    with pytest.raises(CannotRun, match="no container below"):
        discovered(subject, "1.1.1")
    assert subject.cloud.tried == []
