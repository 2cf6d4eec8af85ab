"""The results as a TinyDB table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeClock
from storage.samples import START_AT, CompactingStore, SealingStore, make_result, make_results
from tinydb import Query, where
from tinydb.table import Document

from checks.base import Status
from dashboard.errors import StoreError
from dashboard.storage.appender import Limits
from dashboard.storage.planner import Plan, only_upper_bound, plan
from dashboard.storage.series import SeriesTable
from dashboard.storage.store import TinyStore

START_S = START_AT.timestamp()
DOCUMENT = {"check_id": "a", "at": START_S, "status": "ok"}


SMALL = Limits(reserve_bytes=0, journal_rows=10, group_rows=12, merged_parts=3)


@pytest.fixture(params=["journal", "journals", "sealed", "merged"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TinyStore]:
    kinds = {"sealed": SealingStore, "merged": CompactingStore}
    limits = Limits(reserve_bytes=0) if request.param == "journal" else SMALL
    opened = kinds.get(request.param, TinyStore)(tmp_path, FakeClock(START_AT), limits=limits)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def table(store: TinyStore) -> SeriesTable:
    found = store.database.table("results")
    assert isinstance(found, SeriesTable)
    return found


QUERIES = [
    where("check_id") == "check-1",
    (where("check_id") == "check-1") & (where("at") >= START_S + 100),
    (where("at") > START_S + 100) & (where("at") < START_S + 300) & (where("check_id") == "check-2"),
    (where("at") >= make_result(5).at.timestamp()) & (where("at") <= make_result(9).at.timestamp()),
    where("at") == make_result(7).at.timestamp(),
    (where("check_id") == "check-1") & (where("check_id") == "check-2"),
    (where("check_id") == "check-1") | (where("at") < START_S + 50),
    ~(where("check_id") == "check-1"),
    (where("check_id") == "check-1") & ~(where("status") == "ok"),
    where("metrics")["size"] > 30,
    where("detail")["facts"]["address"] == "192.0.2.1",
    where("summary").search("number 1.$"),
    Query().fragment({"status": "critical", "check_id": "check-0"}),
    where("check_id").one_of(["check-0", "check-1"]),
    where("at").test(lambda at: at > START_S + 200),
    where("check_id").map(str.upper) == "CHECK-1",
    where("nothing").exists(),
    lambda document: document["check_id"] == "check-1",
]


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_a_query_gives_what_a_look_at_every_document_gives(store: TinyStore, table: SeriesTable, query: object) -> None:
    store.append(make_results(50))
    expected = [document for document in table if query(document)]  # type: ignore[operator]
    found = table.search(query)  # type: ignore[arg-type]
    assert found == expected
    assert [document.doc_id for document in found] == [document.doc_id for document in expected]
    assert table.count(query) == len(expected)  # type: ignore[arg-type]
    assert table.get(query) == (expected[0] if expected else None)  # type: ignore[arg-type]
    assert table.contains(query) is bool(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (where("check_id") == "a", Plan(check_id="a")),
        ((where("check_id") == "a") & (where("at") >= 5), Plan(check_id="a", start_s=5.0)),
        ((where("at") > 1) & ((where("at") < 9) & (where("at") <= 7)), Plan(start_s=1.0, end_s=7.0)),
        (where("at") == 3, Plan(start_s=3.0, end_s=3.0)),
        ((where("check_id") == "a") & where("x").exists(), Plan(check_id="a")),
        ((where("check_id") == "a") | (where("at") > 5), Plan()),
        (~(where("check_id") == "a"), Plan()),
        (where("check_id") != "a", Plan()),
        (where("check_id") == 5, Plan()),
        (where("deep")["check_id"] == "a", Plan()),
        (where("at") > "text", Plan()),
        (where("at") > True, Plan()),
        (where("at") != 5, Plan()),
        (where("at") > 1 << 2000, Plan()),
        (where("at").map(abs) > 5, Plan()),
        (lambda document: True, Plan()),
    ],
)
def test_the_plan_of_a_query(query: object, expected: Plan) -> None:
    assert plan(query) == expected


def test_only_a_bare_upper_bound_of_time_is_one() -> None:
    assert only_upper_bound(where("at") < 5) == 5.0
    assert only_upper_bound((where("at") < 5) & (where("check_id") == "a")) is None
    assert only_upper_bound(where("at") <= 5) is None
    assert only_upper_bound(None) is None


def test_a_document_that_is_inserted_is_a_result(store: TinyStore, table: SeriesTable) -> None:
    row_id = table.insert({**DOCUMENT, "status": "critical", "metrics": {"x": 1}, "detail": {"got": "that"}})
    table.wait(row_id)
    [result] = store.last("a", 1)
    assert (result.id, result.at, result.status) == (row_id, START_AT, Status.CRITICAL)
    assert (result.metrics, result.detail.got) == ({"x": 1.0}, "that")
    assert table.get(doc_id=row_id) == {
        "check_id": "a",
        "at": START_S,
        "status": "critical",
        "summary": "",
        "duration_s": 0.0,
        "covers_s": 0.0,
        "trigger": "schedule",
        "by": "",
        "worker": "",
        "metrics": {"x": 1.0},
        "detail": {"got": "that"},
    }


def test_documents_are_found_by_id(store: TinyStore, table: SeriesTable) -> None:
    ids = store.append(make_results(40))
    found = table.get(doc_ids=[ids[30], ids[2], 9999, ids[2]])
    assert isinstance(found, list)
    assert [(each.doc_id, each["summary"]) for each in found] == [
        (ids[2], "result number 2"),
        (ids[30], "result number 30"),
    ]
    assert table.contains(doc_id=ids[17])
    assert table.get(doc_id=9999) is None


def test_all_iteration_and_length_agree(store: TinyStore, table: SeriesTable) -> None:
    ids = store.append(make_results(33))
    assert [each.doc_id for each in table.all()] == [each.doc_id for each in table] == ids
    assert len(table) == 33


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"check_id": ""}, "check_id"),
        ({"at": "noon"}, "at: must be a number"),
        ({"at": float("nan")}, "at: must be finite"),
        ({"status": "fine"}, "status"),
        ({"trigger": "whim"}, "trigger"),
        ({"summary": 5}, "summary"),
        ({"metrics": {"x": "1"}}, "x: must be a number"),
        ({"colour": "red"}, "'colour': not a field"),
    ],
)
def test_a_document_that_is_no_result_is_refused_with_its_whole_batch(
    table: SeriesTable, fault: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        table.insert_multiple([DOCUMENT, {**DOCUMENT, **fault}])
    assert len(table) == 0


def test_ids_come_from_the_store(table: SeriesTable) -> None:
    with pytest.raises(ValueError, match="ids from the store"):
        table.insert(Document(DOCUMENT, 5))


def test_updates_are_refused(table: SeriesTable) -> None:
    table.insert(DOCUMENT)
    for refused in (
        lambda: table.update({"status": "ok"}),
        lambda: table.update_multiple([({"status": "ok"}, where("at") > 0)]),
        lambda: table.upsert({"status": "ok"}, where("at") > 0),
        lambda: table.remove(where("check_id") == "a"),
        lambda: table.remove(doc_ids=[1]),
    ):
        with pytest.raises(StoreError, match=r"append-only|by age"):
            refused()
    assert len(table) == 1


def test_what_is_inserted_has_its_id_at_once_and_is_durable_a_moment_later(table: SeriesTable, tmp_path: Path) -> None:
    ids = [table.insert(DOCUMENT), *table.insert_multiple([DOCUMENT] * 3)]
    assert ids == [1, 2, 3, 4]
    table.wait(ids[2])
    assert sum(path.read_bytes().count(b'"check_id":"a"') for path in (tmp_path / "results").glob("*.ndj")) >= 3
    table.wait()
    table.wait(9999)
    assert len(TinyStore.reading(tmp_path, FakeClock(START_AT)).last("a", 9)) == 4


def test_a_read_of_the_table_sees_what_was_inserted_before_it(store: TinyStore, table: SeriesTable) -> None:
    for number in range(1, 30):
        table.insert(DOCUMENT)
        found: list[object] = [
            len(table),
            len(table.all()),
            table.count(where("check_id") == "a"),
            len(table.search(where("at") == START_S)),
            number if table.contains(doc_id=number) else 0,
        ]
        assert found[number % 5] == number


def test_what_was_inserted_is_there_after_a_close(store: TinyStore, table: SeriesTable, tmp_path: Path) -> None:
    table.insert_multiple([DOCUMENT] * 25)
    store.close()
    again = TinyStore(tmp_path, FakeClock(START_AT), limits=SMALL)
    again.open()
    assert len(again.database.table("results")) == 25
    again.close()


@pytest.mark.parametrize("at", [1e12, 1e300, 253_402_300_800.0, -1.0, -1e12])
def test_an_instant_that_no_calendar_has_is_refused(table: SeriesTable, at: float) -> None:
    with pytest.raises(ValueError, match="at: must be"):
        table.insert({**DOCUMENT, "at": at})
    with pytest.raises(ValueError, match="at: must be"):
        table.insert({**DOCUMENT, "at": at, "metrics": {"x": 1.0}, "duration_s": 0.5, "covers_s": 15.0})


def test_removal_by_age_gives_up_whole_files(tmp_path: Path) -> None:
    store = TinyStore(tmp_path, FakeClock(START_AT), limits=Limits(reserve_bytes=0, journal_rows=10))
    store.open()
    for first in range(0, 50, 10):
        store.append(make_results(10, first=first))
    table = store.database.table("results")
    assert table.remove(where("at") < make_result(25).at.timestamp()) == list(range(1, 21))
    assert [each.doc_id for each in table] == list(range(21, 51))
    edges_s = [make_result(0).at.timestamp(), make_result(60).at.timestamp()]
    assert sum(store.rollups("check-0", edges_s)[0].runs) == 17, "what is given up is in the rollups"
    assert table.remove(where("at") < 1e11) == list(range(21, 31)), (
        "the newest sealed file stays, and the one that is written"
    )
    store.close()


@pytest.mark.parametrize("how", ["truncate", "drop_table", "drop_tables"])
def test_emptying_the_table_keeps_ids_ascending_over_a_restart(tmp_path: Path, how: str) -> None:
    store = TinyStore(tmp_path, FakeClock(START_AT), limits=Limits(reserve_bytes=0, journal_rows=10))
    store.open()
    store.append(make_results(35))
    database = store.database
    {
        "truncate": database.table("results").truncate,
        "drop_table": lambda: database.drop_table("results"),
        "drop_tables": database.drop_tables,
    }[how]()
    assert (len(database.table("results")), store.check_ids()) == (0, set())
    assert "results" in database.tables()
    store.close()
    again = TinyStore(tmp_path, FakeClock(START_AT), limits=Limits(reserve_bytes=0))
    again.open()
    assert again.append(make_results(1)) == [36]
    again.close()
