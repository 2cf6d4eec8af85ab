"""What is held in memory, what lies in closed journals, and what retention gives up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fakes import FakeClock
from storage.samples import START_AT, make_result, make_results

from checks.base import Status
from dashboard.storage import timeline
from dashboard.storage.appender import Limits
from dashboard.storage.base import History
from dashboard.storage.journal import generations
from dashboard.storage.store import TinyStore

LIMITS = Limits(reserve_bytes=0, journal_rows=100, memory_rows=250, memory_s=2000.0)
DAY_S = 86400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_AT)


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[TinyStore]:
    opened = TinyStore(tmp_path, clock, limits=LIMITS)
    opened.open()
    yield opened
    opened.close()


def reopened(store: TinyStore, directory: Path, clock: FakeClock) -> TinyStore:
    store.close()
    again = TinyStore(directory, clock, limits=LIMITS)
    again.open()
    return again


def answers(history: History) -> list[object]:
    """What it says to a variety of questions."""
    start_at, end_at = make_result(37).at, make_result(201).at
    found: list[object] = [sorted(history.check_ids())]
    for check_id in sorted(history.check_ids()):
        everything = history.last(check_id, 9999)
        found += [everything, history.between(check_id, start_at, end_at)]
        found += [history.last(check_id, 7, before_id=everything[len(everything) // 2].id)]
        found += [history.last(check_id, 7, bad_only=True, before_id=everything[len(everything) // 3].id)]
    exports: list[dict[str, object]] = [
        {},
        {"check_ids": ["check-1"]},
        {"statuses": [Status.CRITICAL]},
        {"start_at": start_at, "end_at": end_at},
    ]
    for filters in exports:
        found.append([result for chunk in history.export(**filters) for result in chunk])  # type: ignore[arg-type]
    return found


def test_answers_are_the_same_from_memory_from_files_and_after_a_restart(
    tmp_path: Path, store: TinyStore, clock: FakeClock
) -> None:
    in_memory = TinyStore(tmp_path / "other", clock, limits=Limits(reserve_bytes=0))
    in_memory.open()
    for first in range(0, 500, 20):
        for each in (store, in_memory):
            each.append([make_result(first, summary="long " * 900), *make_results(19, first=first + 1)])
    expected = answers(in_memory)
    assert in_memory.health().rows_in_memory == 500
    assert store.health().rows_in_memory < 260
    assert answers(store) == expected
    store = reopened(store, tmp_path, clock)
    assert store.health().rows_in_memory < 260
    assert answers(store) == expected
    store.close()
    in_memory.close()


def test_memory_holds_no_more_rows_than_its_limit(store: TinyStore) -> None:
    held = []
    for first in range(0, 1000, 10):
        store.append(make_results(10, first=first))
        held.append(store.health().rows_in_memory)
    assert max(held) <= LIMITS.memory_rows
    assert min(held[30:]) >= LIMITS.memory_rows - LIMITS.journal_rows


def test_memory_lets_go_of_what_is_too_old(store: TinyStore) -> None:
    store.append(make_results(90))
    store.append(make_results(90, first=1000))
    assert store.health().rows_in_memory == 180
    store.append(make_results(90, first=1100))
    assert store.health().rows_in_memory == 180, "the rows of long ago went when the second file ended"


def test_a_journal_ends_after_its_rows_and_after_its_hour(tmp_path: Path, store: TinyStore, clock: FakeClock) -> None:
    store.append(make_results(60))
    store.append(make_results(40))
    assert len(generations(tmp_path / "results")) == 1
    store.append(make_results(1))
    assert len(generations(tmp_path / "results")) == 2
    clock.advance(LIMITS.journal_s - 1)
    store.append(make_results(1))
    assert len(generations(tmp_path / "results")) == 2
    clock.advance(1)
    store.append(make_results(1))
    assert len(generations(tmp_path / "results")) == 3


def test_a_restart_goes_on_in_the_newest_journal_and_keeps_its_hour(
    tmp_path: Path, store: TinyStore, clock: FakeClock
) -> None:
    store.append(make_results(10))
    clock.advance(LIMITS.journal_s - 10)
    store = reopened(store, tmp_path, clock)
    store.append(make_results(10))
    assert len(generations(tmp_path / "results")) == 1
    clock.advance(10)
    store.append(make_results(10))
    assert len(generations(tmp_path / "results")) == 2
    store.close()


def test_opening_reads_no_more_of_old_journals_than_their_last_line(
    tmp_path: Path, store: TinyStore, clock: FakeClock
) -> None:
    for first in range(0, 500, 50):
        store.append(make_results(50, first=first))
    oldest = generations(tmp_path / "results")[0][1]
    lines = oldest.read_bytes().splitlines(keepends=True)
    oldest.write_bytes(b"#" * len(b"".join(lines[:-1])) + b"\n" + lines[-1])
    store = reopened(store, tmp_path, clock)
    assert (store.health().rows, store.health().quarantined_lines) == (500, 0)
    assert [row_id for columns in store.export_columns() for row_id in columns.ids] == list(range(101, 501))
    assert store.health().quarantined_lines == 1
    store.close()


def test_retention_gives_up_closed_files_whose_newest_row_is_old(
    tmp_path: Path, store: TinyStore, clock: FakeClock
) -> None:
    for first in range(0, 500, 50):
        store.append(make_results(50, first=first))
    clock.advance(DAY_S)
    before = store.revision
    cut_s = (clock.now() - make_result(250).at).total_seconds()
    assert store.retain(raw_s=cut_s, now_at=clock.now()) == 200
    assert [row_id for columns in store.export_columns() for row_id in columns.ids] == list(range(201, 501))
    assert store.last("check-0", 9999)[-1].id > 200
    assert store.revision > before
    assert len(generations(tmp_path / "results")) == 3
    assert store.retain(raw_s=cut_s, now_at=clock.now()) == 0


def test_retention_keeps_the_file_that_is_written(store: TinyStore, clock: FakeClock) -> None:
    store.append(make_results(150))
    clock.advance(400 * DAY_S)
    store.retain(raw_s=DAY_S, now_at=clock.now())
    assert store.append(make_results(1)) == [151]


def test_an_export_that_runs_while_retention_works_ends_well(
    store: TinyStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "_LOOK_AHEAD_ROWS", 10)
    for first in range(0, 500, 50):
        store.append(make_results(50, first=first))
    chunks = store.export()
    seen = [result.id for result in next(chunks)]
    clock.advance(30 * DAY_S)
    assert store.retain(raw_s=DAY_S, now_at=clock.now()) == 400
    seen += [result.id for chunk in chunks for result in chunk]
    assert seen == [*range(1, 101), *range(401, 501)]


@pytest.fixture
def full(store: TinyStore) -> TinyStore:
    for first in range(0, 300, 50):
        store.append(make_results(50, first=first))
    return store


def test_a_clock_that_jumps_ahead_purges_nothing_for_a_day(full: TinyStore, clock: FakeClock) -> None:
    clock.now_at += timedelta(days=4000)
    assert full.retain(raw_s=30 * DAY_S, now_at=clock.now()) == 0
    clock.advance(DAY_S - 60)
    assert full.retain(raw_s=30 * DAY_S, now_at=clock.now()) == 0
    assert full.health().rows == 300


def test_a_clock_that_is_set_right_within_the_day_costs_nothing(full: TinyStore, clock: FakeClock) -> None:
    clock.now_at += timedelta(days=4000)
    full.retain(raw_s=30 * DAY_S, now_at=clock.now())
    clock.now_at -= timedelta(days=4000)
    for _ in range(5):
        clock.advance(DAY_S)
        assert full.retain(raw_s=30 * DAY_S, now_at=clock.now()) == 0
    assert full.health().rows == 300


def test_a_clock_that_stays_is_believed_after_a_day(full: TinyStore, clock: FakeClock) -> None:
    clock.now_at += timedelta(days=4000)
    full.retain(raw_s=30 * DAY_S, now_at=clock.now())
    clock.advance(DAY_S)
    assert full.retain(raw_s=30 * DAY_S, now_at=clock.now()) == 200


@pytest.mark.parametrize("days", [4000, -4000])
def test_a_start_with_a_clock_far_from_the_newest_row_purges_nothing_for_a_day(
    tmp_path: Path, full: TinyStore, clock: FakeClock, days: int
) -> None:
    clock.now_at += timedelta(days=days)
    store = reopened(full, tmp_path, clock)
    assert store.retain(raw_s=30 * DAY_S, now_at=clock.now()) == 0
    assert store.health().rows == 300
    clock.advance(DAY_S)
    assert store.retain(raw_s=30 * DAY_S, now_at=clock.now()) == (200 if days > 0 else 0)
    store.close()
