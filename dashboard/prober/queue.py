"""Which run may go now: limits in flight, for all and for each target, and the order of those that wait."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit

from checks.base import Probe
from dashboard.model import Check, Trigger

IN_FLIGHT_LIMIT = 512
TARGET_LIMIT = 64
_Key = tuple[bool, float, int]  # manual first, then who started longest ago, then who came first


@dataclass(slots=True, eq=False)
class Run:
    """One wish to run a check, from its wait to its end. `by` names who asked; empty while only the schedule did."""

    check: Check
    target: str
    started_before_s: float  # when the check last started, on the monotonic scale
    trigger: Trigger = "schedule"
    by: str = ""
    due_at: datetime | None = None
    was_held_by_target: bool = False
    is_cancelled: bool = False
    place: Literal["outside", "at target", "at all", "inside"] = "outside"
    key: _Key | None = None
    turn: asyncio.Future[None] | None = None  # done when the wait is over
    task: asyncio.Task[None] | None = None


class RunQueue:
    """Two gates in a row: at most `target_limit` runs of one target, then at most `limit` in all."""

    def __init__(self, *, limit: int = IN_FLIGHT_LIMIT, target_limit: int = TARGET_LIMIT) -> None:
        self._all = _Gate(limit)
        self._targets: dict[str, _Gate] = {}
        self._target_limit = target_limit
        self._arrivals = itertools.count()
        self.waiting = 0

    @property
    def in_flight(self) -> int:
        """How many runs are inside."""
        return self._all.inside

    def enter(self, run: Run) -> bool:
        """Whether the run may go at once; if not, it waits until a `leave` names it."""
        run.key = self._key(run)
        self.waiting += 1
        if run.target:
            gate = self._targets.setdefault(run.target, _Gate(self._target_limit))
            if not gate.enter(run):
                run.place, run.was_held_by_target = "at target", True
                return False
        return self._enter_all(run)

    def promote(self, run: Run) -> None:
        """Put a waiting run where its trigger and `by` now want it."""
        if run.place in ("at target", "at all"):
            run.key = self._key(run)
            (self._all if run.place == "at all" else self._targets[run.target]).wait(run)

    def leave(self, run: Run) -> list[Run]:
        """The run is over, or waits no longer; the runs that may go now in its place."""
        place, run.place, run.key = run.place, "outside", None
        free: list[Run] = []
        if place in ("at target", "at all"):
            self.waiting -= 1
        if place == "inside" and (next_run := self._all.leave()) is not None:
            free.append(self._let_in(next_run))
        if place in ("inside", "at all") and run.target:
            gate = self._targets[run.target]
            next_run = gate.leave()
            if next_run is not None and self._enter_all(next_run):
                free.append(next_run)
            if not gate.inside:
                del self._targets[run.target]
        return free

    def _enter_all(self, run: Run) -> bool:
        if not self._all.enter(run):
            run.place = "at all"
            return False
        self._let_in(run)
        return True

    def _let_in(self, run: Run) -> Run:
        run.place, run.key = "inside", None
        self.waiting -= 1
        return run

    def _key(self, run: Run) -> _Key:
        return (run.trigger != "manual", run.started_before_s, next(self._arrivals))


class _Gate:
    """So many may be inside; the others wait in the order of their keys."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line: list[tuple[_Key, Run]] = []
        self.inside = 0

    def enter(self, run: Run) -> bool:
        if self.inside < self._limit:
            self.inside += 1
            return True
        self.wait(run)
        return False

    def wait(self, run: Run) -> None:
        assert run.key is not None
        heapq.heappush(self._line, (run.key, run))

    def leave(self) -> Run | None:
        """Free one place; the run that takes it at once."""
        while self._line:
            key, run = heapq.heappop(self._line)
            if run.key is key:  # else it was promoted or has left
                return run
        self.inside -= 1
        return None


def target_of(probe: Probe) -> str:
    """Host and port that the probe loads, by its options `url`, or `host` and `port`; empty where it names none."""
    options = dict(probe)
    if "url" in options:
        url = urlsplit(str(options["url"]))
        return f"{url.hostname}:{url.port or url.scheme}"
    if "host" in options:
        return f"{options['host']}:{options.get('port', '')}"
    return ""
