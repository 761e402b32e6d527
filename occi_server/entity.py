"""One instance, `/compute/UUID` (GFD.185 §3.4.4, GFD.223 §5): GET, POST (partly), PUT (wholly), DELETE, actions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import falcon

from backends.errors import Invalid, NotFound
from occi_server.action import act_on_one, action_term, chosen_action
from occi_server.answers import answer_created, answer_done, answer_entity, introduce, refuse_uri_list
from occi_server.creation import create, update
from occi_server.entities import EntityType, parameters_of
from occi_server.model import Model
from occi_server.negotiation import answer_rendering
from occi_server.requests import cloud_of, read_message
from occi_server.selection import read_query


class Instance:
    """The instances of one kind."""

    def __init__(self, model: Model, kind: EntityType[Any]) -> None:
        self.model = model
        self.kind = kind

    def on_get(self, request: falcon.Request, response: falcon.Response, identity: str) -> None:
        introduce(response, self.model.site)
        rendering = answer_rendering(request)
        row = self.kind.row(cloud_of(request), self._identity(identity))
        answer_entity(response, rendering, self.kind.describe(row))

    def on_head(self, request: falcon.Request, response: falcon.Response, identity: str) -> None:
        self.on_get(request, response, identity)

    def on_post(self, request: falcon.Request, response: falcon.Response, identity: str) -> None:
        introduce(response, self.model.site)
        rendering = answer_rendering(request)
        refuse_uri_list(rendering)
        cloud, entity_id = cloud_of(request), self._identity(identity)
        message = read_message(request, self.model.site.body_size_max_bytes)
        term = action_term(read_query(request))
        row = self.kind.row(cloud, entity_id)
        if term is not None:
            action = chosen_action(self.kind, term, message)
            parameters = parameters_of(action, message.attributes)
            act_on_one(request, response, rendering, self.model, cloud, self.kind, entity_id, action, parameters)
            return
        changed = update(self.model, cloud, self.kind, row, message, full=False)
        answer_entity(response, rendering, self.kind.describe(changed))

    def on_put(self, request: falcon.Request, response: falcon.Response, identity: str) -> None:
        """Replaces the instance, or makes one with the identity that the client chose."""
        introduce(response, self.model.site)
        rendering = answer_rendering(request)
        refuse_uri_list(rendering)
        cloud = cloud_of(request)
        try:
            entity_id = UUID(identity)
        except ValueError as error:
            raise Invalid(f"The path ends in {identity[:80]!r}: expected a UUID.") from error
        message = read_message(request, self.model.site.body_size_max_bytes)
        try:
            row = self.kind.row(cloud, entity_id)
        except NotFound:
            _, made = create(self.model, cloud, message, self.kind, entity_id)
            entity = self.kind.describe(made)
            answer_created(request, response, rendering, entity, status=falcon.HTTP_201)
            return
        changed = update(self.model, cloud, self.kind, row, message, full=True)
        answer_entity(response, rendering, self.kind.describe(changed))

    def on_delete(self, request: falcon.Request, response: falcon.Response, identity: str) -> None:
        introduce(response, self.model.site)
        rendering = answer_rendering(request)
        self.kind.delete(cloud_of(request), self._identity(identity))
        answer_done(response, rendering)

    def _identity(self, identity: str) -> UUID:
        try:
            return UUID(identity)
        except ValueError:
            raise falcon.HTTPNotFound(description=f"There is no {self.kind.kind.id.term} {identity[:80]!r}.") from None
