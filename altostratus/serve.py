"""The gateway's workers under gunicorn."""

from __future__ import annotations

import gc
import threading
from typing import Any

import gunicorn.http.wsgi
import structlog
from gunicorn.app.base import BaseApplication

from altostratus import logs
from altostratus.application import cdmi_site_of, create_application, site_of
from altostratus.patience import AT_LENGTH_AT_ONCE, PatientWorker, Wsgi, in_turn
from altostratus.settings import Settings
from backends.cloud.queries import run_queries
from backends.cloud.values import sweep_values
from backends.cloud.versions import run_expiry
from backends.errors import DatabaseUnavailable
from backends.store.database import Database
from backends.values import Values
from cdmi_server.presentation import Presentation
from renderers.cdmi.representation import Version

log = structlog.get_logger()

HEADER_LIMIT_BYTES = 64 * 1024
"""For text/occi, which carries a whole message in header fields; gunicorn's own limit is 8190 a field."""


class Gateway(BaseApplication):  # type: ignore[misc]
    """SIGHUP reloads the workers one by one, SIGTERM lets them finish what they answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        PatientWorker.limit_s = settings.request_s
        # Three more for the queries and for versions that get too old, which go on beside the requests.
        self._database = Database(settings.conninfo, connections=settings.threads + AT_LENGTH_AT_ONCE + 3)
        super().__init__()

    def load_config(self) -> None:
        chosen: dict[str, Any] = {
            "bind": [self._settings.listen],
            "workers": self._settings.workers,
            "worker_class": PatientWorker,
            "threads": self._settings.threads,
            "timeout": 60,
            "graceful_timeout": 20,
            "keepalive": 5,
            "limit_request_field_size": HEADER_LIMIT_BYTES,
            "limit_request_line": 8190,
            "control_socket_disable": True,
            "post_fork": self._after_fork,
            "post_worker_init": _spare_the_code,
            "child_exit": _forget_metrics_of,
            "loglevel": "warning",
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def _after_fork(self, _arbiter: object, _worker: object) -> None:
        logs.configure(self._settings, "gateway")
        self._database.open()
        threading.Thread(target=self._sweep_values, name="sweep", daemon=True).start()
        threading.Thread(target=self._run_queries, name="queries", daemon=True).start()
        threading.Thread(target=self._run_expiry, name="expiry", daemon=True).start()

    def _sweep_values(self) -> None:
        """A worker starts after another was killed, which may have left a value that no row points to."""
        try:
            removed = sweep_values(self._database, Values(self._settings.values_folder))
        except (DatabaseUnavailable, OSError) as error:
            log.warning("the values were not swept", reason=str(error))
            return
        if removed:
            log.info("swept values that nothing points to", removed=removed)

    def _run_queries(self) -> None:
        """Of CDMI's query queues."""
        run_queries(self._database, Presentation(cdmi_site_of(self._settings), Version.V2))

    def _run_expiry(self) -> None:
        """Of versions of data objects."""
        presentation = Presentation(cdmi_site_of(self._settings), Version.V2)
        run_expiry(self._database, Values(self._settings.values_folder), presentation)

    def load(self) -> Wsgi:
        # gunicorn drops the application's own Server field, which must name the OCCI versions (GFD.223 §5.6.3).
        site = site_of(self._settings)
        gunicorn.http.wsgi.SERVER = site.server_header
        application = create_application(self._settings, self._database)
        return in_turn(application, self._settings.threads, site.body_size_max_bytes + 1)


def _spare_the_code(_worker: object) -> None:
    """What the application is made of stays, so no collection of garbage need look through it again."""
    gc.collect()
    gc.freeze()


def _forget_metrics_of(_arbiter: object, worker: Any) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
