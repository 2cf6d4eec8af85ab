"""The dataset `rollups` of the export: what became of each check in each step of time, from the same numbers as the pages.

Steps of 5 minutes and hours are whole multiples of UTC; days, weeks (from Monday) and months are those of the export's zone,
so a day with a clock change has its 23 or 25 hours. The first and the last step are cut at the ends of the range.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING

import orjson

from checks.base import Status
from dashboard.engine.export_lines import field
from dashboard.engine.quarter import midnight
from dashboard.model import Retention
from dashboard.rollup import DAY_S, FIVE_MINUTES_S, HOUR_S, MetricRollup, Rollup
from dashboard.storage.base import History
from dashboard.uptime import uptime_of

if TYPE_CHECKING:
    from dashboard.engine.export import ExportRequest

STEPS = ("5m", "1h", "1d", "1w", "1mo")
STANDARD = "1d"
METRICS = "metrics"
COLUMNS = (
    "check_id",
    "start",
    "end",
    "ok_s",
    "warning_s",
    "critical_s",
    "unknown_s",
    "maintenance_s",
    "unmeasured_s",
    "uptime_ratio",
    "coverage_ratio",
    "runs",
    *(f"runs_{status.word}" for status in sorted(Status)),
    METRICS,
)
MOST_STEPS = 200  # asked of the history in one call
MOST_ROWS = 4000  # held at a time: some 1.5 kB each for a check with eight metrics
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

_LENGTHS_S = {"5m": FIVE_MINUTES_S, "1h": HOUR_S}
_ROWS_A_CHUNK = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Value = str | float | bytes | None  # bytes are JSON
Row = tuple[Value, ...]


def rows(request: ExportRequest, history: History) -> Iterator[Row]:
    """One row per step and check, by step and then by check, its values in the order of `request.columns`. Memory stays bounded."""
    known = history.check_ids()
    check_ids = sorted(known if request.check_ids is None else known.intersection(request.check_ids))
    start_s, end_s = _start_s(request, check_ids, history), request.end_at.timestamp()
    if not check_ids or start_s is None:
        return
    steps = min(MOST_STEPS, max(1, MOST_ROWS // len(check_ids)))
    for edges_s in _runs_of(edges(request.step, start_s, end_s, request.zone), steps):
        by_check = (_rows_of(check_id, edges_s, request, history) for check_id in check_ids)
        if len(edges_s) == 2:
            yield from chain.from_iterable(by_check)  # a single step: nothing need be held
        else:
            yield from chain.from_iterable(zip(*by_check, strict=True))


def chunks(request: ExportRequest, history: History) -> Generator[Sequence[Row]]:
    """The same rows, some hundreds at a time."""
    found = rows(request, history)
    while chunk := list(islice(found, _ROWS_A_CHUNK)):
        yield chunk


def as_csv(found: Sequence[Row]) -> bytes:
    """The rows as lines of CSV."""
    lines = (b",".join(map(_field, row)) for row in found)
    return b"".join(b"%b\r\n" % (line or b'""') for line in lines)  # an empty line would be no row at all


def as_json(names: Sequence[str], between: bytes, end: bytes, found: Sequence[Row]) -> bytes:
    """The rows as JSON objects with these names, with what stands between two of them and behind the last."""
    lines = ({name: _member(value) for name, value in zip(names, row, strict=True)} for row in found)
    return between.join(map(orjson.dumps, lines)) + end


def edges(step: str, start_s: float, end_s: float, zone: tzinfo) -> Iterator[float]:
    """Where the steps between the two instants begin, and where the last one ends: strictly ascending."""
    yield start_s
    before_s = start_s
    for edge_s in _starts(step, start_s, zone):
        if edge_s >= end_s:
            break
        if edge_s > before_s:  # a zone that crossed the date line has left out a day
            yield edge_s
            before_s = edge_s
    yield end_s


def kept_s(step: str, retention: Retention) -> float:
    """How far back steps of that length can be told apart; infinity = always."""
    return {"5m": retention.five_minutes_s, "1h": retention.hours_s}.get(step, math.inf)


def _starts(step: str, at_s: float, zone: tzinfo) -> Iterator[float]:
    """The beginnings of steps, from the one that holds the instant on, for ever."""
    if step in _LENGTHS_S:
        number = at_s // _LENGTHS_S[step]
        while True:
            yield number * _LENGTHS_S[step]
            number += 1
    day = datetime.fromtimestamp(at_s, zone).date()
    if step == "1w":
        day -= timedelta(days=day.weekday())
    elif step == "1mo":
        day = day.replace(day=1)
    while True:
        yield midnight(day, zone)
        day = _next_month(day) if step == "1mo" else day + timedelta(days=7 if step == "1w" else 1)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


def _start_s(request: ExportRequest, check_ids: Sequence[str], history: History) -> float | None:
    """The start that was asked for, or of the step that holds the first history of the checks; None where there is none."""
    if request.start_at is not None:
        return request.start_at.timestamp()
    end_s = first_s = request.end_at.timestamp()
    oldest_at = min(filter(None, (each.oldest_at for each in history.inventory().classes)), default=_EPOCH)
    for check_id in check_ids:
        first_s = _first_s(history, check_id, oldest_at.year, first_s)
    if first_s >= end_s:
        return None
    if request.kept_from_at is not None:
        first_s = max(first_s, request.kept_from_at.timestamp())
    return next(_starts(request.step, first_s, request.zone))


def _first_s(history: History, check_id: str, first_year: int, end_s: float) -> float:
    """Where the check's history begins, to 5 minutes: the year, the day in it, the time of day; `end_s` where all lies ahead."""
    years = range(first_year, datetime.fromtimestamp(end_s, UTC).year + 1)
    first = _first_filled(history, check_id, [midnight(date(year, 1, 1), UTC) for year in years], end_s)
    for length_s in (DAY_S, FIVE_MINUTES_S):
        if first is not None:
            starts_s = [float(at_s) for at_s in range(int(first.start_s), math.ceil(first.end_s), length_s)]
            first = _first_filled(history, check_id, starts_s, first.end_s) or first
    return end_s if first is None else first.start_s


def _first_filled(history: History, check_id: str, starts_s: Iterable[float], end_s: float) -> Rollup | None:
    edges_s = [*takewhile(lambda start_s: start_s < end_s, starts_s), end_s]
    buckets = history.rollups(check_id, edges_s, now_s=end_s, metrics=()) if len(edges_s) > 1 else []
    return next((each for each in buckets if any(each.runs) or any(each.seconds)), None)


def _runs_of(edges_s: Iterator[float], steps: int) -> Iterator[list[float]]:
    """The edges of so many steps at a time, the first step alone: so the first rows need no wait."""
    chunk = list(islice(edges_s, 2))
    while len(chunk) > 1:
        yield chunk
        chunk = [chunk[-1], *islice(edges_s, steps)]


def _rows_of(check_id: str, edges_s: Sequence[float], request: ExportRequest, history: History) -> list[Row]:
    """The check's rows, a step each."""
    metrics = None if METRICS in request.columns else ()
    rollups = history.rollups(check_id, edges_s, now_s=request.end_at.timestamp(), metrics=metrics)
    return [_row(check_id, rollup, request) for rollup in rollups]


def _row(check_id: str, rollup: Rollup, request: ExportRequest) -> Row:
    start_at, end_at = (datetime.fromtimestamp(at_s, request.zone) for at_s in (rollup.start_s, rollup.end_s))
    seconds = [round(each, 6) for each in rollup.seconds]  # as exact as instants are; the rest is noise of floats
    up = uptime_of(seconds, start_at.astimezone(UTC), end_at.astimezone(UTC))
    values: dict[str, Value] = {
        "check_id": check_id,
        "start": start_at.isoformat(),
        "end": end_at.isoformat(),
        "ok_s": up.ok_s,
        "warning_s": up.warning_s,
        "critical_s": up.critical_s,
        "unknown_s": seconds[Status.UNKNOWN],
        "maintenance_s": up.maintenance_s,
        "unmeasured_s": round(up.unmeasured_s, 6),
        "uptime_ratio": up.ratio,
        "coverage_ratio": up.coverage_ratio,
        "runs": sum(rollup.runs),
        **{f"runs_{status.word}": rollup.runs[status] for status in Status},
    }
    if METRICS in request.columns:
        text = orjson.dumps({name: _numbers(metric) for name, metric in sorted(rollup.metrics.items())})
        values[METRICS] = bytes(memoryview(text))  # a copy without the room that orjson leaves: 1 kB instead of 4
    return tuple(values[name] for name in request.columns)


def _numbers(metric: MetricRollup) -> dict[str, float]:
    quantiles = dict(zip(SHARES, metric.quantiles(tuple(SHARES.values())), strict=True))
    return {"count": metric.count, "mean": metric.mean, "low": metric.low, "high": metric.high, **quantiles}


def _field(value: Value) -> bytes:
    """A value in CSV."""
    if isinstance(value, bytes):
        return b'"' + value.replace(b'"', b'""') + b'"'
    return field(value) if isinstance(value, str) else b"" if value is None else orjson.dumps(value)


def _member(value: Value) -> object:
    """A value for orjson."""
    return orjson.Fragment(value) if isinstance(value, bytes) else value
