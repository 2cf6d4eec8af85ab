"""Durations as people write them: `500ms`, `30s`, `1h30m`, `7d`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def parse_duration(value: object) -> float:
    """The seconds that the text stands for. Raises ValueError with the fault and the way out."""
    text = "" if value is None else str(value).strip()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a duration such as 500ms, 30s, 5m, 1h30m or 7d")
    if _NUMBER.fullmatch(text):
        raise ValueError(f"needs a unit (ms, s, m, h or d): write {text.lstrip('+-')}s for seconds")
    if not _WHOLE.fullmatch(text):
        raise ValueError("must be a duration such as 500ms, 30s, 5m, 1h30m or 7d")
    return sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))


def duration_text(seconds: float) -> str:
    """The shortest way to write the seconds: `90s` for 90, `2h` for 7200, `800ms` for 0.8."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= _UNIT_S[unit] and seconds % _UNIT_S[unit] == 0:
            return f"{seconds / _UNIT_S[unit]:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:g}s"


def _between(low_s: float, high_s: float) -> BeforeValidator:
    def check(value: object) -> float:
        seconds = parse_duration(value)
        if not low_s <= seconds <= high_s:
            raise ValueError(f"must be between {duration_text(low_s)} and {duration_text(high_s)}")
        return seconds

    return BeforeValidator(check)


_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$", "examples": ["30s", "1h30m"]})

# Below a second a run costs more than it tells; a check that runs less than weekly is a calendar entry.
Every = Annotated[float, _between(1.0, 7 * 86400.0), _SCHEMA]
Timeout = Annotated[float, _between(0.1, 3600.0), _SCHEMA]
Kept = Annotated[float, _between(3600.0, 3650 * 86400.0), _SCHEMA]
