"""Importing an image: its row first, then its file, so that a crash leaves nothing that a sweep can't judge."""

from __future__ import annotations

from uuid import UUID, uuid4

from altostratus.agent import pool_of
from altostratus.settings import Settings
from backends.disks.inspect import ImageFormat
from backends.disks.pool import ImageFacts
from backends.errors import Conflict
from backends.store.database import Connection
from backends.terms import check_term


def add_image(
    settings: Settings,
    connection: Connection,
    name: str,
    source: str,
    *,
    sha256: str | None,
    title: str,
    declared: ImageFormat | None = None,
) -> ImageFacts:
    """For everybody. An import that was cut off is begun again; `Conflict` if the site has another of that name."""
    check_term("the image's name", name)
    image_id = _claim(connection, name, title)
    pool = pool_of(settings)
    pool.prepare()
    try:
        with pool.kept_from_sweeping():
            facts = pool.import_image(image_id, source, sha256, declared=declared)
    except BaseException:
        connection.execute("DELETE FROM image WHERE id = %s AND state = 'pending'", [image_id])
        raise
    connection.execute(
        "UPDATE image SET state = 'ready', state_message = '', format = %s, size_bytes = %s, sha256 = %s WHERE id = %s",
        [facts.format, facts.size_bytes, facts.sha256, image_id],
    )
    return facts


def _claim(connection: Connection, name: str, title: str) -> UUID:
    with connection.transaction():
        row = connection.execute(
            "SELECT id, state FROM image WHERE name = %s AND project_id IS NULL AND NOT deleting FOR UPDATE", [name]
        ).fetchone()
        if row is not None:
            if row[1] != "pending":
                raise Conflict(f"the image name {name!r} is taken")
            found: UUID = row[0]
            return found
        image_id = uuid4()
        connection.execute(
            "INSERT INTO image (id, name, title, state_message) VALUES (%s, %s, %s, 'being imported')",
            [image_id, name, title],
        )
        return image_id
