"""Uptime is time, not counts: results become spans of time, spans become seconds per status.

A result speaks for [at, min(next result, at + covers_s)). What no result speaks for is not measured. Each instant is counted
once: where the clock was set back, the span recorded first keeps it, and the result before the step covers nothing. Results
from before everything a check had (an import of its past) are a run of their own, up to where its history began.
Time in a maintenance window is kept apart. All functions are pure; times are epoch seconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf

from checks.base import Status
from dashboard.model import Slot, Uptime

_OK, _WARNING, _CRITICAL = int(Status.OK), int(Status.WARNING), int(Status.CRITICAL)
MAINTENANCE = 4  # the kind of time after the four statuses
KINDS = 5
_DEEPEST = 8  # runs into the past within runs into the past: only a clock that is no clock makes more

Stretch = tuple[float, float, int]  # start, end (excluded), status or MAINTENANCE
Window = tuple[float, float]  # a maintenance window: start, end (excluded)
Mark = tuple[float, float, float, float, int]  # what a Cursor remembers of one run: see Cursor.marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time with one raw status; `end_s` excluded."""

    start_s: float
    end_s: float
    status: int


class Cursor:
    """Goes through one check's results in the order of recording and tells what each settles of the time before it.

    What the newest result covers is not settled: the next may cut it short. `open` tells it as of now.
    """

    __slots__ = ("_before", "_bound_s", "_counted_to_s", "_depth", "_end_s", "_first_s", "_newest_s", "_status")

    def __init__(self, *, bound_s: float = inf, depth: int = 0) -> None:
        self._bound_s = bound_s  # nothing is counted from here on
        self._depth = depth
        self._first_s = inf
        self._counted_to_s = -inf
        self._newest_s = -inf  # of the newest result: at,
        self._end_s = -inf  # at + covers_s, cut at the bound,
        self._status = 0
        self._before: Cursor | None = None

    @classmethod
    def of_marks(cls, marks: Sequence[Sequence[float]]) -> Cursor:
        """The cursor that `marks` described."""
        cursor = top = cls()
        for depth, (first_s, counted_to_s, newest_s, end_s, status) in enumerate(marks):
            if depth:
                cursor._before = cls(bound_s=cursor._first_s, depth=depth)
                cursor = cursor._before
            cursor._first_s, cursor._counted_to_s = first_s, counted_to_s
            cursor._newest_s, cursor._end_s, cursor._status = newest_s, end_s, int(status)
        return top

    def marks(self) -> list[Mark]:
        """All that goes on needs to know: first instant, counted to, newest at, its end, its status; a run a row."""
        counted_to_s = max(self._counted_to_s, self._first_s)  # the same, and JSON has no infinity
        mine = (self._first_s, counted_to_s, self._newest_s, self._end_s, self._status)
        return [mine, *(self._before.marks() if self._before is not None else ())] if self._first_s < inf else []

    def add(self, at_s: float, covers_s: float, status: int) -> Stretch | None:
        """Take the next result; what is settled by it."""
        if at_s < self._first_s:
            if self._first_s < inf:
                return self._add_before(at_s, covers_s, status)
            self._first_s = at_s
        settled = None
        newest_s = self._newest_s
        if newest_s > -inf:
            counted_to_s = self._counted_to_s
            start_s = newest_s if newest_s > counted_to_s else counted_to_s
            end_s = self._end_s
            if end_s > at_s:
                end_s = at_s if at_s > newest_s else newest_s
            if end_s > counted_to_s:
                self._counted_to_s = end_s
                if end_s > start_s:
                    settled = (start_s, end_s, self._status)
        self._newest_s = at_s
        end_s = at_s + covers_s
        self._end_s = end_s if end_s < self._bound_s else self._bound_s
        self._status = status
        return settled

    def open(self, until_s: float = inf) -> list[Stretch]:
        """What the newest result covers as things are, cut at `until_s` (now)."""
        found = self._before.open(until_s) if self._before is not None else []
        start_s, end_s = max(self._newest_s, self._counted_to_s), min(self._end_s, until_s)
        return [*found, (start_s, end_s, self._status)] if end_s > start_s else found

    def _add_before(self, at_s: float, covers_s: float, status: int) -> Stretch | None:
        if self._before is None:
            if self._depth >= _DEEPEST:
                return None
            self._before = Cursor(bound_s=self._first_s, depth=self._depth + 1)
        return self._before.add(at_s, covers_s, status)


def stretches(
    at_s: Sequence[float],
    covers_s: Sequence[float],
    status: Sequence[int],
    *,
    until_s: float = inf,
    windows: Sequence[Window] = (),
) -> Iterator[Stretch]:
    """The time that a check's results speak for, in the order of recording, none after `until_s` (now)."""
    cursor = Cursor()
    for settled in map(cursor.add, at_s, covers_s, status):
        if settled is not None and settled[0] < until_s:
            yield from apart(settled if settled[1] <= until_s else (settled[0], until_s, settled[2]), windows)
    for still_open in cursor.open(until_s):
        yield from apart(still_open, windows)


def apart(stretch: Stretch, windows: Sequence[Window]) -> Iterator[Stretch]:
    """The stretch with what lies in maintenance told apart. Windows ascend and do not overlap (see `windows_of`)."""
    start_s, end_s, status = stretch
    if windows:
        index = max(0, bisect_right(windows, (start_s, inf)) - 1)
        for window_start_s, window_end_s in windows[index:]:
            if window_start_s >= end_s:
                break
            if window_end_s <= start_s:
                continue
            if window_start_s > start_s:
                yield start_s, window_start_s, status
                start_s = window_start_s
            inside_s = min(window_end_s, end_s)
            yield start_s, inside_s, MAINTENANCE
            start_s = inside_s
    if end_s > start_s:
        yield start_s, end_s, status


def windows_of(windows: Iterable[Window]) -> list[Window]:
    """The same windows ascending, those that touch joined."""
    joined: list[Window] = []
    for start_s, end_s in sorted(windows):
        if joined and start_s <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end_s))
        elif end_s > start_s:
            joined.append((start_s, end_s))
    return joined


def spans(
    at_s: Sequence[float],
    covers_s: Sequence[float],
    status: Sequence[int],
    *,
    until_s: float | None = None,
    windows: Sequence[Window] = (),
) -> Iterator[Span]:
    """The spans of a check's results, in the order of recording, neighbours of one status joined, none after `until_s` (now)."""
    held: Stretch | None = None
    for stretch in stretches(at_s, covers_s, status, until_s=inf if until_s is None else until_s, windows=windows):
        if held is not None and held[2] == stretch[2] and held[1] == stretch[0]:
            held = (held[0], stretch[1], held[2])
            continue
        if held is not None:
            yield Span(start_s=held[0], end_s=held[1], status=held[2])
        held = stretch
    if held is not None:
        yield Span(start_s=held[0], end_s=held[1], status=held[2])


def uptime(found: Iterable[Span], start_at: datetime, end_at: datetime) -> Uptime:
    """Seconds per kind between two instants, end excluded."""
    start_s, end_s = start_at.timestamp(), end_at.timestamp()
    seconds = [0.0] * KINDS
    for span in found:
        overlap = min(span.end_s, end_s) - max(span.start_s, start_s)
        if overlap > 0:
            seconds[span.status] += overlap
    return uptime_of(seconds, start_at, end_at)


def uptime_of(seconds: Sequence[float], start_at: datetime, end_at: datetime) -> Uptime:
    """The uptime that the seconds per kind make; what is left of the range was not measured."""
    length_s = (end_at - start_at).total_seconds()
    known_s = seconds[_OK] + seconds[_WARNING] + seconds[_CRITICAL] + seconds[MAINTENANCE]
    return Uptime(
        start_at=start_at,
        end_at=end_at,
        ok_s=seconds[_OK],
        warning_s=seconds[_WARNING],
        critical_s=seconds[_CRITICAL],
        unmeasured_s=max(0.0, length_s - known_s),
        maintenance_s=seconds[MAINTENANCE],
    )


def slots(
    found: Iterable[Span], start_s: float, length_s: float, count: int, *, until_s: float | None = None
) -> tuple[Slot, ...]:
    """`count` slots of equal length from `start_s` on, oldest first, with the seconds of each status.

    The slot that holds `until_s` (now) still runs: its length is the time it has had so far.
    """
    seconds = [[0.0] * KINDS for _ in range(count)]
    for span in found:
        first = max(0, int((span.start_s - start_s) // length_s))
        last = min(count - 1, int((span.end_s - start_s) // length_s))
        for index in range(first, last + 1):
            edge_s = start_s + index * length_s
            overlap = min(span.end_s, edge_s + length_s) - max(span.start_s, edge_s)
            if overlap > 0:
                seconds[index][span.status] += overlap
    return tuple(slot(start_s + index * length_s, length_s, row, until_s) for index, row in enumerate(seconds))


def slot(start_s: float, length_s: float, seconds: Sequence[float], until_s: float | None = None) -> Slot:
    """One slot from its seconds per kind (ok, warning, critical, unknown, maintenance), cut at `until_s` where that falls inside."""
    if until_s is not None and start_s < until_s < start_s + length_s:
        length_s = until_s - start_s
    return Slot(
        start_at=datetime.fromtimestamp(start_s, UTC),
        length_s=length_s,
        ok_s=seconds[0],
        warning_s=seconds[1],
        critical_s=seconds[2],
        unknown_s=seconds[3],
        maintenance_s=seconds[MAINTENANCE],
    )
