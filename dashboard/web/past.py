"""The past of one check as a page asks for it: the numbers of a period, its cells, and what its charts are drawn from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import zip_longest
from math import ceil, floor

from dashboard.model import Check, CheckView, Retention, Slot, Uptime
from dashboard.rollup import DURATION, FIVE_MINUTES_S, HOUR_S, NO_SECONDS, Rollup, fold
from dashboard.storage.base import History, ResultColumns
from dashboard.uptime import MAINTENANCE, Window, slot, uptime_of, windows_of
from dashboard.web import words
from dashboard.web.grid import CELL_LENGTHS_S, CHART_LENGTHS_S, Grid, grid, shortest_kept_s
from dashboard.web.metrics import PHASES
from dashboard.web.period import Period

MOST_RESULTS = 4000  # a chart of more draws slots: an hour of a check that runs every second is still drawn as it is
MOST_FOLDED = 20_000  # of more results no slots below 5 minutes are made; so many take about 0.1 s
FEWEST_A_SLOT = 10  # results that make such a slot worth its percentiles
MOST_SLOTS = 750
MOST_SLOTS_BESIDE = 400  # where results are drawn: slots of the status band and of the phases
MOST_CELLS = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the charts of a period are drawn from: slots with what fell into them, and the results themselves where they are few.

    `covers_s` is how long a result speaks at most: a line is not drawn across a longer silence.
    """

    slots: Sequence[Rollup]
    length_s: float  # of a slot
    covers_s: float
    now_s: float
    results: ResultColumns | None = None

    def names(self) -> Collection[str]:
        """The metrics that there are."""
        if self.results is None:
            return {name for each in self.slots for name in each.metrics}
        return self.results.metric_names() or ([DURATION] if len(self.results) else [])

    def cells(self) -> list[Slot]:
        """The slots as uptime has them, the last cut at now."""
        return cells_of(self.slots, self.now_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A check's history, seen now from a zone."""

    history: History
    view: CheckView
    retention: Retention
    now: datetime
    zone: tzinfo

    def whole(self, period: Period, *, metrics: Collection[str] | None = None) -> Rollup:
        """All of the period as one."""
        end_s = period.end_at.timestamp()
        if period.is_live:  # nothing is recorded ahead, and whole buckets are cheaper
            end_s = _next(end_s, HOUR_S if period.is_long else FIVE_MINUTES_S)
        return self._rollups((period.start_at.timestamp(), end_s), metrics)[0]

    def uptime(self, period: Period) -> Uptime:
        """The uptime over the period."""
        return uptime_of(self.whole(period, metrics=()).seconds, period.start_at, period.end_at)

    def uptimes(self, periods: Mapping[str, Period]) -> dict[str, Uptime]:
        """The uptimes of several periods that all end now, in one read."""
        starts_s = sorted({period.start_at.timestamp() for period in periods.values()})
        parts = self._rollups((*starts_s, _next(self.now.timestamp(), HOUR_S)), ())
        return {
            name: uptime_of(
                _total(part.seconds for part in parts if part.start_s >= period.start_at.timestamp()),
                period.start_at,
                period.end_at,
            )
            for name, period in periods.items()
        }

    def cells(self, period: Period) -> list[Slot]:
        """The cells of the period's bar."""
        found = self._grid(period, MOST_CELLS, lengths_s=CELL_LENGTHS_S)
        return cells_of(self._slots(found, ()), self.now.timestamp())

    def measured(self, period: Period) -> Measured:
        """What the period's charts are drawn from."""
        results: ResultColumns | None = None
        wanted: Collection[str] | None = None
        if self.draws_results(period):
            reach_at = period.start_at - timedelta(seconds=self._covers_s)
            results, wanted = self.history.series(self.view.check.id, reach_at, period.end_at), PHASES
            found = self._grid(period, MOST_SLOTS_BESIDE, shortest_s=self._every_s)
        else:
            found = self._chart_grid(period)
        return Measured(
            slots=self._slots(found, wanted),
            length_s=found.length_s,
            covers_s=self._covers_s,
            now_s=self.now.timestamp(),
            results=results,
        )

    def point(self, period: Period) -> str:
        """What a point of the period's charts stands for."""
        if self.draws_results(period):
            return "each result"
        return f"{words.every(self._chart_grid(period).length_s)} a point"

    def draws_results(self, period: Period) -> bool:
        """Whether the period's charts draw single results: where those are few and still kept."""
        return self._are_at_most(MOST_RESULTS, period)

    @property
    def _covers_s(self) -> float:
        if isinstance(self.view.check, Check):
            return self.view.check.schedule.covers_s
        return self.view.result.covers_s if self.view.result else 0.0

    @property
    def _every_s(self) -> float:
        """The interval of the check; of one that is no longer configured what its newest result covers tells it roughly."""
        if isinstance(self.view.check, Check):
            return self.view.check.schedule.every_s
        return self._covers_s / 2

    def _are_at_most(self, most: int, period: Period) -> bool:
        """Whether single results are still kept of the period, and so few."""
        is_kept = shortest_kept_s(period, self.retention, self.now) == 0
        return is_kept and period.length_s <= most * self._every_s

    def _chart_grid(self, period: Period) -> Grid:
        shortest_s = float(FIVE_MINUTES_S)
        if self._are_at_most(MOST_FOLDED, period):
            shortest_s = min(shortest_s, FEWEST_A_SLOT * self._every_s)
        return self._grid(period, MOST_SLOTS, shortest_s=max(self._every_s, shortest_s))

    def _grid(
        self, period: Period, most: int, *, shortest_s: float = 0.0, lengths_s: tuple[int, ...] = CHART_LENGTHS_S
    ) -> Grid:
        kept_s = shortest_kept_s(period, self.retention, self.now)
        zone = UTC if kept_s > HOUR_S else self.zone  # days alone are kept as days of UTC
        return grid(period, zone, most=most, shortest_s=max(shortest_s, kept_s), lengths_s=lengths_s)

    def _slots(self, found: Grid, metrics: Collection[str] | None) -> list[Rollup]:
        """The slots of the grid. Those below 5 minutes are folded from results in one read: a store would read for each."""
        edges_s = found.edges_s
        if found.length_s >= FIVE_MINUTES_S:
            return self._rollups(edges_s, metrics)
        reach_at, end_at = (datetime.fromtimestamp(at_s, UTC) for at_s in (edges_s[0] - self._covers_s, edges_s[-1]))
        rows = self.history.series(self.view.check.id, reach_at, end_at)
        windows = self._maintenance(edges_s[0], edges_s[-1])
        return fold(rows, edges_s, now_s=self.now.timestamp(), windows=windows, wanted=metrics)

    def _maintenance(self, start_s: float, end_s: float) -> list[Window]:
        """The check's maintenance, as buckets of 5 minutes tell it: a window begins late in one or ends early."""
        first, last = floor(start_s / FIVE_MINUTES_S), ceil(end_s / FIVE_MINUTES_S)
        found = self._rollups([float(number * FIVE_MINUTES_S) for number in range(first, last + 1)], ())
        windows: list[Window] = []
        for each, following in zip_longest(found, found[1:]):
            in_s = each.seconds[MAINTENANCE]
            goes_on = following is not None and following.seconds[MAINTENANCE] > 0
            windows.append((each.end_s - in_s, each.end_s) if goes_on else (each.start_s, each.start_s + in_s))
        return windows_of(windows)

    def _rollups(self, edges_s: Sequence[float], metrics: Collection[str] | None) -> list[Rollup]:
        return self.history.rollups(self.view.check.id, edges_s, now_s=self.now.timestamp(), metrics=metrics)


def cells_of(rollups: Iterable[Rollup], now_s: float) -> list[Slot]:
    """The same time as slots, the last cut at now."""
    return [slot(each.start_s, each.end_s - each.start_s, each.seconds, now_s) for each in rollups]


def _total(rows: Iterable[Sequence[float]]) -> Sequence[float]:
    return [sum(column) for column in zip(*rows, strict=True)] or NO_SECONDS


def _next(at_s: float, length_s: int) -> float:
    return float(ceil(at_s / length_s) * length_s)
