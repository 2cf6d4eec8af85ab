"""All parts read as one: by id, whatever file a row lies in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from fakes import FakeClock, as_columns
from hypothesis import given
from hypothesis import strategies as st
from storage.samples import START_AT, make_result, make_results

from dashboard.model import Retention
from dashboard.storage.appender import Limits
from dashboard.storage.base import ResultColumns
from dashboard.storage.store import TinyStore
from dashboard.storage.timeline import _in_step

LIMITS = Limits(reserve_bytes=0, journal_rows=1000, group_rows=10)
DAY_S = 86400.0


def piece(ids: Sequence[int]) -> ResultColumns:
    return as_columns([make_result(row_id, check_id="a", id=row_id) for row_id in ids])


@given(st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=4), st.data())
def test_files_that_share_a_range_of_ids_are_read_in_step(sizes: list[list[int]], data: st.DataObject) -> None:
    count = sum(sum(groups) for groups in sizes)
    owners = data.draw(st.permutations([file for file, groups in enumerate(sizes) for _ in range(sum(groups))]))
    files: list[list[list[ResultColumns]]] = []
    for file, groups in enumerate(sizes):
        mine = iter([row_id for row_id, owner in enumerate(owners, 1) if owner == file])
        files.append([[piece([next(mine) for _ in range(size)])] for size in groups])
    found = [sorted(row_id for each in group for row_id in each.ids) for group in _in_step([iter(f) for f in files])]
    assert all(found)
    assert [row_id for group in found for row_id in group] == list(range(1, count + 1))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_AT)


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[TinyStore]:
    opened = TinyStore(tmp_path, clock, limits=LIMITS)
    opened.open()
    yield opened
    opened.close()


def test_nothing_was_given_up_where_everything_is_here(store: TinyStore) -> None:
    timeline = store._timeline
    assert timeline.complete_from_s("check-1") == float("-inf")
    store.append(make_results(30))
    store.keep(Retention(), {"check-1": Retention(raw_s=9 * DAY_S)})
    store.compact()
    assert len(timeline.segments) == 2
    assert timeline.complete_from_s("check-1") == timeline.complete_from_s("nobody") == float("-inf")


def test_what_was_given_up_is_told_check_by_check(store: TinyStore, clock: FakeClock) -> None:
    store.keep(Retention(raw_s=DAY_S), {"check-1": Retention(raw_s=90 * DAY_S)})
    store.append(make_results(30))
    for _ in range(3):
        clock.advance(DAY_S)
        store.maintain(clock.now())
        store.append(make_results(3, first=int((clock.now() - START_AT).total_seconds() // 10)))
    timeline = store._timeline
    assert timeline.complete_from_s("check-1") == make_result(1).at.timestamp()
    assert timeline.complete_from_s("check-0") > make_result(30).at.timestamp()
    assert timeline.complete_from_s("nobody") == float("inf")
