"""What is stored through CDMI, as frozen rows: containers, data objects, queues and references."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from backends.acl import AceMask, Acl
from backends.errors import CloudError
from backends.values import Received

COMPLETE = "Complete"
PROCESSING = "Processing"
SNAPSHOTS = "cdmi_snapshots"
"""The child of a container that holds its snapshots."""
DISKS = "disks"
"""The child of every root whose children are the project's disks."""
RESERVED_NAMES = frozenset({"cdmi_objectid", "cdmi_domains", "cdmi_capabilities", SNAPSHOTS, "cdmi_versions"})
NAME_MAX_BYTES = 1024

VERSIONING = "cdmi_versioning"
"""How much of an update makes a version (1.1.1 §23.5): `value`, `user` (user metadata too) or `all`."""
VERSIONS_COUNT, VERSIONS_AGE, VERSIONS_SIZE = "cdmi_versions_count", "cdmi_versions_age", "cdmi_versions_size"
"""Limits of what is retained beside the current version: in numbers, seconds and bytes."""
OF_VERSIONING = (VERSIONING, VERSIONS_COUNT, VERSIONS_AGE, VERSIONS_SIZE)

VALUE_HASH = "cdmi_value_hash"
HASHES = ("SHA256",)
"""What a value may be asked to be hashed by."""

Metadata = Mapping[str, Any]
"""User and data system metadata, as JSON."""


class ObjectKind(StrEnum):
    CONTAINER = "container"
    DATAOBJECT = "dataobject"
    QUEUE = "queue"
    REFERENCE = "reference"


class Encoding(StrEnum):
    """How a value travels in JSON; it is stored as it is."""

    UTF_8 = "utf-8"
    BASE64 = "base64"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Address:
    """Where something is: names from the project's root, or from the object that `start` is."""

    names: tuple[str, ...] = ()
    start: UUID | None = None

    def child(self, name: str) -> Address:
        return Address((*self.names, name), self.start)


@dataclass(frozen=True, slots=True)
class Versions:
    """Of a data object, or as one of its versions shows them: the newest, the oldest, and its own neighbours."""

    current: UUID
    oldest: UUID
    parent: UUID | None
    child: UUID | None


@dataclass(frozen=True, slots=True)
class StoredObject:
    id: UUID
    parent_id: UUID | None
    """Of a version its data object."""
    name: str | None
    """None: the root, or something that is reached by its ID only, as versions are."""
    kind: ObjectKind
    owner: str
    metadata: Metadata
    mimetype: str
    encoding: Encoding
    completion: str
    """`Complete`, `Processing` or `Error…`."""
    target: str | None
    """Of a reference: where it points."""
    size_bytes: int
    contiguous_bytes: int
    """Up to the first gap that nobody has written."""
    created_at: datetime
    modified_at: datetime
    modifications: int
    value: bytes | None = field(default=None, repr=False)
    """If it was asked for and stands in the row."""
    value_file: UUID | None = None
    first_position: int = 0
    """Of a queue: the number of its oldest value."""
    next_position: int = 0
    """Of a queue: the number that the next value gets."""
    fields: Metadata = field(default_factory=dict)
    """Those that the standard doesn't define, as the client gave them."""
    sha256: bytes | None = None
    """Of the value, where it was asked for before the value was written, or since."""
    is_new: bool = False
    """Processing since it was made."""
    version: int | None = None
    """Of a version: its place among those of its data object."""
    current_version: int | None = None
    """Of a data object with versions: the number of the newest."""
    same_value: bool = False
    """Of a version: its value is the one that its data object has."""
    versions: Versions | None = None
    """Of a data object that has some, and of each of them."""
    feed_status: str | None = None
    """Of a queue that the cloud fills."""
    is_watched: bool = False
    """Of the topmost of a way: whether queues are told of what happens in its project."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object, the way to it, and what the caller may do with it."""

    object: StoredObject
    names: tuple[str, ...] | None
    """From the root down; None when only its ID leads to it. Those of a version are its data object's."""
    parent_id: UUID | None
    acl: Acl
    rights: AceMask
    parent_rights: AceMask
    ancestors: tuple[StoredObject, ...] = ()
    is_watched: bool = True
    """Whether queues may have to be told of what happens to it."""

    @property
    def address(self) -> Address:
        return Address(start=self.object.id)

    @property
    def chain(self) -> tuple[Metadata, ...]:
        """The metadata of the object and of all above it, the root's first."""
        return tuple(one.metadata for one in (*self.ancestors, self.object))

    def asked(self, name: str) -> Any:
        """Data system metadata as it applies here: the object's own, else the nearest above it (1.1.1 §16.4)."""
        return next((metadata[name] for metadata in reversed(self.chain) if metadata.get(name) is not None), None)


@dataclass(frozen=True, slots=True)
class Child:
    name: str
    kind: ObjectKind
    size_bytes: int
    modified_at: datetime
    mimetype: str
    rights: AceMask
    """The caller's, to the child."""


@dataclass(frozen=True, slots=True)
class NewObject:
    kind: ObjectKind
    metadata: Metadata = field(default_factory=dict)
    mimetype: str = "text/plain"
    encoding: Encoding = Encoding.UTF_8
    completion: str = COMPLETE
    target: str | None = None
    id: UUID | None = None
    """Of what was serialized once; another is chosen if it is taken."""
    fields: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OldVersion:
    """A version that was serialized, to be restored with its data object."""

    new: NewObject
    value: Received


@dataclass(frozen=True, slots=True)
class ObjectChanges:
    """None: as it was."""

    metadata: Metadata | None = None
    mimetype: str | None = None
    encoding: Encoding | None = None
    completion: str = COMPLETE
    fields: Metadata | None = None


NO_CHANGES = ObjectChanges()

Change = Callable[[Found], ObjectChanges]
"""What is to become of an object, from what it is once nobody else can change it: what was read before may be old."""


def unchanged(_: Found) -> ObjectChanges:
    return NO_CHANGES


class Referred(CloudError):
    """The way leads through a reference: go on at `target`, with `rest` after it."""

    def __init__(self, target: str, rest: tuple[str, ...]) -> None:
        super().__init__(f"a reference leads to {target}")
        self.target = target
        self.rest = rest
