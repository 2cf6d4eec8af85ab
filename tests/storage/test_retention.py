"""Whole files go when all in them is too old, class by class; never because a clock jumped."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path

import pytest
from fakes import FakeClock
from storage.samples import UnsyncedFiles, make_result

from dashboard.model import Retention
from dashboard.storage.appender import Limits
from dashboard.storage.retention import FOREVER, HOLD_S, JUMP_S, ClockWatch, Keeping
from dashboard.storage.store import TinyStore

LIMITS = Limits(reserve_bytes=0, group_rows=50, merged_parts=3)
DAY_S = 86400.0
START_AT = datetime(2026, 1, 25, tzinfo=UTC)  # the days go over the end of a month
SHORT = Retention(raw_s=3 * DAY_S, five_minutes_s=10 * DAY_S, hours_s=70 * DAY_S, days_s=inf)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_AT)


def opened(directory: Path, clock: FakeClock) -> TinyStore:
    store = TinyStore(directory, clock, limits=LIMITS, files=UnsyncedFiles())
    store.open()
    return store


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[TinyStore]:
    store = opened(tmp_path, clock)
    yield store
    store.close()


RUNS_A_DAY = 6


def live(store: TinyStore, clock: FakeClock, days: int, checks: tuple[str, ...] = ("api", "db")) -> None:
    """Days of life: every four hours (at 2:00, 6:00 ...) a result of each check, ok for 20 s, and maintenance."""
    for number in range(days * RUNS_A_DAY):
        clock.advance(4 * 3600.0)
        at = clock.now() - timedelta(seconds=7200)
        store.append([make_result(0, check_id=name, at=at, covers_s=20.0) for name in checks])
        if number % 2:
            store.maintain(clock.now())


def files_of(directory: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in directory.rglob(pattern))


def runs(store: TinyStore, check_id: str, start_at: datetime, end_at: datetime) -> int:
    [bucket] = store.rollups(check_id, [start_at.timestamp(), end_at.timestamp()])
    assert bucket.seconds[0] == pytest.approx(20.0 * sum(bucket.runs), abs=21), "time and runs go together"
    return sum(bucket.runs)


def test_each_class_goes_in_its_own_time(store: TinyStore, clock: FakeClock, tmp_path: Path) -> None:
    store.keep(SHORT, {})
    live(store, clock, 20)
    assert len(files_of(tmp_path, "*.seg")) <= 6
    assert min(row.at for chunk in store.export() for row in chunk) > clock.now() - timedelta(days=5)
    days = files_of(tmp_path, "5m-*.rol")
    assert 10 <= len(days) <= 12
    assert days[0] == f"5m-{clock.now() - timedelta(days=11):%Y%m%d}.rol"
    assert files_of(tmp_path, "1h-*.rol") == ["1h-202601.rol", "1h-202602.rol"]
    live(store, clock, 90, ("api",))
    assert files_of(tmp_path, "1h-*.rol")[0] == "1h-202603.rol"
    assert files_of(tmp_path, "1d-*.rol") == ["1d-2026.rol"]
    assert runs(store, "db", START_AT, clock.now()) == 20 * RUNS_A_DAY, "days are for ever"
    assert store.check_ids() == {"api", "db"}
    assert store.last("db", 9) == []


def test_ranges_answer_from_the_next_coarser_class(store: TinyStore, clock: FakeClock) -> None:
    store.keep(SHORT, {})
    live(store, clock, 20)
    midnight = START_AT
    for first in range(20):
        for length in (1, 3, 20 - first):
            end_at = midnight + timedelta(days=first + min(length, 20 - first))
            expected = RUNS_A_DAY * min(length, 20 - first)
            assert runs(store, "api", midnight + timedelta(days=first), end_at) == expected, (first, length)
    whole = [midnight + timedelta(days=day) for day in range(21)]
    by_day = store.rollups("api", [each.timestamp() for each in whole])
    assert [sum(bucket.runs) for bucket in by_day] == [RUNS_A_DAY] * 20
    hours = store.rollups("api", [midnight.timestamp() + hour * 3600 for hour in range(20 * 24 + 1)])
    assert [sum(bucket.runs) for bucket in hours] == [0, 0, 1, 0] * (20 * RUNS_A_DAY)


def test_unaligned_ranges_over_what_was_given_up_are_off_by_a_bucket_at_most(
    store: TinyStore, clock: FakeClock
) -> None:
    store.keep(SHORT, {"db": Retention(raw_s=99 * DAY_S)})
    live(store, clock, 20)
    for day in (0, 2, 8, 12, 15, 17, 19):
        for shift_s in (0.0, 300.0, 1000.0, 77.7, -3000.0, 7100.0, 7230.0):
            start_at = START_AT + timedelta(days=day, seconds=shift_s)
            expected = RUNS_A_DAY * (20 - day) - (shift_s > 7200)
            for check_id in ("api", "db"):
                found = runs(store, check_id, start_at, clock.now() - timedelta(seconds=abs(shift_s) % 3600))
                assert found == pytest.approx(expected, abs=day < 19), (check_id, day, shift_s)


def test_a_check_with_a_retention_of_its_own_is_kept_apart(store: TinyStore, clock: FakeClock, tmp_path: Path) -> None:
    longer = Retention(raw_s=40 * DAY_S, five_minutes_s=SHORT.five_minutes_s, hours_s=SHORT.hours_s, days_s=30 * DAY_S)
    store.keep(SHORT, {"db": longer})
    live(store, clock, 20)
    assert len(store.last("db", 999)) == 20 * RUNS_A_DAY
    assert len(store.last("api", 999)) <= 5 * RUNS_A_DAY
    assert store.inventory().checks["db"] == 20 * RUNS_A_DAY
    ids = [document.doc_id for document in store.database.table("results")]
    assert ids == sorted(set(ids))
    instants = [row.at for chunk in store.export() for row in chunk]
    assert instants == sorted(instants)
    live(store, clock, 45, ("api",))
    assert store.last("db", 999) == []
    assert files_of(tmp_path, "*.3456000.seg") == []


def test_a_shorter_retention_of_one_check_takes_only_its_own(store: TinyStore, clock: FakeClock) -> None:
    store.keep(Retention(), {"db": Retention(raw_s=2 * DAY_S, five_minutes_s=4 * DAY_S, hours_s=6 * DAY_S)})
    live(store, clock, 12)
    assert len(store.last("api", 999)) == 12 * RUNS_A_DAY
    assert len(store.last("db", 999)) <= 4 * RUNS_A_DAY
    for check_id in ("api", "db"):
        assert runs(store, check_id, START_AT, START_AT + timedelta(days=12)) == 12 * RUNS_A_DAY


def test_a_retention_that_changes_counts_from_the_next_night_on(store: TinyStore, clock: FakeClock) -> None:
    live(store, clock, 6)
    store.keep(SHORT, {})
    store.maintain(clock.now())
    live(store, clock, 1)
    assert len(store.last("api", 999)) <= 5 * RUNS_A_DAY
    store.keep(Retention(), {})
    live(store, clock, 6)
    assert len(store.last("api", 999)) >= 9 * RUNS_A_DAY
    assert runs(store, "api", START_AT, clock.now()) == 13 * RUNS_A_DAY


def test_the_newest_segment_is_never_given_up(store: TinyStore, clock: FakeClock, tmp_path: Path) -> None:
    store.keep(SHORT, {})
    live(store, clock, 3)
    last_id = store.last("api", 1)[0].id
    marks = store.cursor("api").marks()
    for _ in range(400):
        clock.advance(DAY_S)
        store.maintain(clock.now())
    assert len(files_of(tmp_path, "*.seg")) == 1
    store.close()
    store = opened(tmp_path, clock)
    assert store.cursor("api").marks() == marks
    [new_id] = store.append([make_result(0, check_id="api", at=clock.now())])
    assert new_id > last_id
    store.close()


def test_ids_go_on_though_everything_was_given_up(store: TinyStore, clock: FakeClock, tmp_path: Path) -> None:
    live(store, clock, 3)
    last_id = max(row.id for chunk in store.export() for row in chunk)
    store.database.table("results").truncate()
    for _ in range(2):
        store.close()
        store = opened(tmp_path, clock)
    assert store.append([make_result(0)]) == [last_id + 1]
    store.close()


@pytest.fixture
def full(store: TinyStore, clock: FakeClock) -> TinyStore:
    store.keep(SHORT, {})
    live(store, clock, 3)
    return store


def rows(store: TinyStore) -> int:
    return store.health().rows


def test_a_clock_that_jumps_ahead_purges_nothing_for_a_day(full: TinyStore, clock: FakeClock) -> None:
    before = rows(full)
    clock.now_at += timedelta(days=4000)
    for _ in range(23):
        full.maintain(clock.now())
        assert rows(full) == before
        assert full.health().clock_jumps == 1
        assert "jumped forward by 345600000 s" in " ".join(full.health().warnings)
        clock.advance(3600)


def test_a_clock_that_is_set_right_within_the_day_costs_nothing(full: TinyStore, clock: FakeClock) -> None:
    full.keep(Retention(), {})
    before = rows(full)
    clock.now_at += timedelta(days=4000)
    full.maintain(clock.now())
    clock.now_at -= timedelta(days=4000)
    for _ in range(2):
        full.maintain(clock.now())
        clock.advance(DAY_S / 2)
    full.maintain(clock.now())
    assert rows(full) == before
    assert full.health().clock_jumps == 2


def test_a_clock_that_stays_is_believed_after_a_day(full: TinyStore, clock: FakeClock) -> None:
    before = rows(full)
    clock.now_at += timedelta(days=4000)
    full.maintain(clock.now())
    clock.advance(HOLD_S)
    full.maintain(clock.now())
    assert rows(full) < before
    assert full.health().warnings == ()


@pytest.mark.parametrize("days", [4000, -4000])
def test_a_start_with_a_clock_far_from_the_newest_row_purges_nothing_for_a_day(
    tmp_path: Path, full: TinyStore, clock: FakeClock, days: int
) -> None:
    before = rows(full)
    full.close()
    clock.now_at += timedelta(days=days)
    store = opened(tmp_path, clock)
    store.keep(SHORT, {})
    store.maintain(clock.now())
    assert rows(store) == before
    store.compact()
    assert rows(store) == before, "not even when it is asked for"
    assert bool(store.health().warnings) is (days < 0)
    clock.advance(HOLD_S)
    store.maintain(clock.now())
    assert (rows(store) < before) is (days > 0)
    store.close()


def test_a_machine_that_was_off_for_a_night_goes_on_at_once(tmp_path: Path, full: TinyStore, clock: FakeClock) -> None:
    full.close()
    clock.advance(0.9 * HOLD_S)
    store = opened(tmp_path, clock)
    assert store.health().warnings == ()
    store.close()


def test_nothing_is_given_up_before_it_is_in_the_rollups(store: TinyStore, clock: FakeClock) -> None:
    store.keep(Retention(raw_s=0.0), {})
    live(store, clock, 4)
    assert rows(store) <= 2 * 2 * RUNS_A_DAY
    assert runs(store, "api", START_AT, clock.now()) == 4 * RUNS_A_DAY


@pytest.mark.parametrize(
    ("label", "kept_s", "expected"),
    [("raw", 0, 3 * DAY_S), ("raw", 777, 777.0), ("raw", FOREVER, inf), ("1d", 0, inf), ("5m", 5, 5.0)],
)
def test_how_long_a_file_is_kept_stands_in_its_name(label: str, kept_s: int, expected: float) -> None:
    assert Keeping(default=SHORT).of(label, kept_s) == expected


def test_only_what_differs_from_the_default_has_names_of_its_own() -> None:
    forever = Retention(raw_s=inf, five_minutes_s=SHORT.five_minutes_s, hours_s=1.4, days_s=inf)
    keeping = Keeping(default=SHORT, per_check={"a": SHORT, "b": forever})
    assert keeping.kept_s() == {"raw": {"b": FOREVER}, "5m": {}, "1h": {"b": 1}, "1d": {}}
    assert keeping.longest_raw_s() == inf


@pytest.mark.parametrize("jump_s", [JUMP_S + 1, -JUMP_S - 1, 1e9])
def test_a_watch_notices_a_jump_and_holds(jump_s: float) -> None:
    clock = FakeClock()
    watch = ClockWatch(clock, clock.now().timestamp())
    assert watch.is_steady(clock.now())
    clock.now_at += timedelta(seconds=jump_s)
    assert not watch.is_steady(clock.now())
    assert watch.jumps == 1
    assert ("forward" if jump_s > 0 else "back") in watch.warning
    clock.advance(HOLD_S)
    assert watch.is_steady(clock.now())
    assert watch.warning == ""


@pytest.mark.parametrize("drift_s", [JUMP_S - 1, 1 - JUMP_S])
def test_a_little_drift_is_no_jump(drift_s: float) -> None:
    clock = FakeClock()
    watch = ClockWatch(clock, None)
    clock.now_at += timedelta(seconds=drift_s)
    assert watch.is_steady(clock.now())
    assert watch.jumps == 0
