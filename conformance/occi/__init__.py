"""The OCCI suite: GFD.183-185 (OCCI 1.1) and GFD.221-229 (OCCI 1.2), a module for each area.

Importing this package registers all checks; the order in which they run stands in `server.AREAS`.
"""

from conformance.occi import (
    actions,
    batch,
    collections,
    entities,
    infrastructure,
    links,
    negotiation,
    query,
    rendering_json,
    rendering_text,
)
from conformance.occi.server import suite

__all__ = [
    "actions",
    "batch",
    "collections",
    "entities",
    "infrastructure",
    "links",
    "negotiation",
    "query",
    "rendering_json",
    "rendering_text",
    "suite",
]
