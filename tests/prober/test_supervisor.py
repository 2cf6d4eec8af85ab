"""Two real processes: what one of them suffers, the other must survive."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from fakes import make_check

from checks.command import Command
from checks.host import Host
from checks.tcp import Tcp
from dashboard.clock import SystemClock
from dashboard.errors import ProberDown
from dashboard.model import Check, Schedule
from dashboard.prober.supervisor import ProberSupervisor

ROOT = Path(__file__).resolve().parents[2]


def _load(check_id: str = "load", every_s: float = 60.0) -> Check:
    return make_check(check_id, probe=Host(what="load"), schedule=Schedule(every_s=every_s, timeout_s=every_s / 2))


def test_results_come_from_another_process_and_its_health_with_them(prober) -> None:
    prober.start(_load(), _load("uptime"))
    prober.until(lambda: len(prober.results) == 2)
    prober.until(lambda: prober.supervisor.health.checks == 2)
    assert prober.supervisor.is_alive
    assert prober.supervisor.pid != os.getpid()
    assert prober.supervisor.heartbeat_age_s < 15
    assert prober.results[0].worker == "prober-1"
    assert prober.results[0].metrics["load1"] >= 0


def test_a_killed_prober_is_started_again_and_nothing_is_recorded_twice(prober, ready_port) -> None:
    prober.start(*(ready_port.check(f"check-{number}", every_s=0.2, timeout_s=0.1) for number in range(10)))
    prober.until(lambda: len(prober.results) > 50)
    first_pid = prober.supervisor.pid
    os.kill(first_pid, signal.SIGKILL)
    prober.until(lambda: not prober.supervisor.is_alive)
    before = len(prober.results)
    prober.until(lambda: len(prober.results) > before + 50)
    assert prober.supervisor.pid != first_pid
    assert prober.supervisor.restarts == 1
    assert max(Counter((result.check_id, result.at) for result in prober.results).values()) == 1


def test_a_run_that_was_asked_for_is_over_when_the_prober_dies(prober, silent_port) -> None:
    prober.start(replace(silent_port.check("slow"), paused=True))
    prober.until(lambda: prober.supervisor.is_alive)
    prober.supervisor.run_now("slow", "ada")
    prober.until(lambda: ("slow", "running", "ada") in prober.runs)
    os.kill(prober.supervisor.pid, signal.SIGKILL)
    prober.until(lambda: ("slow", None, "ada") in prober.runs)
    assert prober.results == []


def test_the_prober_ends_when_its_parent_is_killed_whatever_still_runs(silent_port) -> None:
    script = """
        import sys, time
        from checks.host import Host
        from checks.tcp import Tcp
        from dashboard.clock import SystemClock
        from dashboard.model import Check, Schedule
        from dashboard.prober.supervisor import ProberSupervisor
        supervisor = ProberSupervisor(on_results=lambda rows: print(supervisor.pid, flush=True),
                                      on_run=print, clock=SystemClock())
        schedule = Schedule(every_s=60, timeout_s=50)
        slow = Tcp(host="127.0.0.1", port=int(sys.argv[1]), expect="ready")
        checks = [Check(id="load", name="", probe=Host(what="load"), schedule=schedule),
                  Check(id="slow", name="", probe=slow, schedule=schedule)]
        supervisor.start(checks, commands_enabled=False)
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(silent_port.number)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout:
        child = psutil.Process(int(parent.stdout.readline()))
        assert os.getpgid(child.pid) == os.getpgid(parent.pid)
        parent.kill()
        parent.wait(10)
    gone, left = psutil.wait_procs([child], timeout=2.5)  # less than the grace of an orderly stop
    assert gone
    assert not left


def test_a_run_cancelled_by_the_end_is_recorded_as_nothing(prober, silent_port) -> None:
    prober.start(silent_port.check("slow"), _load())
    prober.until(lambda: silent_port.connections == 1 and len(prober.of("load")) == 1)
    stopped_s = time.monotonic()
    prober.supervisor.stop()
    assert time.monotonic() - stopped_s < 8
    assert prober.of("slow") == []
    assert not prober.supervisor.is_alive


def test_sigterm_ends_the_prober_in_order_and_the_run_in_flight_may_finish(prober, silent_port) -> None:
    prober.start(silent_port.check("slow"))
    prober.until(lambda: silent_port.connections == 1)
    child = psutil.Process(prober.supervisor.pid)
    child.terminate()
    silent_port.answer()
    prober.until(lambda: len(prober.of("slow")) >= 1)
    prober.until(lambda: not child.is_running())
    assert prober.of("slow")[0].status.word == "ok"


def test_a_check_that_hangs_does_not_move_the_others(prober, silent_port, ready_port) -> None:
    hung = [silent_port.check(f"hung-{number}", every_s=1.0, timeout_s=0.8) for number in range(100)]
    prober.start(*hung, ready_port.check("well", every_s=0.2, timeout_s=0.1))
    prober.until(lambda: len(prober.of("well")) >= 15)
    starts = [result.at for result in prober.of("well")[2:]]
    gaps_s = [(later - earlier).total_seconds() for earlier, later in pairwise(starts)]
    assert max(gaps_s) < 0.4
    assert silent_port.connections >= 64


def test_fifty_clicks_make_one_run_and_its_result_names_who_asked(prober, silent_port) -> None:
    prober.start(replace(silent_port.check("slow"), paused=True))
    prober.until(lambda: prober.supervisor.is_alive)
    for _ in range(50):
        prober.supervisor.run_now("slow", "ada")
    prober.until(lambda: ("slow", "running", "ada") in prober.runs)
    prober.until(lambda: silent_port.connections == 1)
    silent_port.answer()
    prober.until(lambda: ("slow", None, "ada") in prober.runs)
    assert [(result.trigger, result.by) for result in prober.results] == [("manual", "ada")]
    assert len(prober.runs) == 3


def test_a_click_joins_the_scheduled_run_that_is_going(prober, silent_port) -> None:
    prober.start(silent_port.check("slow"))
    prober.until(lambda: silent_port.connections == 1)
    prober.supervisor.run_now("slow", "ada")
    prober.until(lambda: ("slow", "running", "ada") in prober.runs)
    silent_port.answer()
    prober.until(lambda: ("slow", None, "ada") in prober.runs)
    assert [(result.trigger, result.by) for result in prober.results] == [("schedule", "ada")]
    assert silent_port.connections == 1


def test_a_reload_leaves_the_run_of_an_unchanged_check_alone(prober, silent_port) -> None:
    slow = silent_port.check("slow")
    prober.start(slow, _load("gone"))
    prober.until(lambda: silent_port.connections == 1)
    prober.supervisor.configure([slow, _load("new")], commands_enabled=False)
    prober.until(lambda: len(prober.of("new")) == 1)
    silent_port.answer()
    prober.until(lambda: len(prober.of("slow")) == 1)
    assert silent_port.connections == 1


def test_results_that_cannot_be_recorded_come_again_in_order_and_none_is_lost(prober, ready_port) -> None:
    prober.fail = OSError("disk full")
    prober.start(*(ready_port.check(f"check-{number}", every_s=0.2, timeout_s=0.1) for number in range(20)))
    prober.until(lambda: prober.refused >= 2)
    assert prober.supervisor.health.checks == 20
    prober.fail = None
    prober.until(lambda: len(prober.results) > 200)
    for number in range(20):
        starts = [result.at for result in prober.of(f"check-{number}")]
        assert starts == sorted(set(starts))
        gaps_s = [(later - earlier).total_seconds() for earlier, later in pairwise(starts)]
        assert max(gaps_s) < 0.5


def test_what_was_measured_before_the_end_is_handed_over(prober, ready_port) -> None:
    prober.fail = OSError("disk full")
    prober.start(*(ready_port.check(f"check-{number}") for number in range(50)))
    prober.until(lambda: prober.refused >= 1 and ready_port.connections == 50)
    prober.fail = None
    prober.supervisor.stop()
    assert sorted(result.check_id for result in prober.results) == sorted(f"check-{number}" for number in range(50))


def test_commands_run_only_where_they_are_enabled(prober) -> None:
    check = make_check("true", probe=Command(argv=("/usr/bin/true",)), schedule=Schedule(every_s=60.0, timeout_s=10.0))
    prober.start(check)
    prober.until(lambda: len(prober.results) == 1)
    assert "commands are off" in prober.results[0].summary
    prober.supervisor.configure([check], commands_enabled=True)
    prober.supervisor.run_now("true", "ada")
    prober.until(lambda: len(prober.results) == 2)
    assert "commands are off" not in prober.results[1].summary


def test_a_prober_whose_loop_is_stuck_is_replaced(prober, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.prober.supervisor._SILENCE_LIMIT_S", 2)
    prober.start(_load())
    prober.until(lambda: len(prober.results) == 1)
    os.kill(prober.supervisor.pid, signal.SIGSTOP)
    prober.until(lambda: prober.supervisor.restarts == 1)
    prober.until(lambda: len(prober.results) == 2)


def test_nobody_can_ask_a_prober_that_is_not_there() -> None:
    supervisor = ProberSupervisor(on_results=print, on_run=print, clock=SystemClock())
    with pytest.raises(ProberDown, match="not running"):
        supervisor.run_now("api", "ada")
    assert supervisor.heartbeat_age_s == float("inf")
    supervisor.stop()


def test_a_prober_that_was_never_told_to_hurry_ends_at_once(prober) -> None:
    prober.start(_load())
    prober.until(lambda: len(prober.results) == 1)
    stopped_s = time.monotonic()
    prober.supervisor.stop()
    prober.supervisor.stop()
    assert time.monotonic() - stopped_s < 2
    with pytest.raises(ProberDown):
        prober.supervisor.run_now("load", "ada")


def test_five_hundred_checks_have_all_run_within_one_interval_of_a_restart(prober) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]  # refuses from here on: the quickest result there is
    checks = [
        make_check(
            f"check-{number}", probe=Tcp(host="127.0.0.1", port=port), schedule=Schedule(every_s=10.0, timeout_s=5.0)
        )
        for number in range(500)
    ]
    started_s = time.monotonic()
    prober.start(*checks)
    prober.until(lambda: len({result.check_id for result in prober.results}) == 500)
    assert time.monotonic() - started_s < 10
