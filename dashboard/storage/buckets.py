"""Answers from rollups: the coarsest class of history that the asked-for edges allow, finer ones at the ends, results last."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, pairwise
from math import ceil, floor, inf

from dashboard.rollup import FIVE_MINUTES_S, Rollup, fold, fold_buckets, joined, spread
from dashboard.storage.base import ResultColumns
from dashboard.storage.blocks import within
from dashboard.storage.columns import joined as joined_rows
from dashboard.storage.parts import Part
from dashboard.storage.rollup_files import LENGTHS, RollupFiles
from dashboard.storage.segments import SegmentPart
from dashboard.storage.timeline import Timeline
from dashboard.uptime import KINDS, Cursor, Mark, Stretch, Window, apart

_COARSEST_FIRST = ("1d", "1h", "5m")
_SEGMENTS_REMEMBERED = 4  # pages ask every check for the same times

Piece = tuple[str, float, float]  # class, start, end


class Buckets:
    """Rollups of one check over any range, from rollup files, the buckets of segments, and the journals."""

    def __init__(
        self, timeline: Timeline, files: RollupFiles, windows: Callable[[], Mapping[str, Sequence[Window]]]
    ) -> None:
        self._timeline = timeline
        self._files = files
        self._windows = windows
        self._marks: dict[SegmentPart, Mapping[str, Sequence[Mark]]] = {}  # of the segments asked last
        self._lock = threading.Lock()

    def rollups(
        self, check_id: str, edges_s: Sequence[float], *, now_s: float | None, wanted: Collection[str] | None
    ) -> list[Rollup]:
        """See History."""
        found: list[list[Rollup]] = [[] for _ in edges_s[1:]]
        fresh = _Fresh(self, check_id, wanted)
        for label, start_s, end_s in _joined(_pieces(edges_s)):
            if label == "raw":
                buckets = self._finest(check_id, start_s, end_s, fresh, now_s)
            else:
                buckets = self._of_class(label, check_id, start_s, end_s, fresh, now_s)
            for bucket in buckets:
                place = bisect_right(edges_s, (bucket.start_s + bucket.end_s) / 2) - 1
                if 0 <= place < len(found):
                    found[place].append(bucket)
        return [
            joined(buckets, start_s=start_s, end_s=end_s)
            for buckets, (start_s, end_s) in zip(found, pairwise(edges_s), strict=True)
        ]

    def cursor(self, check_id: str) -> Cursor:
        """See History."""
        return _Fresh(self, check_id, ()).cursor

    def settled_marks(self, parts: Sequence[Part], check_id: str) -> Sequence[Mark]:
        """Where the check's uptime goes on after the newest of the sealed parts."""
        newest = next((part for part in reversed(parts) if isinstance(part, SegmentPart)), None)
        if newest is None or self._timeline.forgotten.get(check_id, 0) >= newest.summary.last_id:
            return ()
        return self._marks_after(newest).get(check_id, ())

    def _marks_after(self, segment: SegmentPart) -> Mapping[str, Sequence[Mark]]:
        with self._lock:
            marks = self._marks.pop(segment, None)
            self._marks[segment] = segment.marks() if marks is None else marks
            for eldest in list(self._marks)[:-_SEGMENTS_REMEMBERED]:
                del self._marks[eldest]
            return self._marks[segment]

    def windows(self, check_id: str) -> Sequence[Window]:
        """The check's maintenance."""
        return self._windows().get(check_id, ())

    @property
    def parts(self) -> Sequence[Part]:
        """All parts as they are now."""
        return self._timeline.parts

    def is_forgotten(self, check_id: str, last_id: int) -> bool:
        """Whether what lies up to that id is shown no more."""
        return last_id <= self._timeline.forgotten.get(check_id, 0)

    def _finest(
        self, check_id: str, start_s: float, end_s: float, fresh: _Fresh, now_s: float | None
    ) -> Iterable[Rollup]:
        """From the results where all are there, else from 5-minute buckets."""
        if start_s < self._timeline.complete_from_s(check_id):
            first_s = float(start_s // FIVE_MINUTES_S * FIVE_MINUTES_S)
            last_s = float(ceil(end_s / FIVE_MINUTES_S) * FIVE_MINUTES_S)
            folded = list(self._of_class("5m", check_id, first_s, last_s, fresh, now_s))
            if sum(sum(bucket.runs) for bucket in folded) > len(self._timeline.series(check_id, first_s, last_s)):
                return [bucket for bucket in folded if _lies_in(bucket, [(start_s, end_s)])]
        return [self._raw(check_id, start_s, end_s, fresh, now_s)]

    def _raw(self, check_id: str, start_s: float, end_s: float, fresh: _Fresh, now_s: float | None) -> Rollup:
        """From the results themselves: what began there, and the time that they and those before speak for."""
        time, pieces = self._settled(check_id, start_s, end_s, fresh.cursor.open())
        [content] = fold(joined_rows(pieces), (start_s, end_s), wanted=fresh.wanted)
        time += [] if now_s is None else fresh.cursor.open(now_s)
        seconds = _spread_over((start_s, end_s), time, self.windows(check_id))
        return Rollup(start_s=start_s, end_s=end_s, seconds=seconds, runs=content.runs, metrics=content.metrics)

    def _settled(
        self, check_id: str, start_s: float, end_s: float, never_settled: Collection[Stretch]
    ) -> tuple[list[Stretch], list[ResultColumns]]:
        """The check's settled time that reaches into the range, and the results that began there.

        Found by going through the parts with results from there, each from where uptime stood before it, and through the
        next ones until what was open is settled.
        """

        def reaches(stretch: Stretch) -> bool:
            return stretch[0] < end_s and stretch[1] > start_s

        shown = [part for part in self.parts if not self.is_forgotten(check_id, part.summary.last_id)]
        runs = [list(siblings) for _, siblings in groupby(shown, key=lambda part: part.summary.first_id)]
        found: list[Stretch] = []
        pieces: list[ResultColumns] = []
        may_reach = True  # whether what is open before a run may reach into the range
        for index, run in enumerate(runs):
            start, end = min(part.summary.start_s for part in run), max(part.summary.end_s for part in run)
            may_reach = may_reach or start < end_s
            if end < start_s or not may_reach:
                continue
            cursor = self._cursor_before(runs[:index], check_id)
            if start >= end_s:
                may_reach = any(reaches(stretch) and stretch not in never_settled for stretch in cursor.open())
                if not may_reach:
                    continue
            for rows in chain.from_iterable(_telling(part, check_id, start_s, end_s, cursor) for part in run):
                settled = map(cursor.add, rows.at_s, rows.covers_s, rows.statuses)
                found += [stretch for stretch in settled if stretch is not None and reaches(stretch)]
                pieces.append(within(rows, start_s, end_s))
        return found, pieces

    def _cursor_before(self, runs: Sequence[Sequence[Part]], check_id: str) -> Cursor:
        """Where the check's uptime stands after those parts."""
        journals: list[Part] = []
        cursor = Cursor()
        for newest, *_ in reversed(runs):
            if isinstance(newest, SegmentPart):
                cursor = Cursor.of_marks(self._marks_after(newest).get(check_id, ()))
                break
            journals.append(newest)
        for journal in reversed(journals):
            for rows in journal.between(check_id, -inf, inf):
                for row in zip(rows.at_s, rows.covers_s, rows.statuses, strict=True):
                    cursor.add(*row)
        return cursor

    def _of_class(
        self, label: str, check_id: str, start_s: float, end_s: float, fresh: _Fresh, now_s: float | None
    ) -> Iterator[Rollup]:
        """From rollup files, and beside each what lies above its `through`; where they are too old, from coarser ones."""
        through: list[tuple[float, float, int]] = []
        left = [(start_s, end_s)]
        for coarser in _COARSEST_FIRST[_COARSEST_FIRST.index(label) :: -1]:
            files = self._files.of(coarser, *left[0]) if len(left) == 1 else self._files.of(coarser, start_s, end_s)
            for file in list(files):
                if check_id not in file.check_ids:
                    continue
                gone_through = self.is_forgotten(check_id, file.through(check_id))
                found = () if gone_through else file.rollups(check_id, fresh.wanted, left[0][0], left[-1][1])
                yield from found if len(left) == 1 else (bucket for bucket in found if _lies_in(bucket, left))
                through.append((file.name.start_s, file.name.end_s, file.through(check_id)))
            left = _without(left, through)
            if not left or not self._are_too_old(coarser, check_id, left):
                break
        for first_id, bucket in fresh.between(start_s, end_s, now_s):
            if first_id > _through_at(through, bucket.start_s):
                yield bucket

    def _are_too_old(self, label: str, check_id: str, left: Sequence[tuple[float, float]]) -> bool:
        """Whether time that no file of that class holds lies before the oldest one that knows the check."""
        oldest = self._files.oldest_of(label, check_id)
        return oldest is None or left[0][0] < oldest.name.start_s


class _Fresh:
    """A check's 5-minute buckets that may be in no rollup file yet: those of segments, and of the journals' rows."""

    def __init__(self, buckets: Buckets, check_id: str, wanted: Collection[str] | None) -> None:
        self.wanted = None if wanted is None else list(wanted)
        self._buckets = buckets
        self._check_id = check_id
        self._parts = buckets.parts
        self._found: list[tuple[int, Rollup]] | None = None
        self._cursor: Cursor | None = None

    @property
    def cursor(self) -> Cursor:
        """Where the check's uptime goes on after its newest result."""
        if self._cursor is None:
            self._load()
        assert self._cursor is not None
        return self._cursor

    def between(self, start_s: float, end_s: float, now_s: float | None) -> Iterator[tuple[int, Rollup]]:
        """Buckets whose middle lies in the range, each with the lowest id that it may hold; open time counts up to `now_s`."""
        if self._found is None:
            self._load()
        found = self._found or []
        if now_s is not None:
            found = found + self._open(now_s)
        ranges = [(start_s, end_s)]
        return ((first_id, bucket) for first_id, bucket in found if _lies_in(bucket, ranges))

    def _open(self, now_s: float) -> list[tuple[int, Rollup]]:
        found: list[tuple[int, Rollup]] = []
        never = 1 << 62  # what is open is in no file
        windows = self._buckets.windows(self._check_id)
        for start_s, end_s, kind in self.cursor.open(now_s):
            number = floor(start_s // FIVE_MINUTES_S)
            while number * FIVE_MINUTES_S < end_s:
                edges_s = (float(number * FIVE_MINUTES_S), float((number + 1) * FIVE_MINUTES_S))
                seconds = _spread_over(edges_s, [(start_s, end_s, kind)], windows)
                found.append((never, Rollup(start_s=edges_s[0], end_s=edges_s[1], seconds=seconds)))
                number += 1
        return found

    def _load(self) -> None:
        found: list[tuple[int, Rollup]] = []
        buckets, check_id = self._buckets, self._check_id
        cursor = Cursor.of_marks(buckets.settled_marks(self._parts, check_id))
        for part in self._parts:
            if buckets.is_forgotten(check_id, part.summary.last_id):
                continue
            if isinstance(part, SegmentPart):
                if part.has_rollups:
                    found += [(part.summary.first_id, bucket) for bucket in part.rollups(check_id, self.wanted)]
            else:
                for rows in part.groups((check_id,)):
                    for piece in rows:
                        fresh = fold_buckets(
                            piece,
                            FIVE_MINUTES_S,
                            cursor=cursor,
                            windows=buckets.windows(check_id),
                            wanted=self.wanted,
                        )
                        found += [(part.summary.first_id, bucket) for bucket in fresh]
        self._found, self._cursor = found, cursor


def _telling(part: Part, check_id: str, start_s: float, end_s: float, cursor: Cursor) -> Iterator[ResultColumns]:
    """The check's rows of a part by id; of a long one with an even clock only those that settle time in the range."""
    marks = cursor.marks()
    if isinstance(part, SegmentPart) and (not marks or marks[0][0] <= part.summary.start_s):
        return part.around(check_id, start_s, end_s)
    return part.between(check_id, -inf, inf)


def _through_at(through: Sequence[tuple[float, float, int]], at_s: float) -> int:
    return max((last_id for start_s, end_s, last_id in through if start_s <= at_s < end_s), default=0)


def _lies_in(bucket: Rollup, ranges: Sequence[tuple[float, float]]) -> bool:
    middle_s = (bucket.start_s + bucket.end_s) / 2
    return any(start_s <= middle_s < end_s for start_s, end_s in ranges)


def _without(
    ranges: Sequence[tuple[float, float]], taken: Sequence[tuple[float, float, int]]
) -> list[tuple[float, float]]:
    """What is left of the ranges."""
    left = list(ranges)
    for start_s, end_s, _ in taken:
        left = [
            piece
            for low_s, high_s in left
            for piece in ((low_s, min(high_s, start_s)), (max(low_s, end_s), high_s))
            if piece[0] < piece[1]
        ]
    return left


def _spread_over(
    edges_s: tuple[float, float], stretches: Sequence[tuple[float, float, int]], windows: Sequence[Window]
) -> tuple[float, ...]:
    seconds = [[0.0] * KINDS]
    for stretch in stretches:
        for part in apart(stretch, windows):
            spread(part, edges_s, seconds)
    return tuple(seconds[0])


def _pieces(edges_s: Sequence[float]) -> Iterator[Piece]:
    """The range of every bucket, cut into pieces of the coarsest class that fits into it."""
    for start_s, end_s in pairwise(edges_s):
        yield from _cut(start_s, end_s, _COARSEST_FIRST)


def _cut(start_s: float, end_s: float, labels: Sequence[str]) -> Iterator[Piece]:
    if not labels:
        if end_s > start_s:
            yield "raw", start_s, end_s
        return
    label, *finer = labels
    length_s = LENGTHS[label]
    first_s, last_s = ceil(start_s / length_s) * length_s, floor(end_s / length_s) * length_s
    if first_s >= last_s:
        yield from _cut(start_s, end_s, finer)
        return
    yield from _cut(start_s, first_s, finer)
    yield label, float(first_s), float(last_s)
    yield from _cut(last_s, end_s, finer)


def _joined(pieces: Iterator[Piece]) -> list[Piece]:
    """Neighbours of one class as one piece: fewer files are opened. Results stay apart, bucket by bucket."""
    found: list[Piece] = []
    for label, start_s, end_s in pieces:
        if found and label != "raw" and found[-1][0] == label and found[-1][2] == start_s:
            found[-1] = (label, found[-1][1], end_s)
        else:
            found.append((label, start_s, end_s))
    return found
