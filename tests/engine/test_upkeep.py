"""The store is kept in order by a thread, and a person may ask for more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime

import pytest
from fakes import FakeClock, MemoryStore, make_result

from dashboard.engine.upkeep import StoreUpkeep
from dashboard.errors import RunRefused, StoreError


class WatchedStore(MemoryStore):
    """Notes what is asked of it; `compact` waits until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.maintained = threading.Semaphore(0)
        self.compacted = threading.Semaphore(0)
        self.may_compact = threading.Event()
        self.fault: StoreError | None = None

    def maintain(self, now_at: datetime) -> None:
        self.maintained.release()

    def compact(self) -> None:
        self.compacted.release()
        assert self.may_compact.wait(10)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def wake() -> threading.Event:
    return threading.Event()


@pytest.fixture
def upkeep(store: WatchedStore, wake: threading.Event) -> Iterator[StoreUpkeep]:
    made = StoreUpkeep(store, wake=wake, is_configured=lambda check_id: check_id == "api", clock=FakeClock())
    made.start()
    yield made
    store.may_compact.set()
    made.stop()


def test_a_closed_journal_wakes_it(upkeep: StoreUpkeep, store: WatchedStore, wake: threading.Event) -> None:
    wake.set()
    assert store.maintained.acquire(timeout=10)


def test_compacting_goes_on_in_the_background_and_is_told(upkeep: StoreUpkeep, store: WatchedStore) -> None:
    upkeep.compact()
    upkeep.compact()
    assert store.compacted.acquire(timeout=10)
    assert upkeep.is_compacting
    store.may_compact.set()
    assert store.compacted.acquire(timeout=0.05) is False, "the second wish joined the first"


@pytest.mark.parametrize("fault", [StoreError("no room")])
def test_a_failed_compaction_ends_nothing(
    upkeep: StoreUpkeep, store: WatchedStore, wake: threading.Event, fault: StoreError
) -> None:
    store.fault = fault
    store.may_compact.set()
    upkeep.compact()
    assert store.compacted.acquire(timeout=10)
    while store.maintained.acquire(blocking=False):
        pass
    wake.set()
    assert store.maintained.acquire(timeout=10), "it goes on"


def test_the_history_of_a_configured_check_is_not_forgotten(upkeep: StoreUpkeep, store: WatchedStore) -> None:
    store.append([make_result("api"), make_result("gone"), make_result("gone")])
    with pytest.raises(RunRefused, match="'api' is configured"):
        upkeep.forget("api")
    with pytest.raises(RunRefused, match="no history"):
        upkeep.forget("never")
    assert upkeep.forget("gone") == 2
    assert store.check_ids() == {"api"}
