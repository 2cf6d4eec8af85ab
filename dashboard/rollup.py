"""Rollups: a check's results folded into buckets of time. Pure and additive; times are epoch seconds.

A bucket has the seconds of each kind of time that fell into it (see dashboard.uptime), and of the results that began in it
how many had each status, and each metric's count, sum, extremes and histogram.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from math import nan
from typing import Protocol

from checks.base import Status
from dashboard.histogram import Histogram, histogram, merged, quantiles
from dashboard.uptime import KINDS, Cursor, Stretch, Window, apart

FIVE_MINUTES_S, HOUR_S, DAY_S = 300, 3600, 86400
DURATION = "duration"  # the metric of results that have none: how long the run took
STATUSES = len(Status)
_VERY_MANY = 2.0**40
NO_SECONDS = (0.0,) * KINDS
NO_RUNS = (0,) * STATUSES


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRollup:
    """One metric of the results of a bucket, in the metric's base unit. `count` is at least 1."""

    count: int
    total: float
    low: float
    high: float
    histogram: Histogram

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return self.total / self.count

    def quantile(self, share: float) -> float:
        """The value that this share (0-1) of the values does not exceed, within 2 %."""
        return self.quantiles((share,))[0]

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The same for several shares, ascending."""
        return quantiles(self.histogram, shares, low=self.low, high=self.high)

    @classmethod
    def of(cls, values: Sequence[float]) -> MetricRollup:
        """The rollup of these values, none of them NaN, one at least."""
        return cls(
            count=len(values), total=_total(values), low=min(values), high=max(values), histogram=histogram(values)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollup:
    """One bucket [start_s, end_s) of one check. `seconds`: of ok, warning, critical, unknown, maintenance; what is left
    of the bucket was not measured. `runs`: results that began in it, by status."""

    start_s: float
    end_s: float
    seconds: tuple[float, ...] = NO_SECONDS
    runs: tuple[int, ...] = NO_RUNS
    metrics: Mapping[str, MetricRollup] = field(default_factory=dict)


def joined(rollups: Sequence[Rollup], *, start_s: float, end_s: float) -> Rollup:
    """All of these as one bucket."""
    if not rollups:
        return Rollup(start_s=start_s, end_s=end_s)
    if len(rollups) == 1:
        only = rollups[0]
        return Rollup(start_s=start_s, end_s=end_s, seconds=only.seconds, runs=only.runs, metrics=only.metrics)
    metrics: dict[str, list[MetricRollup]] = {}
    for rollup in rollups:
        for name, metric in rollup.metrics.items():
            metrics.setdefault(name, []).append(metric)
    return Rollup(
        start_s=start_s,
        end_s=end_s,
        seconds=tuple(map(sum, zip(*(rollup.seconds for rollup in rollups), strict=True))),
        runs=tuple(map(sum, zip(*(rollup.runs for rollup in rollups), strict=True))),
        metrics={name: joined_metrics(parts) for name, parts in metrics.items()},
    )


def joined_metrics(parts: Sequence[MetricRollup]) -> MetricRollup:
    """One metric over several buckets."""
    if len(parts) == 1:
        return parts[0]
    return MetricRollup(
        count=sum(part.count for part in parts),
        total=_total([part.total for part in parts]),
        low=min(part.low for part in parts),
        high=max(part.high for part in parts),
        histogram=merged(part.histogram for part in parts),
    )


def _total(values: Sequence[float]) -> float:
    """Their sum; the largest float where it is beyond that."""
    try:
        return math.fsum(values)
    except OverflowError:
        total = math.fsum(value / _VERY_MANY for value in values) * _VERY_MANY
        return min(sys.float_info.max, max(-sys.float_info.max, total))


class Rows(Protocol):
    """Some results of one check as columns, in the order of recording (dashboard.storage.base.ResultColumns)."""

    @property
    def at_s(self) -> Sequence[float]: ...
    @property
    def covers_s(self) -> Sequence[float]: ...
    @property
    def statuses(self) -> Sequence[int]: ...
    @property
    def durations_s(self) -> Sequence[float]: ...
    def metric_names(self) -> list[str]:
        """The metrics that any row has."""

    def metric(self, name: str) -> Sequence[float]:
        """One metric down the rows, NaN where a row lacks it."""


def fold(
    rows: Rows,
    edges_s: Sequence[float],
    *,
    cursor: Cursor | None = None,
    now_s: float | None = None,
    windows: Sequence[Window] = (),
    wanted: Collection[str] | None = None,
) -> list[Rollup]:
    """The rows in the buckets between neighbours of `edges_s` (ascending), one Rollup a bucket.

    `cursor` is where the results before these ended, and moves on past these. What the newest result covers counts up to
    `now_s`; None: not at all, since the next may cut it short. Only the `wanted` metrics are folded, None = all.
    """
    seconds = [[0.0] * KINDS for _ in edges_s[1:]]
    for stretch in _stretches(rows, cursor, now_s, windows):
        spread(stretch, edges_s, seconds)
    content = _Content.of(rows, wanted)
    first = bisect_left(content.instants, edges_s[0])
    found: list[Rollup] = []
    for (start_s, end_s), its_seconds in zip(pairwise(edges_s), seconds, strict=True):
        last = bisect_left(content.instants, end_s, first)
        found.append(content.rollup(first, last, start_s, end_s, its_seconds))
        first = last
    return found


def fold_buckets(
    rows: Rows,
    bucket_s: int,
    *,
    cursor: Cursor | None = None,
    now_s: float | None = None,
    windows: Sequence[Window] = (),
    wanted: Collection[str] | None = None,
) -> list[Rollup]:
    """As `fold`, in all buckets of that length (whole multiples of it) that hold anything, ascending."""
    seconds: dict[int, list[float]] = {}
    for start_s, end_s, kind in _stretches(rows, cursor, now_s, windows):
        number = int(start_s // bucket_s)
        while start_s < end_s:
            edge_s = min(end_s, float((number + 1) * bucket_s))
            seconds.setdefault(number, [0.0] * KINDS)[kind] += edge_s - start_s
            start_s = edge_s
            number += 1
    content = _Content.of(rows, wanted)
    ends: dict[int, tuple[int, int]] = {}
    first = 0
    while first < len(content.instants):
        number = int(content.instants[first] // bucket_s)
        last = bisect_left(content.instants, float((number + 1) * bucket_s), first)
        ends[number] = first, last
        first = last
    return [
        content.rollup(
            *ends.get(number, (0, 0)),
            float(number * bucket_s),
            float((number + 1) * bucket_s),
            seconds.get(number, NO_SECONDS),
        )
        for number in sorted({*seconds, *ends})
    ]


def coarsened(buckets: Iterable[Rollup], bucket_s: int) -> list[Rollup]:
    """The same in longer buckets, ascending; the given ones may come in any order, and several of one time."""
    found: dict[int, list[Rollup]] = {}
    for bucket in buckets:
        found.setdefault(int(bucket.start_s // bucket_s), []).append(bucket)
    return [
        joined(found[number], start_s=float(number * bucket_s), end_s=float((number + 1) * bucket_s))
        for number in sorted(found)
    ]


def _stretches(rows: Rows, cursor: Cursor | None, now_s: float | None, windows: Sequence[Window]) -> Iterator[Stretch]:
    cursor = Cursor() if cursor is None else cursor
    for settled in map(cursor.add, rows.at_s, rows.covers_s, rows.statuses):
        if settled is not None:
            yield from apart(settled, windows)
    for still_open in () if now_s is None else cursor.open(now_s):
        yield from apart(still_open, windows)


@dataclass(frozen=True, slots=True)
class _Content:
    """What rows hold beside time, ordered by the instant."""

    instants: Sequence[float]
    statuses: Sequence[int]
    metrics: Mapping[str, Sequence[float]]

    @classmethod
    def of(cls, rows: Rows, wanted: Collection[str] | None) -> _Content:
        at_s = rows.at_s
        names = rows.metric_names()
        columns = {name: rows.metric(name) for name in names}
        columns |= {DURATION: _of_bare_rows(rows, columns)} if DURATION not in columns else {}
        if wanted is not None:
            columns = {name: column for name, column in columns.items() if name in wanted}
        if not any(map(float.__gt__, at_s, islice(at_s, 1, None))):
            return cls(at_s, rows.statuses, columns)
        order = sorted(range(len(at_s)), key=at_s.__getitem__)  # the clock was set back
        return cls(
            [at_s[row] for row in order],
            [rows.statuses[row] for row in order],
            {name: [column[row] for row in order] for name, column in columns.items() if column},
        )

    def rollup(self, first: int, last: int, start_s: float, end_s: float, seconds: Sequence[float]) -> Rollup:
        """The bucket with these rows."""
        runs = [0] * STATUSES
        for status in self.statuses[first:last]:
            runs[status] += 1
        metrics: dict[str, MetricRollup] = {}
        for name, column in self.metrics.items():
            values = [value for value in column[first:last] if value == value]
            if values:
                metrics[name] = MetricRollup.of(values)
        return Rollup(start_s=start_s, end_s=end_s, seconds=tuple(seconds), runs=tuple(runs), metrics=metrics)


def _of_bare_rows(rows: Rows, columns: Mapping[str, Sequence[float]]) -> Sequence[float]:
    """How long the runs without any metric took, NaN for the others; empty where all have some."""
    if not columns:
        return rows.durations_s
    bare = [all(value != value for value in values) for values in zip(*columns.values(), strict=True)]
    if not any(bare):
        return ()
    return [duration_s if is_bare else nan for duration_s, is_bare in zip(rows.durations_s, bare, strict=True)]


def spread(stretch: Stretch, edges_s: Sequence[float], seconds: Sequence[list[float]]) -> None:
    """Add a stretch of time to the buckets it falls into."""
    start_s, end_s, kind = stretch
    start_s, end_s = max(start_s, edges_s[0]), min(end_s, edges_s[-1])
    index = bisect_right(edges_s, start_s) - 1
    while start_s < end_s:
        edge_s = min(end_s, edges_s[index + 1])
        seconds[index][kind] += edge_s - start_s
        start_s = edge_s
        index += 1
