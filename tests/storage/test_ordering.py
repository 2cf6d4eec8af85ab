"""Rows come oldest first, though a slow run is recorded after quick ones that began later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes import as_columns
from hypothesis import given
from hypothesis import strategies as st
from storage.samples import START_AT, make_result

from checks.base import Detail, Status
from dashboard.model import Result
from dashboard.storage import ordering
from dashboard.storage.base import ResultColumns
from dashboard.storage.ordering import oldest_first

START_S = START_AT.timestamp()


def group(*rows: Result) -> list[ResultColumns]:
    """What was recorded in a run of ids, a piece a check."""
    checks = dict.fromkeys(row.check_id for row in rows)
    return [as_columns([row for row in rows if row.check_id == check_id]) for check_id in checks]


def at(*seconds: float) -> list[ResultColumns]:
    return group(*(make_result(0, at=START_AT + timedelta(seconds=each)) for each in seconds))


def read(groups: Iterable[Sequence[ResultColumns]]) -> list[float]:
    return [round(instant - START_S, 3) for columns in oldest_first(groups) for instant in columns.at_s]


def test_a_slow_run_stands_where_it_began() -> None:
    assert read([at(1, 2, 3), at(4, 5), at(2.5, 6)]) == [1, 2, 2.5, 3, 4, 5, 6]


@pytest.mark.parametrize("groups", [[], [[]], [[], []]])
def test_no_rows_are_no_rows(groups: list[list[ResultColumns]]) -> None:
    assert list(oldest_first(groups)) == []


rows = st.builds(
    make_result,
    st.integers(0, 50),
    check_id=st.sampled_from(["a", "b", "c"]),
    metrics=st.dictionaries(st.sampled_from("xyz"), st.floats(0, 9), max_size=3),
    detail=st.sampled_from([Detail(), Detail(got="that")]),
    status=st.sampled_from(list(Status)),
)


@given(st.lists(st.lists(rows, max_size=8), max_size=6))
def test_every_row_comes_once_and_as_it_was(groups: list[list[Result]]) -> None:
    numbered = iter(range(1, 1000))
    groups = [[replace(row, id=next(numbered)) for row in each] for each in groups]
    found = [row for columns in oldest_first(group(*each) for each in groups) for row in columns.results()]
    expected = {row.id: row for each in groups for row in each}
    assert [row.at for row in found] == sorted(row.at for row in found)
    assert len(found) == len(expected)
    for row in found:
        same = expected[row.id]
        detail = same.detail if same.status.is_bad else Detail()
        assert replace(row, metrics=dict(row.metrics)) == replace(same, detail=detail)


def test_it_looks_ahead_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "_LOOK_AHEAD_ROWS", 3)
    given_out = oldest_first(iter([at(*range(10)), at(0.5)]))
    assert [instant - START_S for instant in next(given_out).at_s] == list(range(7))


def test_it_looks_back_no_further_than_a_run_lasts() -> None:
    given_out = oldest_first(iter([at(0, 10, 3700), at(5)]))
    assert [instant - START_S for instant in next(given_out).at_s] == [0, 10]
    assert read([at(0, 10, 3700), at(5), at(9000)]) == [0, 10, 5, 3700, 9000], "the order of recording stays"


def test_chunks_are_bounded_and_none_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "_LOOK_AHEAD_ROWS", 3)
    monkeypatch.setattr(ordering, "_CHUNK_ROWS", 4)
    sizes = [len(columns) for columns in oldest_first([at(*range(10)), at(*range(10, 20))])]
    assert sum(sizes) == 20
    assert set(sizes) <= {1, 2, 3, 4}
