"""Damaged, lost and foreign files of documents: what is there is served, what is missing is told."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path
from zlib import crc32

import orjson
import pytest
from fakes import FakeClock
from storage.samples import START_AT, FailingFiles, make_results

from checks.base import Status
from dashboard.errors import StoreUnavailable
from dashboard.model import CheckState, Incident
from dashboard.storage.appender import Limits
from dashboard.storage.documents import Database, JournaledStorage
from dashboard.storage.files import Files
from dashboard.storage.journal import frame
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.room import Room
from dashboard.storage.store import TinyStore

NO_SNAPSHOT = 1 << 30


class Place:
    """A data directory of documents: open it, put documents in, look at its files."""

    def __init__(self, directory: Path) -> None:
        self.documents = directory / "documents"
        self.quarantine = directory / "quarantine"
        self.documents.mkdir()
        self.quarantine.mkdir()
        self.kept = Quarantine(self.quarantine)

    def open(self, *, expected: bool = False, snapshot_bytes: int = 400, files: Files | None = None) -> Database:
        files = files or Files()
        self.kept = Quarantine(self.quarantine)
        self.storage = JournaledStorage(
            self.documents,
            files=files,
            room=Room(self.documents.parent / "RESERVE", 0, files=files, retry_s=0.01),
            quarantine=self.kept,
            snapshot_bytes=snapshot_bytes,
        )
        self.storage.open(expected=expected)
        return Database(self.storage)

    def insert(self, count: int, *, snapshot_bytes: int = 400) -> None:
        """One commit each."""
        database = self.open(snapshot_bytes=snapshot_bytes)
        for _ in range(count):
            table = database.table("users")
            table.insert({"n": len(table)})
        database.close()

    def ids(self, *, expected: bool = False) -> list[int]:
        database = self.open(expected=expected)
        found = [document.doc_id for document in database.table("users")]
        database.close()
        return found

    @property
    def told(self) -> str:
        return self.storage.recovered

    def files(self, pattern: str) -> list[Path]:
        return sorted(self.documents.glob(pattern))

    @property
    def damaged(self) -> list[str]:
        return sorted(path.name for path in self.quarantine.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


# Snapshots


def test_a_damaged_snapshot_costs_nothing_and_is_set_aside(place: Place) -> None:
    place.insert(30)
    newest = place.files("*.snap.json")[-1]
    was = newest.read_bytes()
    flip(newest, 8 * 100)
    assert place.ids() == list(range(1, 31))
    assert place.told == ""
    assert place.kept.lines == 1
    [kept] = place.quarantine.iterdir()
    assert kept.name == f"documents-{newest.name}.bad"
    assert kept.read_bytes() != was
    assert len(kept.read_bytes()) == len(was)


def test_damage_to_one_snapshot_after_another_costs_nothing(place: Place) -> None:
    for round_number in range(1, 6):
        place.insert(20)
        flip(place.files("*.snap.json")[-1], 8 * 60)
        assert place.ids() == list(range(1, 20 * round_number + 1))
        assert place.told == ""
    assert len(place.damaged) == 5


@pytest.mark.parametrize("seed", range(4))
def test_any_flipped_bit_of_the_newest_snapshot_is_noticed_and_costs_nothing(place: Place, seed: int) -> None:
    place.insert(30)
    newest = place.files("*.snap.json")[-1]
    sound = newest.read_bytes()
    head = range(8 * sound.index(b'"tables"'))
    for bit in [*random.Random(seed).sample(head, 20), *random.Random(seed).sample(range(8 * len(sound)), 20)]:
        newest.write_bytes(sound)
        flip(newest, bit)
        assert place.ids() == list(range(1, 31)), bit
        assert place.kept.lines == 1, bit


def test_a_snapshot_that_the_disk_cannot_read_costs_nothing(place: Place) -> None:
    place.insert(30)
    newest = place.files("*.snap.json")[-1]
    newest.unlink()
    newest.mkdir()  # reading it is an error of the system, as with a bad sector
    assert place.ids() == list(range(1, 31))
    assert place.told == ""


def test_the_only_snapshot_damaged_costs_nothing_while_the_first_journal_is_there(place: Place) -> None:
    place.insert(7)
    assert [path.name for path in place.files("*")] == ["0000000001.ndj", "0000000002.ndj", "0000000002.snap.json"]
    place.files("*.snap.json")[0].write_bytes(b"")
    assert place.ids() == list(range(1, 8))
    assert place.told == ""


def test_when_every_snapshot_is_damaged_the_rest_is_served_and_told_at_each_start(place: Place) -> None:
    place.insert(30)
    for snapshot in place.files("*.snap.json"):
        snapshot.write_bytes(b"{}")
    for _ in range(2):
        rest = place.ids()
        assert rest == list(range(rest[0], 31)), "what the journals have"
        assert 1 < len(rest) < 30
        assert "changes to incidents or other documents are missing" in place.told
        assert "restore a backup" in place.told
    assert len(place.damaged) == 2
    place.insert(20)
    assert place.ids() == [*rest, *range(31, 51)]
    assert place.told == "", "there are new snapshots now"


def test_when_every_snapshot_is_damaged_and_no_journal_is_left_it_starts_empty_and_says_so(place: Place) -> None:
    place.insert(30)
    for snapshot in place.files("*.snap.json"):
        snapshot.write_bytes(snapshot.read_bytes()[:50])
    for journal in place.files("*.ndj"):
        journal.unlink()
    assert place.ids() == []
    assert "nothing of what was kept here can be read" in place.told
    assert len(place.damaged) == 2
    place.insert(3)
    assert place.ids() == [1, 2, 3]


# Everything gone


def test_no_file_at_all_is_told_where_there_is_other_data(place: Place) -> None:
    place.insert(30)
    for path in place.files("*"):
        path.unlink()
    assert place.ids(expected=True) == []
    assert "nothing of what was kept here can be read" in place.told


def test_garbage_in_every_file_is_told_and_kept(place: Place) -> None:
    place.insert(30)
    for path in place.files("*"):
        path.write_bytes(random.Random(1).randbytes(path.stat().st_size))
    assert place.ids(expected=True) == []
    assert "nothing of what was kept here can be read" in place.told
    assert len(place.damaged) == 4
    assert place.ids(expected=True) == []
    place.insert(2)
    assert place.ids() == [1, 2]


def test_a_new_directory_and_one_where_nothing_was_done_are_no_loss(place: Place) -> None:
    assert place.ids() == []
    assert place.told == ""
    assert place.ids(expected=True) == [], "results came, then a crash before the first document"
    assert place.told == ""


def test_a_full_disk_is_no_reason_not_to_start(place: Place) -> None:
    files = FailingFiles()
    files.fail("sync_directory", errno.ENOSPC)
    database = place.open(files=files)
    database.table("users").insert({"n": 1})
    database.close()
    assert place.ids() == [1]


class Unwritable(Files):
    def open(self, path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_a_directory_that_cannot_be_written_says_so_at_the_start(place: Place) -> None:
    with pytest.raises(PermissionError):
        place.open(files=Unwritable())


# Journals


def test_a_missing_journal_in_the_middle_is_noticed(place: Place) -> None:
    files = FailingFiles()
    database = place.open(snapshot_bytes=NO_SNAPSHOT, files=files)
    table = database.table("users")
    for n in range(9):
        if n % 3 == 0 and n:
            files.fail("sync", errno.EIO)  # after which the journal goes on in another file
        table.insert({"n": n})
    database.close()
    middle = place.files("*.ndj")[1]
    middle.unlink()
    assert place.ids() == [1, 2, 3, 7, 8, 9]
    assert "changes to incidents or other documents are missing" in place.told
    assert place.ids() == [1, 2, 3, 7, 8, 9], "and at each further start"
    assert place.told


def test_numbers_that_no_journal_has_are_no_gap(place: Place) -> None:
    """A file that was given up empty is removed."""
    files = FailingFiles()
    database = place.open(snapshot_bytes=NO_SNAPSHOT, files=files)
    table = database.table("users")
    table.insert({"n": 0})
    files.fail("sync", errno.EIO, times=1)
    files.fail("write", errno.ENOSPC, times=1)
    table.insert({"n": 1})
    table.insert({"n": 2})
    database.close()
    assert place.ids() == [1, 2, 3]
    assert place.told == ""


def test_a_journal_that_the_disk_cannot_read_is_set_aside_and_told(place: Place) -> None:
    place.insert(30)
    newest = place.files("*.ndj")[-1]
    newest.unlink()
    newest.mkdir()
    rest = place.ids()
    assert rest == list(range(1, len(rest) + 1))
    assert "changes to incidents or other documents are missing" in place.told
    assert place.damaged == [f"documents-{newest.name}.bad"]
    place.insert(1)
    assert len(place.ids()) == len(rest) + 1
    assert not newest.exists()


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_in_a_journal_costs_one_commit_at_most_and_is_counted(place: Place, seed: int) -> None:
    place.insert(40, snapshot_bytes=NO_SNAPSHOT)
    [journal] = place.files("*.ndj")
    sound = journal.read_bytes()
    for bit in random.Random(seed).sample(range(8 * len(sound)), 60):
        journal.write_bytes(sound)
        shutil.rmtree(place.quarantine)
        place.quarantine.mkdir()
        flip(journal, bit)
        lost = set(range(1, 41)) - set(place.ids())
        assert len(lost) <= 1, bit
        if lost:
            assert place.kept.lines + place.kept.tails == 1
            assert len(place.damaged) == 1
            assert bool(place.told) is (lost != {40}), "the last one might never have been acknowledged"


def test_a_torn_end_at_any_byte_costs_the_last_commit_only(place: Place) -> None:
    place.insert(3, snapshot_bytes=NO_SNAPSHOT)
    [journal] = place.files("*.ndj")
    whole = journal.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for end in range(start, len(whole)):
        journal.write_bytes(whole[:end])
        assert place.ids() == [1, 2], end
        assert (place.kept.tails, place.told) == (int(end > start), "")


def test_several_damaged_lines_at_the_end_are_a_loss(place: Place) -> None:
    """Each of them but the last was durable before the next one was written."""
    place.insert(5, snapshot_bytes=NO_SNAPSHOT)
    [journal] = place.files("*.ndj")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:3], *(line.replace(b"users", b"usurp") for line in lines[3:])]))
    assert place.ids() == [1, 2, 3]
    assert "changes to incidents or other documents are missing" in place.told


# A snapshot on its way


class Watched(Files):
    """Copies the directory as it is before and after each rename, whose durability comes only with the next step."""

    def __init__(self, documents: Path, copies: Path) -> None:
        self._documents = documents
        self.copies = copies

    def rename(self, source: Path, target: Path) -> None:
        number = len(list(self.copies.iterdir()))
        shutil.copytree(self._documents, self.copies / f"{number}-old")
        super().rename(source, target)
        shutil.copytree(self._documents, self.copies / f"{number}-new")


def test_old_or_new_and_never_neither_when_the_rename_is_not_durable(place: Place, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    database = place.open(files=Watched(place.documents, copies))
    table = database.table("users")
    expected: dict[str, int] = {}
    for n in range(40):
        table.insert({"n": n})
        for copy in copies.iterdir():
            expected.setdefault(copy.name, n + 1)
    database.close()
    assert len(expected) >= 6
    for name, count in expected.items():
        shutil.rmtree(place.documents)
        shutil.copytree(copies / name, place.documents)
        assert place.ids() == list(range(1, count + 1)), name
        assert place.told == ""
        assert place.files("*.tmp") == []


# Other versions


def packed(content: dict[str, object]) -> bytes:
    body = orjson.dumps(content)[1:] + b"\n"
    return b'{"crc32":"%08x",' % crc32(body) + body


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("0000000009.snap.json", packed({"format": 2, "seq": 50, "tables": "in a way not known yet"})),
        ("0000000009.ndj", frame(b'{"seq":50,"after":30,"ops":[["merge","users","1",{"n":1}]]}')),
    ],
)
def test_what_a_newer_version_wrote_is_refused_unharmed(place: Place, name: str, data: bytes) -> None:
    place.insert(3, snapshot_bytes=NO_SNAPSHOT)
    (place.documents / name).write_bytes(data)
    before = {path.name: path.read_bytes() for path in place.files("*")}
    with pytest.raises(StoreUnavailable, match="newer Watchroom"):
        place.open()
    assert {path.name: path.read_bytes() for path in place.files("*")} == before
    assert place.damaged == []


def test_what_the_first_version_wrote_is_read(place: Place) -> None:
    tables = b'{"users":{"1":{"n":0},"2":{"n":1.0}}}'
    head = b'{"generation":2,"seq":5,"crc32":"%08x","tables":' % crc32(tables)
    (place.documents / "0000000002.snap.json").write_bytes(head + tables + b"}\n")
    lines = [b'{"seq":7,"ops":[["put","users","3",{"n":2}]]}', b'{"seq":8,"ops":[["cut","users","1"]]}']
    (place.documents / "0000000002.ndj").write_bytes(b"".join(map(frame, lines)))
    assert place.ids() == [2, 3]
    assert place.told == ""
    place.insert(1)
    assert place.ids() == [2, 3, 4]
    (place.documents / "0000000002.snap.json").write_bytes(head + tables.replace(b"1.0", b"1.1") + b"}\n")
    assert place.ids() == [3, 4]
    assert "changes to incidents or other documents are missing" in place.told


# The whole store


def opened_store(directory: Path) -> TinyStore:
    store = TinyStore(directory, FakeClock(START_AT), limits=Limits(reserve_bytes=0, snapshot_bytes=300))
    store.open()
    return store


def test_a_store_that_lost_its_documents_serves_its_results_and_warns(tmp_path: Path) -> None:
    store = opened_store(tmp_path / "data")
    store.append(make_results(20))
    for number in range(1, 10):
        incident = Incident(
            id=number,
            check_id="check-1",
            opened_at=START_AT,
            confirmed_at=START_AT,
            status=Status.CRITICAL,
            worst=Status.CRITICAL,
            summary="refused",
        )
        store.save(states=[CheckState(check_id="check-1", status=Status.CRITICAL)], incidents=[incident])
    assert store.health().warnings == ()
    store.close()
    for path in (tmp_path / "data" / "documents").iterdir():
        path.write_bytes(path.read_bytes().swapcase())
    store = opened_store(tmp_path / "data")
    assert store.incidents() == []
    assert len(store.last("check-1", 100)) == 7
    [warning] = store.health().warnings
    assert "nothing of what was kept here can be read" in warning
    store.save(states=[CheckState(check_id="check-1", status=Status.OK)])
    assert store.states()["check-1"].status is Status.OK
    store.close()
