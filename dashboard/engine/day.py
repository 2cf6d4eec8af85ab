"""The last day of one check, folded as results arrive: seconds per kind in 48 slots of half an hour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from dashboard.model import Slot, Uptime
from dashboard.rollup import Rollup
from dashboard.uptime import KINDS, Cursor, Stretch, slot, uptime_of

SLOT_S = 1800.0
SLOTS = 48

_Seconds = list[float]


class Day:
    """Folds one check's results in order; what the newest one covers is added when asked, since it may yet be cut short."""

    __slots__ = ("_cursor", "_seconds")

    def __init__(self) -> None:
        self._seconds: dict[int, _Seconds] = {}
        self._cursor = Cursor()

    def load(self, at_s: Sequence[float], covers_s: Sequence[float], status: Sequence[int]) -> None:
        """Start from a history, oldest first."""
        for row in zip(at_s, covers_s, status, strict=True):
            self.add(*row)

    def resume(self, slots: Iterable[Rollup], cursor: Cursor) -> None:
        """Start from what a store has folded: slots with what is settled, and where to go on."""
        self._seconds = {int(each.start_s // SLOT_S): list(each.seconds) for each in slots if any(each.seconds)}
        self._cursor = cursor

    def add(self, at_s: float, covers_s: float, status: int) -> None:
        """Fold the next result in."""
        settled = self._cursor.add(at_s, covers_s, status)
        if settled is not None:
            _spread(settled, self._seconds)

    def bar(self, now_s: float) -> tuple[Slot, ...]:
        """48 slots up to now, oldest first."""
        tail: dict[int, _Seconds] = {}
        for stretch in self._cursor.open(now_s):
            _spread(stretch, tail)
        first = int(now_s // SLOT_S) - SLOTS + 1
        self._forget(first)
        return tuple(
            slot(number * SLOT_S, SLOT_S, _sum(self._seconds.get(number), tail.get(number)), now_s)
            for number in range(first, first + SLOTS)
        )

    def _forget(self, first: int) -> None:
        for number in [number for number in self._seconds if number < first]:
            del self._seconds[number]


def _spread(stretch: Stretch, into: dict[int, _Seconds]) -> None:
    start_s, end_s, status = stretch
    number = int(start_s // SLOT_S)
    while number * SLOT_S < end_s:
        edge_s = number * SLOT_S
        seconds = into.setdefault(number, [0.0] * KINDS)
        seconds[status] += min(end_s, edge_s + SLOT_S) - max(start_s, edge_s)
        number += 1


def _sum(settled: _Seconds | None, tail: _Seconds | None) -> Sequence[float]:
    if settled is None or tail is None:
        return settled or tail or (0.0,) * KINDS
    return [mine + more for mine, more in zip(settled, tail, strict=True)]


def uptime_of_bar(bar: Sequence[Slot], now_s: float) -> Uptime:
    """The uptime over a bar's own range: from its first slot to now."""
    kinds = ((cell.ok_s, cell.warning_s, cell.critical_s, cell.unknown_s, cell.maintenance_s) for cell in bar)
    seconds = [sum(column) for column in zip(*kinds, strict=True)]
    return uptime_of(seconds, bar[0].start_at, datetime.fromtimestamp(now_s, UTC))
