"""The prober judges itself by what it knows of its lateness and its skipped runs."""

import asyncio
from collections.abc import Iterator

import pytest
from local_context import LocalContext, Threads

from checks.base import ProberHealth, Reading, Status
from checks.prober import Prober


@pytest.fixture
def context() -> Iterator[LocalContext]:
    threads = Threads(1)
    yield LocalContext(threads)
    threads.close()


def look(context: LocalContext, **health: float) -> Reading:
    context.health = ProberHealth(**health)  # type: ignore[arg-type]
    return asyncio.run(Prober().run(context))


def test_a_prober_in_time_is_ok_and_says_how_late_it_is(context: LocalContext) -> None:
    reading = look(
        context, fires_per_s=12.5, lateness_p50_s=0.0008, lateness_p99_s=0.004, checks=40, in_flight=3, queued=1
    )
    assert reading.status is Status.OK
    assert reading.summary == "12.5 runs/s of 40 checks, 99 % of them at most 4.0 ms late"
    assert {(metric.name, metric.value, metric.unit) for metric in reading.metrics} == {
        ("lateness_p50", 0.0008, "s"),
        ("lateness_p99", 0.004, "s"),
        ("fires", 12.5, "/s"),
        ("in_flight", 3, ""),
        ("queued", 1, ""),
        ("skipped", 0, ""),
    }


def test_a_prober_without_runs_yet_claims_nothing(context: LocalContext) -> None:
    assert look(context, checks=3).summary == "No run of 3 checks in the last 30 s"


@pytest.mark.parametrize(("late_s", "status"), [(0.5, Status.OK), (0.501, Status.WARNING)])
def test_more_than_half_a_second_late_is_overloaded(context: LocalContext, late_s: float, status: Status) -> None:
    assert look(context, lateness_p99_s=late_s).status is status


def test_skipped_runs_warn_once_for_each_run_they_happened_in(context: LocalContext) -> None:
    assert look(context, skipped=0).status is Status.OK
    reading = look(context, skipped=3)
    assert reading.status is Status.WARNING
    assert reading.summary.startswith("prober overloaded: 3 runs were skipped since the last look")
    assert look(context, skipped=3).status is Status.OK
    assert "1 run was skipped" in look(context, skipped=4).summary


def test_a_count_that_began_again_counts_from_zero(context: LocalContext) -> None:
    look(context, skipped=9)
    assert "2 runs were skipped" in look(context, skipped=2).summary


def test_the_headline_is_one_of_its_metrics(context: LocalContext) -> None:
    assert Prober().headline in {metric.name for metric in look(context).metrics}
