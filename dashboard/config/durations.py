"""Durations as people write them: `500ms`, `30s`, `1h30m`, `7d`, `2y`; a year has 365 days."""

from __future__ import annotations

import re
from math import inf, isinf
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

DAY_S = 86400.0
YEAR_S = 365 * DAY_S
FOREVER = "forever"

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY_S, "y": YEAR_S}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d|y)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def parse_duration(value: object) -> float:
    """The seconds that the text stands for. Raises ValueError with the fault and the way out."""
    text = "" if value is None else str(value).strip()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a duration such as 500ms, 30s, 5m, 1h30m or 7d")
    if _NUMBER.fullmatch(text):
        raise ValueError(f"needs a unit (ms, s, m, h, d or y): write {text.lstrip('+-')}s for seconds")
    if not _WHOLE.fullmatch(text):
        raise ValueError("must be a duration such as 500ms, 30s, 5m, 1h30m or 7d")
    return sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))


def duration_text(seconds: float) -> str:
    """The shortest way to write the seconds: `90s` for 90, `2h` for 7200, `800ms` for 0.8, `forever` for infinity."""
    if isinf(seconds):
        return FOREVER
    for unit in ("y", "d", "h", "m", "s"):
        if seconds >= _UNIT_S[unit] and seconds % _UNIT_S[unit] == 0:
            return f"{seconds / _UNIT_S[unit]:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:g}s"


def _between(low_s: float, high_s: float) -> BeforeValidator:
    return BeforeValidator(lambda value: _limited(parse_duration(value), low_s, high_s))


def _kept(low_s: float) -> BeforeValidator:
    def check(value: object) -> float:
        try:
            return inf if value == FOREVER else _limited(parse_duration(value), low_s, _LONGEST_KEPT_S)
        except ValueError as error:
            raise ValueError(f"{error}, or `{FOREVER}`") from error

    return BeforeValidator(check)


def _limited(seconds: float, low_s: float, high_s: float) -> float:
    if not low_s <= seconds <= high_s:
        raise ValueError(f"must be between {duration_text(low_s)} and {duration_text(high_s)}")
    return seconds


_LONGEST_KEPT_S = 30 * YEAR_S  # the store writes it into file names, in nine digits
_TEXT = r"(\d+(\.\d+)?(ms|s|m|h|d|y))+"
_SCHEMA = WithJsonSchema({"type": "string", "pattern": f"^{_TEXT}$", "examples": ["30s", "1h30m"]})
_KEPT_SCHEMA = WithJsonSchema(
    {"type": "string", "pattern": f"^({_TEXT}|{FOREVER})$", "examples": ["90d", "2y", FOREVER]}
)

# Below a second a run costs more than it tells; a check that runs less than weekly is a calendar entry.
Every = Annotated[float, _between(1.0, 7 * DAY_S), _SCHEMA]
Timeout = Annotated[float, _between(0.1, 3600.0), _SCHEMA]
Kept = Annotated[float, _kept(3600.0), _KEPT_SCHEMA]
# Buckets lie in files of a day and more, and only the nightly merge gives a check's results files of their own.
KeptByDay = Annotated[float, _kept(DAY_S), _KEPT_SCHEMA]
