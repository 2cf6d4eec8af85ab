"""Runs of rows: the journal that is written now, closed journals, and the segments they are sealed into."""

from __future__ import annotations

import os
import re
import threading
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from math import inf
from pathlib import Path
from typing import NamedTuple, Protocol

import orjson

from dashboard.storage.base import ResultColumns
from dashboard.storage.columns import CheckColumns, PartColumns
from dashboard.storage.journal import Frames, SoundLines, find_frames, line_at, payloads_of
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.records import Row, columns_of

_ROW = b'{"id":'
_HEADER = b'{"journal":'
_ROW_HEAD = re.compile(rb'\{"id":(\d+),"check_id":("(?:[^"\\]|\\.)*"),"at":([^,]+),"status":"(\w+)"')
_LINES_AT_ONCE = 4096
_LINES_PARSED = 2048
_CHUNK_ROWS = 8192


class Tally(NamedTuple):
    """How many rows of a check a part has."""

    rows: int
    bad: int


class Summary:
    """What is known of a part without reading it."""

    __slots__ = ("end_s", "first_id", "last_id", "rows", "start_s")

    def __init__(self) -> None:
        self.rows = 0
        self.first_id = 0
        self.last_id = 0
        self.start_s = inf  # the earliest `at`
        self.end_s = -inf  # the latest


class Note(NamedTuple):
    """What a journal remembers of a row: enough to find it again."""

    id: int
    check_id: str
    at_s: float
    is_bad: bool


def header(generation: int, next_id: int, opened_at_s: float) -> bytes:
    """What the first line of a journal carries: ids go on from here even when retention took everything before."""
    return orjson.dumps({"journal": generation, "next_id": next_id, "opened_at": opened_at_s})


class Part(Protocol):
    """A run of rows with ascending ids, in one file. Reading is thread-safe and goes on though the file is unlinked."""

    path: Path
    summary: Summary

    @property
    def size_bytes(self) -> int:
        """The durable bytes of its file."""

    @property
    def rows_in_memory(self) -> int:
        """How many of its rows memory holds."""

    @property
    def checks(self) -> Mapping[str, Tally]:
        """How many rows of each check it has."""

    def between(self, check_id: str, start_s: float, end_s: float) -> Iterator[ResultColumns]:
        """The check's rows with start_s <= at < end_s, by id, in pieces that are not empty."""

    def newest(self, check_id: str, n: int, before_id: int | None, bad_only: bool) -> ResultColumns | None:
        """The check's newest n rows, oldest first; with an id below `before_id` when given; None where there are none."""

    def find(self, row_id: int) -> Row | None:
        """The row with that id."""

    def groups(
        self, check_ids: Collection[str] | None = None, start_s: float = -inf, end_s: float = inf
    ) -> Iterator[Sequence[ResultColumns]]:
        """All rows that were durable when this was called and may fit (and others), in runs of ids: a piece a check."""


class JournalPart:
    """A journal, closed or being written: it knows where each row is, and reads those of a check when they are asked for.

    `add` is for its one writer.
    """

    def __init__(self, path: Path, *, quarantine: Quarantine, after_id: int = 0) -> None:
        self.path = path
        self.summary = Summary()
        self.size_bytes = 0
        self.opened_at_s = 0.0
        self.header_bytes = 0
        self._header_next_id = 1
        self._after_id = (
            after_id  # rows up to this id are in an earlier part: a failed sync wrote them twice, or a seal
        )
        self._quarantine = quarantine
        self._tallies: dict[str, Tally] = {}
        self._unread: dict[str, array[int]] = {}  # offsets of rows that are not in the columns yet
        self._columns = PartColumns()
        self._lock = threading.Lock()
        self._descriptor = -1
        with suppress(OSError):  # now, so that whoever reads goes on though it is unlinked
            self._open()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return self._descriptor

    @property
    def rows_in_memory(self) -> int:
        return self._columns.rows

    @property
    def checks(self) -> Mapping[str, Tally]:
        with self._lock:
            return dict(self._tallies)

    @property
    def next_id(self) -> int:
        """The lowest id that no row up to here can have had."""
        return max(self._header_next_id, self.summary.last_id + 1)

    def add(self, notes: Sequence[Note], offsets: Sequence[int], size_bytes: int) -> None:
        """Show rows that are durable now, up to that byte of the file, each from its offset on."""
        with self._lock:
            self._count(notes, offsets)
            self.size_bytes = size_bytes

    def replay(self, *, end: int | None = None) -> SoundLines:
        """Read the file, up to the byte `end` if given: note where its rows are. What the lines were is given back."""
        lines = SoundLines(self.path, self._quarantine, end=end, descriptor=self._open())
        names: dict[bytes, str] = {}
        for frames in lines.frames():
            if frames.payloads[0].startswith(_HEADER):
                fields = orjson.loads(frames.payloads[0])
                self._header_next_id, self.opened_at_s = fields["next_id"], fields["opened_at"]
                self.header_bytes = frames.offsets[0] + len(frames.payloads[0]) + 10
            notes, offsets = self._notes(frames, names)
            with self._lock:
                self._count(notes, offsets)
        self.size_bytes = lines.good_end
        return lines

    def between(self, check_id: str, start_s: float, end_s: float) -> Iterator[ResultColumns]:
        columns = self._of(check_id)
        if columns is not None and len(found := columns.between(start_s, end_s)):
            yield found

    def newest(self, check_id: str, n: int, before_id: int | None, bad_only: bool) -> ResultColumns | None:
        with self._lock:
            tally = self._tallies.get(check_id)
            unread = self._unread.get(check_id, ())
            are_enough = before_id is None and not bad_only and 0 < n < len(unread)
            offsets = unread[-n:] if are_enough else ()
        if tally is None or (bad_only and not tally.bad):
            return None
        if are_enough and len(rows := self._rows_at(offsets, check_id)) == n:  # none of them is damaged
            return columns_of(rows)
        columns = self._of(check_id)
        return columns.newest(n, before_id, bad_only) if columns is not None else None

    def find(self, row_id: int) -> Row | None:
        for payloads in find_frames(self._open(), b'{"id":%d,' % row_id, end=self.size_bytes):
            for row in _rows(payloads, self._after_id):
                if row["id"] == row_id:
                    return row
        return None

    def groups(
        self, check_ids: Collection[str] | None = None, start_s: float = -inf, end_s: float = inf
    ) -> Iterator[list[ResultColumns]]:
        end = self.size_bytes
        if check_ids is not None and len(check_ids) == 1:
            last_id = self.summary.last_id
            [only] = check_ids
            return (pieces for pieces in ([piece for piece in self._all_of(only, last_id) if len(piece)],) if pieces)
        return self._groups(end, check_ids)

    def rows(self) -> Iterator[list[Row]]:
        """All rows that were durable when this was called, by id, some thousand at a time."""
        lines = SoundLines(self.path, self._quarantine, end=self.size_bytes, descriptor=self._open())
        return (rows for payloads in lines if (rows := _rows(payloads, self._after_id)))

    def _all_of(self, check_id: str, last_id: int) -> Iterator[ResultColumns]:
        columns = self._of(check_id)
        if columns is not None:
            yield columns.newest(len(columns), last_id + 1, False)

    def _groups(self, end: int, check_ids: Collection[str] | None) -> Iterator[list[ResultColumns]]:
        wanted = None if check_ids is None else frozenset(check_ids)
        columns = PartColumns()
        for payloads in _batches(SoundLines(self.path, self._quarantine, end=end, descriptor=self._open())):
            columns.extend(_rows(payloads, self._after_id, wanted))
            if columns.rows >= _CHUNK_ROWS:
                yield [each.all() for each in columns.checks.values()]
                columns = PartColumns()
        if columns.rows:
            yield [each.all() for each in columns.checks.values()]

    def _of(self, check_id: str) -> CheckColumns | None:
        """The check's rows, those that were not read yet included."""
        with self._lock:
            offsets = self._unread.pop(check_id, ())
            for first in range(0, len(offsets), _LINES_AT_ONCE):
                self._columns.extend(self._rows_at(offsets[first : first + _LINES_AT_ONCE], check_id))
            return self._columns.checks.get(check_id)

    def _rows_at(self, offsets: Sequence[int], check_id: str) -> list[Row]:
        """The check's rows that begin there and are not damaged."""
        if not offsets:
            return []
        descriptor = self._open()
        lines = [line_at(descriptor, offset) for offset in offsets]
        return _rows(payloads_of(b"".join(lines)), self._after_id, (check_id,))

    def _count(self, notes: Sequence[Note], offsets: Sequence[int]) -> None:
        if not notes:
            return
        summary, tallies, unread = self.summary, self._tallies, self._unread
        summary.rows += len(notes)
        summary.first_id = summary.first_id or notes[0][0]
        summary.last_id = notes[-1][0]
        instants = [note[2] for note in notes]
        summary.start_s = min(summary.start_s, min(instants))
        summary.end_s = max(summary.end_s, max(instants))
        by_check: defaultdict[str, list[int]] = defaultdict(list)
        bad: defaultdict[str, int] = defaultdict(int)
        for (_, check_id, _, is_bad), offset in zip(notes, offsets, strict=True):
            by_check[check_id].append(offset)
            if is_bad:
                bad[check_id] += 1
        for check_id, its_offsets in by_check.items():
            rows, bad_rows = tallies.get(check_id, (0, 0))
            tallies[check_id] = Tally(rows + len(its_offsets), bad_rows + bad[check_id] if bad else bad_rows)
            known = unread.get(check_id)
            if known is None:
                unread[check_id] = array("Q", its_offsets)
            else:
                known.extend(its_offsets)

    def _notes(self, frames: Frames, names: dict[bytes, str]) -> tuple[list[Note], list[int]]:
        notes: list[Note] = []
        offsets: list[int] = []
        after_id = max(self._after_id, self.summary.last_id)
        match_head, new = _ROW_HEAD.match, tuple.__new__
        for payload, offset in zip(frames.payloads, frames.offsets, strict=True):
            match = match_head(payload)
            if match is None:
                continue
            number, quoted, at, word = match.groups()
            row_id = int(number)
            if row_id <= after_id:
                continue
            after_id = row_id
            name = names.get(quoted)
            if name is None:
                name = names[quoted] = orjson.loads(quoted)
            notes.append(new(Note, (row_id, name, float(at), word != b"ok")))  # half the time of Note(...)
            offsets.append(offset)
        return notes, offsets


def _batches(lines: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
    """The same lines by some thousand: as rows they take ten times as much as in columns, but few at once take long."""
    held: list[bytes] = []
    for payloads in lines:
        held += payloads
        if len(held) >= _LINES_PARSED:
            yield held
            held = []
    if held:
        yield held


def _rows(payloads: list[bytes], after_id: int, wanted: Collection[str] | None = None) -> list[Row]:
    if not payloads:
        return []
    if not (payloads[0].startswith(_ROW) and payloads[-1].startswith(_ROW)):
        payloads = [payload for payload in payloads if payload.startswith(_ROW)]
    rows: list[Row] = orjson.loads(b"[" + b",".join(payloads) + b"]")
    if rows and rows[0]["id"] <= after_id:
        rows = [row for row in rows if row["id"] > after_id]
    return rows if wanted is None else [row for row in rows if row["check_id"] in wanted]


def line_offsets(first: int, lengths: Sequence[int]) -> list[int]:
    """Where lines of these lengths begin, one behind the other."""
    return list(accumulate(lengths[:-1], initial=first)) if lengths else []
