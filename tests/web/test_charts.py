"""Figures: nothing measured is drawn away, nothing unmeasured is drawn, and no figure grows past what a screen can show."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import nan
from zoneinfo import ZoneInfo

import orjson
import pytest
from fakes import NOW, FakeServices, make_check, make_result
from hypothesis import given
from hypothesis import strategies as st

from checks.base import Status, Threshold, Thresholds
from dashboard.web.charts import LARGEST_POINTS, figures, points
from dashboard.web.period import Period, preset

SECONDS = dict.fromkeys(("response_time", "dns", "connect", "tls", "first_byte", "transfer"), "s")
HOUR_AGO = NOW - timedelta(hours=1)


def drawn(rows, *, period: Period | None = None, zone=UTC, units=None, **more):
    """The figures of these results, as a browser reads them."""
    period = period or preset("1h", NOW)
    columns = FakeServices([make_check()], list(rows)).history.series("api", period.start_at, period.end_at)
    body = figures(columns, period=period, zone=zone, units=units if units is not None else SECONDS, **more)
    return orjson.loads(body)


def every(step_s: float, count: int, start_at: datetime = HOUR_AGO, **changes):
    """`count` results in a row; a callable makes a field from the row's number."""
    for index in range(count):
        made = {name: value(index) if callable(value) else value for name, value in changes.items()}
        yield make_result("api", start_at + timedelta(seconds=index * step_s), **made)


def test_a_line_breaks_where_nothing_was_measured_and_each_end_says_how_far_its_value_holds():
    x, y = points([1.0, 2.0, 3.0], [0.0, 10.0, 100.0], [20.0, 20.0, 20.0], until_s=110.0)
    assert x == [0.0, 10.0, 30.0, None, 100.0, 110.0, None]
    assert y == [1.0, 2.0, 2.0, None, 3.0, 3.0, None]


def test_a_row_that_lacks_the_metric_breaks_its_line_when_the_row_came():
    x, y = points([1.0, nan, 3.0], [0.0, 10.0, 20.0], [20.0, 20.0, 20.0], until_s=100.0)
    assert x == [0.0, 10.0, None, 20.0, 40.0, None]
    assert y == [1.0, 1.0, None, 3.0, 3.0, None]


def test_a_clock_set_back_never_draws_a_line_backwards():
    x, _ = points([1.0, 2.0, 3.0, 4.0], [0.0, 50.0, 40.0, 60.0], [70.0] * 4, until_s=200.0)
    times = [at for at in x if at is not None]
    assert times == sorted(times)
    assert 40.0 not in times


@given(st.lists(st.tuples(st.floats(0.1, 1e6), st.floats(0.5, 500), st.booleans()), max_size=6000), st.randoms())
def test_however_many_rows_a_trace_stays_small_and_keeps_the_lowest_and_the_highest(rows, dice):
    rows = rows * dice.choice([1, 1, 20])
    values = [value if has_value else nan for value, _, has_value in rows]
    at_s = [0.0]
    for _, step_s, _ in rows[1:]:
        at_s.append(at_s[-1] + step_s)
    x, y = points(values, at_s[: len(values)], [100.0] * len(values), until_s=1e12)
    assert len(x) == len(y) <= LARGEST_POINTS
    seen, given_values = [each for each in y if each is not None], [each for each in values if each == each]
    assert bool(seen) == bool(given_values)
    if seen:
        assert (min(seen), max(seen)) == (min(given_values), max(given_values))
    times = [at for at in x if at is not None]
    assert times == sorted(times)


def test_a_day_of_a_10_s_check_keeps_its_one_slow_run_and_stays_below_1500_points_a_trace():
    slow = {"response_time": 4.2, "dns": 0.1, "connect": 0.1, "tls": 3.9, "first_byte": 0.05, "transfer": 0.05}
    usual = {"response_time": 0.15, "dns": 0.01, "connect": 0.02, "tls": 0.04, "first_byte": 0.07, "transfer": 0.01}
    rows = every(
        10,
        8640,
        NOW - timedelta(hours=24),
        metrics=lambda index: slow if index == 5000 else usual | {"response_time": 0.15 + index % 7 / 1000},
    )
    found = drawn(rows, period=preset("24h", NOW))
    assert max(len(trace["x"]) for figure in found.values() for trace in figure["data"]) <= LARGEST_POINTS
    [line] = found["response"]["data"]
    assert max(value for value in line["y"] if value is not None) == 4.2
    assert len(line["y"]) > 700


def test_no_figure_names_a_colour():
    limits = {"response_time": Thresholds(warning=Threshold.parse("0.5"), critical=Threshold.parse("2"))}
    rows = list(
        every(10, 300, status=lambda index: Status(index % 4), metrics={"response_time": 0.3, "dns": 0.1, "tls": 0.2})
    )
    text = orjson.dumps(drawn(rows, thresholds=limits)).decode()
    assert not re.search(r"color|#[0-9a-fA-F]{3,8}\b|rgb|hsl", text)


def test_response_time_is_drawn_with_its_limits_in_the_unit_that_reads_best():
    limits = {"response_time": Thresholds(warning=Threshold.parse("0.5"), critical=Threshold.parse("@1:2"))}
    figure = drawn(every(10, 9, metrics={"response_time": 0.25}), thresholds=limits)["response"]
    assert figure["data"][0]["y"][0] == 250
    assert figure["layout"]["yaxis"]["ticksuffix"] == "\u00a0ms"
    assert [(shape["name"], shape["y0"]) for shape in figure["layout"]["shapes"]] == [
        ("warning", 500),
        ("critical", 1000),
        ("critical", 2000),
    ]


def test_phases_stack_their_medians_in_order_and_an_empty_slot_has_no_bar():
    rows = [
        *every(10, 30, metrics={"response_time": 0.1, "tls": 0.07, "dns": 0.03}),
        *every(10, 30, NOW - timedelta(minutes=5), metrics={"response_time": 0.1, "tls": 0.07, "dns": 0.03}),
    ]
    found = drawn(rows)["phases"]
    assert [(trace["name"], trace["meta"]) for trace in found["data"]] == [
        ("DNS", {"role": "part", "step": 0}),
        ("TLS", {"role": "part", "step": 1}),
    ]
    assert set(found["data"][0]["y"]) == {30}
    assert found["layout"]["barmode"] == "stack"
    minutes = {(at - int(HOUR_AGO.timestamp()) * 1000) // 60000 for at in found["data"][0]["x"]}
    assert minutes == {0, 1, 2, 3, 4, 55, 56, 57, 58, 59}


def test_metrics_of_one_unit_share_a_chart_and_every_metric_is_drawn():
    metrics = {"percent": 40.0, "used": 4e9, "available": 6e9, "load1": 1.5, "uptime": 400_000.0}
    units = {"percent": "%", "used": "B", "available": "B", "uptime": "s"}
    found = drawn(every(10, 5, metrics=metrics), units=units, headline="percent")
    titles = {key: [trace["name"] for trace in figure["data"]] for key, figure in found.items() if key != "status"}
    assert list(titles.values()) == [["percent"], ["load1"], ["available", "used"], ["uptime"]]
    assert found["B-0"]["data"][0]["y"][0] == 6
    assert found["B-0"]["layout"]["yaxis"]["ticksuffix"] == "\u00a0GB"
    assert found["s-0"]["layout"]["yaxis"]["ticksuffix"] == "\u00a0d"


def test_many_metrics_of_one_unit_are_spread_over_charts_of_six_lines():
    found = drawn(every(10, 3, metrics={f"m{index:02}": 1.0 for index in range(14)}), units={})
    assert [len(figure["data"]) for key, figure in found.items() if key != "status"] == [6, 6, 2]


def test_results_without_metrics_show_how_long_they_took():
    found = drawn(every(10, 3, duration_s=0.75))
    assert found["duration"]["data"][0]["y"][:3] == [750, 750, 750]


def test_what_a_plugin_calls_its_metrics_is_never_read_as_markup():
    found = drawn(every(10, 3, metrics={"<b>&%{x}": 1.0}), units={"<b>&%{x}": "<i>%{y}"})
    [figure] = [figure for key, figure in found.items() if key != "status"]
    assert figure["data"][0]["name"] == "&lt;b&gt;&amp;%{x}"
    assert "<i>" not in figure["data"][0]["hovertemplate"]
    assert "%{y}" not in figure["data"][0]["hovertemplate"]


def test_the_status_band_is_as_tall_as_the_status_is_bad_and_marks_what_was_not_measured():
    def status(index: int) -> Status:
        return Status.CRITICAL if 60 <= index < 90 else Status.WARNING if index >= 150 else Status.OK

    found = drawn(every(10, 180, status=status))["status"]
    bars = {trace["name"]: trace for trace in found["data"]}
    assert list(bars) == ["not measured", "ok", "warning", "critical"]
    assert {name: set(trace["y"]) for name, trace in bars.items()} == {
        "ok": {0.35},
        "warning": {0.65},
        "critical": {1.0},
        "not measured": {1.0},
    }
    assert sum(len(trace["x"]) for trace in bars.values()) == 144
    assert len(bars["not measured"]["x"]) == pytest.approx(72, abs=2)  # the half hour that nobody measured


def test_the_little_that_was_measured_just_after_a_start_stands_before_the_hatch():
    found = drawn(every(10, 12, start_at=NOW - timedelta(minutes=2)), period=preset("24h", NOW))["status"]
    bars = {trace["name"]: trace for trace in found["data"]}
    assert (len(bars["not measured"]["x"]), bars["ok"]["y"]) == (144, [0.35])
    assert bars["ok"]["x"] == bars["not measured"]["x"][-1:]


def test_unknown_time_is_never_drawn_as_ok():
    found = drawn(every(10, 360, status=Status.UNKNOWN))["status"]
    assert [trace["name"] for trace in found["data"]] == ["not measured"]


def test_times_are_those_of_the_zone_and_the_range_is_the_whole_period():
    prague = ZoneInfo("Europe/Prague")
    [line] = drawn(every(10, 3, metrics={"response_time": 0.1}), zone=prague)["response"]["data"]
    assert datetime.fromtimestamp(line["x"][0] / 1000, UTC).replace(tzinfo=None) == HOUR_AGO.astimezone(prague).replace(
        tzinfo=None
    )
    axis = drawn([], zone=prague)["status"]["layout"]["xaxis"]
    assert axis["range"][1] - axis["range"][0] == 3600 * 1000


def test_a_night_with_a_clock_change_stays_in_order():
    prague, change_at = ZoneInfo("Europe/Prague"), datetime(2026, 10, 25, 1, tzinfo=UTC)
    period = Period(name="custom", start_at=change_at - timedelta(hours=2), end_at=change_at + timedelta(hours=2))
    rows = every(60, 240, period.start_at, metrics={"response_time": 0.1}, covers_s=100.0)
    [line] = drawn(rows, period=period, zone=prague)["response"]["data"]
    times = [at for at in line["x"] if at is not None]
    assert times == sorted(times)
    assert len(set(times)) == len(times)


def test_a_viewer_keeps_the_zoom_as_long_as_the_range_is_the_same():
    earlier, later = drawn([]), drawn([], period=preset("1h", NOW + timedelta(minutes=1)))
    other = drawn([], period=replace(preset("1h", NOW), name="custom"))
    revisions = [found["status"]["layout"]["uirevision"] for found in (earlier, later, other)]
    assert revisions[0] == revisions[1] != revisions[2]
