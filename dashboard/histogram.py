"""A histogram of logarithmic bins: counts by bin, additive, from which any percentile is read within 2 %.

A bin is a whole number: 0 holds zero, bin k > 0 the values in (G**(k-1-SHIFT), G**(k-SHIFT)], bin -k the same values below
zero. Bins ascend as values do. The middle of a bin is at most ALPHA off any value in it (DDSketch, Masson 2019).
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping

ALPHA = 0.02
GAMMA = (1 + ALPHA) / (1 - ALPHA)
SHIFT = 1000  # keeps the bins of positive values positive down to 1e-17

Histogram = Mapping[int, int]

_PER_LOG = 1 / math.log(GAMMA)
_SMALLEST = 1e-15  # what is closer to zero counts as zero


def bin_of(value: float) -> int:
    """The bin of a finite value."""
    if value >= _SMALLEST:
        return math.ceil(math.log(value) * _PER_LOG) + SHIFT
    if value > -_SMALLEST:
        return 0
    return -math.ceil(math.log(-value) * _PER_LOG) - SHIFT


def histogram(values: Iterable[float]) -> dict[int, int]:
    """How many of the values are in each bin."""
    return dict(Counter(map(bin_of, values)))


def merged(histograms: Iterable[Histogram]) -> dict[int, int]:
    """The histogram of all their values together."""
    total: dict[int, int] = {}
    for each in histograms:
        for number, count in each.items():
            total[number] = total.get(number, 0) + count
    return total


def middle(number: int) -> float:
    """The value that stands for all in the bin."""
    if number == 0:
        return 0.0
    try:
        value: float = GAMMA ** (abs(number) - SHIFT) * (2 / (GAMMA + 1))
    except OverflowError:  # the bin of the largest floats
        value = sys.float_info.max
    return value if number > 0 else -value


def quantiles(counts: Histogram, shares: Iterable[float], *, low: float, high: float) -> list[float]:
    """For each share, ascending, the value that this share of the values does not exceed (nearest rank).

    `low` and `high` are the least and the greatest value; there must be one at least.
    """
    ordered = sorted(counts.items())
    total = sum(counts.values())
    found: list[float] = []
    index, seen = 0, ordered[0][1]
    for share in shares:
        rank = max(1, math.ceil(share * total))
        while seen < rank:
            index += 1
            seen += ordered[index][1]
        found.append(min(high, max(low, middle(ordered[index][0]))))
    return found
