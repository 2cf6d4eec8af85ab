"""The overview in a real Chromium: it paints, it stays live, it runs checks, it can be used by keyboard and by everyone."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes import NOW, FakeServices, make_check, make_result, sample_services, too_soon, view_of
from playwright.sync_api import Page, expect

from checks.base import Status
from dashboard.web import words

WITHIN_MS = 1000


def turn(services: FakeServices, check_id: str, status: Status, summary: str) -> None:
    check = services.board.views[check_id].check
    result = make_result(check_id, NOW - timedelta(seconds=1), status, summary=summary)
    services.board.put(view_of(check, [result]))


def open_overview(page: Page, url: str, query: str = "") -> None:
    """Load the page and wait until it hears of changes."""
    with page.expect_response("**/live/overview*"):
        page.goto(url + "/" + query)


def test_the_page_paints_and_the_content_fits_every_width(page, serve, faults):
    server = serve(sample_services(130))
    for width in (360, 390, 768, 1024, 1152, 1280, 1440, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        for query in ("", "?bars=90d"):
            open_overview(page, server.url, query)
            expect(page.get_by_role("heading", name="Needs attention")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") == width


def test_a_check_that_turns_critical_is_on_the_screen_within_a_second(page, serve, faults):
    services = sample_services(130)
    open_overview(page, serve(services).url)
    turn(services, "pricing-api", Status.CRITICAL, "connection refused at 10.0.0.9:443")
    problem = page.locator("#p-pricing-api")
    expect(problem).to_contain_text("connection refused at 10.0.0.9:443", timeout=WITHIN_MS)
    expect(problem).to_have_class(re.compile("is-critical"))
    expect(page.locator("#c-pricing-api .status")).to_have_text("critical")
    expect(page).to_have_title("(3 critical, 3 warning, 1 unknown) Overview, Watchroom")
    assert page.locator("section.hot .name").first.inner_text() == "pricing-api"


def test_a_folded_group_that_turns_critical_opens_and_stays_as_people_leave_it(page, serve, faults):
    services = sample_services(130)
    open_overview(page, serve(services).url)
    group = page.locator("details.grp", has=page.locator("#c-accounts-api"))
    expect(group).not_to_have_attribute("open", "")
    turn(services, "accounts-api", Status.CRITICAL, "no answer")
    expect(group).to_have_attribute("open", "", timeout=WITHIN_MS)
    group.locator("summary").click()
    turn(services, "accounts-api", Status.CRITICAL, "still no answer")
    expect(page.locator("#p-accounts-api")).to_contain_text("still no answer", timeout=2 * WITHIN_MS)
    expect(group).not_to_have_attribute("open", "")


def test_focus_scroll_and_typing_survive_live_updates(page, serve, faults):
    services = sample_services(130)
    open_overview(page, serve(services).url)
    name = page.locator("#c-cart-api-3 .name")
    name.focus()
    page.evaluate("scrollTo(0, 400)")
    turn(services, "cart-api-3", Status.OK, "200 in 77 ms")
    expect(page.locator("#c-cart-api-3 .why")).to_have_text("200 in 77 ms", timeout=2 * WITHIN_MS)
    assert name.evaluate("element => element === document.activeElement")
    assert page.evaluate("scrollY") == 400
    field = page.locator("#q")
    field.press_sequentially("cart")
    turn(services, "cart-api", Status.CRITICAL, "no answer")
    expect(page.locator("#p-cart-api")).to_be_visible(timeout=2 * WITHIN_MS)
    field.press_sequentially("-api")
    expect(field).to_have_value("cart-api")
    assert field.evaluate("element => element === document.activeElement")


def test_the_bars_switch_to_90_days_and_stay_so_while_the_page_lives_and_the_filter_changes(page, serve, faults):
    services = sample_services(30)
    open_overview(page, serve(services).url)
    bar = page.locator("#c-storefront svg.bar")
    expect(bar).to_have_attribute("aria-label", re.compile("^last 24"))
    with page.expect_response("**/live/overview*bars=90d*"):
        page.get_by_role("link", name="90 d", exact=True).click()
    expect(page).to_have_url(re.compile(r"/\?bars=90d$"))
    expect(bar).to_have_attribute("aria-label", re.compile("^last 90 days: "))
    assert abs(bar.bounding_box()["width"] - 179.33) < 0.05  # 2 px a day on this screen
    turn(services, "storefront", Status.CRITICAL, "no answer")
    expect(page.locator("#p-storefront svg.bar")).to_have_attribute(
        "aria-label", re.compile("^last 90 days: "), timeout=WITHIN_MS
    )
    page.locator("#q").press_sequentially("storefront")
    expect(page).to_have_url(re.compile(r"/\?q=storefront&bars=90d$"), timeout=2 * WITHIN_MS)
    page.get_by_role("link", name="24 h", exact=True).click()
    expect(page).to_have_url(re.compile(r"/\?q=storefront$"))
    expect(bar).to_have_attribute("aria-label", re.compile("^last 24"))
    page.go_back()
    expect(bar).to_have_attribute("aria-label", re.compile("^last 90 days: "))


def test_a_run_keeps_the_bars_of_its_row(page, serve, faults):
    services = sample_services(30)
    services.runs.finish = False
    open_overview(page, serve(services).url, "?bars=90d")
    row = page.locator("#c-storefront")
    row.get_by_role("button").click()
    expect(row.get_by_role("button")).to_have_text("Queued", timeout=WITHIN_MS)
    expect(row.locator("svg.bar")).to_have_attribute("aria-label", re.compile("^last 90 days: "))


def test_run_shows_queued_and_then_the_result(page, serve, faults):
    services = sample_services(30)
    services.runs.finish = False
    open_overview(page, serve(services).url)
    row = page.locator("#c-storefront")
    row.get_by_role("button").click()
    expect(row.get_by_role("button")).to_have_text("Queued", timeout=WITHIN_MS)
    view = services.board.views["storefront"]
    services.board.put(replace(view, run_phase="running"))
    expect(row.get_by_role("button")).to_have_text("Running", timeout=WITHIN_MS)
    result = make_result("storefront", NOW, summary="200 in 12 ms", trigger="manual", by="local")
    services.board.put(replace(view, run_phase=None, result=result, summary=result.summary))
    expect(row.get_by_role("button")).to_have_text("Run", timeout=WITHIN_MS)
    expect(row.locator(".why")).to_have_text("200 in 12 ms, run by local")
    assert services.runs.asked == [("storefront", "local")]


def test_a_refused_run_is_said_in_words(page, serve):
    services = sample_services(30)
    services.runs.refuse = too_soon()
    open_overview(page, serve(services).url)
    page.locator("#c-storefront").get_by_role("button").click()
    expect(page.locator("#toast")).to_have_text("check 'api' ran less than a second ago: wait 0.6 s")


def test_typing_filters_live_and_the_address_follows(page, serve, faults):
    open_overview(page, serve(sample_services(130)).url)
    page.keyboard.press("/")
    page.keyboard.type("st:critical")
    expect(page.locator("#groups .n").first).to_contain_text("2 of 130")
    assert page.url.endswith("/?q=st:critical")
    expect(page.locator("#export-link")).to_have_attribute("href", "/exports?q=st%3Acritical")
    page.keyboard.type("x")
    expect(page.locator("#filter-fault")).to_contain_text("did you mean 'critical'")
    expect(page.locator("#groups .n").first).to_contain_text("2 of 130")
    page.keyboard.press("Backspace")
    expect(page.locator("#filter-fault")).to_be_hidden()
    page.reload()
    expect(page.locator("#q")).to_have_value("st:critical")
    page.get_by_role("link", name="clear").click()
    expect(page.locator("#q")).to_have_value("")


def test_what_a_typed_filter_finds_is_not_left_in_a_folded_group(page, serve, faults):
    checks = [make_check(f"c{index}", group=f"Floor {index % 3}") for index in range(90)]
    open_overview(page, serve(FakeServices(checks, [make_result(check.id) for check in checks])).url)
    expect(page.locator("#c-c3")).to_be_hidden()
    page.locator("#q").fill('group:"floor 0"')
    expect(page.locator("#c-c3")).to_be_visible()
    page.locator("#q").fill("")
    expect(page.locator("#groups .n").first).to_contain_text("90 in")
    expect(page.locator("#c-c3")).to_be_hidden()


def test_a_long_name_wraps_instead_of_lying_over_the_reason(page, serve, faults):
    check = make_check("a", name="a name of one check " * 9 + "x" * 60)
    services = FakeServices([check], [make_result("a", status=Status.CRITICAL, summary="no answer from " + "y" * 90)])
    server = serve(services)
    for width in (390, 768, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        open_overview(page, server.url)
        for part in (".id", ".because"):
            box = page.locator(f"#p-a {part}")
            assert box.evaluate("each => each.scrollWidth <= each.clientWidth"), (width, part)


def test_keys_move_run_and_open(page, serve, faults):
    services = sample_services(30)
    services.runs.finish = False
    open_overview(page, serve(services).url)
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("k")
    focused = page.evaluate("document.activeElement.closest('.row').id")
    assert focused == "p-checkout-api"
    page.keyboard.press("r")
    expect(page.locator("#p-checkout-api button")).to_have_text("Queued", timeout=WITHIN_MS)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.locator("#q").focus()
    page.keyboard.type("jkr?")
    expect(page.locator("#q")).to_have_value("jkr?")
    assert [check_id for check_id, _ in services.runs.asked] == ["checkout-api"]


def test_the_page_says_stale_and_recovers_when_the_server_is_back(page, serve):
    services = sample_services(30)
    server = serve(services)
    page.clock.install()
    open_overview(page, server.url)
    services.board.wake()
    server.stop()
    page.clock.run_for(40_000)
    expect(page.locator("#stale")).to_contain_text("no data for")
    expect(page).to_have_title(re.compile("^STALE"))
    assert page.locator("body").get_attribute("class") == "stale"

    again = sample_services(30)
    again.board.boot = "boot2"
    turn(again, "storefront", Status.CRITICAL, "it broke meanwhile")
    serve(again, server.port)
    page.clock.run_for(16_000)
    expect(page.locator("#p-storefront")).to_contain_text("it broke meanwhile", timeout=5000)
    expect(page.locator("#stale")).to_be_hidden()
    assert page.locator("body").get_attribute("class") == ""


def test_ages_grow_in_the_browser_in_the_words_of_the_server(page, serve, faults):
    open_overview(page, serve(FakeServices([make_check("a")], [make_result("a")])).url)
    for seconds in (0, 59, 60, 3599, 3600, 11_040, 86_400, 180_000, 604_800, 40_000_000):
        assert page.evaluate("seconds => Ages.span(seconds)", seconds) == words.span(seconds)
    expect(page.locator("#c-a .ago")).not_to_have_text(words.span(0), timeout=5000)


def test_colours_follow_the_choice_without_a_flash(page, serve, faults):
    url = serve(sample_services(30)).url
    open_overview(page, url)
    page.get_by_role("button", name="Dark").click()
    open_overview(page, url)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 21, 27)"
    page.get_by_role("button", name="Auto").click()
    assert page.evaluate("document.documentElement.dataset.theme") is None


@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(page, serve, faults, violations, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    services = sample_services(70)
    services.own.now = replace(services.own.now, troubles=("The disk is full.",), config_problems=("line 3: no",))
    services.board.views["cart-api"] = replace(
        services.board.views["cart-api"], run_phase="running", unconfirmed="1 of 2"
    )
    server = serve(services)
    for query in ("?bars=90d", ""):
        open_overview(page, server.url, query)
        assert violations(page) == []
    page.locator("#q").fill("zzz")
    expect(page.get_by_text("No check matches")).to_be_visible()
    assert violations(page) == []


def test_a_finger_finds_targets_of_44_pixels(browser, serve):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    open_overview(page, serve(sample_services(70)).url)
    small = page.evaluate(
        """() => [...document.querySelectorAll('main a, main button, main input, main summary, nav a')]
            .filter(element => element.checkVisibility({contentVisibilityAuto: true}))
            .map(element => [element.className || element.id, element.getBoundingClientRect().height])
            .filter(([, height]) => height < 43.9)"""
    )
    context.close()
    assert small == []


def test_the_page_reads_without_scripts(browser, serve):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    services = sample_services(30)
    page.goto(serve(services).url + "/?q=cart")
    expect(page.locator("#c-cart-api")).to_be_visible()
    page.locator("#c-cart-api").get_by_role("button").click()
    page.wait_for_url("**/?q=cart")
    context.close()
    assert services.runs.asked == [("cart-api", "local")]


def test_a_slow_script_does_not_leave_the_page_deaf(page, serve, faults):
    held = []
    page.route("**/hx-sse-*", lambda route: held.append(route))
    page.goto(serve(sample_services(30)).url, wait_until="commit")
    # not wait_for_function: looking again, it evaluates a string, which our content policy refuses
    page.evaluate("new Promise(done => { const look = () => window.htmx ? done() : setTimeout(look, 5); look(); })")
    page.evaluate("new Promise(done => setTimeout(() => setTimeout(done)))")  # htmx would have begun by now
    with page.expect_request("**/live/events", timeout=5000):
        held.pop().continue_()
