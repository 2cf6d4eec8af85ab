"""The grid of a check: spread, stable, and past any gap in one step."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.prober.grid import Grid, spread_s

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
instants = st.timedeltas(timedelta(days=-9000), timedelta(days=9000)).map(lambda distance: NOON + distance)
intervals = st.sampled_from([0.1, 1.0, 7.0, 10.0, 30.0, 3600.0, 86400.0])


def test_the_phase_is_the_crc32_of_the_id_modulo_the_interval() -> None:
    grid = Grid.of("shop", 10.0)
    assert grid.phase_us == zlib.crc32(b"shop") % 10_000 * 1000
    assert grid.every_us == 10_000_000


@given(st.text(), intervals, instants)
def test_the_next_instant_is_on_the_grid_and_at_most_one_interval_away(
    check_id: str, every_s: float, at: datetime
) -> None:
    grid = Grid.of(check_id, every_s)
    following = grid.after(at)
    assert timedelta(0) < following - at <= timedelta(seconds=every_s)
    assert grid.after(following) - following == timedelta(seconds=every_s)


@given(st.text(), intervals, instants, st.floats(0, 1e7))
def test_a_long_gap_is_left_behind_in_one_step(check_id: str, every_s: float, at: datetime, gap_s: float) -> None:
    grid = Grid.of(check_id, every_s)
    due, now = grid.after(at), grid.after(at) + timedelta(seconds=gap_s)
    assert now < grid.follows(due, now) <= now + timedelta(seconds=every_s)


@pytest.mark.parametrize(("after_the_run_s", "gap_s"), [(0.001, 10.001), (4.9, 14.9), (5.1, 5.1), (9.9, 9.9)])
def test_an_extra_run_at_the_start_stands_for_a_grid_instant_that_follows_at_once(
    after_the_run_s: float, gap_s: float
) -> None:
    grid = Grid.of("shop", 10.0)
    started = grid.after(NOON) - timedelta(seconds=after_the_run_s)
    assert grid.follows(started, started) - started == timedelta(seconds=gap_s)


def test_checks_are_spread_evenly_over_their_interval() -> None:
    tenths = [Grid.of(f"check-{number}", 10.0).phase_us // 1_000_000 for number in range(1000)]
    assert all(60 <= tenths.count(tenth) <= 140 for tenth in range(10))


def test_starts_are_spread_within_the_given_time() -> None:
    places = [spread_s(f"check-{number}", 2.0) for number in range(500)]
    assert 0 <= min(places) < 0.1
    assert 1.9 < max(places) < 2.0
