"""Damage: files cut at any byte, and single flipped bits in every kind of file.

Each time the store opens, says what it found, and misses no more than the record or the block that was hit.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import orjson
from fakes import FakeClock
from faults.disk import Image, disk_of, write_image
from faults.ledger import Possible, Promise
from faults.stores import LIMITS, Ours, Stock
from faults.verdict import Fault, Tally, faults_of, judged, used, wrong_rollups
from faults.workload import CHECKS, recorded
from faults.workplace import workplace

from dashboard.errors import StoreError
from dashboard.storage import blocks, doctor
from dashboard.storage.blockfile import Frame, FrameReader, Kind
from dashboard.storage.files import Files

FLIPS, CUTS, TAILS = "flipped bits", "cut files", "cut tails"
LAST_BYTES = 64 * 1024
_USED = 0.4  # so often the store is also used on afterwards
_KINDS = {
    "results": re.compile(r"results/\d+\.ndj"),
    "segment": re.compile(r"results/.*\.seg"),
    "rollups": re.compile(r"rollups/.*\.rol"),
    "operations": re.compile(r"documents/\d+\.ndj"),
    "snapshot": re.compile(r"documents/\d+\.snap\.json"),
    "format": re.compile(r"FORMAT"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What may be missing for what was done to a file: rows by id, documents by their keys, the rollups of checks."""

    rows: frozenset[int] = frozenset()
    documents: frozenset[str] = frozenset()
    checks: frozenset[str] = frozenset()
    is_read: bool = False  # the running store reads these bytes whatever it is asked, so its health must tell
    is_silent: bool = False  # a cut between two lines: nothing tells it from a file that never had more


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of a file and what is lost with it."""

    start: int
    end: int
    harm: Harm


Pieces = Mapping[str, Sequence[Piece]]  # of every file that has any


def run_flips(tally: Tally, *, seed: int, flips: int) -> None:
    """Flip so many single bits, each in a good copy, the kinds of files in turn."""
    chance = Random(seed)
    with workplace() as place:
        image, promise = _worked(place(), seed)
        pieces = pieces_of(image, place())
        kinds = sorted({_kind(name) for name in pieces})
        for number in range(flips):
            name = chance.choice([name for name in pieces if _kind(name) == kinds[number % len(kinds)]])
            data, where = _flipped(image[name], chance)
            harm = _harm_of(pieces[name], where[0])
            is_used = chance.random() < _USED
            found = harmed(image | {name: data}, name, harm, promise, place(), is_used=is_used)
            tally.count(found, f"seed {seed}, {name}: byte {where[0]}, bit {where[1]} flipped")


def run_cuts(tally: Tally, *, seed: int, cuts: int) -> None:
    """Cut files of all kinds at so many bytes."""
    chance = Random(seed)
    with workplace() as place:
        image, promise = _worked(place(), seed)
        pieces = pieces_of(image, place())
        kinds = sorted({_kind(name) for name in pieces})
        for number in range(cuts):
            name = chance.choice([name for name in pieces if _kind(name) == kinds[number % len(kinds)]])
            at = chance.randrange(len(image[name]))
            harm = _harm_of_cut(pieces, name, at)
            is_used = chance.random() < _USED
            found = harmed(image | {name: image[name][:at]}, name, harm, promise, place(), is_used=is_used)
            tally.count(found, f"seed {seed}, {name}: cut at byte {at}")


def run_tails(tally: Tally, *, seed: int, step: int = 1) -> None:
    """Cut the journal that is being written at every byte of its last 64 KiB, or at one of so many."""
    with workplace() as place:
        done = recorded(_long_journals, place(), seed=seed, days=0, rows=LAST_BYTES // 200)
        image, promise = disk_of(done.log).visible(), done.ledger.promise()
        name = max(name for name in image if _kind(name) == "results")
        size = len(image[name])
        assert size > LAST_BYTES, f"{name} is only {size} bytes long"
        pieces = pieces_of(image, place())
        for at in range(size - LAST_BYTES, size, step):
            harm = _harm_of_cut(pieces, name, at)
            found = harmed(image | {name: image[name][:at]}, name, harm, promise, place(), is_used=False)
            tally.count(found, f"seed {seed}, {name}: cut at byte {at} of {size}")


def run_control(tally: Tally, *, seed: int, flips: int) -> None:
    """Flip bits in the one file of stock TinyDB."""
    chance = Random(seed)
    with workplace() as place:
        done = recorded(Stock, place(), seed=seed, days=2)
        image, promise = disk_of(done.log).visible(), done.ledger.promise()
        for _ in range(flips):
            data, where = _flipped(image["db.json"], chance)
            tally.count(
                judged(Stock, {"db.json": data}, promise, place()), f"seed {seed}, byte and bit {where} flipped"
            )


def harmed(
    image: Image, name: str, harm: Harm, promise: Promise, directory: Path, *, is_used: bool
) -> list[tuple[Fault, str]]:
    """Open our store on the damaged image and hold it against what promise and harm leave. The directory is new, and gone afterwards."""
    write_image(image, directory)
    try:
        return list(_harmed(name, harm, promise, directory, is_used=is_used))
    finally:
        shutil.rmtree(directory)


def pieces_of(image: Image, scratch: Path) -> Pieces:
    """The records or blocks of the good files, and what is lost with each."""
    found: dict[str, Sequence[Piece]] = {}
    newest = max((name for name in image if _kind(name) == "snapshot"), default="")
    for name, data in image.items():
        kind = _kind(name)
        if kind == "results":
            found[name] = _lines(data, _harm_of_row)
        elif kind == "operations":
            found[name] = _lines(data, _harm_of_operations)
        elif kind in ("segment", "rollups"):
            path = scratch.with_name(Path(name).name)
            path.write_bytes(data)
            found[name] = list(_frames(path))
            path.unlink()
        elif kind:
            found[name] = [Piece(start=0, end=len(data), harm=Harm(is_read=name == newest))]
    return found


def _worked(directory: Path, seed: int) -> tuple[Image, Promise]:
    done = recorded(Ours, directory, seed=seed, days=3)
    return disk_of(done.log).visible(), done.ledger.promise()


def _long_journals(directory: Path, clock: FakeClock, files: Files) -> Ours:
    return Ours(directory, clock, files, replace(LIMITS, journal_rows=100_000, journal_s=1e9))


def _harmed(name: str, harm: Harm, promise: Promise, directory: Path, *, is_used: bool) -> Iterator[tuple[Fault, str]]:
    if not harm.is_silent and name not in _told_by_doctor(directory):
        yield "wrong", "the doctor sees no damage"
    hit = {serial: row for serial, row in promise.certain.items() if row.id in harm.rows}
    left = replace(
        promise,
        certain={serial: row for serial, row in promise.certain.items() if serial not in hit},
        unknown={**promise.unknown, **hit},
        unsettled=promise.unsettled | harm.checks,
    )
    try:
        store = Ours(directory, FakeClock(promise.now_at), Files())
        try:
            found = store.found()
            if _differ_only(found.documents, promise.documents.newest, harm.documents):
                left = replace(left, documents=Possible(found.documents))
            yield from faults_of(found, left)
            yield from wrong_rollups(store, found, left)
            if is_used:
                yield from used(store, found, left)
            health = store.health()
            is_told = health.damaged_blocks + health.quarantined_lines + health.torn_tails > 0
            is_short = len(found.rows) < len(promise.certain) or found.documents != promise.documents.newest
            if not is_told and not harm.is_silent and (harm.is_read or is_short):
                yield "wrong", "its health tells of no damage"
        finally:
            store.close()
    except Exception as error:  # whatever the damage may make of it
        yield "unreadable", repr(error)


def _told_by_doctor(directory: Path) -> str:
    with mock.patch.object(doctor, "_PAUSE_S", 0.0):
        try:
            examination = doctor.examine(directory)
        except StoreError as error:
            return str(error)
    return " ".join(map(str, (*examination.faults, *examination.notes)))


def _kind(name: str) -> str:
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(name)), "")


def _flipped(data: bytes, chance: Random) -> tuple[bytes, tuple[int, int]]:
    byte, bit = chance.randrange(len(data)), chance.randrange(8)
    return data[:byte] + bytes([data[byte] ^ 1 << bit]) + data[byte + 1 :], (byte, bit)


def _harm_of(pieces: Sequence[Piece], start: int, end: int | None = None) -> Harm:
    """What is lost with these bytes. A line that loses its newline takes the next one into its damage."""
    end = start + 1 if end is None else end
    hit = [piece.harm for piece in pieces if piece.start < end and piece.end > start]
    return Harm(
        rows=frozenset().union(*(harm.rows for harm in hit)),
        documents=frozenset().union(*(harm.documents for harm in hit)),
        checks=frozenset().union(*(harm.checks for harm in hit)),
        is_read=any(harm.is_read for harm in hit),
    )


def _harm_of_cut(pieces: Pieces, name: str, at: int) -> Harm:
    its_pieces = pieces[name]
    size = its_pieces[-1].end
    is_between = name.endswith(".ndj") and at in {0, *(piece.end for piece in its_pieces)}
    is_newline = _kind(name) == "format" and at == size - 1
    return replace(_harm_of(its_pieces, at, size), is_silent=is_between or is_newline)


def _differ_only(found: Mapping[str, str], expected: Mapping[str, str], keys: frozenset[str]) -> bool:
    return {key: value for key, value in found.items() if key not in keys} == {
        key: value for key, value in expected.items() if key not in keys
    }


def _lines(data: bytes, harm_of: Callable[[Mapping[str, Any]], Harm]) -> list[Piece]:
    pieces: list[Piece] = []
    start = 0
    for line in data.split(b"\n")[:-1]:
        end = start + len(line) + 1
        # A flipped newline joins two lines, so the one before belongs to the next line as well.
        pieces.append(Piece(start=max(0, start - 1), end=end, harm=harm_of(orjson.loads(line[9:]))))
        start = end
    return pieces


def _harm_of_row(row: Mapping[str, Any]) -> Harm:
    if "id" not in row:  # the header
        return Harm(is_read=True)
    return Harm(rows=frozenset({row["id"]}), checks=frozenset({row["check_id"]}), is_read=True)


def _harm_of_operations(commit: Mapping[str, Any]) -> Harm:
    keys: set[str] = set()
    for kind, table, *rest in commit["ops"]:
        if kind == "put" and table == "states":
            keys.add(repr(("state", rest[1]["check_id"])))
        elif kind == "put" and table == "units":
            keys.add(repr(("units", rest[1]["check_id"])))
        elif rest:
            keys.add(repr(("incident" if table == "incidents" else "note", int(rest[0]))))
    return Harm(documents=frozenset(keys), is_read=True)


def _frames(path: Path) -> Iterator[Piece]:
    """The blocks of a sealed file; what is between them (its first and last bytes) holds nothing."""
    names: list[str] = []
    dictionary = b""
    reader = FrameReader(path)
    for frame in reader.scan():
        assert isinstance(frame, Frame)
        # Without its marks nobody knows what the newest results before a seam cover: time there may be told differently.
        harm = Harm(checks=frozenset(CHECKS) if frame.kind == Kind.MARKS else frozenset())
        if frame.kind == Kind.HEAD and path.name.endswith(".seg"):
            head = orjson.loads(blocks.decompress(frame.payload))
            names, dictionary = head["names"], head["dictionary"].encode()
        elif frame.kind == Kind.RAW:
            rows = blocks.unpack_results(blocks.decompress(frame.payload, dictionary), names[frame.number])
            harm = Harm(rows=frozenset(rows.ids), checks=frozenset({names[frame.number]}), is_read=True)
        elif frame.kind == Kind.ROLLUP and names:
            harm = Harm(checks=frozenset({names[frame.number]}))
        elif frame.kind == Kind.ROLLUP:
            quoted, _, _ = blocks.decompress(frame.payload).partition(b"\n")
            harm = Harm(checks=frozenset({orjson.loads(quoted)}))
        yield Piece(start=frame.offset, end=frame.end, harm=harm)
    yield Piece(start=frame.end, end=reader.size_bytes, harm=Harm())
    reader.close()
