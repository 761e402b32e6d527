"""How queues that the cloud fills are told of objects: as a read in their dialect shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backends.feeds import Event
from backends.model import Caller
from backends.objects import Encoding, Found, ObjectKind
from backends.scope import Spellings
from cdmi_server.capabilities import SYSTEM, claims, node_of
from cdmi_server.domains import identity_of_domain
from cdmi_server.metadata import read_metadata
from cdmi_server.negotiation import ROOTS
from cdmi_server.paths import BY_ID, CAPABILITIES, DOMAINS, domain_uri
from cdmi_server.site import Site
from cdmi_server.views import common_fields
from renderers.cdmi import ranges
from renderers.cdmi.objectid import encode
from renderers.cdmi.representation import Version, format_time

CLAIMS = claims(SYSTEM, "cdmi_notification", "cdmi_query", "cdmi_query_contains", "cdmi_query_tags")
OUTCOMES = {
    Event.READ: "200 OK",
    Event.MODIFY_PROCESSING: "204 No Content",
    Event.MODIFY_COMPLETE: "204 No Content",
    Event.DELETE: "204 No Content",
    Event.SNAPSHOT: "204 No Content",
}
"""Of the others: 201."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """`version` is that of the request, which a queue made by it keeps."""

    site: Site
    version: Version
    domain: str = ""
    replaces: bool = False
    """Whether the request is a PUT of 2.0, which answers 201 to changes too."""

    @property
    def dialect(self) -> str:
        return self.version.value

    def fields(self, found: Found, dialect: str, caller: Caller) -> dict[str, Any]:
        stored = found.object
        spoken = Presentation(self.site, Version(dialect), caller.project_name)
        fields = common_fields(spoken, found)
        if stored.kind is ObjectKind.REFERENCE:
            return {**fields, "reference": stored.target}
        fields["metadata"] = read_metadata(spoken, found)
        if stored.kind is ObjectKind.DATAOBJECT:
            encoding = stored.encoding
            shown = Encoding.UTF_8 if encoding is Encoding.JSON and spoken.version is Version.V1 else encoding
            fields |= {
                "mimetype": stored.mimetype,
                "valuerange": ranges.whole(stored.contiguous_bytes),
                "valuetransferencoding": shown.value,
            }
        return fields

    def spellings(self, found: Found, caller: Caller) -> Mapping[str, Spellings]:
        """Whole paths, those from the root container on, and those by ID, whose letters may be large or small."""
        domain = caller.project_name
        paths = [f"/{DOMAINS}/{domain}/", *(domain_uri(version, domain) for version in ROOTS)]
        by_id = self._by_id(encode(identity_of_domain(caller), self.site.enterprise_number))
        spelled = {"domainURI": Spellings([*paths, *by_id])}
        if found.names:
            above = "/".join(found.names[:-1])
            paths = [f"{root}{above}{'/' if above else ''}" for root in ("/", *ROOTS.values())]
            if found.parent_id is not None:
                paths += self._by_id(encode(found.parent_id, self.site.enterprise_number))
            spelled["parentURI"] = Spellings(paths)
        if found.object.kind is not ObjectKind.REFERENCE:
            node = f"{CAPABILITIES}/{node_of(found.object)}/"
            spelled["capabilitiesURI"] = Spellings(f"{root}{node}" for root in ("/", *ROOTS.values()))
        return spelled

    @staticmethod
    def _by_id(identity: str) -> list[str]:
        return [
            f"{root}{BY_ID}/{spelled}{slash}"
            for root in ("/", *ROOTS.values())
            for spelled in (identity, identity.lower())
            for slash in ("", "/")
        ]

    def outcome(self, event: Event) -> Mapping[str, str]:
        is_change = event in (Event.MODIFY_COMPLETE, Event.MODIFY_PROCESSING)
        status = "201 Created" if is_change and self.replaces else OUTCOMES.get(event, "201 Created")
        return {"cdmi_event_result": status, "cdmi_event_time": format_time(datetime.now(UTC))}
