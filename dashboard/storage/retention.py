"""How long history is kept, and when old files may go: never because a clock jumped.

Four classes: results (raw), 5-minute, hour and day buckets. A check that is kept for another time than the default has files of
its own, named by that time, since whole files are unlinked; so a change counts from the next nightly merge on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite

from checks.base import Clock
from dashboard.model import Retention
from dashboard.storage.rollup_files import RollupFile, RollupName
from dashboard.storage.segments import SegmentPart

HOLD_S = 24 * 3600.0  # a clock that jumped is believed after so long, so a wrong one can be set right without loss
JUMP_S = 300.0
FOREVER = 999_999_999  # as a file name says it

_FIELDS = {"raw": "raw_s", "5m": "five_minutes_s", "1h": "hours_s", "1d": "days_s"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How long each class is kept, by default and for the checks that differ."""

    default: Retention = Retention()
    per_check: Mapping[str, Retention] = field(default_factory=dict)

    def kept_s(self) -> dict[str, dict[str, int]]:
        """`{class: {check_id: seconds}}` of the checks that differ in that class, as file names say it."""
        return {
            label: {
                check_id: _named(getattr(retention, name))
                for check_id, retention in self.per_check.items()
                if getattr(retention, name) != getattr(self.default, name)
            }
            for label, name in _FIELDS.items()
        }

    def of(self, label: str, kept_s: int) -> float:
        """How long a file of that class and name is kept."""
        if kept_s:
            return float("inf") if kept_s == FOREVER else float(kept_s)
        return float(getattr(self.default, _FIELDS[label]))

    def longest_raw_s(self) -> float:
        """How long the longest-kept results are kept."""
        return max([self.default.raw_s, *(retention.raw_s for retention in self.per_check.values())])


def _named(seconds: float) -> int:
    return round(seconds) if isfinite(seconds) else FOREVER


class ClockWatch:
    """Tells a steady clock from one that jumped: against monotonic time, and at the start against the newest row.

    Rows that are older than a day may mean that we were off for long or that the clock is wrong; nobody can tell, so
    both wait for HOLD_S of steady running.
    """

    def __init__(self, clock: Clock, newest_s: float | None) -> None:
        self._clock = clock
        self._anchor_s = clock.now().timestamp()
        self._anchor_monotonic_s = clock.monotonic_s()
        is_plausible = newest_s is None or -JUMP_S <= self._anchor_s - newest_s <= HOLD_S
        self._steady_from_s = self._anchor_monotonic_s + (0.0 if is_plausible else HOLD_S)
        self.jumps = 0
        self.last_jump_s = 0.0  # how far, in seconds
        self._newest_lead_s = 0.0 if newest_s is None else newest_s - self._anchor_s

    def is_steady(self, now_at: datetime) -> bool:
        """Whether that time may be used to decide what is old."""
        monotonic_s = self._clock.monotonic_s()
        expected_s = self._anchor_s + monotonic_s - self._anchor_monotonic_s
        if abs(now_at.timestamp() - expected_s) > JUMP_S:
            self.jumps += 1
            self.last_jump_s = now_at.timestamp() - expected_s
            log.warning("the clock jumped by %.0f s; nothing old is removed for a day", self.last_jump_s)
            self._anchor_s, self._anchor_monotonic_s = now_at.timestamp(), monotonic_s
            self._steady_from_s = monotonic_s + HOLD_S
        return monotonic_s >= self._steady_from_s

    @property
    def warning(self) -> str:
        """What a person should know: the clock jumped in the last day, or stands before what was recorded."""
        held_s = self._steady_from_s - self._clock.monotonic_s()
        if held_s <= 0:
            return ""
        if self.jumps:
            way = "forward" if self.last_jump_s > 0 else "back"
            return (
                f"The clock jumped {way} by {abs(self.last_jump_s):.0f} s (or the machine slept): "
                "nothing old is removed until it was steady for a day."
            )
        if self._newest_lead_s > JUMP_S:
            return (
                f"The clock stands {self._newest_lead_s:.0f} s before the newest result: is it right? "
                "Nothing old is removed for a day."
            )
        return ""


def expired_segments(segments: Iterable[SegmentPart], keeping: Keeping, now_s: float) -> list[SegmentPart]:
    """The segments whose newest row is too old; none whose buckets are in no rollup file yet."""
    return [
        segment
        for segment in segments
        if not segment.has_rollups and segment.summary.end_s < now_s - keeping.of("raw", segment.name.kept_s)
    ]


def expired_rollups(files: Iterable[RollupFile], keeping: Keeping, now_s: float) -> list[RollupName]:
    """The rollup files whose whole time is too old."""
    return [file.name for file in files if file.name.end_s < now_s - keeping.of(file.name.label, file.name.kept_s)]
