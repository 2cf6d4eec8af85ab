"""Other processes: a second writer, a reader beside the writer, a writer that is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from fakes import FakeClock
from storage.samples import START_AT, make_result, make_results

from checks.base import Detail, Status
from dashboard.errors import StoreLocked, StoreUnavailable
from dashboard.model import Result
from dashboard.storage.appender import Limits
from dashboard.storage.store import TinyStore

LIMITS = Limits(reserve_bytes=4096, journal_rows=40, group_rows=30, merged_parts=3, snapshot_bytes=3000)
ROOT = Path(__file__).parents[2]

WRITER = """
import sys
from pathlib import Path
from storage import test_processes
from dashboard.clock import SystemClock
store = getattr(test_processes, sys.argv[1])(Path(sys.argv[2]), SystemClock(), limits=test_processes.LIMITS)
store.open()
test_processes.acknowledge_for_ever(store)
"""


class HastyStore(TinyStore):
    """Acknowledges before it writes: the control that shows the kills to be real."""

    def append(self, results: Sequence[Result]) -> list[int]:
        kept = self.__dict__.setdefault("kept", [])
        kept.extend(results)
        first = self.__dict__.get("acknowledged", 0) + 1
        self.__dict__["acknowledged"] = first + len(results) - 1
        if len(kept) > 10_000:
            super().append(kept)
            kept.clear()
        return list(range(first, first + len(results)))


def acknowledge_for_ever(store: TinyStore) -> None:
    """Record, and say so only afterwards: one line with the ids and the number of the saved state."""
    number = 0
    while True:
        ids = store.append(make_results(1 + number % 9))
        store.save(units={"a": {"metric": str(number)}})
        sys.stdout.write(f"{ids[0]} {ids[-1]} {number}\n")
        sys.stdout.flush()
        number += 1


def start_writer(directory: Path, kind: str = "TinyStore") -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, kind, str(directory)], stdout=subprocess.PIPE, text=True, env=environment
    )


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = start_writer(tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_holds_the_directory(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    store = TinyStore(tmp_path, FakeClock(START_AT), limits=LIMITS)
    with pytest.raises(StoreLocked, match=rf"process {writer.pid} is using this data directory") as caught:
        store.open()
    assert caught.value.pid == writer.pid
    store.close()
    writer.kill()
    writer.wait()
    store.open()
    assert store.health().rows > 0
    store.close()


def test_the_same_process_cannot_open_it_twice_either(tmp_path: Path) -> None:
    first, second = (TinyStore(tmp_path, FakeClock(START_AT), limits=LIMITS) for _ in range(2))
    first.open()
    with pytest.raises(StoreLocked):
        second.open()
    first.close()
    second.open()
    second.close()


def test_a_store_that_acknowledges_too_early_is_caught_by_a_kill(tmp_path: Path) -> None:
    process = start_writer(tmp_path, "HastyStore")
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(5)]
    process.kill()
    rest, _ = process.communicate()
    last = int((acknowledged + rest.splitlines())[-1].split()[1])
    history = TinyStore.reading(tmp_path, FakeClock(START_AT))
    assert history.health().rows < last


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    chance = random.Random(5)
    rows = 0
    for _ in range(24):
        process = start_writer(tmp_path)
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(chance.randint(1, 60))]
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        acknowledged += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]

        store = TinyStore(tmp_path, FakeClock(START_AT), limits=LIMITS)
        store.open()
        ids = sorted(row_id for columns in store.export_columns() for row_id in columns.ids)
        assert ids == sorted(set(ids))
        assert len(ids) >= rows, "rows of earlier lives are gone"
        rows = len(ids)
        for line in acknowledged:
            first, last, number = map(int, line.split())
            assert set(range(first, last + 1)) <= set(ids)
        assert int(store.units()["a"]["metric"]) >= number
        store.close()
    assert rows > 300


def test_an_export_beside_a_running_server_sees_what_is_durable(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    assert writer.stdout is not None
    for _ in range(5):
        acknowledged = int([writer.stdout.readline() for _ in range(20)][-1].split()[1])
        history = TinyStore.reading(tmp_path, FakeClock(START_AT))
        ids = sorted(result.id for chunk in history.export() for result in chunk)
        assert ids == list(range(1, len(ids) + 1))
        assert len(ids) >= acknowledged
        assert history.health().rows == len(ids)


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[TinyStore]:
    store = TinyStore(tmp_path, FakeClock(START_AT), limits=LIMITS)
    store.open()
    for first in range(0, 130, 10):
        store.append(make_results(10, first=first))
    yield store
    store.close()


def test_a_reading_answers_everything_a_store_answers(tmp_path: Path, recorded: TinyStore) -> None:
    reading = TinyStore.reading(tmp_path, FakeClock(START_AT))
    start_at, end_at = make_result(11).at, make_result(99).at
    assert reading.check_ids() == recorded.check_ids()
    for check_id in recorded.check_ids():
        assert reading.last(check_id, 30) == recorded.last(check_id, 30)
        assert reading.last(check_id, 30, bad_only=True) == recorded.last(check_id, 30, bad_only=True)
        assert reading.between(check_id, start_at, end_at) == recorded.between(check_id, start_at, end_at)
    assert list(reading.export(statuses=[Status.CRITICAL])) == list(recorded.export(statuses=[Status.CRITICAL]))


def test_a_reading_takes_no_evidence_for_a_check(tmp_path: Path, recorded: TinyStore) -> None:
    misleading = make_result(3, check_id="a", detail=Detail(facts={"check_id": "b", "more": "text"}))
    recorded.append([misleading, make_result(4, check_id="b")])
    reading = TinyStore.reading(tmp_path, FakeClock(START_AT))
    assert [result.summary for result in reading.last("b", 9)] == ["result number 4"]


def test_a_reading_changes_nothing_and_stands_a_torn_tail(tmp_path: Path, recorded: TinyStore) -> None:
    newest = max((tmp_path / "results").iterdir())
    with newest.open("ab") as file:
        file.write(b'0badc0de {"id":131,"check')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    reading = TinyStore.reading(tmp_path, FakeClock(START_AT))
    assert sum(len(chunk) for chunk in reading.export()) == 130
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_reading_of_no_data_says_which_directory(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=str(tmp_path / "nowhere")):
        TinyStore.reading(tmp_path / "nowhere", FakeClock(START_AT))
