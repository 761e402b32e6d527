"""What the CDMI subject keeps: a tree of nodes, their IDs, metadata and capabilities. No HTTP."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from conformance.cdmi.fields import crc16
from tests.unit.conformance.http_subject import Refusal

ALL = 0x1F07FF
ACE_NAMES = {"ALLOW": 0, "DENY": 1, "NO_FLAGS": 0, "ALL_PERMS": ALL, "WRITE_OBJECT": 0x2, "APPEND_DATA": 0x4}
READ_OBJECT, WRITE_OBJECT, READ_METADATA, WRITE_METADATA, DELETE = 0x1, 0x2, 0x8, 0x10, 0x10000
SYSTEM_ITEMS = {"cdmi_size", "cdmi_ctime", "cdmi_mtime", "cdmi_atime", "cdmi_mcount", "cdmi_owner"}
VERSIONING, VERSIONS_COUNT = "cdmi_versioning", "cdmi_versions_count"
DATA_ITEMS = {
    "cdmi_retention_period", "cdmi_hold_id", "cdmi_acl", "cdmi_retention_id", "cdmi_assignedsize", VERSIONING,
    VERSIONS_COUNT,
}  # fmt: skip
QUEUE_ITEMS = {
    "cdmi_queue_type", "cdmi_notification_events", "cdmi_scope_specification", "cdmi_results_specification",
    "cdmi_logging_class",
}  # fmt: skip
FEEDS = ("cdmi_notification_queue", "cdmi_query_queue")
RESERVED = {"cdmi_objectid", "cdmi_domains", "cdmi_capabilities", "cdmi_snapshots", "cdmi_versions"}
PERIOD = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)")

SYSTEM = """domains dataobjects notification query queues references snapshots serialization_json multipart_mime
    export_iscsi export_occi_iscsi security_access_control
    object_move_from_local object_copy_from_local object_move_from_ID
    object_access_by_ID post_dataobject_by_ID post_queue_by_ID valuetransferencoding_json"""
CONTAINER = """list_children list_children_range read_metadata modify_metadata snapshot serialize_dataobject
    serialize_container deserialize_dataobject deserialize_container create_dataobject create_container create_queue
    create_reference post_dataobject post_queue export_container_iscsi export_container_occi delete_container
    move_container copy_container move_dataobject copy_dataobject acl"""
OBJECT = """read_value read_value_range read_metadata modify_value modify_value_range modify_metadata
    delete_dataobject acl data_retention data_holds version_object version_current version_oldest"""
VERSION = "read_value read_metadata delete_dataobject acl version_object version_current version_oldest"
QUEUE = "read_value read_metadata modify_value modify_metadata delete_queue"
DOMAIN = "read_metadata list_children domain_summary"
SUMMARY = b'{"cdmi_domainURI": "/cdmi_domains/", "cdmi_summary_start": "2026-01-01", "cdmi_summary_end": "2027-01-01"}'
LIMITS = {"cdmi_metadata_maxitems": "20", "cdmi_metadata_maxsize": "300", "cdmi_metadata_maxtotalsize": "1000"}


def claimed(names: str) -> dict[str, Any]:
    return {f"cdmi_{name}": "true" for name in names.split()}


@dataclass
class Node:
    """A container, data object, queue, domain, capabilities object or reference."""

    kind: str
    id: str
    name: str = ""
    parent: Node | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)
    exports: dict[str, Any] = field(default_factory=dict)
    snapshots: dict[str, Node] = field(default_factory=dict)
    capabilities: dict[str, Any] = field(default_factory=dict)
    mimetype: str = "text/plain"
    encoding: str = "utf-8"
    octets: bytes = b""
    gap_at: int | None = None
    partial: bool = False
    reference: str = ""
    values: list[tuple[int, bytes, str, str]] = field(default_factory=list)
    """Of a queue: number, bytes, mimetype and encoding."""
    next_value: int = 0
    created: str = ""
    modified: str = ""
    changes: int = 0
    acl: list[dict[str, Any]] = field(default_factory=list)
    version_of: Node | None = None
    versions: list[Node] = field(default_factory=list)
    """Of a data object, the oldest first."""

    @property
    def is_container(self) -> bool:
        return self.kind in ("container", "capability", "domain")

    def below(self) -> Iterator[Node]:
        for child in (*self.children.values(), *self.snapshots.values()):
            yield child
            yield from child.below()

    def users(self) -> dict[str, Any]:
        return {name: value for name, value in self.metadata.items() if not name.startswith("cdmi_")}


class Store:
    """The tree and what is always true of it."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.last_time = ""
        self.by_id: dict[str, Node] = {}
        self.system: dict[str, Any] = {**claimed(SYSTEM), **LIMITS}
        self.claims = {
            "container": {**claimed(CONTAINER), "cdmi_size": "true"},
            "dataobject": {
                **claimed(OBJECT),
                "cdmi_value_hash": ["SHA256"],
                VERSIONING: ["value", "user", "all"],
                VERSIONS_COUNT: "10",
            },
            "queue": claimed(QUEUE),
            "domain": claimed(DOMAIN),
        }
        self.root = self.new("container", "", None)
        self.top = self.new("capability", "cdmi_capabilities", self.root)
        self.top.capabilities = self.system
        for kind, capabilities in self.claims.items():
            node = self.new("capability", kind, self.top)
            node.capabilities = capabilities
            self.top.children[kind] = node
        objects = self.top.children["dataobject"]
        versions = self.new("capability", "dataobject_version", objects)
        versions.capabilities = claimed(f"{VERSION} version_parent version_children")
        objects.children[versions.name] = versions
        self.domains = self.new("domain", "cdmi_domains", self.root)
        summaries = self.new("container", "cdmi_domain_summary", self.domains)
        self.domains.children[summaries.name] = summaries
        summaries.children["cumulative"] = self.new("object", "cumulative", summaries)
        summaries.children["cumulative"].octets = SUMMARY

    def new_id(self) -> str:
        octets = bytearray(bytes.fromhex("0000A0A400100000") + next(self.numbers).to_bytes(8, "big"))
        octets[6:8] = crc16(bytes(octets)).to_bytes(2, "big")
        return octets.hex().upper()

    def now(self) -> str:
        """Later than at the last call, whatever the clock says."""
        found = datetime.now(UTC)
        while found.strftime("%Y-%m-%dT%H:%M:%S.%fZ") <= self.last_time:
            found += timedelta(microseconds=1)
        self.last_time = found.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return self.last_time

    def new(self, kind: str, name: str, parent: Node | None, identifier: str = "") -> Node:
        node = Node(kind, identifier or self.new_id(), name, parent)
        node.created = node.modified = self.now()
        node.acl = self.inherited(parent)
        self.by_id[node.id.upper()] = node
        return node

    def inherited(self, parent: Node | None) -> list[dict[str, Any]]:
        found = [one for one in parent.acl if int(one["aceflags"], 16) & 7 in (1, 2, 3)] if parent else []
        owner = {"acetype": "0x0", "identifier": "OWNER@", "aceflags": "0x0", "acemask": f"{ALL:#010x}"}
        return [dict(one) for one in found] or [owner]

    def place(self, node: Node) -> None:
        assert node.parent is not None
        node.parent.children[node.name] = node

    def unregister(self, node: Node) -> None:
        for one in (node, *node.below()):
            for each in (one, *one.versions):
                self.by_id.pop(each.id.upper(), None)

    def remove(self, node: Node) -> None:
        self.unregister(node)
        if node.version_of is not None:
            self.remove_version(node, node.version_of)
            return
        if node.parent is None:
            return
        for held in (node.parent.children, node.parent.snapshots):
            if held.get(node.name) is node:
                del held[node.name]

    def remove_version(self, version: Node, holder: Node) -> None:
        is_current = holder.versions[-1] is version
        holder.versions.remove(version)
        if is_current and holder.metadata.get(VERSIONING):
            for attribute in ("octets", "mimetype", "encoding"):
                setattr(holder, attribute, getattr(holder.versions[-1], attribute))

    def is_due(self, node: Node, *, is_new: bool) -> bool:
        """Whether the object differs from its current version in what its level keeps."""
        level = node.metadata.get(VERSIONING)
        if not level or node.partial:
            return False
        if not node.versions or level == "all" or is_new:
            return True
        last = node.versions[-1]
        differs = (last.octets, last.mimetype, last.encoding) != (node.octets, node.mimetype, node.encoding)
        return differs or (level == "user" and last.users() != node.users())

    def keep_version(self, node: Node, *, is_new: bool = False) -> Node | None:
        """The version that has been made, if one was due; `is_new`: versions are asked for as from now."""
        if not self.is_due(node, is_new=is_new):
            return None
        made = self.copied(node, node.name, node.parent)
        made.metadata = {
            name: value for name, value in made.metadata.items() if name not in (VERSIONING, VERSIONS_COUNT)
        }
        made.version_of = node
        node.versions.append(made)
        while len(node.versions) - 1 > int(node.metadata.get(VERSIONS_COUNT, 10**9)):
            self.remove(node.versions[0])
        return made

    def touch(self, node: Node) -> None:
        node.modified = self.now()
        node.changes += 1

    # -- rights ----------------------------------------------------------------------------------

    def claim(self, kind: str | None, name: str) -> bool:
        capabilities = self.system if kind is None else self.claims[kind]
        return bool(capabilities.get(f"cdmi_{name}"))

    def need(self, kind: str | None, *names: str) -> None:
        for name in names:
            if not self.claim(kind, name):
                raise Refusal(400, f"cdmi_{name} is not claimed")

    def permitted(self, node: Node, mask: int) -> bool:
        allowed = denied = 0
        for one in (node.version_of or node).acl:
            if one["identifier"] in ("OWNER@", "EVERYONE@", "AUTHENTICATED@"):
                bits = int(one["acemask"], 16)
                if int(one["acetype"], 16) == 0:
                    allowed |= bits & ~denied
                else:
                    denied |= bits & ~allowed
        return allowed & mask == mask

    def permit(self, node: Node, mask: int) -> None:
        if not self.permitted(node, mask):
            raise Refusal(403, "not permitted by the ACL")

    def retained(self, node: Node) -> bool:
        match = PERIOD.fullmatch(str(node.metadata.get("cdmi_retention_period", "")))
        kept = bool(match and datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") < match.group(2))
        return kept or bool(node.metadata.get("cdmi_hold_id"))

    def must_not_be_retained(self, node: Node, below: bool = False) -> None:
        if any(self.retained(one.version_of or one) for one in (node, *(node.below() if below else ()))):
            raise Refusal(403, "under retention or on hold")

    # -- metadata --------------------------------------------------------------------------------

    def shown_metadata(self, node: Node) -> dict[str, Any]:
        found = dict(node.metadata)
        if node.kind == "object":
            found["cdmi_size"] = str(len(node.octets))
        found |= {"cdmi_ctime": node.created, "cdmi_mtime": node.modified, "cdmi_mcount": str(node.changes)}
        found |= {"cdmi_owner": "tester", "cdmi_acl": node.acl}
        found |= self.shown_versions(node)
        if node.metadata.get("cdmi_queue_type") in FEEDS:
            found[node.metadata["cdmi_queue_type"].replace("_queue", "_status")] = "Current"
        return found

    def shown_versions(self, node: Node) -> dict[str, Any]:
        holder = node.version_of or node
        if not holder.versions:
            return {}
        uris = [f"/cdmi_objectid/{one.id}" for one in holder.versions]
        found = {
            "cdmi_version_object": f"/cdmi_objectid/{holder.id}",
            "cdmi_version_current": uris[-1],
            "cdmi_version_oldest": uris[:1],
        }
        if node is holder:
            return found
        at = next(number for number, one in enumerate(holder.versions) if one is node)
        above = {"cdmi_version_parent": uris[at - 1]} if at else {}
        return {**found, **above, "cdmi_version_children": uris[at + 1 : at + 2]}

    def set_metadata(self, node: Node, sent: Any, items: list[str] | None) -> None:
        """Replace all, or only the named items."""
        if not isinstance(sent, dict):
            raise Refusal(400, "metadata is no object")
        if node.metadata.get("cdmi_queue_type") in FEEDS and (QUEUE_ITEMS - {"cdmi_queue_type"}) & set(items or sent):
            raise Refusal(403, "fixed while the queue is of its type")
        if items is not None:
            sent = {name: value for name, value in sent.items() if name in items}
        kept = {} if items is None else {name: v for name, v in node.metadata.items() if name not in items}
        if items is None:
            kept = {name: v for name, v in node.metadata.items() if name in DATA_ITEMS}
        acl = self.checked_acl(sent["cdmi_acl"]) if "cdmi_acl" in sent else None
        for name, value in sent.items():
            if name in SYSTEM_ITEMS or name.endswith("_provided") or name == "cdmi_acl":
                continue
            if name.startswith("cdmi_") and name not in DATA_ITEMS | QUEUE_ITEMS:
                raise Refusal(400, f"{name} is not the user's")
            self.check_retention(node, name, value)
            kept[name] = value
        users = {name: value for name, value in kept.items() if not name.startswith("cdmi_")}
        sizes = [len(name) + len(str(value)) for name, value in users.items()]
        limits = [
            int(self.system.get(f"cdmi_metadata_{name}", 10**9)) for name in ("maxitems", "maxsize", "maxtotalsize")
        ]
        if len(users) > limits[0] or max(sizes, default=0) > limits[1] or sum(sizes) > limits[2]:
            raise Refusal(400, "too much metadata")
        node.metadata = kept
        node.acl = acl or node.acl

    def check_retention(self, node: Node, name: str, value: Any) -> None:
        if name == "cdmi_retention_period":
            match = PERIOD.fullmatch(str(value))
            if not match or match.group(2) < match.group(1):
                raise Refusal(400, "no interval")
            before = PERIOD.fullmatch(str(node.metadata.get(name, "")))
            if before and match.group(2) < before.group(2) and self.retained(node):
                raise Refusal(403, "retention can only be lengthened")
        if name == "cdmi_hold_id" and not set(node.metadata.get(name, [])) <= set(value):
            raise Refusal(403, "holds can only be added")

    def checked_acl(self, acl: Any) -> list[dict[str, Any]]:
        if not isinstance(acl, list):
            raise Refusal(400, "no ACL")
        for one in acl:
            if not isinstance(one, dict) or not {"acetype", "identifier", "aceflags", "acemask"} <= set(one):
                raise Refusal(400, "no ACE")
        numbers = ("acetype", "aceflags", "acemask")
        return [{**one, **{name: self.number(str(one[name])) for name in numbers}} for one in acl]

    def number(self, given: str) -> str:
        words = [word.strip() for word in given.split(",")]
        if set(words) <= ACE_NAMES.keys():
            return f"{sum(ACE_NAMES[word] for word in words):#x}"
        if not re.fullmatch("0x[0-9a-fA-F]+", given):
            raise Refusal(400, "no number")
        return given

    # -- values ----------------------------------------------------------------------------------

    def write_range(self, node: Node, first: int, octets: bytes) -> None:
        if first > len(node.octets):
            node.gap_at = node.gap_at or len(node.octets)
            node.octets += bytes(first - len(node.octets))
        node.octets = node.octets[:first] + octets + node.octets[first + len(octets) :]

    def copied(self, source: Node, name: str, parent: Node | None) -> Node:
        """A copy of a node and all below it, with IDs of its own."""
        node = self.new(source.kind, name, parent)
        for attribute in ("mimetype", "encoding", "octets", "gap_at", "reference", "next_value"):
            setattr(node, attribute, getattr(source, attribute))
        node.metadata = {
            name: value for name, value in source.metadata.items() if not re.match("cdmi_(retention|hold)", name)
        }
        node.other, node.values = dict(source.other), list(source.values)
        node.children = {key: self.copied(child, key, node) for key, child in source.children.items()}
        return node


def decoded(encoding: str, value: Any) -> bytes:
    """The bytes that a value field stands for."""
    if encoding == "json":
        if not isinstance(value, dict):
            raise Refusal(400, "no JSON object")
        return json.dumps(value, ensure_ascii=False).encode()
    if not isinstance(value, str):
        raise Refusal(400, "the value is no string")
    if encoding == "utf-8":
        return value.encode()
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:
        raise Refusal(400, "no base64") from error


def encoded(encoding: str, octets: bytes) -> Any:
    if encoding == "json":
        return json.loads(octets)
    return octets.decode() if encoding == "utf-8" else base64.b64encode(octets).decode()
