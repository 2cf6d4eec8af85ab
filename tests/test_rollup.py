"""Rollups are additive: however a history is cut, its pieces make the same whole."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise

import pytest
import recount
from fakes import as_columns, make_result
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.base import Status
from dashboard.rollup import DURATION, MetricRollup, Rollup, coarsened, fold, fold_buckets, joined
from dashboard.uptime import Cursor

HOUR = 3600
metrics = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from([0.0, 0.25, -3.5, 1e6, 1e-20]), max_size=2)
row = st.tuples(st.integers(0, 5000), st.integers(0, 900), st.integers(0, 3), metrics)
histories = st.lists(row, max_size=25) | st.lists(row, max_size=25).map(
    lambda rows: sorted(rows, key=lambda each: each[0])
)
edges = st.lists(st.integers(-100, 6000), min_size=2, max_size=8, unique=True).map(sorted)


def columns(rows: list[recount.Row]):
    return as_columns(
        [
            make_result(
                at=datetime.fromtimestamp(at, UTC),
                status=Status(status),
                covers_s=float(covers),
                duration_s=0.5,
                metrics=its_metrics,
            )
            for at, covers, status, its_metrics in rows
        ]
    )


def with_durations(rows):
    return [(at, covers, status, its_metrics or {DURATION: 0.5}) for at, covers, status, its_metrics in rows]


@settings(max_examples=200)
@given(histories, edges, st.none() | st.integers(5000, 7000))
def test_a_fold_equals_a_recount_second_by_second(rows, edges, now):
    found = fold(columns(rows), [float(edge) for edge in edges], now_s=None if now is None else float(now))
    expected = recount.seconds(recount.kinds_by_second(rows, now), edges)
    for bucket, seconds, (start, end) in zip(found, expected, pairwise(edges), strict=True):
        assert (bucket.start_s, bucket.end_s) == (start, end)
        assert list(bucket.seconds) == seconds
        assert list(bucket.runs) == recount.runs(rows, start, end)
        values = recount.values(with_durations(rows), start, end)
        assert {name: (metric.count, metric.low, metric.high) for name, metric in bucket.metrics.items()} == {
            name: (len(ascending), ascending[0], ascending[-1]) for name, ascending in values.items()
        }


@given(histories, st.lists(st.integers(0, 25), max_size=3), st.sampled_from([300, HOUR]))
def test_folded_piece_by_piece_is_folded_at_once(rows, cuts, bucket_s):
    cursor = Cursor()
    pieces: list[Rollup] = []
    bounds = [0, *sorted(cuts), len(rows)]
    for first, last in pairwise(bounds):
        pieces += fold_buckets(columns(rows[first:last]), bucket_s, cursor=cursor)
    assert tidy(coarsened(pieces, bucket_s)) == tidy(fold_buckets(columns(rows), bucket_s))


@given(histories)
def test_hours_of_five_minutes_are_hours(rows):
    assert tidy(coarsened(fold_buckets(columns(rows), 300), HOUR)) == tidy(fold_buckets(columns(rows), HOUR))


def tidy(buckets: list[Rollup]) -> list[object]:
    """Buckets as plain values: sums may differ in the last bit by the order in which they were made."""
    return [
        (
            bucket.start_s,
            bucket.end_s,
            [round(each, 6) for each in bucket.seconds],
            list(bucket.runs),
            {
                name: (metric.count, f"{metric.total:.9g}", metric.low, metric.high, dict(metric.histogram))
                for name, metric in bucket.metrics.items()
            },
        )
        for bucket in buckets
    ]


@given(histories, edges)
def test_buckets_together_are_the_whole_range(rows, edges):
    ends = [float(edge) for edge in edges]
    [whole] = fold(columns(rows), [ends[0], ends[-1]])
    together = joined(fold(columns(rows), ends), start_s=ends[0], end_s=ends[-1])
    assert tidy([together]) == tidy([whole])


def test_only_the_wanted_metrics_are_folded():
    rows = columns([(0, 10, 0, {"x": 1.0, "y": 2.0})])
    [bucket] = fold(rows, (0.0, 60.0), wanted=("y",))
    assert set(bucket.metrics) == {"y"}
    [bucket] = fold(rows, (0.0, 60.0), wanted=())
    assert (bucket.metrics, sum(bucket.runs)) == ({}, 1)


def test_runs_without_metrics_have_their_duration():
    [bucket] = fold(columns([(0, 10, 0, {}), (10, 10, 0, {"x": 1.0}), (20, 10, 2, {})]), (0.0, 60.0))
    assert {name: metric.count for name, metric in bucket.metrics.items()} == {"x": 1, DURATION: 2}


@pytest.mark.parametrize("values", [[1.7e308, 1.7e308], [-1.7e308] * 3, [1.7e308, 1.7e308, -1.7e308], [1e308, 5e-324]])
def test_values_beyond_any_sum_still_make_a_rollup(values):
    metric = MetricRollup.of(values)
    twice = joined(
        [Rollup(start_s=0.0, end_s=1.0, metrics={"x": metric})] * 2,
        start_s=0.0,
        end_s=1.0,
    ).metrics["x"]
    assert math.isfinite(metric.total)
    assert math.isfinite(twice.total)
    assert (twice.count, twice.low, twice.high) == (2 * len(values), min(values), max(values))
    assert min(values) <= twice.quantile(0.5) <= max(values)


def test_a_mean_is_the_sum_over_the_count():
    assert MetricRollup.of([0.1, 0.2, 0.6]).mean == pytest.approx(0.3)
