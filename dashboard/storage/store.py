"""The embedded store: one directory, one writer, TinyDB's API over journals."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from checks.base import Clock, Status
from dashboard.errors import StoreError, StoreUnavailable
from dashboard.model import CheckState, Incident, Result, StoreHealth
from dashboard.storage.appender import Appender, Limits
from dashboard.storage.base import History, ResultColumns
from dashboard.storage.documents import Database, JournaledStorage
from dashboard.storage.files import Files
from dashboard.storage.journal import generations
from dashboard.storage.lock import Lock
from dashboard.storage.parts import JournalPart
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.recording import Operation
from dashboard.storage.records import (
    document_of_incident,
    document_of_state,
    incident_of,
    row_of_result,
    state_of,
)
from dashboard.storage.retention import ClockWatch, expired
from dashboard.storage.room import Room
from dashboard.storage.series import SeriesTable
from dashboard.storage.timeline import Timeline

STATES, INCIDENTS, UNITS = "states", "incidents", "units"


class TimelineHistory:
    """The History that a timeline gives."""

    def __init__(self) -> None:
        self._timeline = Timeline()

    def last(self, check_id: str, n: int, *, before_id: int | None = None, bad_only: bool = False) -> list[Result]:
        """See History."""
        return self._timeline.last(check_id, n, before_id, bad_only)

    def between(self, check_id: str, start_at: datetime, end_at: datetime) -> list[Result]:
        """See History."""
        return self.series(check_id, start_at, end_at).results()

    def series(self, check_id: str, start_at: datetime, end_at: datetime) -> ResultColumns:
        """See History."""
        return self._timeline.series(check_id, start_at.timestamp(), end_at.timestamp())

    def sweep(self, start_at: datetime, end_at: datetime) -> Iterator[ResultColumns]:
        """See History."""
        return self._timeline.sweep(start_at.timestamp(), end_at.timestamp())

    def export_columns(
        self,
        *,
        check_ids: Collection[str] | None = None,
        statuses: Collection[Status] | None = None,
        start_at: datetime | None = None,
        end_at: datetime | None = None,
    ) -> Iterator[ResultColumns]:
        """See History."""
        return self._timeline.export_columns(check_ids, statuses, start_at, end_at)

    def export(
        self,
        *,
        check_ids: Collection[str] | None = None,
        statuses: Collection[Status] | None = None,
        start_at: datetime | None = None,
        end_at: datetime | None = None,
    ) -> Iterator[Sequence[Result]]:
        """See History."""
        chunks = self._timeline.export_columns(check_ids, statuses, start_at, end_at)
        return (columns.results() for columns in chunks)

    def check_ids(self) -> set[str]:
        """See History."""
        return self._timeline.check_ids()


class TinyStore(TimelineHistory):
    """See Store. `database` is its TinyDB: any table of documents, and `results`."""

    def __init__(
        self, directory: Path, clock: Clock, *, limits: Limits | None = None, files: Files | None = None
    ) -> None:
        super().__init__()
        self._directory = directory
        self._clock = clock
        limits, files = limits or Limits(), files or Files()
        self._lock = Lock(directory / "LOCK")
        self._quarantine = Quarantine(directory / "quarantine")
        self._room = Room(directory / "RESERVE", limits.reserve_bytes, files=files, retry_s=limits.retry_s)
        self._storage = JournaledStorage(
            directory / "documents",
            files=files,
            room=self._room,
            quarantine=self._quarantine,
            snapshot_bytes=limits.snapshot_bytes,
        )
        self._appender = Appender(
            directory / "results",
            self._timeline,
            clock=clock,
            files=files,
            room=self._room,
            quarantine=self._quarantine,
            limits=limits,
        )
        self._watch: ClockWatch | None = None
        self._counting = threading.Lock()
        self._incident_ids = 0
        self._removals = 0
        self.database = Database(self._storage)
        self.database.adopt(SeriesTable(self._storage, self._timeline, self._appender))

    @staticmethod
    def reading(directory: Path, clock: Clock) -> History:
        """What is durable in the directory now, while another process may write there: nothing is locked, mended or kept."""
        return _Reading(directory)

    @property
    def revision(self) -> int:
        """See Store. It grows over restarts too."""
        return self._appender.next_id + self._storage.sequence + self._removals

    def open(self) -> None:
        """See Store."""
        try:
            for name in ("", "documents", "results", "quarantine"):
                (self._directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.take()
            self._room.prepare()
            self._storage.open()
            self._appender.open()
        except OSError as error:
            self.close()
            raise _unavailable(self._directory, error) from error
        except StoreError:
            self.close()
            raise
        self._watch = ClockWatch(self._clock, self._timeline.newest_s)
        self._incident_ids = max((incident.id for incident in self.incidents(limit=1)), default=0)

    def close(self) -> None:
        """See Store."""
        self._appender.close()
        self._storage.close()
        self._lock.release()

    def append(self, results: Sequence[Result]) -> list[int]:
        """See Store."""
        return self._appender.append([row_of_result(result) for result in results])

    def save(
        self,
        *,
        states: Iterable[CheckState] = (),
        incidents: Iterable[Incident] = (),
        units: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """See Store."""
        with self._storage.lock:
            operations = self._puts_by_check(STATES, {state.check_id: document_of_state(state) for state in states})
            operations += [("put", INCIDENTS, str(each.id), document_of_incident(each)) for each in incidents]
            if units:
                known = self.units()
                changed = {check: known.get(check, {}) | dict(its_units) for check, its_units in units.items()}
                documents = {check: {"check_id": check, "units": merged} for check, merged in changed.items()}
                operations += self._puts_by_check(UNITS, documents)
            self._storage.commit(operations)

    def states(self) -> dict[str, CheckState]:
        """See Store."""
        return {document["check_id"]: state_of(document) for _, document in self._storage.table(STATES).items()}

    def incidents(self, *, check_id: str | None = None, open_only: bool = False, limit: int = 100) -> list[Incident]:
        """See Store."""
        found = [
            (int(key), document)
            for key, document in self._storage.table(INCIDENTS).items()
            if check_id is None or document["check_id"] == check_id
            if not open_only or document["closed_at"] is None
        ]
        found.sort(key=lambda each: each[0], reverse=True)
        return [incident_of(incident_id, document) for incident_id, document in found[:limit]]

    def next_incident_id(self) -> int:
        """See Store."""
        with self._counting:
            self._incident_ids += 1
            return self._incident_ids

    def units(self) -> dict[str, dict[str, str]]:
        """See Store."""
        return {document["check_id"]: dict(document["units"]) for _, document in self._storage.table(UNITS).items()}

    def retain(self, *, raw_s: float, now_at: datetime) -> int:
        """See Store."""
        if self._watch is None or not self._watch.is_steady(now_at):
            return 0
        old = expired(self._timeline.parts[:-1], now_at.timestamp() - raw_s)
        if old:
            self._appender.give_up(old)
            self._removals += 1
        return sum(part.summary.rows for part in old)

    def health(self) -> StoreHealth:
        """See History."""
        fault = self._appender.fault or self._storage.fault
        trouble = self._room.trouble
        return StoreHealth(
            state="read-only" if fault else "full" if trouble else "ok",
            rows=self._timeline.rows,
            rows_in_memory=self._timeline.rows_in_memory,
            size_bytes=self._timeline.size_bytes,
            waiting_rows=self._appender.waiting_rows,
            quarantined_lines=self._quarantine.lines,
            torn_tails=self._quarantine.tails,
            message=fault or trouble,
            last_sync_s=self._appender.last_sync_s,
        )

    def _puts_by_check(self, name: str, documents: Mapping[str, Mapping[str, object]]) -> list[Operation]:
        """Operations that put each check's one document in the place of the one it has, if any."""
        if not documents:
            return []
        table = self._storage.table(name)
        keys = {document["check_id"]: key for key, document in table.items()}
        free = max(map(int, table), default=0)
        operations: list[Operation] = []
        for check_id, document in documents.items():
            if check_id not in keys:
                free += 1
                keys[check_id] = str(free)
            operations.append(("put", name, keys[check_id], document))
        return operations


class _Reading(TimelineHistory):
    """The journals as they were when it was made."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._quarantine = Quarantine(None)
        parts: list[JournalPart] = []
        after_id = 0
        try:
            for _generation, path in generations(directory / "results"):
                part = JournalPart(path, quarantine=self._quarantine, after_id=after_id)
                try:
                    if not part.recall():
                        part.replay(into_memory=False)
                except FileNotFoundError:
                    continue  # retention of the running server was faster
                after_id = max(after_id, part.summary.last_id)
                parts.append(part)
        except OSError as error:
            raise _unavailable(directory, error) from error
        self._timeline.parts = tuple(parts)

    def health(self) -> StoreHealth:
        """See History."""
        return StoreHealth(
            state="ok",
            rows=self._timeline.rows,
            rows_in_memory=0,
            size_bytes=self._timeline.size_bytes,
            quarantined_lines=self._quarantine.lines,
        )


def _unavailable(directory: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"{error.filename or directory}: {error.strerror or error}, as user id {os.getuid()}; "
        "let that user write there or choose another directory with --data"
    )
