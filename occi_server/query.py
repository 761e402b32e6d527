"""The query interface `/-/` (GFD.185 §3.4.1, GFD.223 §4): what there is, and categories of the users' own."""

from __future__ import annotations

import re

import falcon

from backends.cloud import Cloud
from backends.errors import Invalid
from occi_server import names, storage_options
from occi_server.answers import answer_categories, answer_done, introduce
from occi_server.model import RESERVED, Model, discover, image_template, tag_category
from occi_server.negotiation import answer_rendering
from occi_server.requests import cloud_of, own_path, read_filter, read_message
from renderers.occi.representation import Category, CategoryClass, Message, SentCategory

LOCATION = re.compile(r"(/[A-Za-z0-9._~-]+)+/")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21\x23-\x5b\x5d-\x7e]+[#/]")
TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
LONGEST = 255


class QueryInterface:
    """Discovery of categories, and tags by their other name, user mixins."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        introduce(response, self.model.site)
        rendering = answer_rendering(request)
        wanted = read_filter(request)
        categories = discover(self.model, cloud_of(request))
        if wanted.categories:
            categories = chosen(categories, wanted)
        answer_categories(response, rendering, categories)

    def on_head(self, request: falcon.Request, response: falcon.Response) -> None:
        self.on_get(request, response)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        introduce(response, self.model.site)
        rendering = answer_rendering(request)
        message = read_message(request, self.model.site.body_size_max_bytes)
        if not message.categories:
            raise Invalid("No mixin was sent: expected a Category with term, scheme, class and location.")
        cloud = cloud_of(request)
        with cloud.atomically():
            made = [add_tag(self.model, cloud, category, request) for category in message.categories]
        answer_categories(response, rendering, made)

    def on_delete(self, request: falcon.Request, response: falcon.Response) -> None:
        introduce(response, self.model.site)
        rendering = answer_rendering(request)
        message = read_message(request, self.model.site.body_size_max_bytes)
        if not message.categories:
            raise Invalid("No mixin was named: expected a Category with the term and scheme of one to remove.")
        cloud = cloud_of(request)
        with cloud.atomically():
            for category in message.categories:
                remove(self.model, cloud, category)
        answer_done(response, rendering)


def chosen(categories: tuple[Category, ...], wanted: Message) -> tuple[Category, ...]:
    """Exactly those named (GFD.185 §3.4.1)."""
    by_id = {category.id: category for category in categories}
    unknown = [str(sent.id) for sent in wanted.categories if sent.id not in by_id]
    if unknown:
        raise falcon.HTTPNotFound(description=f"There is no category {unknown[0][:200]!r}.")
    return tuple(by_id[identity] for identity in dict.fromkeys(sent.id for sent in wanted.categories))


def add_tag(model: Model, cloud: Cloud, sent: SentCategory, request: falcon.Request) -> Category:
    if sent.category_class not in (None, CategoryClass.MIXIN):
        raise Invalid(f"{sent.id} is sent as a {sent.category_class}: only mixins can be added.")
    if sent.attribute_names or sent.action_ids:
        raise Invalid(f"{sent.id} is sent with attributes or actions: a user's mixin has neither.")
    _check(sent.id.term, TERM, "term", "letters, digits and _.- after a letter or digit")
    _check(sent.id.scheme, SCHEME, "scheme", "an absolute URI that ends in #")
    if sent.location is None:
        raise Invalid(f"{sent.id} has no location: expected a path such as /my_stuff/.")
    location = own_path(sent.location, request)
    _check(location, LOCATION, "location", "a path of this server that starts and ends with /")
    segments = location.split("/")
    if "." in segments or ".." in segments:
        raise Invalid(f"location is {location!r}: expected a path without . and .. in it.")
    taken = (*RESERVED, *(kind.location for kind in model.types))
    if location.startswith(taken) or location in model.locations:
        raise falcon.HTTPConflict(description=f"The location {location} is the provider's.")
    dynamic = (model.templates.os_scheme, names.POOLS, storage_options.scheme(model.site))
    if any(category.id == sent.id for category in model.categories) or sent.id.scheme in dynamic:
        raise falcon.HTTPConflict(description=f"The category {sent.id} is the provider's.")
    title = sent.title or ""
    if len(title) > LONGEST or "\x00" in title:
        raise Invalid(f"The title of {sent.id} is too long: expected at most {LONGEST} characters.")
    related = str(sent.related[0]) if sent.related else ""
    if len(related) > 2 * LONGEST or "\x00" in related:
        raise Invalid(f"The relation of {sent.id} is too long: expected at most {2 * LONGEST} characters.")
    return tag_category(cloud.create_tag(sent.id.scheme, sent.id.term, location, title, related))


def remove(model: Model, cloud: Cloud, sent: SentCategory) -> None:
    """A tag goes with all its uses; a project's own image goes as its template; the rest is the provider's."""
    if any(category.id == sent.id for category in model.categories) or sent.id.scheme in (
        names.POOLS,
        storage_options.scheme(model.site),
    ):
        raise falcon.HTTPForbidden(description=f"{sent.id} is the provider's and can't be removed.")
    if sent.id.scheme == model.templates.os_scheme:
        cloud.delete_image(image_template(model, cloud, sent.id.term).mixin.id.term)
        return
    for tag in cloud.tags():
        if (tag.scheme, tag.term) == (sent.id.scheme, sent.id.term):
            cloud.delete_tag(tag.id)
            return
    raise falcon.HTTPNotFound(description=f"There is no category {str(sent.id)[:200]!r}.")


def _check(value: str, pattern: re.Pattern[str], what: str, expected: str) -> None:
    if len(value) > LONGEST or not pattern.fullmatch(value):
        raise Invalid(f"{what} is {value[:80]!r}: expected {expected}, at most {LONGEST} characters.")
