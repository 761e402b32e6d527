"""Metadata items: those that the server tells, those that tell the server something, and the user's own.

Each item is one object that knows its name, where it applies, and what it does; capabilities follow from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from backends import feeds
from backends.acl import AceMask, render_acl
from backends.errors import Invalid
from backends.feeds import FeedKind
from backends.objects import Found, Metadata, ObjectKind
from cdmi_server import policies
from cdmi_server.negotiation import ROOTS
from cdmi_server.paths import BY_ID
from cdmi_server.policies import STORED
from cdmi_server.site import Site, Spoken
from renderers.cdmi.fields import Selection
from renderers.cdmi.objectid import encode
from renderers.cdmi.representation import format_time


@dataclass(frozen=True, slots=True)
class StorageItem:
    """Storage system metadata: what the server knows about an object, None where it doesn't.

    `capability` is None where none exists. `kinds` are those that have it; `of_versions`: versions have it too.
    """

    name: str
    read: Callable[[Spoken, Found], Any]
    kinds: frozenset[ObjectKind] = STORED
    right: AceMask = AceMask.READ_METADATA
    capability: str | None = None
    of_versions: bool = True

    def is_of(self, found: Found) -> bool:
        return self.of_versions if found.object.version is not None else found.object.kind in self.kinds


def _by_id(call: Spoken, identity: UUID) -> str:
    return f"{ROOTS[call.version]}{BY_ID}/{encode(identity, call.site.enterprise_number)}"


def _version_object(call: Spoken, found: Found) -> str | None:
    holder = found.object.id if found.object.version is None else found.object.parent_id
    return _by_id(call, holder) if found.object.versions is not None and holder is not None else None


def _version(which: str) -> Callable[[Spoken, Found], Any]:
    """The URI of one of the versions, where there is such a one."""

    def read(call: Spoken, found: Found) -> str | None:
        identity = getattr(found.object.versions, which, None)
        return None if identity is None else _by_id(call, identity)

    return read


def _versions(which: str) -> Callable[[Spoken, Found], Any]:
    """The same as an array, since there could be several if updates didn't follow each other."""

    def read(call: Spoken, found: Found) -> list[str] | None:
        uri = _version(which)(call, found)
        return None if found.object.versions is None else [uri] if uri is not None else []

    return read


def _feed_status(found: Found, kind: FeedKind) -> str | None:
    return found.object.feed_status if feeds.feed_kind(found.object.metadata) is kind else None


STORAGE_ITEMS = (
    StorageItem("cdmi_owner", lambda _, found: found.object.owner or "OWNER@"),
    StorageItem(
        "cdmi_size",
        lambda _, found: str(found.object.size_bytes),
        kinds=frozenset({ObjectKind.DATAOBJECT}),
        capability="cdmi_size",
    ),
    StorageItem(
        "cdmi_hash",
        lambda _, found: policies.hash_of(found),
        kinds=frozenset({ObjectKind.DATAOBJECT}),
    ),
    StorageItem("cdmi_ctime", lambda _, found: format_time(found.object.created_at), capability="cdmi_ctime"),
    StorageItem("cdmi_mtime", lambda _, found: format_time(found.object.modified_at), capability="cdmi_mtime"),
    StorageItem("cdmi_mcount", lambda _, found: str(found.object.modifications), capability="cdmi_mcount"),
    StorageItem(
        "cdmi_notification_status",
        lambda _, found: _feed_status(found, FeedKind.NOTIFICATION),
        kinds=frozenset({ObjectKind.QUEUE}),
        of_versions=False,
    ),
    StorageItem(
        "cdmi_query_status",
        lambda _, found: _feed_status(found, FeedKind.QUERY),
        kinds=frozenset({ObjectKind.QUEUE}),
        of_versions=False,
    ),
    StorageItem("cdmi_acl", lambda _, found: render_acl(found.acl), right=AceMask.READ_ACL, capability="cdmi_acl"),
    *(
        StorageItem(name, read, kinds, capability=name)
        for name, read, kinds in (
            ("cdmi_version_object", _version_object, frozenset({ObjectKind.DATAOBJECT})),
            ("cdmi_version_current", _version("current"), frozenset({ObjectKind.DATAOBJECT})),
            ("cdmi_version_oldest", _versions("oldest"), frozenset({ObjectKind.DATAOBJECT})),
            ("cdmi_version_parent", _version("parent"), frozenset()),
            ("cdmi_version_children", _versions("child"), frozenset()),
        )
    ),
)


SERVERS = frozenset({item.name for item in STORAGE_ITEMS if item.name != "cdmi_acl"} | {"cdmi_atime", "cdmi_acount"})
"""Clients send them back when they write what they have read; they are passed over."""
NOT_OBEYED = frozenset({"cdmi_assignedsize", "cdmi_authentication_methods"})
"""The standard's other data system metadata: kept, since a client may ask for it, and without a `_provided`."""
OF_QUEUES = frozenset(
    {
        feeds.TYPE,
        feeds.EVENTS,
        feeds.SCOPE,
        feeds.RESULTS,
        "cdmi_logging_class",
    }
)
"""What makes the cloud fill a queue; logging queues can be made and stay empty (1.1.1 §20)."""
WRITABLE = frozenset(policies.BY_NAME.keys() | NOT_OBEYED | OF_QUEUES | {"cdmi_acl"})


def read_metadata(call: Spoken, found: Found, prefixes: tuple[str, ...] | None = None) -> dict[str, Any]:
    """All that the caller may read, or the items whose names start so."""
    items: dict[str, Any] = {}
    if found.rights & AceMask.READ_METADATA:
        items.update({name: value for name, value in found.object.metadata.items() if name != "cdmi_acl"})
        items.update(policies.provided(call.site, found))
    for item in STORAGE_ITEMS:
        if item.is_of(found) and found.rights & item.right:
            value = item.read(call, found)
            if value is not None:
                items[item.name] = value
    if prefixes is None:
        return items
    return {name: value for name, value in items.items() if name.startswith(prefixes)}


def new_metadata(site: Site, given: object) -> Metadata:
    """From a body: the user's own and data system metadata, as far as the site does what it asks."""
    kept = _bounded(site, given)
    for name, value in kept.items():
        policies.check(site, name, value)
    return kept


def _bounded(site: Site, given: object) -> Metadata:
    """Without what is the server's own, and within the limits that the capabilities name."""
    if not isinstance(given, dict):
        raise Invalid("metadata must be a JSON object")
    kept = {}
    users = 0
    total_bytes = 0
    for name, value in given.items():
        if name.startswith("cdmi_"):
            if name in SERVERS or name.endswith("_provided"):
                continue
            if name not in WRITABLE:
                raise Invalid(f"the metadata item is {name[:80]!r}: names that start with cdmi_ are the standard's own")
        else:
            users += 1
            size_bytes = len(name.encode()) + len(orjson.dumps(value))
            total_bytes += size_bytes
            if size_bytes > site.metadata_maxsize_bytes:
                raise Invalid(
                    f"the metadata item {name[:80]!r} has {size_bytes} bytes: at most"
                    f" {site.metadata_maxsize_bytes} are expected (cdmi_metadata_maxsize)"
                )
        kept[name] = value
    if users > site.metadata_maxitems:
        raise Invalid(f"there are {users} metadata items: at most {site.metadata_maxitems} are expected")
    if total_bytes > site.metadata_maxtotalsize_bytes:
        raise Invalid(f"the metadata has {total_bytes} bytes: at most {site.metadata_maxtotalsize_bytes} are expected")
    return kept


def replaced_metadata(site: Site, old: Metadata, given: object) -> Metadata:
    """All of it, but for a list of access rights that isn't given anew."""
    own_acl = {"cdmi_acl": old["cdmi_acl"]} if "cdmi_acl" in old else {}
    return {**own_acl, **new_metadata(site, given)}


def changed_metadata(site: Site, old: Metadata, body: Mapping[str, Any], selection: Selection) -> Metadata | None:
    """What an update makes of it: items that the URI names are set or deleted, else all replaced. None: no change."""
    if "metadata" not in body and not any(field.name == "metadata" for field in selection):
        return None
    names = selection.parts_of("metadata")
    given = body.get("metadata", {})
    if names is None:
        return replaced_metadata(site, old, given)
    if not isinstance(given, dict):
        raise Invalid("metadata must be a JSON object")
    kept = {name: value for name, value in old.items() if name not in names}
    changed = new_metadata(site, {name: value for name, value in given.items() if name in names})
    return _bounded(site, {**kept, **changed})
