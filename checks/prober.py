"""Prober: the process that runs all checks starts them in time and skips none."""

from __future__ import annotations

from checks._words import duration
from checks.base import Context, Metric, Probe, Reading, Status

_LATE_S = 0.5


class Prober(Probe, type="prober"):
    """Watches the prober itself, over the last 30 s: when it is late or skips runs, other checks' times are in doubt."""

    @property
    def headline(self) -> str:
        """How late runs start."""
        return "lateness_p99"

    @property
    def metric_names(self) -> frozenset[str]:
        """What the prober knows of itself, in numbers."""
        return frozenset({"lateness_p50", "lateness_p99", "fires", "in_flight", "queued", "skipped"})

    async def run(self, context: Context) -> Reading:
        """What the prober knows of itself."""
        health = context.prober_health()
        before = context.memory.get("skipped")
        skipped = health.skipped - (before if isinstance(before, int) and before <= health.skipped else 0)
        context.memory["skipped"] = health.skipped
        troubles = []
        if health.lateness_p99_s > _LATE_S:
            troubles.append(f"1 % of runs start more than {duration(health.lateness_p99_s)} late, limit {_LATE_S} s")
        if skipped:
            troubles.append(
                f"{skipped} {'run was' if skipped == 1 else 'runs were'} skipped since the last look: "
                "their turn came while the run before was still going or waiting"
            )
        if troubles:
            status, summary = Status.WARNING, "prober overloaded: " + "; ".join(troubles)
        else:
            status = Status.OK
            summary = (
                f"{health.fires_per_s:.3g} runs/s of {health.checks} checks, "
                f"99 % of them at most {duration(health.lateness_p99_s)} late"
                if health.fires_per_s
                else f"No run of {health.checks} checks in the last 30 s"
            )
        return Reading(
            status=status,
            summary=summary,
            metrics=(
                Metric(name="lateness_p50", value=health.lateness_p50_s, unit="s"),
                Metric(name="lateness_p99", value=health.lateness_p99_s, unit="s"),
                Metric(name="fires", value=health.fires_per_s, unit="/s"),
                Metric(name="in_flight", value=health.in_flight),
                Metric(name="queued", value=health.queued),
                Metric(name="skipped", value=skipped),
            ),
        )
