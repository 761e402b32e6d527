"""Structured logs: one line an event, with the request's ID wherever the work for it goes on."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable

import orjson
import structlog

from altostratus.settings import Settings


def configure(settings: Settings, process: str) -> None:
    """Once per process; `process` names it in each line."""
    is_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if is_text
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _json(event: dict[str, object], **options: Callable[[object], object]) -> str:
    try:
        return orjson.dumps(event, **options).decode()  # type: ignore[arg-type]
    except TypeError:  # half of a surrogate pair, as in a file's name that is not UTF-8
        return json.dumps(event, **options)  # type: ignore[arg-type]
