"""Rows come oldest first, though a slow run is recorded after quick ones that began later."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.storage import timeline
from dashboard.storage.timeline import oldest_first


def at(*instants: float) -> list[dict[str, float]]:
    return [{"at": instant} for instant in instants]


def read(chunks):
    return [row["at"] for rows in oldest_first(chunks) for row in rows]


def test_a_slow_run_stands_where_it_began():
    assert read([at(1, 2, 3), at(4, 5), at(2.5, 6)]) == [1, 2, 2.5, 3, 4, 5, 6]


def test_no_rows_are_no_rows():
    assert read([]) == []


@given(st.lists(st.lists(st.floats(0, 1e6), max_size=5), max_size=6))
def test_no_row_is_lost_or_doubled(chunks):
    assert sorted(read([at(*chunk) for chunk in chunks])) == sorted(instant for chunk in chunks for instant in chunk)


def test_it_looks_ahead_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timeline, "_LOOK_AHEAD_ROWS", 3)
    given_out = oldest_first(iter([at(*range(10)), at(0.5)]))
    assert [row["at"] for row in next(given_out)] == list(range(7))
