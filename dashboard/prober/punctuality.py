"""How late runs start, over the last 30 seconds, in bounded memory at any rate."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable

_WINDOW_S = 30
_FINEST_S = 1e-4
_UNTIMED = -1
_STEP = 1.1  # lateness is told to within 10 %


class Punctuality:
    """Counts of lateness in steps of 10 %, one set for each of the last 30 seconds."""

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._seconds: deque[tuple[int, Counter[int]]] = deque(maxlen=_WINDOW_S)

    def add(self, now_s: float, lateness_s: float | None) -> None:
        """A run started, so late; None where lateness says nothing (it was not due, or its target held it)."""
        second = int(now_s)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, Counter()))
        self._seconds[-1][1][_UNTIMED if lateness_s is None else _step(lateness_s)] += 1

    def read(self, now_s: float) -> tuple[float, float, float]:
        """Starts per second, median lateness and its 99th percentile, in seconds."""
        counts: Counter[int] = Counter()
        for second, counted in self._seconds:
            if second > now_s - _WINDOW_S:
                counts.update(counted)
        starts = counts.total()
        del counts[_UNTIMED]
        alive_s = min(_WINDOW_S, max(1.0, now_s - self._since_s))
        return starts / alive_s, _quantile(counts, 0.5), _quantile(counts, 0.99)


def _step(lateness_s: float) -> int:
    return math.ceil(math.log(max(lateness_s, _FINEST_S) / _FINEST_S, _STEP))


def _quantile(counts: Counter[int], share: float) -> float:
    """The upper edge of the step that holds the share; 0.0 of nothing."""
    wanted = share * counts.total()
    for step, reached in zip(sorted(counts), _running(counts[step] for step in sorted(counts)), strict=True):
        if reached >= wanted:
            return _FINEST_S * _STEP**step
    return 0.0


def _running(numbers: Iterable[int]) -> Iterable[int]:
    total = 0
    for number in numbers:
        total += number
        yield total
