"""The embedded store: one directory, one writer, TinyDB's API over journals, segments and rollup files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from checks.base import Clock, Status
from dashboard.errors import StoreError, StoreUnavailable
from dashboard.model import CheckState, Incident, Inventory, Result, Retention, StoreHealth
from dashboard.rollup import DAY_S, Rollup
from dashboard.storage import format as data_format
from dashboard.storage import inventory, place
from dashboard.storage.appender import Appender, Limits
from dashboard.storage.archive import FOLDERS
from dashboard.storage.base import History, ResultColumns
from dashboard.storage.blockfile import TEMPORARY
from dashboard.storage.buckets import Buckets
from dashboard.storage.documents import Database, JournaledStorage, tables_in
from dashboard.storage.files import Files, allow_many
from dashboard.storage.journal import generations
from dashboard.storage.keeper import Keeper, Windows
from dashboard.storage.lock import Lock
from dashboard.storage.parts import JournalPart, Part
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.recording import Operation
from dashboard.storage.records import (
    document_of_incident,
    document_of_state,
    incident_of,
    row_of_result,
    state_of,
)
from dashboard.storage.rollup_files import RollupFiles
from dashboard.storage.room import Room
from dashboard.storage.sealing import leftovers, unlink_quietly
from dashboard.storage.segments import SegmentName, SegmentPart
from dashboard.storage.series import SeriesTable
from dashboard.storage.timeline import Timeline
from dashboard.storage.workshop import Here, Workshop
from dashboard.uptime import Cursor

STATES, INCIDENTS, UNITS, FORGOTTEN = "states", "incidents", "units", "forgotten"


def no_windows() -> Windows:
    """No maintenance."""
    return {}


class TimelineHistory:
    """The History that parts and rollup files give."""

    def __init__(self, directory: Path, quarantine: Quarantine, windows: Callable[[], Windows] = no_windows) -> None:
        self._directory = directory
        self._quarantine = quarantine
        self._timeline = Timeline()
        self._rollups = RollupFiles(directory / "rollups", quarantine)
        self._buckets = Buckets(self._timeline, self._rollups, windows)

    def last(self, check_id: str, n: int, *, before_id: int | None = None, bad_only: bool = False) -> list[Result]:
        """See History."""
        return self._timeline.last(check_id, n, before_id, bad_only)

    def between(self, check_id: str, start_at: datetime, end_at: datetime) -> list[Result]:
        """See History."""
        return self.series(check_id, start_at, end_at).results()

    def series(self, check_id: str, start_at: datetime, end_at: datetime) -> ResultColumns:
        """See History."""
        return self._timeline.series(check_id, start_at.timestamp(), end_at.timestamp())

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

    def rollups(
        self,
        check_id: str,
        edges_s: Sequence[float],
        *,
        now_s: float | None = None,
        metrics: Collection[str] | None = None,
    ) -> list[Rollup]:
        """See History."""
        return self._buckets.rollups(check_id, edges_s, now_s=now_s, wanted=metrics)

    def cursor(self, check_id: str) -> Cursor:
        """See History."""
        return self._buckets.cursor(check_id)

    def check_ids(self) -> set[str]:
        """See History."""
        forgotten = self._timeline.forgotten
        rolled_up = (
            check_id
            for file in self._rollups.files.values()
            for check_id in file.check_ids
            if file.through(check_id) > forgotten.get(check_id, 0)
        )
        return self._timeline.check_ids().union(rolled_up)

    def inventory(self) -> Inventory:
        """See History."""
        return inventory.take(self._directory, self._timeline, self._rollups, keeping=inventory.DEFAULT)

    def _find_parts(self) -> list[Part]:
        """The segments there are, without what interrupted merges left over; their files are unlinked by the owner."""
        self._rollups.open()
        paths = sorted((self._directory / "results").iterdir())
        found = [SegmentPart(path, self._quarantine) for path in paths if SegmentName.parse(path.name) is not None]
        siblings = {segment.name: segment.siblings for segment in found}
        gone = leftovers(siblings, {segment.name: segment.sources for segment in found})
        self._left_over = [segment.path for segment in found if segment.name in gone]
        return [segment for segment in found if segment.name not in gone]


class TinyStore(TimelineHistory):
    """See Store. `database` is its TinyDB: any table of documents, and `results`.

    `windows` gives the maintenance of each check, `workshop` does the heavy work (default: the calling thread).
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        limits: Limits | None = None,
        files: Files | None = None,
        workshop: Workshop | None = None,
        windows: Callable[[], Windows] = no_windows,
    ) -> None:
        super().__init__(directory, Quarantine(directory / "quarantine"), windows)
        self._clock = clock
        self._limits = limits or Limits()
        self._files = files or Files()
        self._lock = Lock(directory / "LOCK")
        self._room = Room(
            directory / "RESERVE", self._limits.reserve_bytes, files=self._files, retry_s=self._limits.retry_s
        )
        self._storage = JournaledStorage(
            directory / "documents",
            files=self._files,
            room=self._room,
            quarantine=self._quarantine,
            snapshot_bytes=self._limits.snapshot_bytes,
        )
        self.rotated = threading.Event()  # a journal waits to be sealed
        self._appender = Appender(
            directory / "results",
            self._timeline,
            clock=clock,
            files=self._files,
            room=self._room,
            quarantine=self._quarantine,
            limits=self._limits,
            on_rotate=self.rotated.set,
        )
        self._keeper = Keeper(
            directory,
            self._timeline,
            self._appender,
            self._rollups,
            workshop=workshop or Here(self._files),
            files=self._files,
            clock=clock,
            limits=self._limits,
            quarantine=self._quarantine,
            windows=windows,
        )
        self._counting = threading.Lock()
        self._incident_ids = 0
        self._removals = 0
        self._place_warning = ""
        self.database = Database(self._storage)
        self.database.adopt(
            SeriesTable(
                self._storage,
                self._timeline,
                self._appender,
                self._keeper.give_up,
                self._clear,
                lambda check_id, edges_s, now_s: self.rollups(check_id, edges_s, now_s=now_s),
            )
        )

    @staticmethod
    def reading(directory: Path, clock: Clock) -> History:
        """What is durable in the directory now, while another process may write there: nothing is locked, mended or kept."""
        return _Reading(directory)

    @property
    def revision(self) -> int:
        """See Store. It may start lower after a restart."""
        return self._appender.next_id + self._storage.sequence + self._removals + self._keeper.removals

    def open(self) -> None:
        """See Store."""
        allow_many()
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            data_format.refuse_newer(self._directory)
            with suppress(OSError):  # its own name; the folder above may be somebody else's
                self._files.sync_directory(self._directory.absolute().parent)
            self._lock.take()
            was_ours = data_format.known(self._directory) == data_format.NEWEST  # before, documents came with the first
            data_format.prepare(self._directory, self._files)
            for name in FOLDERS:
                (self._directory / name).mkdir(mode=0o700, exist_ok=True)
            self._files.sync_directory(self._directory)
            self._room.prepare()
            has_results = any((self._directory / "results").iterdir())
            self._storage.open(expected=was_ours and has_results)
            self._open_results()
        except OSError as error:
            self.close()
            raise _unavailable(self._directory, error) from error
        except StoreError:
            self.close()
            raise
        self._place_warning = place.warning_of(self._directory)
        self._keeper.start()
        forgotten = (each.get("incident_id", 0) for _, each in self._storage.table(FORGOTTEN).items())
        self._incident_ids = max((*forgotten, *(incident.id for incident in self.incidents(limit=1))), default=0)

    def close(self) -> None:
        """See Store."""
        self._keeper.stop()
        self._appender.close()
        self._storage.close()
        self._lock.release()

    def append(self, results: Sequence[Result]) -> list[int]:
        """See Store."""
        return self._appender.append([row_of_result(result) for result in results])

    def load(self, batches: Iterable[Sequence[Result]]) -> int:
        """Record very many results, batch by batch, durable on return; how many. Memory stays bounded.

        It waits while more journals wait to be sealed than `Limits.unsealed_journals`, and seals them meanwhile. Results
        from before everything a check had count for its uptime; others are recorded like any that come late.
        """
        loaded, day = 0, None
        sealing: threading.Thread | None = None
        for batch in filter(None, batches):
            its_day = int(batch[0].at.timestamp() // DAY_S)
            if day is not None and its_day != day:  # whole files are given up, so no file should span many days
                self._appender.wait()
                self._appender.rotate()
            day = its_day
            self._appender.insert([row_of_result(result) for result in batch])
            loaded += len(batch)
            if self._appender.waiting_rows * 2 > self._limits.waiting_rows:
                self._appender.wait()
            if self.rotated.is_set() and (sealing is None or not sealing.is_alive()):
                self.rotated.clear()
                sealing = threading.Thread(target=self._keeper.try_to_seal, name="sealing")
                sealing.start()
            if sealing is not None and len(self._timeline.journals) > self._limits.unsealed_journals:
                sealing.join()
                sealing = None
                self._keeper.seal_all()
        self._appender.wait()
        if sealing is not None:
            sealing.join()
        self._appender.rotate()
        self._keeper.try_to_seal()
        return loaded

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

    def keep(self, retention: Retention, per_check: Mapping[str, Retention]) -> None:
        """See Store."""
        self._keeper.keep(retention, per_check)

    def maintain(self, now_at: datetime) -> None:
        """See Store."""
        self._keeper.maintain(now_at)

    def compact(self) -> None:
        """See Store. Raises StoreError."""
        try:
            self._keeper.compact(self._clock.now())
        except OSError as error:
            raise StoreError(f"{error.filename or self._directory}: {error.strerror}; nothing was lost") from error

    def forget(self, check_id: str) -> int:
        """See Store. The bytes go with the next merge or `compact`."""
        through_id = self._appender.rotate()
        with self._storage.lock:
            rows = self._timeline.tallies().get(check_id, 0)
            document = {"check_id": check_id, "through_id": through_id, "at": self._clock.now().timestamp()}
            newest = max((incident.id for incident in self.incidents(limit=1)), default=0)
            document["incident_id"] = max(self._incident_ids, newest)  # no id is used again
            operations = self._puts_by_check(FORGOTTEN, {check_id: document})
            for name in (STATES, UNITS, INCIDENTS):
                operations += [
                    ("cut", name, key)
                    for key, each in self._storage.table(name).items()
                    if each["check_id"] == check_id
                ]
            self._storage.commit(operations)
            self._take_forgotten()
            self._removals += 1
        return rows

    def inventory(self) -> Inventory:
        """See History."""
        return inventory.take(
            self._directory,
            self._timeline,
            self._rollups,
            keeping=self._keeper.keeping,
            sealed_at=self._keeper.sealed_at,
            merged_at=self._keeper.merged_at,
            retained_at=self._keeper.retained_at,
        )

    def health(self) -> StoreHealth:
        """See History."""
        fault = self._appender.fault or self._storage.fault
        trouble = self._room.trouble
        watch = self._keeper.watch
        warnings = (
            watch.warning if watch is not None else "",
            f"Sealing and merging history fails: {self._keeper.fault}." if self._keeper.fault else "",
            self._storage.recovered,
            self._place_warning,
        )
        return StoreHealth(
            state="read-only" if fault else "full" if trouble else "ok",
            rows=self._timeline.rows,
            rows_in_memory=self._timeline.rows_in_memory,
            size_bytes=self._timeline.size_bytes,
            waiting_rows=self._appender.waiting_rows,
            quarantined_lines=self._quarantine.lines,
            torn_tails=self._quarantine.tails,
            damaged_blocks=self._quarantine.blocks,
            unsealed_rows=self._timeline.unsealed_rows,
            clock_jumps=watch.jumps if watch is not None else 0,
            sealing_failures=self._keeper.failures,
            sealed_at=self._keeper.sealed_at,
            merged_at=self._keeper.merged_at,
            message=fault or trouble,
            warnings=tuple(filter(None, warnings)),
            last_sync_s=self._appender.last_sync_s,
        )

    def _open_results(self) -> None:
        for folder in FOLDERS:
            unlink_quietly((self._directory / folder).glob(f"*{TEMPORARY}"), self._files)
        segments = self._find_parts()
        unlink_quietly(self._left_over, self._files)
        after_id = max((segment.summary.last_id for segment in segments), default=0)
        journals = self._appender.open(generations(self._directory / "results"), after_id=after_id)
        self._timeline.replace((), [*segments, *journals])
        self._take_forgotten()
        if self._timeline.last_id in self._timeline.forgotten.values():
            self._appender.rotate()  # what was forgotten ends with a file: nothing may follow in it

    def _take_forgotten(self) -> None:
        self._timeline.forgotten = _forgotten_in(self._storage.table(FORGOTTEN))

    def _clear(self) -> None:
        gone = self._appender.clear()
        files = list(self._rollups.files.values())
        self._rollups.drop([file.name for file in files])
        unlink_quietly([*(part.path for part in gone), *(file.path for file in files)], self._files)
        self._removals += 1

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


_TRIES = 5


class _Reading(TimelineHistory):
    """The files as they were when it was made."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, Quarantine(None))
        data_format.refuse_newer(directory)
        allow_many()
        try:
            os.stat(directory / "results")
            for _ in range(_TRIES):
                with suppress(FileNotFoundError):  # the running server replaced a file since it was listed
                    self._read()
                    return
        except OSError as error:
            raise _unavailable(directory, error) from error
        raise StoreUnavailable(f"{directory}: its files keep changing; try again in a moment")

    def _read(self) -> None:
        results = self._directory / "results"
        journals = generations(results)  # before the segments: what is sealed meanwhile is then in both, not in neither
        parts = self._find_parts() if (self._directory / "rollups").exists() else []
        after_id = max((part.summary.last_id for part in parts), default=0)
        for _generation, path in journals:
            part = JournalPart(path, quarantine=self._quarantine, after_id=after_id)
            part.replay()
            after_id = max(after_id, part.summary.last_id)
            parts.append(part)
        documents = tables_in(self._directory / "documents", self._quarantine)
        self._timeline.forgotten = _forgotten_in(documents.get(FORGOTTEN, {}))
        self._timeline.parts = ()
        self._timeline.replace((), parts)

    def health(self) -> StoreHealth:
        """See History."""
        return StoreHealth(
            state="ok",
            rows=self._timeline.rows,
            rows_in_memory=0,
            size_bytes=self._timeline.size_bytes,
            quarantined_lines=self._quarantine.lines,
            damaged_blocks=self._quarantine.blocks,
            unsealed_rows=self._timeline.unsealed_rows,
        )


def _forgotten_in(table: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    return {each["check_id"]: each["through_id"] for _, each in table.items()}


def _unavailable(directory: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"{error.filename or directory}: {error.strerror or error}, as user id {os.getuid()}; "
        "let that user write there or choose another directory with --data"
    )
