"""The slots in which a page counts a period: as short as the picture has room for, never shorter than what is kept of that age.

Slots begin at whole multiples of their length in UTC, so that they stand still while the clock moves on; those of a day or
more begin at midnights of the page's zone, so that a day with a clock change has its 23 or 25 hours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from itertools import takewhile

from dashboard.engine.quarter import midnight
from dashboard.model import Retention
from dashboard.rollup import DAY_S, FIVE_MINUTES_S, HOUR_S
from dashboard.web.period import Period

WEEK_S = 7 * DAY_S
CHART_LENGTHS_S = (10, 15, 30, 60, 300, 600, 900, 1800, HOUR_S, 2 * HOUR_S, 3 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, DAY_S)
CELL_LENGTHS_S = (60, 300, 600, 900, 1800, HOUR_S, 2 * HOUR_S, 4 * HOUR_S, 8 * HOUR_S, DAY_S)
_A_MONDAY = date(1900, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The edges of neighbouring slots, epoch seconds, that together hold a period."""

    edges_s: tuple[float, ...]
    length_s: float

    @property
    def count(self) -> int:
        """How many slots there are."""
        return len(self.edges_s) - 1


def grid(
    period: Period, zone: tzinfo, *, most: int, shortest_s: float = 0.0, lengths_s: tuple[int, ...] = CHART_LENGTHS_S
) -> Grid:
    """The grid of the period with the shortest slots that are allowed and not more than `most`, but for those cut at its ends.

    The first slot may begin before the period; the last of a fixed period ends with it.
    """
    need_s = max(shortest_s, period.length_s / most)
    length_s = next((length_s for length_s in lengths_s if length_s >= need_s), 0)
    if length_s == 0:
        length_s = WEEK_S * math.ceil(need_s / WEEK_S)
    edges_s = _of_days(period, zone, length_s // DAY_S) if length_s >= DAY_S else _of_seconds(period, length_s)
    if not period.is_live:
        end_s = period.end_at.timestamp()
        edges_s = [*takewhile(lambda edge_s: edge_s < end_s, edges_s), end_s]
    return Grid(edges_s=tuple(edges_s), length_s=float(length_s))


def shortest_kept_s(period: Period, retention: Retention, now: datetime) -> float:
    """The shortest slots for which something is kept from the start of the period on; 0 = single results."""
    age_s = (now - period.start_at).total_seconds()
    if age_s <= retention.raw_s:
        return 0.0
    if age_s <= retention.five_minutes_s:
        return FIVE_MINUTES_S
    return HOUR_S if age_s <= retention.hours_s else DAY_S


def _of_seconds(period: Period, length_s: int) -> list[float]:
    first = period.start_at.timestamp() // length_s
    last = math.ceil(period.end_at.timestamp() / length_s)
    return [number * float(length_s) for number in range(int(first), last + 1)]


def _of_days(period: Period, zone: tzinfo, days: int) -> list[float]:
    """Midnights, so many days apart; slots of weeks begin on Mondays."""
    first = period.start_at.astimezone(zone).date()
    first -= timedelta(days=(first - _A_MONDAY).days % days)
    count = math.ceil(((period.end_at.astimezone(zone).date() - first).days + 1) / days)
    return [midnight(first + timedelta(days=days * number), zone) for number in range(count + 1)]
