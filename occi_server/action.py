"""Actions, `POST ...?action=term`, on one instance and on all of a collection at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import falcon

from backends.cloud import Cloud
from backends.errors import Invalid
from backends.model import Image
from occi_server.answers import answer_categories, answer_entity
from occi_server.entities import ActionType, EntityType
from occi_server.model import Model
from occi_server.negotiation import Rendering
from occi_server.selection import Query
from renderers.occi.representation import CategoryClass, Message


def action_term(query: Query) -> str | None:
    terms = query.get("action")
    if terms is None:
        return None
    if len(terms) != 1:
        raise Invalid(f"action is given {len(terms)} times: expected once.")
    return terms[0]


def chosen_action(kind: EntityType[Any], term: str, message: Message) -> ActionType[Any]:
    """The action of the URL, which the message's category must name too (GFD.185 §3.4.4)."""
    action = next((action for action in kind.actions if action.action.id.term == term), None)
    if action is None:
        raise falcon.HTTPNotFound(description=f"A {kind.kind.id.term} has no action {term[:80]!r}.")
    if len(message.categories) != 1:
        raise Invalid(f"{len(message.categories)} categories were sent: expected the action {action.action.id}.")
    sent = message.categories[0]
    if sent.category_class not in (None, CategoryClass.ACTION) or sent.id != action.action.id:
        raise Invalid(f"{str(sent.id)[:200]} was sent to ?action={term}: expected {action.action.id}.")
    return action


def act_on_one(
    request: falcon.Request,
    response: falcon.Response,
    rendering: Rendering,
    model: Model,
    cloud: Cloud,
    kind: EntityType[Any],
    entity_id: UUID,
    action: ActionType[Any],
    parameters: Mapping[str, Any],
) -> None:
    """The answer shows the instance, or what the action made: a new storage, the template of a saved image."""
    result = action.perform(cloud, entity_id, parameters)
    if isinstance(result, Image):
        answer_categories(response, rendering, [model.templates.discovered(result)])
        return
    entity = kind.describe(result)
    if result.id != entity_id:
        response.set_header("Location", request.prefix + entity.location)
    answer_entity(response, rendering, entity)
