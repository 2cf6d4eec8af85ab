"""The log: one JSON object a line on standard error, secrets masked."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection
from datetime import UTC, datetime

import orjson

from dashboard.model import masked


class JsonLines(logging.Formatter):
    """One JSON object a line: at, level, logger, message, trace; `secrets` are masked in all of it."""

    secrets: Collection[str] = ()

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._mask(record.getMessage()),
        }
        if record.exc_info:
            line["trace"] = self._mask(self.formatException(record.exc_info))
        return orjson.dumps(line).decode()

    def _mask(self, text: str) -> str:
        return masked(text, self.secrets).encode("utf-8", "backslashreplace").decode()


def start_log() -> JsonLines:
    """Send this process's log to standard error; what it gives takes the secrets as they become known."""
    lines = JsonLines()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(lines)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    return lines
