"""The door to whole trees: copying, moving, and snapshots. Values are shared: none that is whole changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from backends import retention
from backends.acl import AceMask
from backends.cloud.door import once_more
from backends.cloud.objects import check_metadata, check_name, own_changes
from backends.cloud.values import ValueDoor
from backends.cloud.versions import refuse_version
from backends.cloud.ways import inherited_in
from backends.errors import Conflict, Invalid, NotFound
from backends.feeds import Event
from backends.objects import (
    COMPLETE,
    NO_CHANGES,
    OF_VERSIONING,
    SNAPSHOTS,
    VERSIONING,
    Address,
    Change,
    Found,
    Metadata,
    NewObject,
    ObjectChanges,
    ObjectKind,
    StoredObject,
    unchanged,
)
from backends.store.database import Connection, query

NOT_COPIED = frozenset({"cdmi_acl", *retention.RIGHTS, *OF_VERSIONING})
"""What stays with an object that a copy replaces."""
READING = AceMask.READ_OBJECT | AceMask.READ_METADATA


class TreeDoor(ValueDoor):
    """One statement a tree, however large it is."""

    @once_more
    def copy_object(self, source: Found, address: Address | None, change: Change = unchanged) -> Found:
        """With all that is below it, but without snapshots, holds and retention; it is the caller's."""
        with self._change() as connection:
            source, locked = self._share(connection, source, AceMask.READ_ACL)
            parent = self.may_create(address, source.object.kind) if address else None
            self._refuse_inside(source, parent)
            changes = change(source)
            check_metadata(changes.metadata or {})
            if changes.metadata is None and "cdmi_acl" in _listed(source).metadata:
                self.require(source, AceMask.READ_ACL)
            if source.object.version is not None and changes.metadata is None:
                changes = replace(changes, metadata=_of_its_object(source))
            made = self._copy(connection, source, locked, parent, address.names[-1] if address else None, changes)
            if made.object.kind is ObjectKind.QUEUE:
                self._start_feed(connection, made.object)
            self._tell_of_tree(connection, Event.COPY, made)
            if made.object.kind is ObjectKind.CONTAINER or made.asked(VERSIONING):
                self._settle(connection, None, made)
                made = self._find(made.address)
            return made

    @once_more
    def copy_onto(self, source: Found, target: Found, change: Callable[[Found, Found], ObjectChanges]) -> None:
        """`target`, of the same kind, becomes as `source` is and has copies of its children instead of its own.

        It keeps its ID, place, snapshots, values in a queue, access list, holds and retention.
        """
        with self._change() as connection:
            for one in sorted((source, target), key=lambda found: _listed(found).id):
                self._lock(connection, one)
            source, locked = self._share(connection, self._find(source.address), AceMask.READ_ACL)
            self._refuse_inside(source, target)
            target = self._hold(connection, target)
            is_dataobject = target.object.kind is ObjectKind.DATAOBJECT
            self._require_writing(target, valued=is_dataobject)
            changes = own_changes(_as_in(source.object, target.object, change(source, target)), target.acl)
            target = self._changeable(connection, target, changes, valued=is_dataobject)
            is_container = target.object.kind is ObjectKind.CONTAINER
            if is_dataobject:
                self._drop(target.object.value_file)
                connection.execute(query("objects.share_value"), {"id": target.object.id, "source": source.object.id})
            elif is_container:
                self._replace_children(connection, source, locked, target)
            self._write_changes(connection, target, changes)
            self._changed(connection, target, changes, valued=is_dataobject or is_container)

    def _replace_children(self, connection: Connection, source: Found, locked: Sequence[UUID], target: Found) -> None:
        if target.object.id == self._caller.project_id:
            raise Invalid("the root container can't be replaced")
        now = datetime.now(UTC)
        self.require(target, AceMask.DELETE_OBJECT | AceMask.ADD_OBJECT | AceMask.ADD_SUBCONTAINER)
        self._refuse_kept(target, now)
        self._hold_tree(connection, target)
        self._check_below(connection, target, now)
        above = [one.id for one in (*source.ancestors, source.object)]
        if target.object.id in above:
            child = (*source.ancestors, source.object)[above.index(target.object.id) + 1]
            if child.name != SNAPSHOTS:
                raise Invalid("a container can't be replaced by something in it, but for its snapshots")
        self._tell_of_children(connection, Event.DELETE, target)
        self._delete_rows(connection, "objects.delete_children", target)
        self._copy(connection, source, locked, None, None, NO_CHANGES, onto=target)
        self._tell_of_children(connection, Event.COPY, target)

    @once_more
    def move_object(self, source: Found, address: Address | None, change: Change = unchanged) -> Found:
        """The same objects at another place, or at none but their ID (`address` None)."""
        with self._change() as connection:
            if source.object.kind is ObjectKind.CONTAINER:
                # By the root's row one after the other: two at once could put each into the other.
                connection.execute(query("objects.lock"), {"id": self._caller.project_id})
            self._lock(connection, source)
            source = self._find(source.address)
            refuse_version(source)
            if source.names is not None and SNAPSHOTS in source.names:
                raise Invalid("a snapshot can't be moved, nor what is in it: expected a copy of it")
            parent = self.may_create(address, source.object.kind) if address else None
            if parent is None and source.object.kind is ObjectKind.CONTAINER:
                raise Invalid("a container can't be without a path")
            self._refuse_inside(source, parent)
            self._check_deletable(connection, source)
            self._require_readable(connection, source, AceMask(0))
            changes = own_changes(change(source), inherited_in(parent, source.object.kind))
            if changes != NO_CHANGES:
                changes = replace(changes, completion=source.object.completion)
                self._check_change(source, changes, valued=False)
            values = {
                "id": source.object.id,
                "parent": parent.object.id if parent else None,
                "name": address.names[-1] if address else None,
            }
            try:
                with connection.transaction():
                    connection.execute(query("objects.move"), values)
            except psycopg.errors.UniqueViolation:
                raise Conflict(f"there is something called {values['name']!r} already") from None
            except psycopg.errors.ForeignKeyViolation:
                raise NotFound("the container has just been deleted") from None
            if changes != NO_CHANGES:
                self._write_changes(connection, source, changes)
            moved = self._find(source.address)
            if moved.object.kind is ObjectKind.QUEUE:
                self._change_feed(connection, source.object, moved.object)
            is_versioned = moved.object.current_version is not None or any(
                moved.asked(name) != source.asked(name) for name in OF_VERSIONING
            )
            if is_versioned:
                self._settle(connection, source, moved, is_update=True)
                moved = self._find(source.address)
            self._tell_of(connection, Event.RENAME, moved)
            return moved

    @once_more
    def snapshot_container(self, container: Found, name: str, change: Change = unchanged) -> None:
        """What the container holds, once changed, as a child of its `cdmi_snapshots`, in place of one of the name."""
        check_name(name, ObjectKind.CONTAINER)
        with self._change() as connection:
            self.change_object(container, change)
            container = self._find(Address(start=container.object.id))
            if container.names is not None and SNAPSHOTS in container.names:
                raise Invalid("a snapshot has no snapshots")
            self.require(container, AceMask.ADD_SUBCONTAINER)
            container, locked = self._share(connection, container, AceMask(0))
            folder = self._ensure_snapshots(connection, container)
            try:
                old = self._find(folder.address.child(name))
            except NotFound:
                pass
            else:
                self._check_deletable(connection, old)
                self._delete_rows(connection, "objects.delete", old)
            self._copy(connection, container, locked, folder, name, NO_CHANGES)
            self._tell_of(connection, Event.SNAPSHOT, container)

    def snapshots(self, container: Found) -> list[str]:
        """The names of those that the caller may see."""
        try:
            folder = self._find(container.address.child(SNAPSHOTS))
        except NotFound:
            return []
        return [name for name, _ in self.child_names(folder)] if folder.rights & AceMask.LIST_CONTAINER else []

    def _tell_of_children(self, connection: Connection, event: Event, container: Found) -> None:
        """Of all that is below it, but for its snapshots."""
        if container.is_watched and (listeners := self._listeners(connection, event)):
            depth = len(container.ancestors) + 1
            below = (one for one in self._tree(connection, container) if len(one.ancestors) >= depth)
            in_it = (one for one in below if (*one.ancestors, one.object)[depth].name != SNAPSHOTS)
            self._tell(connection, event, listeners, in_it)

    def _ensure_snapshots(self, connection: Connection, container: Found) -> Found:
        address = container.address.child(SNAPSHOTS)
        try:
            return self._find(address)
        except NotFound:
            new = NewObject(ObjectKind.CONTAINER)
            self._insert_object(
                connection,
                {
                    "id": uuid4(), "parent": container.object.id, "name": SNAPSHOTS, "kind": new.kind.value,
                    "owner": container.object.owner,
                    "metadata": Jsonb({}), "mimetype": "", "encoding": new.encoding.value,
                    "completion": COMPLETE, "target": None, "value": None, "value_file": None, "size_bytes": 0,
                    "written": None, "sha256": None, "fields": Jsonb({}),
                },
            )  # fmt: skip
            return self._find(address)

    def _copy(
        self,
        connection: Connection,
        source: Found,
        locked: Sequence[UUID],
        parent: Found | None,
        name: str | None,
        changes: ObjectChanges,
        onto: Found | None = None,
    ) -> Found:
        """What is below `source` and has been shared, with it, or in place of it below `onto`."""
        copy_id = onto.object.id if onto else uuid4()
        changes = own_changes(changes, inherited_in(parent, source.object.kind))
        values = {
            "source": source.object.id,
            "locked": locked,
            "copy": copy_id,
            "parent": parent.object.id if parent else None,
            "name": name,
            "owner": None if parent and parent.object.name == SNAPSHOTS else self._caller.user_name,
            "onto": onto is not None,
            "metadata": None if changes.metadata is None else Jsonb(changes.metadata),
            "mimetype": changes.mimetype,
            "fields": None if changes.fields is None else Jsonb(changes.fields),
        }
        try:
            with connection.transaction():
                # Planned anew for each: how many are locked makes all the difference.
                connection.execute(query("objects.copy_tree"), values, prepare=False)
        except psycopg.errors.UniqueViolation:
            what = "a child of that name" if onto else f"something called {name!r}"
            raise Conflict(f"there is {what} already") from None
        except psycopg.errors.ForeignKeyViolation:
            raise NotFound("the container has just been deleted") from None
        return self._find(Address(start=copy_id))

    def _share(self, connection: Connection, source: Found, of_lists: AceMask) -> tuple[Found, Sequence[UUID]]:
        """What is to be copied, locked, if the caller may read it. What comes later isn't judged and isn't copied.

        Whoever replaces a value waits, and then sees that its file is shared.
        """
        self.require(source, READING)
        rows = connection.execute(query("objects.lock_tree"), {"id": source.object.id}).fetchall()
        source = self._find(source.address)
        self._require_readable(connection, source, of_lists)
        if any(row[1] != COMPLETE for row in rows):
            raise Conflict("what is to be copied is still being written")
        return source, [row[0] for row in rows]

    def _require_readable(self, connection: Connection, source: Found, of_lists: AceMask) -> None:
        """`of_lists` is what it takes of that below it which has an access list of its own."""
        self.require(source, READING)
        self._require_below(connection, source, READING, AceMask(0), of_lists)

    @staticmethod
    def _refuse_inside(source: Found, parent: Found | None) -> None:
        above = {one.id for one in (*parent.ancestors, parent.object)} if parent else set()
        if source.object.id in above:
            raise Invalid("nothing can be copied or moved into itself")


def _listed(found: Found) -> StoredObject:
    """Whose row `_lock` takes, and whose access list is in force: of a version its data object."""
    return found.object if found.object.version is None else found.ancestors[-1]


def _of_its_object(version: Found) -> Metadata:
    """The metadata of a version with its data object's access list, which is in force for it."""
    above = _listed(version).metadata
    return {**version.object.metadata, **({"cdmi_acl": above["cdmi_acl"]} if "cdmi_acl" in above else {})}


def _as_in(source: StoredObject, target: StoredObject, changes: ObjectChanges) -> ObjectChanges:
    """What makes `target` like `source`, as far as `changes` says nothing else."""
    metadata = {name: value for name, value in source.metadata.items() if name not in NOT_COPIED}
    kept = {name: value for name, value in target.metadata.items() if name in NOT_COPIED}
    return ObjectChanges(
        {**metadata, **kept} if changes.metadata is None else changes.metadata,
        changes.mimetype or source.mimetype or None,
        source.encoding,
        fields=source.fields if changes.fields is None else changes.fields,
    )
