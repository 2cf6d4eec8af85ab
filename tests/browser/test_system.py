"""The page System in a real Chromium: it stays live, deletes a history after a question, and everybody can use it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes import NOW, FakeServices, make_check, make_result
from playwright.sync_api import expect


def with_archive() -> FakeServices:
    """One check that is configured, and 1,200 results of one that is not."""
    gone = [make_result("old-gateway", NOW - timedelta(seconds=10 * index)) for index in range(1200, 0, -1)]
    return FakeServices([make_check("api")], [*gone, make_result("api")])


def test_a_history_is_deleted_with_two_clicks_and_the_page_says_what_went(page, serve, faults):
    services = with_archive()
    url = serve(services).url
    page.goto(url)
    page.get_by_role("link", name="System").click()
    expect(page.get_by_role("link", name="System")).to_have_attribute("aria-current", "page")
    page.get_by_role("link", name="Delete history of old-gateway").click()
    expect(page.get_by_role("heading", name="Delete the history of old-gateway?")).to_be_visible()
    page.get_by_role("link", name="Keep them").click()
    assert len(services.history.rows) == 1201
    page.get_by_role("link", name="Delete history of old-gateway").click()
    page.get_by_role("button", name=re.compile(r"Delete 1.200 results")).click()
    expect(page.get_by_text("The history of old-gateway is deleted")).to_be_visible()
    expect(page.locator("#archive")).to_contain_text("None: every check with a history is configured.")
    assert {row.check_id for row in services.history.rows} == {"api"}
    assert page.goto(f"{url}/checks/old-gateway").status == 404
    faults.clear()  # the console tells of the 404


def test_trouble_shows_by_itself_and_goes_by_itself(page, serve, faults):
    services = with_archive()
    page.goto(f"{serve(services).url}/system")
    expect(page.get_by_text("Watchroom itself is well")).to_be_visible()
    well = services.own.now
    services.own.now = replace(well, troubles=("The prober is not running.",), prober_alive=False)
    page.evaluate("htmx.trigger('#live', 'look')")
    expect(page.locator(".verdict")).to_contain_text("1 thing needs you")
    expect(page.locator(".is-odd dd")).to_have_text("not running")
    services.own.now = well
    page.evaluate("htmx.trigger('#live', 'look')")
    expect(page.get_by_text("Watchroom itself is well")).to_be_visible()


def test_compacting_can_be_asked_for_and_is_shown_while_it_goes_on(page, serve, faults):
    services = with_archive()
    page.goto(f"{serve(services).url}/system")
    page.get_by_role("button", name="Compact now").click()
    expect(page.get_by_role("button", name="Compacting")).to_be_visible()
    services.upkeep.is_compacting = False
    page.evaluate("htmx.trigger('#live', 'look')")
    expect(page.get_by_role("button", name="Compact now")).to_be_visible()


def test_it_needs_no_javascript(browser, serve):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    services = with_archive()
    page.goto(f"{serve(services).url}/system")
    page.get_by_role("link", name="Delete history of old-gateway").click()
    page.get_by_role("button", name=re.compile("Delete")).click()
    expect(page.get_by_text("The history of old-gateway is deleted")).to_be_visible()
    page.get_by_role("button", name="Compact now").click()
    expect(page.get_by_text("Compacting: results are sealed")).to_be_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it_at_every_width(page, serve, faults, violations, scheme):
    page.emulate_media(color_scheme=scheme)
    services = with_archive()
    services.own.now = replace(services.own.now, troubles=("The disk is full.",), config_problems=("line 3: no",))
    url = serve(services).url
    for address in ("/system", "/system/forget/old-gateway"):
        page.goto(url + address)
        for width in (360, 390, 768, 1152, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert violations(page) == []


def test_the_page_of_an_archived_check_without_recent_results_stays_as_it_is(page, serve, faults):
    old = [make_result("old-gateway", NOW - timedelta(days=3, seconds=10 * index)) for index in range(20, 0, -1)]
    loads: list[str] = []
    page.on("load", lambda _: loads.append(page.url))
    page.goto(f"{serve(FakeServices([make_check('api')], [*old, make_result('api')])).url}/checks/old-gateway")
    expect(page.locator("#log tbody tr").first).to_be_visible()
    page.wait_for_timeout(2500)
    assert len(loads) == 1
