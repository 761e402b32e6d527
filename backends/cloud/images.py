"""The door to images and sizes: what machines start from."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

from backends.cloud.door import Door
from backends.errors import Conflict, Invalid, NotAllowed, NotFound
from backends.jobs import Kind
from backends.model import EVERYTHING, Filter, Image, ImageState, Machine, Role, Size
from backends.store.database import Connection
from backends.store.rows import IMAGES
from backends.terms import check_term


class ImageDoor(Door):
    """Images without a project are everybody's; a saved machine belongs to its project.

    A name means the caller's project's image, else everybody's, else (to a cloud admin) the oldest of another's.
    """

    def images(self) -> Sequence[Image]:
        """In order of creation, those that their names mean."""
        found = self._many(IMAGES, Filter(), EVERYTHING)
        meant: dict[str, Image] = {}
        for image in sorted(found, key=self._distance):
            meant.setdefault(image.name, image)
        return [image for image in found if meant[image.name] is image]

    def image(self, name: str) -> Image:
        found = self._many(IMAGES, Filter(equals={"name": name}), EVERYTHING)
        if not found:
            raise NotFound(f"there is no image {name!r}")
        return min(found, key=self._distance)

    def _distance(self, image: Image) -> int:
        return 0 if image.project_id == self._caller.project_id else 1 if image.project_id is None else 2

    def delete_image(self, name: str) -> None:
        """Its file stays until no disk is made from it any more."""
        with self._change() as connection:
            image = self.image(name)
            if image.project_id is None and self._caller.role is not Role.CLOUD_ADMIN:
                raise NotAllowed(f"the image {name!r} is everybody's: only a cloud admin can delete it")
            self._update_image(connection, image.id)

    def sizes(self) -> Sequence[Size]:
        return tuple(self._sizes.values())

    def _update_image(self, connection: Connection, image_id: UUID) -> None:
        hosts = connection.execute(
            "UPDATE image SET deleting = true WHERE id = %s RETURNING coalesce(host, (SELECT min(name) FROM host))",
            [image_id],
        ).fetchone()
        self._converge(connection, hosts[0] if hosts else None, Kind.IMAGE, image_id)

    def _usable_image(self, name: str) -> Image:
        image = self.image(name)
        if image.state is not ImageState.READY:
            raise Conflict(f"the image {name!r} is {image.state}: {image.state_message or 'not ready yet'}")
        return image

    def _size(self, name: str) -> Size:
        if name not in self._sizes:
            raise Invalid(f"there is no size {name!r}; there are {', '.join(self._sizes)}")
        return self._sizes[name]

    def _new_image(
        self,
        connection: Connection,
        name: str | None,
        title: str,
        machine: Machine,
        method: str,
    ) -> Image:
        image_id = uuid4()
        name = name or f"saved-{image_id.hex[:12]}"
        check_term("the image's name", name)
        sites = connection.execute(
            "SELECT FROM image WHERE name = %s AND project_id IS NULL AND NOT deleting", [name]
        ).fetchone()
        if sites is not None:
            raise Conflict(f"the image name {name!r} is taken")
        made = connection.execute(
            "INSERT INTO image (id, name, title, project_id, source_machine_id, save_method, host, size_bytes,"
            " state_message) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'waiting to be copied') ON CONFLICT DO NOTHING",
            [
                image_id,
                name,
                title,
                self._caller.project_id,
                machine.id,
                method,
                machine.host,
                machine.root_size_bytes,
            ],
        )
        if made.rowcount == 0:
            raise Conflict(f"the image name {name!r} is taken")
        self._converge(connection, machine.host, Kind.IMAGE, image_id)
        return self._one(IMAGES, image_id)
