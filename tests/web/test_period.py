"""The range of a page: what the URL may ask for, and what it is told when it asks for nonsense."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from fakes import NOW

from dashboard.errors import BadRequest
from dashboard.web.period import parse, preset

PRAGUE = ZoneInfo("Europe/Prague")


def asked(every_s: float = 10.0, **params: str):
    params = {name.rstrip("_"): value for name, value in params.items()}
    return parse(params, now=NOW, zone=PRAGUE, every_s=every_s)


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
        ({"range": "9y"}, "range: must be 1h or 24h, got '9y'"),
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


def test_a_range_with_more_results_than_can_be_drawn_is_refused_and_says_how_much_may_be():
    assert asked(every_s=10.0, from_="2026-10-25T14:30").length_s > 29 * 86400
    with pytest.raises(BadRequest) as refusal:
        asked(every_s=1.0, from_="2026-10-25T14:30")
    assert "every 1 s; choose at most 3 d 11 h, or export it" in str(refusal.value).replace("\u00a0", " ")


@pytest.mark.parametrize("params", [{}, {"range": "1h"}, {"from": "2026-11-24T09:00:05", "to": "2026-11-24T10:30"}])
def test_the_url_of_a_period_gives_it_again(params):
    period = parse(params, now=NOW, zone=PRAGUE)
    assert parse(period.query(PRAGUE), now=NOW, zone=PRAGUE) == period


def test_the_key_of_a_live_period_stays_while_time_goes_on_and_that_of_a_fixed_one_is_its_own():
    assert preset("1h", NOW).key == preset("1h", NOW + timedelta(seconds=10)).key
    fixed = [asked(from_=f"2026-11-24T0{hour}:00", to="2026-11-24T10:00").key for hour in (8, 9)]
    assert fixed[0] != fixed[1]
