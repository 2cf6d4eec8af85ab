"""How rows get in: whole batches, many in one write and one sync, shown to readers only once they are durable."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from checks.base import Clock
from dashboard.errors import StoreError, StoreFull, StoreReadOnly
from dashboard.storage.files import Files
from dashboard.storage.journal import Journal, frame
from dashboard.storage.parts import JournalPart, Note, Part, header, line_offsets
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.records import Row, encode
from dashboard.storage.room import Room
from dashboard.storage.timeline import Timeline

_DAY_S = 86400.0
_GROUP_S = 0.05  # how long a row that nobody waits for may wait for others


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much goes where."""

    journal_rows: int = 250_000
    journal_s: float = 900.0
    waiting_rows: int = 100_000
    unsealed_journals: int = 4  # an import waits while more are closed and not sealed yet
    merged_parts: int = 8  # so many segments of one level become one of the next
    group_rows: int = 65_536  # of a segment: see segments.GROUP_ROWS
    reserve_bytes: int = 32 * 1024 * 1024
    retry_s: float = 1.0
    snapshot_bytes: int = 4 * 1024 * 1024  # operations on documents before a snapshot replaces them


@dataclass(slots=True, kw_only=True)
class _Batch:
    """Rows of one caller on their way to the disk, or of all those who do not wait."""

    notes: list[Note] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    is_durable: bool = False
    error: StoreError | None = None


class Appender:
    """Writes rows to journals and shows them in the timeline. Thread-safe.

    Of those who wait, one writes for all (group commit); for rows that nobody waits for a thread does. Lock order:
    `_flushing`, held over the disk, then `_gate`, held for moments; readers take neither.
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
        on_rotate: Callable[[], None] = lambda: None,
    ) -> None:
        self._directory = directory
        self._timeline = timeline
        self._clock = clock
        self._files = files
        self._room = room
        self._quarantine = quarantine
        self._limits = limits
        self._on_rotate = on_rotate
        self._journal = Journal(directory, files=files, header=self._header)
        self._active: JournalPart | None = None
        self._rotate_at_s = 0.0  # monotonic
        self._day = 0  # UTC, of the active file's first row
        self._flushing = threading.Lock()
        self._gate = threading.Lock()
        self._loose_came = threading.Condition(self._gate)
        self._queue: list[_Batch] = []
        self._loose: _Batch | None = None  # the last of the queue, when it still takes rows that nobody waits for
        self._lost: list[tuple[int, int, StoreError]] = []  # rows that nobody waited for: first id, last id, why
        self._flusher: threading.Thread | None = None
        self._is_closed = True
        self.next_id = 1
        self.durable_id = 0
        self.last_sync_s = 0.0

    @property
    def fault(self) -> str:
        """Why writing is over; empty while it is not."""
        return self._journal.fault

    @property
    def waiting_rows(self) -> int:
        """Rows that are not durable yet."""
        with self._gate:
            return sum(len(batch.notes) for batch in self._queue)

    def open(self, journals: Sequence[tuple[int, Path]], *, after_id: int) -> list[JournalPart]:
        """Read these files, oldest first, mend their ends, go on in the newest; what they hold. Raises OSError.

        Rows up to `after_id` are sealed already.
        """
        parts: list[JournalPart] = []
        self.next_id = max(self.next_id, after_id + 1)
        for generation, path in journals:
            part = JournalPart(path, quarantine=self._quarantine, after_id=after_id)
            self._mend(part, generation, is_newest=generation == journals[-1][0])
            self.next_id = max(self.next_id, part.next_id)
            after_id = max(after_id, part.summary.last_id)
            parts.append(part)
        self.durable_id = self.next_id - 1
        self._is_closed = False
        return parts

    def close(self) -> None:
        """End writing; those who wait for room get StoreFull. Idempotent."""
        with self._gate:
            self._is_closed = True
            self._loose_came.notify_all()
        self._room.stop()
        with self._flushing:
            while self.waiting_rows:
                self._flush()
            self._journal.close()
        if self._flusher is not None and self._flusher is not threading.current_thread():
            self._flusher.join()

    def append(self, rows: Sequence[Row]) -> list[int]:
        """Record the rows, all or none; their ids once they are durable. Raises StoreFull, StoreReadOnly."""
        if not rows:
            return []
        bodies = [encode(row) for row in rows]
        batch = _Batch()
        with self._gate:
            self._refuse_too_many(len(rows))
            first_id = self._take_in(batch, rows, bodies)
            self._queue.append(batch)
            self._loose = None
        with self._flushing:
            while not batch.is_durable:
                if batch.error is not None:
                    raise batch.error
                self._flush()
        return list(range(first_id, first_id + len(rows)))

    def insert(self, rows: Sequence[Row]) -> list[int]:
        """Take the rows in and give their ids at once; durable a moment later, or when `wait` says so. Raises StoreFull, StoreReadOnly."""
        if not rows:
            return []
        if self.fault:
            raise StoreReadOnly(self.fault)
        bodies = [encode(row) for row in rows]
        if self.waiting_rows + len(rows) > self._limits.waiting_rows:
            self.settle()  # whoever inserts faster than the disk writes waits here
        with self._gate:
            self._refuse_too_many(len(rows))
            loose = self._loose
            if loose is None:
                loose = self._loose = _Batch()
                self._queue.append(loose)
                if self._flusher is None:
                    self._flusher = threading.Thread(target=self._flush_loose, name="store", daemon=True)
                    self._flusher.start()
                self._loose_came.notify()
            first_id = self._take_in(loose, rows, bodies)
        return list(range(first_id, first_id + len(rows)))

    def wait(self, row_id: int | None = None) -> None:
        """Block until the row, or every row so far, is durable. Raises StoreFull, StoreReadOnly for one that was lost."""
        wanted = self.next_id - 1 if row_id is None else row_id
        if self.durable_id < wanted:
            with self._flushing:
                while self.durable_id < wanted and self.waiting_rows:
                    self._flush()
        for first_id, last_id, error in self._lost:
            if first_id <= wanted <= last_id:
                raise error

    def settle(self) -> None:
        """Make what waits durable, unless there is no room for it: readers then see what is durable."""
        if self.durable_id < self.next_id - 1 and not self._room.trouble and not self.fault:
            with self._flushing:
                if self.waiting_rows and not self._room.trouble:
                    self._flush()

    def rotate(self) -> int:
        """Close the file if it has rows; the next commit starts another. The last id before that."""
        with self._flushing:
            self._rotate()
            return self._timeline.last_id

    def rotate_if_due(self) -> None:
        """The same when the file is old enough, though nothing more comes."""
        with self._flushing:
            if self._is_due(0):
                self._rotate()

    def closed_journals(self) -> list[JournalPart]:
        """The journals that are shown and take nothing more, oldest first."""
        with self._flushing:
            return [part for part in self._timeline.journals if part is not self._active or not self._journal.is_open]

    def clear(self) -> Sequence[Part]:
        """Give up all rows; ids go on. The parts that are shown no more: their files are the caller's to unlink."""
        with self._flushing:
            while self.waiting_rows:
                self._flush()
            self._journal.close()
            self._journal.commit(b"")
            gone = self._timeline.parts
            self._timeline.replace(gone, [self._begin_part()])
            return gone

    def _header(self, generation: int) -> bytes:
        return header(generation, self.next_id, self._clock.now().timestamp())

    def _mend(self, part: JournalPart, generation: int, *, is_newest: bool) -> None:
        """Read a file: cut its torn end, make it durable, close it unless it is the newest."""
        lines = part.replay()
        if tail := lines.tail:
            self._quarantine.keep_tail(part.path, part.size_bytes, tail)
        journal = self._journal if is_newest else Journal(self._directory, files=self._files)
        journal.resume(generation, part.size_bytes)
        if not is_newest:
            journal.close()
            return
        self._active = part
        age_s = max(0.0, self._clock.now().timestamp() - part.opened_at_s)
        self._rotate_at_s = self._clock.monotonic_s() + self._limits.journal_s - age_s
        self._day = int(part.opened_at_s // _DAY_S)

    def _refuse_too_many(self, coming: int) -> None:
        if self._is_closed:
            raise StoreError(f"{self._directory}: the store is closed")
        waiting = sum(len(batch.notes) for batch in self._queue)
        if waiting and waiting + coming > self._limits.waiting_rows:
            raise StoreFull(f"{self._directory}: no room on the disk, and {waiting} results wait already; free some")

    def _take_in(self, batch: _Batch, rows: Sequence[Row], bodies: Sequence[bytes]) -> int:
        first_id = row_id = self.next_id
        notes, lines = batch.notes, batch.lines
        for row, body in zip(rows, bodies, strict=True):
            notes.append(Note(row_id, row["check_id"], row["at"], row["status"] != "ok"))
            lines.append(frame(b'{"id":%d,%b' % (row_id, body[1:])))
            row_id += 1
        self.next_id = row_id
        return first_id

    def _flush_loose(self) -> None:
        """Write what nobody waits for, a moment after it came."""
        while True:
            with self._gate:
                self._loose_came.wait_for(lambda: self._loose is not None or self._is_closed)
                if self._is_closed:
                    return
                self._loose_came.wait_for(lambda: self._is_closed, timeout=_GROUP_S)
            with self._flushing:
                if self.waiting_rows:
                    self._flush()

    def _flush(self) -> None:
        """Write all that waits as one group; whoever holds `_flushing` does it for everybody."""
        with self._gate:
            batches = list(self._queue)
            self._loose = None
        notes = batches[0].notes if len(batches) == 1 else list(chain.from_iterable(batch.notes for batch in batches))
        lines = list(chain.from_iterable(batch.lines for batch in batches))
        if self._is_due(len(notes)):
            self._rotate()
        started_s = self._clock.monotonic_s()
        data = b"".join(lines)
        try:
            try:
                self._journal.commit(data)
            except StoreFull as error:
                self._room.make(error)
                return
        except StoreError as error:
            self._settle(batches, error)
            return
        self.last_sync_s = self._clock.monotonic_s() - started_s
        self._show(notes, line_offsets(self._journal.size_bytes - len(data), list(map(len, lines))))
        self._settle(batches, None)
        self._room.regained()

    def _settle(self, batches: list[_Batch], error: StoreError | None) -> None:
        with self._gate:
            del self._queue[: len(batches)]
        for batch in batches:
            batch.error = error
            batch.is_durable = error is None
            if not batch.notes:
                continue
            if error is None:
                self.durable_id = batch.notes[-1].id
            else:
                self._lost = [*self._lost[-99:], (batch.notes[0].id, batch.notes[-1].id, error)]

    def _show(self, notes: Sequence[Note], offsets: Sequence[int]) -> None:
        active = self._active
        if active is None or active.path != self._journal.path:
            active = self._begin_part()
            active.add(notes, offsets, self._journal.size_bytes)
            self._timeline.add(active)
        else:
            active.add(notes, offsets, self._journal.size_bytes)

    def _begin_part(self) -> JournalPart:
        after_id = self._timeline.last_id
        self._active = JournalPart(self._journal.path, quarantine=self._quarantine, after_id=after_id)
        self._rotate_at_s = self._clock.monotonic_s() + self._limits.journal_s
        self._day = int(self._clock.now().timestamp() // _DAY_S)
        return self._active

    def _is_due(self, coming_rows: int) -> bool:
        """Whether the file is long or old enough, or a UTC day has begun: then segments hardly ever span two."""
        if self._active is None or not self._active.summary.rows:
            return False
        if self._active.summary.rows + coming_rows > self._limits.journal_rows:
            return True
        is_old = self._clock.monotonic_s() >= self._rotate_at_s
        return is_old or int(self._clock.now().timestamp() // _DAY_S) != self._day

    def _rotate(self) -> None:
        """Close the file if it has rows; the next commit starts another."""
        if self._active is not None and self._active.summary.rows and self._journal.is_open:
            self._journal.close()
            self._on_rotate()
