"""When old rows may be given up: never because a clock jumped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from checks.base import Clock
from dashboard.storage.parts import Part

HOLD_S = 24 * 3600.0  # a clock that jumped is believed after so long, so a wrong one can be set right without loss
JUMP_S = 300.0

log = logging.getLogger(__name__)


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

    def is_steady(self, now_at: datetime) -> bool:
        """Whether that time may be used to decide what is old."""
        monotonic_s = self._clock.monotonic_s()
        expected_s = self._anchor_s + monotonic_s - self._anchor_monotonic_s
        if abs(now_at.timestamp() - expected_s) > JUMP_S:
            log.warning("the clock jumped by %.0f s; nothing old is removed for a day", now_at.timestamp() - expected_s)
            self._anchor_s, self._anchor_monotonic_s = now_at.timestamp(), monotonic_s
            self._steady_from_s = monotonic_s + HOLD_S
        return monotonic_s >= self._steady_from_s


def expired(closed: Sequence[Part], before_s: float) -> list[Part]:
    """The closed parts whose newest row is older."""
    return [part for part in closed if part.summary.end_s < before_s]


def recent(parts: Sequence[Part], age_s: float) -> list[Part]:
    """The parts with rows that are no older than that, beside the newest row there is; oldest first."""
    since_s = max((part.summary.end_s for part in parts), default=0.0) - age_s
    return [part for part in parts if part.summary.end_s >= since_s]


def worth_holding(parts: Sequence[Part], rows: int) -> list[Part]:
    """The newest parts that have no more rows than that together."""
    held: list[Part] = []
    for part in reversed(parts):
        rows -= part.summary.rows
        if rows < 0:
            break
        held.append(part)
    return held
