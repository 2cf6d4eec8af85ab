"""Plotly figures of a check's results, as JSON without colours: `static/js/charts.js` holds the look.

Every trace says in `meta.role` what it is. Times are drawn in the page's zone: Plotly knows none, so instants are moved by
the zone's offset at the end of the period, one offset a chart, and a day with a clock change stays in order.
Plotly is imported with the first figure: it costs 40 ms that a start need not pay.
"""

from __future__ import annotations

import html
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from statistics import median_high
from typing import TYPE_CHECKING, Any

import orjson

from checks.base import Thresholds
from dashboard.model import Slot
from dashboard.storage.base import ResultColumns
from dashboard.uptime import slots, spans
from dashboard.web import words
from dashboard.web.fragments import slot_status
from dashboard.web.metrics import Line, Panel, Scale, panels, scale
from dashboard.web.period import Period

if TYPE_CHECKING:
    import plotly.graph_objects as go

LARGEST_POINTS = 1500
_LINE_BUCKETS = LARGEST_POINTS // 4  # of each: the lowest, the highest, where the line ends at a gap, and the break
_BAR_SLOTS = 144  # 10 min of a day
_HEIGHTS = {"unmeasured": 1.0, "ok": 0.35, "warning": 0.65, "critical": 1.0}  # the skyline of the uptime bars


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The time axis of one period in one zone."""

    period: Period
    offset_s: float

    @classmethod
    def of(cls, period: Period, zone: tzinfo) -> Axis:
        """The axis that shows the period in the zone."""
        shift = period.end_at.astimezone(zone).utcoffset() or timedelta()
        return cls(period=period, offset_s=shift.total_seconds())

    def place(self, at_s: float) -> int:
        """Where an instant lies, as Plotly counts: milliseconds."""
        return round((at_s + self.offset_s) * 1000)


def figures(
    columns: ResultColumns,
    *,
    period: Period,
    zone: tzinfo,
    units: Mapping[str, str],
    thresholds: Mapping[str, Thresholds] | None = None,
    headline: str = "",
) -> bytes:
    """`{key: figure}` as JSON: `status`, then one for each of `metrics.panels`."""
    axis = Axis.of(period, zone)
    found = {"status": status_figure(columns, axis)}
    for panel in panels(columns, units, headline=headline):
        draw = stack_figure if panel.is_stack else line_figure
        found[panel.key] = draw(panel, columns, axis, thresholds or {})
    return orjson.dumps({key: figure.to_plotly_json() for key, figure in found.items()})


def status_figure(columns: ResultColumns, axis: Axis) -> go.Figure:
    """The worst status in each slot of the period, as tall as it is bad; what was not measured is a trace of its own."""
    import plotly.graph_objects as go

    found = spans(columns.at_s, columns.covers_s, columns.statuses)
    start_s, end_s = axis.period.start_at.timestamp(), axis.period.end_at.timestamp()
    length_s = axis.period.length_s / _BAR_SLOTS
    kinds: dict[str, list[Slot]] = {name: [] for name in _HEIGHTS}
    for slot in slots(found, start_s, length_s, _BAR_SLOTS, until_s=end_s):
        status = slot_status(slot)
        kinds[status.word if status is not None else "unmeasured"].append(slot)
        if status is None and slot.ok_s > 0:  # the little that was measured, at the foot of the hatch
            kinds["ok"].append(slot)
    figure = _figure(axis, names=0)
    figure.update_layout(
        hovermode="x", yaxis={"range": [0, 1], "fixedrange": True, "visible": False}, barmode="overlay"
    )
    for name, those in kinds.items():
        if those:
            middle = [axis.place(slot.start_at.timestamp() + length_s / 2) for slot in those]
            heights = [_HEIGHTS[name]] * len(those)
            label = "not measured" if name == "unmeasured" else name
            figure.add_trace(
                go.Bar(
                    x=middle,
                    y=heights,
                    width=length_s * 1000,
                    name=label,
                    meta={"role": name},
                    hovertemplate=f"{label}<extra></extra>",
                )
            )
    return figure


def line_figure(panel: Panel, columns: ResultColumns, axis: Axis, thresholds: Mapping[str, Thresholds]) -> go.Figure:
    """One line a metric; where nothing was measured the line breaks."""
    import plotly.graph_objects as go

    fit = scale(panel)
    figure = _figure(axis, names=len(panel.lines), unit=fit.unit)
    for step, line in enumerate(panel.lines):
        x, y = points(line.values, columns.at_s, columns.covers_s, until_s=axis.period.end_at.timestamp())
        figure.add_trace(
            go.Scatter(
                x=[None if at is None else axis.place(at) for at in x],
                y=[None if value is None else _rounded(value / fit.divisor) for value in y],
                mode="lines",
                connectgaps=False,
                name=html.escape(line.label),
                meta={"role": "line", "step": step},
                hovertemplate=f"%{{y:.3~r}}{_suffix(fit)}",
            )
        )
    if len(panel.lines) == 1:
        figure.update_layout(shapes=_limits(thresholds.get(panel.lines[0].name), fit))
    return figure


def points(
    values: Sequence[float], at_s: Sequence[float], covers_s: Sequence[float], *, until_s: float
) -> tuple[list[float | None], list[float | None]]:
    """The line through the values, at most LARGEST_POINTS long: the lowest and highest of each bucket, so that spikes survive.

    A value speaks until the next result or as long as it covers; there the line ends, with a None, if no value follows.
    """
    rows = _drawable(values, at_s)
    ends = [index for index in range(len(rows)) if _ends(rows, index, at_s, covers_s)]
    picked = _picked(rows, values)
    x: list[float | None] = []
    y: list[float | None] = []
    for place, index in enumerate(picked):
        row = rows[index]
        x.append(at_s[row])
        y.append(values[row])
        following = picked[place + 1] if place + 1 < len(picked) else len(rows)
        first_end = bisect_left(ends, index)
        if first_end < len(ends) and ends[first_end] < following:
            last_row = rows[ends[first_end]]
            end_s = at_s[last_row] + covers_s[last_row]
            if last_row + 1 < len(at_s):
                end_s = min(end_s, max(at_s[last_row], at_s[last_row + 1]))
            x += [min(end_s, until_s), None]
            y += [values[row], None]
    return x, y


def _drawable(values: Sequence[float], at_s: Sequence[float]) -> list[int]:
    """The rows that have a value, in order of time: what came after the clock was set back is left out until it caught up."""
    rows: list[int] = []
    newest_s = -math.inf
    for row, value in enumerate(values):
        if value == value and at_s[row] >= newest_s:
            newest_s = at_s[row]
            rows.append(row)
    return rows


def _ends(rows: Sequence[int], index: int, at_s: Sequence[float], covers_s: Sequence[float]) -> bool:
    """Whether the line ends after this row: the next has no value, or comes too late."""
    if index + 1 == len(rows):
        return True
    row, following = rows[index], rows[index + 1]
    return following != row + 1 or at_s[following] > at_s[row] + covers_s[row]


def _picked(rows: Sequence[int], values: Sequence[float]) -> list[int]:
    """Indexes into `rows` of those to draw."""
    if len(rows) <= _LINE_BUCKETS:
        return list(range(len(rows)))
    size = math.ceil(len(rows) / _LINE_BUCKETS)
    picked: list[int] = []
    heights = [values[row] for row in rows]
    for start in range(0, len(rows), size):
        bucket = heights[start : start + size]
        low, high = bucket.index(min(bucket)), bucket.index(max(bucket))
        picked += sorted({start + low, start + high})
    return picked


def stack_figure(panel: Panel, columns: ResultColumns, axis: Axis, thresholds: Mapping[str, Thresholds]) -> go.Figure:
    """The median of each part per slot of time, one on the other; a slot without results is empty."""
    import plotly.graph_objects as go

    start_s = axis.period.start_at.timestamp()
    length_s = axis.period.length_s / _BAR_SLOTS
    heights = [_medians(line, columns.at_s, start_s, length_s) for line in panel.lines]
    tallest = max((sum(part.get(slot, 0.0) for part in heights) for slot in range(_BAR_SLOTS)), default=0.0)
    whole = Panel(key=panel.key, title=panel.title, unit=panel.unit, lines=(Line(name="", values=[tallest]),))
    fit = scale(whole)
    figure = _figure(axis, names=len(panel.lines), unit=fit.unit)
    for step, (line, part) in enumerate(zip(panel.lines, heights, strict=True)):
        figure.add_trace(
            go.Bar(
                x=[axis.place(start_s + (slot + 0.5) * length_s) for slot in part],
                y=[_rounded(value / fit.divisor) for value in part.values()],
                width=length_s * 1000,
                name=html.escape(line.label),
                meta={"role": "part", "step": step},
                hovertemplate=f"%{{y:.3~r}}{_suffix(fit)}",
            )
        )
    return figure


def _medians(line: Line, at_s: Sequence[float], start_s: float, length_s: float) -> dict[int, float]:
    """`{slot: median}` of the slots that have a value."""
    found: dict[int, list[float]] = {}
    for at, value in zip(at_s, line.values, strict=True):
        if value == value and at >= start_s:
            found.setdefault(int((at - start_s) / length_s), []).append(value)
    return {slot: median_high(values) for slot, values in found.items() if slot < _BAR_SLOTS}


def _figure(axis: Axis, *, names: int, unit: str = "") -> go.Figure:
    import plotly.graph_objects as go

    period = axis.period
    figure = go.Figure()
    figure.update_layout(
        template=None,
        uirevision=period.key,
        hovermode="x unified",
        barmode="stack",
        bargap=0,
        showlegend=names > 1,
        xaxis={
            "type": "date",
            "range": [axis.place(period.start_at.timestamp()), axis.place(period.end_at.timestamp())],
            "hoverformat": "%a %-d %b %H:%M:%S",
            "tickformat": "%H:%M\n%-d %b" if period.length_s <= 2 * 86400 else "%-d %b\n%H:%M",
        },
        yaxis={"rangemode": "tozero", "nticks": 5, "ticksuffix": _suffix(Scale(divisor=1.0, unit=unit))},
    )
    return figure


def _limits(limits: Thresholds | None, fit: Scale) -> list[dict[str, Any]]:  # Plotly's own shape of a shape
    """The ends of the ranges that judge a metric, as lines across the chart."""
    if limits is None:
        return []
    ranges = (("warning", limits.warning), ("critical", limits.critical))
    return [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": edge / fit.divisor,
            "y1": edge / fit.divisor,
            "name": name,
        }
        for name, found in ranges
        if found is not None
        for edge in (found.low, found.high)
        if math.isfinite(edge) and edge != 0
    ]


def _suffix(fit: Scale) -> str:
    """The unit as Plotly may print it: it reads `<b>` and `%{x}` in labels, and units come from plugins."""
    return f"{words.NBSP}{html.escape(fit.unit).replace('{', '(')}" if fit.unit else ""


def _rounded(value: float) -> float:
    """Five digits are more than a screen shows, and a third of the bytes."""
    return float(f"{value:.5g}")
