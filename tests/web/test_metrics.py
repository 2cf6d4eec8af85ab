"""Numbers of a range: they are those of the values, and of no others."""

from __future__ import annotations

import pytest

from dashboard.rollup import DURATION, MetricRollup
from dashboard.web.metrics import Panel, numbers, panels, scale

PANEL = Panel(key="x", title="X", unit="%", names=("used_percent", "free_percent"))


def test_the_numbers_are_those_of_the_range_with_percentiles_within_2_percent():
    values = [float(value) for value in range(1, 1001)]
    [found] = numbers(PANEL, {"used_percent": MetricRollup.of(values), "other": MetricRollup.of([1.0])})
    assert (found.label, found.unit, found.count) == ("used percent", "%", 1000)
    assert (found.lowest, found.highest) == (1.0, 1000.0)
    assert (found.median, found.p95, found.p99) == pytest.approx((500, 950, 990), rel=0.02)


def test_a_metric_without_a_value_in_the_range_has_no_numbers():
    assert numbers(PANEL, {}) == []


def titles(names, units=None, **more):
    return [panel.title for panel in panels(names, units or {}, **more)]


def test_how_long_runs_took_is_shown_only_where_no_result_had_a_metric():
    assert titles([DURATION]) == ["Duration of a run"]
    assert titles([DURATION, "response_time"]) == ["Response time"]
    assert titles([]) == []


def test_a_metric_that_a_plugin_calls_duration_is_one_like_any_other():
    assert titles([DURATION, "load1"], {DURATION: "s", "load1": ""}) == ["Load1", "Duration"]


@pytest.mark.parametrize(
    ("unit", "largest", "shown"),
    [
        ("s", 0.3, (0.001, "ms")),
        ("s", 1.0, (1.0, "s")),
        ("s", 7199.0, (1.0, "s")),
        ("s", 7200.0, (3600.0, "h")),
        ("s", 400_000.0, (86400.0, "d")),
        ("B", 999.0, (1.0, "B")),
        ("B", 2e3, (1e3, "kB")),
        ("B/s", 3e6, (1e6, "MB/s")),
        ("B", 5e13, (1e12, "TB")),
        ("%", 1e9, (1.0, "%")),
        ("", 1e9, (1.0, "")),
    ],
)
def test_a_chart_has_the_unit_in_which_its_largest_value_reads_best(unit, largest, shown):
    found = scale(unit, largest)
    assert (found.divisor, found.unit) == shown
