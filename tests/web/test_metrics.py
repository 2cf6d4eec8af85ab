"""Numbers of a range: they are those of the values, and of no others."""

from __future__ import annotations

from math import nan

import pytest

from dashboard.web.metrics import Line, Panel, numbers, scale


def panel(unit: str, *values: float) -> Panel:
    return Panel(key="x", title="X", unit=unit, lines=(Line(name="used_percent", values=values),))


def test_the_numbers_are_those_of_measured_values():
    [found] = numbers(panel("%", 9.0, nan, 1.0, *[3.0] * 17, 5.0))
    assert (found.label, found.unit, found.count) == ("used percent", "%", 20)
    assert (found.newest, found.lowest, found.median, found.p95, found.highest) == (5.0, 1.0, 3.0, 5.0, 9.0)


def test_rows_before_the_range_do_not_count():
    [found] = numbers(panel("%", 99.0, 1.0, 2.0), first=1)
    assert (found.count, found.highest) == (2, 2.0)


def test_a_metric_without_a_value_in_the_range_has_no_numbers():
    assert numbers(panel("%", 1.0, nan), first=1) == []


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
    found = scale(panel(unit, 0.0, -largest, nan))
    assert (found.divisor, found.unit) == shown
