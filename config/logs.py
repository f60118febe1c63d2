"""Logs: one JSON object a line on stderr, in UTC, with phone numbers and secret links masked wherever they stand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from accounts.masking import mask_links, mask_phones

PROCESSES = {"run_engine": "engine", "run_clock": "clock", "work": "worker", "daphne": "web"}


def process_name() -> str:
    """Which of Flotilla's processes this is, by how it was started."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:2]] if Path(sys.argv[0]).name == "manage.py" else sys.argv[:1]
    started_as = Path(words[-1]).parent.name if Path(words[-1]).name == "__main__.py" else Path(words[-1]).name
    return PROCESSES.get(started_as, started_as)


def add_process(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event.setdefault("process", NAME)
    return event


def masked(value: Any) -> Any:
    """The value with every string in it masked; what JSON doesn't know becomes a string first."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {mask_phones(str(key)): masked(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(part) for part in value]
    return mask_phones(mask_links(str(value)))


def mask_everything(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return {key: masked(value) for key, value in event.items()}


NAME = process_name()
SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    add_process,
]


def configure() -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def logging_settings(level: str) -> dict[str, Any]:
    """Django's LOGGING: everybody's records, structlog's and the standard library's, leave through one formatter."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": "structlog.stdlib.ProcessorFormatter",
                "foreign_pre_chain": SHARED,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.StackInfoRenderer(),
                    structlog.processors.format_exc_info,
                    mask_everything,
                    structlog.processors.JSONRenderer(),
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Their own handlers would write a second, unmasked line.
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            "daphne": {"level": "WARNING"},
            "rq": {"level": "WARNING"},
            "rq.worker": {"level": "WARNING"},
            "rq.job": {"level": "WARNING"},
        },
    }
