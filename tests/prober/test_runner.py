"""One run: what becomes of a reading on its way to a result."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from fakes import FakeClock, make_check

from checks._tools import Tools
from checks.base import Context, Detail, Metric, Probe, ProbeFailure, Reading, Status, Threshold, Thresholds
from dashboard.model import Check, Result, Schedule, Trigger
from dashboard.prober.runner import Runner
from dashboard.prober.workers import Threads

OK = Reading(status=Status.OK, summary="well")
DOWN = Reading(status=Status.CRITICAL, summary="connection refused")


@dataclass
class Script:
    """What a scripted probe gives, run by run, and what it saw."""

    readings: list[Reading | Exception]
    takes_s: float = 0.0
    timeouts_s: list[float] = field(default_factory=list)
    memories: list[dict[str, object]] = field(default_factory=list)


class Scripted(Probe, type=""):
    """Gives what its script says."""

    script: Any  # a Script; pydantic need not look into it
    version: int = 1

    async def run(self, context: Context) -> Reading:
        script: Script = self.script
        script.timeouts_s.append(context.timeout_s)
        script.memories.append(dict(context.memory))
        context.memory["runs"] = len(script.memories)
        clock = context.clock
        assert isinstance(clock, FakeClock)
        clock.advance(script.takes_s)
        reading = script.readings.pop(0)
        if isinstance(reading, Exception):
            raise reading
        return reading


class Program(Scripted):
    """A scripted probe that runs programs."""

    needs_commands = True


def _run(
    *checks: Check, trigger: Trigger = "schedule", by: str = "", commands_enabled: bool = False
) -> tuple[list[Result], FakeClock]:
    clock = FakeClock()

    async def scenario() -> list[Result]:
        async with Tools(blocking=Threads(), clock=clock) as tools:
            runner = Runner(tools, worker="prober-7", clock=clock)
            runner.commands_enabled = commands_enabled
            return [await runner.run(check, trigger, by) for check in checks]

    return asyncio.run(scenario()), clock


def _check(script: Script, **changes: object) -> Check:
    return make_check("shop", **({"probe": Scripted(script=script)} | changes))


def test_a_result_says_which_check_when_how_long_and_who_asked() -> None:
    clock = FakeClock()
    ((result,), _) = _run(_check(Script([OK], takes_s=0.25)), trigger="manual", by="cli:ada")
    assert (result.check_id, result.at, result.duration_s) == ("shop", clock.now(), 0.25)
    assert (result.status, result.summary) == (Status.OK, "well")
    assert (result.trigger, result.by, result.worker) == ("manual", "cli:ada", "prober-7")
    assert result.covers_s == 1.5 * 10.0 + 5.0


def test_metrics_become_numbers_by_name_and_their_units() -> None:
    metrics = (Metric(name="response_time", value=0.2, unit="s"), Metric(name="sessions", value=3))
    ((result,), _) = _run(_check(Script([Reading(status=Status.OK, summary="well", metrics=metrics)])))
    assert result.metrics == {"response_time": 0.2, "sessions": 3.0}
    assert result.units == {"response_time": "s", "sessions": ""}


def test_thresholds_judge_the_metrics() -> None:
    reading = Reading(status=Status.OK, summary="well", metrics=(Metric(name="response_time", value=0.9, unit="s"),))
    limits: Mapping[str, Thresholds] = {"response_time": Thresholds(warning=Threshold.parse("0.5"))}
    ((result,), _) = _run(_check(Script([reading]), thresholds=limits))
    assert result.status is Status.WARNING


@pytest.mark.parametrize(
    ("readings", "retries", "status"),
    [
        ([DOWN, OK], 0, Status.CRITICAL),
        ([DOWN, OK], 1, Status.OK),
        ([DOWN, DOWN, OK], 1, Status.CRITICAL),
        ([DOWN, ProbeFailure("reset"), OK], 2, Status.OK),
        ([ValueError("ours"), OK], 1, Status.OK),
        ([Reading(status=Status.WARNING, summary="slow"), OK], 3, Status.WARNING),
    ],
)
def test_a_run_is_tried_again_only_while_it_is_down_or_unknown(
    readings: list[Reading | Exception], retries: int, status: Status
) -> None:
    ((result,), _) = _run(_check(Script(list(readings)), retries=retries))
    assert result.status is status


def test_all_tries_share_one_timeout() -> None:
    script = Script([DOWN] * 9, takes_s=2.0)
    ((result,), _) = _run(_check(script, retries=8))
    assert script.timeouts_s == [5.0, 3.0, 1.0]
    assert result.duration_s == 6.0


def test_secrets_are_masked_in_the_summary_and_in_every_text_of_the_detail() -> None:
    said = "key s3cret"
    detail = Detail(phase=said, expected=said, got=said, excerpt=said, facts={said: said})
    reading = Reading(status=Status.CRITICAL, summary=said, detail=detail)
    ((result,), _) = _run(_check(Script([reading]), secrets=("s3cret",)))
    assert "s3cret" not in repr(result)
    assert result.summary == result.detail.excerpt == "key ***"


def test_a_metric_name_that_json_cannot_hold_does_not_stop_the_batch() -> None:
    metrics = (Metric(name="pl\udcfcgin", value=1.0, unit="\udcfc"),)
    ((result,), _) = _run(_check(Script([Reading(status=Status.OK, summary="well", metrics=metrics)])))
    assert orjson.loads(orjson.dumps(result))["metrics"] == {"pl\\udcfcgin": 1.0}


def test_memory_is_kept_between_runs_until_the_probe_changes() -> None:
    script = Script([OK, OK, OK])
    changed = Scripted(script=script, version=2)
    _run(_check(script), _check(script, name="renamed"), _check(script, probe=changed))
    assert script.memories == [{}, {"runs": 1}, {}]


def test_a_program_does_not_run_while_commands_are_off() -> None:
    script = Script([OK])
    ((result,), _) = _run(_check(script, probe=Program(script=script)))
    assert (result.status, script.timeouts_s) == (Status.UNKNOWN, [])
    assert "commands.enabled" in result.summary
    ((result,), _) = _run(_check(script, probe=Program(script=script)), commands_enabled=True)
    assert result.status is Status.OK


def test_the_timeout_of_the_schedule_is_the_deadline_of_the_run() -> None:
    script = Script([OK])
    ((result,), _) = _run(_check(script, schedule=Schedule(every_s=1.0, timeout_s=0.8)))
    assert script.timeouts_s == pytest.approx([0.8])
    assert result.covers_s == pytest.approx(2.3)


def test_secrets_are_masked_in_the_names_of_metrics_and_in_their_units() -> None:
    reading = Reading(status=Status.OK, summary="well", metrics=(Metric(name="pw s3cret", value=1.0, unit="s3cret"),))
    ((result,), _) = _run(_check(Script([reading]), secrets=("s3cret",)))
    assert (result.metrics, result.units) == ({"pw ***": 1.0}, {"pw ***": "***"})
