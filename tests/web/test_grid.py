"""The slots of a period: they hold all of it, stand still while time goes on, and are days where days are meant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf
from zoneinfo import ZoneInfo

import pytest
from fakes import NOW
from hypothesis import given
from hypothesis import strategies as st

from dashboard.model import Retention
from dashboard.web.grid import WEEK_S, grid, shortest_kept_s
from dashboard.web.period import PRESETS, Period, preset

PRAGUE = ZoneInfo("Europe/Prague")
periods = st.builds(
    lambda start_s, length_s: Period(
        name="custom",
        start_at=datetime.fromtimestamp(start_s, UTC),
        end_at=datetime.fromtimestamp(start_s + length_s, UTC),
    ),
    st.floats(-6e8, 3.7e9),
    st.floats(1, 60 * 366 * 86400),
)


@given(periods, st.integers(10, 750), st.sampled_from([0.0, 300.0, 3600.0, 86400.0, 864000.0]))
def test_slots_hold_the_period_and_are_not_more_than_asked_for(period, most, shortest_s):
    found = grid(period, PRAGUE, most=most, shortest_s=shortest_s)
    edges_s = found.edges_s
    assert all(before < after for before, after in pairwise(edges_s))
    assert edges_s[0] <= period.start_at.timestamp() < edges_s[1]
    assert edges_s[-1] == period.end_at.timestamp()
    assert found.count <= most + 2
    assert found.length_s >= shortest_s


@pytest.mark.parametrize("name", PRESETS)
def test_slots_stand_still_while_time_goes_on(name):
    earlier, later = (
        grid(preset(name, NOW + timedelta(seconds=more), PRAGUE), PRAGUE, most=750, shortest_s=300.0) for more in (0, 7)
    )
    assert set(earlier.edges_s[1:-1]) <= set(later.edges_s)


@pytest.mark.parametrize(
    ("name", "length_s"), [("24h", 300), ("7d", 900), ("30d", 3600), ("90d", 10_800), ("1y", 43_200)]
)
def test_a_chart_of_a_preset_has_at_most_750_slots(name, length_s):
    found = grid(preset(name, NOW, PRAGUE), PRAGUE, most=750, shortest_s=300.0)
    assert (found.length_s, found.count <= 732) == (length_s, True)
    assert {after - before for before, after in pairwise(found.edges_s)} == {length_s}
    assert all(edge_s % length_s == 0 for edge_s in found.edges_s)


def test_days_begin_at_the_zone_s_midnights_and_have_23_or_25_hours_where_clocks_change():
    found = grid(preset("1y", NOW, PRAGUE), PRAGUE, most=400)
    local = [datetime.fromtimestamp(edge_s, PRAGUE) for edge_s in found.edges_s]
    assert {f"{each:%H:%M}" for each in local} == {"00:00"}
    hours = [(after - before) / 3600 for before, after in pairwise(found.edges_s)]
    assert (found.count, hours.count(23), hours.count(25), set(hours)) == (365, 1, 1, {23, 24, 25})


def test_weeks_begin_on_mondays():
    found = grid(preset("1y", NOW, PRAGUE), PRAGUE, most=60)
    assert found.length_s == WEEK_S
    assert {datetime.fromtimestamp(edge_s, PRAGUE).weekday() for edge_s in found.edges_s} == {0}


@pytest.mark.parametrize(
    ("days", "shortest_s"), [(29, 0), (31, 300), (89, 300), (91, 3600), (729, 3600), (731, 86_400), (9000, 86_400)]
)
def test_slots_are_never_shorter_than_what_is_kept_of_their_age(days, shortest_s):
    period = Period(name="custom", start_at=NOW - timedelta(days=days), end_at=NOW)
    assert shortest_kept_s(period, Retention(), NOW) == shortest_s
    assert shortest_kept_s(period, Retention(raw_s=inf), NOW) == 0
