"""The scheduler on a real loop: starts, joins, skips, reloads, ends. Runs last as long as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fakes import FakeProbe, make_check, make_result

from dashboard.clock import SystemClock
from dashboard.model import Check, Result, RunPhase, Schedule, Trigger
from dashboard.prober.grid import Grid
from dashboard.prober.scheduler import Scheduler


class SteppedClock(SystemClock):
    """The machine's clock, which somebody sets."""

    step = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.step


@dataclass
class Bench:
    """A scheduler whose runs end when the test opens the gate; those of `quick` checks end at once."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    quick: set[str] = field(default_factory=set)
    starts: list[tuple[str, Trigger, str]] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    runs: list[tuple[str, RunPhase | None, str]] = field(default_factory=list)
    clock: SteppedClock = field(default_factory=lambda: SteppedClock())
    fails: bool = False

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(
            self._measure,
            on_result=lambda result, is_awaited: self.results.append(result),
            on_run=lambda *told: self.runs.append(told),
            clock=self.clock,
        )

    async def _measure(self, check: Check, trigger: Trigger, by: str) -> Result:
        self.starts.append((check.id, trigger, by))
        at = self.clock.now()
        if self.fails:
            raise RuntimeError("our fault")
        if check.id not in self.quick:
            await self.gate.wait()
        return make_result(check.id, at, trigger=trigger, by=by)

    async def until(self, holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not holds():  # noqa: ASYNC110 - the scheduler tells nobody of its counters
                await asyncio.sleep(0.002)


def _check(check_id: str = "api", every_s: float = 600.0, **changes: object) -> Check:
    return make_check(check_id, schedule=Schedule(every_s=every_s, timeout_s=every_s / 2), **changes)


def _play(scenario: Callable[[Bench], Awaitable[None]]) -> Bench:
    async def play() -> Bench:
        bench = Bench()
        bench.scheduler.start()
        try:
            await scenario(bench)
        finally:
            await bench.scheduler.stop(grace_s=0.0)
        return bench

    return asyncio.run(play())


def test_a_check_without_a_result_runs_once_at_start() -> None:
    async def scenario(bench: Bench) -> None:
        bench.gate.set()
        bench.scheduler.configure([_check("a"), _check("b"), _check("off", paused=True)])
        await bench.until(lambda: len(bench.results) == 2)

    bench = _play(scenario)
    assert sorted(bench.starts) == [("a", "schedule", ""), ("b", "schedule", "")]
    assert bench.scheduler.health().checks == 3


def test_five_hundred_checks_start_within_two_seconds_and_not_at_once() -> None:
    async def scenario(bench: Bench) -> None:
        bench.gate.set()
        bench.scheduler.configure([_check(f"check-{number}") for number in range(500)])
        await bench.until(lambda: len(bench.results) == 500, timeout_s=20.0)

    started = sorted(result.at for result in _play(scenario).results)
    assert timedelta(seconds=1.5) < started[-1] - started[0] < timedelta(seconds=4)


def test_after_its_start_a_check_runs_on_its_grid() -> None:
    async def scenario(bench: Bench) -> None:
        bench.gate.set()
        bench.scheduler.configure([_check(every_s=0.2)])
        await bench.until(lambda: len(bench.results) >= 5)

    grid = Grid.of("api", 0.2)
    for result in _play(scenario).results[1:5]:
        due = grid.after(result.at - timedelta(seconds=0.2))
        assert result.at - due < timedelta(seconds=0.15)


def test_a_fire_that_finds_the_run_before_still_going_is_skipped_and_counted() -> None:
    async def scenario(bench: Bench) -> None:
        bench.scheduler.configure([_check(every_s=0.05)])
        await bench.until(lambda: bench.scheduler.health().skipped >= 3)
        assert len(bench.starts) == 1

    _play(scenario)


def test_a_hanging_run_does_not_hold_up_the_others() -> None:
    async def scenario(bench: Bench) -> None:
        bench.quick.add("well")
        bench.scheduler.configure([_check("hung"), _check("well", every_s=0.05)])
        await bench.until(lambda: len(bench.results) >= 5)
        assert {result.check_id for result in bench.results} == {"well"}

    _play(scenario)


def test_a_run_that_somebody_asks_for_is_manual_and_tells_its_phases() -> None:
    async def scenario(bench: Bench) -> None:
        bench.gate.set()
        bench.scheduler.configure([_check(paused=True)])
        bench.scheduler.run_now("api", "cli:ada")
        await bench.until(lambda: len(bench.runs) == 3)

    bench = _play(scenario)
    assert bench.runs == [("api", "queued", "cli:ada"), ("api", "running", "cli:ada"), ("api", None, "cli:ada")]
    assert [(result.trigger, result.by) for result in bench.results] == [("manual", "cli:ada")]


def test_a_wish_joins_a_scheduled_run_that_is_going() -> None:
    async def scenario(bench: Bench) -> None:
        bench.scheduler.configure([_check()])
        await bench.until(lambda: bool(bench.starts))
        bench.scheduler.run_now("api", "ada")
        bench.gate.set()
        await bench.until(lambda: bool(bench.results))

    bench = _play(scenario)
    assert bench.starts == [("api", "schedule", "")]
    assert [(result.trigger, result.by) for result in bench.results] == [("schedule", "ada")]
    assert bench.runs == [("api", "running", "ada"), ("api", None, "ada")]


def test_fifty_wishes_make_one_run() -> None:
    async def scenario(bench: Bench) -> None:
        bench.scheduler.configure([_check(paused=True)])
        for number in range(50):
            bench.scheduler.run_now("api", f"person-{number}")
        await bench.until(lambda: bool(bench.starts))
        bench.gate.set()
        await bench.until(lambda: bool(bench.results))

    bench = _play(scenario)
    assert bench.starts == [("api", "manual", "person-0")]
    assert len(bench.runs) == 3


def test_a_wish_turns_a_waiting_run_into_a_manual_one_that_goes_first() -> None:
    same_target = [_check(f"check-{number}", probe=FakeProbe(url="https://slow.example.net")) for number in range(80)]

    async def scenario(bench: Bench) -> None:
        bench.scheduler.configure(same_target)
        await bench.until(lambda: bench.scheduler.health().queued == 16)
        assert bench.scheduler.health().in_flight == 64
        started = {check_id for check_id, _, _ in bench.starts}
        wanted = next(check.id for check in reversed(same_target) if check.id not in started)
        bench.scheduler.run_now(wanted, "ada")
        bench.gate.set()
        await bench.until(lambda: len(bench.results) == 80)
        assert bench.starts[64] == (wanted, "manual", "ada")

    _play(scenario)


def test_runs_held_by_their_target_are_not_called_late() -> None:
    same_target = [_check(f"check-{number}", probe=FakeProbe(url="https://slow.example.net")) for number in range(70)]

    async def scenario(bench: Bench) -> None:
        bench.scheduler.configure(same_target)
        await bench.until(lambda: bench.scheduler.health().queued == 6)
        await asyncio.sleep(0.6)  # the six are late by more than this now
        bench.gate.set()
        await bench.until(lambda: len(bench.results) == 70)
        assert bench.scheduler.health().lateness_p99_s < 0.5

    _play(scenario)


def test_a_fire_that_meets_a_manual_run_is_served_by_it() -> None:
    async def scenario(bench: Bench) -> None:
        bench.quick = {"api", "pulse"}
        bench.scheduler.configure([_check(every_s=0.1), _check("pulse", every_s=0.1)])
        await bench.until(lambda: bool(bench.results))
        bench.quick = {"pulse"}
        bench.starts.clear()
        bench.scheduler.run_now("api", "ada")
        await bench.until(lambda: len(bench.starts) >= 5)
        assert [start for start in bench.starts if start[0] == "api"] == [("api", "manual", "ada")]
        assert bench.scheduler.health().skipped == 0

    _play(scenario)


def test_a_manual_run_does_not_move_the_schedule() -> None:
    async def scenario(bench: Bench) -> None:
        bench.gate.set()
        bench.scheduler.configure([_check(every_s=0.4)])
        await bench.until(lambda: len(bench.results) == 2)
        bench.scheduler.run_now("api", "ada")
        await bench.until(lambda: len(bench.results) == 4)

    results = _play(scenario).results
    assert [result.by for result in results] == ["", "", "ada", ""]
    assert abs((results[3].at - results[1].at).total_seconds() - 0.4) < 0.15


def test_a_wish_for_a_check_that_is_gone_is_over_at_once() -> None:
    async def scenario(bench: Bench) -> None:
        bench.scheduler.run_now("gone", "ada")

    assert _play(scenario).runs == [("gone", None, "ada")]


def test_a_reload_keeps_runs_and_plans_of_what_did_not_change() -> None:
    async def scenario(bench: Bench) -> None:
        kept, changed, gone = _check("kept"), _check("changed"), _check("gone")
        bench.scheduler.configure([kept, changed, gone])
        await bench.until(lambda: len(bench.starts) == 3)
        bench.scheduler.configure([_check("kept"), replace(changed, name="renamed"), _check("new")])
        await bench.until(lambda: len(bench.starts) == 5)
        bench.gate.set()
        await bench.until(lambda: len(bench.results) == 3)

    bench = _play(scenario)
    assert sorted(check_id for check_id, _, _ in bench.starts[3:]) == ["changed", "new"]
    assert sorted(result.check_id for result in bench.results) == ["changed", "kept", "new"]


def test_a_reload_that_changes_everything_leaves_no_place_taken() -> None:
    def crowd(name: str) -> list[Check]:
        probe = FakeProbe(url="https://slow.example.net")
        return [_check(f"check-{number}", name=name, probe=probe) for number in range(80)]

    async def scenario(bench: Bench) -> None:
        bench.scheduler.configure(crowd("before"))
        await bench.until(lambda: bench.scheduler.health().queued == 16)
        bench.gate.set()
        bench.scheduler.configure(crowd("after"))
        await bench.until(lambda: len(bench.results) == 80)
        health = bench.scheduler.health()
        assert (health.in_flight, health.queued) == (0, 0)

    _play(scenario)


def test_a_waiting_run_whose_interval_passes_is_counted_and_keeps_its_place() -> None:
    probe = FakeProbe(url="https://slow.example.net")
    crowd = [_check(f"check-{number}", every_s=0.3, probe=probe) for number in range(66)]

    async def scenario(bench: Bench) -> None:
        bench.scheduler.configure(crowd)
        await bench.until(lambda: bench.scheduler.health().skipped >= 66)
        assert bench.scheduler.health().queued == 2
        first = {check_id for check_id, _, _ in bench.starts}
        bench.gate.set()
        await bench.until(lambda: len(bench.starts) >= 66)
        assert {check_id for check_id, _, _ in bench.starts[64:66]} == {check.id for check in crowd} - first

    _play(scenario)


def test_a_run_cancelled_at_the_end_leaves_no_result_and_is_told_as_over() -> None:
    async def scenario(bench: Bench) -> None:
        bench.scheduler.configure([_check(paused=True)])
        bench.scheduler.run_now("api", "ada")
        await bench.until(lambda: bool(bench.starts))

    bench = _play(scenario)
    assert bench.results == []
    assert bench.runs[-1] == ("api", None, "ada")


def test_a_wish_whose_check_goes_before_its_run_began_is_told_as_over() -> None:
    async def scenario(bench: Bench) -> None:
        bench.scheduler.configure([_check(paused=True)])
        bench.scheduler.run_now("api", "ada")
        bench.scheduler.configure([])
        await bench.until(lambda: bench.runs[-1] == ("api", None, "ada"))

    assert _play(scenario).starts == []


def test_a_fire_that_comes_with_the_end_starts_nothing() -> None:
    async def scenario(bench: Bench) -> None:
        bench.scheduler.configure([_check(paused=True)])
        await bench.scheduler.stop(grace_s=0.0)
        await bench.scheduler._fire("api")

    assert _play(scenario).starts == []


def test_a_run_in_flight_at_the_end_may_finish_within_the_grace() -> None:
    async def scenario(bench: Bench) -> None:
        bench.scheduler.configure([_check()])
        await bench.until(lambda: bool(bench.starts))
        asyncio.get_running_loop().call_later(0.05, bench.gate.set)
        await bench.scheduler.stop(grace_s=5.0)
        assert len(bench.results) == 1

    _play(scenario)


def test_a_run_that_fails_by_our_fault_does_not_stop_its_check() -> None:
    async def scenario(bench: Bench) -> None:
        bench.fails = True
        bench.scheduler.configure([_check(every_s=0.05)])
        await bench.until(lambda: len(bench.starts) >= 3)
        bench.scheduler.run_now("api", "ada")
        await bench.until(lambda: ("api", None, "ada") in bench.runs)

    bench = _play(scenario)
    assert bench.results == []


def test_a_clock_that_is_set_makes_every_check_run_anew() -> None:
    async def scenario(bench: Bench) -> None:
        bench.gate.set()
        bench.scheduler.configure([_check("a"), _check("b")])
        await bench.until(lambda: len(bench.results) == 2)
        bench.scheduler.watch_clock()
        assert len(bench.starts) == 2
        bench.clock.step = timedelta(hours=-1)
        bench.scheduler.watch_clock()
        await bench.until(lambda: len(bench.results) == 4)

    _play(scenario)
