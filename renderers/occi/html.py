"""Pages for people (text/html), which no OCCI document asks for: what the other renderings show.

Pages are whole without scripts: every link can be followed, and every action is a form that posts what a client
of text/plain would. No HTTP here: who may press a button is not for this module to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined

from renderers.occi.representation import Action, AttributeValue, Category, Entity, Kind, Link, Mixin

_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("renderers.occi"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _shown(value: AttributeValue) -> str:
    """A value as people read it: text without quotes, the rest as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _followable(location: str) -> bool:
    """Whether a page may link there: a path, or a URL that a browser fetches; never a script."""
    return (location.startswith("/") and not location.startswith("//")) or location.startswith(("http://", "https://"))


_ENVIRONMENT.filters["shown"] = _shown
_ENVIRONMENT.tests["followable"] = _followable


def render_entity_html(entity: Entity, site: str = "OCCI") -> str:
    """A resource with its links and applicable actions, or a link with its ends."""
    link = entity if isinstance(entity, Link) else None
    return _ENVIRONMENT.get_template("entity.html").render(site=site, entity=entity, link=link)


def render_collection_html(
    entities: Sequence[Entity],
    title: str,
    site: str = "OCCI",
    *,
    path: str = "",
    previous_page: str | None = None,
    next_page: str | None = None,
) -> str:
    """A list of entities at `path`, with links to the pages before and after this one."""
    return _ENVIRONMENT.get_template("collection.html").render(
        site=site,
        entities=entities,
        title=title,
        path=path,
        previous_page=previous_page,
        next_page=next_page,
    )


def render_categories_html(categories: Iterable[Category], site: str = "OCCI") -> str:
    """The query interface: kinds, mixins and actions, each with its attributes."""
    kinds: list[Kind] = []
    mixins: list[Mixin] = []
    actions: list[Action] = []
    for category in categories:
        match category:
            case Kind():
                kinds.append(category)
            case Mixin():
                mixins.append(category)
            case Action():
                actions.append(category)
    return _ENVIRONMENT.get_template("categories.html").render(site=site, kinds=kinds, mixins=mixins, actions=actions)


def render_error_html(status: str, message: str, site: str = "OCCI") -> str:
    """An error; `status` is HTTP's, "404 Not Found", and `message` may have several lines."""
    return _ENVIRONMENT.get_template("error.html").render(site=site, status=status, message=message)
