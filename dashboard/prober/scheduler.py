"""When each check runs: one APScheduler job a check, on the check's own grid, within the limits of the queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_SUBMITTED, JobSubmissionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from checks.base import Clock, ProberHealth
from dashboard.model import Check, Result, RunPhase, Trigger
from dashboard.prober.grid import Grid, spread_s
from dashboard.prober.punctuality import Punctuality
from dashboard.prober.queue import Run, RunQueue, target_of

_log = logging.getLogger(__name__)
_JOB = "check:"
_SPREAD_LIMIT_S = 2.0
_SPREAD_EACH_S = 0.005  # a start of 10 checks takes 50 ms, one of 400 and more takes 2 s
_CLOCK_STEP_S = 1.0
_RETRY_S = 0.05
_CANCEL_S = 2.5  # a plugin has 2 s between SIGTERM and SIGKILL

Measure = Callable[[Check, Trigger, str], Awaitable[Result]]
OnResult = Callable[[Result, bool], None]  # the result, and whether somebody waits for it
OnRun = Callable[[str, RunPhase | None, str], None]


class GridTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires at every instant of a grid."""

    __slots__ = ("grid",)

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The next instant, past `now` in one step: what was missed is not caught up."""
        if previous_fire_time is None:
            return self.grid.after(now)
        return self.grid.follows(previous_fire_time, now)


@dataclass(slots=True, eq=False)
class _Entry:
    """What is kept of one check between its runs."""

    check: Check
    target: str
    run: Run | None = None
    due_at: datetime | None = None  # of the newest fire
    started_s: float = 0.0  # the newest start, on the monotonic scale


class Scheduler:
    """Runs checks on their grids and on request; belongs to the event loop that it is started on.

    `on_run` tells of runs that somebody asked for: queued, running, over (None, after their result).
    """

    def __init__(self, measure: Measure, *, on_result: OnResult, on_run: OnRun, clock: Clock) -> None:
        self._measure = measure
        self._on_result = on_result
        self._on_run = on_run
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._queue = RunQueue()
        self._punctuality = Punctuality(clock.monotonic_s())
        self._skipped = 0
        self._is_stopping = False
        self._clock_offset_s = self._read_clock_offset_s()
        self._jobs = AsyncIOScheduler(timezone=UTC)
        self._jobs.add_listener(self._note_fire, EVENT_JOB_SUBMITTED | EVENT_JOB_MAX_INSTANCES)

    def start(self) -> None:
        """Begin, without checks."""
        self._jobs.start()

    def configure(self, checks: Sequence[Check]) -> None:
        """Run these checks from now on. What did not change keeps its grid and its running run; what is new or
        changed runs once soon; a run of what changed or went is cancelled and recorded as nothing."""
        wanted = {check.id: check for check in checks}
        self._jobs.pause()
        for check_id in self._entries.keys() - wanted.keys():
            self._drop(check_id)
        changed = [check for check in checks if (entry := self._entries.get(check.id)) is None or entry.check != check]
        for check in changed:
            if check.id in self._entries:
                self._drop(check.id)
            self._entries[check.id] = _Entry(check=check, target=target_of(check.probe))
        self._run_soon(changed)
        self._jobs.resume()

    def run_now(self, check_id: str, by: str) -> None:
        """Run the check for somebody: a run that is going serves the wish, one that waits goes first."""
        entry = self._entries.get(check_id)
        if entry is None or self._is_stopping:
            self._on_run(check_id, None, by)
            return
        run = entry.run
        if run is None:
            run = self._new_run(entry, trigger="manual", by=by)
            run.task = asyncio.get_running_loop().create_task(self._perform(entry, run))
        elif run.by:
            return
        else:
            run.by = by
            if run.place != "inside":
                run.trigger = "manual"
                self._queue.promote(run)
        self._on_run(check_id, "running" if run.place == "inside" else "queued", by)

    def health(self) -> ProberHealth:
        """How it goes."""
        fires_per_s, p50_s, p99_s = self._punctuality.read(self._clock.monotonic_s())
        return ProberHealth(
            fires_per_s=fires_per_s,
            lateness_p50_s=p50_s,
            lateness_p99_s=p99_s,
            in_flight=self._queue.in_flight,
            queued=self._queue.waiting,
            skipped=self._skipped,
            checks=len(self._entries),
        )

    def watch_clock(self) -> None:
        """Notice that the machine's clock was set, and plan anew; to be called every second.

        Jobs wait for instants of that clock: set back by an hour, it would leave an hour without a run.
        """
        before_s, self._clock_offset_s = self._clock_offset_s, self._read_clock_offset_s()
        step_s = self._clock_offset_s - before_s
        if abs(step_s) > _CLOCK_STEP_S and not self._is_stopping:
            _log.warning("the clock moved by %+.1f s; every check is planned anew", step_s)
            self._jobs.pause()
            self._run_soon([entry.check for entry in self._entries.values()])
            self._jobs.resume()

    async def stop(self, grace_s: float) -> None:
        """No new run; what runs has the grace; then it is cancelled and leaves no result. Idempotent."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._jobs.pause()
        running = [run for run in self._runs() if run.place == "inside"]
        self._cancel(run for run in self._runs() if run.place != "inside")
        await _ended(running, grace_s)
        left = list(self._runs())
        self._cancel(left)
        await _ended(left, _CANCEL_S)
        self._jobs.shutdown(wait=False)

    def _run_soon(self, checks: Sequence[Check]) -> None:
        """Plan one run of each check soon, spread; from then on its grid decides."""
        now = self._clock.now()
        over_s = min(_SPREAD_LIMIT_S, len(checks) * _SPREAD_EACH_S)
        for check in checks:
            if check.paused:
                continue
            grid = Grid.of(check.id, check.schedule.every_s)
            self._jobs.add_job(
                self._fire,
                GridTrigger(grid),
                args=(check.id,),
                id=_JOB + check.id,
                max_instances=1,
                coalesce=True,
                misfire_grace_time=None,
                next_run_time=min(grid.after(now), now + timedelta(seconds=spread_s(check.id, over_s))),
                replace_existing=True,
            )

    def _drop(self, check_id: str) -> None:
        entry = self._entries.pop(check_id)
        if not entry.check.paused:
            self._jobs.remove_job(_JOB + check_id)
        if entry.run is not None:
            self._cancel([entry.run])

    def _note_fire(self, event: JobSubmissionEvent) -> None:
        """Keep when the newest fire was due. A fire that found the run before still going is skipped; where that run
        only waits, it takes the fire's place: what is older than its interval is not caught up."""
        entry = self._entries.get(event.job_id.removeprefix(_JOB))
        if entry is None:
            return
        entry.due_at = event.scheduled_run_times[-1]
        if event.code != EVENT_JOB_MAX_INSTANCES:
            return
        if entry.run is None:  # a run of what the check was before its change is cancelled and still ending
            again_at = self._clock.now() + timedelta(seconds=_RETRY_S)
            self._jobs.modify_job(event.job_id, next_run_time=again_at)
            return
        self._skipped += 1
        entry.run.due_at = entry.due_at

    async def _fire(self, check_id: str) -> None:
        entry = self._entries.get(check_id)
        if entry is None or entry.run is not None or self._is_stopping:
            return  # a run that somebody asked for serves this fire too
        run = self._new_run(entry, trigger="schedule", by="")
        run.due_at = entry.due_at
        run.task = asyncio.current_task()
        await self._perform(entry, run)

    def _new_run(self, entry: _Entry, *, trigger: Trigger, by: str) -> Run:
        entry.run = Run(
            check=entry.check, target=entry.target, started_before_s=entry.started_s, trigger=trigger, by=by
        )
        return entry.run

    async def _perform(self, entry: _Entry, run: Run) -> None:
        """Take the run from its wait to its result; whatever happens, its place is given on."""
        check = run.check
        try:
            if not self._queue.enter(run):
                run.turn = asyncio.get_running_loop().create_future()
                await run.turn
            if run.by:
                self._on_run(check.id, "running", run.by)
            self._note_start(entry, run)
            result = await self._measure(check, run.trigger, run.by)
            self._on_result(replace(result, by=run.by), bool(run.by))  # somebody may have joined meanwhile
        except asyncio.CancelledError:
            if not run.is_cancelled:
                raise
        except Exception:  # noqa: BLE001 - one check must not stop the others; logged
            _log.exception("check %r could not be run by our fault", check.id)
        finally:
            entry.run = None
            for follower in self._queue.leave(run):
                if follower.turn is not None and not follower.turn.done():  # done: it is being cancelled
                    follower.turn.set_result(None)
            if run.by:
                self._on_run(check.id, None, run.by)

    def _note_start(self, entry: _Entry, run: Run) -> None:
        entry.started_s = self._clock.monotonic_s()
        is_timed = run.due_at is not None and not run.was_held_by_target
        lateness_s = (self._clock.now() - run.due_at).total_seconds() if is_timed and run.due_at else None
        self._punctuality.add(entry.started_s, lateness_s)

    def _runs(self) -> Iterable[Run]:
        return [entry.run for entry in self._entries.values() if entry.run is not None]

    def _cancel(self, runs: Iterable[Run]) -> None:
        for run in runs:
            if run.place == "outside" and not run.is_cancelled:  # its task has not begun, and never tells its end
                self._on_run(run.check.id, None, run.by)
            run.is_cancelled = True
            if run.task is not None:
                run.task.cancel()

    def _read_clock_offset_s(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic_s()


async def _ended(runs: Iterable[Run], timeout_s: float) -> None:
    tasks = [run.task for run in runs if run.task is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=timeout_s)
