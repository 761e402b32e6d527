"""The collection of a kind, `/compute/` (GFD.185 §3.4.3, GFD.223 §6), and what all collections have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import falcon

from backends.cloud import Cloud
from backends.errors import Invalid
from backends.model import EVERYTHING, Image, Page
from occi_server.action import action_term, chosen_action
from occi_server.answers import (
    answer_categories,
    answer_created,
    answer_done,
    answer_entities,
    answer_locations,
    introduce,
)
from occi_server.creation import create
from occi_server.entities import EntityType, parameters_of
from occi_server.model import Model
from occi_server.negotiation import IN_JSON, Rendering, answer_rendering
from occi_server.requests import cloud_of, read_message, read_messages
from occi_server.selection import Selected, cut, read_page, read_query, read_selection
from renderers.occi.representation import Entity, Message

WHOLE = IN_JSON | {Rendering.HTML}
"""The renderings of a collection that show more of its members than where they are."""


class Collection:
    """All the instances of one kind."""

    def __init__(self, model: Model, kind: EntityType[Any]) -> None:
        self.model = model
        self.kind = kind

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        introduce(response, self.model.site)
        rendering = answer_rendering(request)
        cloud, query = cloud_of(request), read_query(request)
        selection = read_selection(self.model, cloud, request, query, [self.kind])
        answer_selection(request, response, rendering, cloud, selection, read_page(query, self.model.site))

    def on_head(self, request: falcon.Request, response: falcon.Response) -> None:
        self.on_get(request, response)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        introduce(response, self.model.site)
        rendering = answer_rendering(request)
        cloud, query = cloud_of(request), read_query(request)
        term = action_term(query)
        if term is not None:
            message = read_message(request, self.model.site.body_size_max_bytes)
            selected = Selected(self.kind)
            act_on_all(request, response, rendering, self.model, cloud, [selected], term, message)
            return
        messages = read_messages(request, self.model.site.body_size_max_bytes)
        post_entities(request, response, rendering, self.model, cloud, messages, self.kind, status=falcon.HTTP_201)

    def on_delete(self, request: falcon.Request, response: falcon.Response) -> None:
        """Deletes the instances: all, or those that the filters leave."""
        introduce(response, self.model.site)
        rendering = answer_rendering(request)
        cloud, query = cloud_of(request), read_query(request)
        message = read_message(request, self.model.site.body_size_max_bytes)
        if message.locations:
            raise Invalid("Locations were sent: only a mixin's collection lets go of some of its members.")
        delete_all(cloud, read_selection(self.model, cloud, request, query, [self.kind]))
        answer_done(response, rendering)


def answer_selection(
    request: falcon.Request,
    response: falcon.Response,
    rendering: Rendering,
    cloud: Cloud,
    selection: Sequence[Selected],
    page: Page = EVERYTHING,
    also: Iterable[str] = (),
) -> None:
    """A listing; `also` are paths that a listing of locations starts with."""
    single = selection[0] if len(selection) == 1 else None
    if rendering in WHOLE:
        if single is not None:
            entities: Sequence[Entity] = [single.kind.describe(row) for row in single.rows(cloud, page)]
        else:
            entities = cut([part.kind.describe(row) for part in selection for row in part.rows(cloud)], page)
        answer_entities(request, response, rendering, entities)
        return
    if single is not None:
        paths: Sequence[str] = [f"{single.kind.location}{found}" for found in single.ids(cloud, page)]
    else:
        paths = cut([f"{part.kind.location}{found}" for part in selection for found in part.ids(cloud)], page)
    answer_locations(request, response, rendering, (*also, *paths))


def post_entities(
    request: falcon.Request,
    response: falcon.Response,
    rendering: Rendering,
    model: Model,
    cloud: Cloud,
    messages: Sequence[Message],
    kind: EntityType[Any] | None,
    *,
    status: str,
) -> None:
    """Makes the instance, or all of the several that JSON can carry, or none."""
    with cloud.atomically():
        made = [create(model, cloud, message, kind) for message in messages]
    entities = [made_kind.describe(row) for made_kind, row in made]
    if len(entities) == 1:
        answer_created(request, response, rendering, entities[0], status=status)
    else:
        answer_entities(request, response, rendering, entities)


def act_on_all(
    request: falcon.Request,
    response: falcon.Response,
    rendering: Rendering,
    model: Model,
    cloud: Cloud,
    selection: Sequence[Selected],
    term: str,
    message: Message,
) -> None:
    """The action on every instance of a kind that has it, all or none (GFD.185 §3.6.4).

    What isn't the caller's to delete isn't theirs to act on either, and is passed over.
    """
    able = [part for part in selection if any(action.action.id.term == term for action in part.kind.actions)]
    named = [part for part in able if any(a.action.id == c.id for a in part.kind.actions for c in message.categories)]
    if not able:
        raise falcon.HTTPNotFound(description=f"Nothing in this collection has an action {term[:80]!r}.")
    part = (named or able)[0]
    action = chosen_action(part.kind, term, message)
    parameters = parameters_of(action, message.attributes)
    with cloud.atomically():
        members = part.deletable_ids(cloud)
        cloud.hold(members)
        results = [action.perform(cloud, found, parameters) for found in members]
    images = [result for result in results if isinstance(result, Image)]
    if images:
        answer_categories(response, rendering, [model.templates.discovered(image) for image in images])
    else:
        entities = [part.kind.describe(result) for result in results]
        answer_entities(request, response, rendering, entities)


def delete_all(cloud: Cloud, selection: Sequence[Selected]) -> None:
    """Deletes all of it or nothing; what another's deletion takes along is passed over, links being the last."""
    with cloud.atomically():
        members = [(part, part.deletable_ids(cloud)) for part in selection]
        cloud.hold([found for _, ids in members for found in ids])
        for part, ids in members:
            left = set(part.deletable_ids(cloud))
            for found in reversed(ids):  # snapshots, which go with their storage, are younger than that
                if found in left:
                    part.kind.delete(cloud, found)
