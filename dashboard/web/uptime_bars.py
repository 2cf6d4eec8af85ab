"""Uptime with its coverage and its bar of slots: of the last 24 hours, and of the range that the page shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from markupsafe import Markup

from checks.base import Status
from dashboard.model import CheckView, Slot, Uptime
from dashboard.storage.base import ResultColumns
from dashboard.uptime import slots, spans, uptime
from dashboard.web import fragments, words
from dashboard.web.evidence import clock_time
from dashboard.web.period import Period

_LIVE_SLOTS = {"1h": 60, "24h": 48}
_CUSTOM_SLOTS = 96
_PITCH, _SPACE = 12, 2
_HEIGHTS = {Status.OK: 7, Status.WARNING: 13, Status.CRITICAL: 20}


@dataclass(frozen=True, slots=True, kw_only=True)
class UptimeBar:
    """One uptime in words and as a bar, `width` units wide."""

    percent: str
    caption: str
    bar: Markup
    width: int
    start: str
    cell: str
    end: str


def uptime_bars(
    view: CheckView, read: Callable[[], ResultColumns], period: Period, zone: tzinfo, now: datetime
) -> list[UptimeBar]:
    """The bar of the period, then that of the last 24 hours where the period is another. Empty for a check without results.

    The check's view holds its day; `read` gives the results of any other period.
    """
    if view.result is None:
        return []
    day = [_bar("24 h", view.uptime, view.bar, zone, now, is_live=True)] if view.uptime and view.bar else []
    return day if day and period.name == "24h" else [_of_period(read(), period, zone, now), *day]


def _skyline(cells: Sequence[Slot]) -> Markup:
    """One path a status, as tall as the status is bad; neighbours that were not measured are one hatched block."""
    statuses = [fragments.slot_status(cell) for cell in cells]
    paths = dict.fromkeys((None, *_HEIGHTS), "")
    for index, status in enumerate(statuses):
        if status is None and cells[index].ok_s > 0:  # the little that was measured, at the foot of the hatch
            foot = _HEIGHTS[Status.OK]
            paths[Status.OK] += f"M{index * _PITCH} {20 - foot}h{_PITCH - _SPACE}v{foot}h-{_PITCH - _SPACE}z"
        height = 20 if status is None else _HEIGHTS[status]
        joined = status is None and index + 1 < len(statuses) and statuses[index + 1] is None
        width = _PITCH if joined else _PITCH - _SPACE
        paths[status] += f"M{index * _PITCH} {20 - height}h{width}v{height}h-{width}z"
    drawn = ((status.word if status is not None else "gap", path) for status, path in paths.items() if path)
    return Markup("").join(Markup('<path class="k-{}" d="{}"/>').format(word, path) for word, path in drawn)


def _of_period(columns: ResultColumns, period: Period, zone: tzinfo, now: datetime) -> UptimeBar:
    end_s = period.end_at.timestamp()
    found = list(spans(columns.at_s, columns.covers_s, columns.statuses, until_s=now.timestamp()))
    count = _LIVE_SLOTS.get(period.name, _CUSTOM_SLOTS)
    length_s = period.length_s / count
    start_s = period.start_at.timestamp()
    if period.is_live:  # slots of whole minutes stand still while the clock moves on
        start_s = (math.floor(end_s / length_s) - count + 1) * length_s
    cells = slots(found, start_s, length_s, count, until_s=end_s)
    up = uptime(found, period.start_at, period.end_at)
    name = f"{period.name[:-1]}{words.NBSP}h" if period.is_live else words.span(period.length_s)
    return _bar(name, up, cells, zone, now, is_live=period.is_live)


def _bar(name: str, up: Uptime, cells: Sequence[Slot], zone: tzinfo, now: datetime, *, is_live: bool) -> UptimeBar:
    return UptimeBar(
        percent=words.percent(up.ratio),
        caption=f"{name}, {words.percent(up.coverage_ratio)} measured",
        bar=_skyline(cells),
        width=_PITCH * len(cells) - _SPACE,
        start=clock_time(cells[0].start_at, zone, now),
        cell=f"{words.span(cells[0].length_s)} a cell",
        end="now" if is_live else clock_time(up.end_at, zone, now),
    )
