"""The queue: limits for all and for each target, and who goes first."""

from __future__ import annotations

import random

import pytest
from fakes import FakeProbe, make_check

from checks.base import Probe
from checks.host import Host
from checks.tcp import Tcp
from dashboard.prober.queue import Run, RunQueue, target_of


def _run(check_id: str = "api", target: str = "", started_before_s: float = 0.0) -> Run:
    return Run(check=make_check(check_id), target=target, started_before_s=started_before_s)


def test_runs_enter_up_to_the_limit_and_the_others_follow_one_by_one() -> None:
    queue = RunQueue(limit=2)
    first, second, third, fourth = (_run() for _ in range(4))
    assert [queue.enter(run) for run in (first, second, third, fourth)] == [True, True, False, False]
    assert (queue.in_flight, queue.waiting) == (2, 2)
    assert queue.leave(first) == [third]
    assert queue.leave(second) == [fourth]
    assert queue.leave(third) == []
    assert (queue.in_flight, queue.waiting) == (1, 0)


def test_one_target_cannot_take_the_places_of_another() -> None:
    queue = RunQueue(limit=3, target_limit=2)
    slow = [_run(target="slow:80") for _ in range(3)]
    assert [queue.enter(run) for run in slow] == [True, True, False]
    assert queue.enter(_run(target="quick:80"))


def test_a_place_at_a_target_is_given_on_to_who_waits_for_that_target() -> None:
    queue = RunQueue(limit=9, target_limit=1)
    first, second, other = _run(target="slow:80"), _run(target="slow:80"), _run(target="other:80")
    queue.enter(first)
    queue.enter(other)
    assert not queue.enter(second)
    assert second.was_held_by_target
    assert queue.leave(other) == []
    assert queue.leave(first) == [second]


def test_who_started_longest_ago_goes_first() -> None:
    queue = RunQueue(limit=9, target_limit=1)
    going = _run(target="slow:80")
    queue.enter(going)
    recent, skipped = (
        _run("recent", "slow:80", started_before_s=50.0),
        _run("skipped", "slow:80", started_before_s=20.0),
    )
    queue.enter(recent)
    queue.enter(skipped)
    assert queue.leave(going) == [skipped]


def test_a_run_that_somebody_asks_for_goes_first_also_when_it_waited_already() -> None:
    queue = RunQueue(limit=1)
    going, waiting, wanted = _run(), _run(started_before_s=1.0), _run(started_before_s=2.0)
    for run in (going, waiting, wanted):
        queue.enter(run)
    wanted.trigger = "manual"
    queue.promote(wanted)
    assert queue.leave(going) == [wanted]
    assert queue.leave(wanted) == [waiting]


def test_a_run_that_stops_waiting_is_passed_over() -> None:
    queue = RunQueue(limit=1, target_limit=1)
    going, at_target, at_all, last = _run(target="a"), _run(target="a"), _run(target="b"), _run(target="c")
    for run in (going, at_target, at_all, last):
        queue.enter(run)
    assert queue.leave(at_target) == []
    assert queue.leave(at_all) == []
    assert queue.waiting == 1
    assert queue.leave(going) == [last]
    assert queue.leave(last) == []
    assert (queue.in_flight, queue.waiting) == (0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_limits_hold_and_nobody_is_forgotten_whatever_the_order(seed: int) -> None:
    dice = random.Random(seed)
    queue = RunQueue(limit=5, target_limit=2)
    inside: list[Run] = []
    waiting: list[Run] = []
    for _ in range(2000):
        leaving = inside if dice.random() < 0.9 else waiting
        if leaving and dice.random() < 0.5:
            for run in queue.leave(leaving.pop(dice.randrange(len(leaving)))):
                waiting.remove(run)
                inside.append(run)
        else:
            run = _run(target=dice.choice(["", "a", "b", "c"]), started_before_s=dice.random())
            (inside if queue.enter(run) else waiting).append(run)
        assert queue.in_flight == len(inside) <= 5
        assert queue.waiting == len(waiting)
        assert all(sum(run.target == target for run in inside) <= 2 for target in "abc")
    while inside:
        for run in queue.leave(inside.pop()):
            waiting.remove(run)
            inside.append(run)
    assert not waiting


@pytest.mark.parametrize(
    ("probe", "target"),
    [
        (FakeProbe(url="https://shop.example.net/health"), "shop.example.net:https"),
        (FakeProbe(url="http://shop.example.net:8080/"), "shop.example.net:8080"),
        (Tcp(host="db.internal", port=5432), "db.internal:5432"),
        (Host(what="load"), ""),
    ],
)
def test_the_target_is_read_from_the_options(probe: Probe, target: str) -> None:
    assert target_of(probe) == target
