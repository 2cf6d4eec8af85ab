"""How rows get in: whole batches, many in one write and one sync, shown to readers only once they are durable."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from checks.base import Clock
from dashboard.errors import StoreError, StoreFull
from dashboard.storage.files import Files
from dashboard.storage.journal import Journal, frame, generations
from dashboard.storage.parts import JournalPart, Part, header
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.records import Row, encode
from dashboard.storage.retention import recent, worth_holding
from dashboard.storage.room import Room
from dashboard.storage.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much goes where."""

    journal_rows: int = 250_000
    journal_s: float = 3600.0
    memory_rows: int = 1_000_000
    memory_s: float = 24 * 3600.0
    waiting_rows: int = 100_000
    reserve_bytes: int = 32 * 1024 * 1024
    retry_s: float = 1.0
    snapshot_bytes: int = 4 * 1024 * 1024  # operations on documents before a snapshot replaces them


@dataclass(slots=True, kw_only=True)
class _Batch:
    """Rows of one caller on their way to the disk."""

    rows: list[Row]
    lines: bytes
    is_durable: bool = False
    error: StoreError | None = None


class Appender:
    """Writes rows to journals and shows them in the timeline. Thread-safe.

    There is no writing thread: of those who wait, one writes for all (group commit). Lock order: `_flushing`, held over
    the disk, then `_gate`, held for moments; readers take neither.
    """

    def __init__(
        self,
        directory: Path,
        timeline: Timeline,
        *,
        clock: Clock,
        files: Files,
        room: Room,
        quarantine: Quarantine,
        limits: Limits,
    ) -> None:
        self._directory = directory
        self._timeline = timeline
        self._clock = clock
        self._files = files
        self._room = room
        self._quarantine = quarantine
        self._limits = limits
        self._journal = Journal(directory, files=files, header=self._header)
        self._active: JournalPart | None = None
        self._rotate_at_s = 0.0  # monotonic
        self._flushing = threading.Lock()
        self._gate = threading.Lock()
        self._queue: list[_Batch] = []
        self._is_closed = True
        self._rows_held = 0
        self.next_id = 1
        self.last_sync_s = 0.0

    @property
    def fault(self) -> str:
        """Why writing is over; empty while it is not."""
        return self._journal.fault

    @property
    def waiting_rows(self) -> int:
        """Rows that are not durable yet."""
        with self._gate:
            return sum(len(batch.rows) for batch in self._queue)

    def open(self) -> None:
        """Read what is there, mend the ends of files, go on in the newest. Raises OSError."""
        found = generations(self._directory)
        parts: list[JournalPart] = []
        after_id = 0
        for generation, path in found:
            part = JournalPart(path, quarantine=self._quarantine, after_id=after_id)
            is_newest = generation == found[-1][0]
            if is_newest or not part.recall():
                self._mend(part, generation, is_newest=is_newest)
            self.next_id = max(self.next_id, part.next_id)
            after_id = max(after_id, part.summary.last_id)
            if part.summary.rows or is_newest:
                parts.append(part)
        self._timeline.parts = tuple(parts)
        self._trim_memory()
        for held in worth_holding(recent(parts, self._limits.memory_s), self._limits.memory_rows):
            if held is not self._active:
                held.hold()
        self._rows_held = self._timeline.rows_in_memory
        self._is_closed = False

    def close(self) -> None:
        """End writing; those who wait for room get StoreFull. Idempotent."""
        with self._gate:
            self._is_closed = True
        self._room.stop()
        with self._flushing:
            while self.waiting_rows:
                self._flush()
            self._journal.close()

    def append(self, rows: Sequence[Row]) -> list[int]:
        """Record the rows, all or none; their ids once they are durable. Raises StoreFull, StoreReadOnly."""
        if not rows:
            return []
        bodies = [encode(row) for row in rows]
        with self._gate:
            batch = self._enqueue(list(rows), bodies)
        with self._flushing:
            while not batch.is_durable:
                if batch.error is not None:
                    raise batch.error
                self._flush()
        return [row["id"] for row in batch.rows]

    def give_up(self, closed: Sequence[Part]) -> None:
        """Unlink these closed files."""
        with self._flushing:
            self._unlink(closed)

    def clear(self) -> None:
        """Unlink all files; ids go on."""
        with self._flushing:
            old = self._timeline.parts
            self._rotate()
            self._journal.commit(b"")
            self._show([])
            self._unlink(old)

    def _header(self, generation: int) -> bytes:
        return header(generation, self.next_id, self._clock.now().timestamp())

    def _mend(self, part: JournalPart, generation: int, *, is_newest: bool) -> None:
        """Read a file that was not closed: cut its torn end, make it durable, close it unless it is the newest."""
        lines = part.replay(into_memory=is_newest)
        if tail := lines.tail:
            self._quarantine.keep_tail(part.path, part.size_bytes, tail)
        journal = self._journal if is_newest else Journal(self._directory, files=self._files)
        journal.resume(generation, part.size_bytes)
        if not is_newest:
            journal.finish(part.summary.trailer())
            return
        self._active = part
        age_s = max(0.0, self._clock.now().timestamp() - part.opened_at_s)
        self._rotate_at_s = self._clock.monotonic_s() + self._limits.journal_s - age_s

    def _enqueue(self, rows: list[Row], bodies: list[bytes]) -> _Batch:
        waiting = sum(len(batch.rows) for batch in self._queue)
        if self._is_closed:
            raise StoreError(f"{self._directory}: the store is closed")
        if waiting and waiting + len(rows) > self._limits.waiting_rows:
            raise StoreFull(f"{self._directory}: no room on the disk, and {waiting} results wait already; free some")
        lines: list[bytes] = []
        for row, body in zip(rows, bodies, strict=True):
            row["id"] = self.next_id
            lines.append(frame(b'{"id":%d,%b' % (self.next_id, body[1:])))
            self.next_id += 1
        batch = _Batch(rows=rows, lines=b"".join(lines))
        self._queue.append(batch)
        return batch

    def _flush(self) -> None:
        """Write all that waits as one group; whoever holds `_flushing` does it for everybody."""
        with self._gate:
            batches = list(self._queue)
        rows = [row for batch in batches for row in batch.rows]
        if self._is_due(len(rows)):
            self._rotate()
        started_s = self._clock.monotonic_s()
        try:
            try:
                self._journal.commit(b"".join(batch.lines for batch in batches))
            except StoreFull as error:
                self._room.make(error)
                return
        except StoreError as error:
            self._settle(batches, error)
            return
        self.last_sync_s = self._clock.monotonic_s() - started_s
        self._show(rows)
        self._settle(batches, None)
        self._room.regained()

    def _settle(self, batches: list[_Batch], error: StoreError | None) -> None:
        with self._gate:
            del self._queue[: len(batches)]
        for batch in batches:
            batch.error = error
            batch.is_durable = error is None

    def _show(self, rows: list[Row]) -> None:
        active = self._active
        if active is None or active.path != self._journal.path:
            after_id = max((part.summary.last_id for part in self._timeline.parts), default=0)
            active = JournalPart(self._journal.path, quarantine=self._quarantine, after_id=after_id)
            self._active = active
            self._rotate_at_s = self._clock.monotonic_s() + self._limits.journal_s
            self._timeline.parts = (*self._timeline.parts, active)
        active.add(rows, self._journal.size_bytes)
        self._rows_held += len(rows)
        if self._rows_held > self._limits.memory_rows:
            self._trim_memory()

    def _is_due(self, coming_rows: int) -> bool:
        if self._active is None or not self._active.summary.rows:
            return False
        is_long = self._active.summary.rows + coming_rows > self._limits.journal_rows
        return is_long or self._clock.monotonic_s() >= self._rotate_at_s

    def _rotate(self) -> None:
        """Close the file; the next commit starts another."""
        if self._active is not None and self._journal.is_open:
            self._journal.finish(self._active.summary.trailer())
        self._trim_memory()

    def _trim_memory(self) -> None:
        """Let memory keep its limits: what does not fit and is read at every start is still found fast.

        Twice the age, because the newest 40 results of an hourly check reach back that far.
        """
        parts = self._timeline.parts
        held = worth_holding(recent(parts, self._limits.memory_s), self._limits.memory_rows)
        read_often = recent(parts, 2 * self._limits.memory_s)
        for part in parts:
            if part not in held and part is not self._active:
                part.evict(is_recent=part in read_often)
        self._rows_held = self._timeline.rows_in_memory

    def _unlink(self, gone: Sequence[Part]) -> None:
        self._timeline.parts = tuple(part for part in self._timeline.parts if part not in gone)
        for part in gone:
            self._files.unlink(part.path)
