"""Every other path: the root, collections of mixins, and paths above them (GFD.185 §3.4.2 and §3.4.3).

Users choose where their mixins are, so these paths are looked up when a request comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import falcon

from backends.cloud import Cloud
from backends.errors import Invalid
from backends.model import Tag
from occi_server.action import action_term
from occi_server.answers import answer_done, introduce
from occi_server.collection import act_on_all, answer_selection, delete_all, post_entities
from occi_server.entities import MixinType
from occi_server.ipreservation import POOL_LOCATION, pool_named
from occi_server.model import Model, Named, image_template
from occi_server.negotiation import Rendering, answer_rendering
from occi_server.requests import cloud_of, read_message, read_messages
from occi_server.selection import Query, Selected, read_page, read_query, read_selection, select
from occi_server.storage_options import host_named
from renderers.occi.representation import Message

__all__ = ["Paths"]

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")


@dataclass(frozen=True, slots=True)
class Place:
    """What a path stands for: the root, one mixin or tag, or several of them below it."""

    path: str
    mixins: tuple[MixinType[Any], ...] = ()
    tags: tuple[Tag, ...] = ()

    @property
    def is_root(self) -> bool:
        return self.path == "/"

    @property
    def tag(self) -> Tag | None:
        return next((tag for tag in self.tags if tag.location == self.path), None)

    @property
    def mixin(self) -> MixinType[Any] | None:
        return next((mixin for mixin in self.mixins if mixin.mixin.location == self.path), None)


class Paths:
    """A sink: Falcon sends here what no route takes."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.verbs: dict[str, Callable[[falcon.Request, falcon.Response, Rendering, Place], None]] = {
            "GET": self.get,
            "HEAD": self.get,
            "POST": self.post,
            "PUT": self.put,
            "DELETE": self.delete,
        }

    def __call__(self, req: falcon.Request, resp: falcon.Response, **_parameters: Any) -> None:
        introduce(resp, self.model.site)
        rendering = answer_rendering(req)
        place = self.find(cloud_of(req), req.path, req.method)
        verb = self.verbs.get(req.method)
        if req.method == "OPTIONS":
            resp.set_header("Allow", ", ".join(METHODS))
            return
        if verb is None:
            raise falcon.HTTPMethodNotAllowed(METHODS)
        verb(req, resp, rendering, place)

    def find(self, cloud: Cloud, path: str, method: str) -> Place:
        if path == "/":
            return Place(path)
        if not path.endswith("/"):
            if method == "PUT":
                raise Invalid(f"{path[:200]} can't be made: expected a path such as /compute/ and a UUID.")
            raise falcon.HTTPNotFound(description=f"There is nothing at {path[:200]}.")
        known = self.model.locations.get(path)
        if isinstance(known, MixinType):
            return Place(path, (known,))
        parts = path.split("/")
        if len(parts) == 4 and parts[1] == "os_tpl":
            return Place(path, (image_template(self.model, cloud, parts[2]),))
        if len(parts) == 4 and parts[1] == "storage_tpl":
            return Place(path, (host_named(self.model.site, cloud, parts[2]),))
        if len(parts) == 5 and path.startswith(POOL_LOCATION):
            return Place(path, (pool_named(cloud, parts[3]),))
        tags = cloud.tags()
        exact = tuple(tag for tag in tags if tag.location == path)
        if exact:
            return Place(path, tags=exact)
        below = tuple(tag for tag in tags if tag.location.startswith(path))
        mixins = tuple(mixin for mixin in self.model.mixins.values() if mixin.mixin.location.startswith(path))
        if not below and not mixins:
            raise falcon.HTTPNotFound(description=f"There is nothing at {path[:200]}.")
        return Place(path, mixins, below)

    def get(self, request: falcon.Request, response: falcon.Response, rendering: Rendering, place: Place) -> None:
        cloud, query = cloud_of(request), read_query(request)
        selection = self.members(request, query, place)
        page = read_page(query, self.model.site)
        filtered = bool(query) or any(request.get_header(name) for name in ("Category", "X-OCCI-Attribute"))
        also: Sequence[str] = ()
        if rendering is Rendering.URI_LIST and not filtered:
            also = self.below(cloud, place)
        answer_selection(request, response, rendering, cloud, selection, page, also)

    def below(self, cloud: Cloud, place: Place) -> Sequence[str]:
        """The paths one step below an unbound path (GFD.185 §3.4.2, the state of the name space)."""
        if place.tag is not None or place.mixin is not None:
            return ()
        if place.is_root:
            locations = [*self.model.locations, *(tag.location for tag in cloud.tags())]
        else:
            locations = [*(mixin.mixin.location for mixin in place.mixins), *(tag.location for tag in place.tags)]
        depth = place.path.count("/") + 1
        return list(dict.fromkeys("/".join(location.split("/")[:depth]) + "/" for location in locations))

    def members(self, request: falcon.Request, query: Query, place: Place) -> tuple[Selected, ...]:
        """The instances at a place, as the request's filters leave them."""
        cloud = cloud_of(request)
        selection = read_selection(self.model, cloud, request, query, self.model.types)
        if place.is_root:
            return selection
        narrowed = []
        for part in selection:
            found = self._identities(cloud, place, part)
            if found is not None:
                narrowed.append(found)
        return tuple(narrowed)

    def _identities(self, cloud: Cloud, place: Place, part: Selected) -> Selected | None:
        """Of a part, what is in any of the place's mixins and tags."""
        groups = [Named(mixins=(mixin,)) for mixin in place.mixins] + [Named(tags=(tag,)) for tag in place.tags]
        ids: set[UUID] = set()
        for group in groups:
            for selected in select([part.kind], group):
                ids.update(selected.ids(cloud))
        return part.among(ids) if ids else None

    def post(self, request: falcon.Request, response: falcon.Response, rendering: Rendering, place: Place) -> None:
        cloud, query = cloud_of(request), read_query(request)
        limit = self.model.site.body_size_max_bytes
        term = action_term(query)
        if term is not None:
            selection = self.members(request, {}, place) if place.is_root else self._all_members(cloud, place)
            act_on_all(request, response, rendering, self.model, cloud, selection, term, read_message(request, limit))
        elif place.is_root:
            # Older conformance tools create at the root and take 200 alone for a success.
            messages = read_messages(request, limit)
            post_entities(request, response, rendering, self.model, cloud, messages, None, status=falcon.HTTP_200)
        else:
            message = read_message(request, limit)
            self._associate(cloud, place, self._located(message))
            answer_selection(request, response, rendering, cloud, self._all_members(cloud, place))

    def put(self, request: falcon.Request, response: falcon.Response, rendering: Rendering, place: Place) -> None:
        cloud = cloud_of(request)
        tag = place.tag
        if tag is None:
            if place.mixin is not None:
                raise falcon.HTTPForbidden(description=f"The members of {place.mixin.mixin.id} can't be replaced.")
            raise falcon.HTTPMethodNotAllowed(("GET", "HEAD", "POST", "DELETE"))
        message = read_message(request, self.model.site.body_size_max_bytes)
        ids = [found for _, found in self._located(message)] if message.locations else []
        with cloud.atomically():
            cloud.untag(tag.id)
            cloud.tag(tag.id, ids)
        answer_selection(request, response, rendering, cloud, self._all_members(cloud, place))

    def delete(self, request: falcon.Request, response: falcon.Response, rendering: Rendering, place: Place) -> None:
        """Below the root everything goes; a mixin's members are let go, and live on."""
        cloud = cloud_of(request)
        message = read_message(request, self.model.site.body_size_max_bytes)
        tag = place.tag
        if place.is_root:
            if message.locations:
                raise Invalid("Locations were sent: only a mixin's collection lets go of some of its members.")
            delete_all(cloud, self.members(request, read_query(request), place))
        elif tag is not None:
            cloud.untag(tag.id, [found for _, found in self._located(message)] if message.locations else None)
        else:
            raise falcon.HTTPForbidden(description=f"{place.path} is the provider's, or several mixins' at once.")
        answer_done(response, rendering)

    def _all_members(self, cloud: Cloud, place: Place) -> tuple[Selected, ...]:
        found = (self._identities(cloud, place, Selected(kind)) for kind in self.model.types)
        return tuple(part for part in found if part is not None)

    def _located(self, message: Message) -> list[tuple[Any, UUID]]:
        """The kinds and identities at the locations that were sent."""
        if not message.locations:
            raise Invalid("No location was sent: expected X-OCCI-Location of what is to carry the mixin.")
        return [self._kind_and_identity(location) for location in message.locations]

    def _kind_and_identity(self, location: str) -> tuple[Any, UUID]:
        for kind in self.model.types:
            if location.startswith(kind.location):
                try:
                    return kind, UUID(location.removeprefix(kind.location))
                except ValueError:
                    break
        raise falcon.HTTPNotFound(description=f"There is nothing at {location[:200]}.")

    def _associate(self, cloud: Cloud, place: Place, located: Sequence[tuple[Any, UUID]]) -> None:
        tag, mixin = place.tag, place.mixin
        if tag is not None:
            cloud.tag(tag.id, [found for _, found in located])
        elif mixin is not None and mixin.fields:
            with cloud.atomically():
                for kind, found in located:
                    if kind.kind.id not in mixin.mixin.applies:
                        raise falcon.HTTPForbidden(description=f"{mixin.mixin.id} can't be applied to {found}.")
                    kind.update(cloud, found, dict(mixin.fields))
        else:
            raise falcon.HTTPForbidden(description=f"{place.path} takes no members: give its attributes to them.")
