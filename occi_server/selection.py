"""Which instances a request is about: filters in header fields and in the query, and pages.

Filters mean all of it (AND), but several kinds mean any of them, since nothing has two.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus
from uuid import UUID

import falcon

from backends.cloud import Cloud
from backends.errors import Invalid
from backends.model import EVERYTHING, NO_FILTER, Filter, Page
from occi_server import names
from occi_server.entities import EntityType, fields_for
from occi_server.model import Model, Named, named_in, split_identifier
from occi_server.requests import read_filter
from occi_server.site import Site
from renderers.occi.representation import AttributeValue, SentCategory

PAGE_OFFSET_MAX = 1 << 62
"""More than this is no offset for a database, and beyond the end anyway."""
Query = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Selected:
    """Instances of one kind: `where` is for the door, `holds` for what the door can't tell apart."""

    kind: EntityType[Any]
    where: Filter = NO_FILTER
    holds: tuple[Callable[[Any], bool], ...] = ()

    def rows(self, cloud: Cloud, page: Page = EVERYTHING) -> Sequence[Any]:
        if not self.holds:
            return self.kind.rows(cloud, self.where, page)
        rows = [row for row in self.kind.rows(cloud, self.where, EVERYTHING) if all(h(row) for h in self.holds)]
        return cut(rows, page)

    def ids(self, cloud: Cloud, page: Page = EVERYTHING) -> Sequence[UUID]:
        if not self.holds:
            return self.kind.ids(cloud, self.where, page)
        return [row.id for row in self.rows(cloud, page)]

    def deletable_ids(self, cloud: Cloud) -> Sequence[UUID]:
        deletable = self.kind.deletable
        if deletable is None:
            return self.ids(cloud)
        return [row.id for row in self.rows(cloud) if deletable(row)]

    def among(self, ids: Set[UUID]) -> Selected:
        """Of these, only those with such an identity."""
        left = ids if self.where.ids is None else ids & set(self.where.ids)
        return dataclasses.replace(self, where=dataclasses.replace(self.where, ids=tuple(left)))


def cut(entries: Sequence[Any], page: Page) -> Sequence[Any]:
    return entries[page.offset : None if page.limit is None else page.offset + page.limit]


def read_query(request: falcon.Request) -> Query:
    """The query's fields; both & and ; part them, as the example in GFD.223 does."""
    fields: dict[str, list[str]] = {}
    for item in re.split("[&;]", request.query_string):
        if item:
            name, _, value = item.partition("=")
            fields.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return fields


def read_page(query: Query, site: Site) -> Page:
    """`?page=N&number=M`: the first page is 1, a page beyond the end is empty."""
    if "page" not in query and "number" not in query:
        return EVERYTHING
    number = _count(query, "number", site.page_size, least=1)
    if number > site.page_size_max:
        raise falcon.HTTPContentTooLarge(description=f"number is {number}: expected at most {site.page_size_max}.")
    page = _count(query, "page", 1, least=1)
    return Page(offset=min((page - 1) * number, PAGE_OFFSET_MAX), limit=number)


def _count(query: Query, name: str, default: int, least: int) -> int:
    given = query.get(name)
    if given is None:
        return default
    if len(given) > 1:
        raise Invalid(f"{name} is given {len(given)} times: expected once.")
    if not re.fullmatch("[0-9]{1,30}", given[0], re.ASCII) or int(given[0]) < least:
        first = "; the first page is 1" if name == "page" else ""
        raise Invalid(f"{name} is {given[0][:40]!r}: expected a whole number from {least}{first}.")
    return int(given[0])


def read_selection(
    model: Model, cloud: Cloud, request: falcon.Request, query: Query, kinds: Iterable[EntityType[Any]]
) -> tuple[Selected, ...]:
    """The instances of these kinds that the filters of the request leave."""
    sent = read_filter(request)
    categories = (*sent.categories, *(_sent_category(identifier) for identifier in query.get("category", ())))
    attributes: list[tuple[str, AttributeValue]] = list(sent.attributes.items())
    if "operator" in query:
        raise Invalid("operator is not supported: expected attribute and value, which mean equality.")
    names_given, values_given = query.get("attribute", ()), query.get("value", ())
    if len(names_given) != len(values_given):
        raise Invalid(f"The query has {len(names_given)} attribute and {len(values_given)} value: expected pairs.")
    attributes += [(name, _typed(model, name, value)) for name, value in zip(names_given, values_given, strict=True)]
    named = named_in(model, cloud, categories) if categories else Named()
    if named.actions:
        raise Invalid(f"{named.actions[0]} is an action: expected kinds or mixins as a filter.")
    return select(kinds, named, attributes)


def select(
    kinds: Iterable[EntityType[Any]], named: Named, attributes: Sequence[tuple[str, AttributeValue]] = ()
) -> tuple[Selected, ...]:
    considered = tuple(kinds)
    for name, _ in attributes:
        if not any(name in kind.by_name for kind in considered):
            raise falcon.HTTPNotFound(description=f"{name[:80]} is not an attribute of anything here.")
    narrowed = (_narrow(kind, named, attributes) for kind in considered if _is_named(kind, named))
    return tuple(selected for selected in narrowed if selected is not None)


def _is_named(kind: EntityType[Any], named: Named) -> bool:
    if named.kinds and kind not in named.kinds:
        return False
    return all(core in (names.ENTITY, kind.core) for core in named.core)


def _narrow(kind: EntityType[Any], named: Named, attributes: Sequence[tuple[str, AttributeValue]]) -> Selected | None:
    """The filter for one kind, None when nothing of it can match."""
    wanted: list[tuple[str, object]] = []
    holds: list[Callable[[Any], bool]] = []
    for mixin in named.mixins:
        if kind.kind.id not in mixin.mixin.applies:
            return None
        if mixin.equals:
            wanted += mixin.equals.items()
        else:
            holds.append(mixin.carried_by)
    for name, sent in attributes:
        attribute = kind.by_name.get(name)
        if attribute is None or attribute.read is None:
            return None
        value = attribute.take(sent)
        wanted += fields_for(attribute, value).items()
    equals: dict[str, object] = {}
    for field, value in wanted:
        if equals.setdefault(field, value) != value:
            return None
    identity = equals.pop("id", None)
    ids = (identity,) if isinstance(identity, UUID) else None
    return Selected(kind, Filter(equals, tuple(tag.id for tag in named.tags), ids), tuple(holds))


def _sent_category(identifier: str) -> SentCategory:
    category = split_identifier(identifier)
    if category is None:
        raise Invalid(f"category is {identifier[:200]!r}: expected a scheme, # (sent as %23) and a term.")
    return SentCategory(category)


def _typed(model: Model, name: str, value: str) -> AttributeValue:
    """A value of the query, which has no types, as the attribute's type."""
    for kind in model.types:
        attribute = kind.by_name.get(name)
        if attribute is not None and attribute.value.type == "number":
            return float(value) if re.fullmatch(r"[0-9]{1,18}(\.[0-9]{1,18})?", value, re.ASCII) else value
    return value
