"""What a page says of a check's past is what its results say: figures, cells and rollups agree."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from fakes import NOW, FakeClock, FakeServices, as_columns, make_check, make_result

from checks.base import Status
from dashboard.engine.quarter import Quarters
from dashboard.model import Retention, Schedule
from dashboard.rollup import fold
from dashboard.uptime import spans, uptime
from dashboard.web.past import Past
from dashboard.web.period import Period, preset

PRAGUE = ZoneInfo("Europe/Prague")


@pytest.fixture
def services() -> FakeServices:
    """100 days of an hourly check with something of everything in it, and two gaps."""
    rows = [
        make_result("api", NOW - timedelta(hours=hour), Status(hour * 7919 % 97 % 4), covers_s=4000)
        for hour in range(2400, -1, -1)
        if not 300 < hour < 340 and hour % 501
    ]
    return FakeServices([make_check()], rows)


@pytest.fixture
def past(services: FakeServices) -> Past:
    view = services.board.check("api")
    return Past(history=services.history, view=view, retention=Retention(), now=NOW, zone=PRAGUE)


@pytest.mark.parametrize("name", ["1h", "24h", "7d", "30d", "90d", "1y"])
def test_the_uptime_of_a_preset_is_that_of_its_results(services, past, name):
    columns, period = as_columns(services.history.rows), preset(name, NOW, PRAGUE)
    found = spans(columns.at_s, columns.covers_s, columns.statuses, until_s=NOW.timestamp())
    expected = uptime(found, period.start_at, NOW)
    one, several = past.uptime(period), past.uptimes({name: period, "90d": preset("90d", NOW, PRAGUE)})[name]
    for told in (one, several):
        assert told.ratio == pytest.approx(expected.ratio)
        assert told.coverage_ratio == pytest.approx(expected.coverage_ratio)
        assert told.critical_s == pytest.approx(expected.critical_s)


def test_90_days_are_the_same_on_the_overview_and_on_the_check_s_page(services, past):
    view = services.board.check("api")
    overview = Quarters(services.history, FakeClock()).look(NOW, PRAGUE).of(view)
    page = past.uptimes({"90d": preset("90d", NOW, PRAGUE)})["90d"]
    assert (page.start_at, page.end_at) == (overview.uptime.start_at, overview.uptime.end_at)
    assert page.critical_s == pytest.approx(overview.uptime.critical_s)
    assert page.ok_s == pytest.approx(overview.uptime.ok_s)
    assert [cell.critical_s for cell in past.cells(preset("90d", NOW, PRAGUE))] == pytest.approx(
        [cell.critical_s for cell in overview.slots]
    )


def point_of(services: FakeServices, every_s: float, **span: float) -> str:
    """What a point of a chart over the span stands for, for a check that runs so often."""
    check = make_check(schedule=Schedule(every_s=every_s, timeout_s=5.0))
    view = replace(services.board.check("api"), check=check)
    past = Past(history=services.history, view=view, retention=Retention(), now=NOW, zone=PRAGUE)
    return past.point(Period(name="custom", start_at=NOW - timedelta(**span), end_at=NOW)).replace("\u00a0", " ")


def test_results_are_drawn_where_they_are_few_and_kept_and_slots_elsewhere(services):
    assert point_of(services, 1.0, hours=1) == "each result"
    assert point_of(services, 10.0, hours=11) == "each result"
    assert point_of(services, 10.0, hours=12) == "5 m a point"
    assert point_of(services, 3600.0, days=29) == "each result"
    assert point_of(services, 3600.0, days=31) == "1 h a point"  # single results are no longer kept


def test_a_few_hours_of_a_check_that_runs_every_second_have_more_than_a_point_in_5_minutes(services):
    assert point_of(services, 1.0, hours=2) == "10 s a point"
    assert point_of(services, 1.0, hours=5) == "30 s a point"
    assert point_of(services, 1.0, hours=24) == "5 m a point"


def test_slots_below_5_minutes_are_what_a_store_would_answer_maintenance_included():
    rows = [
        make_result("api", NOW - timedelta(seconds=10 * index), Status(index % 97 % 4)) for index in range(700, 0, -1)
    ]
    services = FakeServices([make_check()], [row for row in rows if row.at.minute != 50])
    columns = as_columns(services.history.rows)
    window = (NOW.replace(minute=2, second=0).timestamp(), NOW.replace(minute=19, second=0).timestamp())

    def rollups(check_id, edges_s, *, now_s=None, metrics=None):
        return fold(columns, edges_s, now_s=now_s, windows=[window], wanted=metrics)

    services.history.rollups = rollups
    view = services.board.check("api")
    past = Past(history=services.history, view=view, retention=Retention(), now=NOW, zone=PRAGUE)
    measured = past.measured(preset("1h", NOW))
    edges_s = [each.start_s for each in measured.slots] + [measured.slots[-1].end_s]
    for mine, theirs in zip(measured.slots, rollups("api", edges_s, now_s=NOW.timestamp()), strict=True):
        assert mine.seconds == pytest.approx(theirs.seconds)
        assert mine.runs == theirs.runs
    assert sum(cell.maintenance_s for cell in past.cells(preset("1h", NOW))) == 17 * 60
