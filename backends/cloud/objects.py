"""The door to what is stored through CDMI: finding it, making it, changing it, deleting it.

A project's tree is its own: nobody else reaches it, by a path or by an ID. Within it `cdmi_acl` decides. Values are in
`values`; whole-tree operations in `trees`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

from backends import acl as acls
from backends import feeds, retention
from backends.acl import AceMask
from backends.cloud.door import once_more
from backends.cloud.feeds import rights_by_list
from backends.cloud.versions import NOT_OF_VERSIONS, VersionDoor, limits_more, refuse_version
from backends.cloud.ways import inherited_in
from backends.errors import Conflict, Invalid, NotAllowed, NotFound
from backends.feeds import Event
from backends.objects import (
    COMPLETE,
    DISKS,
    NAME_MAX_BYTES,
    RESERVED_NAMES,
    SNAPSHOTS,
    VALUE_HASH,
    VERSIONING,
    VERSIONS_AGE,
    Address,
    Change,
    Child,
    Found,
    Metadata,
    NewObject,
    ObjectChanges,
    ObjectKind,
    OldVersion,
    StoredObject,
)
from backends.store.database import Connection, query
from backends.store.ways import contiguous_bytes, tree
from backends.values import Received

RIGHT_NAMES = {
    AceMask.READ_OBJECT: "read it",
    AceMask.WRITE_OBJECT: "write it",
    AceMask.APPEND_DATA: "add to it",
    AceMask.READ_METADATA: "read its metadata",
    AceMask.WRITE_METADATA: "write its metadata",
    AceMask.DELETE: "delete it",
    AceMask.DELETE_OBJECT: "delete what is in it",
    AceMask.READ_ACL: "read its access control list",
    AceMask.WRITE_ACL: "change its access control list",
    AceMask.WRITE_RETENTION: "set its retention",
    AceMask.WRITE_RETENTION_HOLD: "put it on hold",
}
WRITING = AceMask.WRITE_OBJECT | AceMask.APPEND_DATA | AceMask.WRITE_METADATA
"""An update that says nothing, or that an unfinished object is finished, takes one of them."""
WRITING_METADATA = AceMask.WRITE_METADATA | AceMask.WRITE_ACL | AceMask.WRITE_RETENTION | AceMask.WRITE_RETENTION_HOLD
"""Each is enough for some of them."""
HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What ends a line, steers a terminal or turns text around: in a list of names, one would look like others."""
Parts = dict[str, Any]
"""The columns that make a value."""
PUT_INTO = "something was put into the container while it was being deleted"
CHANGES = (Event.MODIFY_PROCESSING, Event.MODIFY_COMPLETE, Event.CREATE_COMPLETE)


class ObjectDoor(VersionDoor):
    _condition: Callable[[Found], None] | None = None

    def change_only_if(self, condition: Callable[[Found], None]) -> None:
        """`condition` is asked about whatever is changed or deleted, once nobody else can change it, and may refuse.

        RFC 9110 §13.2.1: only where the change would be made without it, so that it tells nothing that rights hide.
        """
        self._condition = condition

    def children(self, container: Found, offset: int = 0, limit: int | None = None) -> Sequence[Child]:
        """By name. One query, whatever the container holds."""
        self.require(container, AceMask.LIST_CONTAINER)
        with self._read() as connection:
            rows = connection.execute(
                query("objects.children"), {"parent": container.object.id, "limit": limit, "offset": offset}
            ).fetchall()
        children = []
        for name, kind, size_bytes, modified_at, mimetype, own, owner in rows:
            acl = inherited_in(container, ObjectKind(kind)) if own is None else acls.parse_acl(own)
            rights = rights_by_list(self._caller, acl, owner)
            children.append(Child(name, ObjectKind(kind), size_bytes, modified_at, mimetype or "", rights))
        return children

    def child_names(
        self, container: Found, offset: int = 0, limit: int | None = None
    ) -> Sequence[tuple[str, ObjectKind]]:
        """As `children`, but no more of each than its name and kind."""
        self.require(container, AceMask.LIST_CONTAINER)
        parameters = {"parent": container.object.id, "limit": limit, "offset": offset}
        with self._read() as connection:
            rows = connection.execute(query("objects.child_names"), parameters, binary=True).fetchall()
        kinds = {kind.value: kind for kind in ObjectKind}
        return [(name, kinds[kind]) for name, kind in rows]

    def count_children(self, container: Found) -> int:
        with self._read() as connection:
            row = connection.execute(query("objects.count_children"), {"parent": container.object.id}).fetchone()
        return 0 if row is None else int(row[0])

    def may_create(self, address: Address, kind: ObjectKind) -> Found:
        """The parent, if the caller may make something of the kind there; for who would send a value in vain."""
        if not address.names:
            raise Invalid("there is no name for the new object")
        check_name(address.names[-1], kind)
        parent = self._find_parent(address)
        if parent.object.kind is not ObjectKind.CONTAINER:
            raise NotFound(f"{parent.object.name!r} is no container: nothing can be made in it")
        if parent.names is not None and SNAPSHOTS in parent.names:
            raise Invalid("a snapshot can't be changed")
        right = AceMask.ADD_SUBCONTAINER if kind is ObjectKind.CONTAINER else AceMask.ADD_OBJECT
        self.require(parent, right)
        return parent

    @once_more
    def create_object(
        self,
        address: Address | None,
        new: NewObject,
        value: Received | None = None,
        written: Multirange[int] | None = None,
        versions: Sequence[OldVersion] = (),
    ) -> Found:
        """`address` None makes something that only its ID leads to. `Conflict` if the name is taken.

        `versions` are those that it had once, the oldest first.
        """
        check_metadata(new.metadata)
        if value is not None and value.inline is None:
            self._missed = None  # it took its time: what was found before may be otherwise now
        parent = self.may_create(address, new.kind) if address else None
        metadata = own_metadata(new.metadata, inherited_in(parent, new.kind))
        # One statement makes it, unless queues are to be told, this is one that is to be, or it gets versions.
        level = metadata.get(VERSIONING, parent and parent.asked(VERSIONING))
        is_versioned = bool(versions or level) and new.kind is ObjectKind.DATAOBJECT
        is_more = parent is None or parent.is_watched or feeds.feed_kind(metadata) is not None or is_versioned
        with self._kept(value, written) as parts, self._change() if is_more else self._statement() as connection:
            if parent is None:
                self._ensure_root(connection)
            if value is not None and new.metadata.get(VALUE_HASH, parent and parent.asked(VALUE_HASH)):
                parts["sha256"] = value.sha256()
            columns: Parts = {
                "id": self._free_identity(connection, new.id),
                "name": address.names[-1] if address else None,
                "mimetype": new.mimetype,
                "completion": new.completion,
                "target": new.target,
                **parts,
            }
            created_at, modified_at = self._insert_object(
                connection,
                {
                    **columns,
                    "parent": parent.object.id if parent else None,
                    "kind": new.kind.value,
                    "encoding": new.encoding.value,
                    "metadata": Jsonb(metadata),
                    "fields": Jsonb(new.fields),
                },
            )
            del columns["written"]
            made = StoredObject(
                **columns,
                parent_id=parent.object.id if parent else None,
                kind=new.kind,
                owner=self._caller.user_name,
                metadata=metadata,
                encoding=new.encoding,
                contiguous_bytes=contiguous_bytes(written, parts["size_bytes"]),
                created_at=created_at,
                modified_at=modified_at,
                modifications=0,
                fields=new.fields,
                is_new=new.completion != COMPLETE,
            )
            found = self.below(parent, made)
            if new.kind is ObjectKind.QUEUE:
                self._start_feed(connection, made)
            if versions:
                self._restore_versions(connection, found, value, versions)
                found = self._find(found.address)
            if level and is_versioned:
                self._settle(connection, found, found)
                found = self._find(found.address)
            self._tell_of(connection, _creation(made), found)
            return found

    @once_more
    def change_object(self, found: Found, change: Change, value: Received | None = None) -> None:
        """`value` replaces the whole value. Readers see all of it or nothing. What says nothing is none."""
        with self._kept(value) as parts, self._change() as connection:
            found = self._hold(connection, found)
            self._require_writing(found, valued=value is not None)
            changes = own_changes(change(found), found.acl)
            self._check_change(found, changes, valued=value is not None)
            self._check_condition(found)
            if value is None and _says_nothing(changes, found.object):
                return
            found = self._keep_first(connection, found)
            self._write_changes(connection, found, changes)
            if value is not None:
                if (changes.metadata or {}).get(VALUE_HASH, found.asked(VALUE_HASH)):
                    parts["sha256"] = value.sha256()
                connection.execute(query("objects.set_value"), {"id": found.object.id, **parts})
                self._drop(found.object.value_file)
            self._changed(connection, found, changes, valued=value is not None)

    @once_more
    def delete_object(self, found: Found) -> None:
        """With all that is below it. `Conflict` if somebody puts something there at the same time."""
        with self._change() as connection:
            found = self._hold(connection, found)
            self._check_deletable(connection, found)
            self._check_condition(found)
            if found.object.version is not None:
                self._delete_version(connection, found)
                return
            self._tell_of_tree(connection, Event.DELETE, found)
            self._delete_rows(connection, "objects.delete", found)

    def _restore_versions(
        self, connection: Connection, holder: Found, value: Received | None, versions: Sequence[OldVersion]
    ) -> None:
        """The last may have the very value of its data object."""
        age = holder.asked(VERSIONS_AGE) if holder.asked(VERSIONING) else None
        for number, version in enumerate(versions, 1):
            is_same = number == len(versions) and version.value is value
            with self._kept(None if is_same else version.value) as parts:
                connection.execute(
                    query("versions.insert"),
                    {
                        **parts,
                        "id": self._free_identity(connection, version.new.id),
                        "parent": holder.object.id,
                        "version": number,
                        "metadata": Jsonb(version.new.metadata),
                        "not_of_versions": list(NOT_OF_VERSIONS),
                        "mimetype": version.new.mimetype,
                        "encoding": version.new.encoding.value,
                        "fields": Jsonb(version.new.fields),
                        "same": is_same,
                        "age": int(age) if age not in (None, "") else None,
                    },
                )
        connection.execute(query("versions.set_current"), {"id": holder.object.id, "version": len(versions)})

    def _delete_version(self, connection: Connection, found: Found) -> None:
        """1.1.1 §23.7: the current one's parent becomes the current one, and with it what its data object holds."""
        self._tell_of(connection, Event.DELETE, found)
        if found.object.versions is not None and found.object.versions.current == found.object.id:
            self._revert(connection, found, found.object.versions.parent)
        for row in connection.execute(query("versions.delete"), {"ids": [found.object.id]}).fetchall():
            self._drop(row[0])

    def _revert(self, connection: Connection, gone: Found, parent_id: UUID | None) -> None:
        if parent_id is None:
            raise NotAllowed("this is the only version of its data object: expected that to be deleted")
        holder, parent = (self._find(Address(start=one)) for one in (gone.object.parent_id, parent_id))
        version = {"id": holder.object.id, "version": parent.object.version}
        connection.execute(query("versions.set_current"), version)
        level = holder.asked(VERSIONING)
        if not level or not gone.object.same_value:
            return  # what it holds is no version
        self.require(holder, AceMask.WRITE_OBJECT)
        old, metadata = parent.object, None
        if level != "value":
            own = {name: value for name, value in old.metadata.items() if not name.startswith("cdmi_")}
            metadata = own | {n: value for n, value in holder.object.metadata.items() if n.startswith("cdmi_")}
            if (metadata, old.fields) != (holder.object.metadata, holder.object.fields):
                self.require(holder, AceMask.WRITE_METADATA)
        fields = None if metadata is None else old.fields
        changes = ObjectChanges(metadata, old.mimetype, old.encoding, holder.object.completion, fields)
        connection.execute(query("objects.share_value"), {"id": holder.object.id, "source": old.id})
        self._write_changes(connection, holder, changes)
        connection.execute(query("versions.rejoin"), {"id": old.id})
        self._drop(holder.object.value_file)
        self._tell_of_change(connection, holder)

    def tell_of_read(self, found: Found) -> None:
        """To who wants to know; nothing is asked where nobody is told anything."""
        if found.is_watched:
            with self._change() as connection:
                self._tell_of(connection, Event.READ, found)

    def require(self, found: Found, right: AceMask) -> None:
        """`NotAllowed` unless the caller has the right."""
        missing = right & ~found.rights
        if missing:
            what = RIGHT_NAMES.get(missing, "do that")
            raise NotAllowed(f"the access control list doesn't let {self._caller.user_name} {what}")

    # How it is done

    def _changed(self, connection: Connection, before: Found, changes: ObjectChanges, *, valued: bool = False) -> None:
        """What follows from a change that has been written: versions, a queue that is filled otherwise, notifications.

        `valued`: what the object holds has been replaced.
        """
        self._keep_versions(connection, before, changes, valued=valued)
        is_queue = before.object.kind is ObjectKind.QUEUE
        if is_queue:
            self._change_feed(connection, before.object, self._find(before.address).object)
        if not (is_queue and before.object.feed_status is not None):
            self._tell_of_change(connection, before)

    def _tell_of_change(self, connection: Connection, before: Found) -> None:
        """Which event it is depends on what has become of the object."""
        if before.is_watched and (listeners := self._listeners(connection, *CHANGES)):
            after = self._find(before.address)
            self._tell(connection, _change(before.object, after.object), listeners, [after])

    def _tell_of(self, connection: Connection, event: Event, found: Found) -> None:
        if found.is_watched:
            self._tell(connection, event, self._listeners(connection, event), [found])

    def _tell_of_tree(self, connection: Connection, event: Event, found: Found) -> None:
        """Of an object and all that is below it."""
        if found.is_watched and (listeners := self._listeners(connection, event)):
            self._tell(connection, event, listeners, self._tree(connection, found))

    def _tree(self, connection: Connection, top: Found) -> Iterator[Found]:
        """All that is in it, containers before their children, data objects before their versions."""
        above: dict[UUID | None, Found] = {}
        for stored in tree(connection, self._caller.project_id, top.object.id):
            found = top if stored.id == top.object.id else self.below(above[stored.parent_id], stored)
            if stored.kind is ObjectKind.CONTAINER or stored.current_version is not None:
                above[stored.id] = found
            yield found

    def _insert_object(self, connection: Connection, values: Parts) -> tuple[datetime, datetime]:
        """When it was made and changed, by PostgreSQL's clock."""
        columns = {"project": self._caller.project_id, "owner": self._caller.user_name}
        try:
            row = connection.execute(query("objects.insert"), {**columns, **values}).fetchone()
        except psycopg.errors.ForeignKeyViolation:
            raise NotFound("the container has just been deleted") from None
        if row is None:
            raise Conflict(f"there is something called {values['name']!r} already")
        return row[0], row[1]

    def _free_identity(self, connection: Connection, wanted: UUID | None) -> UUID:
        """The one that is wanted, unless something has it: a root's ID is its project's.

        What has no row of its own has one of another version: domains, capabilities, containers of disks' snapshots.
        """
        if wanted is None or wanted.version != 4:
            return uuid4()
        taken = connection.execute(query("objects.identity_taken"), {"id": wanted}).fetchone()
        return uuid4() if taken is None or taken[0] else wanted

    def _lock(self, connection: Connection, found: Found) -> None:
        """Its row, of a version that of its data object."""
        locked = found.object.id if found.object.version is None else found.object.parent_id
        if connection.execute(query("objects.lock"), {"id": locked}).fetchone() is None:
            raise NotFound("the object has just been deleted")

    def _hold(self, connection: Connection, found: Found) -> Found:
        """The object as it is now, locked."""
        self._lock(connection, found)
        return self._find(Address(start=found.object.id))

    def _check_condition(self, found: Found) -> None:
        if self._condition is not None:
            self._condition(found)

    def _hold_tree(self, connection: Connection, found: Found) -> None:
        """All that is in a container which is about to go, so that nobody puts it on hold or anything into it.

        `Conflict` where somebody just has.
        """
        if found.object.kind is not ObjectKind.CONTAINER:
            return
        # Who writes in it may need the key of his object's container, which is free until he has ended.
        connection.execute(query("objects.lock_tree"), {"id": found.object.id})
        held, there = (
            {row[0] for row in connection.execute(query("objects.hold_tree"), {"id": found.object.id}).fetchall()}
            for _ in range(2)
        )
        if there - held:
            raise Conflict(PUT_INTO)

    def _changeable(self, connection: Connection, found: Found, changes: ObjectChanges, *, valued: bool) -> Found:
        """What is held, if the caller may change it so; perhaps with its first version."""
        self._check_change(found, changes, valued=valued)
        self._check_condition(found)
        return self._keep_first(connection, found)

    def _require_writing(self, found: Found, *, valued: bool) -> None:
        """What any change takes, before it is worked out: what refuses it may tell of what is there."""
        if valued or not found.rights & (WRITING | WRITING_METADATA):
            self.require(found, AceMask.WRITE_OBJECT)

    def _check_change(self, found: Found, changes: ObjectChanges, *, valued: bool) -> None:
        """Whether the caller may change it so."""
        refuse_version(found)
        if found.names is not None and SNAPSHOTS in found.names:
            raise Invalid("a snapshot can't be changed")
        now, old = datetime.now(UTC), found.object
        is_of_value = valued or changes.mimetype is not None or changes.encoding not in (None, old.encoding)
        is_hidden = old.completion == COMPLETE != changes.completion
        if is_of_value or is_hidden:
            self.require(found, AceMask.WRITE_OBJECT)
            self._refuse_kept(found, now)
        elif changes.metadata is None and not found.rights & WRITING:
            self.require(found, AceMask.WRITE_OBJECT)
        if changes.metadata is not None:
            self._check_metadata_change(found, changes.metadata, now)
        if changes.fields not in (None, old.fields):
            self.require(found, AceMask.WRITE_METADATA)
            self._refuse_kept(found, now)

    def _check_metadata_change(self, found: Found, new: Metadata, now: datetime) -> None:
        if not found.rights & WRITING_METADATA:
            self.require(found, AceMask.WRITE_METADATA)
        check_metadata(new)
        old = found.object.metadata
        changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        rights = {"cdmi_acl": AceMask.WRITE_ACL, **retention.RIGHTS}
        for name in sorted(changed):
            self.require(found, rights.get(name, AceMask.WRITE_METADATA))
        feeds.check_change(old, new)
        if changed & retention.RIGHTS.keys() and not found.object.owner and not acls.is_administrator(self._caller):
            raise NotAllowed(f"only the project's administrators put the root or {DISKS} on hold or under retention")
        if limits_more(found, replace(found, object=replace(found.object, metadata=new))):
            self._require_forgettable(found)
        if "cdmi_acl" in changed & new.keys():
            self._check_unlockable(found, acls.parse_acl(new["cdmi_acl"]))
        retention.check_change(old, new, now)
        if changed - retention.RIGHTS.keys():
            self._refuse_kept(found, now)

    def _require_forgettable(self, found: Found) -> None:
        """Limits of versions take the rights to delete all that they are about."""
        if found.object.kind is ObjectKind.CONTAINER:
            with self._read() as connection:
                self._require_below(connection, found, AceMask.DELETE, AceMask.DELETE_OBJECT, AceMask(0))
        else:
            self._require_deletable(found)

    def _check_unlockable(self, found: Found, new: acls.Acl) -> None:
        """Of what nobody owns, the root and the disks: a project may have no administrator who could mend the list."""
        if not found.object.owner and not self._rights(new, found.object) & AceMask.WRITE_ACL:
            user = self._caller.user_name
            raise Invalid(f"cdmi_acl doesn't allow {user} WRITE_ACL: expected a list that its author can change again")

    def _refuse_kept(self, found: Found, now: datetime) -> None:
        for one in (*found.ancestors, found.object):
            reason = retention.reason_to_keep(one.metadata, now)
            if reason is not None:
                of = "it is in" if one.kind is ObjectKind.CONTAINER else "it is a version of"
                what = "it" if one is found.object else f"the {one.kind} {one.name or ''!r} that {of}"
                told = _told(reason, found if one is found.object else self._find(Address(start=one.id)))
                raise NotAllowed(f"{what} can't be changed or deleted: {told}")

    def _delete_rows(self, connection: Connection, name: str, found: Found) -> None:
        """By the query of that name, with the files that values were in."""
        try:
            rows = connection.execute(query(name), {"id": found.object.id}).fetchall()
        except psycopg.errors.ForeignKeyViolation:
            raise Conflict(PUT_INTO) from None
        for row in rows:
            self._drop(row[0])

    def _check_movable(self, found: Found) -> None:
        """Not what every tree has at its place, and no part of a snapshot."""
        if found.object.id == self._caller.project_id:
            raise Invalid("the root container can't be deleted")
        if found.names == (DISKS,):
            raise Invalid(f"{DISKS} can't be deleted or moved: every project's root has it")
        if found.object.name == SNAPSHOTS:
            raise Invalid(f"{SNAPSHOTS} can't be deleted: delete the snapshots in it")
        if found.names is not None and SNAPSHOTS in found.names[:-2]:
            raise Invalid("a snapshot can't be changed: expected it to be deleted as a whole")

    def _check_deletable(self, connection: Connection, found: Found) -> None:
        """The object, and whatever below it has rules of its own; nobody puts it on hold or anything into it then."""
        self._check_movable(found)
        now = datetime.now(UTC)
        in_snapshot = found.names is not None and SNAPSHOTS in found.names
        if in_snapshot:
            # Nobody could mend the lists in a snapshot: its container's decides, as it is now.
            self.require(self._find(Address(start=found.ancestors[-2].id)), AceMask.DELETE | AceMask.DELETE_OBJECT)
        else:
            self._require_deletable(found)
        self._refuse_kept(found, now)
        self._hold_tree(connection, found)
        if not in_snapshot:
            self._check_below(connection, found, now)

    def _require_deletable(self, found: Found) -> None:
        """1.1.1 §16.1.5: a DELETE is refused without DELETE, and without its container's DELETE_OBJECT."""
        self.require(found, AceMask.DELETE)
        if found.parent_id is not None and not found.parent_rights & AceMask.DELETE_OBJECT:
            raise NotAllowed(f"its container's access control list doesn't let {self._caller.user_name} delete it")

    def _check_below(self, connection: Connection, found: Found, now: datetime) -> None:
        """Whether all that is in a container may be deleted."""
        self._require_below(connection, found, AceMask.DELETE, AceMask.DELETE_OBJECT, AceMask(0))
        for identity, metadata in connection.execute(query("objects.below"), {"id": found.object.id}).fetchall():
            reason = retention.reason_to_keep(metadata, now)
            if reason is not None:
                told = _told(reason, self._find(Address(start=identity)))
                raise NotAllowed(f"something in the container can't be deleted: {told}")

    def _require_below(
        self,
        connection: Connection,
        top: Found,
        right: AceMask,
        of_containers: AceMask,
        of_lists: AceMask,
    ) -> None:
        """`right` to all that is in it, by the lists in force; `of_containers` to it and those in it that aren't empty.

        `of_lists` to what in it has a list of its own.
        Rights differ only where the nearest list or the owner does, so each pair of these is judged once.
        """
        rows = connection.execute(query("objects.lists"), {"id": top.object.id}).fetchall()
        for own, level, is_container, owner, is_parent in rows:
            is_top = own is None and level == 0
            acl = acls.passed_down(top.acl if own is None else acls.parse_acl(own), level, container=is_container)
            granted = top.rights if is_top else rights_by_list(self._caller, acl, owner)
            wanted = (AceMask(0) if is_top else right) | (of_containers if is_parent else AceMask(0))
            wanted |= of_lists if level == 0 and not is_top else AceMask(0)
            missing = wanted & ~granted
            if missing:
                of, what = "" if is_top else " of something in it", RIGHT_NAMES.get(missing, "do that")
                raise NotAllowed(f"the access control list{of} doesn't let {self._caller.user_name} {what}")

    def _write_changes(self, connection: Connection, found: Found, changes: ObjectChanges) -> None:
        connection.execute(
            query("objects.change"),
            {
                "id": found.object.id,
                "metadata": None if changes.metadata is None else Jsonb(changes.metadata),
                "mimetype": changes.mimetype,
                "encoding": None if changes.encoding is None else changes.encoding.value,
                "fields": None if changes.fields is None else Jsonb(changes.fields),
                "completion": changes.completion,
            },
        )

    @contextmanager
    def _kept(self, value: Received | None, written: Multirange[int] | None = None) -> Iterator[Parts]:
        """The columns of a value that is on the disk, whose file goes again if the change doesn't come about."""
        parts: Parts = {"value": None, "value_file": None, "size_bytes": 0, "written": written, "sha256": None}
        if value is None:
            yield parts
            return
        parts["size_bytes"] = value.size_bytes
        inline = value.inline
        if inline is not None:
            yield {**parts, "value": inline}
            return
        file = self._values.keep(value)
        self._kept_files.append(file)
        yield {**parts, "value_file": file}


def _told(reason: str, found: Found) -> str:
    """Why it is kept, to who may read its metadata."""
    return reason if found.rights & AceMask.READ_METADATA else "it is kept"


def _says_nothing(changes: ObjectChanges, old: StoredObject) -> bool:
    """Beside what is there: what sets metadata or a MIME type as they are is an update that others may count on."""
    return (
        (changes.metadata, changes.mimetype) == (None, None)
        and changes.encoding in (None, old.encoding)
        and changes.fields in (None, old.fields)
        and changes.completion == old.completion
    )


def _creation(made: StoredObject) -> Event:
    if made.kind is ObjectKind.REFERENCE:
        return Event.REFERENCE
    return Event.CREATE_COMPLETE if made.completion == COMPLETE else Event.CREATE_PROCESSING


def _change(before: StoredObject, after: StoredObject) -> Event:
    """What is whole for the first time has been created."""
    if before.is_new and after.completion == COMPLETE:
        return Event.CREATE_COMPLETE
    return Event.MODIFY_COMPLETE if after.completion == COMPLETE else Event.MODIFY_PROCESSING


def check_name(name: str, kind: ObjectKind) -> None:
    if name in RESERVED_NAMES or (kind is ObjectKind.CONTAINER and name.startswith("cdmi_")):
        raise Invalid(f"the name is {name[:80]!r}: names that start with cdmi_ are the standard's own")
    if not name or name in (".", "..") or any(character in name for character in "/?\0"):
        raise Invalid(f"the name is {name[:80]!r}: expected one without '/', '?' and NUL that isn't '.' or '..'")
    if hidden := HIDDEN.search(name):
        code = f"U+{ord(hidden[0]):04X}"
        raise Invalid(f"the name is {name[:80]!a}: expected one without control characters such as {code}")
    if len(name.encode("utf-8", "surrogatepass")) > NAME_MAX_BYTES:
        raise Invalid(f"the name has {len(name)} characters: expected at most {NAME_MAX_BYTES} bytes")


def check_metadata(metadata: Metadata) -> None:
    if metadata.get("cdmi_acl") is not None:
        acls.parse_acl(metadata["cdmi_acl"])
    retention.check_metadata(metadata)
    feeds.check_metadata(metadata)


def own_metadata(metadata: Metadata, shown: acls.Acl) -> Metadata:
    """Without a list that is only sent back: the inherited one that is `shown`. What differs is the object's own."""
    acl = acls.parse_acl(metadata["cdmi_acl"]) if metadata.get("cdmi_acl") is not None else None
    if acl is not None and not acls.is_inherited(acl):
        return metadata
    others = {name: value for name, value in metadata.items() if name != "cdmi_acl"}
    return others if acl in (None, shown) else {**others, "cdmi_acl": acls.render_acl(acls.as_own(acl))}


def own_changes(changes: ObjectChanges, shown: acls.Acl) -> ObjectChanges:
    """With the `own_metadata`."""
    return changes if changes.metadata is None else replace(changes, metadata=own_metadata(changes.metadata, shown))


def multirange(*ranges: tuple[int, int]) -> Multirange[int]:
    """Of half-open ranges."""
    return Multirange([Range(start, end) for start, end in ranges if end > start])
