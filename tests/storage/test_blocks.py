"""Blocks of results and of buckets come back as they went in."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import UTC, datetime
from itertools import accumulate
from math import nan

import pytest
from fakes import as_columns, make_result
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.base import Detail, Status
from dashboard.model import Result
from dashboard.rollup import MetricRollup, Rollup
from dashboard.storage import blocks
from dashboard.storage.base import ResultColumns
from dashboard.storage.columns import CheckColumns
from dashboard.storage.records import row_of_result

decimals = st.integers(-(10**6), 10**6).flatmap(lambda n: st.sampled_from([n / 10**d for d in range(7)]))
floats = st.floats(allow_nan=False, allow_infinity=False) | decimals | st.sampled_from([0.0, -0.0, 5e-324])
instants = st.integers(0, 4 * 10**15).map(lambda micro: micro / 1e6) | st.floats(0, 4e9)
summaries = (
    st.sampled_from(["ok", "", "100 %"]) | st.integers(0, 999).map(lambda n: f"200 in {n} ms") | st.text(max_size=6)
)


@st.composite
def column_sets(draw: st.DrawFn) -> ResultColumns:
    """Columns of one check, with instants that need not be those of a calendar's microseconds."""
    count = draw(st.integers(1, 30))

    def column(values: st.SearchStrategy) -> list:
        return draw(st.lists(values, min_size=count, max_size=count))

    names = draw(st.lists(st.sampled_from(["dns", "tls", "total", "\u00fc"]), unique=True, max_size=3))
    holes = floats | st.none()
    rows = [{name: draw(holes) for name in names} for _ in range(count)]
    return ResultColumns(
        ids=list(accumulate(column(st.integers(1, 9)))),
        check_ids=["api"] * count,
        at_s=column(instants),
        statuses=column(st.integers(0, 3)),
        summaries=column(summaries),
        durations_s=column(floats),
        covers_s=column(st.sampled_from([15.0, 20.0]) | floats),
        triggers=column(st.sampled_from(["schedule", "manual", "signal"])),
        by=column(st.sampled_from(["", "ada"])),
        workers=column(st.sampled_from(["w1", "w2"])),
        metrics=[{name: value for name, value in row.items() if value is not None} for row in rows],
        details={
            row: Detail(got="x", facts={"a": "\0"}) for row in draw(st.sets(st.integers(0, count - 1), max_size=3))
        },
    )


def exactly(columns: ResultColumns) -> list[object]:
    return [
        list(columns.ids),
        list(columns.check_ids),
        [struct.pack("<d", value) for value in columns.at_s],
        list(columns.statuses),
        list(columns.summaries),
        [struct.pack("<d", value) for value in columns.durations_s],
        [struct.pack("<d", value) for value in columns.covers_s],
        list(columns.triggers),
        list(columns.by),
        list(columns.workers),
        [{name: struct.pack("<d", value) for name, value in row.items()} for row in columns.metrics],
        dict(columns.details),
    ]


@settings(deadline=None, max_examples=150)
@given(column_sets(), st.binary(max_size=300))
def test_results_come_back_bit_for_bit(columns, dictionary):
    packed = blocks.pack_results(columns)
    payload = blocks.compress_results(packed, dictionary)
    assert blocks.decompress(payload, dictionary) == packed
    unpacked = blocks.unpack_results(packed, "api")
    assert exactly(unpacked) == exactly(columns)
    assert blocks.pack_results(unpacked) == packed, "packed again, as a merge does, it is the same"


def phases(count: int) -> list[Result]:
    """What an HTTP check records: phases that add up to the response time, which the summary says."""
    rows = []
    for number in range(count):
        parts = {name: (number * step % 97) / 10_000 for name, step in (("dns", 7), ("connect", 11), ("tls", 13))}
        total = round(sum(parts.values()), 6)
        rows.append(
            make_result(
                at=datetime.fromtimestamp(1.7e9 + 10 * number, UTC),
                summary=f"200 in {total * 1000:.0f} ms",
                duration_s=total + 0.0004,
                metrics={**parts, "response_time": total},
                id=number + 1,
            )
        )
    return rows


@pytest.mark.parametrize("change", ["none", "gap", "refused", "other sum", "negative", "zero"])
def test_columns_that_tell_one_another_come_back_though_one_row_is_odd(change: str) -> None:
    rows = phases(200)
    odd = {
        "none": rows[77],
        "gap": replace(rows[77], metrics={"dns": 0.1}),
        "refused": replace(
            rows[77], status=Status.CRITICAL, summary="refused", metrics={}, detail=Detail(got="nothing")
        ),
        "other sum": replace(rows[77], metrics={**rows[77].metrics, "response_time": 123.456}),
        "negative": replace(rows[77], metrics={**rows[77].metrics, "tls": -0.5}, duration_s=-0.0),
        "zero": replace(rows[77], metrics={**rows[77].metrics, "response_time": -0.0}),
    }[change]
    rows[77] = odd
    for columns in (as_columns(rows), of_journal(rows)):
        assert exactly(blocks.unpack_results(blocks.pack_results(columns), "api")) == exactly(columns)


def of_journal(rows: list[Result]) -> ResultColumns:
    columns = CheckColumns("api")
    columns.extend([{"id": row.id, **row_of_result(row)} for row in rows])
    return columns.newest(len(rows), None, False)


def test_a_plain_check_takes_few_bytes_a_row() -> None:
    rows = as_columns([replace(row, metrics={"response_time": row.duration_s}) for row in phases(2000)])
    packed = blocks.compress_results(blocks.pack_results(rows), b"")
    assert len(packed) / len(rows) < 6


@given(column_sets(), st.integers(-2, 32), st.integers(-2, 32))
def test_a_slice_has_the_rows_between(columns, start, end):
    expected = columns.results()[max(0, start) : max(0, end)]
    packed = blocks.unpack_results(blocks.pack_results(columns), "api")
    for each in (columns, packed):
        found = blocks.sliced(each, max(0, start), max(0, end, start))
        assert [dict(row.metrics) for row in found.results()] == [dict(row.metrics) for row in expected]
        assert [replace(row, metrics={}) for row in found.results()] == [replace(row, metrics={}) for row in expected]


@given(column_sets(), st.data())
def test_picked_rows_come_in_the_order_asked_for(columns, data):
    which = data.draw(st.lists(st.integers(0, len(columns) - 1), max_size=9))
    everything = columns.results()
    found = blocks.picked(blocks.unpack_results(blocks.pack_results(columns), "api"), which).results()
    assert [(row.id, dict(row.metrics), row.detail) for row in found] == [
        (everything[row].id, dict(everything[row].metrics), everything[row].detail) for row in which
    ]


@given(column_sets(), instants, instants)
def test_within_are_the_rows_of_the_time(columns, one, other):
    start, end = sorted((one, other))
    found = blocks.within(columns, start, end)
    assert list(found.ids) == [row for row, at in zip(columns.ids, columns.at_s, strict=True) if start <= at < end]


metric_rollups = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=6).map(MetricRollup.of)
numbers = st.lists(st.integers(0, 10**6), min_size=1, max_size=12, unique=True).map(sorted)


@st.composite
def bucket_lists(draw: st.DrawFn) -> list[Rollup]:
    return [
        Rollup(
            start_s=float(number * 300),
            end_s=float(number * 300 + 300),
            seconds=tuple(draw(st.integers(0, 300_000_000)) / 1e6 for _ in range(5)),
            runs=tuple(draw(st.integers(0, 999)) for _ in range(4)),
            metrics=draw(st.dictionaries(st.sampled_from(["x", "y", "\u00fc"]), metric_rollups, max_size=3)),
        )
        for number in draw(numbers)
    ]


@settings(deadline=None)
@given(bucket_lists(), st.none() | st.sampled_from([(), ("x",), ("y", "\u00fc"), ("nothing",)]))
def test_buckets_come_back(buckets, wanted):
    found = blocks.unpack_rollups(blocks.pack_rollups(buckets, 300), 300, wanted)
    for bucket, same in zip(found, buckets, strict=True):
        assert (bucket.start_s, bucket.end_s, tuple(bucket.runs)) == (same.start_s, same.end_s, same.runs)
        assert bucket.seconds == pytest.approx(same.seconds, abs=1e-6)
        expected = {name: metric for name, metric in same.metrics.items() if wanted is None or name in wanted}
        assert bucket.metrics.keys() == expected.keys()
        for name, metric in expected.items():
            got = bucket.metrics[name]
            assert (got.count, got.low, got.high) == (metric.count, metric.low, metric.high)
            assert dict(got.histogram) == dict(metric.histogram)
            assert got.total == pytest.approx(metric.total, rel=1e-11)


def test_a_missing_metric_is_nan_in_its_column() -> None:
    columns = as_columns([make_result(metrics=metrics) for metrics in ({"x": 1.0}, {}, {"y": 2.0})])
    found = blocks.unpack_results(blocks.pack_results(columns), "api")
    assert list(found.metric("x")) == pytest.approx([1.0, nan, nan], nan_ok=True)
    assert list(found.metric("never")) == pytest.approx([nan] * 3, nan_ok=True)
    assert found.metric_names() == ["x", "y"]
