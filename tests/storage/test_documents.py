"""Documents: TinyDB as its own manual has it, on a journal."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage.samples import FailingFiles
from tinydb import Query, TinyDB, where
from tinydb.operations import delete, increment
from tinydb.storages import MemoryStorage
from tinydb.table import Document

from dashboard.errors import StoreError, StoreFull
from dashboard.storage.documents import Database, JournaledStorage
from dashboard.storage.files import Files
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.room import Room


def open_database(directory: Path, *, files: Files | None = None, snapshot_bytes: int = 400) -> Database:
    directory.mkdir(exist_ok=True)
    files = files or Files()
    room = Room(directory / "RESERVE", 0, files=files, retry_s=0.01)
    storage = JournaledStorage(
        directory, files=files, room=room, quarantine=Quarantine(None), snapshot_bytes=snapshot_bytes
    )
    storage.open()
    return Database(storage)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "documents")
    yield opened
    opened.close()


@pytest.fixture
def reopened(tmp_path: Path, database: Database) -> Iterator[Callable[[], Database]]:
    others: list[Database] = []

    def reopen() -> Database:
        for each in (database, *others):
            each.close()
        others.append(open_database(tmp_path / "documents"))
        return others[-1]

    yield reopen
    for each in others:
        each.close()


def contents(database: TinyDB) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    return {name: [(each.doc_id, dict(each)) for each in database.table(name)] for name in sorted(database.tables())}


NAMES = st.sampled_from(["users", "audit"])
IDS = st.integers(1, 8)
FIELDS = st.dictionaries(
    st.sampled_from(["n", "word", "deep"]),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        st.lists(st.integers(0, 2), max_size=2),
        st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 2)),
    ),
)
CONDITIONS = st.sampled_from(
    [
        where("n") == 1,
        where("n").exists(),
        where("word").matches("[a-f]*"),
        (where("n") == 0) | ~where("deep").exists(),
        where("deep")["x"] == 1,
        Query().fragment({"n": 2}),
    ]
)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), NAMES, FIELDS),
        st.tuples(st.just("insert_at"), NAMES, FIELDS, IDS),
        st.tuples(st.just("insert_multiple"), NAMES, st.lists(FIELDS, max_size=4)),
        st.tuples(st.just("update"), NAMES, FIELDS, CONDITIONS),
        st.tuples(st.just("update_ids"), NAMES, FIELDS, st.lists(IDS, max_size=3)),
        st.tuples(st.just("update_all"), NAMES, FIELDS),
        st.tuples(st.just("update_multiple"), NAMES, st.lists(st.tuples(FIELDS, CONDITIONS), max_size=2)),
        st.tuples(st.just("operate"), NAMES, st.sampled_from([delete("word"), delete("deep")])),
        st.tuples(st.just("upsert"), NAMES, FIELDS, CONDITIONS),
        st.tuples(st.just("upsert_at"), NAMES, FIELDS, IDS),
        st.tuples(st.just("remove"), NAMES, CONDITIONS),
        st.tuples(st.just("remove_ids"), NAMES, st.lists(IDS, max_size=3, unique=True)),
        st.tuples(st.just("truncate"), NAMES),
        st.tuples(st.just("drop_table"), NAMES),
        st.tuples(st.just("drop_tables"), NAMES),
        st.tuples(st.just("search"), NAMES, CONDITIONS),
        st.tuples(st.just("get"), NAMES, CONDITIONS, IDS),
        st.tuples(st.just("reopen"), NAMES),
    ),
    max_size=25,
)


def perform(database: TinyDB, operation: tuple[Any, ...]) -> object:
    """The outcome of the operation in plain values, errors included."""
    kind, name, *rest = operation
    table = database.table(name)
    match kind, rest:
        case "insert_at", [fields, doc_id]:
            return table.insert(Document(fields, doc_id))
        case "update", [fields, condition]:
            return table.update(fields, condition)
        case "update_ids", [fields, doc_ids]:
            return table.update(fields, doc_ids=doc_ids)
        case "update_all", [fields]:
            return table.update(fields)
        case "operate", [change]:
            return table.update(change, where(change.__closure__[0].cell_contents).exists())
        case "upsert_at", [fields, doc_id]:
            return table.upsert(Document(fields, doc_id))
        case "remove_ids", [doc_ids]:
            return table.remove(doc_ids=doc_ids)
        case "drop_table", []:
            return database.drop_table(name)
        case "drop_tables", []:
            return database.drop_tables()
        case "get", [condition, doc_id]:
            several = [(each.doc_id, dict(each)) for each in table.get(doc_ids=[doc_id, 1])]
            return table.get(condition), table.get(doc_id=doc_id), several, table.count(condition), len(table)
        case _:
            outcome = getattr(table, kind)(*rest)
            return [(each.doc_id, dict(each)) for each in outcome] if kind == "search" else outcome


def outcome_of(database: TinyDB, operation: tuple[Any, ...]) -> object:
    try:
        return perform(database, operation)
    except ValueError as error:
        return str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_it_does_what_stock_tinydb_does_through_any_restarts(
    operations: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("documents")
    ours, stock = open_database(directory), TinyDB(storage=MemoryStorage)
    for operation in operations:
        if operation[0] == "reopen":
            ours.close()
            ours = open_database(directory)
            stock._tables.clear()  # a restart forgets the next ids that tables remember
        else:
            assert outcome_of(ours, operation) == outcome_of(stock, operation), operation
        assert contents(ours) == contents(stock), operation
    ours.close()
    ours = open_database(directory)
    assert contents(ours) == contents(stock)
    ours.close()


def test_a_write_is_one_line_and_says_only_what_changed(database: Database, tmp_path: Path) -> None:
    table = database.table("users")
    table.insert_multiple([{"n": n} for n in range(5)])
    journal = tmp_path / "documents" / "0000000001.ndj"
    before = journal.read_bytes()
    table.update({"n": 9}, where("n") >= 3)
    [line] = journal.read_bytes().removeprefix(before).splitlines()
    assert line[9:] == b'{"seq":2,"ops":[["put","users","4",{"n":9}],["put","users","5",{"n":9}]]}'


def test_a_write_that_changes_nothing_writes_nothing(database: Database, tmp_path: Path) -> None:
    table = database.table("users")
    table.insert({"n": 1})
    journal = tmp_path / "documents" / "0000000001.ndj"
    before = journal.read_bytes()
    table.update({"n": 1})
    table.remove(where("n") == 5)
    assert journal.read_bytes() == before


def test_one_and_true_are_different_values(database: Database, reopened: Callable[[], Database]) -> None:
    database.table("users").insert({"n": 1})
    database.table("users").update({"n": True})
    assert reopened().table("users").all()[0]["n"] is True


def test_a_write_that_failed_hides_no_later_one(tmp_path: Path) -> None:
    files = FailingFiles()
    database = open_database(tmp_path / "documents", files=files)
    table = database.table("users")
    table.insert({"n": 0})
    files.fail("truncate", errno.EIO)
    files.fail("sync", errno.ENOSPC, times=2)
    with pytest.raises(StoreFull):
        table.update({"n": 1})
    assert table.all() == [{"n": 0}]
    table.update({"n": 2})
    database.close()
    again = open_database(tmp_path / "documents")
    assert contents(again) == {"users": [(1, {"n": 2})]}
    again.close()


def test_what_memory_holds_is_what_a_restart_gives(database: Database, reopened: Callable[[], Database]) -> None:
    database.table("users").insert({"pair": (1, 2)})
    held = contents(database)
    assert held == {"users": [(1, {"pair": [1, 2]})]}
    assert contents(reopened()) == held


@pytest.mark.parametrize("value", [math.nan, math.inf, [1.0, {"deep": math.nan}]])
def test_a_number_that_is_not_finite_is_refused_before_anything_is_done(database: Database, value: object) -> None:
    table = database.table("users")
    table.insert({"n": None})
    with pytest.raises(ValueError, match="finite"):
        table.insert({"n": value})
    with pytest.raises(ValueError, match="finite"):
        table.update({"n": value})
    assert contents(database) == {"users": [(1, {"n": None})]}


@pytest.mark.parametrize("value", [{1, 2}, datetime(2026, 1, 1, tzinfo=UTC), {1: "key is no text"}, "\ud800", 1 << 80])
def test_what_json_cannot_hold_is_refused_before_anything_is_done(database: Database, value: object) -> None:
    with pytest.raises(TypeError):
        database.table("users").insert({"n": value})
    assert contents(database) == {}


def test_an_update_that_fails_half_way_changes_nothing(database: Database) -> None:
    table = database.table("users")
    table.insert_multiple([{"n": 1}, {"n": "text"}])
    with pytest.raises(TypeError):
        table.update(increment("n"))
    assert contents(database) == {"users": [(1, {"n": 1}), (2, {"n": "text"})]}


def test_changing_a_document_that_was_read_changes_no_other_reader(database: Database) -> None:
    table = database.table("users")
    table.insert({"n": 1})
    table.all()[0]["n"] = 2
    assert table.all()[0]["n"] == 1


def test_an_iteration_sees_one_moment_while_others_write(database: Database) -> None:
    table = database.table("users")
    table.insert_multiple([{"n": n} for n in range(4)])
    seen = []
    for document in table:
        table.insert({"n": 100})
        table.remove(doc_ids=[document.doc_id])
        seen.append(document.doc_id)
    assert seen == [1, 2, 3, 4]


def test_snapshots_replace_old_journals(database: Database, tmp_path: Path, reopened: Callable[[], Database]) -> None:
    for n in range(200):
        database.table("users").upsert(Document({"n": n}, 1))
    names = sorted(path.name for path in (tmp_path / "documents").iterdir())
    assert 2 <= len(names) <= 5, names
    assert "0000000001.ndj" not in names
    assert contents(reopened()) == {"users": [(1, {"n": 199})]}


def test_a_damaged_snapshot_costs_nothing(database: Database, tmp_path: Path) -> None:
    for n in range(200):
        database.table("users").upsert(Document({"n": n}, 1))
    database.close()
    newest = max((tmp_path / "documents").glob("*.snap.json"))
    newest.write_bytes(newest.read_bytes().replace(b"users", b"usurp"))
    again = open_database(tmp_path / "documents")
    assert contents(again) == {"users": [(1, {"n": 199})]}
    again.close()


def test_when_every_snapshot_is_damaged_it_says_so_instead_of_starting_empty(
    database: Database, tmp_path: Path
) -> None:
    for n in range(200):
        database.table("users").upsert(Document({"n": n}, 1))
    database.close()
    for snapshot in (tmp_path / "documents").glob("*.snap.json"):
        snapshot.write_bytes(b"{}")
    with pytest.raises(StoreError, match="every snapshot is damaged"):
        open_database(tmp_path / "documents")


@pytest.mark.parametrize("call", ["rename", "sync_directory"])
def test_a_snapshot_that_fails_half_way_is_only_put_off(tmp_path: Path, call: str) -> None:
    files = FailingFiles()
    database = open_database(tmp_path / "documents", files=files, snapshot_bytes=300)
    table = database.table("users")
    table.insert({"n": -1})
    files.fail(call, errno.EIO, times=1000)
    for n in range(60):
        table.upsert(Document({"n": n}, 1))
    assert files.calls.count("rename") > 1
    database.close()
    again = open_database(tmp_path / "documents")
    assert contents(again) == {"users": [(1, {"n": 59})]}
    again.close()
