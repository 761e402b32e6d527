"""How a client writes what it asks in each version of CDMI; the checks say what, this says how."""

from __future__ import annotations

from dataclasses import dataclass

VERSION_HEADER = "X-CDMI-Specification-Version"
V111 = frozenset({"1.1.1"})
V20 = frozenset({"2.0"})
BOTH = V111 | V20


@dataclass(frozen=True, slots=True)
class Dialect:
    """One version's verb for updates, separators of its queries, and header."""

    version: str
    update: str
    between: str
    """Stands between the fields of a query."""
    of: str
    """Stands between a field and what is wanted of it."""
    claimed: str = ""
    """The versions that a client says it speaks."""

    def query(self, *items: str) -> str:
        """The query for these fields: "value", "value:0-9", "metadata:colour", as 1.1.1 writes them."""
        return "?" + self.between.join(item.replace(":", self.of, 1) for item in items) if items else ""

    def export(self, protocol: str, settings: dict[str, object]) -> dict[str, object]:
        """The exports field for one protocol: keyed "Network/iSCSI" in 1.x, by a free name in 2.0."""
        if self.version == "2.0":
            return {"1": {"type": protocol, **settings}}
        return {f"Network/{protocol}": settings}

    def headers(self) -> list[tuple[str, str]]:
        return [(VERSION_HEADER, self.claimed)] if self.claimed else []


CDMI_1 = Dialect("1.1.1", "PUT", ";", ":", "1.1, 1.1.1")
CDMI_2 = Dialect("2.0", "PATCH", "&", "=")
DIALECTS = {dialect.version: dialect for dialect in (CDMI_1, CDMI_2)}


def clauses(in_1_1_1: str, in_2_0: str) -> tuple[str, frozenset[str]]:
    """How a clause is cited, and the versions that have it: "8.2.5", "8.3.5"; "" where a version lacks it."""
    cited = [f"CDMI {version} §{number}" for version, number in (("1.1.1", in_1_1_1), ("2.0", in_2_0)) if number]
    return "; ".join(cited).replace(", ", ", §"), (V111 if in_1_1_1 else frozenset()) | (V20 if in_2_0 else frozenset())
