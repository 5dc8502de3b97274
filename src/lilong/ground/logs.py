"""The server's own log: one JSON object a line on standard error. Headers and bodies never go into it, so secrets do not either."""

from __future__ import annotations

import contextlib
import logging
import sys

import structlog


class _Sink:
    """Standard error, which may lie on a full disk or lead to a program that has ended: then a line is lost, not the request."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def configure(level: str) -> None:
    """`level`: debug, info, warning or error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper(), logging.INFO)),
        logger_factory=structlog.PrintLoggerFactory(_Sink()),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
