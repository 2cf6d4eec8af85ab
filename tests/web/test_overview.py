"""The overview: what is on the page, in which order, in which words, and at what cost."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes import NOW, FakeClock, FakeServices, make_check, make_result, sample_services, view_of
from hypothesis import given
from hypothesis import strategies as st

from checks.base import Status
from dashboard import create_app
from dashboard.engine.filters import parse
from dashboard.model import BrokenCheck, Server, Slot
from dashboard.web import skyline
from dashboard.web.configuration import Test
from dashboard.web.fragments import QUARTER_PITCH, Fragment, age, bar, spark
from dashboard.web.overview import Pictures, paint


def client_of(services: FakeServices):
    return create_app(services.settings, services, configuration=Test, clock=FakeClock()).test_client()


def page_of(services: FakeServices, address: str = "/") -> str:
    return client_of(services).get(address).get_data(as_text=True).replace("\u00a0", " ")


def row(page: str, dom_id: str) -> str:
    return re.search(rf'<li class="row[^>]* id="{re.escape(dom_id)}">.*?</li>', page, re.DOTALL)[0]


def checks_with(*statuses: Status, **changes) -> FakeServices:
    checks = [make_check(f"c{index}", **changes) for index in range(len(statuses))]
    rows = [
        make_result(f"c{index}", NOW - timedelta(minutes=10 - index), status) for index, status in enumerate(statuses)
    ]
    return FakeServices(checks, rows)


def test_problems_come_first_most_severe_then_newest():
    services = checks_with(Status.OK, Status.UNKNOWN, Status.CRITICAL, Status.WARNING, Status.CRITICAL)
    page = page_of(services)
    assert re.findall(r'id="p-(\w+)"', page) == ["c4", "c2", "c3", "c1"]
    assert re.findall(r'id="c-(\w+)"', page) == ["c0", "c1", "c2", "c3", "c4"]
    assert page.index("Needs attention") < page.index("All checks")
    assert "<title>(2 critical, 1 warning, 1 unknown) Overview, Watchroom</title>" in page
    assert 'href="/static/icons/critical.svg' in page


def test_a_row_says_status_name_reason_since_value_uptime_and_last_run():
    page = page_of(sample_services(30))
    shown = row(page, "p-checkout-api")
    for said in (
        "#g-critical",
        "critical</span>",
        'href="/checks/checkout-api"',
        "TLS handshake timed out after 5.0 s at 10.20.4.12:443",
        "Customer services, http",
        "owner Payments",
        "since 14:04",
        "5.01 s",
        "measured",
        'class="s-critical"',
        'fill="url(#hatch)"',
        "data-age>20 m</time>",
        'form="run" name="id" value="checkout-api"',
    ):
        assert said in shown
    assert 'class="spark"' in shown


def test_broken_paused_and_never_run_checks_are_named_so():
    services = sample_services(30)
    page = page_of(services)
    broken = row(page, "p-webhook-relay")
    assert "config error" in broken
    assert "environment variable API_TOKEN is not set" in broken
    assert "<button" not in broken
    paused, waiting = row(page, "c-image-resizer"), row(page, "c-redis-sessions")
    assert "paused" in paused
    assert "is-ok" not in paused
    assert "never run" in waiting
    assert "waiting for its first result" in waiting
    assert 'id="p-image-resizer"' not in page
    assert 'id="p-redis-sessions"' not in page


def test_an_unconfirmed_change_is_shown_and_marked():
    services = checks_with(Status.CRITICAL)
    services.board.views["c0"] = replace(services.board.views["c0"], unconfirmed="1 of 2")
    page = page_of(services)
    assert "not confirmed yet, 1 of 2" in row(page, "p-c0")
    assert "is-unconfirmed" in row(page, "p-c0")
    assert "1 of 2" in row(page, "c-c0")


def test_a_running_check_says_so_and_keeps_its_reason():
    services = checks_with(Status.OK)
    services.board.views["c0"] = replace(services.board.views["c0"], run_phase="running")
    shown = row(page_of(services), "c-c0")
    assert "Running</button>" in shown
    assert "200 in 184 ms" in shown


def test_a_manual_result_names_who_asked():
    services = FakeServices([make_check("a")], [make_result("a", trigger="manual", by="cli:mara")])
    assert "run by cli:mara" in row(page_of(services), "c-a")


def test_all_green_is_one_line():
    page = page_of(checks_with(Status.OK, Status.OK))
    assert "All 2 checks ok." in page
    assert "Needs attention" not in page
    assert 'href="/static/icons/ok.svg' in page


def test_all_green_counts_no_check_that_never_ran_or_is_paused():
    checks = [make_check("a"), make_check("b"), make_check("c", paused=True)]
    page = page_of(FakeServices(checks, [make_result("a")]))
    assert "1 of 3 checks ok, none has a problem." in page


def test_a_page_without_checks_says_what_belongs_here():
    page = page_of(FakeServices())
    assert "No checks yet." in page
    assert "watchroom.yaml" in page


def test_a_filter_without_matches_differs_from_no_checks():
    page = page_of(checks_with(Status.OK), "/?q=tag:db")
    assert "<b>No check matches</b> tag:db" in page
    assert "Clear the filter" in page
    assert "No checks yet" not in page


def test_the_filter_narrows_rows_but_not_the_counts():
    page = page_of(checks_with(Status.OK, Status.CRITICAL), "/?q=st%3Aok")
    assert re.findall(r'id="c-(\w+)"', page) == ["c0"]
    assert "Needs attention" not in page
    assert "1 of 2" in page
    assert "<b>1</b> critical" in page
    assert 'value="st:ok"' in page
    assert 'href="/exports?q=st%3Aok"' in page


@pytest.mark.parametrize(
    ("q", "said"), [("sta:ok", "did you mean &#39;st:&#39;"), ("%00", "NUL"), ("a" * 10_001, "longer than 10 kB")]
)
def test_a_bad_filter_shows_all_checks_and_says_what_is_wrong(q, said):
    answer = client_of(checks_with(Status.OK)).get(f"/?q={q}")
    assert answer.status_code == 400
    assert said in answer.get_data(as_text=True)
    assert 'id="c-c0"' in answer.get_data(as_text=True)


def test_hostile_text_is_escaped_everywhere():
    hostile = '<script>alert(1)</script>"\'<hx-partial id="live">'
    check = make_check("a", name=hostile, group=hostile, owner=hostile, runbook="javascript:alert(1)")
    services = FakeServices(
        [check, BrokenCheck(id="b", name=hostile, type=hostile, fault=hostile, group=hostile)],
        [make_result("a", status=Status.CRITICAL, summary=hostile, trigger="manual", by=hostile)],
    )
    client = client_of(services)
    for address in ("/", "/?q=%3Cscript%3E", "/?q=%3Cscript%3E:x", "/live/overview"):
        page = client.get(address).get_data(as_text=True)
        assert "<script>alert" not in page
        assert '<hx-partial id="live">' not in page
        assert "javascript:" not in page


def test_a_group_is_open_when_it_holds_a_critical_check_or_the_board_is_small():
    big = page_of(sample_services(130))
    found = dict(re.findall(r'<details class="grp" id="[^"]+" data-name="([^"]*)"( open)?>', big))
    assert found["Customer services"] == " open"
    assert found["Certificates"] == ""
    small = page_of(sample_services(30))
    assert len(re.findall(r'<details class="grp"[^>]* open>', small)) == 7
    assert small.index('data-name=""') > small.index('data-name="Backups and jobs"')


def test_checks_without_groups_need_no_headings():
    assert "<details" not in page_of(checks_with(Status.OK, Status.OK))


def test_own_troubles_and_open_access_are_said_on_the_page():
    services = checks_with(Status.OK)
    services.settings = replace(services.settings, server=Server(access="open"))
    services.own.now = replace(
        services.own.now, troubles=("The prober is starting again.",), config_problems=("line 3: checks: no",)
    )
    page = page_of(services)
    assert "Open access." in page
    assert "The prober is starting again." in page
    assert "line 3: checks: no" in page
    calm = page_of(checks_with(Status.OK))
    assert "banner" not in calm


def test_every_asset_is_ours_and_nothing_is_inline():
    page = page_of(sample_services(30))
    assert set(re.findall(r'(?:src|href)="(https?:[^"]*)"', page)) == {"https://wiki.example.net/runbook"}
    assert not re.search(r"<script(?![^>]* src=)", page)
    assert " style=" not in page
    assert " onclick=" not in page


def test_rows_are_rendered_once_per_version():
    services = checks_with(Status.OK, Status.OK)
    client = client_of(services)
    client.get("/")
    rendered = []
    environment = client.application.jinja_env
    template = environment.get_template("partials/row.html")
    original = template.root_render_func
    template.root_render_func = lambda context: rendered.append(context["view"].check.id) or original(context)
    client.get("/")
    assert rendered == []
    services.board.put(services.board.views["c1"])
    client.get("/")
    assert rendered == ["c1"]


def with_a_bad_day(days_ago: int = 40) -> FakeServices:
    """A check that was critical for an hour some weeks ago, and ok whenever else it was measured."""
    hours = [make_result("c0", NOW - timedelta(hours=hour), covers_s=4000) for hour in range(80 * 24, 0, -1)]
    hours[-days_ago * 24] = replace(hours[-days_ago * 24], status=Status.CRITICAL)
    return FakeServices([make_check("c0", group="Shop")], hours)


def test_the_bars_show_a_day_or_90_days_as_the_address_says():
    services = with_a_bad_day()
    day, quarter = page_of(services), page_of(services, "/?bars=90d")
    assert 'aria-label="last 24 h: 100 % up' in day.replace("\u00a0", " ")
    assert 'viewBox="0 0 191 20"' in day
    shown = row(quarter, "c-c0").replace("\u00a0", " ")
    assert 'aria-label="last 90 days: 99.94 % up, ' in shown
    assert 'viewBox="0 0 269 20"' in shown
    assert re.search(r">99\.94 % <span class=\"sub\">\d\d\.\d\d % measured</span>", shown)
    assert "s-critical" in shown
    assert "s-critical" not in row(day, "c-c0")
    assert 'class="spark"' not in shown


def test_the_switch_between_bars_keeps_the_filter_and_links_keep_the_bars():
    page = page_of(with_a_bad_day(), "/?q=st:ok&bars=90d")
    switch = re.search(r'<span class="seg" id="bars-switch".*?</span>', page)[0]
    assert '<a href="/?q=st:ok">24 h</a>' in switch
    assert '<a href="/?q=st:ok&amp;bars=90d" aria-current="true">90 d</a>' in switch
    assert 'href="/?q=st:critical&amp;bars=90d"' in page
    assert '<input type="hidden" id="bars" name="bars" value="90d">' in page
    assert 'id="bars"' not in page_of(with_a_bad_day())


def test_bars_that_there_are_not_are_refused_by_name():
    answer = client_of(with_a_bad_day()).get("/?bars=9y")
    assert answer.status_code == 400
    assert "bars: must be 24h or 90d" in answer.get_data(as_text=True)


def test_the_uptime_of_a_group_is_of_the_same_range_as_its_bars():
    services = with_a_bad_day()
    services.board.put(view_of(make_check("c1", group="Other"), [make_result("c1")]))
    title = re.search(r'<summary id="[^"]+-title".*?Shop.*?</summary>', page_of(services, "/?bars=90d"), re.DOTALL)[0]
    assert "99.94" in title


def test_rows_with_bars_of_90_days_are_rendered_once_per_version_too():
    services = with_a_bad_day()
    client = client_of(services)
    rendered = []
    template = client.application.jinja_env.get_template("partials/row.html")
    original = template.root_render_func
    template.root_render_func = lambda context: rendered.append(context["view"].check.id) or original(context)
    for _ in range(3):
        client.get("/?bars=90d")
    client.get("/")
    assert rendered == ["c0", "c0"]  # once with each kind of bar
    services.board.put(services.board.views["c0"])
    client.get("/?bars=90d")
    assert len(rendered) == 3


def test_ages_are_filled_in_at_each_look():
    fragment = Fragment.of(str(age(NOW, "ago")) + "<b>" + str(age(NOW - timedelta(hours=1))) + "</b>")
    text = fragment.at(NOW + timedelta(seconds=5)).replace("\u00a0", " ")
    assert text == (
        '<time class="ago" datetime="2026-11-24T13:25:08Z" data-age>5 s</time>'
        '<b><time class="" datetime="2026-11-24T12:25:08Z" data-age>1 h 00 m</time></b>'
    )


def slot(**seconds) -> Slot:
    return Slot(start_at=NOW, length_s=1800, **seconds)


@pytest.mark.parametrize(
    ("seconds", "kind"),
    [
        ({"ok_s": 1800}, "ok"),
        ({"ok_s": 900}, "ok"),
        ({"ok_s": 899}, "gap"),
        ({"ok_s": 900, "unknown_s": 900}, "ok"),
        ({"unknown_s": 1800}, "gap"),
        ({}, "gap"),
        ({"ok_s": 1799, "warning_s": 1}, "warning"),
        ({"ok_s": 1798, "warning_s": 1, "critical_s": 1}, "critical"),
        ({"critical_s": 1}, "critical"),
        ({"maintenance_s": 1800}, "maintenance"),
        ({"ok_s": 1200, "maintenance_s": 600}, "maintenance"),
        ({"ok_s": 400, "maintenance_s": 499}, "gap"),
        ({"warning_s": 1, "maintenance_s": 1799}, "warning"),
    ],
)
def test_a_slot_shows_its_worst_and_is_never_green_for_a_gap(seconds, kind):
    assert skyline.kind(slot(**seconds)) == kind


@pytest.mark.parametrize(
    ("seconds", "foot"),
    [
        ({"ok_s": 17}, "ok"),
        ({"maintenance_s": 17}, "maintenance"),
        ({}, ""),
        ({"unknown_s": 9}, ""),
    ],
)
def test_the_little_that_was_measured_of_a_gap_stands_at_its_foot(seconds, foot):
    assert skyline.foot(slot(**seconds)) == foot


def test_neighbours_of_one_status_are_one_stroke_and_gaps_one_block():
    ok, gap, critical = slot(ok_s=1800), slot(), slot(critical_s=5)
    assert bar([ok, ok, gap, gap, critical, ok]) == (
        '<path fill="url(#hatch)" d="M8 0h7v20h-7z"/>'
        '<path class="s-ok" d="M0 16.5h7M20 16.5h3"/>'
        '<path class="s-critical" d="M16 10h3"/>'
    )
    assert bar([]) == ""


def test_maintenance_is_a_low_stroke_of_its_own():
    assert bar([slot(ok_s=1800), slot(maintenance_s=1800)]) == (
        '<path class="s-ok" d="M0 16.5h3"/><path class="s-maintenance" d="M4 16.5h3"/>'
    )


def test_cells_of_days_stand_closer():
    assert bar([slot(ok_s=1800), slot(ok_s=1800), slot()], pitch=QUARTER_PITCH) == (
        '<path fill="url(#hatch)" d="M6 0h2v20h-2z"/><path class="s-ok" d="M0 16.5h5"/>'
    )


def test_a_slot_of_which_little_was_measured_stays_hatched_over_a_foot_of_ok():
    assert bar([slot(), slot(ok_s=17)]) == (
        '<path fill="url(#hatch)" d="M0 0h7v20h-7z"/><path class="s-ok" d="M4 16.5h3"/>'
    )


def test_a_sparkline_keeps_its_spikes():
    assert spark([]) == spark([1.0]) == ""
    assert spark([1.0, 1.0]) == "M54 6l3 0"
    values = [1.0] * 40
    values[10] = 9.0
    heights = spark(values)
    assert heights.startswith("M0 12")
    assert "l3 -12l3 12" in heights


@given(st.lists(st.floats(min_value=-1e12, max_value=1e12), max_size=60))
def test_a_sparkline_stays_inside_its_frame(values):
    path = spark(values)
    steps = [int(step) for step in re.findall(r"l3 (-?\d+)", path)]
    height = int(path.split()[1].split("l")[0]) if path else 0
    assert len(steps) < 20
    for step in [0, *steps]:
        height += step
        assert 0 <= height <= 12


def test_the_picture_knows_since_when_its_order_stands():
    services = checks_with(Status.OK, Status.CRITICAL)
    first = paint(services.board.view(), parse(""))
    services.board.put(services.board.views["c0"])
    second = paint(services.board.view(), parse(""), first)
    assert (second.problems_version, second.groups_version) == (1, 1)
    worse = view_of(make_check("c0"), [make_result("c0", status=Status.CRITICAL)])
    services.board.put(worse)
    third = paint(services.board.view(), parse(""), second)
    assert (third.problems_version, third.groups_version) == (3, 1)
    services.board.boot = "boot2"
    fourth = paint(services.board.view(), parse(""), third)
    assert fourth.groups_version == services.board.version


def test_a_slower_request_never_paints_over_a_newer_picture():
    services, pictures = checks_with(Status.OK), Pictures()
    old = services.board.view()
    services.board.put(services.board.views["c0"])
    newer = pictures.take(services.board.view(), "")
    assert pictures.take(old, "") is newer
