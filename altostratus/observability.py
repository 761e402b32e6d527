"""Request IDs, access logs, /healthz and /metrics."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from uuid import uuid4

import falcon
import structlog
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from backends.errors import DatabaseUnavailable
from backends.model import Role
from backends.store.database import Database, query
from backends.store.rows import Row

log = structlog.get_logger()

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECONDS = Histogram(
    "altostratus_request_seconds", "Time to answer; its count is that of requests", ["method", "status"]
)


class Observability:
    """Middleware: an ID for each request (the client's own if it has a decent one), a log line and a count."""

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        structlog.contextvars.clear_contextvars()
        given = request.get_header("X-Request-ID") or ""
        request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex
        request.context.started = time.monotonic()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        response.set_header("X-Request-ID", request_id)

    def process_response(
        self, request: falcon.Request, response: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        seconds = time.monotonic() - getattr(request.context, "started", time.monotonic())
        status = response.status_code
        method = request.method if request.method in falcon.HTTP_METHODS else "other"
        SECONDS.labels(method, str(status)).observe(seconds)
        log.info("request", method=method, path=request.path, status=status, milliseconds=round(seconds * 1000, 1))


class Health:
    """200 when the database answers, 503 when not: for load balancers and monitors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        response.content_type = "text/plain; charset=utf-8"
        try:
            with self._database.connection() as connection:
                connection.execute("SELECT 1")
        except DatabaseUnavailable as error:
            response.status = falcon.HTTP_503
            response.text = f"{error}\n"
        else:
            response.text = "ok\n"


MEASURED = {
    "cpu_seconds": "CPU time since the machine's start",
    "memory_resident_mib": "Memory that the host gives to the machine now, in MiB",
    "disk_read_bytes": "Read from its disks since its start",
    "disk_written_bytes": "Written to its disks since its start",
    "network_received_bytes": "Received by its interfaces since its start",
    "network_sent_bytes": "Sent by its interfaces since its start",
}
"""Columns of the table `measurement`. Gauges, though most only rise: they fall when the machine starts anew."""


COUNTED = {
    "received_bytes": "Bytes that have reached guests, ever",
    "received_packets": "Packets that have reached guests, ever",
    "sent_bytes": "Bytes that guests have sent, ever",
    "sent_packets": "Packets that guests have sent, ever",
}
"""Columns of the table `traffic`. They never fall; those of a project go on when an interface is gone."""


class Found(Collector):
    """Numbers of this moment. Gauges would be kept in the workers' files, and shown once more for each worker."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class Metrics:
    """Prometheus' text format, for cloud admins: the workers' counters and the cloud's own numbers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        if request.context.cloud.caller.role is not Role.CLOUD_ADMIN:
            raise falcon.HTTPForbidden(description="Only a cloud admin may read the metrics.")
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        machines = GaugeMetricFamily("altostratus_machines", "Machines by state", labels=["state"])
        beats = GaugeMetricFamily("altostratus_host_heartbeat_age_seconds", "Since the agent's sign", labels=["host"])
        waiting = GaugeMetricFamily("altostratus_jobs_waiting", "Jobs not yet taken", labels=["host"])
        with self._database.connection() as connection:
            for state, count in connection.execute("SELECT state, count(*) FROM machine GROUP BY state"):
                machines.add_metric([state], count)
            for name, age in connection.execute(
                "SELECT name, extract(epoch FROM now() - heartbeat_at)::float FROM host"
            ):
                beats.add_metric([name], age)
            for name, count in connection.execute(
                "SELECT queue_name, count(*) FROM procrastinate_jobs WHERE status = 'todo' GROUP BY queue_name"
            ):
                waiting.add_metric([name], count)
            measurements = connection.execute(
                f"SELECT m.id::text, p.name, {', '.join(MEASURED)} FROM measurement"  # noqa: S608
                " JOIN machine m ON m.id = machine_id JOIN project p ON p.id = m.project_id"
            ).fetchall()
            interfaces = connection.execute(query("traffic.of_interfaces")).fetchall()
            projects = connection.execute(query("traffic.of_projects")).fetchall()
        used = []
        for column, (name, description) in enumerate(MEASURED.items(), start=2):
            family = GaugeMetricFamily(f"altostratus_machine_{name}", description, labels=["machine", "project"])
            for row in measurements:
                if row[column] is not None:
                    family.add_metric(row[:2], row[column])
            used.append(family)
        counted = [
            *_counters("altostratus_interface", ("interface", "machine", "project"), interfaces),
            *_counters("altostratus_project", ("project",), projects),
        ]
        registry.register(Found([machines, beats, waiting, *used, *counted]))
        response.content_type = "text/plain; version=0.0.4; charset=utf-8"
        response.data = generate_latest(registry)


def _counters(prefix: str, labels: Sequence[str], rows: Sequence[Row]) -> Iterator[Metric]:
    """`rows` are the labels' values and then what is counted."""
    for place, (name, description) in enumerate(COUNTED.items(), start=len(labels)):
        family = CounterMetricFamily(f"{prefix}_{name}", description, labels=labels)
        for row in rows:
            family.add_metric(row[: len(labels)], row[place])
        yield family
