"""The page of one check in a real Chromium: charts are drawn and stay, the head and the log live, Run works, copies copy."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes import NOW, FakeServices, make_check, make_result, view_of
from playwright.sync_api import Page, expect

from checks.base import Detail, Status

WITHIN_MS = 1000
PHASES = {"dns": 0.003, "connect": 0.012, "tls": 0.031, "first_byte": 0.088, "transfer": 0.009}
BAD = Detail(
    phase="tls", expected="status 200", got="nothing", excerpt="<script>alert(1)</script>", facts={"address": "::1"}
)


def well(check_id: str = "api", count: int = 120, **changes) -> FakeServices:
    """A check with an hour of good results."""
    rows = [
        make_result(
            check_id,
            NOW - timedelta(seconds=30 * index),
            covers_s=50.0,
            metrics={"response_time": 0.14 + index % 7 / 100, **PHASES, "certificate_days": 41.0, "<b>odd</b>": 2.0},
        )
        for index in range(count, 0, -1)
    ]
    return FakeServices([make_check(check_id, group="Shop", runbook="https://wiki.example.net/", **changes)], rows)


def with_a_year(services: FakeServices) -> None:
    """The same results every 4 hours, all through a year before."""
    hours = range(366 * 24, 20, -4)
    rows = [
        make_result(
            "api", NOW - timedelta(hours=hour), covers_s=20_000, metrics={"response_time": 0.14 + hour % 7 / 100}
        )
        for hour in hours
    ]
    services.history.rows = [*rows, *services.history.rows]
    services.history.revision += 1


def record(services: FakeServices, status: Status, summary: str, **changes) -> None:
    """A new result, as the engine would publish it."""
    view = services.board.check("api")
    services.history.append(
        [make_result("api", NOW - timedelta(seconds=1), status, summary=summary, covers_s=50.0, **changes)]
    )
    services.board.put(view_of(view.check, services.history.rows, units=view.units))


def fail(services: FakeServices) -> None:
    metrics = {"response_time": 5.0, "dns": 0.003, "connect": 0.012}
    record(services, Status.CRITICAL, "TLS handshake timed out", metrics=metrics, detail=BAD, duration_s=5.015)


def open_check(page: Page, url: str, query: str = "") -> None:
    """Load the page and wait until it hears of changes and has its charts."""
    with page.expect_response("**/live/check/*"):
        page.goto(f"{url}/checks/api{query}")
    if page.locator("[data-chart]").count():
        expect(page.locator("#charts")).to_have_attribute("data-drawn", re.compile(r"\d"))


def traces(page: Page, chart: str) -> list[dict[str, object]]:
    return page.evaluate(
        """chart => document.querySelector(`[data-chart='${chart}']`).data.filter(t => !t.meta.role.endsWith("-behind"))
            .map(t => ({name: t.name, color: t.line?.color ?? t.marker?.color}))""",
        chart,
    )


def shown_range(page: Page) -> list[str]:
    """The ends of the time axis of the first chart."""
    return page.evaluate("document.querySelector(`[data-chart='response']`).layout.xaxis.range.map(String)")


def test_every_chart_is_drawn_in_the_colours_of_the_theme_and_changes_with_it(page, serve, faults):
    page.emulate_media(color_scheme="light")
    open_check(page, serve(well()).url, "?range=1h")
    for canvas in page.locator("[data-chart]").all():
        expect(canvas.locator("svg.main-svg").first).to_be_visible()
    light = traces(page, "response")
    assert light == [{"name": "response time", "color": "rgb(72, 70, 198)"}]
    assert [trace["name"] for trace in traces(page, "phases")] == ["DNS", "Connect", "TLS", "First byte", "Transfer"]
    page.emulate_media(color_scheme="dark")
    expect(page.locator("#charts")).to_have_attribute("data-drawn", "2")
    assert traces(page, "response") == [{"name": "response time", "color": "rgb(169, 171, 255)"}]
    page.get_by_role("button", name="Light").click()
    expect(page.locator("#charts")).to_have_attribute("data-drawn", "3")
    assert traces(page, "response") == light


def test_every_range_is_one_click_away_and_draws_its_percentiles(page, serve, faults):
    services = well(count=2000)
    with_a_year(services)
    open_check(page, serve(services).url)
    for name, point in (
        ("7 d", "15 m a point"),
        ("30 d", "1 h a point"),
        ("90 d", "3 h a point"),
        ("1 y", "12 h a point"),
    ):
        page.locator("#charts").get_by_role("link", name=name, exact=True).click()
        expect(page.locator("#charts > header .hint")).to_contain_text(point)
        expect(page.locator("#charts")).to_have_attribute("data-drawn", re.compile(r"\d"))
        expect(page.locator("#charts .seg [aria-current]")).to_have_text(name)
        assert [trace["name"] for trace in traces(page, "response")] == [
            "to p95",
            "highest",
            "p99",
            "p95",
            "p50",
            "lowest",
        ]
        drawn = page.locator("[data-chart='response'] .scatterlayer .js-line").count()
        assert drawn >= 5
    page.go_back()
    expect(page.locator("#charts .seg [aria-current]")).to_have_text("90 d")


def test_what_stands_behind_the_lines_is_not_told_when_pointed_at(page, serve, faults):
    services = well(count=2000)
    with_a_year(services)
    open_check(page, serve(services).url, "?range=90d")
    plot = page.locator("[data-chart='response'] .nsewdrag")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 30, box["y"] + 30)
    label = page.locator("[data-chart='response'] .hoverlayer")
    expect(label).to_contain_text("p50 : 1")
    expect(label).to_contain_text("highest")
    expect(label).not_to_contain_text("trace")


def test_a_long_range_is_fetched_again_at_most_once_a_minute(page, serve, faults):
    services = well(count=2000)
    open_check(page, serve(services).url, "?range=7d")
    fail(services)
    expect(page.locator("#log tbody tr").first).to_contain_text("TLS handshake timed out", timeout=2 * WITHIN_MS)
    expect(page.locator("#uptime")).to_contain_text("down")
    assert page.locator("#charts").get_attribute("data-live") == "60"
    assert page.locator("#charts").get_attribute("data-drawn") == "1"


def test_a_check_that_fails_says_so_within_a_second_with_its_phase_and_its_row(page, serve, faults):
    services = well()
    open_check(page, serve(services).url)
    expect(page.locator("#head")).to_have_class(re.compile("is-ok"))
    fail(services)
    expect(page.locator("#head .reason")).to_have_text("TLS handshake timed out", timeout=WITHIN_MS)
    expect(page.locator("#head")).to_have_class(re.compile("is-critical"))
    expect(page.locator("li.ph.fail")).to_contain_text("TLS")
    expect(page.locator("li.ph.none")).to_have_count(2)
    expect(page.locator("#log tbody tr").first).to_contain_text("TLS handshake timed out")
    expect(page).to_have_title("(critical) api, Watchroom")
    assert page.evaluate("document.getElementById('icon').getAttribute('href')").startswith(
        "/static/icons/critical.svg"
    )


def test_an_opened_run_a_zoomed_chart_and_the_focus_survive_live_updates(page, serve, faults):
    services = well()
    open_check(page, serve(services).url, "?range=1h")
    plot = page.locator("[data-chart='response'] .nsewdrag")
    plot.scroll_into_view_if_needed()
    box, before = plot.bounding_box(), shown_range(page)
    page.mouse.move(box["x"] + 200, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 40, steps=4)
    page.mouse.up()
    zoomed = shown_range(page)
    assert zoomed != before
    row = page.locator("#log tbody tr").first
    run = row.get_attribute("id")
    row.locator("summary").click()
    link = page.get_by_role("link", name="runbook", exact=True)
    link.focus()
    fail(services)
    expect(page.locator("#log tbody tr").first).to_contain_text("TLS handshake timed out", timeout=2 * WITHIN_MS)
    expect(page.locator(f"#{run} details")).to_have_attribute("open", "")
    assert link.evaluate("element => element === document.activeElement")
    expect(page.locator("#charts")).to_have_attribute("data-drawn", "2", timeout=15_000)  # quietly, within 10 s
    assert shown_range(page) == zoomed
    newest = page.evaluate(
        "document.querySelector(`[data-chart='response']`).data.at(-1).y.filter(y => y !== null).at(-1)"
    )
    assert newest == 5


def test_the_first_result_of_a_check_brings_its_charts(page, serve, faults):
    services = FakeServices([make_check()])
    open_check(page, serve(services).url)
    expect(page.get_by_text("Never run yet.")).to_be_visible()
    record(services, Status.OK, "200 in 140 ms", metrics={"response_time": 0.14})
    expect(page.locator("[data-chart='response'] svg.main-svg").first).to_be_visible(timeout=5 * WITHIN_MS)


def test_run_now_shows_the_phase_then_the_result_marked_as_manual(page, serve, faults):
    services = well()
    services.runs.finish = False
    open_check(page, serve(services).url)
    page.get_by_role("button", name="Run now").click()
    expect(page.get_by_role("button", name="Queued")).to_be_visible(timeout=2 * WITHIN_MS)
    assert services.runs.asked == [("api", "local")]
    record(services, Status.OK, "200 in 99 ms", trigger="manual", by="local")
    expect(page.get_by_role("button", name="Run now")).to_be_visible(timeout=2 * WITHIN_MS)
    expect(page.locator("#log tbody tr").first).to_contain_text("manual by local")


def test_copies_are_the_address_the_command_and_the_text(page, serve, faults):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    services = well()
    open_check(page, serve(services).url, "?range=1h")

    def copied(name: str) -> str:
        page.get_by_role("button", name=name, exact=True).click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        expect(page.get_by_role("button", name=name, exact=True)).to_be_visible(timeout=5000)
        return page.evaluate("navigator.clipboard.readText()")

    assert copied("Copy link") == page.url
    assert copied("Copy") == "curl -sv --max-time 5 https://shop.example.net/health"
    assert copied("Copy as text").startswith("api: ok since 2026-11-24")


def test_a_copy_leaves_the_focus_where_it_went_meanwhile(page, serve, faults):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_check(page, serve(well()).url)
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    page.get_by_role("link", name="1 h").focus()
    expect(page.get_by_role("button", name="Copy link")).to_be_visible(timeout=5000)
    expect(page.get_by_role("link", name="1 h")).to_be_focused()


def test_charts_that_cannot_be_loaded_say_so(page, serve):
    page.route("**/charts.json*", lambda route: route.fulfill(status=503, json={"error": "the store is closed"}))
    page.goto(f"{serve(well()).url}/checks/api")
    expect(page.locator("#charts-fault")).to_have_text("The charts could not be loaded: the store is closed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it_at_every_width(page, serve, faults, violations, scheme):
    page.emulate_media(color_scheme=scheme)
    services = well()
    fail(services)
    services.board.put(replace(services.board.check("api"), unconfirmed="1 of 2"))
    url = serve(services).url
    for query in ("?range=90d", "?range=1h"):
        open_check(page, url, query)
        page.locator("#log summary").first.click()
        page.locator(".numbers summary").click()
        for width in (360, 390, 768, 1152, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert violations(page) == []


def test_it_can_be_read_without_javascript(browser, serve):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    services = well()
    fail(services)
    page.goto(f"{serve(services).url}/checks/api?log=failures")
    expect(page.locator("#head .reason")).to_have_text("TLS handshake timed out")
    page.locator("#log summary").first.click()
    expect(page.get_by_text("<script>alert(1)</script>").last).to_be_visible()
    expect(page.get_by_role("button", name="Copy link")).to_be_hidden()
    page.get_by_label("from").fill("2026-11-24T14:00")
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile(r"from=2026-11-24T14%3A00.*#charts"))
    page.get_by_role("button", name="Run now").click()
    assert services.runs.asked == [("api", "local")]
    expect(page).to_have_url(re.compile("/checks/api"))
    context.close()


def test_the_export_dialog_opens_over_the_page_for_this_check_and_its_range(page, serve, faults):
    open_check(page, serve(well()).url, "?range=1h")
    page.get_by_role("link", name="Export", exact=True).click()
    dialog = page.locator("#export-dialog")
    expect(dialog).to_be_visible()
    with page.expect_download() as download:
        dialog.get_by_role("button", name=re.compile("Download")).or_(
            dialog.get_by_role("link", name=re.compile("Download"))
        ).click()
    rows = download.value.path().read_text().splitlines()
    assert len(rows) == 121
    assert {row.split(",")[0] for row in rows[1:]} == {"api"}
