"""The door to whole trees: copying, moving, and snapshots. Values are shared: none that is whole changes."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from backends.acl import AceMask
from backends.cloud.objects import check_metadata, check_name, own_metadata
from backends.cloud.values import ValueDoor
from backends.errors import Conflict, Invalid, NotFound
from backends.objects import COMPLETE, SNAPSHOTS, Address, Found, Metadata, NewObject, ObjectKind
from backends.store.database import Connection, query


class TreeDoor(ValueDoor):
    """One statement a tree, however large it is."""

    def copy_object(
        self, source: Found, address: Address | None, metadata: Metadata | None = None, mimetype: str | None = None
    ) -> Found:
        """With all that is below it, but without snapshots, holds and retention; it is the caller's."""
        if metadata is not None:
            check_metadata(metadata)
        with self._change() as connection:
            parent = self.may_create(address, source.object.kind) if address else None
            self._refuse_inside(source, parent)
            self._require_readable(connection, source)
            return self._copy(connection, source, parent, address.names[-1] if address else None, metadata, mimetype)

    def move_object(
        self, source: Found, address: Address | None, metadata: Metadata | None = None, mimetype: str | None = None
    ) -> Found:
        """The same objects at another place, or at none but their ID (`address` None)."""
        if metadata is not None:
            check_metadata(metadata)
        with self._change() as connection:
            self._lock(connection, source)
            source = self._find(Address(start=source.object.id))
            parent = self.may_create(address, source.object.kind) if address else None
            if parent is None and source.object.kind is ObjectKind.CONTAINER:
                raise Invalid("a container can't be without a path")
            self._refuse_inside(source, parent)
            self._check_deletable(connection, source)
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
            if metadata is not None or mimetype is not None:
                changed = {
                    "id": source.object.id,
                    "metadata": None if metadata is None else Jsonb(own_metadata(metadata)),
                    "mimetype": mimetype,
                    "encoding": None,
                    "completion": source.object.completion,
                }
                connection.execute(query("objects.change"), changed)
            return self._find(Address(start=source.object.id))

    def snapshot_container(self, container: Found, name: str) -> None:
        """What the container holds now, as a child of its `cdmi_snapshots`; one of the same name is replaced."""
        check_name(name, ObjectKind.CONTAINER)
        replaced: set[UUID] = set()
        with self._change() as connection:
            self._lock(connection, container)
            container = self._find(Address(start=container.object.id))
            if container.names is not None and SNAPSHOTS in container.names:
                raise Invalid("a snapshot has no snapshots")
            self.require(container, AceMask.ADD_SUBCONTAINER)
            self._require_readable(connection, container)
            folder = self._ensure_snapshots(connection, container)
            try:
                old = self._find(folder.address.child(name))
            except NotFound:
                pass
            else:
                self._check_deletable(connection, old)
                rows = connection.execute(query("objects.delete"), {"id": old.object.id}).fetchall()
                replaced = {row[0] for row in rows if row[0] is not None}
            self._copy(connection, container, folder, name, None, None)
        for file in replaced:
            self._drop(file)

    def snapshots(self, container: Found) -> list[str]:
        """Their names."""
        try:
            folder = self._find(container.address.child(SNAPSHOTS))
        except NotFound:
            return []
        return [child.name for child in self.children(folder)]

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
                    "metadata": Jsonb({}), "mimetype": "", "encoding": new.encoding.value,
                    "completion": COMPLETE, "target": None, "value": None, "value_file": None, "size_bytes": 0,
                    "written": None,
                },
            )  # fmt: skip
            return self._find(address)

    def _copy(
        self,
        connection: Connection,
        source: Found,
        parent: Found | None,
        name: str | None,
        metadata: Metadata | None,
        mimetype: str | None,
    ) -> Found:
        # Whoever replaces a value waits for these locks, and then sees that its file is shared.
        states = connection.execute(query("objects.share_tree"), {"id": source.object.id}).fetchall()
        if any(row[0] != COMPLETE for row in states):
            raise Conflict("what is to be copied is still being written")
        copy_id = uuid4()
        values = {
            "source": source.object.id,
            "copy": copy_id,
            "parent": parent.object.id if parent else None,
            "name": name,
            "owner": self._caller.user_name,
            "metadata": None if metadata is None else Jsonb(own_metadata(metadata)),
            "mimetype": mimetype,
        }
        try:
            with connection.transaction():
                connection.execute(query("objects.copy_tree"), values)
        except psycopg.errors.UniqueViolation:
            raise Conflict(f"there is something called {name!r} already") from None
        return self._find(Address(start=copy_id))

    def _require_readable(self, connection: Connection, source: Found) -> None:
        right = AceMask.READ_OBJECT | AceMask.READ_METADATA
        self.require(source, right)
        for row in connection.execute(query("objects.below"), {"id": source.object.id}).fetchall():
            if "cdmi_acl" in row[1]:
                self.require(self._find(Address(start=row[0])), right)

    @staticmethod
    def _refuse_inside(source: Found, parent: Found | None) -> None:
        above = {one.id for one in (*parent.ancestors, parent.object)} if parent else set()
        if source.object.id in above:
            raise Invalid("a container can't be put into itself")
