"""Figures: nothing measured is drawn away, nothing unmeasured is drawn, and no figure grows past what a screen can show."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import nan
from zoneinfo import ZoneInfo

import orjson
import pytest
from fakes import NOW, FakeServices, as_columns, make_check, make_result
from hypothesis import given
from hypothesis import strategies as st

from checks.base import Status, Threshold, Thresholds
from dashboard.model import Retention, Schedule
from dashboard.rollup import fold
from dashboard.web.charts import figures
from dashboard.web.lines import LARGEST_POINTS, points
from dashboard.web.past import Past
from dashboard.web.period import Period, preset

SECONDS = dict.fromkeys(("response_time", "dns", "connect", "tls", "first_byte", "transfer"), "s")
HOUR_AGO = NOW - timedelta(hours=1)


def drawn(rows, *, period: Period | None = None, zone=UTC, units=None, every_s=10.0, windows=(), **more):
    """The figures of these results, as a browser reads them."""
    period = period or preset("1h", NOW)
    check = make_check(schedule=Schedule(every_s=every_s, timeout_s=5.0))
    services = FakeServices([check], list(rows))
    if windows:
        columns = as_columns(services.history.rows)
        services.history.rollups = lambda _, edges_s, *, now_s=None, metrics=None: fold(
            columns, edges_s, now_s=now_s, wanted=metrics, windows=windows
        )
    past = Past(history=services.history, view=services.board.check("api"), retention=Retention(), now=NOW, zone=zone)
    body = figures(
        past.measured(period), period=period, zone=zone, units=units if units is not None else SECONDS, **more
    )
    return orjson.loads(body)


def lines(figure) -> list[dict]:
    """The traces of a figure that stand for metrics, without what stands behind them."""
    return [trace for trace in figure["data"] if not trace["meta"]["role"].endswith("-behind")]


def trace(figure, role: str) -> dict:
    [found] = [each for each in figure["data"] if each["meta"]["role"] == role]
    return found


def values(trace) -> list[float]:
    return [value for value in trace["y"] if value is not None]


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


def usual(index: int) -> dict[str, float]:
    return {"response_time": 0.15 + index % 7 / 1000, "dns": 0.01, "connect": 0.02, "tls": 0.04, "first_byte": 0.07}


def test_few_results_are_drawn_one_by_one():
    found = drawn(every(30, 120, metrics=usual, covers_s=50.0), every_s=30)
    [line] = lines(found["response"])
    assert (line["name"], line["meta"]["role"], len(values(line))) == ("response time", "line", 121)


def test_of_many_results_the_median_the_band_p99_and_the_extremes_are_drawn():
    rows = every(10, 8640, NOW - timedelta(hours=24), metrics=usual)
    response = drawn(rows, period=preset("24h", NOW))["response"]
    assert [(each["name"], each["meta"]["role"]) for each in lines(response)] == [
        ("to p95", "band"),
        ("highest", "extreme"),
        ("p99", "p99"),
        ("p95", "p95"),
        ("p50", "p50"),
        ("lowest", "extreme"),
    ]
    assert values(trace(response, "p50")) == pytest.approx([153] * len(values(trace(response, "p50"))), rel=0.03)
    extremes = [each for each in lines(response) if each["meta"]["role"] == "extreme"]
    assert {round(value) for value in values(extremes[0])} == {156}
    assert {round(value) for value in values(extremes[1])} == {150}


@pytest.mark.parametrize("name", ["24h", "7d", "30d", "90d", "1y"])
def test_no_trace_has_more_points_than_a_screen_can_show(name):
    step_s = {"24h": 10, "7d": 60, "30d": 500}.get(name, 900)
    period = preset(name, NOW)
    count = int(period.length_s / step_s)
    found = drawn(
        every(step_s, count, period.start_at, metrics=usual, covers_s=1.5 * step_s), period=period, every_s=step_s
    )
    assert max(len(each["x"]) for figure in found.values() for each in figure["data"]) <= LARGEST_POINTS
    p50 = trace(found["response"], "p50")
    assert len(p50["x"]) > 280
    assert p50["y"].count(None) == 1  # one line without a break


def slow_once(index: int) -> dict[str, float]:
    return usual(index) | ({"response_time": 4.2} if index == 5000 else {})


@pytest.mark.parametrize(("name", "step_s"), [("24h", 10), ("30d", 300), ("90d", 900)])
def test_one_slow_run_in_thousands_survives_and_does_not_flatten_the_rest(name, step_s):
    period = preset(name, NOW)
    rows = every(step_s, int(period.length_s / step_s), period.start_at, metrics=slow_once, covers_s=2 * step_s)
    figure = drawn(rows, period=period, every_s=step_s)["response"]
    unit_s = 0.001 if "ms" in figure["layout"]["yaxis"]["ticksuffix"] else 1
    assert max(max(values(each)) for each in lines(figure)) * unit_s == pytest.approx(4.2)
    assert figure["layout"]["yaxis"]["range"][1] * unit_s < 0.25


def test_a_metric_that_is_often_high_has_all_of_itself_on_the_chart():
    rows = every(10, 8640, NOW - timedelta(hours=24), metrics=lambda index: {"load": float(index % 100)})
    assert "range" not in drawn(rows, period=preset("24h", NOW))["-0"]["layout"]["yaxis"]


def test_slots_break_their_line_where_nothing_was_measured_and_the_gap_is_hatched():
    gap_at = NOW - timedelta(hours=12)
    rows = [
        *every(10, 4000, NOW - timedelta(hours=24), metrics=usual),
        *every(10, 4000, gap_at, metrics=usual),
    ]
    found = drawn(rows, period=preset("24h", NOW))["response"]
    assert trace(found, "p50")["y"].count(None) == 2
    assert trace(found, "band")["y"].count(None) == 2
    gap = trace(found, "gap-behind")
    widths = [width / 3600e3 for width in gap["width"]]
    assert (len(widths), gap["yaxis"]) == (2, "y2")  # between the two, and after the second
    assert widths == pytest.approx([0.88, 0.88], abs=0.15)
    middles = [at for at in trace(found, "p50")["x"] if at is not None]
    assert middles == sorted(middles)


def test_a_slot_alone_is_a_line_as_long_as_it_is():
    rows = every(10, 30, NOW.replace(hour=3, minute=0, second=0), metrics={"response_time": 0.2})
    p50 = trace(drawn(rows, period=preset("24h", NOW))["response"], "p50")
    assert len(values(p50)) == 2
    assert p50["x"][1] - p50["x"][0] == 300_000


def test_failed_runs_are_ticks_and_maintenance_is_shaded():
    def status(index: int) -> Status:
        return Status.CRITICAL if index == 60 else Status.OK

    window = (NOW - timedelta(minutes=30)).timestamp(), (NOW - timedelta(minutes=20)).timestamp()
    found = drawn(every(10, 360, status=status, metrics={"response_time": 0.1}), windows=[window])["response"]
    failed = trace(found, "failed-behind")
    assert len(failed["x"]) == 1
    assert abs(failed["x"][0] / 1000 - HOUR_AGO.timestamp() - 600) <= 10
    shaded = trace(found, "maintenance-behind")
    assert sum(shaded["width"]) == pytest.approx(600_000)
    assert found["layout"]["yaxis"]["overlaying"] == "y2"


def test_several_metrics_of_one_unit_draw_their_medians_over_a_long_time():
    rows = every(10, 8640, NOW - timedelta(hours=24), metrics=lambda index: {"used": 4e9, "free": 6e9 + index % 2})
    found = drawn(rows, period=preset("24h", NOW), units={"used": "B", "free": "B"})["B-0"]
    assert [(each["name"], each["meta"]) for each in lines(found)] == [
        ("free", {"role": "line", "step": 0}),
        ("used", {"role": "line", "step": 1}),
    ]
    assert values(lines(found)[1])[0] == pytest.approx(4, rel=0.02)


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
    assert lines(figure)[0]["y"][0] == 250
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
    minutes = {int((at - HOUR_AGO.timestamp() * 1000) // 60000) for at in found["data"][0]["x"]}
    assert minutes == {0, 1, 2, 3, 4, 55, 56, 57, 58, 59}


def test_the_bars_of_phases_stay_few_over_a_long_time():
    period = preset("90d", NOW)
    rows = every(3600, 90 * 24, period.start_at, metrics=usual, covers_s=7200)
    found = drawn(rows, period=period, every_s=3600)["phases"]
    assert [len(each["x"]) for each in found["data"]] == [180] * 4


def test_metrics_of_one_unit_share_a_chart_and_every_metric_is_drawn():
    metrics = {"percent": 40.0, "used": 4e9, "available": 6e9, "load1": 1.5, "uptime": 400_000.0}
    units = {"percent": "%", "used": "B", "available": "B", "uptime": "s"}
    found = drawn(every(10, 5, metrics=metrics), units=units, headline="percent")
    titles = {key: [each["name"] for each in lines(figure)] for key, figure in found.items() if key != "status"}
    assert list(titles.values()) == [["percent"], ["load1"], ["available", "used"], ["uptime"]]
    assert lines(found["B-0"])[0]["y"][0] == 6
    assert found["B-0"]["layout"]["yaxis"]["ticksuffix"] == "\u00a0GB"
    assert found["s-0"]["layout"]["yaxis"]["ticksuffix"] == "\u00a0d"


def test_many_metrics_of_one_unit_are_spread_over_charts_of_six_lines():
    found = drawn(every(10, 3, metrics={f"m{index:02}": 1.0 for index in range(14)}), units={})
    assert [len(lines(figure)) for key, figure in found.items() if key != "status"] == [6, 6, 2]


def test_results_without_metrics_show_how_long_they_took():
    found = drawn(every(10, 3, duration_s=0.75))
    assert lines(found["duration"])[0]["y"][:3] == [750, 750, 750]


def test_what_a_plugin_calls_its_metrics_is_never_read_as_markup():
    found = drawn(every(10, 3, metrics={"<b>&%{x}": 1.0}), units={"<b>&%{x}": "<i>%{y}"})
    [figure] = [figure for key, figure in found.items() if key != "status"]
    [line] = lines(figure)
    assert line["name"] == "&lt;b&gt;&amp;%{x}"
    assert "<i>" not in line["hovertemplate"]
    assert "%{y}" not in line["hovertemplate"]


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
    assert sum(len(trace["x"]) for trace in bars.values()) == pytest.approx(361, abs=1)  # of 10 s each
    assert len(bars["not measured"]["x"]) == pytest.approx(180, abs=2)  # the half hour that nobody measured


def test_the_little_that_was_measured_just_after_a_start_stands_before_the_hatch():
    found = drawn(every(10, 12, start_at=NOW - timedelta(minutes=2)), period=preset("24h", NOW))["status"]
    bars = {trace["name"]: trace for trace in found["data"]}
    assert len(bars["not measured"]["x"]) == 24 * 12
    assert set(bars["ok"]["y"]) == {0.35}
    assert bars["ok"]["x"][-1] > bars["not measured"]["x"][-1]


def test_unknown_time_is_never_drawn_as_ok():
    found = drawn(every(10, 360, status=Status.UNKNOWN))["status"]
    assert [trace["name"] for trace in found["data"]] == ["not measured"]


def test_times_are_those_of_the_zone_and_the_range_is_the_whole_period():
    prague = ZoneInfo("Europe/Prague")
    [line] = lines(drawn(every(10, 3, metrics={"response_time": 0.1}), zone=prague)["response"])
    assert datetime.fromtimestamp(line["x"][0] / 1000, UTC).replace(tzinfo=None) == HOUR_AGO.astimezone(prague).replace(
        tzinfo=None
    )
    axis = drawn([], zone=prague)["status"]["layout"]["xaxis"]
    assert axis["range"][1] - axis["range"][0] == 3600 * 1000


@pytest.mark.parametrize("every_s", [10, 60])  # slots, results
def test_a_night_with_a_clock_change_stays_in_order(every_s):
    prague, change_at = ZoneInfo("Europe/Prague"), datetime(2026, 10, 25, 1, tzinfo=UTC)
    period = Period(name="custom", start_at=change_at - timedelta(hours=6), end_at=change_at + timedelta(hours=6))
    rows = every(every_s, 43200 // every_s, period.start_at, metrics={"response_time": 0.1}, covers_s=100.0)
    for line in lines(drawn(rows, period=period, zone=prague, every_s=every_s)["response"]):
        if line["meta"]["role"] != "band":
            times = [at for at in line["x"] if at is not None]
            assert times == sorted(times)
            assert len(set(times)) == len(times)


def test_days_of_a_zone_begin_at_its_midnights_in_summer_and_in_winter():
    prague = ZoneInfo("Europe/Prague")
    period = Period(name="custom", start_at=NOW - timedelta(days=600), end_at=NOW)
    rows = every(86400, 599, period.start_at, metrics={"response_time": 0.1, "dns": 0.1}, covers_s=100_000.0)
    figure = drawn(rows, period=period, zone=prague, every_s=86400)["status"]
    starts = {
        datetime.fromtimestamp((at - width / 2) / 1000, UTC).strftime("%H:%M")
        for each in figure["data"]
        for at, width in zip(each["x"], each["width"], strict=True)
    }
    assert starts == {"00:00"}


def test_a_viewer_keeps_the_zoom_as_long_as_the_range_is_the_same():
    earlier, later = drawn([]), drawn([], period=preset("1h", NOW + timedelta(minutes=1)))
    other = drawn([], period=replace(preset("1h", NOW), name="custom"))
    revisions = [found["status"]["layout"]["uirevision"] for found in (earlier, later, other)]
    assert revisions[0] == revisions[1] != revisions[2]
