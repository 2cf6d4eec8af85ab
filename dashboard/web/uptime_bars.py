"""Uptime with its coverage: in figures for a day, a week, a month and a quarter, and as a bar of slots for the range shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from dashboard.model import Slot, Uptime
from dashboard.web import skyline, words
from dashboard.web.evidence import clock_time
from dashboard.web.past import Past
from dashboard.web.period import Period, preset, short

FIGURES = ("24h", "7d", "30d", "90d")
_PITCH, _SPACE = 12, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class UptimeFigure:
    """One uptime in words. `range` is the preset's name; `aside` says how long it was down and in maintenance."""

    range: str
    name: str
    percent: str
    measured: str
    aside: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UptimeBar:
    """The uptime of the range shown, as a bar `width` units wide."""

    name: str
    coverage: str
    is_told: bool  # by one of the figures
    bar: Markup
    width: int
    start: str
    cell: str
    end: str


def uptimes(past: Past, period: Period) -> tuple[list[UptimeFigure], UptimeBar]:
    """The figures, and the bar of the period. The check's view has its last 24 hours; all else is read."""
    view = past.view
    read = FIGURES if view.uptime is None else FIGURES[1:]
    found = past.uptimes({name: preset(name, past.now, past.zone) for name in read})
    if view.uptime is not None:
        found = {"24h": view.uptime, **found}
    cells = view.bar if period.name == "24h" and view.bar else past.cells(period)
    up = found[period.name] if period.name in found else past.uptime(period)
    return [uptime_figure(name, each) for name, each in found.items()], _bar(period, cells, up, past)


def uptime_figure(name: str, up: Uptime) -> UptimeFigure:
    """The figure of a preset."""
    return UptimeFigure(
        range=name,
        name=short(name),
        percent=words.percent(up.ratio),
        measured=f"{words.percent(up.coverage_ratio)} measured",
        aside=_aside(up),
    )


def _bar(period: Period, cells: Sequence[Slot], up: Uptime, past: Past) -> UptimeBar:
    name = period.label(past.zone) if period.is_live else words.span(period.length_s)
    return UptimeBar(
        name=name,
        coverage=words.coverage(up),
        is_told=period.name in FIGURES,
        bar=_skyline(cells),
        width=_PITCH * len(cells) - _SPACE,
        start=_edge(cells[0].start_at, period, past),
        cell=f"{_length(max(cell.length_s for cell in cells))} a cell",
        end="now" if period.is_live else _edge(period.end_at, period, past),
    )


def _aside(up: Uptime) -> str:
    if up.ratio is None and up.maintenance_s <= 0:
        return ""
    down = f"down {words.span(max(1.0, up.critical_s))}" if up.critical_s > 0 else "never down"
    planned = f"{words.span(up.maintenance_s)} of maintenance" if up.maintenance_s > 0 else ""
    return ", ".join(filter(None, (down if up.ratio is not None else "", planned)))


def _edge(at: datetime, period: Period, past: Past) -> str:
    """An end of the bar: the time, or the day where the bar is long."""
    if not period.is_long:
        return clock_time(at, past.zone, past.now)
    local = at.astimezone(past.zone)
    return f"{local.day}{words.NBSP}{local:%b}{words.NBSP}{local.year}"


def _length(seconds: float) -> str:
    """The length of a cell: 23 or 25 hours are a day, too."""
    return words.every(round(seconds / 86400) * 86400 if seconds > 80_000 else round(seconds))


def _skyline(cells: Sequence[Slot]) -> Markup:
    """One path a kind, as tall as it is bad; neighbours that were not measured are one hatched block."""
    kinds = [skyline.kind(cell) for cell in cells]
    paths = dict.fromkeys(skyline.HEIGHTS, "")
    for index, (kind, cell) in enumerate(zip(kinds, cells, strict=True)):
        joined = kind == skyline.GAP and kinds[index + 1 : index + 2] == [skyline.GAP]
        paths[kind] += _block(index, skyline.HEIGHTS[kind], _PITCH if joined else _PITCH - _SPACE)
        if kind == skyline.GAP and (foot := skyline.foot(cell)):
            paths[foot] += _block(index, skyline.HEIGHTS[foot], _PITCH - _SPACE)
    drawn = ((kind, path) for kind, path in paths.items() if path)
    return Markup("").join(Markup('<path class="k-{}" d="{}"/>').format(kind, path) for kind, path in drawn)


def _block(index: int, height: int, width: int) -> str:
    return f"M{index * _PITCH} {skyline.HEIGHT - height}h{width}v{height}h-{width}z"
