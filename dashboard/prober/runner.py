"""One run of one check: measured under its deadline, tried again if wanted, secrets masked."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace

from checks._measure import measure
from checks._tools import Tools
from checks.base import Clock, Detail, Reading, Status
from dashboard.model import Check, Result, Trigger

_DIGITS = {"s": 6, "d": 4, "%": 3, "B/s": 1}  # after the point, by unit: a microsecond, ten seconds, ...


class Runner:
    """Runs checks with the tools of one event loop, and keeps each check's memory between its runs."""

    def __init__(self, tools: Tools, *, worker: str, clock: Clock) -> None:
        self._tools = tools
        self._worker = worker
        self._clock = clock
        self._memories: dict[str, tuple[Check, MutableMapping[str, object]]] = {}
        self.commands_enabled = False

    async def run(self, check: Check, trigger: Trigger, by: str) -> Result:
        """What the check found now."""
        at, started_s = self._clock.now(), self._clock.monotonic_s()
        reading = _masked(await self._read(check, started_s), check)
        return Result(
            check_id=check.id,
            at=at,
            status=reading.status,
            summary=reading.summary,
            duration_s=_rounded(self._clock.monotonic_s() - started_s, "s"),
            covers_s=check.schedule.covers_s,
            trigger=trigger,
            by=by,
            worker=self._worker,
            metrics={_sendable(metric.name): _rounded(metric.value, metric.unit) for metric in reading.metrics},
            units={_sendable(metric.name): _sendable(metric.unit) for metric in reading.metrics},
            detail=reading.detail,
        )

    def keep_only(self, check_ids: set[str]) -> None:
        """Forget what was kept of other checks."""
        self._memories = {check_id: kept for check_id, kept in self._memories.items() if check_id in check_ids}

    async def _read(self, check: Check, started_s: float) -> Reading:
        """The reading of the first attempt that is not down or unknown, else of the last; all within one timeout."""
        if check.probe.needs_commands and not self.commands_enabled:
            return Reading(status=Status.UNKNOWN, summary="not run: commands are off; set commands.enabled to allow it")
        memory = self._memory(check)
        left_s = check.schedule.timeout_s
        for attempts_left in range(check.retries, -1, -1):
            context = self._tools.context(timeout_s=left_s, memory=memory)
            reading = await measure(check.probe, context, check.thresholds)
            left_s = started_s + check.schedule.timeout_s - self._clock.monotonic_s()
            if reading.status in (Status.OK, Status.WARNING) or not attempts_left or left_s <= 0:
                break
        return reading

    def _memory(self, check: Check) -> MutableMapping[str, object]:
        """The check's own memory, empty after its probe has changed."""
        known, memory = self._memories.get(check.id, (check, {}))
        if known is not check and known.probe != check.probe:
            memory = {}
        self._memories[check.id] = (check, memory)
        return memory


def _rounded(value: float, unit: str) -> float:
    """No more digits than the measurement has: what is only noise takes most of the room on the disk."""
    return round(float(value), _DIGITS[unit]) if unit in _DIGITS else float(value)


def _sendable(name: str) -> str:
    """The name without lone surrogates, which a plugin can cause and JSON cannot hold."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


def _masked(reading: Reading, check: Check) -> Reading:
    if not check.secrets:
        return reading
    detail, mask = reading.detail, check.mask
    return replace(
        reading,
        summary=mask(reading.summary),
        metrics=tuple(
            replace(metric, name=mask(metric.name), unit=mask(metric.unit))  # a plugin's perfdata names them
            for metric in reading.metrics
        ),
        detail=Detail(
            phase=mask(detail.phase),
            expected=mask(detail.expected),
            got=mask(detail.got),
            excerpt=mask(detail.excerpt),
            facts={mask(name): mask(value) for name, value in detail.facts.items()},
        ),
    )
