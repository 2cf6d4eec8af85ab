"""The last day of one check, folded as results arrive: seconds per status in 48 slots of half an hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from dashboard.model import Slot, Uptime
from dashboard.uptime import Span, slot, spans

SLOT_S = 1800.0
SLOTS = 48

_Seconds = list[float]


class Day:
    """Folds one check's results in order; what the newest one covers is added when asked, since it may yet be cut short."""

    __slots__ = ("_covered_to_s", "_newest", "_seconds")

    def __init__(self) -> None:
        self._seconds: dict[int, _Seconds] = {}
        self._covered_to_s = float("-inf")
        self._newest: Span | None = None

    def load(self, at_s: Sequence[float], covers_s: Sequence[float], status: Sequence[int]) -> None:
        """Start from a history, oldest first."""
        if not at_s:
            return
        last = len(at_s) - 1
        covers = list(covers_s[:last])
        if covers:
            covers[-1] = min(covers[-1], max(0.0, at_s[last] - at_s[last - 1]))
        for span in spans(at_s[:last], covers, status[:last]):
            self._settle(span)
        self._covered_to_s = max(self._covered_to_s, max(at_s[:last], default=self._covered_to_s))
        self._newest = Span(start_s=at_s[last], end_s=at_s[last] + covers_s[last], status=status[last])

    def add(self, at_s: float, covers_s: float, status: int) -> None:
        """Fold the next result in."""
        if self._newest is not None:
            end_s = min(self._newest.end_s, max(self._newest.start_s, at_s))
            self._settle(replace(self._newest, end_s=end_s))
        self._newest = Span(start_s=at_s, end_s=at_s + covers_s, status=status)

    def bar(self, now_s: float) -> tuple[Slot, ...]:
        """48 slots up to now, oldest first."""
        tail = self._tail(now_s)
        first = int(now_s // SLOT_S) - SLOTS + 1
        self._forget(first)
        return tuple(
            slot(number * SLOT_S, SLOT_S, _sum(self._seconds.get(number), tail.get(number)), now_s)
            for number in range(first, first + SLOTS)
        )

    def _settle(self, span: Span) -> None:
        start_s = max(span.start_s, self._covered_to_s)
        self._covered_to_s = max(self._covered_to_s, span.end_s)
        if span.end_s > start_s:
            _spread(replace(span, start_s=start_s), self._seconds)

    def _tail(self, now_s: float) -> dict[int, _Seconds]:
        found: dict[int, _Seconds] = {}
        if self._newest is not None:
            start_s = max(self._newest.start_s, self._covered_to_s)
            end_s = min(self._newest.end_s, now_s)
            if end_s > start_s:
                _spread(Span(start_s=start_s, end_s=end_s, status=self._newest.status), found)
        return found

    def _forget(self, first: int) -> None:
        for number in [number for number in self._seconds if number < first]:
            del self._seconds[number]


def _spread(span: Span, into: dict[int, _Seconds]) -> None:
    number = int(span.start_s // SLOT_S)
    while number * SLOT_S < span.end_s:
        edge_s = number * SLOT_S
        seconds = into.setdefault(number, [0.0, 0.0, 0.0, 0.0])
        seconds[span.status] += min(span.end_s, edge_s + SLOT_S) - max(span.start_s, edge_s)
        number += 1


def _sum(settled: _Seconds | None, tail: _Seconds | None) -> Sequence[float]:
    if settled is None or tail is None:
        return settled or tail or (0.0, 0.0, 0.0, 0.0)
    return [mine + more for mine, more in zip(settled, tail, strict=True)]


def uptime_of(bar: Sequence[Slot], now_s: float) -> Uptime:
    """The uptime over a bar's own range: from its first slot to now."""
    end_at = datetime.fromtimestamp(now_s, UTC)
    ok_s, warning_s, critical_s = (
        sum(cell.ok_s for cell in bar),
        sum(cell.warning_s for cell in bar),
        sum(cell.critical_s for cell in bar),
    )
    total_s = now_s - bar[0].start_at.timestamp()
    return Uptime(
        start_at=bar[0].start_at,
        end_at=end_at,
        ok_s=ok_s,
        warning_s=warning_s,
        critical_s=critical_s,
        unmeasured_s=max(0.0, total_s - ok_s - warning_s - critical_s),
    )
