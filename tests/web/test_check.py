"""The page of one check: why it is as it is, its ranges, its log, and what it says when there is nothing to show."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from time import perf_counter

import pytest
from fakes import NOW, FakeClock, FakeProbe, FakeServices, as_columns, make_check, make_result

from checks.base import Detail, Status, Threshold, Thresholds
from dashboard import create_app
from dashboard.model import MASK, BrokenCheck, Incident, Retention
from dashboard.rollup import fold
from dashboard.web import check as check_page
from dashboard.web.configuration import Test

PHASES = {"dns": 0.003, "connect": 0.012, "tls": 0.031, "first_byte": 0.088, "transfer": 0.009}
BAD = Detail(
    phase="tls",
    expected="status 200, body has 'ready'",
    got="nothing: no TLS session",
    excerpt="<script>alert('hunter2')</script>",
    facts={"address": "10.20.4.12", "server": "<b>nginx</b>"},
)


class SecretProbe(FakeProbe, type="http"):
    @property
    def target(self) -> str:
        return "https://mara:hunter2@shop.example.net/"

    def reproduction(self) -> str:
        return f"curl -sv {self.target}"


def client_of(services: FakeServices):
    return create_app(services.settings, services, configuration=Test, clock=FakeClock()).test_client()


def page_of(services: FakeServices, address: str = "/checks/api", status: int = 200) -> str:
    response = client_of(services).get(address, headers={"Accept": "text/html"})
    assert response.status_code == status
    return response.get_data(as_text=True).replace("\u00a0", " ")


def part(page: str, dom_id: str) -> str:
    """The element with that id, up to the next top-level one of the page."""
    return re.search(
        rf'<(section|div)[^>]* id="{dom_id}".*?(?=<section class="panel"|<div class="wrap"|\Z)', page, re.DOTALL
    )[0]


def text_of(markup: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", markup).split())


def in_trouble(**changes) -> FakeServices:
    """An HTTP check that was well until a minute ago."""
    good = [
        make_result("api", NOW - timedelta(seconds=70 + 10 * index), metrics={"response_time": 0.143, **PHASES})
        for index in range(50, -1, -1)
    ]
    bad = [
        make_result(
            "api",
            NOW - timedelta(seconds=10 * index),
            Status.CRITICAL,
            summary="TLS handshake timed out after 5.0 s at 10.20.4.12:443",
            duration_s=5.015,
            metrics={"response_time": 5.015, "dns": 0.003, "connect": 0.012},
            detail=BAD,
        )
        for index in range(6, -1, -1)
    ]
    return FakeServices([make_check(**changes)], [*good, *bad])


def test_the_head_says_what_since_when_why_and_at_which_step():
    limits = {"response_time": Thresholds(warning=Threshold.parse("0.5"))}
    services = in_trouble(
        group="Customer services",
        owner="Payments",
        tags=("prod", "web"),
        runbook="https://wiki.example.net/tls",
        notes="Drain edge-2 first.",
        thresholds=limits,
    )
    page = page_of(services)
    head = text_of(part(page, "head"))
    assert (
        "critical for 1 m since 14:24:08 TLS handshake timed out after 5.0 s at 10.20.4.12:443 failed at TLS , http"
        in head
    )
    assert "https://shop.example.net/health , every 10 s, owner Payments, runbook" in head
    assert "Customer services" in head
    assert "<title>(critical) api, Watchroom</title>" in page
    about = text_of(part(page, "evidence"))
    assert "Response time warning outside 0.5" in about
    assert "Tags prod , web What to do Runbook : Drain edge-2 first." in about


def test_a_change_that_is_not_confirmed_and_an_open_incident_are_said():
    services = in_trouble()
    incident = Incident(
        id=482,
        check_id="api",
        opened_at=NOW,
        confirmed_at=NOW,
        status=Status.CRITICAL,
        worst=Status.CRITICAL,
        summary="",
    )
    services.board.put(replace(services.board.check("api"), unconfirmed="1 of 2", incident=incident))
    head = text_of(part(page_of(services), "head"))
    assert "1 of 2, not confirmed yet" in head
    assert "incident 482 open" in head


@pytest.mark.parametrize("runbook", ["javascript:alert(1)", "data:text/html,x", "//evil.example"])
def test_a_runbook_that_is_not_a_web_address_is_no_link(runbook):
    assert runbook not in page_of(in_trouble(runbook=runbook))


def test_the_failing_phase_is_loud_what_came_before_passed_and_the_rest_was_not_reached():
    strip = re.search(r'<ol class="phases.*?</ol>', page_of(in_trouble()), re.DOTALL)[0]
    found = [
        (state, text_of(inner)) for state, inner in re.findall(r'<li class="ph (\w+)">(.*?)</li>', strip, re.DOTALL)
    ]
    assert found == [
        ("done", "passed DNS 3 ms good run 3 ms"),
        ("done", "passed Connect 12 ms good run 12 ms"),
        ("fail", "TLS 5 s failed, good run 31 ms"),
        ("none", "First byte not reached good run 88 ms"),
        ("none", "Transfer not reached good run 9 ms"),
    ]


def test_the_last_good_run_stands_beside_the_last_bad_one():
    table = re.search(r'<table class="table cmp">.*?</table>', page_of(in_trouble()), re.DOTALL)[0]
    rows = [text_of(row) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]
    assert rows[0] == "Field Last good run Last bad run"
    assert "Finished 14:23:58, 1 m ago 14:25:13, 0 s ago" in rows
    assert "Result ok, 200 in 184 ms critical, TLS handshake timed out after 5.0 s at 10.20.4.12:443" in rows
    assert "Expected – status 200, body has &#39;ready&#39;" in rows
    assert "Got – nothing: no TLS session" in rows
    assert "Address – 10.20.4.12" in rows


def test_nothing_that_a_target_says_becomes_markup():
    page = page_of(in_trouble())
    assert "<script>alert" not in page
    assert "<b>nginx" not in page
    assert "&lt;script&gt;alert(&#39;hunter2&#39;)&lt;/script&gt;" in page


def test_no_secret_of_the_check_is_on_the_page_nor_in_what_is_copied():
    services = in_trouble(probe=SecretProbe(), secrets=("hunter2",))
    for address in ("/checks/api", "/live/check/api", "/checks/api/charts.json"):
        body = client_of(services).get(address).get_data(as_text=True)
        assert "hunter2" not in body
    page = page_of(services)
    assert f"curl -sv https://mara:{MASK}@shop.example.net/" in page
    assert f"alert(&#39;{MASK}&#39;)" in page


def test_what_is_copied_as_text_says_state_reason_runs_and_address():
    text = re.search(r'<pre id="as-text" hidden>(.*?)</pre>', page_of(in_trouble()), re.DOTALL)[1]
    assert text.splitlines() == [
        "api: critical since 2026-11-24 14:24:08 +01:00",
        "TLS handshake timed out after 5.0 s at 10.20.4.12:443",
        "http, https://shop.example.net/health, every 10 s",
        "last good run: 2026-11-24 14:23:58 +01:00, 200 in 184 ms",
        "last bad run: 2026-11-24 14:25:08 +01:00, TLS handshake timed out after 5.0 s at 10.20.4.12:443",
        "http://localhost/checks/api",
    ]


@pytest.mark.parametrize(("phase", "word"), [("queued", "Queued"), ("running", "Running")])
def test_the_run_button_says_how_far_the_run_is(phase, word):
    services = in_trouble()
    services.board.put(replace(services.board.check("api"), run_phase=phase, run_since_at=NOW - timedelta(seconds=2)))
    button = re.search(r'<button class="btn primary" form="run".*?</button>', page_of(services), re.DOTALL)[0]
    assert text_of(button) == f"{word} 2 s"
    assert 'name="id" value="api"' in button


def test_uptime_stands_with_its_coverage_and_downtime_for_a_day_a_week_a_month_and_a_quarter():
    uptime = text_of(part(page_of(in_trouble()), "uptime"))
    assert "24 h 89.47 % 0.65 % measured down 1 m 7 d 89.47 % 0.09 % measured down 1 m 30 d 89.47 %" in uptime
    assert "90 d 89.47 %" in uptime
    assert "last 24 hours 23 Nov 14:30:00 30 m a cell now" in uptime


def test_the_bar_of_a_range_that_no_figure_tells_has_its_uptime_beside_it():
    hour = text_of(part(page_of(in_trouble(), "/checks/api?range=1h"), "uptime"))
    assert re.search(r"last hour: 89\.47 % up, 15\.\d\d % measured 13:25:00 1 m a cell now", hour)


def test_every_figure_leads_to_its_range_and_the_one_shown_is_marked():
    page = page_of(in_trouble(), "/checks/api?range=30d&log=failures")
    assert 'href="/checks/api?range=7d&amp;log=failures">7 d</a>' in page
    assert re.search(r'<li class="is-shown"><a class="range-name" href="[^"]*range=30d', page)


def with_maintenance(services: FakeServices, start_at, end_at) -> FakeServices:
    """The same history with a window of maintenance in it."""
    rows = as_columns(services.history.rows)
    windows = [(start_at.timestamp(), end_at.timestamp())]
    services.history.rollups = lambda _, edges_s, *, now_s=None, metrics=None: fold(
        rows, edges_s, now_s=now_s, wanted=metrics, windows=windows
    )
    return services


def test_maintenance_is_told_apart_from_up_and_down_and_has_its_own_colour():
    services = with_maintenance(in_trouble(), NOW - timedelta(minutes=5), NOW - timedelta(minutes=3))
    uptime = part(page_of(services, "/checks/api?range=1h"), "uptime")
    assert "down 1 m, 2 m of maintenance" in text_of(uptime)
    assert '<path class="k-maintenance" d="M' in uptime
    status = client_of(services).get("/checks/api/charts.json?range=1h").json["status"]["data"]
    assert "maintenance" in [trace["name"] for trace in status]


@pytest.mark.parametrize(
    ("query", "cell"),
    [("range=7d", "2 h"), ("range=30d", "8 h"), ("range=90d", "1 d"), ("range=1y", "7 d"), ("from=2016-11-24", "42 d")],
)
def test_a_long_range_has_few_cells(query, cell):
    assert f"{cell} a cell" in text_of(part(page_of(in_trouble(), f"/checks/api?{query}"), "uptime"))


@pytest.mark.parametrize(
    ("query", "point"),
    [
        ("range=1h", "each result"),
        ("range=24h", "5 m a point"),
        ("range=7d", "15 m a point"),
        ("range=30d", "1 h a point"),
        ("range=90d", "3 h a point"),
        ("range=1y", "12 h a point"),
        ("from=2023-01-01", "7 d a point"),
    ],
)
def test_the_charts_say_what_a_point_stands_for(query, point):
    assert point in text_of(part(page_of(in_trouble(), f"/checks/api?{query}"), "charts"))


def test_what_is_kept_only_as_hours_or_days_is_not_drawn_finer():
    services = in_trouble()
    hour = "from=2026-08-01T10:00&to=2026-08-01T20:00"
    assert "1 h a point" in text_of(part(page_of(services, f"/checks/api?{hour}"), "charts"))
    services.settings = replace(services.settings, retention=Retention(raw_s=60, five_minutes_s=120, hours_s=300))
    assert "1 d a point" in text_of(part(page_of(services, "/checks/api?range=1h"), "charts"))


def test_the_numbers_of_the_range_stand_in_a_table():
    table = re.search(r'<details class="numbers">.*?</details>', page_of(in_trouble()), re.DOTALL)[0]
    assert "Metric Results Lowest Median p95 p99 Highest" in text_of(table)
    assert re.search(r"response time 58 143 ms 14\d ms 5\.01 s 5\.01 s 5\.01 s", text_of(table))


def test_the_range_is_in_the_url_of_everything_that_keeps_it():
    page = page_of(in_trouble(), "/checks/api?from=2026-11-24T14:00&to=2026-11-24T14:20&log=failures")
    assert 'name="from" value="2026-11-24T14:00"' in page
    assert 'name="to" value="2026-11-24T14:20"' in page
    bounds = "from=2026-11-24T14%3A00%3A00%2B01%3A00&amp;to=2026-11-24T14%3A20%3A00%2B01%3A00"
    assert f'data-source="/checks/api/charts.json?{bounds}"' in page
    assert f'href="/checks/api?{bounds}#log"' in page  # all runs
    assert f'hx-get="/live/check/api?{bounds}&amp;log=failures"' in page
    assert f'href="/exports?check=api&amp;{bounds}&amp;status=' in page
    assert 'href="/checks/api?range=1h&amp;log=failures#charts"' in page


def test_a_range_that_makes_no_sense_is_answered_in_its_form():
    page = page_of(in_trouble(), "/checks/api?from=2026-11-24T14:00&to=2026-11-24T13:00", status=400)
    assert "from: must lie before to" in text_of(part(page, "charts"))
    assert 'value="2026-11-24T14:00"' in page
    assert "TLS handshake timed out" in page


@pytest.mark.parametrize(
    "query", ["range=9y", "from=noon", "log=bad", "before=-1", "before=1e9", "before=99999999999999999999"]
)
def test_machines_are_told_what_is_wrong_with_their_question(query):
    response = client_of(in_trouble()).get(f"/checks/api/charts.json?{query}")
    assert response.status_code == 400
    assert response.json["error"].startswith(query.split("=")[0] + ": ")


def test_figures_are_not_sent_again_while_nothing_changed():
    services = in_trouble()
    client = client_of(services)
    first = client.get("/checks/api/charts.json")
    assert set(first.json) == {"status", "response", "phases"}
    again = client.get("/checks/api/charts.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert (
        client.get("/checks/api/charts.json?range=1h", headers={"If-None-Match": first.headers["ETag"]}).status_code
        == 200
    )
    services.board.put(services.board.check("api"))
    assert client.get("/checks/api/charts.json", headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_a_day_of_a_10_s_check_is_answered_well_below_100_ms():
    rows = [
        make_result(
            "api", NOW - timedelta(seconds=10 * index), metrics={"response_time": 0.1 + index % 97 / 1000, **PHASES}
        )
        for index in range(8640, 0, -1)
    ]
    services = FakeServices([make_check()], rows)
    kept: dict[object, object] = {}
    read = services.history.rollups

    def rollups(check_id, edges_s, **more):
        if edges_s not in kept:
            kept[edges_s] = read(check_id, edges_s, **more)
        return kept[edges_s]

    services.history.rollups = rollups  # the store's part is measured where the store is
    client = client_of(services)
    client.get("/checks/api/charts.json")
    took_s = []
    for _ in range(5):
        services.board.put(services.board.check("api"))
        began_s = perf_counter()
        assert client.get("/checks/api/charts.json").status_code == 200
        took_s.append(perf_counter() - began_s)
    assert min(took_s) < 0.1


def test_a_viewer_who_has_the_newest_is_sent_nothing():
    services = in_trouble()
    client = client_of(services)
    tag = re.search(r'hx-ptag="([^"]+)"', page_of(services))[1]
    same = client.get("/live/check/api", headers={"HX-Request": "true", "HX-PTag": tag})
    assert (same.status_code, same.data) == (304, b"")
    assert same.headers["HX-PTag"] == tag
    services.board.put(services.board.check("api"))
    changed = client.get("/live/check/api", headers={"HX-Request": "true", "HX-PTag": tag})
    assert changed.headers["HX-PTag"] != tag
    assert re.findall(r'<hx-partial id="(\w+)"', changed.text) == ["own", "head", "evidence", "uptime", "log"]


def test_an_older_page_of_the_log_and_a_fixed_range_stay_as_they_are():
    client = client_of(in_trouble())
    older = client.get("/live/check/api?before=20").text
    assert 'id="log"' not in older
    fixed = client.get("/live/check/api?from=2026-11-24T14:00&to=2026-11-24T14:20").text
    assert "14:00:00</span><span>1 m a cell</span><span>14:20:00" in fixed.replace("\u00a0", " ")


def test_a_long_range_is_read_once_a_minute_however_many_look_and_however_much_is_recorded():
    services = in_trouble()
    reads = []
    read = services.history.rollups
    services.history.rollups = lambda *args, **more: reads.append(args) or read(*args, **more)
    clock = FakeClock()
    client = create_app(services.settings, services, configuration=Test, clock=clock).test_client()
    tags = set()
    for _ in range(5):
        services.board.put(services.board.check("api"))
        clock.advance(10)
        tags.add(client.get("/checks/api/charts.json?range=90d").headers["ETag"])
    assert (len(reads), len(tags)) == (1, 1)
    again = client.get("/checks/api/charts.json?range=90d", headers={"If-None-Match": tags.pop()})
    assert again.status_code == 304
    clock.advance(20)
    client.get("/checks/api/charts.json?range=90d")
    assert len(reads) == 2


def test_the_browser_is_told_how_often_to_look_at_the_charts():
    assert 'data-live="10"' in page_of(in_trouble())
    assert 'data-live="60"' in page_of(in_trouble(), "/checks/api?range=7d")
    assert "data-live" not in page_of(in_trouble(), "/checks/api?from=2026-11-24T14:00")


def test_trouble_of_our_own_reaches_the_page_without_a_new_result():
    services = in_trouble()
    client = client_of(services)
    tag = client.get("/live/check/api").headers["HX-PTag"]
    services.own.now = replace(services.own.now, troubles=("the disk is full",))
    assert "the disk is full" in client.get("/live/check/api", headers={"HX-PTag": tag}).text


def run_ids(page: str) -> list[int]:
    return [int(number) for number in re.findall(r'<tr id="run-(\d+)"', page)]


def link(page: str, word: str) -> str:
    return re.search(rf'<a class="btn" href="([^"]+)">{word}</a>', page)[1].replace("&amp;", "&").removesuffix("#log")


def test_the_log_is_read_page_by_page_to_its_end_and_back(monkeypatch):
    monkeypatch.setattr(check_page, "LOG_ROWS", 20)
    services = in_trouble()
    pages = [page_of(services)]
    while ">Older</a>" in pages[-1]:
        pages.append(page_of(services, link(pages[-1], "Older")))
    assert [number for page in pages for number in run_ids(page)] == list(range(58, 0, -1))
    assert run_ids(page_of(services, link(pages[2], "Newer"))) == run_ids(pages[1])
    assert run_ids(page_of(services, link(pages[2], "Newest"))) == run_ids(pages[0])


def test_the_log_of_failures_holds_nothing_else():
    page = page_of(in_trouble(), "/checks/api?log=failures")
    assert run_ids(page) == list(range(58, 51, -1))


def test_a_run_in_the_log_says_when_what_and_who_and_opens_to_its_detail():
    services = in_trouble()
    services.history.append(
        [make_result("api", NOW, Status.OK, trigger="manual", by="local", metrics={"response_time": 0.2})]
    )
    page = page_of(services)
    rows = [text_of(row) for row in re.findall(r'<tr id="run-.*?</tr>', page, re.DOTALL)]
    assert rows[0].startswith(
        "24 Nov 14:25:08 +01:00 ok 184 ms 200 in 184 ms Response time 200 ms Speaks for at most 20 s"
    )
    assert rows[0].endswith("manual by local")
    assert "critical 5.01 s TLS handshake timed out after 5.0 s at 10.20.4.12:443 Expected status 200" in rows[1]
    assert rows[1].endswith("TLS schedule")


def test_a_check_that_never_ran_says_so_everywhere():
    page = page_of(FakeServices([make_check()]))
    assert "never run" in text_of(part(page, "head"))
    assert "Nothing recorded yet" in text_of(part(page, "uptime"))
    assert "Nothing recorded yet" in text_of(part(page, "charts"))
    assert "Never run yet. The first run is due within 10 s" in text_of(part(page, "log"))
    assert "data-chart" not in page


def test_a_range_without_results_differs_from_a_check_without_any():
    page = page_of(in_trouble(), "/checks/api?from=2026-11-20T10:00&to=2026-11-20T11:00")
    charts = text_of(part(page, "charts"))
    assert "No data in this range. The newest result is from 2026-11-24 14:25:08 +01:00." in charts
    assert "1 h 00 m: not measured" in text_of(part(page, "uptime"))
    failures = text_of(part(page_of(FakeServices([make_check()], [make_result()]), "/checks/api?log=failures"), "log"))
    assert "No failures." in failures


def test_a_check_that_cannot_be_used_says_why_and_offers_no_run():
    page = page_of(FakeServices([BrokenCheck(id="api", name="api", type="http", fault="bearer: API_TOKEN is not set")]))
    assert "config error bearer: API_TOKEN is not set http" in text_of(part(page, "head"))
    assert 'name="id" value="api"' not in page


def test_a_check_that_left_the_configuration_keeps_its_page_as_long_as_its_history():
    services = FakeServices([make_check("other")], [make_result("api", NOW - timedelta(minutes=5))])
    page = page_of(services)
    assert "no longer configured" in text_of(part(page, "head"))
    assert "24 h 100 % 0.02 % measured never down" in text_of(part(page, "uptime"))
    assert run_ids(page) == [1]
    assert client_of(services).get("/checks/api/charts.json").json.keys() == {"status", "duration"}


def test_an_id_that_nothing_has_is_not_found_in_words():
    page = page_of(in_trouble(), "/checks/nope", status=404)
    assert "No check has the id &#39;nope&#39;" in page


def test_the_page_needs_no_script_to_be_read():
    page = page_of(in_trouble())
    assert "onclick" not in page
    assert not re.search(r"<script(?![^>]* src=)", page)
    assert not re.search(r"<[^>]+ style=", page)
    numbers = re.search(r'<details class="numbers">.*?</details>', page, re.DOTALL)[0]
    assert "Response time" in numbers or "response time" in numbers
