"""Sealed results: one file for a range of ids, in groups of some ten thousand rows, in each group a block a check.

A segment is found by its name, `<first id>-<last id>[.<kept>].seg`. Of two segments the one whose ids lie within the other's
is left over from an interrupted merge. `kept` names the retention of its checks where that is not the default one.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path
from sys import intern
from typing import Any, overload

import orjson

from dashboard.errors import StoreUnavailable
from dashboard.rollup import FIVE_MINUTES_S, Rollup
from dashboard.storage import blocks, packing
from dashboard.storage.base import ResultColumns
from dashboard.storage.blockfile import Damaged, Frame, FrameReader, FrameWriter, Kind
from dashboard.storage.columns import joined
from dashboard.storage.files import Files
from dashboard.storage.packing import Planes
from dashboard.storage.parts import Summary, Tally
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.records import Row, row_of_columns
from dashboard.storage.texts import Texts
from dashboard.uptime import Mark

SUFFIX = ".seg"
VERSION = 2
GROUP_ROWS = 65_536  # what an export holds at once, packed: about 60 bytes a row
BLOCK_ROWS = 2048

_NAME = re.compile(r"(\d{12})-(\d{12})(?:\.(\d+))?\.seg")
_DICTIONARY_BYTES = 4096

Marks = Mapping[str, Sequence[Mark]]


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """What a segment's file name says. `kept_s` 0 = the default retention."""

    first_id: int
    last_id: int
    kept_s: int = 0

    def __str__(self) -> str:
        kept = f".{self.kept_s}" if self.kept_s else ""
        return f"{self.first_id:012d}-{self.last_id:012d}{kept}{SUFFIX}"

    @classmethod
    def parse(cls, name: str) -> SegmentName | None:
        """The name in that text; None for any other file."""
        match = _NAME.fullmatch(name)
        return cls(int(match[1]), int(match[2]), int(match[3] or 0)) if match else None

    def covers(self, other: SegmentName) -> bool:
        """Whether all ids of the other lie within this one's, and this one's are more."""
        return self.first_id <= other.first_id and other.last_id <= self.last_id and self.ids != other.ids

    @property
    def ids(self) -> tuple[int, int]:
        """The range of ids, both ends included."""
        return self.first_id, self.last_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A run of ids within a segment and where its frames lie."""

    offset: int
    size: int
    rows: int
    first_id: int
    last_id: int
    start_s: float
    end_s: float


class SegmentWriter:
    """Writes a segment group by group. `names` are the checks that may come; memory holds one group."""

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        files: Files,
        *,
        siblings: int = 1,
        level: int = 0,
        sources: Sequence[str] = (),
    ) -> None:
        self._frames = FrameWriter(path, files)
        self._names = list(names)
        self._numbers = {name: number for number, name in enumerate(names)}
        self._dictionary: bytes | None = None
        self._head = b""
        self._groups: list[Group] = []
        self._places: dict[int, list[tuple[int, int, int, int, float, float, int]]] = {}
        self._rollups: dict[int, tuple[int, int]] = {}
        self._tallies: dict[int, Tally] = {}
        self._siblings = siblings
        self._level = level
        self._sources = list(sources)
        self.summary = Summary()

    def add(self, pieces: Sequence[ResultColumns]) -> None:
        """Write a group: the rows of each check in a range of ids, all above those before. Raises OSError."""
        packed = [
            (self._numbers[piece.check_ids[0]], part, blocks.pack_results(part))
            for piece in pieces
            if len(piece)
            for part in _split(piece)
        ]
        if not packed:
            return
        if self._dictionary is None:
            self._begin([data for _, _, data in packed])
        start = self._frames.offset
        for number, part, data in packed:
            payload = blocks.compress_results(data, self._dictionary or b"")
            offset, size = self._frames.add(Kind.RAW, payload, number)
            bad = sum(1 for status in part.statuses if status)
            low_s, high_s = min(part.at_s), max(part.at_s)
            place = (offset, size, part.ids[0], part.ids[-1], low_s, high_s, bad)
            self._places.setdefault(number, []).append(place)
            known = self._tallies.get(number, Tally(0, 0))
            self._tallies[number] = Tally(known.rows + len(part), known.bad + bad)
        group = Group(
            offset=start,
            size=self._frames.offset - start,
            rows=sum(len(part) for _, part, _ in packed),
            first_id=min(part.ids[0] for _, part, _ in packed),
            last_id=max(part.ids[-1] for _, part, _ in packed),
            start_s=min(min(part.at_s) for _, part, _ in packed),
            end_s=max(max(part.at_s) for _, part, _ in packed),
        )
        self._groups.append(group)
        self._count(group)

    def add_rollups(self, check_id: str, buckets: Sequence[Rollup]) -> None:
        """Write the check's 5-minute buckets of these rows."""
        if buckets:
            number = self._numbers[check_id]
            if self._dictionary is None:
                self._begin([])
            payload = blocks.compress(blocks.pack_rollups(buckets, FIVE_MINUTES_S))
            self._rollups[number] = self._frames.add(Kind.ROLLUP, payload, number)

    def seal(self, name: SegmentName, marks: Marks) -> None:
        """Write where everything is and make the file durable, still beside its name. Raises OSError."""
        if self._dictionary is None:
            self._begin([])
        self._frames.add(Kind.HEAD, self._head)  # once more: nothing can be read without it
        places = {
            number: self._frames.add(Kind.PLACES, _pack_places(rows), number) for number, rows in self._places.items()
        }
        mark_frame = self._frames.add(
            Kind.MARKS, blocks.compress(orjson.dumps({each: list(found) for each, found in marks.items()}))
        )
        table = {
            "checks": [
                [
                    number,
                    *self._tallies.get(number, (0, 0)),
                    *places.get(number, (0, 0)),
                    *self._rollups.get(number, (0, 0)),
                ]
                for number in range(len(self._names))
                if number in self._tallies or number in self._rollups
            ],
            "groups": [[getattr(group, each) for each in _GROUP_FIELDS] for group in self._groups],
        }
        table_frame = self._frames.add(Kind.TABLE, blocks.compress(orjson.dumps(table)))
        index = {
            "version": VERSION,
            "rows": self.summary.rows,
            "first_id": name.first_id,
            "last_id": name.last_id,
            "start_s": self.summary.start_s if self.summary.rows else None,
            "end_s": self.summary.end_s if self.summary.rows else None,
            "siblings": self._siblings,
            "sources": self._sources,
            "level": self._level,
            "has_rollups": bool(self._rollups),
            "marks": mark_frame,
            "table": table_frame,
        }
        self._frames.seal(orjson.dumps(index))

    def publish(self) -> None:
        """Give the sealed file its name; durable once the directory is synced."""
        self._frames.publish()

    def abandon(self) -> None:
        """Remove what was written."""
        self._frames.abandon()

    def _begin(self, samples: Sequence[bytes]) -> None:
        lines = dict.fromkeys(data[: data.index(b"\n") + 1] for data in samples)
        text = b"".join(list(lines)[:32])[-_DICTIONARY_BYTES:].decode("utf-8", "replace")
        self._dictionary = text.encode()  # a cut in the middle of a character changed it
        own = {"siblings": self._siblings, "sources": self._sources, "level": self._level}
        head = {"version": VERSION, "names": self._names, "dictionary": text, **own}
        self._head = blocks.compress(orjson.dumps(head))
        self._frames.add(Kind.HEAD, self._head)

    def _count(self, group: Group) -> None:
        summary = self.summary
        summary.first_id = summary.first_id or group.first_id
        summary.last_id = group.last_id
        summary.rows += group.rows
        summary.start_s = min(summary.start_s, group.start_s)
        summary.end_s = max(summary.end_s, group.end_s)


_GROUP_FIELDS = ("offset", "size", "rows", "first_id", "last_id", "start_s", "end_s")


def _split(piece: ResultColumns) -> Iterator[ResultColumns]:
    for start in range(0, len(piece), BLOCK_ROWS):
        yield blocks.sliced(piece, start, start + BLOCK_ROWS)


def _pack_places(rows: Sequence[tuple[int, int, int, int, float, float, int]]) -> bytes:
    """Where the blocks of a check are: offset, size, ids, instants rounded outwards to seconds, bad rows."""
    columns = list(zip(*rows, strict=True))
    numbers = [
        list(columns[0]),
        list(columns[1]),
        list(columns[2]),
        list(columns[3]),
        [int(each // 1) for each in columns[4]],
        [-int(-each // 1) for each in columns[5]],
        list(columns[6]),
    ]
    packed = [packing.pack_ints(column) for column in numbers]
    head = orjson.dumps([len(rows), *(descriptor for descriptor, _ in packed)])
    return blocks.compress(b"".join([head, b"\n", *(plane for _, planes in packed for plane in planes)]))


@dataclass(frozen=True, slots=True)
class _Places:
    """The blocks of one check, in the order of their ids."""

    offsets: Sequence[int]
    sizes: Sequence[int]
    first_ids: Sequence[int]
    last_ids: Sequence[int]
    start_s: Sequence[int]
    end_s: Sequence[int]
    bad: Sequence[int]

    @classmethod
    def unpack(cls, payload: bytes) -> _Places:
        data = blocks.decompress(payload)
        end = data.index(b"\n")
        count, *columns = orjson.loads(data[:end])
        planes = Planes(data, end + 1)
        return cls(*(packing.unpack_ints(column, planes, count) for column in columns))


@dataclass(frozen=True, slots=True)
class _Entry:
    """One check in a segment: how many rows, where its places and its buckets are (size 0 = nowhere)."""

    number: int
    tally: Tally
    places: tuple[int, int]
    rollups: tuple[int, int]


class _Blocks(Sequence[ResultColumns]):
    """The blocks of a group, unpacked one by one: unpacked they take ten times as much."""

    def __init__(self, frames: Sequence[Frame], unpack: Callable[[Frame], ResultColumns]) -> None:
        self._frames = frames
        self._unpack = unpack

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, place: int) -> ResultColumns: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[ResultColumns]: ...
    def __getitem__(self, place: int | slice) -> ResultColumns | Sequence[ResultColumns]:
        if isinstance(place, slice):
            return _Blocks(self._frames[place], self._unpack)
        return self._unpack(self._frames[place])

    def __iter__(self) -> Iterator[ResultColumns]:
        return map(self._unpack, self._frames)


class SegmentPart:
    """A sealed segment; see parts.Part. Opening it reads the summary alone, the rest comes when it is asked for."""

    rows_in_memory = 0

    def __init__(self, path: Path, quarantine: Quarantine) -> None:
        """Raises OSError, StoreUnavailable for a newer version; a damaged index is made up for by reading all frames."""
        name = SegmentName.parse(path.name)
        assert name is not None
        self.path = path
        self.name = name
        self._quarantine = quarantine
        self._reader = FrameReader(path)
        self.size_bytes = self._reader.size_bytes
        self._lock = threading.Lock()
        self._is_damaged = False
        self.summary = Summary()
        self._rescued: _Rescued | None = None
        try:
            index = orjson.loads(self._reader.index().payload)
        except Damaged as damage:
            self._note(damage, self.size_bytes)
            index = self._rescue()
        if index["version"] > VERSION:
            raise StoreUnavailable(
                f"{path}: written by a newer Watchroom (format {index['version']}, this one knows {VERSION}): upgrade"
            )
        self._index: dict[str, Any] = index  # JSON
        self.summary.rows = index["rows"]
        self.summary.first_id, self.summary.last_id = name.ids
        if self.summary.rows:
            self.summary.start_s, self.summary.end_s = index["start_s"], index["end_s"]

    @property
    def siblings(self) -> int:
        """How many files, this one included, the same merge wrote for the same ids; 0 where the file is too damaged to say."""
        return int(self._index["siblings"])

    @property
    def sources(self) -> Sequence[str]:
        """The files that were merged into it; none for one that was sealed."""
        return list(self._index["sources"])

    @property
    def level(self) -> int:
        """How often its rows were merged."""
        return int(self._index["level"])

    @property
    def has_rollups(self) -> bool:
        """Whether it carries buckets that are in no rollup file yet."""
        return bool(self._index["has_rollups"])

    @property
    def checks(self) -> Mapping[str, Tally]:
        """How many rows of each check it has."""
        return self._tallies

    def close(self) -> None:
        """Nothing: the descriptor goes with the last reader, so that one in the middle still finds its file."""

    def keep_damaged(self, files: Files) -> None:
        """Keep a copy of the file in quarantine if anything that was read of it is damaged."""
        if self._is_damaged:
            self._quarantine.keep_copy(self.path, files)

    def marks(self) -> dict[str, Sequence[Mark]]:
        """Where the uptime of every check goes on after this segment."""
        try:
            found: dict[str, Sequence[Mark]] = orjson.loads(
                blocks.decompress(self._frame(*self._index["marks"]).payload)
            )
        except Damaged as damage:
            self._note(damage)
            return {}
        return found

    def between(self, check_id: str, start_s: float, end_s: float) -> Iterator[ResultColumns]:
        """The check's rows with start_s <= at < end_s, by id."""
        places = self._places_of(check_id)
        if places is None:
            return
        for index in range(len(places.offsets)):
            if places.start_s[index] < end_s and places.end_s[index] >= start_s:
                rows = self._block(places.offsets[index], places.sizes[index], check_id)
                if rows is not None:
                    piece = blocks.within(rows, start_s, end_s)
                    if len(piece):
                        yield piece

    def around(self, check_id: str, start_s: float, end_s: float) -> Iterator[ResultColumns]:
        """The check's rows by id, all that settle time between the instants; where its blocks ascend, few others."""
        places = self._places_of(check_id)
        if places is None:
            return
        wanted = range(len(places.offsets))
        if all(map(int.__le__, places.end_s, places.start_s[1:])):
            # to the first that begins after the end: its first row ends what the one before covers
            wanted = wanted[bisect_left(places.end_s, start_s) : bisect_left(places.start_s, end_s) + 1]
        found = (self._block(places.offsets[index], places.sizes[index], check_id) for index in wanted)
        for index, rows in zip(wanted, found, strict=True):
            if index and index == wanted[0] and (rows is None or rows.at_s[0] > start_s):
                before = self._block(places.offsets[index - 1], places.sizes[index - 1], check_id)
                if before is not None:
                    yield before  # its last row speaks for the start
            if rows is not None:
                yield rows

    def newest(self, check_id: str, n: int, before_id: int | None, bad_only: bool) -> ResultColumns | None:
        """The check's newest n rows, oldest first; with an id below `before_id` when given; None where there are none."""
        places = self._places_of(check_id)
        if places is None:
            return None
        found: list[ResultColumns] = []
        wanted = n
        for index in reversed(range(len(places.offsets))):
            is_newer = before_id is not None and places.first_ids[index] >= before_id
            if is_newer or (bad_only and not places.bad[index]):
                continue
            rows = self._block(places.offsets[index], places.sizes[index], check_id)
            if rows is None:
                continue
            end = len(rows) if before_id is None else bisect_left(rows.ids, before_id)
            if bad_only:
                bad = [row for row in range(end) if rows.statuses[row]]
                piece = blocks.picked(rows, bad[-wanted:])
            else:
                piece = blocks.sliced(rows, max(0, end - wanted), end)
            if len(piece):
                found.append(piece)
                wanted -= len(piece)
            if not wanted:
                break
        return joined(found[::-1]) if found else None

    def find(self, row_id: int) -> Row | None:
        """The row with that id."""
        for group in self._groups:
            if group.first_id <= row_id <= group.last_id:
                for rows in self._group(group, None, Texts()):
                    row = bisect_left(rows.ids, row_id)
                    if row < len(rows) and rows.ids[row] == row_id:
                        return row_of_columns(rows, row)
        return None

    def groups(
        self, check_ids: Collection[str] | None = None, start_s: float = -inf, end_s: float = inf
    ) -> Iterator[Sequence[ResultColumns]]:
        """Everything that may fit, a group at a time: the rows of each check in a range of ids, more than asked for.

        They are unpacked while somebody goes through them, each time.
        """
        texts = Texts()
        for group in self._groups:
            if group.start_s < end_s and group.end_s >= start_s:
                yield self._group(group, check_ids, texts)

    def rollups(self, check_id: str, wanted: Sequence[str] | None = None) -> list[Rollup]:
        """The check's 5-minute buckets of these rows."""
        entry = self._entries.get(check_id)
        if entry is None or not entry.rollups[1]:
            return []
        try:
            data = blocks.decompress(self._frame(*entry.rollups).payload)
        except Damaged as damage:
            self._note(damage)
            return []
        return blocks.unpack_rollups(data, FIVE_MINUTES_S, wanted)

    def check_ids(self) -> list[str]:
        """The checks it has rows or buckets of."""
        return list(self._entries)

    def _group(self, group: Group, check_ids: Collection[str] | None, texts: Texts) -> Sequence[ResultColumns]:
        if check_ids is not None and len(check_ids) * 8 < len(self._entries):
            return self._blocks_of(group, check_ids)
        wanted = (
            None if check_ids is None else {self._entries[each].number for each in check_ids if each in self._entries}
        )
        frames: list[Frame] = []
        for frame in self._reader.frames(group.offset, group.size):
            if isinstance(frame, Damaged):
                self._note(frame)
            elif frame.kind == Kind.RAW and (wanted is None or frame.number in wanted):
                frames.append(frame)
        return _Blocks(frames, lambda frame: self._unpack(frame, self._names[frame.number], texts))

    def _blocks_of(self, group: Group, check_ids: Collection[str]) -> list[ResultColumns]:
        found: list[ResultColumns] = []
        for check_id in check_ids:
            places = self._places_of(check_id)
            if places is None:
                continue
            for index in range(bisect_left(places.first_ids, group.first_id), len(places.offsets)):
                if places.first_ids[index] > group.last_id:
                    break
                rows = self._block(places.offsets[index], places.sizes[index], check_id)
                if rows is not None:
                    found.append(rows)
        return found

    def _block(self, offset: int, size: int, check_id: str) -> ResultColumns | None:
        try:
            return self._unpack(self._frame(offset, size), check_id)
        except Damaged as damage:
            self._note(damage, offset)
            return None

    def _unpack(self, frame: Frame, check_id: str, texts: Texts | None = None) -> ResultColumns:
        return blocks.unpack_results(blocks.decompress(frame.payload, self._dictionary), check_id, texts)

    def _frame(self, offset: int, size: int) -> Frame:
        return self._reader.frame(offset, size)

    def _note(self, damage: Damaged, offset: int = -1) -> None:
        self._is_damaged = True
        self._quarantine.note_block(self.path, str(damage), offset)

    def _places_of(self, check_id: str) -> _Places | None:
        entry = self._entries.get(check_id)
        if entry is None or not entry.tally.rows:
            return None
        if self._rescued is not None:
            return self._rescued.places.get(check_id)
        try:
            return _Places.unpack(self._frame(*entry.places).payload)
        except Damaged as damage:
            self._note(damage, entry.places[0])
            return self._rescue_all().places.get(check_id)

    @cached_property
    def _head(self) -> dict[str, Any]:  # JSON
        for frame in self._reader.scan():
            if isinstance(frame, Damaged):
                self._note(frame, 0)
            elif frame.kind == Kind.HEAD:
                head: dict[str, Any] = orjson.loads(blocks.decompress(frame.payload))
                return head
        self._note(Damaged(f"{self.path}: its head is damaged twice: nothing in it can be read"), 0)
        return {"names": [], "dictionary": "", "siblings": 0, "sources": [], "level": 0}

    @cached_property
    def _names(self) -> list[str]:
        return [intern(name) for name in self._head["names"]]  # the same in every file

    @cached_property
    def _dictionary(self) -> bytes:
        return bytes(self._head["dictionary"].encode())

    @cached_property
    def _table(self) -> dict[str, Any]:  # JSON
        if self._rescued is None:
            try:
                table: dict[str, Any] = orjson.loads(blocks.decompress(self._frame(*self._index["table"]).payload))
            except Damaged as damage:
                self._note(damage, self._index["table"][0])
            else:
                return table
        return self._rescue_all().table

    @cached_property
    def _entries(self) -> dict[str, _Entry]:
        names = self._names
        return {
            names[number]: _Entry(number, Tally(rows, bad), (place, place_size), (rollup, rollup_size))
            for number, rows, bad, place, place_size, rollup, rollup_size in self._table["checks"]
            if number < len(names)
        }

    @cached_property
    def _tallies(self) -> dict[str, Tally]:
        return {check_id: entry.tally for check_id, entry in self._entries.items() if entry.tally.rows}

    @cached_property
    def _groups(self) -> list[Group]:
        return [Group(**dict(zip(_GROUP_FIELDS, each, strict=True))) for each in self._table["groups"]]

    def _rescue_all(self) -> _Rescued:
        with self._lock:
            if self._rescued is None:
                self._rescued = _Rescued.of(self)
            return self._rescued

    def _rescue(self) -> dict[str, Any]:
        """An index made up from the frames that are good."""
        return self._rescue_all().index


@dataclass(frozen=True, slots=True)
class _Rescued:
    """What an index says, found out by reading every frame."""

    index: dict[str, Any]
    table: dict[str, Any]
    places: dict[str, _Places]

    @classmethod
    def of(cls, part: SegmentPart) -> _Rescued:
        rows_of: dict[str, list[tuple[int, int, int, int, float, float, int]]] = {}
        counts: dict[int, Tally] = {}
        rollups: dict[int, tuple[int, int]] = {}
        groups: list[list[float]] = []
        marks = (0, 0)
        for frame in part._reader.scan():
            if isinstance(frame, Damaged):
                continue
            size = frame.end - frame.offset
            if frame.kind == Kind.ROLLUP:
                rollups[frame.number] = (frame.offset, size)
            elif frame.kind == Kind.MARKS:
                marks = (frame.offset, size)
            elif frame.kind == Kind.RAW and frame.number < len(part._names):
                rows = blocks.unpack_results(
                    blocks.decompress(frame.payload, part._dictionary), part._names[frame.number]
                )
                bad = sum(1 for status in rows.statuses if status)
                place = (frame.offset, size, rows.ids[0], rows.ids[-1], min(rows.at_s), max(rows.at_s), bad)
                rows_of.setdefault(part._names[frame.number], []).append(place)
                known = counts.get(frame.number, Tally(0, 0))
                counts[frame.number] = Tally(known.rows + len(rows), known.bad + bad)
                groups.append([frame.offset, size, len(rows), *place[2:6]])
        numbers = sorted({*counts, *rollups})
        checks = [[number, *counts.get(number, (0, 0)), 0, 0, *rollups.get(number, (0, 0))] for number in numbers]
        index = {
            "version": VERSION,
            "rows": sum(tally.rows for tally in counts.values()),
            "start_s": min((each[5] for each in groups), default=None),
            "end_s": max((each[6] for each in groups), default=None),
            "siblings": part._head["siblings"],
            "sources": part._head["sources"],
            "level": part._head["level"],
            "has_rollups": bool(rollups),
            "marks": marks,
            "table": (0, 0),
        }
        places = {check_id: _Places.unpack(_pack_places(found)) for check_id, found in rows_of.items()}
        return cls(index, {"checks": checks, "groups": _clustered(groups)}, places)


def _clustered(blocks_found: Sequence[Sequence[float]]) -> list[list[float]]:
    """Blocks (offset, size, rows, ids, instants), as they lie in the file, joined to groups where their ids overlap."""
    groups: list[list[float]] = []
    for offset, size, rows, first_id, last_id, start_s, end_s in blocks_found:
        last = groups[-1] if groups else None
        if last is None or first_id > last[4]:
            groups.append([offset, size, rows, first_id, last_id, start_s, end_s])
            continue
        last[1] = offset + size - last[0]
        last[2] += rows
        last[3:5] = min(last[3], first_id), max(last[4], last_id)
        last[5:7] = min(last[5], start_s), max(last[6], end_s)
    return groups
