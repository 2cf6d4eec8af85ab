"""Run one probe once: deadline, thresholds, and whose fault it was."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from checks._words import excerpt, limit, one_line, plain, quantity
from checks.base import (
    Blocking,
    Clock,
    Context,
    Detail,
    HttpEngine,
    Metric,
    Probe,
    ProbeFailure,
    ProberHealth,
    Reading,
    Resolution,
    Resolver,
    Status,
    Threshold,
    Thresholds,
)

_logger = logging.getLogger(__name__)
_MOST_FACTS = 32
_SELF_TOLD = "percent"  # a metric whose name says nothing: the summary itself tells it, "Disk / is 91 % full"
_PATIENCE_S = (
    0.1  # a probe's own steps end at the deadline and know the phase: even on a late loop their words come first
)
T = TypeVar("T")


async def measure(probe: Probe, context: Context, thresholds: Mapping[str, Thresholds]) -> Reading:
    """What the probe finds before `context.timeout_s` is over, judged by the thresholds, fit to be recorded and shown.

    A probe that does not end itself in time is ended 0.1 s later. `ProbeFailure` and a deadline that passes while the
    target is waited for are critical. Whatever else goes wrong is ours and becomes unknown, with a traceback in the log.
    Cancellation passes through.
    """
    watched = _Watched(context)
    timeout_s = context.timeout_s
    try:
        async with asyncio.timeout(timeout_s + _PATIENCE_S) as deadline:
            reading = await probe.run(watched)
    except ProbeFailure as failure:
        reading = Reading(
            status=Status.CRITICAL, summary=failure.summary, metrics=failure.metrics, detail=failure.detail
        )
    except TimeoutError as error:
        if not deadline.expired():
            _logger.exception("probe %s failed by our fault", probe.type)
        reading = _late(watched, timeout_s) if deadline.expired() else _our_fault(error)
    except Exception as error:  # one broken probe must not stop the others
        _logger.exception("probe %s failed by our fault", probe.type)
        reading = _our_fault(error)
    return _clean(_judged(reading, thresholds))


def _late(watched: _Watched, timeout_s: float) -> Reading:
    """The reading of a run that its deadline ended: critical, unless it was us that it waited for."""
    if watched.waits_for:
        fault = f"{watched.waits_for} gave no answer within {limit(timeout_s)}"
        _logger.error("a run waited for ourselves until its deadline: %s", fault)
        return _unknown(fault)
    return Reading(status=Status.CRITICAL, summary=f"no answer within {limit(timeout_s)}")


def _our_fault(error: Exception) -> Reading:
    said = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
    if isinstance(error, TimeoutError) and not said:
        said = "a step of ours took too long"
    expected = isinstance(error, OSError) and said
    return _unknown(said if expected else f"{type(error).__name__}: {said}".removesuffix(": "))


def _unknown(fault: str) -> Reading:
    return Reading(status=Status.UNKNOWN, summary=f"our fault, not the target's: {fault}")


def _judged(reading: Reading, thresholds: Mapping[str, Thresholds]) -> Reading:
    """The reading, worse where a metric is outside of its range; never better."""
    metrics = reading.metrics
    if not all(math.isfinite(metric.value) for metric in metrics):
        metrics = tuple(metric for metric in metrics if math.isfinite(metric.value))
        reading = replace(reading, metrics=metrics)
    verdicts = [
        (metric, *thresholds[metric.name].judge(metric.value)) for metric in metrics if metric.name in thresholds
    ]
    worst = Status.worst(*(status for _, status, _ in verdicts))
    if worst.severity <= reading.status.severity:
        return reading
    reasons = [
        _reason(metric, status, threshold)
        for metric, status, threshold in verdicts
        if status is worst and threshold is not None and metric.name != _SELF_TOLD
    ]
    limits = [
        f"{status.word} {_ends(metric, threshold)}"
        for metric, status, threshold in verdicts
        if status is worst and threshold is not None and metric.name == _SELF_TOLD
    ]
    return replace(reading, status=worst, summary="; ".join([*reasons, reading.summary, *limits]))


def _reason(metric: Metric, status: Status, threshold: Threshold) -> str:
    """Number and limit in words: `response time 1.92 s, warning above 0.5 s`."""
    value = quantity(metric.value, metric.unit)
    limits = (quantity(threshold.low, metric.unit), quantity(threshold.high, metric.unit))
    if value in limits and metric.value not in (threshold.low, threshold.high):
        value = f"{metric.value!r} {metric.unit}".rstrip()  # rounded, it would read as the limit itself
    return f"{metric.name.replace('_', ' ')} {value}, {status.word} {_ends(metric, threshold)}"


def _ends(metric: Metric, threshold: Threshold) -> str:
    """The end of the range that the value is beyond: `above 0.5 s`, `below 14 d`, `from 10 to 20`."""
    low, high = quantity(threshold.low, metric.unit), quantity(threshold.high, metric.unit)
    if not threshold.inside:
        return f"above {high}" if metric.value > threshold.high else f"below {low}"
    if threshold.low == -math.inf:
        return f"up to {high}"
    return f"from {low}" if threshold.high == math.inf else f"from {low} to {high}"


def _clean(reading: Reading) -> Reading:
    """The reading with every text short and free of what cannot be seen."""
    detail = reading.detail
    return replace(
        reading,
        summary=one_line(reading.summary) or reading.status.word,
        detail=Detail(
            phase=one_line(detail.phase),
            expected=plain(detail.expected),
            got=plain(detail.got),
            excerpt=excerpt(detail.excerpt),
            facts={one_line(name): plain(value) for name, value in list(detail.facts.items())[:_MOST_FACTS]},
        ),
    )


@dataclass(slots=True)
class _Watched:
    """The context of one run, which knows while the run waits for us rather than for its target."""

    _context: Context
    waits_for: str = ""

    @property
    def timeout_s(self) -> float:
        return self._context.timeout_s

    @property
    def clock(self) -> Clock:
        return self._context.clock

    @property
    def http(self) -> HttpEngine:
        return self._context.http

    @property
    def resolver(self) -> Resolver:
        return _WatchedResolver(self)

    @property
    def blocking(self) -> Blocking:
        return _WatchedBlocking(self)

    @property
    def memory(self) -> MutableMapping[str, object]:
        return self._context.memory

    @property
    def shared(self) -> MutableMapping[str, object]:
        return self._context.shared

    def prober_health(self) -> ProberHealth:
        return self._context.prober_health()

    @contextmanager
    def waiting(self, thing: str) -> Iterator[None]:
        """Remember what is waited for; a deadline (CancelledError) leaves it in place for the verdict."""
        self.waits_for = thing
        try:
            yield
        except Exception:
            self.waits_for = ""
            raise
        self.waits_for = ""


@dataclass(frozen=True, slots=True)
class _WatchedResolver:
    _run: _Watched

    async def resolve(self, host: str, family: int = 0) -> Resolution:
        with self._run.waiting(f"this machine's resolver, asked for {host},"):
            return await self._run._context.resolver.resolve(host, family)


@dataclass(frozen=True, slots=True)
class _WatchedBlocking:
    _run: _Watched

    async def run(self, kind: str, call: Callable[[], T], timeout_s: float) -> T:
        with self._run.waiting(f"our own pool of {kind} threads"):
            return await self._run._context.blocking.run(kind, call, timeout_s)
