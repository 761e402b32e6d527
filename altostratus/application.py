"""The WSGI application: authentication, the front-ends, and what operators ask for."""

from __future__ import annotations

from typing import Any

import falcon

from altostratus.authentication import Authentication
from altostratus.observability import Health, Metrics, Observability
from altostratus.settings import Settings
from backends.opened import OpenedDisks
from backends.store.database import Database
from backends.values import Values
from cdmi_server.application import add_cdmi
from cdmi_server.site import Site as CdmiSite
from occi_server.application import add_occi
from occi_server.site import Site

Application = falcon.App[Any, Any]


def create_application(settings: Settings, database: Database) -> Application:
    """`database` is opened by whoever runs the application, in each process after its fork."""
    sizes = settings.all_sizes
    values = Values(settings.values_folder)
    opened = OpenedDisks(settings.host_name, settings.opened_folder)
    application: Application = falcon.App(
        middleware=[
            Observability(),
            Authentication(
                database,
                sizes,
                settings.default_size,
                settings.password_cache_s,
                values,
                opened,
                settings.bandwidth_max_kbit_s or None,
            ),
        ]
    )
    application.add_route("/healthz", Health(database))
    application.add_route("/metrics", Metrics(database))
    add_occi(application, site_of(settings))
    add_cdmi(application, cdmi_site_of(settings))
    return application


def cdmi_site_of(settings: Settings) -> CdmiSite:
    return CdmiSite(enterprise_number=settings.cdmi_enterprise_number, region=settings.cdmi_region)


def site_of(settings: Settings) -> Site:
    return Site(
        scheme_prefix=settings.occi_scheme,
        sizes=tuple(settings.all_sizes.values()),
        enterprise_number=settings.cdmi_enterprise_number,
    )
