"""All rows there are, read across the parts they lie in. Reading takes no lock but a part's own, for a moment."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import chain, groupby
from math import inf

from checks.base import Status
from dashboard.model import Result
from dashboard.storage.base import ResultColumns
from dashboard.storage.blocks import picked, sliced, within
from dashboard.storage.columns import joined
from dashboard.storage.ordering import oldest_first
from dashboard.storage.parts import JournalPart, Part
from dashboard.storage.records import Row, row_of_columns
from dashboard.storage.segments import SegmentPart


class Timeline:
    """The parts, oldest first. `parts` is replaced as a whole; a reader keeps the one it began with.

    `forgotten` names checks whose rows up to an id are shown no more: `{check_id: id}`, always the last id of a part.
    """

    def __init__(self, parts: Sequence[Part] = ()) -> None:
        self.parts: tuple[Part, ...] = tuple(parts)
        self.forgotten: Mapping[str, int] = {}
        self._lock = threading.Lock()

    def add(self, part: Part) -> None:
        """Show one more part, the newest."""
        with self._lock:
            self.parts = (*self.parts, part)

    def replace(self, gone: Sequence[Part], come: Sequence[Part]) -> None:
        """Put parts in the place of others at once."""
        with self._lock:
            kept = [part for part in self.parts if part not in gone]
            self.parts = tuple(
                sorted((*kept, *come), key=lambda part: part.summary.first_id or part.summary.last_id or inf)
            )

    @property
    def journals(self) -> list[JournalPart]:
        """The parts that are not sealed, oldest first."""
        return [part for part in self.parts if isinstance(part, JournalPart)]

    @property
    def segments(self) -> list[SegmentPart]:
        """The parts that are sealed, oldest first."""
        return [part for part in self.parts if isinstance(part, SegmentPart)]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        hidden = sum(
            part.checks[check_id].rows
            for check_id, through_id in self.forgotten.items()
            for part in self.parts
            if part.summary.last_id <= through_id and check_id in part.checks
        )
        return sum(part.summary.rows for part in self.parts) - hidden

    @property
    def rows_in_memory(self) -> int:
        """How many of them memory holds."""
        return sum(part.rows_in_memory for part in self.parts)

    @property
    def unsealed_rows(self) -> int:
        """How many of them are in journals."""
        return sum(part.summary.rows for part in self.journals)

    @property
    def size_bytes(self) -> int:
        """What they take on the disk."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def newest_s(self) -> float | None:
        """The latest instant of any row, epoch seconds."""
        return max((part.summary.end_s for part in self.parts if part.summary.rows), default=None)

    @property
    def last_id(self) -> int:
        """The highest id of any row, 0 for none."""
        return max((part.summary.last_id for part in self.parts), default=0)

    def complete_from_s(self, check_id: str) -> float:
        """From when on all the check's results are surely here, epoch seconds; -infinity where none were ever given up."""
        parts = self.parts
        if _are_whole(parts):
            return -inf
        mine = (part for part in parts if check_id in part.checks and self._shows(part, check_id))
        return next((part.summary.start_s for part in mine), inf)

    def check_ids(self) -> set[str]:
        """The checks that have rows."""
        return set(self.tallies())

    def tallies(self) -> dict[str, int]:
        """How many rows each check has."""
        found: dict[str, int] = {}
        for part in self.parts:
            for check_id, tally in part.checks.items():
                if self._shows(part, check_id):
                    found[check_id] = found.get(check_id, 0) + tally.rows
        return found

    def last(self, check_id: str, n: int, before_id: int | None, bad_only: bool) -> list[Result]:
        """The newest n results of a check, newest first."""
        pieces = self.newest(check_id, n, before_id, bad_only)
        return [result for piece in pieces for result in reversed(piece.results())]

    def newest(self, check_id: str, n: int, before_id: int | None, bad_only: bool) -> list[ResultColumns]:
        """The same as columns, the newest piece first, each piece oldest first."""
        found: list[ResultColumns] = []
        left = n
        for part in reversed(self.parts):
            is_newer = before_id is not None and part.summary.first_id >= before_id
            if is_newer or left <= 0 or not self._shows(part, check_id):
                continue
            rows = part.newest(check_id, left, before_id, bad_only)
            if rows:
                found.append(rows)
                left -= len(rows)
        return found

    def series(self, check_id: str, start_s: float, end_s: float) -> ResultColumns:
        """The rows of a check with start_s <= at < end_s, by id."""
        return joined(
            [
                piece
                for part in self.parts
                if part.summary.start_s < end_s and part.summary.end_s >= start_s and self._shows(part, check_id)
                for piece in part.between(check_id, start_s, end_s)
            ]
        )

    def find(self, row_id: int) -> Row | None:
        """The row with that id."""
        for part in self.parts:
            if part.summary.first_id <= row_id <= part.summary.last_id:
                row = part.find(row_id)
                if row is not None:  # files of another retention hold the same range of ids
                    return row if self._shows(part, row["check_id"]) else None
        return None

    def groups(
        self, check_ids: Collection[str] | None = None, start_s: float = -inf, end_s: float = inf
    ) -> Iterator[Sequence[ResultColumns]]:
        """The rows that are there now and fit, in runs of ids: a piece a check, none empty."""
        parts = [
            part
            for part in self.parts
            if part.summary.rows and part.summary.start_s < end_s and part.summary.end_s >= start_s
        ]
        streams = [self._fitting_of(part, part.groups(check_ids, start_s, end_s), start_s, end_s) for part in parts]
        by_ids = groupby(zip(parts, streams, strict=True), key=lambda each: each[0].summary.first_id)
        return chain.from_iterable(_in_step([stream for _, stream in siblings]) for _, siblings in by_ids)

    def rows_by_id(
        self, check_ids: Collection[str] | None = None, start_s: float = -inf, end_s: float = inf
    ) -> Iterator[Row]:
        """The same rows one by one, by id."""
        for pieces in map(list, self.groups(check_ids, start_s, end_s)):
            order = sorted(
                (row_id, piece, row) for piece, rows in enumerate(pieces) for row, row_id in enumerate(rows.ids)
            )
            for _, piece, row in order:
                yield row_of_columns(pieces[piece], row)

    def export_columns(
        self,
        check_ids: Collection[str] | None,
        statuses: Collection[Status] | None,
        start_at: datetime | None,
        end_at: datetime | None,
    ) -> Iterator[ResultColumns]:
        """All rows there are now and that fit, oldest first, in chunks that are not empty."""
        start_s = start_at.timestamp() if start_at else -inf
        end_s = end_at.timestamp() if end_at else inf
        checks = None if check_ids is None else frozenset(check_ids)
        groups = self.groups(checks, start_s, end_s)
        if statuses is not None:
            numbers = frozenset(map(int, statuses))
            groups = map(partial(_of_statuses, numbers), groups)
        return oldest_first(groups)

    def _shows(self, part: Part, check_id: str) -> bool:
        return not self.forgotten or self.forgotten.get(check_id, 0) < part.summary.last_id

    def _fitting_of(
        self, part: Part, groups: Iterable[Sequence[ResultColumns]], start_s: float, end_s: float
    ) -> Iterator[Sequence[ResultColumns]]:
        # filter and map, unlike a for statement, let go of one group before they ask for the next
        return filter(None, map(partial(self._fitting, part, start_s, end_s), groups))

    def _fitting(
        self, part: Part, start_s: float, end_s: float, pieces: Sequence[ResultColumns]
    ) -> Sequence[ResultColumns]:
        if self.forgotten:
            pieces = [piece for piece in pieces if self._shows(part, piece.check_ids[0])]
        if start_s > part.summary.start_s or end_s <= part.summary.end_s:
            pieces = [fitting for piece in pieces if len(fitting := within(piece, start_s, end_s))]
        return pieces


def _in_step(streams: Sequence[Iterator[Sequence[ResultColumns]]]) -> Iterator[Sequence[ResultColumns]]:
    """The groups of parts that share a range of ids as groups whose ids ascend. Memory holds one group a part."""
    if len(streams) == 1:
        yield from streams[0]
        return
    held = [list(next(stream, ())) for stream in streams]
    while any(held):
        through_id = min(max(piece.ids[-1] for piece in pieces) for pieces in held if pieces)
        cuts = [[(piece, bisect_right(piece.ids, through_id)) for piece in pieces] for pieces in held]
        yield [sliced(piece, 0, cut) for pieces in cuts for piece, cut in pieces if cut]
        held = [
            [sliced(piece, cut, len(piece)) for piece, cut in pieces if cut < len(piece)] or list(next(stream, ()))
            for pieces, stream in zip(cuts, streams, strict=True)
        ]


def _are_whole(parts: Sequence[Part]) -> bool:
    """Whether they hold all ids from the first, and each merge all of its files."""
    next_id = 1
    with_rows = [part for part in parts if part.summary.last_id]
    for first_id, run in groupby(with_rows, key=lambda part: part.summary.first_id):
        siblings = list(run)
        newest = siblings[-1]
        if first_id != next_id or (isinstance(newest, SegmentPart) and len(siblings) < newest.siblings):
            return False
        next_id = newest.summary.last_id + 1
    return True


def _of_statuses(numbers: frozenset[int], pieces: Sequence[ResultColumns]) -> list[ResultColumns]:
    found = []
    for piece in pieces:
        which = [row for row, status in enumerate(piece.statuses) if status in numbers]
        if which:
            found.append(piece if len(which) == len(piece) else picked(piece, which))
    return found
