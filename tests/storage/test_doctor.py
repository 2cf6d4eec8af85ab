"""The doctor: names every damage and what it means, sees none where there is none, changes nothing."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from storage.samples import make_results

from dashboard.clock import SystemClock
from dashboard.errors import StoreUnavailable
from dashboard.storage import doctor
from dashboard.storage.appender import Limits
from dashboard.storage.blockfile import FrameWriter, Kind
from dashboard.storage.doctor import examine
from dashboard.storage.files import Files
from dashboard.storage.journal import frame
from dashboard.storage.store import TinyStore

LIMITS = Limits(reserve_bytes=4096, snapshot_bytes=2000)


def journal_in(directory: Path, folder: str) -> Path:
    return max((directory / folder).glob("*.ndj"))


def flip(path: Path, offset: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= bit
    path.write_bytes(bytes(data))


def carried(journal: bytes) -> list[bytes]:
    return [line[9:] for line in journal.split(b"\n")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory with a file of every kind."""
    directory = tmp_path / "data"
    store = TinyStore(directory, SystemClock(), limits=LIMITS)
    store.open()
    for number in range(30):
        store.append(make_results(10, 10 * number))
        store.save(units={f"check-{number}": {"size": "B" * 40}})
    store.close()
    (directory / "rollups").mkdir(exist_ok=True)
    for name in ("results/000000009001-000000009002.seg", "rollups/2026-03-01.5m.rol"):
        writer = FrameWriter(directory / name, Files())
        writer.add(Kind.HEAD, b"names")
        for number in range(5):
            writer.add(Kind.RAW, bytes([number]) * 500, number)
        writer.seal(b"index")
        writer.publish()
    return directory


def test_all_sound_is_said_with_what_was_read(data: Path) -> None:
    found = examine(data)
    assert (found.faults, found.quarantined, found.notes) == ((), (), ())
    kinds = [path for pattern in ("*/*.ndj", "*/*.snap.json", "*/*.seg", "*/*.rol") for path in data.glob(pattern)]
    assert len({path.suffix for path in kinds}) == 4
    assert found.files == len(kinds) + (data / "FORMAT").exists()
    assert found.filesystem
    assert found.free_bytes > 0


def test_it_changes_nothing(data: Path) -> None:
    def tree() -> dict[str, tuple[int, bytes]]:
        return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in data.rglob("*") if path.is_file()}

    flip(journal_in(data, "results"), 300)
    before = tree()
    examine(data)
    assert tree() == before


@pytest.mark.parametrize(
    ("pattern", "fault", "meaning"),
    [
        (
            "results/*.ndj",
            "1 damaged line, the first at byte",
            "may have been a result that is lost; all others are read",
        ),
        ("documents/*.snap.json", "its checksum is wrong", "the snapshot before it and the journals since are used"),
        ("results/*.seg", "is damaged", "the results in such a block are lost, answers and exports show a gap"),
        ("rollups/*.rol", "is damaged", "the rollups in such a block are lost"),
    ],
)
def test_a_flipped_bit_is_found_in_every_kind_of_file(data: Path, pattern: str, fault: str, meaning: str) -> None:
    path = max(data.glob(pattern))
    flip(path, path.stat().st_size // 2)
    (found,) = examine(data).faults
    assert found.file == str(path.relative_to(data))
    assert fault in found.fault
    assert meaning in found.meaning
    assert "restore a backup" in found.way_out
    assert str(found).startswith(f"{found.file}: {found.fault}: {found.meaning}; ")


def test_no_flipped_bit_goes_unnoticed(data: Path) -> None:
    dice = random.Random(3)
    paths = [
        path for path in data.glob("*/*") if path.suffix in (".ndj", ".seg", ".rol", ".json") and path.stat().st_size
    ]
    for _ in range(100):
        path = dice.choice(paths)
        whole = path.read_bytes()
        flip(path, dice.randrange(len(whole)), 1 << dice.randrange(8))
        found = examine(data)
        torn = [note for note in found.notes if "half a line" in note]  # the last newline itself was hit
        harmless = path.suffix == ".ndj" and carried(path.read_bytes()) == carried(
            whole
        )  # `a` of a checksum is now `A`
        assert [fault.file for fault in found.faults] == [str(path.relative_to(data))] or torn or harmless
        path.write_bytes(whole)


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 100, b"[]"])
def test_a_snapshot_of_anything_else_is_damaged(data: Path, content: bytes) -> None:
    path = max(data.glob("documents/*.snap.json"))
    path.write_bytes(content)
    assert [fault.file for fault in examine(data).faults] == [str(path.relative_to(data))]


@pytest.mark.parametrize("content", [b"", b"WATCHRM2", b"\0" * 100])
def test_a_sealed_file_of_anything_else_is_damaged(data: Path, content: bytes) -> None:
    (path,) = data.glob("results/*.seg")
    path.write_bytes(content)
    assert [fault.file for fault in examine(data).faults] == [str(path.relative_to(data))]


def test_half_a_line_at_the_end_is_no_damage(data: Path) -> None:
    path = journal_in(data, "results")
    with path.open("ab") as file:
        file.write(frame(b'{"id":9999}')[:-5])
    found = examine(data)
    assert found.faults == ()
    assert [f"{path.name}: 16 bytes at its end are half a line" in note for note in found.notes] == [True]


def test_a_whole_line_at_the_end_that_is_wrong_is_damage(data: Path) -> None:
    path = journal_in(data, "documents")
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"00000000 {}\n")
    (found,) = examine(data).faults
    assert found.fault == f"the last 12 bytes, from byte {size}, are damaged"
    assert "operations that are lost" in found.meaning


def test_what_is_quarantined_is_shown_and_is_no_damage_of_today(data: Path) -> None:
    (data / "quarantine" / "results-0000000001.ndj-77.bad").write_bytes(b"12345")
    found = examine(data)
    assert [(kept.file, kept.size_bytes) for kept in found.quarantined] == [
        ("quarantine/results-0000000001.ndj-77.bad", 5)
    ]
    assert found.faults == ()


def test_files_that_are_not_ours_and_unfinished_ones_are_told(data: Path) -> None:
    (data / "results" / "copy of 1.ndj").touch()
    (data / "results" / "x.seg.tmp").touch()
    (data / "notes").mkdir()
    for name in ("secret.key", "server.json", "before-format-2.tar.gz", "BACKUP"):
        (data / name).touch()
    assert [note.partition(":")[0] for note in examine(data).notes] == [
        "'notes'",
        "'results/copy of 1.ndj'",
        "results/x.seg.tmp",
    ]


def test_a_format_that_makes_no_sense_is_damage(data: Path) -> None:
    (data / "FORMAT").write_text("?")
    assert [(fault.file, fault.fault) for fault in examine(data).faults] == [("FORMAT", "makes no sense")]


def test_a_file_that_the_disk_cannot_read_is_damage(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)
    faults = examine(data).faults
    assert {fault.fault for fault in faults if fault.file.endswith(".ndj")} == {"cannot be read: Input/output error"}
    assert {fault.file for fault in faults} >= {str(path.relative_to(data)) for path in data.glob("*/*.seg")}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.touch(), "Not a directory"),
        (lambda path: path.mkdir(), "holds no data of Watchroom"),
        (lambda path: (path.mkdir(), (path / "FORMAT").write_text('{"format":9}')), "has format 9"),
    ],
)
def test_a_directory_that_cannot_be_read_is_no_patient(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    make(tmp_path / "x")
    with pytest.raises(StoreUnavailable, match=words):
        examine(tmp_path / "x")


def test_rights_that_are_missing_are_told_apart_from_damage(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, name: str) -> object:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(doctor, "_journal", refuse)
    with pytest.raises(StoreUnavailable, match=r"\.ndj: Permission denied, as user id \d+; .* be the user who runs"):
        examine(data)


def test_a_store_that_is_written_meanwhile_is_sound(tmp_path: Path) -> None:
    store = TinyStore(tmp_path, SystemClock(), limits=Limits(reserve_bytes=4096, journal_rows=300, snapshot_bytes=2000))
    store.open()
    store.append(make_results(10))
    stopping = threading.Event()

    def write() -> None:
        number = 0
        while not stopping.is_set():
            number += 1
            store.append(make_results(20))
            store.save(units={f"check-{number % 50}": {"size": str(number)}})

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for _ in range(10):
            assert examine(tmp_path).faults == ()
    finally:
        stopping.set()
        writing.join()
        store.close()
