"""Sealing and merging lose nothing and double nothing, wherever they are interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeClock
from hypothesis import given
from hypothesis import strategies as st
from storage.samples import START_AT, UnsyncedFiles, make_result, make_results

from dashboard.model import Retention
from dashboard.storage.appender import Limits
from dashboard.storage.sealing import leftovers
from dashboard.storage.segments import SegmentName
from dashboard.storage.store import TinyStore

LIMITS = Limits(reserve_bytes=0, journal_rows=30, group_rows=20, merged_parts=100)
DAY_S = 86400.0
KEPT = 400 * 86400


def names(*texts: str) -> dict[SegmentName, int]:
    """`"1-5"`, `"1-5.9"` (kept for 9 s), `"1-5/2"` (of two siblings) as what `leftovers` is told."""
    found: dict[SegmentName, int] = {}
    for text in texts:
        rest, _, siblings = text.partition("/")
        ids, _, kept = rest.partition(".")
        first, last = map(int, ids.split("-"))
        found[SegmentName(first, last, int(kept or 0))] = int(siblings or 1)
    return found


@pytest.mark.parametrize(
    ("there", "gone"),
    [
        ([], []),
        (["1-5", "6-10"], []),
        (["1-5", "6-10", "1-10"], ["1-5", "6-10"]),
        (["6-10", "1-10"], ["6-10"]),
        (["1-10/2", "1-10.9/2"], []),
        (["1-5", "6-10", "1-10.9/2"], ["1-10.9"]),
        (["1-5", "6-10", "1-10/2", "1-10.9/2"], ["1-5", "6-10"]),
        (["1-5", "1-10/2", "1-10.9/2"], ["1-5"]),
        (["1-10", "1-10.9/2"], ["1-10.9"]),
        (["1-10.9/2"], []),
        (["1-5", "6-10", "1-10", "11-20", "1-20.9/2", "1-20/2"], ["1-5", "6-10", "1-10", "11-20"]),
        (["1-10", "11-20", "1-20.9/3", "1-20.8/3"], ["1-20.9", "1-20.8"]),
    ],
    ids=lambda texts: " ".join(texts) or "none",
)
def test_what_an_interrupted_merge_left_over(there: Sequence[str], gone: Sequence[str]) -> None:
    assert leftovers(names(*there)) == set(names(*gone))


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.data(),
)
def test_leftovers_leave_every_id_exactly_once_at_every_point_of_merges(sizes, data):
    """Files appear one by one, sources go one by one, and the machine may stop between any two."""
    first = 1
    files: dict[SegmentName, int] = {}
    for size in sizes:
        files[SegmentName(first, first + size - 1)] = 1
        first += size
    classes = data.draw(st.integers(1, 3), label="classes")
    for _ in range(2):
        plain = sorted(name for name in files if files[name] == 1)
        if not plain:
            break
        low = data.draw(st.integers(0, len(plain) - 1))
        high = data.draw(st.integers(low, len(plain) - 1))
        sources = plain[low : high + 1]
        made = [SegmentName(sources[0].first_id, sources[-1].last_id, kept) for kept in range(classes)]
        for name in reversed(made):  # the default's last
            files = {**files, name: classes}
            assert_each_id_once(files)
        for source in data.draw(st.permutations([each for each in sources if each not in made])):
            files = {name: count for name, count in files.items() if name != source}
            assert_each_id_once(files)


def assert_each_id_once(files: Mapping[SegmentName, int]) -> None:
    left = {name: count for name, count in files.items() if name not in leftovers(files)}
    ids = [row_id for first, last in {name.ids for name in left} for row_id in range(first, last + 1)]
    assert sorted(ids) == sorted(set(ids))
    assert set(ids) == {row_id for name in files for row_id in range(name.first_id, name.last_id + 1)}
    for name, count in left.items():
        assert sum(1 for other in left if other.ids == name.ids) == count, "a family is not whole"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_AT)


def opened(directory: Path, clock: FakeClock, kept: Mapping[str, Retention] | None = None) -> TinyStore:
    store = TinyStore(directory, clock, limits=LIMITS, files=UnsyncedFiles())
    store.open()
    store.keep(Retention(), {"check-1": Retention(raw_s=KEPT)} if kept is None else kept)
    return store


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[TinyStore]:
    store = opened(tmp_path, clock)
    yield store
    store.close()


def ids_in(store: TinyStore) -> list[int]:
    return sorted(row.id for chunk in store.export() for row in chunk)


def segments_in(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "results").glob("*.seg"))


def test_a_check_that_is_kept_for_another_time_gets_files_of_its_own(store: TinyStore, tmp_path: Path) -> None:
    store.append(make_results(60))
    store.compact()
    assert segments_in(tmp_path) == [f"000000000001-000000000060.{KEPT}.seg", "000000000001-000000000060.seg"]
    assert ids_in(store) == list(range(1, 61))


def test_ids_ascend_over_files_of_different_retention(store: TinyStore, tmp_path: Path, clock: FakeClock) -> None:
    store.append(make_results(60))
    store.compact()
    store.append(make_results(30, first=60))
    for _ in range(2):
        table = store.database.table("results")
        assert [document.doc_id for document in table] == list(range(1, 91))
        assert [row.id for chunk in store.export() for row in chunk] == list(range(1, 91))
        for row_id in (1, 2, 3, 59, 60, 61):
            assert table.get(doc_id=row_id)["summary"] == f"result number {row_id - 1}"  # type: ignore[index]
        store = reopened(store, tmp_path, clock)
    store.close()


def reopened(store: TinyStore, directory: Path, clock: FakeClock) -> TinyStore:
    store.close()
    return opened(directory, clock)


def test_compacting_twice_with_files_of_different_retention_loses_nothing(
    store: TinyStore, tmp_path: Path, clock: FakeClock
) -> None:
    store.append(make_results(40))
    store.compact()
    store.append(make_results(20, first=40))
    store = reopened(store, tmp_path, clock)
    store.compact()
    store = reopened(store, tmp_path, clock)
    store.append(make_results(10, first=60))
    store = reopened(store, tmp_path, clock)
    clock.advance(DAY_S)
    store.maintain(clock.now())
    assert ids_in(store) == list(range(1, 71))
    store = reopened(store, tmp_path, clock)
    assert ids_in(store) == list(range(1, 71))
    store.close()


@pytest.mark.parametrize("gone", ["check-1", "check-0"])
def test_forgetting_a_check_leaves_the_files_of_another_retention_whole(
    store: TinyStore, tmp_path: Path, clock: FakeClock, gone: str
) -> None:
    store.append(make_results(60))
    store.compact()
    store.forget(gone)
    store.compact()
    left = [row_id for row_id in range(1, 61) if make_result(row_id - 1).check_id != gone]
    assert ids_in(store) == left
    for _ in range(2):
        store = reopened(store, tmp_path, clock)
        assert ids_in(store) == left
    store.compact()
    store = reopened(store, tmp_path, clock)
    assert ids_in(store) == left
    store.close()


def test_a_merge_of_checks_that_all_have_a_retention_of_their_own_can_be_interrupted(
    tmp_path: Path, clock: FakeClock
) -> None:
    kept = {f"check-{number}": Retention(raw_s=KEPT) for number in range(3)}
    store = opened(tmp_path, clock, kept)
    store.append(make_results(30))
    store._appender.rotate()
    store._keeper.seal_all()
    [sealed] = [path for path in (tmp_path / "results").iterdir() if path.suffix == ".seg"]
    source = sealed.read_bytes()
    store.compact()
    store.close()
    sealed.write_bytes(source)  # as if it had not been unlinked yet, or not been replaced
    store = opened(tmp_path, clock, kept)
    assert ids_in(store) == list(range(1, 31))
    store.close()


class Interrupted(BaseException):
    """The machine stops here."""


class StoppingFiles(UnsyncedFiles):
    """Stops at the n-th rename or unlink, before or after it."""

    def __init__(self) -> None:
        self.left = -1
        self.after = False

    def _step(self) -> bool:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Interrupted
        return self.left == 0

    def rename(self, source: Path, target: Path) -> None:
        stops = self._step()
        super().rename(source, target)
        if stops:
            raise Interrupted

    def unlink(self, path: Path) -> None:
        stops = self._step()
        super().unlink(path)
        if stops:
            raise Interrupted


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kept", [{}, {"check-1": Retention(raw_s=KEPT)}], ids=["one class", "two classes"])
def test_maintenance_that_stops_at_any_point_goes_on_as_if_it_had_not(
    tmp_path: Path, kept: Mapping[str, Retention], after: bool
) -> None:
    edges_s = [START_AT.timestamp() + number * 250 for number in range(12)]
    for stop in range(1, 40):
        directory = tmp_path / str(stop)
        clock = FakeClock(START_AT)
        files = StoppingFiles()
        files.after = after
        store = TinyStore(directory, clock, limits=replace(LIMITS, merged_parts=3), files=files)
        store.open()
        store.keep(Retention(), kept)
        for first in range(0, 150, 15):
            clock.now_at = make_result(first + 14).at
            store.append(make_results(15, first=first))
        expected = [(bucket.runs, bucket.seconds, bucket.metrics) for bucket in store.rollups("check-1", edges_s)]
        clock.advance(DAY_S)
        files.left = stop
        try:
            store.maintain(clock.now())
            was_interrupted = False
        except Interrupted:
            was_interrupted = True
        files.left = -1
        store._lock.release()  # the process is gone; nothing is closed in order
        for _ in range(2):
            again = opened(directory, clock, kept)
            for _ in range(2):
                assert ids_in(again) == list(range(1, 151)), stop
                found = [(bucket.runs, bucket.seconds, bucket.metrics) for bucket in again.rollups("check-1", edges_s)]
                for (runs, seconds, metrics), (its_runs, its_seconds, its_metrics) in zip(expected, found, strict=True):
                    assert runs == its_runs, stop
                    assert its_seconds == pytest.approx(seconds, abs=1e-3), stop
                    assert {n: m.histogram for n, m in its_metrics.items()} == {
                        n: m.histogram for n, m in metrics.items()
                    }
                again.maintain(clock.now())
            again.close()
            assert not list(directory.rglob("*.tmp"))
        if not was_interrupted:
            break
    else:
        pytest.fail("it never came to an end")
    assert stop > 8, "this test needs a maintenance of many steps"
