"""A day folded as results arrive equals the day counted at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.engine.day import SLOT_S, SLOTS, Day, uptime_of_bar
from dashboard.uptime import slots, spans

START_S = 1_800_000_000.0
rows = st.lists(st.tuples(st.integers(-4000, 90000), st.integers(1, 4000), st.integers(0, 3)), min_size=0, max_size=25)


@given(rows, st.integers(0, 25))
def test_folding_in_order_equals_counting_at_once(history, loaded):
    now_s = START_S + 86400
    history = [(START_S + at, covers, status) for at, covers, status in history if START_S + at <= now_s]
    columns = [list(column) for column in zip(*history, strict=True)] or [[], [], []]
    day = Day()
    day.load(*[column[:loaded] for column in columns])
    for at_s, covers_s, status in history[loaded:]:
        day.add(at_s, covers_s, status)
    first_s = (now_s // SLOT_S - SLOTS + 1) * SLOT_S
    expected = slots(spans(*columns, until_s=now_s), first_s, SLOT_S, SLOTS, until_s=now_s)
    found = day.bar(now_s)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.start_at, mine.length_s) == (theirs.start_at, theirs.length_s)
        assert mine.ok_s == pytest.approx(theirs.ok_s)
        assert mine.critical_s == pytest.approx(theirs.critical_s)
        assert mine.unknown_s == pytest.approx(theirs.unknown_s)


def test_uptime_of_a_bar_counts_its_own_range():
    day = Day()
    day.add(START_S, 7200.0, 0)
    day.add(START_S + 3600, 7200.0, 2)
    result = uptime_of_bar(day.bar(START_S + 5400), START_S + 5400)
    assert (result.ok_s, result.critical_s) == (3600, 1800)
    assert result.ratio == pytest.approx(2 / 3)
    assert result.coverage_ratio == pytest.approx(5400 / (47 * 1800 + 1800), abs=0.02)


def test_what_is_older_than_the_bar_is_forgotten():
    day = Day()
    day.add(START_S, 60.0, 2)
    day.add(START_S + 200_000, 60.0, 0)
    assert sum(cell.critical_s for cell in day.bar(START_S + 200_060)) == 0
