"""What a hard look at the store once found: each of these was wrong."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fakes import FakeClock
from storage.samples import START_AT, FailingFiles, make_result
from tinydb import where

from dashboard.model import Retention
from dashboard.storage.appender import Limits
from dashboard.storage.keeper import Keeper
from dashboard.storage.store import TinyStore

LIMITS = Limits(reserve_bytes=0)
DOCUMENT = {"check_id": "a", "at": 1782864000.5, "status": "ok"}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_AT)


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[TinyStore]:
    opened = TinyStore(tmp_path, clock, limits=LIMITS)
    opened.open()
    yield opened
    opened.close()


def test_ids_of_a_check_whose_place_in_the_round_changes_are_read_back(store: TinyStore, clock: FakeClock) -> None:
    chance = random.Random(5)
    checks = [f"check-{number}" for number in range(60)]
    for number in range(90):
        chance.shuffle(checks)
        store.append([make_result(number, check_id=check_id) for check_id in checks])
    table = store.database.table("results")
    expected = sorted((each.doc_id, each["check_id"]) for each in table)
    store.compact()
    assert sorted((each.doc_id, each["check_id"]) for each in table) == expected
    assert len(table.search(where("check_id") == "check-3")) == 90
    assert len(store.last("check-0", 3, before_id=3000)) == 3
    assert all(table.get(doc_id=row_id)["check_id"] == check_id for row_id, check_id in expected[::97])
    store.append([make_result(90, check_id=check_id) for check_id in checks])
    store.compact()
    assert [each.doc_id for each in table] == list(range(1, 60 * 91 + 1))


def test_a_retention_that_changes_between_fold_and_merge_counts_nothing_twice(
    store: TinyStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append([make_result(number, check_id="a") for number in range(60)])
    edges_s = [START_AT.timestamp() - 86400, START_AT.timestamp() + 2 * 86400]
    before = store.rollups("a", edges_s)[0]
    clock.advance(86400)
    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "_merge_days", lambda *_, **__: None)
        store.maintain(clock.now())
    assert store.rollups("a", edges_s)[0].runs == before.runs
    store.keep(Retention(), {"a": Retention(five_minutes_s=5e6, hours_s=6e6, days_s=7e6)})
    store.maintain(clock.now())
    after = store.rollups("a", edges_s)[0]
    assert (after.runs, after.seconds) == (before.runs, pytest.approx(before.seconds))
    store.append([make_result(number, check_id="a") for number in range(60, 90)])
    clock.advance(86400)
    store.maintain(clock.now())
    assert sum(store.rollups("a", edges_s)[0].runs) == 90


def test_whoever_inserts_faster_than_the_disk_writes_waits_instead_of_being_refused(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = TinyStore(tmp_path, clock, limits=replace(LIMITS, waiting_rows=50))
    store.open()
    table = store.database.table("results")
    for _ in range(5):
        table.insert_multiple([DOCUMENT] * 40)
    table.insert_multiple([DOCUMENT] * 120)
    table.insert(DOCUMENT)
    assert len(table) == 321
    assert store.load([[make_result(number) for number in range(200)] for _ in range(3)]) == 600
    assert store.health().rows == 921
    store.close()


def test_what_was_truncated_does_not_come_back(tmp_path: Path, store: TinyStore, clock: FakeClock) -> None:
    table = store.database.table("results")
    table.insert(DOCUMENT)
    table.truncate()
    table.insert(DOCUMENT)
    store.close()
    again = TinyStore(tmp_path, clock, limits=LIMITS)
    again.open()
    assert [each.doc_id for each in again.database.table("results")] == [2]
    again.close()


def test_metrics_keep_their_order(store: TinyStore) -> None:
    store.append([make_result(number, check_id="a", metrics={"z": 1.5, "a": 2.5}) for number in range(3)])
    store.compact()
    [result] = store.last("a", 1)
    assert list(result.metrics) == ["z", "a"]


def test_a_fault_of_ours_does_not_end_sealing(
    store: TinyStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append([make_result(1)])
    clock.advance(LIMITS.journal_s)
    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "_merge_by_day", lambda _: [][0])
        store.maintain(clock.now())
    assert "list index out of range" in store.health().warnings[0]
    clock.advance(60)
    store.maintain(clock.now())
    assert store.health().warnings == ()


def test_a_disk_that_turns_read_only_is_waited_for(tmp_path: Path, clock: FakeClock) -> None:
    files = FailingFiles()
    store = TinyStore(tmp_path, clock, limits=replace(LIMITS, retry_s=0.005), files=files)
    store.open()
    files.fail("write", errno.EROFS, times=3)
    assert store.append([make_result(1)]) == [1]
    assert store.health().state == "ok"
    store.close()


def test_the_table_gives_the_newest_a_range_and_statistics(store: TinyStore) -> None:
    store.append([make_result(number, check_id="a") for number in range(20)])
    table = store.database.table("results")
    assert [each.doc_id for each in table.last("a", 3)] == [20, 19, 18]
    start_s, end_s = make_result(5).at.timestamp(), make_result(8).at.timestamp()
    assert [each.doc_id for each in table.between("a", start_s, end_s)] == [6, 7, 8]
    assert [each.doc_id for each in table.iter_search(where("status") == "critical")] == [4, 11, 18]
    assert sum(map(len, table.export())) == 20
    assert sum(table.stats("a", [start_s, end_s])[0].runs) == 3


def test_a_forgotten_check_leaves_no_incident_and_no_id_is_used_again(
    tmp_path: Path, store: TinyStore, clock: FakeClock
) -> None:
    from storage.test_contract import INCIDENT, STATE

    store.append([make_result(1, check_id="a")])
    store.save(states=[STATE], incidents=[INCIDENT])
    assert store.forget("a") == 1
    assert (store.states(), store.incidents()) == ({}, [])
    store.close()
    again = TinyStore(tmp_path, clock, limits=LIMITS)
    again.open()
    assert again.next_incident_id() > INCIDENT.id
    again.close()


def test_years_of_past_results_are_folded_at_once(store: TinyStore, clock: FakeClock) -> None:
    results = [make_result(0, check_id="a", at=START_AT - timedelta(days=day)) for day in range(1200, 0, -1)]
    assert store.load([results]) == 1200
    store.compact()
    edges_s = [START_AT.timestamp() - 1300 * 86400, START_AT.timestamp()]
    assert sum(store.rollups("a", edges_s)[0].runs) == 1200
