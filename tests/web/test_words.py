"""Words: what a number, a time and a reason look like."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from fakes import NOW, make_check, make_result, view_of

from checks.base import Status
from dashboard.model import BrokenCheck, Uptime
from dashboard.web import words

PRAGUE = ZoneInfo("Europe/Prague")


def plain(text: str) -> str:
    return text.replace(words.NBSP, " ").replace("\u202f", "'")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 m"),
        (3599, "59 m"),
        (3600, "1 h 00 m"),
        (11_040, "3 h 04 m"),
        (86_399, "23 h 59 m"),
        (86_400, "1 d 0 h"),
        (6 * 86_400 + 7200, "6 d 2 h"),
        (7 * 86_400, "7 d"),
        (4000 * 86_400, "4000 d"),
    ],
)
def test_a_span_has_at_most_two_units(seconds, text):
    assert plain(words.span(seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "500 ms"), (1, "1 s"), (1.5, "1.5 s"), (90, "90 s"), (300, "5 m"), (3600, "1 h"), (172_800, "2 d")],
)
def test_an_interval_reads_as_it_was_configured(seconds, text):
    assert plain(words.every(seconds)) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.000042, "s", "0.042 ms"),
        (0.147, "s", "147 ms"),
        (0.9994, "s", "999 ms"),
        (0.9996, "s", "1.00 s"),
        (1.921, "s", "1.92 s"),
        (5.01, "s", "5.01 s"),
        (12.34, "s", "12.3 s"),
        (3600, "s", "1 h 00 m"),
        (8_100_000_000, "B", "8.1 GB"),
        (999, "B", "999 B"),
        (3_400_000, "B/s", "3.4 MB/s"),
        (91, "%", "91 %"),
        (90.55, "%", "90.5 %"),
        (12.9, "d", "12 d"),
        (-0.5, "d", "-1 d"),
        (18, "", "18"),
        (12480.4, "", "12'480"),
        (-1.5e300, "", "-1.5e+300"),
        (0.5, "/s", "0.50 /s"),
        (float("nan"), "s", "–"),
        (float("inf"), "B", "–"),
    ],
)
def test_a_metric_reads_in_its_unit(value, unit, text):
    assert plain(words.measure(value, unit)) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (None, "–"),
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.999999, "99.99 %"),
        (0.99995, "99.99 %"),
        (0.9971, "99.71 %"),
        (0.5, "50.00 %"),
        (0.00001, "0 %"),
    ],
)
def test_a_percent_is_never_rounded_up(ratio, text):
    assert plain(words.percent(ratio)) == text


def test_coverage_owns_up_to_what_was_not_measured():
    day = Uptime(
        start_at=NOW - timedelta(days=1), end_at=NOW, ok_s=43_000, warning_s=0, critical_s=200, unmeasured_s=43_200
    )
    assert plain(words.coverage(day)) == "99.53 % up, 50.00 % measured"
    assert words.coverage(replace(day, ok_s=0, critical_s=0)) == "not measured"


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 11, 24, 13, 14, tzinfo=UTC), "14:14"),
        (datetime(2026, 11, 23, 22, 30, tzinfo=UTC), "Mon 23:30"),
        (datetime(2026, 11, 23, 23, 30, tzinfo=UTC), "00:30"),
        (datetime(2026, 11, 3, 8, 5, tzinfo=UTC), "3 Nov 09:05"),
        (datetime(2025, 7, 3, 8, 5, tzinfo=UTC), "3 Jul 2025 10:05"),
        (datetime(2026, 11, 25, 8, 5, tzinfo=UTC), "25 Nov 09:05"),
    ],
)
def test_a_time_is_as_short_as_it_stays_clear(at, text):
    assert words.time_of_day(at, PRAGUE, NOW) == text


def test_zone_and_offset_are_named():
    assert words.moment(NOW, PRAGUE) == "2026-11-24 14:25:08 +01:00"
    assert words.moment(NOW, ZoneInfo("America/St_Johns")) == "2026-11-24 09:55:08 -03:30"
    assert words.clock(NOW, PRAGUE) == "Tue 24 Nov 14:25:08"
    assert words.place(PRAGUE, NOW) == "Prague, UTC+01:00"
    assert words.place(ZoneInfo("America/St_Johns"), NOW) == "St Johns, UTC-03:30"
    assert words.place(ZoneInfo("UTC"), NOW) == "UTC"


def test_names_are_listed_as_in_a_sentence():
    assert words.listed([]) == ""
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert plain(words.plural(1, "check") + words.plural(2, "check")) == "1 check2 checks"


def test_a_problem_is_what_calls_for_attention():
    broken = view_of(BrokenCheck(id="b", name="b", type="http", fault="no PAY_TOKEN"), [])
    critical = [make_result(status=Status.CRITICAL)]
    assert words.is_problem(view_of(make_check(), critical))
    assert not words.is_problem(view_of(make_check(paused=True), critical))
    assert not words.is_problem(view_of(make_check(), [make_result()]))
    assert not words.is_problem(view_of(make_check(), []))
    assert words.is_problem(broken)
    assert (words.kind(broken), words.status(broken)) == ("broken", "config error")


def test_every_check_gives_its_reason():
    late = view_of(make_check(), [make_result(at=NOW - timedelta(minutes=11))], is_overdue=True, shown=Status.UNKNOWN)
    cases = {
        "no PAY_TOKEN": view_of(BrokenCheck(id="b", name="b", type="http", fault="no PAY_TOKEN"), []),
        "not scheduled while it is paused": view_of(make_check(paused=True), [make_result()]),
        "waiting for its first result, due every 10 s": view_of(make_check(), []),
        "No result since 14:14, expected every 10 s; then: 200 in 184 ms": late,
        "200 in 184 ms": view_of(make_check(), [make_result()]),
    }
    assert {plain(words.reason(view, PRAGUE, NOW)) for view in cases.values()} == set(cases)


def test_the_value_is_the_headline_metric_or_the_duration():
    measured = view_of(make_check(), [make_result(metrics={"response_time": 0.2})])
    assert plain(words.value(measured)) == "200 ms"
    assert plain(words.value(view_of(make_check(), [make_result()]))) == "184 ms"
    assert words.value(view_of(make_check(), [])) == words.NONE
    assert words.value(replace(measured, is_overdue=True)) == words.NONE
