"""Keeps the store in order: seals closed journals, merges segments, folds their buckets into rollup files, lets old files go.

Every step writes new files durably, shows them, and only then unlinks what they replace; a crash between leaves both, and
the next start knows which to drop. A step that fails is told, and tried again later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path

from checks.base import Clock
from dashboard.errors import StoreError
from dashboard.model import Retention
from dashboard.rollup import DAY_S
from dashboard.storage.appender import Appender, Limits
from dashboard.storage.files import Files
from dashboard.storage.inventory import changed_at
from dashboard.storage.parts import JournalPart, Part
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.retention import ClockWatch, Keeping, expired_rollups, expired_segments
from dashboard.storage.rollup_files import RollupFiles, rewrite
from dashboard.storage.sealing import unlink_quietly
from dashboard.storage.segments import SegmentName, SegmentPart
from dashboard.storage.timeline import Timeline
from dashboard.storage.workshop import Task, Workshop

_LARGEST_MERGE_ROWS = 1_000_000  # by day larger segments wait for the night
_RETRY_S = 30.0
_LONGEST_RETRY_S = 900.0

logger = logging.getLogger(__name__)

Windows = Mapping[str, Sequence[tuple[float, float]]]


class Keeper:
    """Does what is due, one thing at a time. Thread-safe; `stop` lets a long round end after the step it is at."""

    def __init__(
        self,
        root: Path,
        timeline: Timeline,
        appender: Appender,
        rollups: RollupFiles,
        *,
        workshop: Workshop,
        files: Files,
        clock: Clock,
        limits: Limits,
        quarantine: Quarantine,
        windows: Callable[[], Windows],
    ) -> None:
        self._root = root
        self._timeline = timeline
        self._appender = appender
        self._rollups = rollups
        self._workshop = workshop
        self._files = files
        self._clock = clock
        self._limits = limits
        self._quarantine = quarantine
        self._windows = windows
        self._watch: ClockWatch | None = None
        self._busy = threading.RLock()
        self._is_stopping = False
        self._retry_at_s = 0.0  # monotonic
        self._tries = 0
        self._retained_hour = 0
        self.keeping = Keeping()
        self.failures = 0
        self.fault = ""  # why the last try failed; empty after one that did not
        self.sealed_at: datetime | None = None
        self.merged_at: datetime | None = None
        self.retained_at: datetime | None = None
        self.removals = 0

    @property
    def watch(self) -> ClockWatch | None:
        """What is thought of the clock; None before `start`."""
        return self._watch

    def start(self) -> None:
        """Take up work on what the timeline holds."""
        self._watch = ClockWatch(self._clock, self._timeline.newest_s)
        segments = self._timeline.segments
        self.sealed_at = changed_at(segment.path for segment in segments)
        self.merged_at = changed_at(segment.path for segment in segments if not segment.has_rollups)

    def stop(self) -> None:
        """Let go: no further step begins. Waits for the one that is going on."""
        self._is_stopping = True
        self._workshop.stop()
        with self._busy:
            pass

    def keep(self, default: Retention, per_check: Mapping[str, Retention]) -> None:
        """Keep history so long from now on."""
        self.keeping = Keeping(default=default, per_check=dict(per_check))

    def maintain(self, now_at: datetime) -> None:
        """Do what is due."""
        with self._busy:
            if self._is_stopping or self._clock.monotonic_s() < self._retry_at_s:
                return
            try:
                self._appender.rotate_if_due()
                self._seal_all()
                self._merge_by_day()
                self._night(now_at)
                self._retain(now_at)
            except (OSError, StoreError) as error:
                self._failed(error)
            except Exception as error:  # a fault of ours must not end sealing for good
                logger.exception("keeping the store in order failed by our fault")
                self._failed(error)
            else:
                self._succeeded()

    def seal_all(self) -> None:
        """Seal every closed journal. Raises OSError, StoreError."""
        with self._busy:
            self._seal_all()

    def try_to_seal(self) -> None:
        """The same; a fault is told and tried again later."""
        try:
            self.seal_all()
        except (OSError, StoreError) as error:
            self._failed(error)

    def give_up(self, before_s: float) -> list[int]:
        """Unlink the sealed files whose every row is older, whatever is kept of them otherwise; the ids of those rows."""
        with self._busy:
            self._seal_all()
            segments = self._timeline.segments
            self._fold(segments)
            old = [segment for segment in segments[:-1] if segment.summary.rows and segment.summary.end_s < before_s]
            ids = [row_id for segment in old for pieces in segment.groups() for piece in pieces for row_id in piece.ids]
            self._exchange(old, [])
            self.removals += bool(old)
            return sorted(ids)

    def compact(self, now_at: datetime) -> None:
        """Do everything, due or not, and leave out for good what was forgotten. Raises OSError, StoreError."""
        with self._busy:
            self._appender.rotate()
            self._seal_all()
            self._fold(self._timeline.segments)
            self._merge_days(self._timeline.segments, everything=True)
            for file in list(self._rollups.files.values()):
                if rewrite(file, self._timeline.forgotten, self._files):
                    self._rollups.take(file.path)
            self._retain(now_at, must=True)
            self._succeeded()

    def _succeeded(self) -> None:
        self.fault = ""
        self._retry_at_s = 0.0
        self._tries = 0

    def _failed(self, error: Exception) -> None:
        if self._is_stopping:
            return  # the helper was let go of
        self.failures += 1
        self._tries += 1
        wait_s = min(_LONGEST_RETRY_S, _RETRY_S * 2 ** min(self._tries - 1, 8))
        self._retry_at_s = self._clock.monotonic_s() + wait_s
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        self.fault = f"{said}; tried again in {wait_s:.0f} s"
        logger.warning("keeping the store in order failed: %s", self.fault)

    def _perform(self, task: Task) -> list[Path]:
        outcome = self._workshop.perform(task)
        self._quarantine.learn(outcome.damaged_lines, outcome.damaged_blocks)
        return [Path(path) for path in outcome.paths]

    def _seal_all(self) -> None:
        for journal in self._appender.closed_journals():
            if self._is_stopping:
                return
            self._seal(journal)

    def _seal(self, journal: JournalPart) -> None:
        come: list[Part] = []
        if journal.summary.rows:
            before = self._timeline.segments[-1:]
            task = Task(
                kind="seal",
                root=str(self._root.absolute()),
                sources=[journal.path.name],
                group_rows=self._limits.group_rows,
                after_id=before[0].summary.last_id if before else 0,
                end=journal.size_bytes,
                marks_from=before[0].path.name if before else "",
                windows=self._windows(),
                forgotten=self._timeline.forgotten,
            )
            come = [SegmentPart(path, self._quarantine) for path in self._perform(task)]
            self.sealed_at = self._clock.now()
        self._exchange([journal], come)

    def _exchange(self, gone: Sequence[Part], come: Sequence[Part]) -> None:
        """Show the new files instead of the old ones, which go."""
        self._timeline.replace(gone, come)
        names = {part.path.name for part in come}
        unlink_quietly([part.path for part in gone if part.path.name not in names], self._files)

    def _merge_by_day(self) -> None:
        """Join small neighbours, so that a day never has more than some ten files; their buckets stay with them."""
        count = self._limits.merged_parts
        folded_through = max((file.through_id for file in self._rollups.files.values()), default=0)
        fresh = [
            segment
            for segment in self._timeline.segments
            if segment.has_rollups and segment.summary.first_id > folded_through  # folding takes or leaves a whole file
        ]
        runs = [list(run) for _, run in groupby(fresh, key=lambda segment: (_day_of(segment), segment.level))]
        for run in runs:
            if self._is_stopping:
                return
            while len(run) >= count:
                sources, run = run[:count], run[count:]
                if sum(segment.summary.rows for segment in sources) <= _LARGEST_MERGE_ROWS:
                    self._merge(sources, keeps_rollups=True)

    def _night(self, now_at: datetime) -> None:
        """Fold the buckets of days that are over, in the order of ids, and make one segment of each day."""
        today = int(now_at.timestamp() // DAY_S)
        segments = self._timeline.segments
        over = [index for index, segment in enumerate(segments) if segment.has_rollups and _day_of(segment) < today]
        if not over:
            return
        due = segments[: over[-1] + 1]
        self._fold(due)
        self._merge_days(due, everything=False)

    def _fold(self, segments: Sequence[SegmentPart]) -> None:
        fresh = [segment for segment in segments if segment.has_rollups]
        if not fresh:
            return
        task = Task(
            kind="fold",
            root=str(self._root.absolute()),
            sources=[segment.path.name for segment in fresh],
            group_rows=self._limits.group_rows,
            kept_s=self.keeping.kept_s(),
            forgotten=self._timeline.forgotten,
        )
        try:
            paths = self._perform(task)
        except (OSError, StoreError):
            self._rollups.open()  # some may have taken their names before it failed
            raise
        for path in paths:
            self._rollups.take(path)

    def _merge_days(self, segments: Sequence[SegmentPart], *, everything: bool) -> None:
        """One segment a day and retention, without buckets: those are in rollup files."""
        forgotten = self._timeline.forgotten
        for _, run in groupby(segments, key=_common_to_merge):
            if self._is_stopping:
                return
            sources = list(run)
            is_stale = everything and any(
                check_id in segment.checks and segment.summary.last_id <= through_id
                for segment in sources
                for check_id, through_id in forgotten.items()
            )
            if any(segment.has_rollups for segment in sources) or is_stale:
                self._merge(sources, keeps_rollups=False)
                self.merged_at = self._clock.now()

    def _merge(self, sources: Sequence[SegmentPart], *, keeps_rollups: bool) -> None:
        task = Task(
            kind="merge",
            root=str(self._root.absolute()),
            sources=[segment.path.name for segment in sources],
            group_rows=self._limits.group_rows,
            kept_s={} if keeps_rollups else self.keeping.kept_s(),
            forgotten=self._timeline.forgotten,
            keeps_rollups=keeps_rollups,
        )
        self._exchange(sources, [SegmentPart(path, self._quarantine) for path in self._perform(task)])

    def _retain(self, now_at: datetime, *, must: bool = False) -> None:
        assert self._watch is not None
        if not self._watch.is_steady(now_at):
            return
        hour = int(now_at.timestamp() // 3600)
        if hour == self._retained_hour and not must:
            return
        self._retained_hour = hour
        segments = self._timeline.segments
        old = [
            each for each in expired_segments(segments, self.keeping, now_at.timestamp()) if each is not segments[-1]
        ]
        if old:
            self._exchange(old, [])
            self.removals += 1
            logger.info("retention gave up %d results", sum(segment.summary.rows for segment in old))
        names = expired_rollups(self._rollups.files.values(), self.keeping, now_at.timestamp())
        paths = [self._rollups.files[name].path for name in names]
        self._rollups.drop(names)
        unlink_quietly(paths, self._files)
        self.retained_at = self._clock.now()


def _day_of(segment: SegmentPart) -> int:
    return int(segment.summary.end_s // DAY_S) if segment.summary.rows else 0


def _common_to_merge(segment: SegmentPart) -> tuple[int, SegmentName | None]:
    """What those have in common that become one: the day; one of several files for the same ids stays by itself."""
    return _day_of(segment), segment.name if segment.siblings > 1 else None
