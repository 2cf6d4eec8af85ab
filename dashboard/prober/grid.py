"""When a check is due: a grid of its own over all time, so runs are spread and a restart changes nothing."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Grid:
    """The instants phase + k * interval, in whole microseconds since 1970."""

    phase_us: int
    every_us: int

    @classmethod
    def of(cls, check_id: str, every_s: float) -> Grid:
        """The grid of the check: its phase is crc32(id) mod interval, in milliseconds so that seconds are no herd."""
        every_ms = max(1, round(every_s * 1000))
        return cls(phase_us=zlib.crc32(check_id.encode()) % every_ms * 1000, every_us=every_ms * 1000)

    def after(self, at: datetime) -> datetime:
        """The first instant of the grid later than the given one."""
        steps = (_microseconds(at) - self.phase_us) // self.every_us + 1
        return _EPOCH + timedelta(microseconds=self.phase_us + steps * self.every_us)

    def follows(self, previous: datetime, now: datetime) -> datetime:
        """When to fire after the previous fire: later than both, in one step however long ago it was.

        A previous fire off the grid was an extra one (at a start): it stands for every instant within half an interval.
        """
        if (_microseconds(previous) - self.phase_us) % self.every_us:
            previous += timedelta(microseconds=self.every_us // 2)
        return self.after(max(previous, now))


def spread_s(check_id: str, over_s: float) -> float:
    """Where in [0, over_s) the check has its place, evenly spread over the ids."""
    return zlib.crc32(check_id.encode()) / 2**32 * over_s


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND
