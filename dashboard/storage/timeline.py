"""All rows there are, read across the parts they lie in. Reading takes no lock but a part's own, for a moment."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from math import inf
from operator import itemgetter

from checks.base import Status
from dashboard.model import Result
from dashboard.storage.base import ResultColumns
from dashboard.storage.columns import joined
from dashboard.storage.parts import Part
from dashboard.storage.records import Row, columns_of

_LATEST_S = 3600.0  # no run lasts longer: the largest timeout
_LOOK_AHEAD_ROWS = 8_192  # about 5 MB; 82 s at 100 results a second


class Timeline:
    """The parts, oldest first. Whoever changes `parts` puts a new tuple there; a reader keeps the one it began with."""

    def __init__(self, parts: Sequence[Part] = ()) -> None:
        self.parts: tuple[Part, ...] = tuple(parts)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(part.summary.rows for part in self.parts)

    @property
    def rows_in_memory(self) -> int:
        """How many of them memory holds."""
        return sum(part.rows_in_memory for part in self.parts)

    @property
    def size_bytes(self) -> int:
        """What they take on the disk."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def newest_s(self) -> float | None:
        """The latest instant of any row, epoch seconds."""
        return max((part.summary.end_s for part in self.parts if part.summary.rows), default=None)

    def check_ids(self) -> set[str]:
        """The checks that have rows."""
        return {check_id for part in self.parts for check_id in list(part.summary.checks)}

    def last(self, check_id: str, n: int, before_id: int | None, bad_only: bool) -> list[Result]:
        """The newest n results of a check, newest first."""
        found: list[Result] = []
        for part in reversed(self.parts):
            tally = part.summary.checks.get(check_id)
            is_newer = before_id is not None and part.summary.first_id >= before_id
            if tally is None or is_newer or (bad_only and not tally.bad):
                continue
            wanted = n - len(found)
            rows = part.read(check_id, lambda columns, n=wanted: columns.newest(n, before_id, bad_only))  # type: ignore[misc]
            found += reversed(rows.results() if rows else [])
            if len(found) >= n:
                break
        return found

    def series(self, check_id: str, start_s: float, end_s: float) -> ResultColumns:
        """The rows of a check with start_s <= at < end_s, by id."""
        pieces = [
            piece
            for part in self.parts
            if part.summary.start_s < end_s and part.summary.end_s >= start_s
            if (piece := part.read(check_id, lambda columns: columns.between(start_s, end_s)))
        ]
        return joined(pieces)

    def sweep(self, start_s: float, end_s: float) -> Iterator[ResultColumns]:
        """What `series` gives for every check, in one pass."""
        for part in self.parts:
            if part.summary.start_s < end_s and part.summary.end_s >= start_s:
                yield from filter(len, part.sweep(lambda columns: columns.between(start_s, end_s)))

    def find(self, row_id: int) -> Row | None:
        """The row with that id."""
        for part in self.parts:
            if part.summary.first_id <= row_id <= part.summary.last_id:
                return part.find(row_id)
        return None

    def chunks(
        self, check_ids: Collection[str] | None = None, start_s: float = -inf, end_s: float = inf
    ) -> Iterator[list[Row]]:
        """Rows that are there now, by id: all of the parts that may hold what is wanted, of one check when it is only one."""
        one_check = next(iter(check_ids)) if check_ids is not None and len(check_ids) == 1 else None
        wanted = [
            part.chunks(one_check)
            for part in self.parts
            if part.summary.rows and part.summary.start_s <= end_s and part.summary.end_s >= start_s
            if check_ids is None or any(check_id in part.summary.checks for check_id in check_ids)
        ]
        return (rows for chunks in wanted for rows in chunks)

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
        words = None if statuses is None else frozenset(status.word for status in statuses)
        chunks = self.chunks(checks, start_s, end_s)
        if checks is not None:
            chunks = ([row for row in rows if row["check_id"] in checks] for rows in chunks)
        if words is not None:
            chunks = ([row for row in rows if row["status"] in words] for rows in chunks)
        if start_at or end_at:
            chunks = ([row for row in rows if start_s <= row["at"] < end_s] for rows in chunks)
        return (columns_of(rows) for rows in oldest_first(chunks) if rows)


def oldest_first(chunks: Iterable[list[Row]]) -> Iterator[list[Row]]:
    """The same rows by the instant at which they began, as far as looking ahead a bounded number of rows can tell.

    They come in the order of recording: a run is recorded when it ends, so a slow one comes after quick ones that began
    later. Where the clock was set back by more than that, the order of recording stays.
    """
    held: list[Row] = []
    for rows in chunks:
        held += rows
        held.sort(key=itemgetter("at"))
        sure = bisect_left(held, held[-1]["at"] - _LATEST_S, key=itemgetter("at")) if held else 0
        sure = max(sure, len(held) - _LOOK_AHEAD_ROWS)
        yield held[:sure]
        del held[:sure]
    yield held
