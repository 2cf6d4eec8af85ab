"""Uptime and rollups counted again, second by second: slow and obvious, without what it checks.

Everything is in whole seconds. A row is (at, covers, status, {metric: value}), in the order of recording.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

MAINTENANCE = 4
RUNS_INTO_THE_PAST = 9  # more are given up

Row = tuple[int, int, int, Mapping[str, float]]


def kinds_by_second(rows: Sequence[Row], now: int | None, windows: Iterable[tuple[int, int]] = ()) -> dict[int, int]:
    """`{second: kind of time}`; what is not in it was not measured. `now` None: the newest row speaks for nothing yet."""
    found = _claims(rows, now, math.inf, RUNS_INTO_THE_PAST)
    for start, end in windows:
        for second in range(start, end):
            if second in found:
                found[second] = MAINTENANCE
    return found


def _claims(rows: Sequence[Row], now: int | None, bound: float, runs: int) -> dict[int, int]:
    if not rows or not runs:
        return {}
    began = rows[0][0]
    found = _claims([row for row in rows if row[0] < began], now, began, runs - 1)
    own = [row for row in rows if row[0] >= began]
    counted_to = began
    for index, (at, covers, status, _) in enumerate(own):
        end = min(at + covers, bound)
        if index + 1 < len(own):
            end = min(end, max(at, own[index + 1][0]))
        elif now is None:
            break
        else:
            end = min(end, now)
        for second in range(max(at, counted_to), int(end)):
            found[second] = status
        counted_to = max(counted_to, int(end))
    return found


def seconds(found: Mapping[int, int], edges: Sequence[int]) -> list[list[int]]:
    """Seconds of each kind in the buckets between the edges."""
    counted = [[0] * 5 for _ in edges[1:]]
    for second, kind in found.items():
        place = bisect_right(edges, second) - 1
        if 0 <= place < len(counted):
            counted[place][kind] += 1
    return counted


def runs(rows: Sequence[Row], start: int, end: int) -> list[int]:
    """How many rows of each status began there."""
    return [
        sum(1 for at, _, its_status, _ in rows if start <= at < end and its_status == status) for status in range(4)
    ]


def values(rows: Sequence[Row], start: int, end: int) -> dict[str, list[float]]:
    """Every value of every metric of the rows that began there, ascending."""
    found: dict[str, list[float]] = {}
    for at, _, _, metrics in rows:
        if start <= at < end:
            for name, value in metrics.items():
                found.setdefault(name, []).append(value)
    return {name: sorted(its_values) for name, its_values in found.items()}


def nearest_rank(ascending: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    return ascending[max(1, math.ceil(share * len(ascending))) - 1]
