"""The metrics of a block, and how long its runs took: much of it is told from the rest, as a sum is from its parts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import nan
from typing import Any

from dashboard.storage import packing
from dashboard.storage.base import MetricRows, ResultColumns
from dashboard.storage.packing import Planes, Reference, ScaledColumn, Shelf

_CLOSE = 100  # how far a sum may be off to count as one


class Scaled:
    """The metrics of a block as whole numbers, from which other columns are told; 0 where a row lacks one."""

    def __init__(self, columns: Sequence[ScaledColumn | None]) -> None:
        self.columns = columns

    def refer(self, reference: Reference) -> Sequence[int]:
        """The numbers of a metric, or of the sum of some, with so many decimal digits."""
        place, digits = reference
        if isinstance(place, int):
            return self._with_digits(place, digits)
        return list(map(sum, zip(*(self._with_digits(each, digits) for each in place), strict=True)))

    def _with_digits(self, place: int, digits: int) -> Sequence[int]:
        column = self.columns[place]
        assert column is not None
        return packing.rescaled(column[1], digits - column[0])


def pack_metrics(rows: ResultColumns, shelf: Shelf) -> tuple[list[Any], Scaled]:
    """What describes each metric, and the metrics as whole numbers where they are decimal fractions."""
    names = _names_of(rows)
    columns = [rows.metric(name) for name in names]
    present = [bytes([value == value for value in column]) for column in columns]
    kept = [[value for value in column if value == value] for column in columns]
    found = [packing.scaled_ints(values) for values in kept]
    scaled = Scaled([_filled(each, there) for each, there in zip(found, present, strict=True)])
    total, parts = _total_of(scaled.columns) if not any(0 in there for there in present) else (-1, ())
    described: list[Any] = [None] * len(names)
    for place in sorted(range(len(names)), key=total.__eq__):  # the sum after its parts
        gaps = 0
        if 0 in present[place]:
            gaps = len(kept[place])
            shelf.put(([], [present[place]]))
        column = found[place]
        if column is None:
            descriptor = shelf.put(packing.pack_floats(kept[place]))
        else:
            digits, numbers = column
            beside = {(parts, digits): scaled.refer((parts, digits))} if place == total else None
            descriptor = [digits, *shelf.put(packing.pack_numbers(numbers, beside))]
        described[place] = [names[place], gaps, *descriptor]
    return described, scaled


def unpack_metrics(described: Sequence[Any], planes: Planes, count: int) -> tuple[dict[str, Sequence[float]], Scaled]:
    """What `pack_metrics` packed: NaN where a row lacks a metric."""
    columns: list[ScaledColumn | None] = [None] * len(described)
    scaled = Scaled(columns)
    found: dict[str, Sequence[float]] = {name: () for name, *_ in described}
    for place in sorted(range(len(described)), key=lambda each: packing.is_told(described[each][3:])):
        name, gaps, digits, *rest = described[place]
        present = planes.take(count) if gaps else b""
        values: Sequence[float]
        if digits == packing.RAW:
            values = packing.unpack_raw(planes, gaps or count)
        else:
            numbers = packing.unpack_numbers(rest, planes, gaps or count, scaled.refer)
            values = packing.unscaled(numbers, digits)
            columns[place] = _filled((digits, numbers), present)
        found[name] = packing.spread_out(values, present, nan) if gaps else values
    return found, scaled


def _filled(column: ScaledColumn | None, present: bytes) -> ScaledColumn | None:
    """The column with 0 where a row has no value."""
    if column is None or 0 not in present:
        return column
    rest = iter(column[1])
    return column[0], [next(rest) if is_there else 0 for is_there in present]


def _total_of(columns: Sequence[ScaledColumn | None]) -> tuple[int, tuple[int, ...]]:
    """The metric that is the sum of others, nearly, and which these are; -1 where there is none."""
    for total, column in enumerate(columns):
        if column is None:
            continue
        digits, numbers = column
        parts = [
            place for place, each in enumerate(columns) if place != total and each is not None and each[0] == digits
        ]
        if len(parts) < 2:
            continue
        sums = map(sum, zip(*(columns[place][1] for place in parts), strict=True))  # type: ignore[index]  # none is None
        if all(abs(number - each) <= _CLOSE for number, each in zip(numbers, sums, strict=True)):
            return total, tuple(parts)
    return -1, ()


def _names_of(rows: ResultColumns) -> list[str]:
    """The metrics that any row has, in the order in which they came."""
    if isinstance(rows.metrics, MetricRows):
        known = set(rows.metric_names())
        return [name for name in rows.metrics.columns if name in known]
    return list(dict.fromkeys(chain.from_iterable(rows.metrics)))


def pack_durations(durations_s: Sequence[float], scaled: Scaled) -> packing.Column:
    """How long runs took, told from the metric that comes closest to it."""
    found = packing.scaled_ints(durations_s)
    if found is None:
        return packing.pack_floats(durations_s)
    digits, numbers = found
    longest = max(numbers)
    peaks = {
        place: peak
        for place, column in enumerate(scaled.columns)
        if column is not None and (peak := max(column[1]) * 10.0 ** (digits - column[0])) <= longest
    }
    references = [(max(peaks, key=peaks.__getitem__), digits)] if peaks else []
    descriptor, planes = packing.pack_numbers(numbers, {each: scaled.refer(each) for each in references})
    return [digits, *descriptor], planes


def unpack_durations(descriptor: Any, planes: Planes, count: int, scaled: Scaled) -> Sequence[float]:
    """What `pack_durations` packed."""
    digits, *rest = descriptor
    if digits == packing.RAW:
        return packing.unpack_raw(planes, count)
    return packing.unscaled(packing.unpack_numbers(rest, planes, count, scaled.refer), digits)
