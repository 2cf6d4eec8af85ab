"""The range of a page: what the URL may ask for, and what it is told when it asks for nonsense."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from fakes import NOW

from dashboard.errors import BadRequest
from dashboard.web.period import parse, preset

PRAGUE = ZoneInfo("Europe/Prague")


def asked(**params: str):
    params = {name.rstrip("_"): value for name, value in params.items()}
    return parse(params, now=NOW, zone=PRAGUE)


@pytest.mark.parametrize(
    ("params", "hours"), [({}, 24), ({"range": "24h"}, 24), ({"range": "1h"}, 1), ({"from_": "", "to": " "}, 24)]
)
def test_a_preset_ends_now(params, hours):
    period = asked(**params)
    assert (period.start_at, period.end_at, period.is_live) == (NOW - timedelta(hours=hours), NOW, True)


def test_a_time_without_an_offset_is_one_of_the_page_s_zone():
    period = asked(from_="2026-11-24T09:00", to="2026-11-24T10:30")
    assert period.start_at == datetime(2026, 11, 24, 8, tzinfo=UTC)
    assert period.end_at == datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    assert not period.is_live


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24T09:00:00+01:00",
        "2026-11-24T09:00:00 01:00",
        "2026-11-24T09:00 01:00",
        "2026-11-24 09:00:00+01:00",
        "2026-11-24T08:00Z",
    ],
)
def test_an_offset_counts_even_where_a_url_turned_its_plus_into_a_space(text):
    assert asked(from_=text).start_at == datetime(2026, 11, 24, 8, tzinfo=UTC)


def test_an_end_that_lies_ahead_or_is_missing_is_now():
    assert asked(from_="2026-11-24T09:00", to="2027-01-01T00:00").end_at == NOW
    assert asked(from_="2026-11-24T09:00").end_at == NOW


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"range": "9y"}, "range: must be 1h, 24h, 7d, 30d, 90d or 1y, got '9y'"),
        ({"from_": "yesterday"}, "from: 'yesterday' is not a time; write ISO 8601"),
        ({"from_": "2026-11-24T09:00", "to": "noon"}, "to: 'noon' is not a time"),
        ({"from_": "0001-01-01T00:00"}, "from: '0001-01-01T00:00' is not a time"),
        ({"to": "2026-11-24T09:00"}, "from: is missing"),
        (
            {"from_": "2026-11-24T10:00", "to": "2026-11-24T09:00"},
            "from: must lie before to, 2026-11-24 09:00:00 +01:00",
        ),
        ({"from_": "2027-01-01T00:00"}, "from: must lie before now, 2026-11-24 14:25:08 +01:00"),
    ],
)
def test_nonsense_is_named_with_the_way_out(params, words):
    with pytest.raises(BadRequest) as refusal:
        asked(**params)
    assert str(refusal.value).startswith(words)


@pytest.mark.parametrize(
    ("name", "start", "slots"),
    [
        ("7d", "2026-11-17T15:00:00+01:00", 7 * 24),
        ("30d", "2026-10-25T15:00:00+01:00", 30 * 24),
        ("90d", "2026-08-27T00:00:00+02:00", 90),
        ("1y", "2025-11-25T00:00:00+01:00", 365),
    ],
)
def test_a_long_preset_counts_the_hour_or_day_that_still_runs_as_its_last(name, start, slots):
    period = preset(name, NOW, PRAGUE)
    assert period.start_at == datetime.fromisoformat(start)
    assert period.is_live
    assert period.is_long
    one_s = 3600 if name in ("7d", "30d") else 86400
    assert slots - 1 < period.length_s / one_s < slots + 1 / 24 + 0.01  # one day of a quarter may have 25 hours


def test_a_range_of_years_is_drawn_like_any_other():
    assert asked(from_="2019-01-01T00:00").length_s > 7 * 365 * 86400


@pytest.mark.parametrize(
    "params", [{}, {"range": "1h"}, {"range": "1y"}, {"from": "2026-11-24T09:00:05", "to": "2026-11-24T10:30"}]
)
def test_the_url_of_a_period_gives_it_again(params):
    period = parse(params, now=NOW, zone=PRAGUE)
    assert parse(period.query(PRAGUE), now=NOW, zone=PRAGUE) == period


def test_the_key_of_a_live_period_stays_while_time_goes_on_and_that_of_a_fixed_one_is_its_own():
    assert preset("1h", NOW).key == preset("1h", NOW + timedelta(seconds=10)).key
    fixed = [asked(from_=f"2026-11-24T0{hour}:00", to="2026-11-24T10:00").key for hour in (8, 9)]
    assert fixed[0] != fixed[1]
