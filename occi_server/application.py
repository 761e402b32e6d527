"""Puts the OCCI front-end into a Falcon application: which path is whose, and who writes errors."""

from __future__ import annotations

from typing import Any

import falcon

from occi_server import console
from occi_server.collection import Collection
from occi_server.compute import LOCATION as COMPUTE_LOCATION
from occi_server.consoles import ConsoleInstance, ConsoleLog, Consoles
from occi_server.entity import Instance
from occi_server.errors import error_handler
from occi_server.model import model_of
from occi_server.paths import Paths
from occi_server.query import QueryInterface
from occi_server.site import Site

QUERY_PATHS = ("/-/", "/.well-known/org/ogf/occi/-/")


def add_occi(app: falcon.App[Any, Any], site: Site) -> None:
    """Serve OCCI at the application's root.

    `req.context.cloud` must hold the caller's `backends.cloud.Cloud`. What no other route takes is OCCI's, since
    users put mixins at paths of their choice; errors that no other front-end writes are written as OCCI's.
    """
    model = model_of(site)
    for path in QUERY_PATHS:
        app.add_route(path, QueryInterface(model))
    for kind in model.types:
        app.add_route(kind.location, Collection(model, kind))
        app.add_route(kind.location + "{identity}", Instance(model, kind))
    app.add_route(console.LOCATION, Consoles(model))
    app.add_route(console.LOCATION + "{identity}", ConsoleInstance(model, console.display))
    app.add_route(console.LOCATION + "{identity}/log", ConsoleInstance(model, console.log))
    app.add_route(COMPUTE_LOCATION + "{identity}" + console.LOG, ConsoleLog(model))
    app.add_sink(Paths(model), "/")
    for error in (Exception, falcon.HTTPError):
        app.add_error_handler(error, error_handler(site))
