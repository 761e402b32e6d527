"""Finding stored objects: where an address leads, and what the caller may do there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from backends import acl as acls
from backends.acl import AceMask
from backends.cloud.feeds import FeedDoor, rights_of
from backends.errors import NotAllowed, NotFound
from backends.objects import Address, Found, ObjectKind, Referred, StoredObject
from backends.store import ways
from backends.store.database import Connection, query


class WayDoor(FeedDoor):
    _missed: tuple[Address, Found] | None = None
    """What was looked for last and isn't there, and the container in which it would be: where its making begins."""

    def find_object(self, address: Address, *, valued: bool = False) -> Found:
        """`NotFound`, or `Referred` where the way leads through a reference. `valued` fetches a value in the row."""
        found = self._find(address, valued=valued)
        if found.object.kind is ObjectKind.REFERENCE:
            raise self._referred(found, ())
        return found

    def find_itself(self, address: Address) -> Found:
        """As `find_object`, but a reference at the end is found, not followed."""
        return self._find(address)

    def _find(self, address: Address, *, valued: bool = False) -> Found:
        names = address.names
        with self._read() as connection:
            above, way = self._way(connection, address, valued=valued)
        if len(way) > len(names):
            return self.found([*above, *way])
        if not way:
            raise NotFound("there is no object of this ID")
        if way[-1].kind is ObjectKind.REFERENCE:
            raise self._referred(self.found([*above, *way]), names[len(way) - 1 :])
        if len(way) == len(names):
            self._missed = (address, self.found([*above, *way]))
        raise NotFound(f"there is no {'/'.join(names[: len(way)])[:300]!r}")

    def _referred(self, reference: Found, rest: tuple[str, ...]) -> Referred:
        """Where it leads is told to who may read it."""
        if not reference.rights & AceMask.READ_OBJECT:
            raise NotAllowed(f"the access control list doesn't let {self._caller.user_name} read the reference")
        return Referred(reference.object.target or "", rest)

    def _find_parent(self, address: Address) -> Found:
        """The container that the address has its last name in, as it was if that name has just been looked for."""
        if self._missed is not None and self._missed[0] == address and self._connection is None:
            return self._missed[1]
        return self.find_object(Address(address.names[:-1], address.start))

    def _way(
        self, connection: Connection, address: Address, *, valued: bool
    ) -> tuple[list[StoredObject], list[StoredObject]]:
        """What is above the start of the address, and the start with what its names lead to, as far as it is there."""
        project_id, names = self._caller.project_id, address.names
        if address.start in (None, project_id):
            way = ways.descend(connection, project_id, project_id, names, valued=valued)
            if not way:
                self._ensure_root(connection)
                way = ways.descend(connection, project_id, project_id, names, valued=valued)
            return [], way
        above = ways.ascend(connection, project_id, address.start, valued=valued and not names)
        if not above or not names:
            return above[:-1], above[-1:]
        return above[:-1], ways.descend(connection, project_id, address.start, names, valued=valued)

    def found(self, way: Sequence[StoredObject]) -> Found:
        """The last object of a way, the topmost first, and what the caller may do with it."""
        found = self.below(None, way[0])
        for stored in way[1:]:
            found = self.below(found, stored)
        return found

    def below(self, parent: Found | None, stored: StoredObject) -> Found:
        """An object as it is found in `parent`; without one, the root or something that only its ID leads to.

        1.1.1 §23.5: a version's place, owner and access list are those of its data object, in which it is found.
        """
        if parent is not None and stored.version is not None:
            return replace(parent, object=stored, ancestors=(*parent.ancestors, parent.object))
        own, is_root = stored.metadata.get("cdmi_acl"), stored.id == self._caller.project_id
        if own is not None:
            acl = acls.parse_acl(own)
        else:
            acl = acls.DEFAULT_ACL if is_root else inherited_in(parent, stored.kind)
        if parent is not None:
            return Found(
                object=stored,
                names=None if parent.names is None else (*parent.names, stored.name or ""),
                parent_id=stored.parent_id,
                acl=acl,
                rights=self._rights(acl, stored),
                parent_rights=parent.rights,
                ancestors=(*parent.ancestors, parent.object),
                is_watched=parent.is_watched,
            )
        rights = self._rights(acl, stored)
        names = () if is_root else None
        return Found(stored, names, stored.parent_id, acl, rights, AceMask(0), is_watched=stored.is_watched)

    def _rights(self, acl: acls.Acl, stored: StoredObject) -> AceMask:
        return rights_of(self._caller, acl, stored)

    def _ensure_root(self, connection: Connection) -> None:
        connection.execute(query("objects.ensure_root"), {"project": self._caller.project_id})


def inherited_in(parent: Found | None, kind: ObjectKind) -> acls.Acl:
    """What is in force for an object without a list of its own; without a parent, for its owner alone."""
    return acls.inherited(parent.acl if parent else (), container=kind is ObjectKind.CONTAINER)
