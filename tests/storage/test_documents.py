"""Documents: TinyDB as its own manual has it, on a journal."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from storage.samples import FailingFiles
from tinydb import TinyDB, where
from tinydb.operations import increment
from tinydb.table import Document

from dashboard.errors import StoreFull
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


def test_a_write_is_one_line_and_says_only_what_changed(database: Database, tmp_path: Path) -> None:
    table = database.table("users")
    table.insert_multiple([{"n": n} for n in range(5)])
    journal = tmp_path / "documents" / "0000000001.ndj"
    before = journal.read_bytes()
    table.update({"n": 9}, where("n") >= 3)
    [line] = journal.read_bytes().removeprefix(before).splitlines()
    assert line[9:] == b'{"seq":2,"after":1,"ops":[["put","users","4",{"n":9}],["put","users","5",{"n":9}]]}'


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


def test_a_write_that_failed_is_not_done_by_a_restart(tmp_path: Path) -> None:
    """Its line is whole in a file that was given up."""
    files = FailingFiles()
    database = open_database(tmp_path / "documents", files=files)
    table = database.table("users")
    table.insert({"n": 0})
    files.fail("truncate", errno.EIO, times=2)
    files.fail("sync", errno.ENOSPC, times=2)
    with pytest.raises(StoreFull):
        table.insert({"n": 1})
    table.insert({"n": 2})
    held = contents(database)
    database.close()
    assert b'{"n":1}' in b"".join(path.read_bytes() for path in (tmp_path / "documents").iterdir())
    again = open_database(tmp_path / "documents")
    assert contents(again) == held == {"users": [(1, {"n": 0}), (3, {"n": 2})]}
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
