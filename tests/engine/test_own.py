"""Watchroom speaks of its own troubles in sentences."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from fakes import FakeClock, MemoryStore

from checks.base import ProberHealth
from dashboard.engine.own import OwnWatch
from dashboard.model import StoreHealth


@dataclass
class Prober:
    is_alive: bool = True
    restarts: int = 0
    health: ProberHealth = field(default_factory=ProberHealth)
    heartbeat_age_s: float = 0.5


class SickStore(MemoryStore):
    told = StoreHealth(state="ok", rows=5, rows_in_memory=5, size_bytes=100)

    def health(self) -> StoreHealth:
        return self.told


@pytest.fixture
def rig():
    clock, prober, store, problems = FakeClock(), Prober(), SickStore(), []
    watch = OwnWatch(prober=prober, history=store, config_problems=lambda: tuple(problems), clock=clock)
    clock.advance(60)
    return watch, prober, store, problems


def test_all_well_says_nothing(rig):
    health = rig[0].health()
    assert (health.status, health.troubles) == ("ok", ())
    assert health.uptime_s == 60


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_alive": False}, "The prober is not running"),
        ({"heartbeat_age_s": 40.0}, "silent for 40 s"),
        ({"health": ProberHealth(lateness_p99_s=1.26)}, "overloaded: runs start up to 1.3 s late"),
    ],
)
def test_trouble_of_the_prober_is_told(rig, change, words):
    watch, prober, *_ = rig
    for name, value in change.items():
        setattr(prober, name, value)
    assert words in watch.health().troubles[0]
    assert watch.health().status == "degraded"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": "full", "waiting_rows": 12}, "The disk is full: 12 results wait in memory, nothing new is shown."),
        ({"state": "full", "message": "data: the disk is nearly full"}, "History is still recorded: data: the disk is"),
        ({"state": "read-only", "message": "I/O error"}, "I/O error"),
        ({"quarantined_lines": 2}, "2 damaged lines"),
        ({"damaged_blocks": 3}, "3 damaged blocks of history: left out"),
        ({"sealing_failures": 1}, "Sealing the history failed 1 time: nothing is lost"),
        ({"clock_jumps": 2}, "clock jumped 2 times: nothing is deleted by age"),
        ({"warnings": ("merging waits for room",)}, "merging waits for room"),
    ],
)
def test_trouble_of_the_store_is_told(rig, change, words):
    watch, _, store, _ = rig
    store.told = replace(store.told, **change)
    assert words in watch.health().troubles[0]


def test_refused_configuration_is_told(rig):
    watch, _, _, problems = rig
    problems.append("line 3: check 'a': port: must be at most 65535, got 99999")
    assert watch.health().config_problems == tuple(problems)
    assert watch.health().status == "degraded"


def test_prober_that_is_not_heard_because_results_wait_for_room_is_not_called_silent(rig):
    watch, prober, store, _ = rig
    prober.heartbeat_age_s = 40.0
    store.told = replace(store.told, state="full", waiting_rows=3)
    assert len(watch.health().troubles) == 1
