"""The journal: what damage costs, and what it must never cost."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeClock
from storage.samples import START_AT, FailingFiles, make_result, make_results
from tinydb import TinyDB

from dashboard.errors import StoreReadOnly
from dashboard.storage.appender import Limits
from dashboard.storage.journal import Journal, SoundLines, frame, generations
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.store import TinyStore

LIMITS = Limits(reserve_bytes=4096, retry_s=0.01)


def open_store(directory: Path) -> TinyStore:
    store = TinyStore(directory, FakeClock(START_AT), limits=LIMITS)
    store.open()
    return store


def ids_in(store: TinyStore) -> list[int]:
    return [row_id for columns in store.export_columns() for row_id in columns.ids]


def journal_in(directory: Path) -> Path:
    return generations(directory / "results")[-1][1]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A directory with a journal of 6 rows."""
    directory = tmp_path / "data"
    store = open_store(directory)
    store.append(make_results(6))
    store.close()
    return directory


def test_a_person_can_read_the_lines(written: Path) -> None:
    header, first, *_ = journal_in(written).read_text().splitlines()
    assert header[8] == first[8] == " "
    assert first[9:].startswith('{"id":1,"check_id":"check-0","at":')


def test_directories_and_files_are_for_their_owner_alone(written: Path) -> None:
    for path in (written, *written.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_torn_tail_is_cut_at_every_byte_and_no_whole_line_with_it(written: Path) -> None:
    path = journal_in(written)
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(ends[-3], len(whole) + 1):
        path.write_bytes(whole[:size])
        store = open_store(written)
        lines = sum(end <= size for end in ends)
        assert ids_in(store) == list(range(1, lines)), size  # the first line is the header
        assert store.health().torn_tails == (0 if size in ends else 1)
        [new_id] = store.append([make_result(9)])
        assert new_id >= lines
        store.close()
        store = open_store(written)
        assert ids_in(store) == [*range(1, lines), new_id]
        assert store.health().torn_tails == 0
        store.close()


def test_a_flipped_bit_costs_its_own_line_at_most(written: Path) -> None:
    path = journal_in(written)
    whole = path.read_bytes()
    start = whole.index(b'{"id":3,') - 9
    end = whole.index(b"\n", start) + 1
    for offset in range(start, end):
        flipped = bytearray(whole)
        flipped[offset] ^= 1 << (offset % 8)
        path.write_bytes(flipped)
        store = open_store(written)
        found = ids_in(store)
        assert found in ([1, 2, 4, 5, 6], [1, 2, 3, 4, 5, 6]), offset
        health = store.health()
        assert health.torn_tails == 0
        assert health.quarantined_lines == 1 or found == [1, 2, 3, 4, 5, 6]
        store.close()


def test_a_damaged_last_line_is_cut_and_kept_in_quarantine(written: Path) -> None:
    path = journal_in(written)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3] + b"X}\n")
    store = open_store(written)
    assert ids_in(store) == [1, 2, 3, 4, 5]
    store.close()
    [kept] = (written / "quarantine").iterdir()
    assert kept.read_bytes().endswith(b"X}\n")
    assert path.read_bytes() == whole[: whole.index(b'{"id":6,') - 9]


def test_damage_is_counted_once_however_often_it_is_read(written: Path) -> None:
    path = journal_in(written)
    path.write_bytes(path.read_bytes().replace(b"result number 2", b"result number X"))
    store = open_store(written)
    assert [ids_in(store) for _ in range(3)] == [[1, 2, 4, 5, 6]] * 3
    assert store.health().quarantined_lines == 1
    store.close()


def test_a_file_of_rubbish_keeps_nobody_from_starting(written: Path) -> None:
    path = journal_in(written)
    path.write_bytes(b"\0" * 5000 + b"\n\r\n" + bytes(range(256)) * 9)
    store = open_store(written)
    assert ids_in(store) == []
    store.append(make_results(2))
    store.close()
    store = open_store(written)
    assert len(ids_in(store)) == 2
    store.close()


def test_lines_longer_than_a_chunk_are_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.ndj"
    payloads = [b'{"text":"%b"}' % (letter * size) for letter, size in ((b"a", 5), (b"b", 3_000_000), (b"c", 900_000))]
    path.write_bytes(b"".join(map(frame, payloads)))
    lines = SoundLines(path, Quarantine(None))
    assert [payload for chunk in lines for payload in chunk] == payloads
    assert (lines.good_end, lines.tail) == (path.stat().st_size, b"")


def test_the_same_damage_costs_stock_tinydb_everything(tmp_path: Path) -> None:
    """The control: this damage is real."""
    path = tmp_path / "stock.json"
    with TinyDB(path) as stock:
        stock.insert_multiple([{"n": n} for n in range(6)])
    path.write_bytes(path.read_bytes()[:-9])
    with TinyDB(path) as stock, pytest.raises(ValueError):
        stock.all()


@pytest.fixture
def files() -> FailingFiles:
    return FailingFiles()


@pytest.fixture
def journal(tmp_path: Path, files: FailingFiles) -> Iterator[Journal]:
    opened = Journal(tmp_path, files=files)
    yield opened
    opened.close()


def test_each_group_is_one_write_and_one_sync(journal: Journal, files: FailingFiles) -> None:
    journal.commit(frame(b"{}"))
    files.calls.clear()
    journal.commit(frame(b"{}") * 100)
    assert files.calls == ["write", "sync"]


def test_after_a_failed_sync_the_group_goes_to_the_next_file_and_none_to_the_first(
    journal: Journal, files: FailingFiles, tmp_path: Path
) -> None:
    journal.commit(frame(b'{"n":1}'))
    files.fail("sync", errno.EIO)
    journal.commit(frame(b'{"n":2}'))
    journal.commit(frame(b'{"n":3}'))
    first, second = [path.read_bytes() for _, path in generations(tmp_path)]
    assert first == frame(b'{"n":1}')
    assert second == frame(b'{"n":2}') + frame(b'{"n":3}')


def test_when_the_next_file_fails_too_writing_is_over(journal: Journal, files: FailingFiles) -> None:
    journal.commit(frame(b'{"n":1}'))
    files.fail("sync", errno.EIO, times=2)
    with pytest.raises(StoreReadOnly, match="writing failed twice"):
        journal.commit(frame(b'{"n":2}'))
    files.heal()
    files.calls.clear()
    with pytest.raises(StoreReadOnly):
        journal.commit(frame(b'{"n":2}'))
    assert files.calls == []
