"""Backups: one instant of a directory that is written all the time, whole or not there at all."""

from __future__ import annotations

import errno
import gzip
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from product import eventually
from storage.archives import digests
from storage.samples import FailingFiles, make_results

from dashboard.clock import SystemClock
from dashboard.errors import StoreError, StoreUnavailable
from dashboard.model import Backup, Retention
from dashboard.storage import backup as backing_up
from dashboard.storage.appender import Limits
from dashboard.storage.archive import read_archive
from dashboard.storage.backup import leave_note, write_backup
from dashboard.storage.files import Files
from dashboard.storage.inventory import read_backup_note
from dashboard.storage.restore import restore
from dashboard.storage.store import TinyStore

NOW = datetime(2026, 11, 24, 13, 25, 8, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
RESTLESS = Limits(reserve_bytes=4096, journal_rows=200, snapshot_bytes=3000)


def make(directory: Path, target: Path, **options: object) -> backing_up.Written:
    return write_backup(directory, target, format_number=2, now_at=NOW, **options)  # type: ignore[arg-type]


def opened(directory: Path, limits: Limits = RESTLESS) -> TinyStore:
    store = TinyStore(directory, SystemClock(), limits=limits)
    store.open()
    return store


def ids_of(store: TinyStore) -> list[int]:
    return sorted(row.id for chunk in store.export() for row in chunk)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    store = opened(tmp_path / "data")
    store.append(make_results(500))
    store.save(units={"check-0": {"size": "B"}})
    store.close()
    (tmp_path / "data" / "secret.key").write_text("a secret")
    (tmp_path / "data" / "server.json").write_text("{}")
    (tmp_path / "data" / "quarantine" / "results-0000000001.ndj-77.bad").write_bytes(b"evidence")
    return tmp_path / "data"


def test_a_backup_holds_what_is_remembered_and_nothing_else(data: Path, tmp_path: Path) -> None:
    written = make(data, tmp_path / "b.tar.gz")
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        names = archive.getnames()
        about = json.load(archive.extractfile("manifest.json"))
    assert names[0] == "manifest.json"
    assert names[1:] == sorted(digests(data))
    assert "quarantine/results-0000000001.ndj-77.bad" in names
    assert not {"LOCK", "RESERVE", "secret.key", "server.json"} & set(names)
    assert {each["name"]: each["sha256"] for each in about["files"]} == digests(data)
    assert (about["format"], about["created_at"]) == (2, "2026-11-24T13:25:08Z")
    assert written.path.stat().st_mode & 0o777 == 0o600
    assert written.size_bytes == written.path.stat().st_size
    assert written.unpacked_bytes == sum(each["size"] for each in about["files"])


def test_what_is_restored_is_equal_to_what_was_backed_up(data: Path, tmp_path: Path) -> None:
    before = digests(data)
    make(data, tmp_path / "b.tar.gz")
    restore(tmp_path / "b.tar.gz", tmp_path / "again", now_at=NOW)
    assert digests(tmp_path / "again") == before
    store = opened(tmp_path / "again")
    try:
        assert (len(ids_of(store)), store.units()) == (500, {"check-0": {"size": "B"}})
    finally:
        store.close()


class Writer(threading.Thread):
    """Records, seals and merges all the time. A document follows the rows it speaks of: it names the last one."""

    def __init__(self, store: TinyStore) -> None:
        super().__init__()
        self.store = store
        self.acknowledged = 0
        self.stopping = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            number += 1
            self.acknowledged = self.store.append(make_results(1 + number % 20))[-1]
            if number % 3 == 0:
                self.store.save(units={"check": {"last": str(self.acknowledged)}})
            if number % 50 == 0:
                self.store.maintain(SystemClock().now())
            if number % 500 == 0:
                self.store.compact()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    store = opened(tmp_path / "data")
    store.keep(Retention(raw_s=math.inf), {})
    store.append(make_results(1))
    writer = Writer(store)
    writer.start()
    yield writer
    writer.stopping.set()
    writer.join()
    store.close()


def test_a_backup_under_load_is_one_instant(writer: Writer, tmp_path: Path) -> None:
    kinds: set[str] = set()
    for number in range(8):
        archive, again = tmp_path / f"{number}.tar.gz", tmp_path / f"again-{number}"
        acknowledged = eventually(lambda: writer.acknowledged * (writer.acknowledged > 700 * number))  # noqa: B023
        make(tmp_path / "data", archive)
        restore(archive, again, now_at=NOW)
        with read_archive(archive, newest_format=2) as reader:
            assert {entry.name: entry.sha256 for entry in reader.manifest.files} == digests(again)
            kinds |= {Path(entry.name).suffix for entry in reader.manifest.files}
        for copy in again.glob("*/*.ndj"):
            original = tmp_path / "data" / copy.relative_to(again)
            if original.exists():
                assert original.read_bytes().startswith(copy.read_bytes())
        store = opened(again)
        try:
            ids = ids_of(store)
            assert ids == list(range(1, len(ids) + 1)), "a row is missing or twice"
            assert len(ids) >= acknowledged, "an acknowledged row is missing"
            assert int(store.units().get("check", {}).get("last", 0)) <= len(ids), "a document is ahead of the results"
            assert store.health().torn_tails == 0
        finally:
            store.close()
    assert {".ndj", ".seg", ".rol"} <= kinds


def between_sizes(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let that happen before each size is taken."""
    measure = backing_up._Source.measure

    def measured(self: backing_up._Source) -> None:
        act()
        measure(self)

    monkeypatch.setattr(backing_up._Source, "measure", measured)


def lag_of_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """By how many rows the documents of a backup are behind, when both grow while it is made."""
    store = opened(tmp_path / "data", Limits(reserve_bytes=4096))

    def grow() -> None:
        last_id = store.append(make_results(1))[-1]
        store.save(units={"check": {"last": str(last_id)}})

    grow()
    between_sizes(monkeypatch, grow)
    make(tmp_path / "data", tmp_path / "b.tar.gz")
    store.close()
    restore(tmp_path / "b.tar.gz", tmp_path / "again", now_at=NOW)
    again = opened(tmp_path / "again")
    try:
        return ids_of(again)[-1] - int(again.units()["check"]["last"])
    finally:
        again.close()


def test_results_are_never_behind_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lag_of_documents(tmp_path, monkeypatch) > 0


def test_control_in_another_order_they_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing_up, "sorted", lambda names: sorted(names)[::-1], raising=False)
    assert lag_of_documents(tmp_path, monkeypatch) < 0


def test_files_that_come_and_go_meanwhile_start_it_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing_up, "_PAUSE_S", 0.0)
    store = opened(tmp_path / "data", Limits(reserve_bytes=4096, journal_rows=5))
    rotations = 0

    def rotate() -> None:
        nonlocal rotations
        if rotations < 20:
            rotations += 1
            store.append(make_results(5))

    rotate()
    between_sizes(monkeypatch, rotate)
    make(tmp_path / "data", tmp_path / "b.tar.gz")
    store.close()
    restore(tmp_path / "b.tar.gz", tmp_path / "again", now_at=NOW)
    again = opened(tmp_path / "again")
    assert ids_of(again) == list(range(1, 101))
    again.close()


def test_a_file_that_is_renamed_into_the_place_of_another_starts_it_over(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backing_up, "_PAUSE_S", 0.0)
    rollup = data / "rollups" / "2026-11.rol"
    rollup.parent.mkdir(exist_ok=True)
    rollup.write_bytes(b"old")
    fresh = data / "rollups" / "2026-11.rol.tmp"
    fresh.write_bytes(b"new")
    between_sizes(monkeypatch, lambda: fresh.exists() and fresh.replace(rollup))
    make(data, tmp_path / "b.tar.gz")
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        assert archive.extractfile("rollups/2026-11.rol").read() == b"new"
        assert "rollups/2026-11.rol.tmp" not in archive.getnames()


def test_a_directory_that_never_holds_still_is_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backing_up, "_PAUSE_S", 0.0)
    restless = [data / "results" / "1000000.ndj"]
    restless[0].touch()

    def move_on() -> None:
        restless.append(restless[-1].rename(data / "results" / f"{10**6 + len(restless)}.ndj"))

    between_sizes(monkeypatch, move_on)
    with pytest.raises(StoreError, match=r"data: its files changed all the time, through 100 tries; try again once"):
        make(data, tmp_path / "b.tar.gz")
    assert not list(tmp_path.glob("b.tar*"))


def test_a_journal_that_is_cut_back_while_it_is_read_starts_it_over(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backing_up, "_PAUSE_S", 0.0)
    journal = max((data / "results").glob("*.ndj"))
    whole = journal.read_bytes()
    kept = whole[: whole.index(b"\n") + 1]
    entry = backing_up._Source.entry

    def cut_back(self: backing_up._Source) -> object:
        os.truncate(journal, len(kept))
        return entry(self)

    monkeypatch.setattr(backing_up._Source, "entry", cut_back)
    make(data, tmp_path / "b.tar.gz")
    restore(tmp_path / "b.tar.gz", tmp_path / "again", now_at=NOW)
    assert (tmp_path / "again" / "results" / journal.name).read_bytes() == kept


@pytest.mark.parametrize("tail", [b"7", b"00000000 {half a line", b"x" * 3 * 1024 * 1024])
def test_what_is_behind_the_last_newline_is_cut(data: Path, tmp_path: Path, tail: bytes) -> None:
    before = digests(data)
    journal = max((data / "results").glob("*.ndj"))
    with journal.open("ab") as file:
        file.write(tail)
    (data / "documents" / "0000009999.ndj").write_bytes(tail)
    make(data, tmp_path / "b.tar.gz")
    restore(tmp_path / "b.tar.gz", tmp_path / "again", now_at=NOW)
    found = digests(tmp_path / "again")
    assert (tmp_path / "again" / "documents" / "0000009999.ndj").read_bytes() == b""
    assert found.pop("documents/0000009999.ndj")
    assert found == before


def test_links_and_devices_are_not_followed(data: Path, tmp_path: Path) -> None:
    (data / "results" / "0000009999.ndj").symlink_to("/etc/passwd")
    os.mkfifo(data / "results" / "0000009998.ndj")
    make(data, tmp_path / "b.tar.gz")
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        assert not {name for name in archive.getnames() if "999" in name}


def test_a_file_that_is_there_is_replaced_only_when_that_is_wished(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.tar.gz"
    target.write_bytes(b"older")
    with pytest.raises(StoreError, match=r"b\.tar\.gz: is there already; .* --force"):
        make(data, target)
    assert target.read_bytes() == b"older"
    make(data, target, force=True)
    assert tarfile.is_tarfile(target)


def test_a_place_that_is_no_file_is_refused_even_then(data: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a file"):
        make(data, tmp_path, force=True)
    with pytest.raises(StoreError, match="is not a file"):
        make(data, Path("/dev/null"), force=True)


def test_a_backup_may_lie_in_the_directory_it_is_of(data: Path) -> None:
    first = make(data, data / "b.tar.gz")
    assert make(data, data / "c.tar.gz").files == first.files


@pytest.mark.parametrize(
    ("call", "number"), [("write", errno.ENOSPC), ("sync", errno.EIO), ("rename", errno.EROFS), ("open", errno.EACCES)]
)
def test_a_write_that_fails_is_told_and_leaves_what_was_there(
    data: Path, tmp_path: Path, call: str, number: int
) -> None:
    class Failing(FailingFiles):
        def open(self, path: Path, flags: int) -> int:
            self._step("open")
            return super().open(path, flags)

    target = tmp_path / "b.tar.gz"
    target.write_bytes(b"older")
    files = Failing()
    files.fail(call, number)
    with pytest.raises(OSError) as caught:
        make(data, target, force=True, files=files)
    assert (caught.value.errno, caught.value.filename) == (number, str(target))
    assert target.read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar.gz", "data"]


def test_short_writes_are_finished(data: Path, tmp_path: Path) -> None:
    files = FailingFiles()
    files.fail("write", "short", times=3)
    make(data, tmp_path / "b.tar.gz", files=files)
    restore(tmp_path / "b.tar.gz", tmp_path / "again", now_at=NOW)
    assert digests(tmp_path / "again") == digests(data)


class BadDisk(Files):
    """Keeps another bit than it was given."""

    def write(self, descriptor: int, data: bytes) -> int:
        spoiled = bytearray(data)
        spoiled[len(spoiled) // 2] ^= 4
        return super().write(descriptor, bytes(spoiled))


def test_a_backup_that_does_not_read_back_never_counts(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.tar.gz"
    target.write_bytes(b"older")
    with pytest.raises(StoreError, match="cannot be trusted"):
        make(data, target, force=True, files=BadDisk())
    assert target.read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar.gz", "data"]


def test_control_without_reading_back_it_would(data: Path, tmp_path: Path) -> None:
    make(data, tmp_path / "b.tar.gz", files=BadDisk(), verify=False)
    with pytest.raises(StoreError):
        restore(tmp_path / "b.tar.gz", tmp_path / "again", now_at=NOW)


@pytest.mark.parametrize(
    ("name", "words"), [("none", "none: there is no such directory"), ("empty", "empty: holds no data of Watchroom")]
)
def test_a_directory_with_nothing_to_back_up_is_told(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreUnavailable, match=words):
        make(tmp_path / name, tmp_path / "b.tar.gz")
    assert not list(tmp_path.glob("b.tar*"))


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    about = "from storage.test_backup import *\n"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-c", about + code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


KILLED = """
class Killing(Files):
    def write(self, descriptor, data):
        written = super().write(descriptor, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

make(Path(sys.argv[1]), Path(sys.argv[2]), force=True, files=Killing())
"""


def test_kill_9_leaves_the_older_backup(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.tar.gz"
    target.write_bytes(b"older")
    assert run(KILLED, str(data), str(target)).returncode == -signal.SIGKILL
    assert target.read_bytes() == b"older"


SHORT_OF_DESCRIPTORS = """
resource.setrlimit(resource.RLIMIT_NOFILE, (40, int(sys.argv[3])))
try:
    print(make(Path(sys.argv[1]), Path(sys.argv[2])).files)
except StoreError as error:
    print(error)
"""


def test_more_files_than_a_process_usually_opens_are_no_obstacle(data: Path, tmp_path: Path) -> None:
    for number in range(100):
        (data / "rollups" / f"day-{number}.rol").parent.mkdir(exist_ok=True)
        (data / "rollups" / f"day-{number}.rol").write_bytes(b"x")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert int(run(SHORT_OF_DESCRIPTORS, str(data), str(tmp_path / "b.tar.gz"), str(hard)).stdout) > 100
    said = run(SHORT_OF_DESCRIPTORS, str(data), str(tmp_path / "c.tar.gz"), "60").stdout
    assert "files open at once, and this process may open 60; raise `ulimit -n`" in said


def test_word_of_the_newest_backup_is_left_and_read(tmp_path: Path) -> None:
    assert read_backup_note(tmp_path) is None
    note = Backup(at=NOW, path="/backups/b.tar.gz", size_bytes=5, rows=7)
    assert leave_note(tmp_path, note)
    assert read_backup_note(tmp_path) == note
    (tmp_path / "BACKUP").write_text('{"at": 5}')
    assert read_backup_note(tmp_path) is None
    assert not leave_note(tmp_path / "none", note)


def test_a_backup_is_an_ordinary_tar_file(data: Path, tmp_path: Path) -> None:
    make(data, tmp_path / "b.tar.gz")
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xzf", str(tmp_path / "b.tar.gz"), "-C", str(tmp_path / "out")], check=True)
    assert digests(tmp_path / "out") == digests(data)
    assert gzip.decompress((tmp_path / "b.tar.gz").read_bytes()).endswith(bytes(1024))
