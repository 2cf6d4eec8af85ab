"""How a check's metrics are shown: which share a chart, in which scale, and their numbers over a range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboard.storage.base import ResultColumns

PHASES = {"dns": "DNS", "connect": "Connect", "tls": "TLS", "first_byte": "First byte", "transfer": "Transfer"}
RESPONSE_TIME = "response_time"
_LINES_A_PANEL = 6
_TIME_SCALES = (("d", 86400.0, 2 * 86400.0), ("h", 3600.0, 2 * 3600.0), ("s", 1.0, 1.0), ("ms", 0.001, 0.0))
_BYTE_SCALES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One metric down the rows, NaN where a row lacks it."""

    name: str
    values: Sequence[float]

    @property
    def label(self) -> str:
        """What people call it."""
        return label(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Metrics of one unit that share a chart. `is_stack`: they are parts of one whole."""

    key: str
    title: str
    unit: str
    lines: tuple[Line, ...]
    is_stack: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """One metric over a range: the table that stands beside its chart."""

    label: str
    unit: str
    count: int
    newest: float
    lowest: float
    median: float
    p95: float
    highest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a value in the base unit is divided by, and the unit it then has."""

    divisor: float
    unit: str


def label(name: str) -> str:
    """What people call a metric."""
    return PHASES.get(name, name.replace("_", " "))


def panels(columns: ResultColumns, units: Mapping[str, str], *, headline: str = RESPONSE_TIME) -> list[Panel]:
    """The charts of these results: response time, its phases, then one a unit, that of the headline first.

    Results without any metric show how long they took.
    """
    names = columns.metric_names()
    found = [Line(name=name, values=columns.metric(name)) for name in names]
    by_name = {line.name: line for line in found}
    shown: list[Panel] = []
    if RESPONSE_TIME in by_name:
        line = by_name.pop(RESPONSE_TIME)
        shown.append(Panel(key="response", title="Response time", unit="s", lines=(line,)))
        phases = tuple(by_name.pop(name) for name in PHASES if name in by_name)
        if phases:
            shown.append(Panel(key="phases", title="Phases, median", unit="s", lines=phases, is_stack=True))
    by_unit: dict[str, list[Line]] = {}
    for line in by_name.values():
        by_unit.setdefault(units.get(line.name, ""), []).append(line)
    first = units.get(headline, "") if headline in by_name else None
    for unit in sorted(by_unit, key=lambda unit: (unit != first, unit)):
        shown += _panels_of(unit, by_unit[unit])
    if not names and len(columns):
        took = Line(name="duration", values=columns.durations_s)
        shown.append(Panel(key="duration", title="Duration of a run", unit="s", lines=(took,)))
    return shown


def _panels_of(unit: str, lines: Sequence[Line]) -> list[Panel]:
    parts = [tuple(lines[index : index + _LINES_A_PANEL]) for index in range(0, len(lines), _LINES_A_PANEL)]
    return [
        Panel(key=f"{unit}-{index}", title=_title([line.label for line in part]), unit=unit, lines=part)
        for index, part in enumerate(parts)
    ]


def _title(labels: Sequence[str]) -> str:
    text = ", ".join(labels)
    return text[:1].upper() + text[1:]


def scale(panel: Panel) -> Scale:
    """The unit in which the panel's largest value reads best."""
    largest = max((abs(value) for line in panel.lines for value in line.values if math.isfinite(value)), default=0.0)
    if panel.unit == "s":
        unit, divisor, _ = next(step for step in _TIME_SCALES if largest >= step[2])
        return Scale(divisor=divisor, unit=unit)
    if panel.unit in ("B", "B/s"):
        for prefix, size in _BYTE_SCALES:
            if largest >= size:
                return Scale(divisor=size, unit=prefix + panel.unit)
    return Scale(divisor=1.0, unit=panel.unit)


def numbers(panel: Panel, *, first: int = 0) -> list[Numbers]:
    """The numbers of each of the panel's metrics that has any, from row `first` on."""
    found = ((line, [value for value in line.values[first:] if value == value]) for line in panel.lines)
    return [_numbers(line.label, panel.unit, values) for line, values in found if values]


def _numbers(label: str, unit: str, values: Sequence[float]) -> Numbers:
    ordered = sorted(values)
    return Numbers(
        label=label,
        unit=unit,
        count=len(ordered),
        newest=values[-1],
        lowest=ordered[0],
        median=_quantile(ordered, 0.5),
        p95=_quantile(ordered, 0.95),
        highest=ordered[-1],
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
