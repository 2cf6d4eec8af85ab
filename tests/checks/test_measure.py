"""One run of a probe: deadline, thresholds, whose fault it was, and clean texts."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Mapping

import pytest
from pydantic import ConfigDict
from targets import probe_once

from checks._measure import measure
from checks._threads import Threads
from checks._tools import Tools
from checks.base import Context, Detail, Metric, Probe, ProbeFailure, Reading, Status, Threshold, Thresholds
from dashboard.clock import SystemClock


class Gives(Probe):
    """Gives a reading, or raises."""

    reading: Reading = Reading(status=Status.OK, summary="all well")
    error: Exception | None = None
    model_config = ConfigDict(arbitrary_types_allowed=True)

    async def run(self, context: Context) -> Reading:
        if self.error is not None:
            raise self.error
        return self.reading


class Hangs(Probe):
    """Waits for its target without end."""

    async def run(self, context: Context) -> Reading:
        await asyncio.Event().wait()
        raise AssertionError


class WaitsForThreads(Probe):
    """Waits for a thread of ours without end; `patience_s` is its own deadline."""

    patience_s: float = 60.0
    catches: bool = False

    async def run(self, context: Context) -> Reading:
        over = context.memory["over"]
        assert isinstance(over, threading.Event)
        try:
            await context.blocking.run("disk", lambda: over.wait(30), self.patience_s)
        except TimeoutError:
            if not self.catches:
                raise
            await asyncio.Event().wait()
        raise AssertionError


def judged(value: float, unit: str = "s", *, status: Status = Status.OK, **ranges: str) -> Reading:
    limits = Thresholds(**{side: Threshold.parse(text) for side, text in ranges.items()})
    reading = Reading(
        status=status, summary="200 in 3 ms", metrics=(Metric(name="response_time", value=value, unit=unit),)
    )
    return probe_once(Gives(reading=reading), thresholds={"response_time": limits})


@pytest.mark.parametrize(
    ("value", "unit", "ranges", "status", "words"),
    [
        (1.92, "s", {"warning": "0.5"}, Status.WARNING, "response time 1.92 s, warning above 0.5 s; 200 in 3 ms"),
        (1.92, "s", {"warning": "0.5", "critical": "1"}, Status.CRITICAL, "response time 1.92 s, critical above 1 s; 200 in 3 ms"),
        (0.5, "s", {"warning": "0.5"}, Status.OK, "200 in 3 ms"),
        (0.500004, "s", {"warning": "0.5"}, Status.WARNING, "response time 0.500004 s, warning above 0.5 s; 200 in 3 ms"),
        (12, "d", {"warning": "14:"}, Status.WARNING, "response time 12 d, warning below 14 d; 200 in 3 ms"),
        (-1, "", {"warning": "10"}, Status.WARNING, "response time -1, warning below 0; 200 in 3 ms"),
        (15, "%", {"critical": "@10:20"}, Status.CRITICAL, "response time 15 %, critical from 10 % to 20 %; 200 in 3 ms"),
        (15, "%", {"critical": "@~:20"}, Status.CRITICAL, "response time 15 %, critical up to 20 %; 200 in 3 ms"),
        (15, "%", {"critical": "@10:"}, Status.CRITICAL, "response time 15 %, critical from 10 %; 200 in 3 ms"),
        (3 * 2**30, "B", {"warning": "1e9"}, Status.WARNING, "response time 3 GiB, warning above 954 MiB; 200 in 3 ms"),
    ],
)  # fmt: skip
def test_a_threshold_worsens_and_says_number_and_limit(
    value: float, unit: str, ranges: dict[str, str], status: Status, words: str
) -> None:
    reading = judged(value, unit, **ranges)
    assert (reading.status, reading.summary) == (status, words)


@pytest.mark.parametrize("status", [Status.WARNING, Status.CRITICAL])
def test_a_threshold_never_makes_better_nor_talks_over_the_probe(status: Status) -> None:
    for value in (0.1, 9.0):
        reading = judged(value, status=status, warning="0.5")
        assert (reading.status, reading.summary) == (status, "200 in 3 ms")


def test_a_threshold_outranks_unknown() -> None:
    assert judged(9, status=Status.UNKNOWN, warning="0.5").status is Status.WARNING


def test_all_ranges_of_the_worst_status_are_named() -> None:
    metrics = tuple(Metric(name=name, value=9.0) for name in ("load_1", "load_5", "load_15"))
    limits = {
        "load_1": Thresholds(critical=Threshold.parse("4")),
        "load_5": Thresholds(warning=Threshold.parse("4")),
        "load_15": Thresholds(critical=Threshold.parse("2")),
    }
    reading = probe_once(Gives(reading=Reading(status=Status.OK, summary="load", metrics=metrics)), thresholds=limits)
    assert reading.summary == "load 1 9, critical above 4; load 15 9, critical above 2; load"


def test_a_probe_failure_is_critical_and_keeps_its_evidence() -> None:
    failure = ProbeFailure("refused", detail=Detail(phase="connect"), metrics=(Metric(name="dns", value=0.1),))
    reading = probe_once(Gives(error=failure))
    assert (reading.status, reading.summary, reading.detail.phase) == (Status.CRITICAL, "refused", "connect")
    assert reading.metrics == failure.metrics


def test_a_deadline_is_the_targets_fault() -> None:
    reading = probe_once(Hangs(), timeout_s=0.05)
    assert (reading.status, reading.summary) == (Status.CRITICAL, "no answer within 50 ms")


@pytest.mark.parametrize("patience_s", [60.0, 0.01])
def test_waiting_for_our_own_threads_is_our_fault(patience_s: float) -> None:
    over = threading.Event()
    reading = probe_once(WaitsForThreads(patience_s=patience_s), timeout_s=0.05, memory={"over": over})
    over.set()
    assert reading.status is Status.UNKNOWN
    assert reading.summary.startswith("our fault, not the target's: ")


def test_a_wait_for_our_threads_that_is_over_blames_nobody_later() -> None:
    over = threading.Event()
    reading = probe_once(WaitsForThreads(patience_s=0.01, catches=True), timeout_s=0.05, memory={"over": over})
    over.set()
    assert reading.status is Status.CRITICAL


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (OSError(24, "too many open files"), "too many open files"),
        (OSError("the resolver is broken"), "the resolver is broken"),
        (TimeoutError(), "a step of ours took too long"),
        (KeyError(), "KeyError"),
    ],
)
def test_any_other_error_is_ours_with_a_traceback_in_the_log(
    error: Exception, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    reading = probe_once(Gives(error=error))
    assert (reading.status, reading.summary) == (Status.UNKNOWN, f"our fault, not the target's: {words}")
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [True]


def test_cancellation_passes_through() -> None:
    async def run() -> None:
        async with Tools(blocking=Threads(), clock=SystemClock()) as tools:
            running = asyncio.create_task(measure(Hangs(), tools.context(timeout_s=9, memory={}), {}))
            await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    asyncio.run(run())


def test_numbers_that_are_none_are_dropped() -> None:
    metrics = tuple(Metric(name=str(value), value=value) for value in (1.0, math.nan, math.inf, -math.inf))
    reading = probe_once(Gives(reading=Reading(status=Status.OK, summary="x", metrics=metrics)))
    assert reading.metrics == metrics[:1]


def test_every_text_is_short_and_free_of_what_cannot_be_seen() -> None:
    nasty = "\x1b[31mred\x00 \u202eevil\ud800\nnext" + "x" * 9999
    facts: Mapping[str, str] = {f"{number} \x07": nasty for number in range(99)}
    detail = Detail(phase=nasty, expected=nasty, got=nasty, excerpt=nasty, facts=facts)
    reading = probe_once(Gives(reading=Reading(status=Status.OK, summary=nasty, detail=detail)))
    shown = reading.detail
    texts = [reading.summary, shown.phase, shown.expected, shown.got, *shown.facts, *shown.facts.values()]
    assert all(text.isprintable() for text in texts)
    assert reading.summary.startswith("\\x1b[31mred\\x00 \\u202eevil\\ud800 nextx")
    assert len(reading.summary) <= 300
    assert all(len(text) <= 512 for text in (*texts, shown.excerpt))
    assert len(shown.facts) == 32
    assert shown.excerpt.replace("\n", "").isprintable()
    assert "\nnext" in shown.excerpt


def test_a_reading_without_a_word_says_its_status() -> None:
    assert probe_once(Gives(reading=Reading(status=Status.OK, summary=" \n"))).summary == "ok"


def test_tools_serve_only_while_they_are_open() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        Tools(blocking=Threads(), clock=SystemClock()).context(timeout_s=1, memory={})


def test_the_time_left_counts_down() -> None:
    class Tick:
        elapsed_s = 5.0

        def now(self) -> None: ...

        def monotonic_s(self) -> float:
            return self.elapsed_s

    async def run() -> list[float]:
        clock = Tick()
        async with Tools(blocking=Threads(), clock=clock) as tools:  # type: ignore[arg-type]
            context = tools.context(timeout_s=2, memory={})
            left = [context.timeout_s]
            for _ in range(3):
                clock.elapsed_s += 1
                left.append(context.timeout_s)
            return left

    assert asyncio.run(run()) == [2, 1, 0, 0]


def test_a_percentage_that_the_summary_tells_is_followed_by_its_limit_alone() -> None:
    reading = Reading(
        status=Status.OK, summary="Disk / is 91 % full", metrics=(Metric(name="percent", value=91.2, unit="%"),)
    )
    limits = Thresholds(warning=Threshold.parse("85"), critical=Threshold.parse("95"))
    found = probe_once(Gives(reading=reading), thresholds={"percent": limits})
    assert found.summary == "Disk / is 91 % full; warning above 85 %"
