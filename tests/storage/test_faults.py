"""A store on a disk that is full or broken: nothing acknowledged is lost, nothing is shown twice, reading goes on."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeClock
from storage.samples import START_AT, FailingFiles, make_result, make_results

from dashboard.errors import StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from dashboard.model import CheckState
from dashboard.storage.appender import Limits
from dashboard.storage.store import TinyStore

LIMITS = Limits(reserve_bytes=8192, retry_s=0.005, waiting_rows=20)
ALWAYS = 1_000_000


@pytest.fixture
def files() -> FailingFiles:
    return FailingFiles()


@pytest.fixture
def store(tmp_path: Path, files: FailingFiles) -> Iterator[TinyStore]:
    opened = TinyStore(tmp_path, FakeClock(START_AT), limits=LIMITS, files=files)
    opened.open()
    opened.append(make_results(5))
    yield opened
    files.heal()
    opened.close()


def ids_in(store: TinyStore) -> list[int]:
    return sorted(row_id for columns in store.export_columns() for row_id in columns.ids)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline, "it never came to pass"
        threading.Event().wait(0.002)


class Background:
    """One call in a thread; `outcome()` waits for what it gave or raised."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._outcome: object = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome = self._call()
        except StoreError as error:
            self._outcome = error

    @property
    def is_waiting(self) -> bool:
        return self._thread.is_alive()

    def outcome(self) -> object:
        self._thread.join(10)
        assert not self.is_waiting
        return self._outcome


def reopened_ids(store: TinyStore, directory: Path) -> list[int]:
    store.close()
    again = TinyStore(directory, FakeClock(START_AT), limits=LIMITS)
    again.open()
    try:
        from_memory = [r.id for name in again.check_ids() for r in again.last(name, 999)]
        assert sorted(from_memory) == ids_in(again)
        return ids_in(again)
    finally:
        again.close()


@pytest.mark.parametrize("how", [errno.ENOSPC, "short"])
def test_one_write_without_room_is_cut_back_and_done_again(
    store: TinyStore, files: FailingFiles, tmp_path: Path, how: int | str
) -> None:
    files.fail("write", how)
    assert store.append(make_results(3)) == [6, 7, 8]
    assert ids_in(store) == list(range(1, 9))
    assert reopened_ids(store, tmp_path) == list(range(1, 9))


@pytest.mark.parametrize("how", [errno.ENOSPC, errno.EDQUOT, "short"])
def test_rows_wait_while_the_disk_is_full_and_go_in_by_themselves(
    store: TinyStore, files: FailingFiles, tmp_path: Path, how: int | str
) -> None:
    files.fail("allocate", errno.ENOSPC, ALWAYS)
    files.fail("write", how, ALWAYS)
    appending = Background(lambda: store.append(make_results(3)))
    until(lambda: store.health().state == "full")
    assert appending.is_waiting
    assert store.health().waiting_rows == 3
    assert "no room" in store.health().message
    assert ids_in(store) == [1, 2, 3, 4, 5], "readers go on, and see what is durable only"
    assert [result.id for result in store.last("check-0", 9)] == [4, 1]
    files.heal()
    files.fail("allocate", errno.ENOSPC)
    assert appending.outcome() == [6, 7, 8]
    assert "nearly full" in store.health().message, "there is room for rows, not yet for the reserve"
    assert store.append(make_results(1)) == [9]
    assert store.health().state == "ok"
    assert reopened_ids(store, tmp_path) == list(range(1, 10))


def test_the_reserve_is_really_there_given_up_when_full_and_taken_back(tmp_path: Path, files: FailingFiles) -> None:
    store = TinyStore(tmp_path, FakeClock(START_AT), limits=replace(LIMITS, retry_s=3600.0), files=files)
    store.open()
    reserve = tmp_path / "RESERVE"
    assert reserve.stat().st_blocks * 512 >= LIMITS.reserve_bytes
    files.fail("allocate", errno.ENOSPC)
    files.fail("write", errno.ENOSPC)
    store.append(make_results(1))
    assert not reserve.exists()
    assert store.health().state == "full"
    assert "nearly full" in store.health().message, "nothing waits: the rows went in"
    store.append(make_results(1))
    assert reserve.stat().st_size == LIMITS.reserve_bytes
    assert store.health().state == "ok"
    store.close()


def test_too_many_waiting_rows_are_refused(store: TinyStore, files: FailingFiles) -> None:
    files.fail("write", errno.ENOSPC, ALWAYS)
    waiting = Background(lambda: store.append(make_results(15)))
    until(lambda: store.health().waiting_rows == 15)
    with pytest.raises(StoreFull, match="15 results wait already"):
        store.append(make_results(6))
    files.heal()
    assert waiting.outcome() == list(range(6, 21))


def test_closing_lets_those_go_who_wait_for_room(store: TinyStore, files: FailingFiles, tmp_path: Path) -> None:
    files.fail("write", errno.ENOSPC, ALWAYS)
    waiting = Background(lambda: store.append(make_results(2)))
    until(lambda: store.health().state == "full")
    store.close()
    assert isinstance(waiting.outcome(), StoreFull)
    assert reopened_ids(store, tmp_path) == [1, 2, 3, 4, 5]


def test_saving_without_room_is_refused_after_a_moment(store: TinyStore, files: FailingFiles) -> None:
    state = CheckState(check_id="a", version=3)
    files.fail("write", errno.ENOSPC, ALWAYS)
    with pytest.raises(StoreFull):
        store.save(states=[state])
    assert store.states() == {}
    files.heal()
    store.save(states=[state])
    assert store.states()["a"].version == 3


def test_after_a_failed_sync_everything_is_there_once(store: TinyStore, files: FailingFiles, tmp_path: Path) -> None:
    files.fail("sync", errno.EIO)
    assert store.append(make_results(3)) == [6, 7, 8]
    assert ids_in(store) == list(range(1, 9))
    assert store.health().state == "ok"
    assert reopened_ids(store, tmp_path) == list(range(1, 9))


def test_rows_that_a_failed_sync_left_behind_are_not_shown_twice(
    store: TinyStore, files: FailingFiles, tmp_path: Path
) -> None:
    files.fail("truncate", errno.EIO)
    files.fail("sync", errno.EIO)
    store.append(make_results(3))
    written = b"".join(path.read_bytes() for path in (tmp_path / "results").iterdir())
    assert written.count(b'{"id":6,') == 2, "this test needs them on the disk twice"
    assert ids_in(store) == list(range(1, 9))
    assert reopened_ids(store, tmp_path) == list(range(1, 9))


def test_a_sync_that_finds_no_room_is_waited_for(store: TinyStore, files: FailingFiles, tmp_path: Path) -> None:
    files.fail("sync", errno.ENOSPC, times=6)
    assert store.append(make_results(3)) == [6, 7, 8]
    assert len(list((tmp_path / "results").iterdir())) == 2, "files that never held a row are left over"
    assert reopened_ids(store, tmp_path) == list(range(1, 9))


@pytest.mark.parametrize("call", ["sync", "write"])
def test_a_second_failure_ends_writing_and_reading_goes_on(
    store: TinyStore, files: FailingFiles, tmp_path: Path, call: str
) -> None:
    files.fail(call, errno.EIO, ALWAYS)
    with pytest.raises(StoreReadOnly):
        store.append(make_results(3))
    files.heal()
    with pytest.raises(StoreReadOnly):
        store.append(make_results(1))
    health = store.health()
    assert (health.state, health.waiting_rows) == ("read-only", 0)
    assert "writing failed twice" in health.message
    assert ids_in(store) == [1, 2, 3, 4, 5]
    assert set(reopened_ids(store, tmp_path)) >= {1, 2, 3, 4, 5}


def test_a_failed_sync_of_documents_is_survived(store: TinyStore, files: FailingFiles, tmp_path: Path) -> None:
    state = CheckState(check_id="a")
    store.save(states=[state])
    files.fail("sync", errno.EIO)
    store.save(states=[replace(state, version=1)])
    store.save(states=[replace(state, version=2)])
    assert store.states()["a"].version == 2
    store.close()
    again = TinyStore(tmp_path, FakeClock(START_AT), limits=LIMITS)
    again.open()
    assert again.states()["a"].version == 2
    again.close()


def test_a_disk_too_full_for_the_reserve_is_no_reason_not_to_start(tmp_path: Path, files: FailingFiles) -> None:
    files.fail("allocate", errno.ENOSPC)
    store = TinyStore(tmp_path, FakeClock(START_AT), limits=LIMITS, files=files)
    store.open()
    assert store.health().state == "full"
    store.append([make_result(1)])
    assert store.health().state == "ok"
    store.close()


def test_a_directory_that_cannot_be_written_is_named_with_the_user(tmp_path: Path, files: FailingFiles) -> None:
    (tmp_path / "results").write_text("in the way")
    store = TinyStore(tmp_path, FakeClock(START_AT), limits=LIMITS, files=files)
    with pytest.raises(StoreUnavailable, match=r"results.*user id \d+"):
        store.open()


@pytest.mark.parametrize("how", [errno.EROFS, errno.EACCES])
def test_a_read_only_disk_is_told_at_the_start(tmp_path: Path, how: int) -> None:
    files = FailingFiles()
    with_rows = TinyStore(tmp_path, FakeClock(START_AT), limits=LIMITS)
    with_rows.open()
    with_rows.append(make_results(1))
    with_rows.close()
    files.fail("truncate", how)
    store = TinyStore(tmp_path, FakeClock(START_AT), limits=LIMITS, files=files)
    with pytest.raises(StoreUnavailable, match=str(tmp_path)):
        store.open()
