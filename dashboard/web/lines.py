"""The lines of charts as points: through single results, or through slots. Pure; a None breaks a line."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise

from dashboard.rollup import MetricRollup, Rollup

LARGEST_POINTS = 1500
_LINE_BUCKETS = LARGEST_POINTS // 4  # of each: the lowest, the highest, where the line ends at a gap, and the break
LOW, P50, P95, P99, HIGH = range(5)  # what `percentiles` gives

Points = tuple[list[float | None], list[float | None]]  # x (epoch seconds) and y
SlotValues = tuple[Rollup, Sequence[float]]  # a slot and values of it


def points(values: Sequence[float], at_s: Sequence[float], covers_s: Sequence[float], *, until_s: float) -> Points:
    """The line through the values, at most LARGEST_POINTS long: the lowest and highest of each bucket, so that spikes survive.

    A value speaks until the next result or as long as it covers; there the line ends, with a None, if no value follows.
    """
    rows = _drawable(values, at_s)
    ends = [index for index in range(len(rows)) if _ends(rows, index, at_s, covers_s)]
    picked = _picked(rows, values)
    x: list[float | None] = []
    y: list[float | None] = []
    for place, index in enumerate(picked):
        row = rows[index]
        x.append(at_s[row])
        y.append(values[row])
        following = picked[place + 1] if place + 1 < len(picked) else len(rows)
        first_end = bisect_left(ends, index)
        if first_end < len(ends) and ends[first_end] < following:
            last_row = rows[ends[first_end]]
            end_s = at_s[last_row] + covers_s[last_row]
            if last_row + 1 < len(at_s):
                end_s = min(end_s, max(at_s[last_row], at_s[last_row + 1]))
            x += [min(end_s, until_s), None]
            y += [values[row], None]
    return x, y


def _drawable(values: Sequence[float], at_s: Sequence[float]) -> list[int]:
    """The rows that have a value, in order of time: what came after the clock was set back is left out until it caught up.

    What lies before the first (an import of the past, recorded later) comes first.
    """
    before: list[int] = []
    rows: list[int] = []
    newest_before_s = newest_s = -math.inf
    for row, value in enumerate(values):
        if value != value:
            continue
        if at_s[row] < at_s[0]:
            if at_s[row] >= newest_before_s:
                newest_before_s = at_s[row]
                before.append(row)
        elif at_s[row] >= newest_s:
            newest_s = at_s[row]
            rows.append(row)
    return before + rows


def _ends(rows: Sequence[int], index: int, at_s: Sequence[float], covers_s: Sequence[float]) -> bool:
    """Whether the line ends after this row: the next has no value, or comes too late."""
    if index + 1 == len(rows):
        return True
    row, following = rows[index], rows[index + 1]
    return following != row + 1 or at_s[following] > at_s[row] + covers_s[row]


def _picked(rows: Sequence[int], values: Sequence[float]) -> list[int]:
    """Indexes into `rows` of those to draw."""
    if len(rows) <= _LINE_BUCKETS:
        return list(range(len(rows)))
    size = math.ceil(len(rows) / _LINE_BUCKETS)
    picked: list[int] = []
    heights = [values[row] for row in rows]
    for start in range(0, len(rows), size):
        bucket = heights[start : start + size]
        low, high = bucket.index(min(bucket)), bucket.index(max(bucket))
        picked += sorted({start + low, start + high})
    return picked


def percentiles(metric: MetricRollup) -> Sequence[float]:
    """The lowest, the percentiles 50, 95 and 99, the highest."""
    return metric.low, *metric.quantiles((0.5, 0.95, 0.99)), metric.high


def segments(found: Sequence[SlotValues], covers_s: float) -> list[Sequence[SlotValues]]:
    """The slots in runs without a silence that is longer than a result speaks."""
    ends = [
        index
        for index in range(1, len(found))
        if found[index][0].start_s - found[index - 1][0].end_s > max(covers_s, 1.0)
    ]
    return [found[first:last] for first, last in pairwise([0, *ends, len(found)]) if last > first]


def slot_line(runs: Iterable[Sequence[SlotValues]], which: int, now_s: float) -> Points:
    """The line through the middles of the slots, of each run from where it begins to where it ends."""
    x: list[float | None] = []
    y: list[float | None] = []
    for run in runs:
        xs, ys = _ends_and_middles(run, which, now_s)
        x += [*xs, None]
        y += [*ys, None]
    return x, y


def band(runs: Iterable[Sequence[SlotValues]], lower: int, upper: int, now_s: float) -> Points:
    """The outline of what lies between two of the values, run by run."""
    x: list[float | None] = []
    y: list[float | None] = []
    for run in runs:
        there, back = _ends_and_middles(run, upper, now_s), _ends_and_middles(run, lower, now_s)
        x += [*there[0], *reversed(back[0]), None]
        y += [*there[1], *reversed(back[1]), None]
    return x, y


def _ends_and_middles(run: Sequence[SlotValues], which: int, now_s: float) -> tuple[list[float], list[float]]:
    """A slot alone is a line as long as it is."""
    middles = [((each.start_s + min(each.end_s, now_s)) / 2, values[which]) for each, values in run if len(run) > 1]
    (first, first_values), (last, last_values) = run[0], run[-1]
    begin, end = (first.start_s, first_values[which]), (min(last.end_s, now_s), last_values[which])
    x, y = zip(begin, *middles, end, strict=True)
    return list(x), list(y)
