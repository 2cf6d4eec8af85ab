"""What lies in the journal that is written, in closed ones, in segments: answers are the same from everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fakes import FakeClock
from storage.samples import START_AT, make_result, make_results

from checks.base import Status
from dashboard.model import Retention
from dashboard.storage import ordering
from dashboard.storage.appender import Limits
from dashboard.storage.base import History
from dashboard.storage.journal import generations
from dashboard.storage.store import TinyStore

LIMITS = Limits(reserve_bytes=0, journal_rows=100, group_rows=90, merged_parts=2)
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
        {"check_ids": ["check-1", "check-2"]},
        {"statuses": [Status.CRITICAL]},
        {"start_at": start_at, "end_at": end_at},
    ]
    for filters in exports:
        found.append([result for chunk in history.export(**filters) for result in chunk])  # type: ignore[arg-type]
    return found


def test_answers_are_the_same_from_everywhere_and_after_a_restart(
    tmp_path: Path, store: TinyStore, clock: FakeClock
) -> None:
    plain = TinyStore(tmp_path / "other", clock, limits=Limits(reserve_bytes=0))
    plain.open()
    for first in range(0, 500, 20):
        for each in (store, plain):
            each.append([make_result(first, summary="long " * 900), *make_results(19, first=first + 1)])
    expected = answers(plain)
    plain.close()
    assert answers(store) == expected
    for days in (0, 0, 1):
        clock.advance(days * DAY_S)
        store.maintain(clock.now())
        assert answers(store) == expected
        store = reopened(store, tmp_path, clock)
        assert answers(store) == expected
    store.compact()
    assert answers(store) == expected
    store.close()


def test_rows_of_closed_files_take_no_memory_once_they_are_sealed(store: TinyStore, clock: FakeClock) -> None:
    for first in range(0, 500, 50):
        store.append(make_results(50, first=first))
        store.maintain(clock.now())
        answers(store)
        health = store.health()
        assert health.rows_in_memory <= health.unsealed_rows <= LIMITS.journal_rows


def test_a_journal_ends_after_its_rows_and_after_its_time(tmp_path: Path, store: TinyStore, clock: FakeClock) -> None:
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


def test_a_journal_ends_with_the_day(tmp_path: Path, clock: FakeClock) -> None:
    clock.now_at = START_AT.replace(hour=23, minute=59)
    store = TinyStore(tmp_path, clock, limits=LIMITS)
    store.open()
    store.append(make_results(1))
    clock.advance(59)
    store.append(make_results(1))
    assert len(generations(tmp_path / "results")) == 1
    clock.advance(1)
    store.append(make_results(1))
    assert len(generations(tmp_path / "results")) == 2
    store.close()


def test_a_journal_ends_in_time_though_nothing_more_comes(tmp_path: Path, store: TinyStore, clock: FakeClock) -> None:
    store.append(make_results(5))
    store.maintain(clock.now())
    assert store.health().unsealed_rows == 5
    clock.advance(LIMITS.journal_s)
    store.maintain(clock.now())
    assert store.health().unsealed_rows == 0
    assert [path.suffix for path in (tmp_path / "results").iterdir()] == [".seg"]


def test_a_restart_goes_on_in_the_newest_journal_and_keeps_its_time(
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


def test_opening_reads_nothing_of_sealed_files_but_their_ends(
    tmp_path: Path, store: TinyStore, clock: FakeClock
) -> None:
    for first in range(0, 200, 50):
        store.append(make_results(50, first=first))
    store.compact()
    [sealed] = (tmp_path / "results").glob("*.seg")
    whole = bytearray(sealed.read_bytes())
    whole[8:-400] = bytes(len(whole) - 408)
    sealed.write_bytes(whole)
    store = reopened(store, tmp_path, clock)
    assert (store.health().rows, store.health().damaged_blocks) == (200, 0)
    assert [row_id for columns in store.export_columns() for row_id in columns.ids] == []
    assert store.health().damaged_blocks > 0
    store.close()


def test_a_journal_whose_rows_are_sealed_already_is_ignored(tmp_path: Path, store: TinyStore, clock: FakeClock) -> None:
    store.append(make_results(30))
    [(_, journal)] = generations(tmp_path / "results")
    lines = journal.read_bytes()
    store.compact()
    before = answers(store)
    store.close()
    journal.write_bytes(lines)  # the crash came before it was unlinked
    store = TinyStore(tmp_path, clock, limits=LIMITS)
    store.open()
    assert answers(store) == before
    assert store.append(make_results(1, first=30)) == [31]
    store.compact()
    assert sorted(row.id for chunk in store.export() for row in chunk) == list(range(1, 32))
    store.close()


def test_an_export_that_runs_while_files_are_sealed_and_given_up_ends_well(
    store: TinyStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "_LOOK_AHEAD_ROWS", 10)
    for first in range(0, 500, 50):
        store.append(make_results(50, first=first))
    chunks = store.export()
    seen = [result.id for result in next(chunks)]
    store.keep(Retention(raw_s=DAY_S), {})
    for day in (1, 2, 3):
        clock.advance(DAY_S)
        store.append([make_result(500, at=START_AT + timedelta(days=day))])
        store.maintain(clock.now())
    assert store.health().rows < 10
    seen += [result.id for chunk in chunks for result in chunk]
    assert seen == list(range(1, 501)), "what was there when it was asked for is still read"


def test_a_reader_beside_the_writer_sees_each_row_once_while_files_are_sealed(
    tmp_path: Path, store: TinyStore, clock: FakeClock
) -> None:
    for first in range(0, 300, 30):
        store.append(make_results(30, first=first))
        reading = TinyStore.reading(tmp_path, clock)
        store.maintain(clock.now())
        for history in (reading, TinyStore.reading(tmp_path, clock)):
            assert [row.id for chunk in history.export() for row in chunk] == list(range(1, first + 31))


def test_results_of_a_far_future_do_not_keep_the_night_from_coming(
    tmp_path: Path, store: TinyStore, clock: FakeClock
) -> None:
    store.append(make_results(20))
    clock.advance(LIMITS.journal_s)
    store.append([make_result(20, at=START_AT + timedelta(days=9000))])
    clock.advance(LIMITS.journal_s)
    store.append(make_results(20, first=21))
    clock.advance(2 * DAY_S)
    store.maintain(clock.now())
    assert list((tmp_path / "rollups").glob("5m-*.rol"))
    assert [row.id for chunk in store.export() for row in chunk if row.id != 21] == [*range(1, 21), *range(22, 42)]
