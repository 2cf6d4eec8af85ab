"""What every store promises, asked of each one: add a factory to STORES and it is held to all of this."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from fakes import FakeClock, as_columns
from storage.samples import START_AT, CompactingStore, SealingStore, make_result, make_results

from checks.base import Clock, Detail, Status
from dashboard.errors import StoreError
from dashboard.model import CheckState, Incident
from dashboard.rollup import fold
from dashboard.storage.appender import Limits
from dashboard.storage.base import Store
from dashboard.storage.store import TinyStore
from dashboard.uptime import Cursor

Factory = Callable[[Path, Clock], Store]

SMALL = Limits(journal_rows=10, group_rows=12, merged_parts=3, reserve_bytes=4096, retry_s=0.01, snapshot_bytes=2000)

STORES: dict[str, Factory] = {
    "tiny": lambda path, clock: TinyStore(path, clock, limits=Limits(reserve_bytes=4096)),
    "tiny, many journals": lambda path, clock: TinyStore(path, clock, limits=SMALL),
    "tiny, mostly sealed": lambda path, clock: SealingStore(path, clock, limits=replace(SMALL, journal_rows=1)),
    "tiny, all merged": lambda path, clock: CompactingStore(path, clock, limits=SMALL),
}


@pytest.fixture(params=STORES.values(), ids=STORES.keys())
def factory(request: pytest.FixtureRequest) -> Factory:
    return request.param


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_AT + timedelta(hours=1))


@pytest.fixture
def store(factory: Factory, tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    opened = factory(tmp_path, clock)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def reopened(factory: Factory, tmp_path: Path, clock: FakeClock, store: Store) -> Iterator[Callable[[], Store]]:
    """Closes the store and opens another on the same data."""
    others: list[Store] = []

    def reopen() -> Store:
        for each in (store, *others):
            each.close()
        others.append(factory(tmp_path, clock))
        others[-1].open()
        return others[-1]

    yield reopen
    for each in others:
        each.close()


def exported(store: Store, **filters: object) -> list[int]:
    return [result.id for chunk in store.export(**filters) for result in chunk]  # type: ignore[arg-type]


def test_a_result_comes_back_as_it_went_in(store: Store, reopened: Callable[[], Store]) -> None:
    bad = make_result(
        3,
        check_id="shop",
        at=datetime(2026, 3, 1, 0, 0, 0, 1, UTC),
        status=Status.UNKNOWN,
        summary='quotes " and ünïcode \u2028 and a newline\n',
        duration_s=0.1 + 0.2,
        trigger="manual",
        by="cli:ada",
        metrics={"response_time": 1e-9, "size": 3.0},
        detail=Detail(phase="tls", expected="a", got="b", excerpt="<b>", facts={"exit code": "2"}),
    )
    [row_id] = store.append([bad])
    assert store.last("shop", 1) == [replace(bad, id=row_id)]
    assert reopened().last("shop", 1) == [replace(bad, id=row_id)]


@pytest.mark.parametrize("microsecond", [0, 1, 123457, 499999, 500000, 999999])
def test_an_instant_is_exact_to_the_microsecond(store: Store, microsecond: int) -> None:
    at = datetime(2031, 12, 31, 23, 59, 59, microsecond, UTC)
    store.append([make_result(1, check_id="a", at=at)])
    assert store.last("a", 1)[0].at == at


def test_detail_is_kept_with_bad_results_only(store: Store) -> None:
    detail = Detail(got="something")
    store.append([make_result(0, check_id="a", status=status, detail=detail) for status in (Status.OK, Status.WARNING)])
    warning, ok = store.last("a", 2)
    assert (warning.detail, ok.detail) == (detail, Detail())


def test_text_that_no_encoding_can_hold_is_replaced_instead_of_refused(store: Store) -> None:
    store.append([make_result(0, check_id="a", summary="broken \udcff text")])
    assert store.last("a", 1)[0].summary == "broken ? text"


def test_ids_ascend_over_batches_and_restarts(store: Store, reopened: Callable[[], Store]) -> None:
    first = store.append(make_results(20))
    second = reopened().append(make_results(5))
    assert first == sorted(set(first))
    assert second == sorted(set(second))
    assert min(second) > max(first)


def test_an_empty_batch_is_nothing(store: Store) -> None:
    assert store.append([]) == []
    assert store.health().rows == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["duration_s", "covers_s", "metrics"])
def test_a_batch_with_a_number_that_is_not_finite_is_refused_whole(store: Store, field: str, value: float) -> None:
    poisoned = make_result(1, **{field: {"load": value} if field == "metrics" else value})
    with pytest.raises(ValueError, match="finite"):
        store.append([make_result(0), poisoned])
    assert exported(store) == []
    ids = store.append(make_results(1))
    assert ids == [1], "a refused batch took ids"


def test_last_gives_the_newest_first(store: Store, reopened: Callable[[], Store]) -> None:
    results = make_results(60)
    ids = store.append(results)
    expected = [
        replace(each, id=row_id) for each, row_id in zip(results, ids, strict=True) if each.check_id == "check-1"
    ]
    for each in (store, reopened()):
        assert each.last("check-1", 8) == expected[:-9:-1]
        assert each.last("check-1", 1000) == expected[::-1]
        assert each.last("check-1", 4, before_id=expected[10].id) == expected[6:10][::-1]
        assert each.last("check-1", 4, before_id=expected[0].id) == []
        assert each.last("check-1", 0) == []
        assert each.last("nobody", 4) == []


def test_last_can_be_asked_for_bad_results_only(store: Store, reopened: Callable[[], Store]) -> None:
    results = make_results(100)
    ids = store.append(results)
    bad = [i for i, result in zip(ids, results, strict=True) if result.check_id == "check-0" and result.status.is_bad]
    for each in (store, reopened()):
        assert [result.id for result in each.last("check-0", 3, bad_only=True)] == bad[:-4:-1]
        assert [result.id for result in each.last("check-0", 9, bad_only=True, before_id=bad[2])] == bad[1::-1]


def test_between_includes_its_start_and_excludes_its_end(store: Store, reopened: Callable[[], Store]) -> None:
    results = [make_result(number, check_id="a") for number in range(40)]
    ids = store.append(results)
    for each in (store, reopened()):
        found = each.between("a", results[5].at, results[30].at)
        assert [result.id for result in found] == ids[5:30]
        assert each.between("a", results[39].at + timedelta(seconds=1), results[39].at + timedelta(days=1)) == []
        assert each.between("nobody", results[0].at, results[39].at) == []


def test_between_finds_results_of_a_clock_that_went_back(store: Store) -> None:
    numbers = [0, 1, 2, 9, 10, 3, 4, 11]
    ids = store.append([make_result(number, check_id="a") for number in numbers])
    found = store.between("a", make_result(3).at, make_result(10).at)
    assert [result.id for result in found] == [ids[3], ids[5], ids[6]]


def test_series_gives_what_between_gives(store: Store) -> None:
    store.append(make_results(90))
    columns = store.series("check-2", make_result(10).at, make_result(80).at)
    assert columns.results() == store.between("check-2", make_result(10).at, make_result(80).at)
    assert len(columns) == len(columns.results()) > 20
    assert columns.metric_names() == ["response_time", "size"]
    assert list(columns.metric("size")) == [row["size"] for row in columns.metrics]


def test_a_metric_that_a_row_lacks_is_nan_in_a_series_and_absent_in_a_result(store: Store) -> None:
    store.append(
        [make_result(0, check_id="a", metrics=metrics) for metrics in ({"x": 1.0}, {"y": 2.0}, {}, {"x": 3.0})]
    )
    columns = store.series("a", START_AT, START_AT + timedelta(days=1))
    assert [result.metrics for result in store.last("a", 4)] == [{"x": 3.0}, {}, {"y": 2.0}, {"x": 1.0}]
    assert list(columns.metric("x")) == pytest.approx([1.0, math.nan, math.nan, 3.0], nan_ok=True)
    assert list(columns.metric("never")) == pytest.approx([math.nan] * 4, nan_ok=True)


def test_export_gives_everything_oldest_first(store: Store, reopened: Callable[[], Store]) -> None:
    results = make_results(70)
    ids = store.append(results)
    expected = [replace(each, id=row_id) for each, row_id in zip(results, ids, strict=True)]
    for each in (store, reopened()):
        assert [result for chunk in each.export() for result in chunk] == expected
        assert [result for columns in each.export_columns() for result in columns.results()] == expected


def test_every_exported_row_has_its_own_metrics_and_no_others(store: Store) -> None:
    found: list[dict[str, float]] = [{"x": 1.0}, {}, {"y": 2.0}, {"x": 3.0, "y": -0.0}, {}, {"z": 1e-300}]
    rows = [make_result(number, metrics=metrics) for number, metrics in enumerate(found * 3)]
    store.append(rows)
    assert [dict(result.metrics) for chunk in store.export() for result in chunk] == found * 3
    assert [dict(row) for columns in store.export_columns() for row in columns.metrics] == found * 3


def test_a_slow_run_is_exported_where_it_began(store: Store) -> None:
    store.append([make_result(number, check_id="quick") for number in range(1, 30)])
    store.append([make_result(5, check_id="slow", at=make_result(5).at + timedelta(seconds=1))])
    store.append([make_result(number, check_id="quick") for number in range(30, 60)])
    instants = [result.at for chunk in store.export() for result in chunk]
    assert instants == sorted(instants)


def test_export_filters_by_check_status_and_time(store: Store) -> None:
    results = make_results(70)
    ids = store.append(results)
    start_at, end_at = results[10].at, results[60].at

    def fitting(fits: Callable[[object], bool]) -> list[int]:
        return [row_id for row_id, result in zip(ids, results, strict=True) if fits(result)]

    assert exported(store, check_ids=["check-1"]) == fitting(lambda r: r.check_id == "check-1")
    assert exported(store, check_ids={"check-1", "check-2", "no"}) == fitting(
        lambda r: r.check_id in ("check-1", "check-2")
    )
    assert exported(store, check_ids=[]) == []
    assert exported(store, statuses=[Status.CRITICAL]) == fitting(lambda r: r.status is Status.CRITICAL)
    assert exported(store, start_at=start_at, end_at=end_at) == ids[10:60]
    assert exported(store, start_at=start_at, check_ids=["check-0"], statuses=[Status.OK]) == fitting(
        lambda r: r.at >= start_at and r.check_id == "check-0" and r.status is Status.OK
    )


def test_export_gives_what_was_there_when_it_was_asked_for(store: Store) -> None:
    ids = store.append(make_results(12))
    chunks, of_one = store.export(), store.export(check_ids=["check-1"])
    store.append(make_results(3, first=12))
    store.append(make_results(40, first=15))
    assert [result.id for chunk in chunks for result in chunk] == ids
    assert [result.id for chunk in of_one for result in chunk] == ids[1::3]


def test_an_export_can_be_left_half_way(store: Store) -> None:
    store.append(make_results(60))
    chunks = store.export_columns()
    assert len(next(iter(chunks))) > 0
    chunks.close()  # type: ignore[attr-defined]
    assert list(chunks) == []


def test_check_ids_names_every_check_with_results(store: Store, reopened: Callable[[], Store]) -> None:
    store.append(make_results(30))
    assert store.check_ids() == {"check-0", "check-1", "check-2"}
    assert reopened().check_ids() == {"check-0", "check-1", "check-2"}


def test_a_hostile_check_id_is_not_mistaken_for_another(store: Store) -> None:
    misleading = make_result(3, check_id="a", detail=Detail(facts={"check_id": "b", "a": "b"}))
    store.append([misleading, make_result(4, check_id='a","b'), make_result(5, check_id="b")])
    store.append(make_results(40))
    assert [result.summary for result in store.last("b", 5)] == ["result number 5"]
    assert [result.summary for result in store.last('a","b', 5)] == ["result number 4"]
    assert exported(store, check_ids=["b"]) == [3]


EDGES_S = [START_AT.timestamp() + offset for offset in (-100, 0, 77.7, 300, 301, 1000)]


@pytest.mark.parametrize("metrics", [None, ("size",), ()])
def test_rollups_are_those_of_all_results(
    store: Store, reopened: Callable[[], Store], metrics: tuple[str, ...] | None
) -> None:
    store.append(make_results(60))
    store.append([make_result(7, check_id="check-1"), *make_results(40, first=60)])
    rows = [row for chunk in store.export(check_ids=["check-1"]) for row in chunk]
    rows.sort(key=lambda row: row.id)
    for now_s in (None, rows[-1].at.timestamp() + 5.0):
        expected = fold(as_columns(rows), EDGES_S, now_s=now_s, wanted=metrics)
        for each in (store, reopened()):
            found = each.rollups("check-1", EDGES_S, now_s=now_s, metrics=metrics)
            for bucket, same in zip(found, expected, strict=True):
                assert (bucket.start_s, bucket.end_s, bucket.runs) == (same.start_s, same.end_s, same.runs)
                assert bucket.seconds == pytest.approx(same.seconds, abs=1e-3)
                assert dict(bucket.metrics) == {
                    name: replace(metric, total=pytest.approx(metric.total), histogram=dict(metric.histogram))
                    for name, metric in same.metrics.items()
                }


def test_rollups_of_nobody_are_empty_buckets(store: Store) -> None:
    store.append(make_results(10))
    found = store.rollups("nobody", EDGES_S, now_s=EDGES_S[-1])
    assert [(each.start_s, each.end_s) for each in found] == list(pairwise(EDGES_S))
    assert all(sum(each.seconds) == sum(each.runs) == len(each.metrics) == 0 for each in found)


def test_the_cursor_stands_where_all_results_leave_it(store: Store, reopened: Callable[[], Store]) -> None:
    rows = [*make_results(50), make_result(12, check_id="check-2")]
    store.append(rows)
    expected = Cursor()
    for row in rows:
        if row.check_id == "check-2":
            expected.add(row.at.timestamp(), row.covers_s, int(row.status))
    for each in (store, reopened()):
        cursor = each.cursor("check-2")
        assert cursor.marks() == expected.marks()
        cursor.add(2e9, 10.0, 0)
        assert each.cursor("check-2").marks() == expected.marks(), "the cursor is the caller's own"
    assert store.cursor("nobody").marks() == []


def test_a_forgotten_check_is_gone_and_the_others_stay(store: Store, reopened: Callable[[], Store]) -> None:
    store.append(make_results(60))
    store.save(states=[replace(STATE, check_id="check-1")], units={"check-1": {"size": "B"}, "check-0": {"size": "B"}})
    before = store.revision
    assert store.forget("check-1") == 20
    assert store.forget("check-1") == 0
    assert store.forget("nobody") == 0
    assert store.revision > before
    for each in (store, reopened()):
        assert each.check_ids() == {"check-0", "check-2"}
        assert (each.last("check-1", 9), exported(each, check_ids=["check-1"])) == ([], [])
        assert each.between("check-1", START_AT, START_AT + timedelta(days=1)) == []
        assert len(exported(each)) == each.health().rows == 40
        assert dict(each.inventory().checks) == {"check-0": 20, "check-2": 20}
        assert each.cursor("check-1").marks() == []
        assert not any(sum(bucket.runs) for bucket in each.rollups("check-1", EDGES_S, now_s=EDGES_S[-1]))
        assert sum(sum(bucket.seconds) for bucket in each.rollups("check-1", EDGES_S, now_s=EDGES_S[-1])) == 0
        assert (each.states(), each.units()) == ({}, {"check-0": {"size": "B"}})


def test_a_forgotten_check_can_record_anew(store: Store, reopened: Callable[[], Store]) -> None:
    store.append(make_results(30))
    store.forget("check-1")
    ids = store.append([make_result(number, check_id="check-1") for number in (31, 2, 32)])
    store.append(make_results(12, first=33))
    for each in (store, reopened(), reopened()):
        assert [result.id for result in each.last("check-1", 99)][:-4:-1] == ids
        assert exported(each, check_ids=["check-1"])[0] == ids[1], "oldest first"
    edges_s = [make_result(0).at.timestamp(), make_result(31).at.timestamp(), make_result(33).at.timestamp()]
    past, new = reopened().rollups("check-1", edges_s)
    assert (sum(past.runs), sum(new.runs)) == (1, 2)
    assert sum(past.seconds) == 0, "the time of what was forgotten is not counted, nor is it taken"
    assert sum(new.seconds) == pytest.approx(20, abs=1e-3)


def test_what_was_forgotten_stays_so_when_the_next_result_comes_after_a_restart(
    store: Store, reopened: Callable[[], Store]
) -> None:
    store.append(make_results(4))
    store.forget("check-1")
    [row_id] = reopened().append([make_result(40, check_id="check-1")])
    for each in (reopened(), reopened()):
        assert [result.id for result in each.last("check-1", 9)] == [row_id]
        each.compact()
    assert [result.id for result in reopened().last("check-1", 9)] == [row_id]


def test_the_inventory_counts_what_there_is(store: Store, reopened: Callable[[], Store]) -> None:
    store.append(make_results(50))
    for each in (store, reopened()):
        inventory = each.inventory()
        assert dict(inventory.checks) == {"check-0": 17, "check-1": 17, "check-2": 16}
        assert sum(stored.rows for stored in inventory.classes if stored.name in ("journals", "raw")) == 50
        assert inventory.size_bytes >= each.health().size_bytes > 0
        assert inventory.free_bytes > 0


STATE = CheckState(
    check_id="a",
    status=Status.CRITICAL,
    since_at=START_AT,
    recent=(Status.OK, Status.CRITICAL),
    pending=1,
    pending_since_at=START_AT + timedelta(microseconds=1),
    incident_id=4,
    version=7,
    last_id=99,
)
INCIDENT = Incident(
    id=4,
    check_id="a",
    opened_at=START_AT,
    confirmed_at=START_AT + timedelta(seconds=5),
    status=Status.CRITICAL,
    worst=Status.CRITICAL,
    summary="connection refused",
)


def test_states_and_incidents_come_back_as_they_went_in(store: Store, reopened: Callable[[], Store]) -> None:
    fresh = CheckState(check_id="b")
    closed = replace(INCIDENT, id=5, check_id="b", status=Status.OK, closed_at=START_AT + timedelta(hours=1))
    store.save(states=[STATE, fresh], incidents=[INCIDENT, closed])
    for each in (store, reopened()):
        assert each.states() == {"a": STATE, "b": fresh}
        assert each.incidents() == [closed, INCIDENT]
        assert each.incidents(open_only=True) == [INCIDENT]
        assert each.incidents(check_id="b") == [closed]
        assert each.incidents(limit=1) == [closed]


def test_saving_again_replaces(store: Store, reopened: Callable[[], Store]) -> None:
    for version in range(40):
        store.save(states=[replace(STATE, version=version)], incidents=[replace(INCIDENT, summary=str(version))])
    for each in (store, reopened()):
        assert each.states()["a"].version == 39
        assert [incident.summary for incident in each.incidents()] == ["39"]


def test_units_are_merged_into_what_is_known(store: Store, reopened: Callable[[], Store]) -> None:
    store.save(units={"a": {"response_time": "s"}, "b": {"load": ""}})
    store.save(units={"a": {"size": "B"}})
    assert reopened().units() == {"a": {"response_time": "s", "size": "B"}, "b": {"load": ""}}


def test_an_incident_id_is_never_given_twice(store: Store, reopened: Callable[[], Store]) -> None:
    first, second = store.next_incident_id(), store.next_incident_id()
    store.save(incidents=[replace(INCIDENT, id=first), replace(INCIDENT, id=second)])
    assert len({first, second, reopened().next_incident_id()}) == 3


def test_the_revision_grows_with_every_durable_change(store: Store) -> None:
    seen = [store.revision]
    store.append(make_results(1))
    seen.append(store.revision)
    store.save(states=[STATE])
    seen.append(store.revision)
    assert seen == sorted(set(seen))


def test_many_threads_append_and_read_without_loss(store: Store) -> None:
    barrier = threading.Barrier(6)
    failures: list[BaseException] = []

    def append(writer: int) -> None:
        barrier.wait()
        for number in range(20):
            store.append([make_result(number, check_id=f"writer-{writer}")])

    def read() -> None:
        barrier.wait()
        for _ in range(40):
            ids = exported(store)
            assert ids == sorted(set(ids))
            newest = store.last("writer-0", 5)
            assert newest == sorted(newest, key=lambda result: -result.id)

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    jobs: list[Callable[[], None]] = [*(lambda writer=w: append(writer) for w in range(4)), read, read]  # type: ignore[misc]
    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for writer in range(4):
        found = [result.summary for result in store.last(f"writer-{writer}", 99)]
        assert found == [f"result number {number}" for number in reversed(range(20))]


def test_health_counts_the_rows(store: Store, reopened: Callable[[], Store]) -> None:
    store.append(make_results(35))
    for each in (store, reopened()):
        health = each.health()
        assert (health.state, health.rows, health.waiting_rows, health.message) == ("ok", 35, 0, "")
        assert 0 <= health.rows_in_memory <= health.rows
        assert health.size_bytes > 500
        assert health.warnings == ()


def test_a_closed_store_takes_nothing_more(store: Store, reopened: Callable[[], Store]) -> None:
    store.append(make_results(3))
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.append(make_results(1))
    with pytest.raises(StoreError, match="closed"):
        store.save(states=[STATE])
    again = reopened()
    assert exported(again) == [1, 2, 3]
    assert again.states() == {}
