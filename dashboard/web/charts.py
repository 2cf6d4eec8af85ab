"""Plotly figures of a check's past, as JSON without colours: `static/js/charts.js` holds the look.

Where results are few they are drawn one by one, else slots: the median, the band to the 95th percentile, the 99th, and the
lowest and highest, so that spikes survive. Every trace says in `meta.role` what it is. Plotly is imported with the first
figure: it costs 40 ms that a start need not pay.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson

from checks.base import Status, Thresholds
from dashboard.rollup import DURATION, Rollup, joined_metrics
from dashboard.storage.base import ResultColumns
from dashboard.web import skyline, words
from dashboard.web.axis import Axis, bars
from dashboard.web.lines import (
    HIGH,
    LOW,
    P50,
    P95,
    P99,
    Points,
    SlotValues,
    band,
    percentiles,
    points,
    segments,
    slot_line,
)
from dashboard.web.metrics import Panel, Scale, label, panels, scale
from dashboard.web.past import Measured
from dashboard.web.period import Period

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_BARS = 180  # of a phase: five of them make 900
HEADROOM = 1.25  # over what nearly all slots reach
_TICK = 0.06  # of the chart's height: a slot with a failed run
# name, role, which of a slot's percentiles, whether the legend names it
_PERCENTILES = (
    ("highest", "extreme", HIGH, True),
    ("p99", "p99", P99, True),
    ("p95", "p95", P95, False),
    ("p50", "p50", P50, True),
    ("lowest", "extreme", LOW, False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brush:
    """What every trace of a chart needs: where instants lie and how values are scaled."""

    axis: Axis
    fit: Scale

    def xy(self, points: Points) -> dict[str, object]:
        """The points as Plotly takes them."""
        x, y = points
        return {
            "x": [None if at is None else self.axis.place(at) for at in x],
            "y": [None if value is None else self.height(value) for value in y],
        }

    def height(self, value: float) -> float:
        """The value in the chart's unit: five digits are more than a screen shows, and a third of the bytes."""
        return float(f"{value / self.fit.divisor:.5g}")

    @property
    def hover(self) -> str:
        """How a value is told."""
        return f"%{{y:.3~r}}{_suffix(self.fit)}"


def figures(
    measured: Measured,
    *,
    period: Period,
    zone: tzinfo,
    units: Mapping[str, str],
    thresholds: Mapping[str, Thresholds] | None = None,
    headline: str = "",
) -> bytes:
    """`{key: figure}` as JSON: `status`, then one for each of `metrics.panels`."""
    axis = Axis(period=period, length_s=measured.length_s if measured.results is None else 0.0, zone=zone)
    found = {"status": status_figure(measured, axis)}
    for panel in panels(measured.names(), units, headline=headline):
        if panel.is_stack:
            found[panel.key] = stack_figure(panel, measured, axis)
        else:
            found[panel.key] = line_figure(panel, measured, axis, thresholds or {})
    return orjson.dumps({key: figure.to_plotly_json() for key, figure in found.items()})


def status_figure(measured: Measured, axis: Axis) -> go.Figure:
    """The worst of each slot, as tall as it is bad; what was not measured is a trace of its own."""
    import plotly.graph_objects as go

    kinds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in skyline.HEIGHTS}
    for cell in measured.cells():
        place = (cell.start_at.timestamp(), cell.start_at.timestamp() + cell.length_s)
        kind = skyline.kind(cell)
        kinds[kind].append(place)
        if kind == skyline.GAP and (foot := skyline.foot(cell)):
            kinds[foot].append(place)
    figure = _figure(axis, names=0)
    figure.update_layout(
        hovermode="x", yaxis={"range": [0, 1], "fixedrange": True, "visible": False}, barmode="overlay"
    )
    for kind, those in kinds.items():
        if those:
            word = "not measured" if kind == skyline.GAP else kind
            heights = [skyline.HEIGHTS[kind] / skyline.HEIGHT] * len(those)
            figure.add_trace(
                go.Bar(
                    **bars(those, axis, heights), name=word, meta={"role": kind}, hovertemplate=f"{word}<extra></extra>"
                )
            )
    return figure


def line_figure(panel: Panel, measured: Measured, axis: Axis, thresholds: Mapping[str, Thresholds]) -> go.Figure:
    """One line a metric, or for one alone its percentiles; where nothing was measured the line breaks."""
    if measured.results is not None:
        found, fit, top = _result_traces(panel, measured.results, axis)
    else:
        found, fit, top = (_median_traces if len(panel.names) > 1 else _percentile_traces)(panel, measured, axis)
    figure = _figure(axis, names=len(found), unit=fit.unit)
    figure.add_traces([*_backdrop(measured, axis), *found])
    figure.update_layout(
        yaxis={"overlaying": "y2", "tickmode": "auto"},
        yaxis2={"range": [0, 1], "visible": False, "fixedrange": True},
        barmode="overlay",
    )
    if top is not None:
        figure.update_layout(yaxis={"range": [0, top]})
    if len(panel.names) == 1:
        figure.update_layout(shapes=_limits(thresholds.get(panel.names[0]), fit))
    return figure


_Drawn = tuple[list["go.Scatter"], Scale, float | None]  # lines, their scale, the top of the axis where it has a limit


def _result_traces(panel: Panel, results: ResultColumns, axis: Axis) -> _Drawn:
    columns = {name: _column(results, name) for name in panel.names}
    brush = Brush(axis=axis, fit=scale(panel.unit, _largest(chain.from_iterable(columns.values()))))
    until_s = axis.period.end_at.timestamp()
    found = {name: points(column, results.at_s, results.covers_s, until_s=until_s) for name, column in columns.items()}
    return _lines(brush, found), brush.fit, None


def _column(results: ResultColumns, name: str) -> Sequence[float]:
    """The metric down the rows; how long they took where none has any."""
    is_duration = name == DURATION and DURATION not in results.metric_names()
    return results.durations_s if is_duration else results.metric(name)


def _median_traces(panel: Panel, measured: Measured, axis: Axis) -> _Drawn:
    medians = {
        name: [(each, (each.metrics[name].quantile(0.5),)) for each in measured.slots if name in each.metrics]
        for name in panel.names
    }
    brush = Brush(axis=axis, fit=scale(panel.unit, _largest(y for found in medians.values() for _, (y,) in found)))
    found = {
        name: slot_line(segments(values, measured.covers_s), 0, measured.now_s) for name, values in medians.items()
    }
    return _lines(brush, found), brush.fit, None


def _lines(brush: Brush, found: Mapping[str, Points]) -> list[go.Scatter]:
    """One line a metric."""
    import plotly.graph_objects as go

    return [
        go.Scatter(
            **brush.xy(line),
            mode="lines",
            connectgaps=False,
            name=html.escape(label(name)),
            meta={"role": "line", "step": step},
            hovertemplate=brush.hover,
        )
        for step, (name, line) in enumerate(found.items())
    ]


def _percentile_traces(panel: Panel, measured: Measured, axis: Axis) -> _Drawn:
    """The median, the band to p95, p99, and both extremes."""
    import plotly.graph_objects as go

    [name] = panel.names
    found = [(each, percentiles(each.metrics[name])) for each in measured.slots if name in each.metrics]
    top = _top(found)
    highest = _largest(values[HIGH] for _, values in found)
    brush = Brush(axis=axis, fit=scale(panel.unit, highest if top is None else top))
    runs = segments(found, measured.covers_s)
    traces = [
        go.Scatter(
            **brush.xy(band(runs, P50, P95, measured.now_s)),
            mode="lines",
            fill="toself",
            name="to p95",
            meta={"role": "band"},
            hoverinfo="skip",
        )
    ]
    traces += [
        go.Scatter(
            **brush.xy(slot_line(runs, which, measured.now_s)),
            mode="lines",
            connectgaps=False,
            name=word,
            meta={"role": role},
            showlegend=is_named,
            hovertemplate=brush.hover,
        )
        for word, role, which, is_named in _PERCENTILES
    ]
    return traces, brush.fit, None if top is None else brush.height(top)


def _top(found: Sequence[SlotValues]) -> float | None:
    """Where the axis ends, so that a few outages and spikes do not flatten all the rest: their lines leave the chart there.

    None where all fits without that.
    """
    if not found:
        return None
    p95s, p99s = (sorted(values[which] for _, values in found) for which in (P95, P99))
    usual = max(p95s[len(p95s) * 95 // 100], p99s[len(p99s) * 90 // 100])
    is_flattened = 0 < 2 * HEADROOM * usual < max(values[HIGH] for _, values in found)
    return HEADROOM * usual if is_flattened and min(values[LOW] for _, values in found) >= 0 else None


def _backdrop(measured: Measured, axis: Axis) -> list[go.Bar]:
    """What stands behind the lines: hatched gaps, shaded maintenance, a tick where runs failed."""
    import plotly.graph_objects as go

    gaps, planned = [], []
    cells = measured.cells()
    for kind, first, last in skyline.stretches([skyline.kind(cell) for cell in cells]):
        if kind == skyline.GAP:
            end_s = cells[last].start_at.timestamp() + cells[last].length_s
            gaps.append((cells[first].start_at.timestamp(), end_s))
    for cell in cells:
        if cell.maintenance_s > 0:  # as wide as it was long, in the middle of its slot
            middle_s = cell.start_at.timestamp() + cell.length_s / 2
            planned.append((middle_s - cell.maintenance_s / 2, middle_s + cell.maintenance_s / 2))
    failed = [(each.start_s, each.end_s) for each in measured.slots if each.runs[Status.CRITICAL]]
    drawn = (("gap", gaps, 1.0), ("maintenance", planned, 1.0), ("failed", failed, _TICK))
    return [
        go.Bar(
            **bars(those, axis, [height] * len(those)),
            yaxis="y2",
            meta={"role": f"{kind}-behind"},
            showlegend=False,
            hoverinfo="skip",
        )
        for kind, those, height in drawn
        if those
    ]


def stack_figure(panel: Panel, measured: Measured, axis: Axis) -> go.Figure:
    """The median of each part per slot of time, one on the other; a slot without results is empty."""
    import plotly.graph_objects as go

    size = math.ceil(len(measured.slots) / MOST_BARS)
    groups = [measured.slots[index : index + size] for index in range(0, len(measured.slots), size)]
    parts = {name: _medians(groups, name) for name in panel.names}
    tallest = max((sum(part.get(index, 0.0) for part in parts.values()) for index in range(len(groups))), default=0.0)
    brush = Brush(axis=axis, fit=scale(panel.unit, tallest))
    figure = _figure(axis, names=len(parts), unit=brush.fit.unit)
    for step, (name, part) in enumerate(parts.items()):
        places = [(groups[index][0].start_s, groups[index][-1].end_s) for index in part]
        figure.add_trace(
            go.Bar(
                **bars(places, axis, [brush.height(value) for value in part.values()]),
                name=html.escape(label(name)),
                meta={"role": "part", "step": step},
                hovertemplate=brush.hover,
            )
        )
    return figure


def _medians(groups: Sequence[Sequence[Rollup]], name: str) -> dict[int, float]:
    """`{group: median}` of the groups that have a value."""
    found = (
        (index, [each.metrics[name] for each in group if name in each.metrics]) for index, group in enumerate(groups)
    )
    return {index: joined_metrics(metrics).quantile(0.5) for index, metrics in found if metrics}


def _figure(axis: Axis, *, names: int, unit: str = "") -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        template=None,
        uirevision=axis.period.key,
        hovermode="x unified",
        barmode="stack",
        bargap=0,
        showlegend=names > 1,
        xaxis=axis.layout(),
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


def _largest(values: Iterable[float]) -> float:
    return max((abs(value) for value in values if math.isfinite(value)), default=0.0)


def _suffix(fit: Scale) -> str:
    """The unit as Plotly may print it: it reads `<b>` and `%{x}` in labels, and units come from plugins."""
    return f"{words.NBSP}{html.escape(fit.unit).replace('{', '(')}" if fit.unit else ""
