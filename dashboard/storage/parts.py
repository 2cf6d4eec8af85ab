"""Runs of rows: the journal that is written now, closed journals, and whatever else a run may be sealed into."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from math import inf
from pathlib import Path
from typing import NamedTuple, Protocol

import orjson

from dashboard.storage.base import ResultColumns
from dashboard.storage.columns import CheckColumns, PartColumns
from dashboard.storage.journal import SoundLines, find_frames, frame
from dashboard.storage.line_index import LineIndex
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.records import Row

_ROW = b'{"id":'
_HEADER = b'{"journal":'
_TRAILER = b'{"closed":'
_TRAILER_SEARCH_BYTES = 64 * 1024

Pick = Callable[[CheckColumns], ResultColumns]


class Tally(NamedTuple):
    """How many rows of a check a part has."""

    rows: int
    bad: int


class Summary:
    """What is known of a part without reading it. Grows with `add`."""

    def __init__(self) -> None:
        self.rows = 0
        self.first_id = 0
        self.last_id = 0
        self.start_s = inf  # the earliest `at`
        self.end_s = -inf  # the latest
        self.checks: dict[str, Tally] = {}

    def add(self, rows: Sequence[Row]) -> None:
        """Count rows, ids ascending."""
        if not rows:
            return
        self.rows += len(rows)
        self.first_id = self.first_id or rows[0]["id"]
        self.last_id = rows[-1]["id"]
        instants = [row["at"] for row in rows]
        self.start_s = min(self.start_s, min(instants))
        self.end_s = max(self.end_s, max(instants))
        for row in rows:
            known, bad = self.checks.get(row["check_id"], (0, 0))
            self.checks[row["check_id"]] = Tally(known + 1, bad + (row["status"] != "ok"))

    def trailer(self) -> bytes:
        """The last line of a closed journal: opening it needs no more than this."""
        fields = {"rows": self.rows, "first_id": self.first_id, "last_id": self.last_id}
        instants = {"start_s": self.start_s, "end_s": self.end_s} if self.rows else {}
        checks = {check_id: list(tally) for check_id, tally in self.checks.items()}
        return frame(orjson.dumps({"closed": 1, **fields, **instants, "checks": checks}))

    @classmethod
    def of_trailer(cls, payload: bytes) -> Summary:
        """The summary that such a line carries."""
        fields = orjson.loads(payload)
        summary = cls()
        summary.rows, summary.first_id, summary.last_id = fields["rows"], fields["first_id"], fields["last_id"]
        summary.start_s, summary.end_s = fields.get("start_s", inf), fields.get("end_s", -inf)
        summary.checks = {check_id: Tally(*tally) for check_id, tally in fields["checks"].items()}
        return summary


def header(generation: int, next_id: int, opened_at_s: float) -> bytes:
    """What the first line of a journal carries: ids go on from here even when retention took everything before."""
    return orjson.dumps({"journal": generation, "next_id": next_id, "opened_at": opened_at_s})


class Part(Protocol):
    """A run of rows with ascending ids, in one file. Reading is thread-safe and gives nothing once the file is unlinked."""

    path: Path
    summary: Summary

    @property
    def size_bytes(self) -> int:
        """The durable bytes of its file."""

    @property
    def rows_in_memory(self) -> int:
        """How many of its rows memory holds: all or none."""

    def read(self, check_id: str, pick: Pick) -> ResultColumns | None:
        """What `pick` takes from the rows of one check; None where there are none."""

    def sweep(self, pick: Pick) -> Iterator[ResultColumns]:
        """What `pick` takes from the rows of every check; from a file that is several pieces a check, oldest first."""

    def find(self, row_id: int) -> Row | None:
        """The row with that id."""

    def chunks(self, check_id: str | None = None) -> Iterator[list[Row]]:
        """All rows that were durable when this was called, or those of one check, by id, some thousand at a time."""

    def hold(self) -> None:
        """Take all of its rows into memory."""

    def evict(self, *, is_recent: bool) -> None:
        """Let go of what memory holds: reads go to the file from now on, often as long as it is recent."""


class JournalPart:
    """A journal, closed or being written. `add` is for its one writer."""

    def __init__(self, path: Path, *, quarantine: Quarantine, after_id: int = 0) -> None:
        self.path = path
        self.summary = Summary()
        self.size_bytes = 0
        self.opened_at_s = 0.0
        self._header_next_id = 1
        self._after_id = after_id  # rows up to this id are in an earlier part: a failed sync wrote them twice
        self._quarantine = quarantine
        self._columns: PartColumns | None = None
        self._is_recent = False
        self._index: LineIndex | None = None
        self._lock = threading.Lock()

    @property
    def rows_in_memory(self) -> int:
        return self.summary.rows if self._columns is not None else 0

    @property
    def next_id(self) -> int:
        """The lowest id that no row up to here can have had."""
        return max(self._header_next_id, self.summary.last_id + 1)

    def add(self, rows: Sequence[Row], size_bytes: int) -> None:
        """Show rows that are durable now, up to that byte of the file."""
        with self._lock:
            if self._columns is None and not self.summary.rows:
                self._columns = PartColumns()
            if self._columns is not None:
                self._columns.extend(rows)
            self.summary.add(rows)
            self.size_bytes = size_bytes

    def replay(self, *, into_memory: bool) -> SoundLines:
        """Read the whole file: count its rows, hold them in memory when wished. What the lines were is given back."""
        lines = SoundLines(self.path, self._quarantine)
        columns = PartColumns() if into_memory else None
        summary = Summary()
        for payloads in lines:
            if payloads[0].startswith(_HEADER):
                fields = orjson.loads(payloads[0])
                self._header_next_id, self.opened_at_s = fields["next_id"], fields["opened_at"]
            rows = self._rows(payloads)
            summary.add(rows)
            if columns is not None:
                columns.extend(rows)
        with self._lock:
            self.summary, self._columns, self.size_bytes = summary, columns, lines.good_end
        return lines

    def recall(self) -> bool:
        """Take the summary from the file's last line; whether there is one."""
        payload = _last_payload(self.path)
        if not payload.startswith(_TRAILER):
            return False
        self.summary = Summary.of_trailer(payload)
        self.size_bytes = self.path.stat().st_size
        return True

    def read(self, check_id: str, pick: Pick) -> ResultColumns | None:
        with self._lock:
            if check_id not in self.summary.checks:
                return None
            if self._columns is not None:
                columns = self._columns.checks.get(check_id)
                return pick(columns) if columns is not None else None
        columns = CheckColumns(check_id)
        for rows in self.chunks(check_id):
            columns.extend(rows)
        return pick(columns)

    def sweep(self, pick: Pick) -> Iterator[ResultColumns]:
        if self.rows_in_memory:
            pieces = (self.read(check_id, pick) for check_id in list(self.summary.checks))
            return (piece for piece in pieces if piece)
        return (pick(columns) for rows in self.chunks() for columns in PartColumns.of(rows).checks.values())

    def find(self, row_id: int) -> Row | None:
        found = self._chunks(lambda: find_frames(self.path, b'{"id":%d,' % row_id, end=self.size_bytes))
        return next((row for rows in found for row in rows if row["id"] == row_id), None)

    def chunks(self, check_id: str | None = None) -> Iterator[list[Row]]:
        end = self.size_bytes
        if check_id is None:
            return self._chunks(lambda: iter(SoundLines(self.path, self._quarantine, end=end)))
        rows = self._chunks(lambda: self._lines_of(check_id, end))
        return ([row for row in chunk if row["check_id"] == check_id] for chunk in rows)

    def hold(self) -> None:
        columns = PartColumns()
        for rows in self.chunks():
            columns.extend(rows)
        with self._lock:
            self._columns = columns

    def evict(self, *, is_recent: bool) -> None:
        with self._lock:
            self._columns = None
            self._is_recent = is_recent
            if not is_recent:
                self._index = None

    def _lines_of(self, check_id: str, end: int) -> Iterator[list[bytes]]:
        """By the index while the file is read often; it costs as much as reading four checks without it."""
        index = self._index
        if index is None and self._is_recent:
            index = self._index = LineIndex.of(self.path, end)
        if index is None:
            return find_frames(self.path, b'"check_id":%b,' % orjson.dumps(check_id), end=end)
        return index.payloads(check_id)

    def _chunks(self, lines: Callable[[], Iterator[list[bytes]]]) -> Iterator[list[Row]]:
        try:
            for payloads in lines():
                if payloads and (rows := self._rows(payloads)):
                    yield rows
        except FileNotFoundError:
            return  # retention was faster

    def _rows(self, payloads: list[bytes]) -> list[Row]:
        if not (payloads[0].startswith(_ROW) and payloads[-1].startswith(_ROW)):
            payloads = [payload for payload in payloads if payload.startswith(_ROW)]
        rows: list[Row] = orjson.loads(b"[" + b",".join(payloads) + b"]")
        if rows and rows[0]["id"] <= self._after_id:
            rows = [row for row in rows if row["id"] > self._after_id]
        return rows


def _last_payload(path: Path) -> bytes:
    """What the last line carries; empty when that line is not good."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        reach = min(size, _TRAILER_SEARCH_BYTES)
        while True:
            file.seek(size - reach)
            block = file.read(reach)
            start = block.rfind(b"\n", 0, -1) + 1
            if start or reach == size:
                break
            reach = min(size, reach * 2)
    line = block[start:]
    return line[9:-1] if frame(line[9:-1]) == line else b""
