"""The door to tags: categories that users make to group their resources."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

from backends.cloud.door import Door, check_text
from backends.errors import Conflict, NotFound
from backends.model import Tag
from backends.store.rows import tag_from_row

OWNED = (
    "SELECT id FROM {} WHERE id = ANY(%(ids)s) AND NOT deleting AND (%(scope)s::uuid IS NULL OR project_id = %(scope)s)"
)
OWNED_OF_EVERY_KIND = " UNION ALL ".join(
    OWNED.format(table)
    for table in (
        *("machine", "disk", "network", "reservation", "security_group"),
        *("interface", "attachment", "group_link"),
    )
)


class TagDoor(Door):
    """Tags belong to a project; nobody else sees or uses them."""

    def tags(self) -> Sequence[Tag]:
        with self._read() as connection:
            rows = connection.execute(
                "SELECT id, project_id, scheme, term, title, location, related FROM tag"
                " WHERE project_id = %s ORDER BY created_at, scheme, term",
                [self._caller.project_id],
            ).fetchall()
        return [tag_from_row(row) for row in rows]

    def create_tag(self, scheme: str, term: str, location: str, title: str, related: str) -> Tag:
        """`Conflict` when the identity or the location is taken in the caller's project."""
        for name, value in (("scheme", scheme), ("term", term), ("location", location), ("title", title)):
            check_text(name, value)
        check_text("related", related, 4096)
        tag = Tag(uuid4(), self._caller.project_id, scheme, term, title, location, related)
        with self._change() as connection:
            made = connection.execute(
                "INSERT INTO tag (id, project_id, scheme, term, title, location, related)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                [tag.id, tag.project_id, scheme, term, title, location, related],
            )
            if made.rowcount == 0:
                raise Conflict(f"the category {scheme}{term} or the location {location} exists already")
        return tag

    def delete_tag(self, tag_id: UUID) -> None:
        """Removes it from everything that carries it."""
        with self._change() as connection:
            self._own_tag(tag_id)
            connection.execute("DELETE FROM tag WHERE id = %s", [tag_id])

    def tag(self, tag_id: UUID, resource_ids: Sequence[UUID]) -> None:
        """Adds it to these machines, disks, networks, interfaces or attachments, all or none."""
        with self._change() as connection:
            self._own_tag(tag_id)
            wanted = set(resource_ids)
            rows = connection.execute(OWNED_OF_EVERY_KIND, {"ids": list(wanted), "scope": self._scope})
            missing = wanted - {row[0] for row in rows}
            if missing:
                raise NotFound(f"there is no resource {min(missing)}")
            self._tag_each(tag_id, sorted(wanted))

    def untag(self, tag_id: UUID, resource_ids: Sequence[UUID] | None = None) -> None:
        """Takes it off these, or off all that carry it."""
        with self._change() as connection:
            self._own_tag(tag_id)
            connection.execute(
                "DELETE FROM tagging WHERE tag_id = %(tag)s"
                " AND (%(ids)s::uuid[] IS NULL OR resource_id = ANY(%(ids)s))",
                {"tag": tag_id, "ids": None if resource_ids is None else list(resource_ids)},
            )

    def _tag_each(self, tag_id: UUID, resource_ids: Sequence[UUID]) -> None:
        with self._change() as connection:
            for resource_id in resource_ids:
                self._tag_new(connection, [tag_id], resource_id)

    def _own_tag(self, tag_id: UUID) -> None:
        with self._read() as connection:
            row = connection.execute(
                "SELECT 1 FROM tag WHERE id = %s AND project_id = %s", [tag_id, self._caller.project_id]
            ).fetchone()
        if row is None:
            raise NotFound(f"there is no category {tag_id}")
