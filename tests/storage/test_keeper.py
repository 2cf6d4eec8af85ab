"""The keeper seals, merges, folds and gives up, one durable step after the other, and tells what it cannot do."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from fakes import FakeClock
from storage.samples import START_AT, FailingFiles, UnsyncedFiles, make_result, make_results

from dashboard.errors import StoreError
from dashboard.model import Result, Retention
from dashboard.storage import blocks
from dashboard.storage.appender import Limits
from dashboard.storage.blockfile import Damaged, FrameReader, Kind
from dashboard.storage.store import TinyStore
from dashboard.storage.workshop import Here, Outcome, Task

LIMITS = Limits(reserve_bytes=0, journal_rows=20, group_rows=15, merged_parts=3)
DAY_S = 86400.0
EDGES_S = [START_AT.timestamp() + number * 301.5 - 600 for number in range(12)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_AT)


@pytest.fixture
def files() -> FailingFiles:
    return FailingFiles()


def opened(directory: Path, clock: FakeClock, **options: object) -> TinyStore:
    store = TinyStore(directory, clock, **({"limits": LIMITS, "files": UnsyncedFiles()} | options))  # type: ignore[arg-type]
    store.open()
    return store


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock, files: FailingFiles) -> Iterator[TinyStore]:
    store = opened(tmp_path, clock, files=files)
    yield store
    files.heal()
    store.close()


def names_in(directory: Path, folder: str = "results") -> list[str]:
    return sorted(path.name for path in (directory / folder).iterdir())


def ids_in(store: TinyStore) -> list[int]:
    return sorted(row.id for chunk in store.export() for row in chunk)


def record(store: TinyStore, clock: FakeClock, count: int, first: int = 0) -> None:
    """Rows in batches of ten, as time goes by."""
    for number in range(first, first + count, 10):
        clock.advance((make_result(number + 9).at - clock.now()).total_seconds())
        store.append(make_results(10, first=number))


def told(store: TinyStore) -> list[object]:
    """What its rollups say, plainly."""
    return [
        (
            list(bucket.runs),
            [round(each, 3) for each in bucket.seconds],
            {n: m.count for n, m in bucket.metrics.items()},
        )
        for check_id in sorted(store.check_ids())
        for bucket in store.rollups(check_id, EDGES_S)
    ]


def test_closed_journals_are_sealed_and_the_one_that_is_written_is_not(
    store: TinyStore, clock: FakeClock, tmp_path: Path
) -> None:
    record(store, clock, 50)
    store.maintain(clock.now())
    assert names_in(tmp_path) == [
        "000000000001-000000000020.seg",
        "000000000021-000000000040.seg",
        "0000000003.ndj",
    ]
    health = store.health()
    assert (health.rows, health.unsealed_rows, health.sealed_at) == (50, 10, clock.now())
    assert ids_in(store) == list(range(1, 51))


def test_a_journal_without_rows_goes_without_a_segment(store: TinyStore, clock: FakeClock, tmp_path: Path) -> None:
    store.append(make_results(5))
    store.database.table("results").truncate()
    clock.advance(DAY_S)
    store.maintain(clock.now())
    store.compact()
    assert not [name for name in names_in(tmp_path) if name.endswith(".seg")]
    assert store.append(make_results(1)) == [6]


def test_by_day_neighbours_of_one_level_become_one(store: TinyStore, clock: FakeClock, tmp_path: Path) -> None:
    record(store, clock, 70)
    store.maintain(clock.now())
    assert [name for name in names_in(tmp_path) if name.endswith(".seg")] == ["000000000001-000000000060.seg"]
    record(store, clock, 140, first=70)
    store.maintain(clock.now())
    assert [segment.level for segment in store._timeline.segments] == [1, 1, 1, 0]
    store.maintain(clock.now())
    assert [name for name in names_in(tmp_path) if name.endswith(".seg")] == [
        "000000000001-000000000180.seg",
        "000000000181-000000000200.seg",
    ]
    assert not names_in(tmp_path, "rollups")
    assert ids_in(store) == list(range(1, 211))


def test_at_night_the_day_becomes_one_segment_and_rollup_files(
    store: TinyStore, clock: FakeClock, tmp_path: Path
) -> None:
    record(store, clock, 90)
    before = told(store)
    clock.advance(DAY_S)
    store.maintain(clock.now())
    assert names_in(tmp_path) == ["000000000001-000000000090.seg"]
    assert names_in(tmp_path, "rollups") == ["1d-2026.rol", "1h-202603.rol", "5m-20260301.rol"]
    assert told(store) == before
    assert store.health().merged_at == clock.now()
    [segment] = store._timeline.segments
    assert not segment.has_rollups
    sizes = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*o*")}
    store.maintain(clock.now())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*o*")} == sizes, "there was nothing more to do"


def test_days_stay_apart(store: TinyStore, clock: FakeClock, tmp_path: Path) -> None:
    for day in range(3):
        clock.advance((START_AT + timedelta(days=day) - clock.now()).total_seconds())
        for number in range(4):
            store.append([make_result(number, at=clock.now() + timedelta(seconds=number))])
    clock.advance(DAY_S)
    store.maintain(clock.now())
    assert names_in(tmp_path) == [f"{first:012d}-{first + 3:012d}.seg" for first in (1, 5, 9)]
    assert names_in(tmp_path, "rollups")[2:] == ["5m-20260301.rol", "5m-20260302.rol", "5m-20260303.rol"]


def test_results_that_come_late_are_added_to_their_day(store: TinyStore, clock: FakeClock, tmp_path: Path) -> None:
    record(store, clock, 40)
    for late in range(3):
        clock.advance(DAY_S)
        store.maintain(clock.now())
        store.append([make_result(10, check_id="check-1"), make_result(11 + late, check_id="late")])
        clock.advance(LIMITS.journal_s)
        store.maintain(clock.now())
    clock.advance(DAY_S)
    store.maintain(clock.now())
    [check, late] = [store.rollups(name, [EDGES_S[0], EDGES_S[-1]])[0] for name in ("check-1", "late")]
    assert (sum(check.runs), sum(late.runs)) == (13 + 3, 3)
    assert [name for name in names_in(tmp_path, "rollups") if name.startswith("5m")] == ["5m-20260301.rol"]


@pytest.mark.parametrize("call", ["write", "sync", "rename", "sync_directory"])
@pytest.mark.parametrize("skipped", range(8))
def test_a_step_that_fails_is_told_and_tried_again(
    store: TinyStore, clock: FakeClock, files: FailingFiles, call: str, skipped: int, tmp_path: Path
) -> None:
    record(store, clock, 90)
    before = told(store)
    clock.advance(DAY_S)
    for _ in range(skipped):
        files.fail(call, "fine")
    files.fail(call, errno.EIO)
    store.maintain(clock.now())
    health = store.health()
    assert health.state == "ok", "recording goes on"
    assert ids_in(store) == list(range(1, 91))
    assert told(store) == before
    if health.sealing_failures:
        assert "Input/output error; tried again in 30 s" in " ".join(health.warnings)
        files.calls.clear()
        store.maintain(clock.now())
        assert files.calls == [], "not at once"
    files.heal()
    clock.advance(31)
    store.maintain(clock.now())
    assert store.health().warnings == ()
    assert names_in(tmp_path) == ["000000000001-000000000090.seg"]
    assert told(store) == before


def test_the_wait_between_tries_grows_and_is_bounded(store: TinyStore, clock: FakeClock, files: FailingFiles) -> None:
    record(store, clock, 50)
    waits = []
    for _ in range(9):
        files.fail("rename", errno.ENOSPC)
        store.maintain(clock.now())
        [warning] = store.health().warnings
        waits.append(int(warning.rsplit("in ", 1)[1].removesuffix(" s.")))
        clock.advance(waits[-1])
    assert waits == [30, 60, 120, 240, 480, 900, 900, 900, 900]
    assert store.health().sealing_failures == 9


class BrokenWorkshop:
    """Never gets anything done."""

    def perform(self, task: Task) -> Outcome:
        raise StoreError(f"the helper that should {task.kind} is not well")

    def stop(self) -> None:
        pass


def test_a_helper_that_fails_costs_nothing_but_time(tmp_path: Path, clock: FakeClock) -> None:
    store = opened(tmp_path, clock, workshop=BrokenWorkshop())
    record(store, clock, 50)
    store.maintain(clock.now())
    assert "the helper that should seal is not well" in " ".join(store.health().warnings)
    assert ids_in(store) == list(range(1, 51))
    with pytest.raises(StoreError, match="not well"):
        store.compact()
    store.close()


class SlowWorkshop(Here):
    """Waits in the middle of a task until it may go on."""

    def __init__(self) -> None:
        super().__init__(UnsyncedFiles())
        self.reached = threading.Event()
        self.may_go_on = threading.Event()

    def perform(self, task: Task) -> Outcome:
        outcome = super().perform(task)
        self.reached.set()
        self.may_go_on.wait(10)
        return outcome


def test_recording_and_reading_do_not_wait_for_the_keeper(tmp_path: Path, clock: FakeClock) -> None:
    workshop = SlowWorkshop()
    store = opened(tmp_path, clock, workshop=workshop)
    record(store, clock, 50)
    keeping = threading.Thread(target=store.maintain, args=(clock.now(),))
    keeping.start()
    assert workshop.reached.wait(10)
    store.append(make_results(10, first=50))
    assert ids_in(store) == list(range(1, 61))
    assert sum(sum(bucket.runs) for bucket in store.rollups("check-0", [EDGES_S[0], EDGES_S[-1]])) == 20
    workshop.may_go_on.set()
    keeping.join(10)
    assert ids_in(store) == list(range(1, 61))
    store.close()


def test_what_an_interrupted_step_left_unfinished_is_removed_at_the_start(tmp_path: Path, clock: FakeClock) -> None:
    store = opened(tmp_path, clock)
    record(store, clock, 50)
    store.compact()
    before = told(store)
    store.close()
    unfinished = [
        tmp_path / "results" / "000000000001-000000000099.seg.tmp",
        tmp_path / "rollups" / "5m-20260301.rol.tmp",
        tmp_path / "quarantine" / "x.bad.tmp",
    ]
    for path in unfinished:
        path.write_bytes(b"half")
    store = opened(tmp_path, clock)
    assert not any(path.exists() for path in unfinished)
    assert told(store) == before
    store.close()


def test_rows_that_come_after_a_fold_without_a_merge_are_folded_too(
    store: TinyStore, clock: FakeClock, files: FailingFiles
) -> None:
    """A compaction that fails half way leaves buckets in rollup files and in their segments."""
    record(store, clock, 40)
    store.maintain(clock.now())
    files.fail("rename", "fine", times=3)  # the rollup files
    files.fail("rename", errno.EIO)  # the merged segment
    with pytest.raises(StoreError):
        store.compact()
    files.heal()
    clock.advance(60)
    record(store, clock, 160, first=40)
    assert sum(sum(bucket.runs) for bucket in store.rollups("check-0", [EDGES_S[0], EDGES_S[-1]])) == 67
    store.maintain(clock.now())
    clock.advance(60)
    store.maintain(clock.now())
    assert sum(sum(bucket.runs) for bucket in store.rollups("check-0", [EDGES_S[0], EDGES_S[-1]])) == 67
    clock.advance(DAY_S)
    store.maintain(clock.now())
    assert sum(sum(bucket.runs) for bucket in store.rollups("check-0", [EDGES_S[0], EDGES_S[-1]])) == 67


def test_rows_that_come_after_a_removal_by_age_are_folded_too(store: TinyStore, clock: FakeClock) -> None:
    record(store, clock, 40)
    assert store.database.table("results")._give_up(0.0) == []  # type: ignore[attr-defined]  # folds, removes nothing
    record(store, clock, 160, first=40)
    store.maintain(clock.now())
    clock.advance(DAY_S)
    store.maintain(clock.now())
    assert sum(sum(bucket.runs) for bucket in store.rollups("check-0", [EDGES_S[0], EDGES_S[-1]])) == 67


MARKER = "wort-das-sonst-nirgends-steht"


def marked(numbers: Sequence[int]) -> list[Result]:
    return [make_result(number, check_id="secret", summary=f"{MARKER} {number}") for number in numbers]


def content_of(directory: Path) -> bytes:
    """All bytes of the directory, and those of every block unpacked."""
    found = [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
    for path in [*directory.rglob("*.seg"), *directory.rglob("*.rol")]:
        dictionary = b""
        for frame in FrameReader(path).scan():
            assert not isinstance(frame, Damaged)
            if frame.kind == Kind.HEAD and path.suffix == ".seg":
                dictionary = orjson.loads(blocks.decompress(frame.payload))["dictionary"].encode()
            elif frame.kind in (Kind.RAW, Kind.ROLLUP, Kind.TABLE, Kind.MARKS):
                found.append(blocks.decompress(frame.payload, dictionary if frame.kind == Kind.RAW else b""))
        found.append(dictionary)
    return b"\n".join(found)


def test_compacting_drops_the_bytes_of_what_was_forgotten(store: TinyStore, clock: FakeClock, tmp_path: Path) -> None:
    record(store, clock, 40)
    store.append(marked(range(40, 55)))
    clock.advance(DAY_S)
    store.maintain(clock.now())
    store.append(marked(range(9000, 9005)))
    store.compact()
    store.append(marked(range(9005, 9010)))
    assert MARKER.encode() in content_of(tmp_path)
    before = told(store)
    assert store.forget("secret") == 25
    store.compact()
    content = content_of(tmp_path / "results") + content_of(tmp_path / "rollups")
    assert MARKER.encode() not in content
    assert b"secret" not in content
    assert told(store) == before[: -len(EDGES_S[1:])], "the others say what they said"
    store.append(make_results(1, first=9000))
    store.compact()
    assert ids_in(store) == [*range(1, 41), 66]


def test_a_check_that_is_no_longer_configured_keeps_its_history(
    store: TinyStore, clock: FakeClock, tmp_path: Path
) -> None:
    record(store, clock, 40)
    store.keep(Retention(), {"check-1": Retention(raw_s=60 * DAY_S)})
    before = store.last("check-1", 99)
    runs = sum(store.rollups("check-1", [EDGES_S[0], EDGES_S[-1]])[0].runs)
    store.keep(Retention(), {"check-0": Retention()})
    for _ in range(9):
        clock.advance(DAY_S)
        store.append(marked(range(3)))
        store.maintain(clock.now())
    store.compact()
    assert {"check-0", "check-1", "check-2"} <= store.check_ids()
    assert store.last("check-1", 99) == before
    assert sum(store.rollups("check-1", [EDGES_S[0], EDGES_S[-1]])[0].runs) == runs


def test_an_import_is_sealed_as_it_comes_and_all_of_it_is_durable(tmp_path: Path, clock: FakeClock) -> None:
    store = opened(
        tmp_path, clock, limits=Limits(reserve_bytes=0, journal_rows=50, unsealed_journals=2, waiting_rows=80)
    )
    most = 0

    def batches() -> Iterator[list[Result]]:
        nonlocal most
        for first in range(0, 2000, 20):
            most = max(most, len(store._timeline.journals))
            yield make_results(20, first=first)

    assert store.load(batches()) == 2000
    assert most <= 4
    assert store.health().waiting_rows == 0
    store._lock.release()  # the process is gone
    again = opened(tmp_path, clock)
    assert ids_in(again) == list(range(1, 2001))
    assert sum(again.inventory().checks.values()) == 2000
    again.close()
    store.close()


def test_nothing_begins_once_the_store_closes(tmp_path: Path, clock: FakeClock) -> None:
    store = opened(tmp_path, clock)
    record(store, clock, 50)
    store.close()
    store.maintain(clock.now())
    assert all(name.endswith(".ndj") for name in names_in(tmp_path))
