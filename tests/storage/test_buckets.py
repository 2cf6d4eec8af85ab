"""Answers from rollups equal a recount of every result, second by second, whatever has been sealed, merged or folded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
import recount
from fakes import FakeClock
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from storage.samples import UnsyncedFiles

from checks.base import Status
from dashboard.model import Result, Retention
from dashboard.rollup import Rollup
from dashboard.storage.appender import Limits
from dashboard.storage.base import History
from dashboard.storage.store import TinyStore

SMALL = Limits(reserve_bytes=0, journal_rows=7, group_rows=6, merged_parts=3)
DAY = 86400
START = int(datetime(2026, 3, 27, 22, 0, tzinfo=UTC).timestamp())  # two days before a day of 23 hours in Prague
CHECKS = ("api", "db")
SHARES = (0.5, 0.9, 0.95, 0.99)
PRAGUE = ZoneInfo("Europe/Prague")
DAYS_OF_PRAGUE = [
    int(datetime(2026, 3, day, tzinfo=PRAGUE).timestamp()) for day in (27, 28, 29, 30, 31)
]  # one has 23 h

WINDOWS: Mapping[str, Sequence[tuple[float, float]]] = {
    "api": [(START + 400.0, START + 460.0), (START + 3000.0, START + 9000.0), (START + 90_000.0, START + 200_000.0)]
}


class Life:
    """A store, its clock, and all that was recorded, by check."""

    def __init__(self, directory: Path, windows: Mapping[str, Sequence[tuple[float, float]]] = WINDOWS) -> None:
        self.directory = directory
        self.windows = windows
        self.clock = FakeClock(datetime.fromtimestamp(START, UTC))
        self.rows: dict[str, list[recount.Row]] = {name: [] for name in CHECKS}
        self.store = self._opened()

    def _opened(self) -> TinyStore:
        files = UnsyncedFiles()
        store = TinyStore(self.directory, self.clock, limits=SMALL, files=files, windows=lambda: self.windows)
        store.open()
        store.keep(Retention(), {"db": Retention(raw_s=40.0 * DAY)})  # files of its own, never old enough here
        return store

    @property
    def now(self) -> int:
        return int(self.clock.now().timestamp())

    def record(self, check_id: str, at: int, covers: int, status: int, metrics: Mapping[str, float]) -> None:
        result = Result(
            check_id=check_id,
            at=datetime.fromtimestamp(at, UTC),
            status=Status(status),
            summary="",
            duration_s=0.25,
            covers_s=float(covers),
            metrics=metrics,
        )
        self.store.append([result])
        self.rows[check_id].append((at, covers, status, metrics or {"duration": 0.25}))

    def step_clock(self, by: int) -> None:
        self.clock.now_at += timedelta(seconds=by)

    def maintain(self) -> None:
        self.store.maintain(self.clock.now())

    def forget(self, check_id: str) -> None:
        self.store.forget(check_id)
        self.rows[check_id] = []

    def reopen(self) -> None:
        self.store.close()
        self.store = self._opened()


def assert_equal_to_a_recount(
    history: History, life: Life, check_id: str, edges: Sequence[int], now: int | None
) -> None:
    rows = life.rows[check_id]
    windows = [(int(start), int(end)) for start, end in life.windows.get(check_id, ())]
    expected = recount.seconds(recount.kinds_by_second(rows, now, windows), edges)
    found = history.rollups(check_id, [float(edge) for edge in edges], now_s=None if now is None else float(now))
    assert [(bucket.start_s, bucket.end_s) for bucket in found] == list(pairwise(edges))
    for bucket, its_seconds, (start, end) in zip(found, expected, pairwise(edges), strict=True):
        where = f"{check_id}: {start - START} to {end - START}, now {now and now - START}"
        assert list(bucket.seconds) == pytest.approx(its_seconds, abs=1e-3), where
        assert list(bucket.runs) == recount.runs(rows, start, end), where
        assert_metrics_equal(bucket, recount.values(rows, start, end), where)


def assert_metrics_equal(bucket: Rollup, expected: Mapping[str, Sequence[float]], where: str) -> None:
    assert bucket.metrics.keys() == expected.keys(), where
    for name, values in expected.items():
        metric = bucket.metrics[name]
        assert (metric.count, metric.low, metric.high) == (len(values), values[0], values[-1]), where
        assert metric.total == pytest.approx(sum(values)), where
        assert sum(metric.histogram.values()) == len(values), where
        for share in SHARES:
            exact = recount.nearest_rank(values, share)
            assert metric.quantile(share) == pytest.approx(exact, rel=0.02, abs=1e-12), where


checks = st.sampled_from(CHECKS)
metrics = st.sampled_from([{}, {"x": 0.125}, {"x": 3.0, "y": -7.5}, {"y": 0.0}, {"x": 1e6}])
covers = st.sampled_from([0, 1, 15, 60, 500, 1000, 7000])
statuses = st.integers(0, 3)
gaps = st.sampled_from([0, 1, 10, 60, 290, 301, 1000, 4000, 40_000])
steps = st.one_of(
    st.tuples(st.just("run"), checks, gaps, covers, statuses, metrics),
    st.tuples(st.just("run"), checks, gaps, covers, statuses, metrics),
    st.tuples(st.just("run"), checks, st.just(10), st.just(20), statuses, metrics),
    st.tuples(st.just("late"), checks, st.integers(0, 3000), covers, statuses, metrics),
    st.tuples(st.just("past"), checks, st.integers(1, 200_000), covers, statuses, metrics),
    st.tuples(st.just("step"), st.integers(-5000, 5000)),
    st.tuples(st.just("wait"), st.sampled_from([100, 1000, 30_000, DAY])),
    st.tuples(st.just("maintain")),
    st.tuples(st.just("maintain")),
    st.tuples(st.just("compact")),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("forget"), checks),
)
offsets = st.integers(-DAY, 4 * DAY) | st.integers(-600, 9000) | st.integers(-30, 200).map(lambda n: n * 300)
aligned = st.sampled_from([60, 300, 3600, DAY]).flatmap(
    lambda length: st.tuples(st.just(length), st.integers(-3, 30), st.integers(1, 30))
)


def perform(life: Life, step: tuple[object, ...]) -> None:
    match step:
        case ("run", str(check_id), int(gap), int(its_covers), int(status), dict(its_metrics)):
            life.clock.advance(gap)
            life.record(check_id, life.now, its_covers, status, its_metrics)
        case ("late", str(check_id), int(ago), int(its_covers), int(status), dict(its_metrics)):
            life.record(check_id, life.now - ago, its_covers, status, its_metrics)
        case ("past", str(check_id), int(before), int(its_covers), int(status), dict(its_metrics)):
            began = min((row[0] for row in life.rows[check_id]), default=life.now)
            life.record(check_id, max(began, START - 3 * DAY) - before, its_covers, status, its_metrics)
        case ("step", int(by)):
            life.step_clock(by)
        case ("wait", int(seconds)):
            life.clock.advance(seconds)
        case ("maintain",):
            life.maintain()
        case ("compact",):
            life.store.compact()
        case ("forget", str(check_id)):
            life.forget(check_id)
        case ("reopen",):
            life.reopen()


# Making a failing script shorter takes minutes, and it is told as it was found.
@settings(max_examples=80, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.lists(steps, min_size=1, max_size=40),
    st.lists(st.lists(offsets, min_size=2, max_size=6, unique=True).map(sorted), min_size=1, max_size=4),
    st.lists(aligned, min_size=1, max_size=2),
    st.booleans(),
)
def test_rollups_equal_a_recount_of_every_second(script, unaligned, regular, is_open):
    with TemporaryDirectory() as directory:
        life = Life(Path(directory))
        try:
            for step in script:
                perform(life, step)
            now = life.now if is_open else None
            ranges = [DAYS_OF_PRAGUE, *([START + offset for offset in offsets] for offsets in unaligned)]
            for length, first, count in regular:
                begin = (START // length + first) * length
                ranges.append([begin + number * length for number in range(count + 1)])
            for tidy in (lambda: None, life.maintain, life.store.compact, life.reopen):
                tidy()
                for check_id in CHECKS:
                    for edges in ranges:
                        assert_equal_to_a_recount(life.store, life, check_id, edges, now)
            reading = TinyStore.reading(life.directory, life.clock)
            for edges in ranges:
                assert_equal_to_a_recount(reading, life, "db", edges, now)
        finally:
            life.store.close()


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    life = Life(tmp_path)
    yield life
    life.store.close()


def assert_always_equal(life: Life, check_id: str, *ranges: Sequence[int]) -> None:
    """From the journal, from segments, and from merged ones."""
    for tidy in (lambda: None, life.maintain, life.store.compact, life.reopen):
        tidy()
        for edges in ranges:
            for now in (None, life.now):
                assert_equal_to_a_recount(life.store, life, check_id, [START + edge for edge in edges], now)


def test_a_result_that_spoke_for_hours_still_does_when_the_schedule_is_quicker_now(life: Life) -> None:
    life.record("db", START, 9000, 1, {})
    life.clock.advance(8000)
    for _ in range(20):
        life.record("db", life.now, 20, 0, {})
        life.clock.advance(10)
    assert_always_equal(life, "db", [5001, 5002], [4990, 5290], [7990, 8003, 8007, 8500])


def test_a_clock_that_was_set_back_between_two_edges_gives_its_time_to_who_came_first(life: Life) -> None:
    for status in (0, 2):
        for _ in range(60):
            life.record("db", life.now, 20, status, {})
            life.clock.advance(10)
        life.step_clock(-400)
    assert_always_equal(life, "db", [155, 355], [215, 216], [590, 601, 610, 777], [-1, 1])


def test_a_gap_is_covered_by_nothing_wherever_the_edges_are(life: Life) -> None:
    life.record("db", START, 15, 0, {})
    life.clock.advance(5000)
    life.record("db", life.now, 15, 2, {})
    assert_always_equal(life, "db", [1, 14], [14, 16], [100, 200], [4999, 5001], [-50, 6000])


def test_a_reader_beside_the_writer_tells_the_same(life: Life) -> None:
    for number in range(40):
        life.record("db", life.now, 25, number % 4, {"x": float(number)})
        life.clock.advance(30)
        if number % 9 == 0:
            life.maintain()
            reading = TinyStore.reading(life.directory, life.clock)
            edges = [START + offset for offset in (-7, 301, 444, 900, 1203)]
            assert_equal_to_a_recount(reading, life, "db", edges, life.now)


def test_buckets_of_metrics_asked_for_hold_no_others(life: Life) -> None:
    life.record("db", START + 5, 25, 0, {"x": 1.0, "y": 2.0})
    life.record("db", START + 400, 25, 0, {"y": 3.0})
    for tidy in (lambda: None, life.store.compact):
        tidy()
        [bucket] = life.store.rollups("db", [START - 10.0, START + 610.0], metrics=("y",))
        assert {name: metric.count for name, metric in bucket.metrics.items()} == {"y": 2}
