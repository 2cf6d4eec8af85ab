"""The last 90 days of a check, one cell a day of a zone: what the store has folded, and since then what the board's day holds.

A finished day changes only by late results, so a check is read anew every 5 minutes at most; the bar of the board, which
reaches back 23.5 h, keeps what was read before exact. Reading a quarter takes some milliseconds: after a start the first
looks read as many as they have time for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from checks.base import Clock
from dashboard.engine.day import SLOT_S
from dashboard.model import CheckView, Slot, Uptime
from dashboard.rollup import NO_SECONDS
from dashboard.storage.base import History
from dashboard.uptime import slot, uptime_of

DAYS = 90
FRESH_S = 300.0
MOST_RENEWED = 1  # checks that one look reads anew only because they are no longer fresh
PATIENCE_S = 0.4  # so long one look may read what nobody has read yet

_Seconds = Sequence[float]


def midnight(day: date, zone: tzinfo) -> float:
    """When the day begins in the zone, as epoch seconds."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def midnights(now_at: datetime, zone: tzinfo, days: int = DAYS) -> tuple[float, ...]:
    """The midnights of the last `days` days, today's included, and the next: a day with a clock change has 23 or 25 hours."""
    today = now_at.astimezone(zone).date()
    return tuple(midnight(today + timedelta(days=number), zone) for number in range(1 - days, 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarter:
    """90 slots of a day, oldest first, the last one still running, and the uptime over all of them."""

    slots: tuple[Slot, ...] = ()
    uptime: Uptime | None = None


_NONE = Quarter()


@dataclass(slots=True, kw_only=True)
class _Read:
    """What was read of one check, up to `until_s`: seconds by midnight; and what was made of it last."""

    zone: tzinfo
    at_s: float
    until_s: float
    seconds: dict[float, _Seconds]
    finished: tuple[Slot, ...] = ()  # of the days that ended before `until_s`
    finished_s: _Seconds = NO_SECONDS
    first_s: float = 0.0  # the midnight that `finished` begins with
    view: CheckView | None = None
    quarter: Quarter = _NONE


class Quarters:
    """The quarters of all checks of one store. Thread-safe: at worst a check is read twice."""

    def __init__(self, history: History, clock: Clock) -> None:
        self._history = history
        self._clock = clock
        self._read: dict[str, _Read] = {}
        self._midnights: tuple[date, tzinfo, tuple[float, ...]] = (date.min, UTC, ())

    def look(self, now_at: datetime, zone: tzinfo) -> Look:
        """The quarters as of now."""
        today = now_at.astimezone(zone).date()
        if self._midnights[:2] != (today, zone):
            self._midnights = (today, zone, midnights(now_at, zone))
        return Look(self._history, self._clock, self._read, now_at, zone, self._midnights[2])

    def forget_all_but(self, check_ids: set[str]) -> None:
        """Drop what is kept of checks that are gone."""
        for check_id in [check_id for check_id in list(self._read) if check_id not in check_ids]:
            self._read.pop(check_id, None)


class Look:
    """One request's look at the quarters."""

    __slots__ = ("_clock", "_history", "_left", "_midnights", "_now_at", "_now_s", "_read", "_zone", "is_complete")

    def __init__(
        self,
        history: History,
        clock: Clock,
        read: dict[str, _Read],
        now_at: datetime,
        zone: tzinfo,
        edges_s: tuple[float, ...],
    ) -> None:
        self._history = history
        self._clock = clock
        self._read = read
        self._now_at = now_at
        self._now_s = now_at.timestamp()
        self._zone = zone
        self._midnights = edges_s
        self._left = MOST_RENEWED
        self.is_complete = True  # False once some are left for the next look

    def prepare(self, views: Iterable[CheckView]) -> None:
        """Read what nobody has read yet, as much as patience lasts for; `of` gives the rest as if they had never run."""
        missing = [view for view in views if view.bar and not self._is_usable(self._read.get(view.check.id), view)]
        until_s = self._clock.monotonic_s() + PATIENCE_S
        for view in missing:
            if self._clock.monotonic_s() > until_s:
                self.is_complete = False
                return
            self._renew(view.check.id)

    def of(self, view: CheckView) -> Quarter:
        """The quarter of a check, its last hours as the view has them; empty for a check that never ran."""
        read = self._read.get(view.check.id)
        if not view.bar or (not self.is_complete and not self._is_usable(read, view)):
            return _NONE
        if read is None or not self._is_usable(read, view):
            read = self._renew(view.check.id)
        elif self._left and self._now_s - read.at_s > FRESH_S:
            self._left -= 1
            read = self._renew(view.check.id)
        if read.view is not view or read.first_s != self._midnights[0]:
            read.quarter = self._drawn(read, view)
            read.view = view
        return read.quarter

    def _is_usable(self, read: _Read | None, view: CheckView) -> bool:
        """Whether the view's bar goes on where the reading ends."""
        if read is None or read.zone is not self._zone or read.until_s > self._now_s:
            return False
        return read.view is view or view.bar[0].start_at.timestamp() <= read.until_s

    def _renew(self, check_id: str) -> _Read:
        starts_s = self._midnights[:-1]
        until_s = max(starts_s[-1], self._now_s // SLOT_S * SLOT_S)
        edges_s = [*starts_s, until_s] if until_s > starts_s[-1] else list(starts_s)
        days = self._history.rollups(check_id, edges_s, now_s=self._now_s, metrics=())
        read = self._read[check_id] = _Read(
            zone=self._zone, at_s=self._now_s, until_s=until_s, seconds={each.start_s: each.seconds for each in days}
        )
        return read

    def _drawn(self, read: _Read, view: CheckView) -> Quarter:
        edges_s = self._midnights
        if read.first_s != edges_s[0]:
            self._finish(read)
        done = len(read.finished)
        late = [list(read.seconds.get(start_s, NO_SECONDS)) for start_s in edges_s[done:-1]]
        for cell in reversed(view.bar):
            start_s = cell.start_at.timestamp()
            if start_s < read.until_s:
                break
            day = min(bisect_right(edges_s, start_s) - 1 - done, len(late) - 1)
            for kind, seconds in enumerate(_seconds_of(cell)):
                late[day][kind] += seconds
        lengths_s = (
            (start_s, end_s - start_s) for start_s, end_s in zip(edges_s[done:-1], edges_s[done + 1 :], strict=True)
        )
        running = [slot(*place, seconds, self._now_s) for place, seconds in zip(lengths_s, late, strict=True)]
        total = [sum(column) for column in zip(read.finished_s, *late, strict=True)]
        return Quarter(
            slots=(*read.finished, *running),
            uptime=uptime_of(total, datetime.fromtimestamp(edges_s[0], UTC), self._now_at),
        )

    def _finish(self, read: _Read) -> None:
        """Make the cells of the days that can no longer change."""
        done = bisect_right(self._midnights, read.until_s) - 1
        seconds = [read.seconds.get(start_s, NO_SECONDS) for start_s in self._midnights[:done]]
        ends_s = self._midnights[1 : done + 1]
        read.finished = tuple(
            slot(start_s, end_s - start_s, each)
            for start_s, end_s, each in zip(self._midnights, ends_s, seconds, strict=False)
        )
        read.finished_s = [sum(column) for column in zip(*seconds, strict=True)] or NO_SECONDS
        read.first_s = self._midnights[0]


def _seconds_of(cell: Slot) -> _Seconds:
    return cell.ok_s, cell.warning_s, cell.critical_s, cell.unknown_s, cell.maintenance_s
