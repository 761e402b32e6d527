"""A cloud as a check of the suite sees it: one server of OCCI and one of CDMI, which show the same disks.

Each is driven as in its own suite. Disks are made in the first container that takes an export to OCCI.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urljoin

from conformance.cdmi.dialect import BOTH, Dialect, clauses
from conformance.cdmi.fields import Fields, document
from conformance.cdmi.server import GONE, MADE, Thing, containers_in
from conformance.cdmi.server import Server as CdmiServer
from conformance.occi.reader import quote
from conformance.occi.server import Sent
from conformance.occi.server import Server as OcciServer
from conformance.suite import CannotRun, CheckFailed, Exchange, Level, NotApplicable, Suite, require
from conformance.wire import Wire

OCCI = "OCCI/iSCSI"
MIB = 2**20
GIB = 2**30
SIZE_BYTES = GIB
INFRASTRUCTURE_CLAUSES = "GFD.184 §3.4.3; GFD.224 §3.4.3"
REFUSED = {400, 401, 403, 405, 409, 412, 422}
OFF = {"inactive": ("stop",)}
ON = {"active": ("start",)}

AREAS = ("disks", "permissions", "snapshots", "removal")


class Containers(CdmiServer):
    """The CDMI side: nothing is made in a container of the run's own, for not every container can be a disk."""

    def _make_home(self) -> None:
        for place in self._places():
            answer = self.get(place, "container")
            if answer.status != 200 or not self.claims(document(answer), "cdmi_create_container"):
                continue
            url = f"{place}{self.prefix}-probe/"
            if self.put(url, "container", disk_body([])).status not in MADE:
                continue
            self.settled(url, "container")
            self.home = Thing(place, document(answer))
            self.clean_check()
            return
        raise CannotRun(f"no container below {self.root} takes a disk exported as {OCCI}: give --container PATH")

    def _places(self) -> list[str]:
        if self.place.strip("/"):
            return [f"{self.root}{self.place.strip('/')}/"]
        answer = self.get(self.root, "container")
        if answer.status != 200:
            raise CannotRun(f"{answer.url} answers {answer.status}, expected 200 and a container")
        return [self.root, *(f"{self.root}{name}" for name in containers_in(document(answer)))]


def disk_body(computes: Sequence[str] | None, size_bytes: int = SIZE_BYTES) -> Fields:
    """Of a container that is a disk; `computes` are those that may have it, None: no export."""
    body: Fields = {"metadata": {"cdmi_assignedsize": str(size_bytes)}}
    return body if computes is None else {**body, "exports": {OCCI: {"permissions": list(computes)}}}


class Server:
    """The subject of the suite, in one version of CDMI."""

    def __init__(self, occi: Wire, cdmi: Wire, dialect: Dialect, limit_seconds: float, place: str = "") -> None:
        self.occi = OcciServer(occi, limit_seconds)
        self.cdmi = Containers(cdmi, dialect, limit_seconds, place)
        self.versions = frozenset({dialect.version})
        self._compute = ""

    @property
    def last_exchange(self) -> Exchange | None:
        return max((self.occi.wire, self.cdmi.wire), key=lambda wire: wire.last_sent_at).last

    def discover(self) -> None:
        self.occi.discover()
        for term in ("compute", "storagelink"):
            if self.occi.find(f"http://schemas.ogf.org/occi/infrastructure#{term}") is None:
                raise CannotRun(f"{self.occi.wire.base_url} has no kind {term}, expected OCCI Infrastructure")
        self.cdmi.discover()

    # -- disks, by CDMI --------------------------------------------------------------------------

    def disk(self, computes: Sequence[str] | None = None, size_bytes: int = SIZE_BYTES) -> Thing:
        return self.cdmi.make("container", disk_body(computes, size_bytes), self.cdmi.new_url("/"))

    def permit(self, disk: Thing, *computes: str) -> Exchange:
        """Let exactly these have it."""
        return self.cdmi.update(disk.url, "container", {"exports": {OCCI: {"permissions": list(computes)}}})

    def export_of(self, disk: Thing) -> Fields:
        found = self.cdmi.look(disk.url, "container").get("exports", {})
        require(OCCI in found, f"exports is {found}, expected one called {OCCI}")
        return dict(found[OCCI])

    def size_of(self, url: str) -> int:
        return int(self.cdmi.settled(url, "container")["metadata"]["cdmi_assignedsize"])

    # -- computes and links, by OCCI -------------------------------------------------------------

    def compute(self) -> str:
        """One that is off, which all checks use."""
        if not self._compute:
            self._compute = self.occi.shared("compute")
            self.turn_on(self._compute)
        self.turn_off(self._compute)
        return self._compute

    def other_compute(self) -> str:
        """A new one that is off. Some servers start what is made, a little later: so it is on before."""
        url = self.occi.create("compute")
        self.turn_on(url)
        self.turn_off(url)
        return url

    def turn_off(self, url: str) -> None:
        if self.occi.state(url, "compute") != "inactive":
            self.occi.wait_until(lambda: "stop" in self.occi.offered(url), f"{url} can be stopped")
            self.occi.act(url, "compute", "stop", ('method="poweroff"',))
        self.occi.bring(url, "compute", "inactive", OFF)

    def turn_on(self, url: str) -> None:
        self.occi.bring(url, "compute", "active", ON)

    def start(self, url: str) -> Exchange:
        return self.occi.act(url, "compute", "start")

    def link_to(self, compute: str, disk: Fields) -> Exchange:
        """Ask for a storagelink to a container, by its object ID; with its URL as target where one is demanded."""
        message = self.occi.minimal("storagelink")
        ours = (f"occi.core.source={quote(compute)}", f"occi.storagelink.deviceid={quote(disk['objectID'])}")
        kept = tuple(one for one in message.attributes if not one.startswith("occi.storagelink.deviceid"))
        collection = self.occi.collection("storagelink")
        answer = self.occi.send("POST", collection, Sent(message.categories, (), (*kept, *ours)))
        if answer.status == 400 and "target" in answer.text:
            target = f"occi.core.target={quote(self.cdmi.by_id(disk, container=True))}"
            answer = self.occi.send("POST", collection, Sent(message.categories, (), (*kept, *ours, target)))
        return answer

    def linked(self, compute: str, disk: Thing) -> str:
        """The URL of the link."""
        return self.occi.made(self.link_to(compute, disk.fields), "storagelink to a container of CDMI")

    def unlink(self, url: str) -> None:
        self.occi.request("DELETE", url)
        self.occi.wait_until(lambda: self.occi.get(url).status in GONE, f"{url} is gone")

    def storage_of(self, link: str) -> str:
        """The URL of the storage that a link leads to."""
        target = self.occi.look(link).attributes.get("occi.core.target", "")
        require(target, "the link has no occi.core.target")
        return urljoin(link, target)

    def storage(self) -> str:
        """A storage made by OCCI, once it is there."""
        self.occi.kind("storage")
        url = self.occi.create("storage", (f"occi.storage.size={SIZE_BYTES / GIB}",))
        self.occi.wait_until(lambda: self.occi.state(url, "storage") == "online", f"{url} is online")
        return url

    def container_of(self, link: str) -> str:
        """The URL, by object ID, of the container that a link shows as its deviceid."""
        found = self.occi.look(link).attributes.get("occi.storagelink.deviceid", "")
        url = self.cdmi.by_id({"objectID": found}, container=True)
        if self.cdmi.get(url, "container").status != 200:
            raise CheckFailed(f"occi.storagelink.deviceid is {found!r}, under which CDMI has no container")
        return url

    def needs_storage(self, url: str) -> None:
        """Not applicable unless the server shows the container as a storage of OCCI."""
        if self.occi.get(url).status != 200:
            raise NotApplicable(f"the link's target {url} is no resource of OCCI")

    def size_in_occi(self, storage: str) -> int:
        return round(float(self.occi.look(storage).attributes["occi.storage.size"]) * GIB)

    # -- removal ---------------------------------------------------------------------------------

    def clean_check(self) -> None:
        """Links before disks; a disk that a compute still holds is tried again at the end."""
        self.occi.clean_check()
        self.cdmi.clean_check()

    def clean_all(self) -> list[str]:
        return [*self.occi.clean_all(), *self.cdmi.clean_all()]


suite: Suite[Server] = Suite("interop", AREAS, BOTH)


def check(
    identifier: str, in_1_1_1: str, in_2_0: str, in_occi: str, statement: str, level: Level = Level.MUST
) -> Callable[[Callable[[Server], None]], Callable[[Server], None]]:
    """Register the check of a clause, by its numbers in CDMI and in OCCI ("" where one doesn't have it)."""
    cited, versions = clauses(in_1_1_1, in_2_0)
    return suite.check(identifier, "; ".join(filter(None, (cited, in_occi))), statement, level, versions)
