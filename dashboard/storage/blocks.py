"""Blocks: some results of one check, or some buckets, packed into a few bytes each.

A block is a line of JSON that describes its columns, and their planes, compressed together. The compressor's dictionary
comes from the file, so that what is the same in every block costs nothing in the next.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from math import inf
from typing import Any

import orjson

from dashboard.rollup import MetricRollup, Rollup
from dashboard.storage import packing
from dashboard.storage.base import Later, MetricRows, ResultColumns, Same
from dashboard.storage.metric_columns import pack_durations, pack_metrics, unpack_durations, unpack_metrics
from dashboard.storage.packing import Planes, Shelf
from dashboard.storage.records import detail_of, detail_row
from dashboard.storage.texts import Texts, pack_texts, unpack_texts

_LEVEL = 6


def compress(data: bytes, dictionary: bytes = b"", *, noise: int = 0) -> bytes:
    """The data, deflated without frills (a frame has a checksum of its own), its last `noise` bytes as they are."""
    more = (dictionary,) if dictionary else ()
    size = len(data) - noise
    memory = min(9, max(3, size.bit_length() - 5))  # the largest takes ten times as long as a small block itself
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15, memory, zlib.Z_DEFAULT_STRATEGY, *more)
    return packer.compress(data[:size]) + packer.flush() + data[size:]


def compress_results(data: bytes, dictionary: bytes) -> bytes:
    """What `pack_results` packed, compressed."""
    return compress(data, dictionary, noise=int(data[1 : data.index(b",")]))


def decompress(data: bytes, dictionary: bytes = b"") -> bytes:
    """What `compress` was given."""
    unpacker = zlib.decompressobj(-15, dictionary)
    return unpacker.decompress(data) + unpacker.unused_data


def pack_results(rows: ResultColumns) -> bytes:
    """Results of one check, ids ascending, one at least; not compressed yet."""
    shelf = Shelf()
    at = shelf.put(packing.pack_floats(rows.at_s))
    statuses = shelf.put(packing.pack_ints(rows.statuses))
    covers = shelf.put(packing.pack_floats(rows.covers_s))
    origins = shelf.put(packing.pack_choices(list(zip(rows.triggers, rows.by, rows.workers, strict=True))))
    metrics, scaled = pack_metrics(rows, shelf)
    durations = shelf.put(pack_durations(rows.durations_s, scaled))
    summaries = shelf.put(pack_texts(rows.summaries, scaled.columns))
    ids = shelf.put(packing.pack_numbers(rows.ids))  # the last, as they are not always looked at
    details = [[row, detail_row(detail)] for row, detail in rows.details.items()]
    columns = [ids, at, statuses, covers, origins, metrics, durations, summaries, details]
    noise = b"".join(shelf.noise)
    return b"".join([orjson.dumps([len(noise), len(rows), *columns, shelf.where]), b"\n", *shelf.planes, noise])


def unpack_results(data: bytes, check_id: str, texts: Texts | None = None) -> ResultColumns:
    """What `pack_results` packed. `texts` are those of other blocks."""
    end = data.index(b"\n")
    noise, count, ids, at, statuses, covers, origins, metrics, durations, summaries, details, where = orjson.loads(
        data[:end]
    )
    planes = Planes(data, end + 1, where=where, noise_at=len(data) - noise)
    at_s = packing.unpack_floats(at, planes, count)
    unpacked_statuses = bytes(packing.unpack_ints(statuses, planes, count))
    covers_s = _unpack_covers(covers, planes, count)
    triggers, by, workers = _unpack_origins(origins, planes, count)
    unpacked_metrics, scaled = unpack_metrics(metrics, planes, count)
    durations_s = unpack_durations(durations, planes, count, scaled)
    unpacked_summaries = unpack_texts(summaries, planes, count, scaled.refer, texts)
    planes_of_ids = planes.rest()
    return ResultColumns(
        ids=Later(count, lambda: array("q", packing.unpack_numbers(ids, planes_of_ids.rest(), count))),
        check_ids=Same(check_id, count),
        at_s=at_s,
        statuses=unpacked_statuses,
        summaries=unpacked_summaries,
        durations_s=durations_s,
        covers_s=covers_s,
        triggers=triggers,
        by=by,
        workers=workers,
        metrics=MetricRows(unpacked_metrics, count),
        details={row: detail_of(detail) for row, detail in details},
    )


def sliced(rows: ResultColumns, start: int, end: int) -> ResultColumns:
    """Some rows of the columns."""
    if start <= 0 and end >= len(rows):
        return rows
    return ResultColumns(
        ids=rows.ids[start:end],
        check_ids=rows.check_ids[start:end],
        at_s=rows.at_s[start:end],
        statuses=rows.statuses[start:end],
        summaries=rows.summaries[start:end],
        durations_s=rows.durations_s[start:end],
        covers_s=rows.covers_s[start:end],
        triggers=rows.triggers[start:end],
        by=rows.by[start:end],
        workers=rows.workers[start:end],
        metrics=_sliced_metrics(rows, start, end),
        details={row - start: detail for row, detail in rows.details.items() if start <= row < end},
    )


def _sliced_metrics(rows: ResultColumns, start: int, end: int) -> MetricRows:
    metrics = rows.metrics
    length = len(range(*slice(start, end).indices(len(rows))))
    if isinstance(metrics, MetricRows):
        return MetricRows({name: column[start:end] for name, column in metrics.columns.items()}, length)
    return MetricRows({name: rows.metric(name)[start:end] for name in rows.metric_names()}, length)


def picked(rows: ResultColumns, which: Sequence[int]) -> ResultColumns:
    """These rows of the columns, in this order."""

    def pick(column: Sequence[Any]) -> list[Any]:  # of any column's values
        return [column[row] for row in which]

    return ResultColumns(
        ids=pick(rows.ids),
        check_ids=pick(rows.check_ids),
        at_s=pick(rows.at_s),
        statuses=pick(rows.statuses),
        summaries=pick(rows.summaries),
        durations_s=pick(rows.durations_s),
        covers_s=pick(rows.covers_s),
        triggers=pick(rows.triggers),
        by=pick(rows.by),
        workers=pick(rows.workers),
        metrics=MetricRows({name: pick(rows.metric(name)) for name in rows.metric_names()}, len(which)),
        details={place: rows.details[row] for place, row in enumerate(which) if row in rows.details},
    )


def within(rows: ResultColumns, start_s: float, end_s: float) -> ResultColumns:
    """The rows with start_s <= at < end_s."""
    at_s = rows.at_s
    if all(map(float.__le__, at_s, at_s[1:])):
        return sliced(rows, bisect_left(at_s, start_s), bisect_left(at_s, end_s))
    which = [row for row, at in enumerate(at_s) if start_s <= at < end_s]
    return rows if len(which) == len(rows) else picked(rows, which)


def pack_rollups(buckets: Sequence[Rollup], bucket_s: int) -> bytes:
    """Buckets of one check and one length, ascending, one at least; not compressed yet."""
    numbers = packing.pack_steps([round(bucket.start_s) // bucket_s for bucket in buckets])
    seconds = [
        packing.pack_floats([round(each, 6) for each in column])
        for column in zip(*(bucket.seconds for bucket in buckets), strict=True)
    ]
    runs = [packing.pack_ints(column) for column in zip(*(bucket.runs for bucket in buckets), strict=True)]
    names = dict.fromkeys(name for bucket in buckets for name in bucket.metrics)
    metrics = [(name, _pack_metric([bucket.metrics.get(name) for bucket in buckets])) for name in names]
    columns = [numbers, *seconds, *runs]
    described: list[Any] = [len(buckets), *(descriptor for descriptor, _ in columns)]
    described.append([[name, sum(map(len, planes)), *descriptor] for name, (descriptor, planes) in metrics])
    planes = chain((planes for _, planes in columns), (planes for _, (_, planes) in metrics))
    return b"".join([orjson.dumps(described), b"\n", *chain.from_iterable(planes)])


def unpack_rollups(
    data: bytes, bucket_s: int, wanted: Sequence[str] | None = None, start_s: float = -inf, end_s: float = inf
) -> list[Rollup]:
    """What `pack_rollups` packed, with the wanted metrics (None = all): the buckets whose middle lies in the range."""
    end = data.index(b"\n")
    count, numbers, *columns, metrics = orjson.loads(data[:end])
    planes = Planes(data, end + 1)
    starts = packing.unpack_steps(numbers, planes, count)
    first, last = (bisect_left(starts, at_s / bucket_s - 0.5) for at_s in (start_s, end_s))
    seconds = [packing.unpack_floats(column, planes, count)[first:last] for column in columns[:5]]
    runs = [packing.unpack_ints(column, planes, count)[first:last] for column in columns[5:]]
    found: list[dict[str, MetricRollup]] = [{} for _ in range(first, last)]
    for name, size, *descriptor in metrics:
        if first >= last or (wanted is not None and name not in wanted):
            planes.take(size)
            continue
        for bucket, metric in zip(found, _unpack_metric(descriptor, planes, count, first, last), strict=True):
            if metric is not None:
                bucket[name] = metric
    return [
        Rollup(
            start_s=float(number * bucket_s),
            end_s=float((number + 1) * bucket_s),
            seconds=its_seconds,
            runs=its_runs,
            metrics=its_metrics,
        )
        for number, its_seconds, its_runs, its_metrics in zip(
            starts[first:last], zip(*seconds, strict=True), zip(*runs, strict=True), found, strict=True
        )
    ]


def _pack_metric(metrics: Sequence[MetricRollup | None]) -> packing.Column:
    """One metric down the buckets: which have it, count, total, low, high, and its histogram as runs of bins."""
    present = [metric for metric in metrics if metric is not None]
    there = packing.pack_ints([metric is not None for metric in metrics])
    counts = packing.pack_ints([metric.count for metric in present])
    numbers = [
        packing.pack_floats([float(f"{metric.total:.12g}") for metric in present]),  # 12 digits of a sum are enough
        packing.pack_floats([metric.low for metric in present]),
        packing.pack_floats([metric.high for metric in present]),
    ]
    bins = [sorted(metric.histogram.items()) for metric in present]
    lengths = packing.pack_ints([len(each) for each in bins])
    firsts = packing.pack_ints([each[0][0] for each in bins])
    steps = packing.pack_ints(_steps(bins) or [0])
    fills = packing.pack_ints([count for each in bins for _, count in each])
    columns = [there, counts, *numbers, lengths, firsts, steps, fills]
    planes = list(chain.from_iterable(planes for _, planes in columns))
    return [len(present), *(descriptor for descriptor, _ in columns)], planes


def _steps(bins: Sequence[Sequence[tuple[int, int]]]) -> list[int]:
    return [after[0] - before[0] for each in bins for before, after in pairwise(each)]


def _unpack_metric(descriptor: Any, planes: Planes, count: int, first: int, last: int) -> Iterator[MetricRollup | None]:
    """The metric in the buckets from the first to before the last."""
    present, there, counts, totals, lows, highs, lengths, firsts, steps, fills = descriptor
    is_there = packing.unpack_ints(there, planes, count)
    metric_counts = packing.unpack_ints(counts, planes, present)
    numbers = [packing.unpack_floats(each, planes, present) for each in (totals, lows, highs)]
    sizes = packing.unpack_ints(lengths, planes, present)
    first_bins = packing.unpack_ints(firsts, planes, present)
    fills_count = sum(sizes)
    all_steps = packing.unpack_ints(steps, planes, max(1, fills_count - present))
    all_fills = packing.unpack_ints(fills, planes, fills_count)
    row = sum(is_there[:first])
    fill = sum(sizes[:row])
    step = fill - row
    for each in is_there[first:last]:
        if not each:
            yield None
            continue
        size = sizes[row]
        bins = accumulate(all_steps[step : step + size - 1], initial=first_bins[row])
        total, low, high = (column[row] for column in numbers)
        histogram = dict(zip(bins, all_fills[fill : fill + size], strict=True))
        yield MetricRollup(count=metric_counts[row], total=total, low=low, high=high, histogram=histogram)
        row, fill, step = row + 1, fill + size, step + size - 1


def _unpack_covers(descriptor: Any, planes: Planes, count: int) -> Sequence[float]:
    values = packing.unpack_floats(descriptor, planes, 1 if packing.is_constant(descriptor) else count)
    return Same(values[0], count) if len(values) < count else values


def _unpack_origins(descriptor: Any, planes: Planes, count: int) -> tuple[Sequence[Any], ...]:
    known, *rest = descriptor
    if len(known) == 1:
        return tuple(Same(each, count) for each in known[0])
    which = packing.unpack_ints(rest, planes, count)
    return tuple([names[number] for number in which] for names in zip(*known, strict=True))
