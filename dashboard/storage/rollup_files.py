"""Rollups that outlive results: one file for a stretch of time and a length of bucket, a block a check.

    rollups/5m-<yyyymmdd>[.<kept>].rol    rollups/1h-<yyyymm>[.<kept>].rol    rollups/1d-<yyyy>[.<kept>].rol

A file holds of each check exactly what its results up to one id (`through`) add to the file's time, so a segment's buckets
count beside it only when the segment's ids lie above. Folding is therefore idempotent: whatever was renamed into place before a crash is skipped after it.
`kept` names the retention of its checks where that is not the default one.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import inf
from pathlib import Path
from sys import intern
from typing import Any

import orjson

from dashboard.errors import StoreUnavailable
from dashboard.rollup import DAY_S, FIVE_MINUTES_S, HOUR_S, Rollup, coarsened
from dashboard.storage import blocks
from dashboard.storage.blockfile import Damaged, FrameReader, FrameWriter, Kind
from dashboard.storage.files import Files
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.segments import VERSION, SegmentPart

SUFFIX = ".rol"
LENGTHS: Mapping[str, int] = {"5m": FIVE_MINUTES_S, "1h": HOUR_S, "1d": DAY_S}
_FORMS = {"5m": "%Y%m%d", "1h": "%Y%m", "1d": "%Y"}
_NAME = re.compile(r"(5m|1h|1d)-(\d{4,8})(?:\.(\d+))?\.rol")


@dataclass(frozen=True, slots=True, order=True)
class RollupName:
    """What a rollup file's name says: the length of its buckets, its stretch of time, its retention (0 = default)."""

    label: str
    period: str
    kept_s: int = 0

    def __str__(self) -> str:
        kept = f".{self.kept_s}" if self.kept_s else ""
        return f"{self.label}-{self.period}{kept}{SUFFIX}"

    @classmethod
    def parse(cls, name: str) -> RollupName | None:
        """The name in that text; None for any other file."""
        match = _NAME.fullmatch(name)
        try:
            found = cls(match[1], match[2], int(match[3] or 0)) if match else None
            return found if found is None or found.end_s else None
        except ValueError:
            return None

    @classmethod
    def at(cls, label: str, at_s: float, kept_s: int = 0) -> RollupName:
        """The file that holds the bucket of that instant."""
        return cls(label, f"{datetime.fromtimestamp(at_s, UTC):{_FORMS[label]}}", kept_s)

    @property
    def bucket_s(self) -> int:
        """The length of its buckets."""
        return LENGTHS[self.label]

    @property
    def start_s(self) -> float:
        """Where its time begins."""
        return self._start.timestamp()

    @property
    def end_s(self) -> float:
        """Where its time ends, excluded."""
        start = self._start
        if self.label == "5m":
            return (start + timedelta(days=1)).timestamp()
        if self.label == "1h":
            return (start.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()
        return start.replace(year=start.year + 1).timestamp()

    @property
    def _start(self) -> datetime:
        return datetime.strptime(self.period, _FORMS[self.label]).replace(tzinfo=UTC)


class RollupFile:
    """One of the files. Thread-safe; raises OSError, StoreUnavailable for a newer version."""

    def __init__(self, path: Path, quarantine: Quarantine) -> None:
        name = RollupName.parse(path.name)
        assert name is not None
        self.path = path
        self.name = name
        self._quarantine = quarantine
        self._reader = FrameReader(path)
        self.size_bytes = self._reader.size_bytes
        self._is_damaged = False
        try:
            index = orjson.loads(self._reader.index().payload)
        except Damaged as damage:
            self._note(damage, self.size_bytes)
            index = self._rescued()
        if index["version"] > VERSION:
            raise StoreUnavailable(
                f"{path}: written by a newer Watchroom (format {index['version']}, this one knows {VERSION}): upgrade"
            )
        self.through_id = int(index["through_id"])
        self.buckets = int(index["buckets"])
        self.start_s = float(index.get("start_s") or name.start_s)  # of the first bucket
        self._table_place = index["table"]

    @property
    def check_ids(self) -> Collection[str]:
        """The checks it has buckets of."""
        return self._places.keys()

    def through(self, check_id: str) -> int:
        """Up to which result it holds what the check adds to its time; 0 where it does not know the check."""
        place = self._places.get(check_id)
        return 0 if place is None else place[2]

    def rollups(
        self, check_id: str, wanted: Sequence[str] | None = None, start_s: float = -inf, end_s: float = inf
    ) -> list[Rollup]:
        """The check's buckets whose middle lies in the range, ascending."""
        payload = self.payload(check_id)
        if payload is None:
            return []
        return blocks.unpack_rollups(_content(payload)[1], self.name.bucket_s, wanted, start_s, end_s)

    def payload(self, check_id: str) -> bytes | None:
        """The check's block as it lies there."""
        place = self._places.get(check_id)
        if place is None:
            return None
        try:
            return self._reader.frame(*place[:2]).payload
        except Damaged as damage:
            self._note(damage, place[0])
            return None

    def keep_damaged(self, files: Files) -> None:
        """Keep a copy of the file in quarantine if anything that was read of it is damaged."""
        if self._is_damaged:
            self._quarantine.keep_copy(self.path, files)

    def _note(self, damage: Damaged, offset: int = -1) -> None:
        self._is_damaged = True
        self._quarantine.note_block(self.path, str(damage), offset)

    @cached_property
    def _places(self) -> dict[str, tuple[int, int, int]]:
        if self._table_place is not None:
            try:
                table = orjson.loads(blocks.decompress(self._reader.frame(*self._table_place).payload))
            except Damaged as damage:
                self._note(damage, self._table_place[0])
            else:
                return {intern(check_id): (offset, size, through) for check_id, offset, size, through in table}
        found: dict[str, tuple[int, int, int]] = {}
        for frame in self._reader.scan():
            if not isinstance(frame, Damaged) and frame.kind == Kind.ROLLUP:
                found[_content(frame.payload)[0]] = (frame.offset, frame.end - frame.offset, self.through_id)
        return found

    def _rescued(self) -> dict[str, Any]:
        """An index made up from the head, which says the same, and the frames that are good."""
        for frame in self._reader.scan():
            if not isinstance(frame, Damaged) and frame.kind == Kind.HEAD:
                return {**orjson.loads(frame.payload), "buckets": 0, "table": None}
        return {"version": VERSION, "through_id": 0, "buckets": 0, "table": None}


class RollupWriter:
    """Writes one rollup file, a check at a time."""

    def __init__(self, path: Path, through_id: int, files: Files, *, start_s: float = inf) -> None:
        name = RollupName.parse(path.name)
        assert name is not None
        self._name = name
        self._start_s = start_s  # of the first bucket that another file brings
        self._frames = FrameWriter(path, files)
        self._through_id = through_id
        self._table: dict[str, tuple[int, int, int]] = {}
        self._buckets = 0
        self._frames.add(Kind.HEAD, orjson.dumps({"version": VERSION, "through_id": through_id}))

    @property
    def check_ids(self) -> Collection[str]:
        """The checks that were written."""
        return self._table.keys()

    def add(self, check_id: str, buckets: Sequence[Rollup]) -> None:
        """Write the check's buckets, ascending."""
        self._start_s = min(self._start_s, buckets[0].start_s)
        data = orjson.dumps(check_id) + b"\n" + blocks.pack_rollups(buckets, self._name.bucket_s)
        self.copy(check_id, blocks.compress(data), self._through_id, len(buckets))

    def copy(self, check_id: str, payload: bytes, through_id: int, buckets: int = 0) -> None:
        """Write a block as another file has it."""
        self._table[check_id] = (*self._frames.add(Kind.ROLLUP, payload), through_id)
        self._buckets += buckets or _count(payload)

    def seal(self) -> None:
        """Write where everything is and make the file durable, still beside its name."""
        table = [[check_id, *place] for check_id, place in self._table.items()]
        place = self._frames.add(Kind.TABLE, blocks.compress(orjson.dumps(table)))
        index = {
            "version": VERSION,
            "through_id": self._through_id,
            "buckets": self._buckets,
            "start_s": self._start_s if self._start_s < inf else None,
            "table": place,
        }
        self._frames.seal(orjson.dumps(index))

    def publish(self) -> None:
        """Put the sealed file in the place of the one of that name; durable once the directory is synced."""
        self._frames.publish()

    def abandon(self) -> None:
        """Remove what was written."""
        self._frames.abandon()


def _content(payload: bytes) -> tuple[str, bytes]:
    quoted, _, data = blocks.decompress(payload).partition(b"\n")
    return orjson.loads(quoted), data


def _count(payload: bytes) -> int:
    data = _content(payload)[1]
    return int(orjson.loads(data[: data.index(b"\n")])[0])


class RollupFiles:
    """The files of the directory, as they are now: `files` is replaced as a whole."""

    def __init__(self, directory: Path, quarantine: Quarantine) -> None:
        self._directory = directory
        self._quarantine = quarantine
        self.files: Mapping[RollupName, RollupFile] = {}
        self._lock = threading.Lock()

    def open(self) -> None:
        """Take up what is there. Raises OSError."""
        found: dict[RollupName, RollupFile] = {}
        for path in sorted(self._directory.iterdir()):
            name = RollupName.parse(path.name)
            if name is not None:
                with suppress(FileNotFoundError):  # the running server was faster
                    found[name] = RollupFile(path, self._quarantine)
        with self._lock:
            self.files = found

    def take(self, path: Path) -> None:
        """Show a file that is new or was replaced."""
        file = RollupFile(path, self._quarantine)
        with self._lock:
            self.files = {**self.files, file.name: file}

    def drop(self, gone: Collection[RollupName]) -> None:
        """Show these no more."""
        with self._lock:
            self.files = {name: file for name, file in self.files.items() if name not in gone}

    def of(self, label: str, start_s: float, end_s: float) -> Iterator[RollupFile]:
        """The files of that length of bucket with time between the two instants."""
        files = self.files
        if not files:
            return
        at_s = start_s
        by_period: dict[str, list[RollupFile]] = {}
        for name, file in files.items():
            if name.label == label:
                by_period.setdefault(name.period, []).append(file)
        if (end_s - start_s) / LENGTHS[label] > 100_000:  # a clock gone wild: look at each file instead
            for found in by_period.values():
                yield from (file for file in found if file.name.start_s < end_s and file.name.end_s > start_s)
            return
        while at_s < end_s:
            name = RollupName.at(label, at_s)
            yield from by_period.get(name.period, ())
            at_s = name.end_s

    def oldest_of(self, label: str, check_id: str) -> RollupFile | None:
        """The oldest file of that length of bucket that knows the check."""
        files = self.files
        return next(
            (files[name] for name in sorted(files) if name.label == label and check_id in files[name].check_ids), None
        )

    def check_ids(self) -> set[str]:
        """Every check with buckets."""
        return {check_id for file in self.files.values() for check_id in file.check_ids}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldOrder:
    """What to fold: the segments in the order of their ids, and per class who is kept how long where not by default.

    `kept_s` is `{label: {check_id: seconds}}`; `forgotten` `{check_id: through_id}`.
    """

    segments: Sequence[SegmentPart]
    kept_s: Mapping[str, Mapping[str, int]]
    forgotten: Mapping[str, int]


def fold(order: FoldOrder, directory: Path, existing: RollupFiles, files: Files) -> list[Path]:
    """Add the segments' buckets to the files they belong to; the files that were written. Raises OSError.

    Memory holds one check. Every file is durable before any takes its name, so none is half new.
    """
    if not order.segments:
        return []
    through_id = max(segment.summary.last_id for segment in order.segments)
    writers: dict[RollupName, RollupWriter] = {}
    try:
        for check_id in sorted({check_id for segment in order.segments for check_id in segment.check_ids()}):
            for name, buckets in _additions(order, check_id, existing.files).items():
                if name not in writers:
                    start_s = existing.files[name].start_s if name in existing.files else inf
                    writers[name] = RollupWriter(directory / str(name), through_id, files, start_s=start_s)
                before = _kept_of(existing.files.get(name), check_id, order.forgotten)
                writers[name].add(check_id, coarsened([*before, *buckets], name.bucket_s))
        for name, writer in writers.items():
            _copy_others(existing.files.get(name), writer, order.forgotten)
            writer.seal()
        for label in LENGTHS:  # finer ones first, durably: where a finer bucket is missing, a coarser one answers
            fresh = [name for name in writers if name.label == label]
            for name in fresh:
                if name in existing.files:
                    existing.files[name].keep_damaged(files)
                writers[name].publish()
            if fresh:
                files.sync_directory(directory)
    finally:
        for writer in writers.values():
            writer.abandon()
    return [directory / str(name) for name in writers]


def rewrite(file: RollupFile, forgotten: Mapping[str, int], files: Files) -> bool:
    """Write the file anew without what was forgotten; whether there was any, and whether anything is left is in the file."""
    gone = [check_id for check_id in file.check_ids if _is_forgotten(file, check_id, forgotten)]
    if not gone:
        return False
    writer = RollupWriter(file.path, file.through_id, files, start_s=file.start_s)
    try:
        _copy_others(file, writer, forgotten)
        writer.seal()
        file.keep_damaged(files)
        writer.publish()
        files.sync_directory(file.path.parent)
    finally:
        writer.abandon()
    return True


def _additions(
    order: FoldOrder, check_id: str, existing: Mapping[RollupName, RollupFile]
) -> dict[RollupName, list[Rollup]]:
    """The check's buckets from the segments, by the file they belong to and that lacks them."""
    found: dict[RollupName, list[Rollup]] = {}
    gone_through = order.forgotten.get(check_id, 0)
    through: dict[tuple[str, str], int] = {}  # in whichever file of that time: its retention may have changed since
    for file in existing.values():
        period = (file.name.label, file.name.period)
        through[period] = max(through.get(period, 0), file.through(check_id))
    for segment in order.segments:
        if segment.summary.last_id <= gone_through:
            continue
        buckets = segment.rollups(check_id)
        for label in LENGTHS:
            kept_s = order.kept_s.get(label, {}).get(check_id, 0)
            name: RollupName | None = None
            end_s = 0.0
            lacks = False
            for bucket in buckets:
                if name is None or bucket.start_s >= end_s:
                    name = RollupName.at(label, bucket.start_s, kept_s)
                    end_s = name.end_s
                    lacks = through.get((name.label, name.period), 0) < segment.summary.first_id
                if lacks:
                    found.setdefault(name, []).append(bucket)
    return found


def _kept_of(file: RollupFile | None, check_id: str, forgotten: Mapping[str, int]) -> Iterable[Rollup]:
    return () if file is None or _is_forgotten(file, check_id, forgotten) else file.rollups(check_id)


def _copy_others(file: RollupFile | None, writer: RollupWriter, forgotten: Mapping[str, int]) -> None:
    for check_id in [] if file is None else list(file.check_ids):
        if file is None or check_id in writer.check_ids or _is_forgotten(file, check_id, forgotten):
            continue
        payload = file.payload(check_id)
        if payload is not None:
            writer.copy(check_id, payload, file.through(check_id))


def _is_forgotten(file: RollupFile, check_id: str, forgotten: Mapping[str, int]) -> bool:
    """All that the file has of a check is up to one result: forgotten, or written after that."""
    return file.through(check_id) <= forgotten.get(check_id, 0)
