"""Watchroom's own health, in numbers and in sentences."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import dashboard
from checks.base import Clock, ProberHealth
from dashboard.model import OwnHealth, StoreHealth
from dashboard.storage.base import History

FRESH_S = 0.5
SILENT_S = 5.0
LATE_S = 0.5


class ProberSide(Protocol):
    """What is asked of the prober's supervisor."""

    @property
    def is_alive(self) -> bool: ...
    @property
    def restarts(self) -> int: ...
    @property
    def health(self) -> ProberHealth: ...
    @property
    def heartbeat_age_s(self) -> float: ...


class OwnWatch:
    """Looks at the prober, the store and the configuration; the answer is kept for half a second."""

    def __init__(
        self, *, prober: ProberSide, history: History, config_problems: Callable[[], tuple[str, ...]], clock: Clock
    ) -> None:
        self._prober = prober
        self._history = history
        self._config_problems = config_problems
        self._clock = clock
        self._started_s = clock.monotonic_s()
        self._lock = threading.Lock()
        self._kept: OwnHealth | None = None
        self._kept_s = 0.0

    def health(self) -> OwnHealth:
        """How Watchroom does now."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            if self._kept is None or now_s - self._kept_s > FRESH_S:
                self._kept, self._kept_s = self._look(now_s), now_s
            return self._kept

    def _look(self, now_s: float) -> OwnHealth:
        store = self._history.health()
        problems = self._config_problems()
        is_young = now_s - self._started_s < SILENT_S
        is_held_up = store.state == "full" and store.waiting_rows > 0  # by us: who takes results hears no heartbeat
        troubles = (
            *_prober_troubles(self._prober, is_excused=is_young or is_held_up),
            *_store_troubles(store),
        )
        return OwnHealth(
            status="degraded" if troubles or problems else "ok",
            version=dashboard.__version__,
            uptime_s=now_s - self._started_s,
            prober_alive=self._prober.is_alive,
            prober_restarts=self._prober.restarts,
            prober=self._prober.health,
            store=store,
            troubles=troubles,
            config_problems=problems,
        )


def _prober_troubles(prober: ProberSide, *, is_excused: bool) -> tuple[str, ...]:
    if is_excused:
        return ()
    if not prober.is_alive:
        return ("The prober is not running: no check is measured. It is being restarted.",)
    if prober.heartbeat_age_s > SILENT_S:
        return (f"The prober has been silent for {prober.heartbeat_age_s:.0f} s: results may be late.",)
    if prober.health.lateness_p99_s > LATE_S:
        return (f"The prober is overloaded: runs start up to {prober.health.lateness_p99_s:.1f} s late.",)
    return ()


def _store_troubles(store: StoreHealth) -> tuple[str, ...]:
    found: list[str] = []
    if store.state == "full":
        waiting = f"The disk is full: {store.waiting_rows} results wait in memory, nothing new is shown."
        found.append(f"{waiting if store.waiting_rows else 'History is still recorded:'} {store.message}")
    if store.state == "read-only":
        found.append(f"The store can no longer write, history is read only: {store.message}")
    if store.quarantined_lines:
        found.append(
            f"{_counted(store.quarantined_lines, 'damaged line')} of history: set aside in the folder quarantine."
        )
    if store.damaged_blocks:
        found.append(
            f"{_counted(store.damaged_blocks, 'damaged block')} of history: left out of every page and export. "
            "python run.py doctor names them; a backup may still have them."
        )
    if store.sealing_failures:
        found.append(
            f"Sealing the history failed {_counted(store.sealing_failures, 'time')}: nothing is lost, but it takes more room and "
            "a start takes longer until it works again."
        )
    if store.clock_jumps:
        found.append(
            f"This machine's clock jumped {_counted(store.clock_jumps, 'time')}: nothing is deleted by age until it is steady, "
            "and uptime around a jump has a gap."
        )
    return (*(text.strip() for text in found), *store.warnings)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
