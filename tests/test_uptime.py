"""Uptime is time, not counts."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
import recount
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.uptime import MAINTENANCE, Cursor, apart, slots, spans, uptime, uptime_of, windows_of

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
        ([(0, 15, OK), (100, 15, OK), (40, 15, CRITICAL), (50, 70, CRITICAL)], [(0, 15, OK), (100, 120, CRITICAL)]),
        ([(100, 15, OK), (40, 15, CRITICAL), (50, 70, CRITICAL)], [(40, 100, CRITICAL), (100, 115, OK)]),
        ([(10, 15, OK), (10, 15, CRITICAL)], [(10, 25, CRITICAL)]),
    ],
    ids=["nothing", "joined", "changed", "gap", "clock set back", "the past", "same instant"],
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


rows = st.tuples(st.integers(-50, 400), st.integers(0, 60), st.sampled_from([OK, WARNING, CRITICAL, UNKNOWN]))
ascending = st.tuples(st.integers(0, 20), st.integers(0, 60), st.sampled_from([OK, WARNING, CRITICAL, UNKNOWN]))
windows = st.lists(st.tuples(st.integers(-60, 420), st.integers(1, 80)), max_size=3).map(
    lambda pairs: windows_of([(float(start), float(start + length)) for start, length in pairs])
)


def paced(gaps: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Rows of a clock that goes on."""
    found, now = [], -40
    for gap, covers, status in gaps:
        now += gap
        found.append((now, covers, status))
    return found


history = st.lists(rows, max_size=30) | st.lists(ascending, max_size=40).map(paced)


def recounted(found, now=None, windows=()):
    """The kind of each second."""
    return recount.kinds_by_second(
        [(*row, {}) for row in found], now, [(int(start), int(end)) for start, end in windows]
    )


def columns_of(found):
    return [list(column) for column in zip(*found, strict=True)] or [[], [], []]


@settings(max_examples=300)
@given(history, windows, st.integers(400, 500))
def test_sums_equal_a_recount_second_by_second(found, windows, now):
    spans_found = list(spans(*columns_of(found), until_s=float(now), windows=windows))
    kinds = [kind for second, kind in recounted(found, now, windows).items() if 0 <= second < 300]
    seconds = [kinds.count(kind) for kind in range(5)]
    result = uptime(spans_found, at(0), at(300))
    assert (result.ok_s, result.warning_s, result.critical_s, result.maintenance_s) == (
        *seconds[:3],
        seconds[MAINTENANCE],
    )
    assert result.unmeasured_s == 300 - sum(seconds[:3]) - seconds[MAINTENANCE]
    cells = slots(spans_found, 0.0, 30.0, 10)
    assert [sum(getattr(cell, name) for cell in cells) for name in KIND_NAMES] == seconds
    assert all(sum(getattr(cell, name) for name in KIND_NAMES) <= cell.length_s for cell in cells)


KIND_NAMES = ("ok_s", "warning_s", "critical_s", "unknown_s", "maintenance_s")


@settings(max_examples=300)
@given(history, st.lists(st.integers(0, 40), max_size=4))
def test_a_cursor_goes_on_from_its_marks_as_if_nothing_had_been_between(found, cuts):
    whole, split = Cursor(), Cursor()
    for place, row in enumerate(found):
        if place in cuts:
            marks = json.loads(json.dumps(split.marks()))
            split = Cursor.of_marks(marks)
            assert split.marks() == [tuple(mark) for mark in marks]
        assert whole.add(*map(float, row[:2]), row[2]) == split.add(*map(float, row[:2]), row[2])
        assert whole.open() == split.open()
        assert whole.open(100.0) == split.open(100.0)


def test_an_import_of_the_past_counts_up_to_where_history_began():
    found = [(100, 15, OK), (110, 15, OK), (40, 30, CRITICAL), (60, 100, WARNING), (120, 15, OK)]
    kinds = recounted(found, 1000)
    assert [kinds.get(second) for second in (39, 40, 59, 60, 99, 100, 134, 135)] == [
        None,
        CRITICAL,
        CRITICAL,
        WARNING,
        WARNING,
        OK,
        OK,
        None,
    ]
    result = uptime(spans(*columns_of(found), until_s=1000.0), at(0), at(200))
    assert (result.critical_s, result.warning_s, result.ok_s) == (20, 40, 35)


def test_what_comes_late_takes_nothing_from_what_was_counted():
    assert recounted([(100, 15, OK), (110, 15, OK), (102, 15, CRITICAL), (120, 15, OK)], 1000) == dict.fromkeys(
        (*range(100, 110), *range(120, 135)), OK
    ) | dict.fromkeys(range(110, 117), CRITICAL)


def test_runs_into_the_past_are_bounded():
    falling = [(-second, 1, OK) for second in range(30)]
    cursor = Cursor()
    for row in falling:
        cursor.add(*row)
    assert len(cursor.marks()) == recount.RUNS_INTO_THE_PAST


@pytest.mark.parametrize(
    ("given_windows", "joined"),
    [
        ([], []),
        ([(5.0, 9.0), (1.0, 3.0)], [(1.0, 3.0), (5.0, 9.0)]),
        ([(1.0, 5.0), (5.0, 9.0)], [(1.0, 9.0)]),
        ([(1.0, 9.0), (2.0, 3.0)], [(1.0, 9.0)]),
        ([(3.0, 3.0), (5.0, 4.0)], []),
    ],
)
def test_windows_that_touch_are_joined(given_windows, joined):
    assert windows_of(given_windows) == joined


@given(windows, st.integers(-60, 420), st.integers(1, 200), st.integers(0, 3))
def test_maintenance_is_told_apart_and_no_second_is_lost(windows, start, length, status):
    pieces = list(apart((float(start), float(start + length), status), windows))
    assert [piece[1] for piece in pieces[:-1]] == [piece[0] for piece in pieces[1:]]
    assert (pieces[0][0], pieces[-1][1]) == (start, start + length)
    for low, high, kind in pieces:
        is_inside = any(window[0] <= low and high <= window[1] for window in windows)
        assert kind == (MAINTENANCE if is_inside else status)


def test_maintenance_is_in_neither_percent_nor_coverage():
    result = uptime_of([30.0, 0.0, 10.0, 5.0, 40.0], at(0), at(100))
    assert (result.ratio, result.maintenance_s, result.unmeasured_s) == (0.75, 40, 20)
    assert result.coverage_ratio == pytest.approx(40 / 60)
