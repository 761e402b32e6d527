"""The capability tree. Every claim is made by the module that does what is claimed; here they are only gathered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import NAMESPACE_URL, UUID, uuid5

import falcon

from backends.errors import Invalid, NotFound
from backends.objects import ObjectKind, StoredObject
from cdmi_server.call import Call
from cdmi_server.metadata import STORAGE_ITEMS
from cdmi_server.negotiation import ROOTS, Profile, answer_profile, check_acceptable
from cdmi_server.paths import CAPABILITIES, escaped
from cdmi_server.policies import POLICIES, is_of_disks
from cdmi_server.site import Site
from renderers.cdmi import ranges
from renderers.cdmi.objectid import encode
from renderers.cdmi.representation import CAPABILITY, Version

SYSTEM = ""
"""The root of the tree: capabilities of the whole."""
ALL_DISKS, DISK, SERVED_DISK = "container/disks", "container/disk", "container/disk/served"
"""Of the container of disks, of a disk, and of one that a storage host serves."""
DISK_VALUE = "dataobject/disk"
"""The bytes of a disk."""
VERSION = "dataobject/dataobject_version"
"""A version of a data object (1.1.1 §23.4)."""
FIXED_VALUE = "dataobject/disk/readonly"
"""Those of one that is read-only, and of a snapshot."""
JSON_VALUES = "cdmi_valuetransferencoding_json"
"""2.0 alone has it."""
EXPORT_ISCSI, EXPORT_CONTAINER_ISCSI = "cdmi_export_iscsi", "cdmi_export_container_iscsi"
"""A cloud with a storage host has them."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A capability that a module honours, and the nodes where it shows: SYSTEM, `container`, `container/disk`…"""

    name: str
    nodes: tuple[str, ...]
    value: str | list[str] = "true"


def claims(node: str, *names: str) -> tuple[Claim, ...]:
    return tuple(Claim(name, (node,)) for name in names)


class Capabilities:
    """All claims, by node. Static, but for what needs a storage host."""

    def __init__(self, site: Site, made: Iterable[Claim]) -> None:
        self._site = site
        self.nodes: dict[str, dict[str, str | list[str]]] = {SYSTEM: {}}
        for kind in ObjectKind:
            if kind is not ObjectKind.REFERENCE:
                self.nodes[kind.value] = {}
        for claim in (*made, *_limits(site), *_of_metadata(site)):
            for node in claim.nodes:
                self.nodes.setdefault(node, {})[claim.name] = claim.value
        self.nodes = {node: found for node, found in self.nodes.items() if found}
        self._identities = {uuid5(NAMESPACE_URL, f"altostratus:{CAPABILITIES}/{node}"): node for node in self.nodes}

    def is_identity(self, identity: UUID) -> bool:
        return identity in self._identities

    def identity(self, node: str) -> str:
        found = next(identity for identity, name in self._identities.items() if name == node)
        return encode(found, self._site.enterprise_number)

    def node_at(self, names: tuple[str, ...], start: UUID | None) -> str:
        first = self._identities[start] if start is not None else SYSTEM
        node = "/".join((*((first,) if first else ()), *names))
        if node not in self.nodes:
            raise NotFound(f"there are no capabilities {node[:100]!r}")
        return node

    def answer(self, call: Call, names: tuple[str, ...], start: UUID | None = None) -> None:
        if call.request.method not in ("GET", "HEAD"):
            raise Invalid("capabilities can't be changed")
        node = self.node_at(names, start)
        if not call.place.slash and start is None:
            path = ROOTS[call.version] + "/".join((CAPABILITIES, *names)) + "/"
            raise falcon.HTTPMovedPermanently(call.request.prefix + escaped(path))
        is_cdmi = answer_profile(call.request, call.version) is Profile.CDMI
        if is_cdmi:
            call.check_version()
        check_acceptable(call.request, CAPABILITY)
        call.answer_json(CAPABILITY, self._selected(call, node))

    def _selected(self, call: Call, node: str) -> Mapping[str, object]:
        fields = self._fields(call, node)
        asked = call.selection.range_of("children")
        children = fields["children"]
        if asked is not None and isinstance(children, list):
            part = asked.within(len(children))
            fields["childrenrange"] = str(part) if part else ""
            fields["children"] = children[part.first : part.last + 1] if part else []
        return {name: value for name, value in fields.items() if name in call.selection}

    def _shown(self, call: Call, node: str) -> dict[str, str | list[str]]:
        hidden = {JSON_VALUES} if call.version is Version.V1 else set()
        of_storage_hosts = {EXPORT_ISCSI, EXPORT_CONTAINER_ISCSI}
        if of_storage_hosts & self.nodes[node].keys() and not call.cloud.serves_disks():
            hidden |= of_storage_hosts
        return {name: value for name, value in self.nodes[node].items() if name not in hidden}

    def _fields(self, call: Call, node: str) -> dict[str, object]:
        root = ROOTS[call.version]
        project_root = encode(call.cloud.caller.project_id, self._site.enterprise_number)
        above, _, name = node.rpartition("/")
        children = [f"{one.rpartition('/')[2]}/" for one in self.nodes if one and one.rpartition("/")[0] == node]
        return {
            "objectType": CAPABILITY,
            "objectID": self.identity(node),
            "objectName": f"{name or CAPABILITIES}/",
            "parentURI": f"{root}{CAPABILITIES}/{above}{'/' if above else ''}" if node else root,
            "parentID": self.identity(above) if node else project_root,
            "capabilities": self._shown(call, node),
            "childrenrange": ranges.whole(len(children)),
            "children": children,
        }


def node_of(stored: StoredObject) -> str:
    return VERSION if stored.version is not None else stored.kind.value


def uri_of_capabilities(version: Version, node: str) -> str:
    return f"{ROOTS[version]}{CAPABILITIES}/{node}/"


def _limits(site: Site) -> tuple[Claim, ...]:
    """What `metadata.new_metadata` enforces."""
    return (
        Claim("cdmi_metadata_maxitems", (SYSTEM,), str(site.metadata_maxitems)),
        Claim("cdmi_metadata_maxsize", (SYSTEM,), str(site.metadata_maxsize_bytes)),
        Claim("cdmi_metadata_maxtotalsize", (SYSTEM,), str(site.metadata_maxtotalsize_bytes)),
    )


def _of_metadata(site: Site) -> Iterable[Claim]:
    for item in STORAGE_ITEMS:
        if item.capability is not None:
            of_versions = (VERSION,) if item.of_versions else ()
            yield Claim(item.capability, (*sorted(item.kinds), *of_versions))
    # The door evaluates cdmi_acl, and obeys holds and retention.
    yield Claim("cdmi_security_access_control", (SYSTEM,))
    yield Claim("cdmi_security_immutability", (SYSTEM,))
    yield Claim("cdmi_security_data_integrity", (SYSTEM,))
    for policy in POLICIES:
        claim = policy.claim(site)
        if claim is not None:
            disks = (ALL_DISKS, DISK, SERVED_DISK) if is_of_disks(site, policy) else ()
            yield Claim(policy.capability, (*sorted(policy.kinds), *disks), claim)
