"""Uptime is time, not counts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.uptime import slots, spans, uptime

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([(0, 15, OK), (10, 15, OK)], [(0, 25, OK)]),
        ([(0, 15, OK), (10, 15, CRITICAL)], [(0, 10, OK), (10, 25, CRITICAL)]),
        ([(0, 15, OK), (100, 15, OK)], [(0, 15, OK), (100, 115, OK)]),
        ([(100, 15, OK), (40, 15, CRITICAL), (50, 70, CRITICAL)], [(100, 120, CRITICAL)]),
        ([(10, 15, OK), (10, 15, CRITICAL)], [(10, 25, CRITICAL)]),
    ],
    ids=["nothing", "joined", "changed", "gap", "clock set back", "same instant"],
)
def test_results_become_spans(rows, expected):
    found = spans([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    assert [(s.start_s, s.end_s, s.status) for s in found] == expected


def test_no_span_reaches_into_the_future():
    assert [s.end_s for s in spans([0.0], [60.0], [OK], until_s=20.0)] == [20.0]


def test_percent_leaves_out_what_was_not_measured():
    found = spans([0.0, 10.0, 20.0, 60.0], [10.0] * 4, [OK, CRITICAL, UNKNOWN, WARNING])
    result = uptime(found, at(0), at(100))
    assert (result.ok_s, result.critical_s, result.warning_s, result.unmeasured_s) == (10, 10, 10, 70)
    assert result.ratio == pytest.approx(2 / 3)
    assert result.coverage_ratio == pytest.approx(0.3)


def test_nothing_measured_has_no_percent():
    result = uptime([], at(0), at(100))
    assert result.ratio is None
    assert result.coverage_ratio == 0


history = st.lists(
    st.tuples(st.integers(-50, 400), st.integers(1, 60), st.sampled_from([OK, WARNING, CRITICAL, UNKNOWN])), max_size=30
)


@settings(max_examples=300)
@given(history)
def test_sums_equal_a_recount_second_by_second(rows):
    """A recount that asks, for each second, which recorded span claimed it first."""
    claimed: dict[int, int] = {}
    counted_to = -1000
    for index, (start, covers, status) in enumerate(rows):
        end = start + covers
        if index + 1 < len(rows):
            end = min(end, max(start, rows[index + 1][0]))
        for second in range(max(start, counted_to), end):
            claimed[second] = status
        counted_to = max(counted_to, end)
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    found = list(spans(*columns))
    result = uptime(found, at(0), at(300))
    seconds = [sum(1 for second in range(300) if claimed.get(second) == status) for status in range(4)]
    assert (result.ok_s, result.warning_s, result.critical_s) == tuple(seconds[:3])
    assert result.unmeasured_s == 300 - sum(seconds[:3])
    cells = slots(found, 0.0, 30.0, 10)
    assert sum(cell.ok_s for cell in cells) == seconds[OK]
    assert sum(cell.unknown_s for cell in cells) == seconds[UNKNOWN]
    assert all(cell.ok_s + cell.warning_s + cell.critical_s + cell.unknown_s <= cell.length_s for cell in cells)
