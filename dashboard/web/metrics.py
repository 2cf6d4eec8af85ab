"""How a check's metrics are shown: which share a chart, in which scale, and their numbers over a range."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dashboard.rollup import DURATION, MetricRollup

PHASES = {"dns": "DNS", "connect": "Connect", "tls": "TLS", "first_byte": "First byte", "transfer": "Transfer"}
RESPONSE_TIME = "response_time"
_LINES_A_PANEL = 6
_TIME_SCALES = (("d", 86400.0, 2 * 86400.0), ("h", 3600.0, 2 * 3600.0), ("s", 1.0, 1.0), ("ms", 0.001, 0.0))
_BYTE_SCALES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Metrics of one unit that share a chart. `is_stack`: they are parts of one whole."""

    key: str
    title: str
    unit: str
    names: tuple[str, ...]
    is_stack: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """One metric over a range: the table that stands beside its chart. Percentiles are within 2 %."""

    label: str
    unit: str
    count: int
    lowest: float
    median: float
    p95: float
    p99: float
    highest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a value in the base unit is divided by, and the unit it then has."""

    divisor: float
    unit: str


def label(name: str) -> str:
    """What people call a metric."""
    return PHASES.get(name, name.replace("_", " "))


def panels(names: Collection[str], units: Mapping[str, str], *, headline: str = RESPONSE_TIME) -> list[Panel]:
    """The charts of these metrics: response time, its phases, then one a unit, that of the headline first.

    How long runs took is shown where no result had any metric.
    """
    rest = sorted(name for name in names if name != DURATION or DURATION in units)
    if not rest:
        return [Panel(key="duration", title="Duration of a run", unit="s", names=(DURATION,))] if names else []
    shown: list[Panel] = []
    if RESPONSE_TIME in rest:
        rest.remove(RESPONSE_TIME)
        shown.append(Panel(key="response", title="Response time", unit="s", names=(RESPONSE_TIME,)))
        phases = tuple(name for name in PHASES if name in rest)
        rest = [name for name in rest if name not in phases]
        if phases:
            shown.append(Panel(key="phases", title="Phases, median", unit="s", names=phases, is_stack=True))
    by_unit: dict[str, list[str]] = {}
    for name in rest:
        by_unit.setdefault(units.get(name, ""), []).append(name)
    first = units.get(headline, "") if headline in rest else None
    for unit in sorted(by_unit, key=lambda unit: (unit != first, unit)):
        shown += _panels_of(unit, by_unit[unit])
    return shown


def _panels_of(unit: str, names: Sequence[str]) -> list[Panel]:
    parts = [tuple(names[index : index + _LINES_A_PANEL]) for index in range(0, len(names), _LINES_A_PANEL)]
    return [
        Panel(key=f"{unit}-{index}", title=_title([label(name) for name in part]), unit=unit, names=part)
        for index, part in enumerate(parts)
    ]


def _title(labels: Sequence[str]) -> str:
    text = ", ".join(labels)
    return text[:1].upper() + text[1:]


def scale(unit: str, largest: float) -> Scale:
    """The unit in which a value of that size reads best."""
    if unit == "s":
        name, divisor, _ = next(step for step in _TIME_SCALES if largest >= step[2])
        return Scale(divisor=divisor, unit=name)
    if unit in ("B", "B/s"):
        for prefix, size in _BYTE_SCALES:
            if largest >= size:
                return Scale(divisor=size, unit=prefix + unit)
    return Scale(divisor=1.0, unit=unit)


def numbers(panel: Panel, metrics: Mapping[str, MetricRollup]) -> list[Numbers]:
    """The numbers of each of the panel's metrics that has any."""
    return [_numbers(label(name), panel.unit, metrics[name]) for name in panel.names if name in metrics]


def _numbers(label: str, unit: str, metric: MetricRollup) -> Numbers:
    median, p95, p99 = metric.quantiles((0.5, 0.95, 0.99))
    return Numbers(
        label=label,
        unit=unit,
        count=metric.count,
        lowest=metric.low,
        median=median,
        p95=p95,
        p99=p99,
        highest=metric.high,
    )
