"""The export in a real Chromium: as a dialog over its page, as a page of its own, and without JavaScript."""

from __future__ import annotations

import csv

import pytest
from fakes import sample_services
from playwright.sync_api import expect

WIDTHS = (360, 768, 1024, 1440)


def test_the_dialog_takes_the_filter_and_downloads_what_it_shows(page, serve, faults):
    server = serve(sample_services(40))
    page.goto(server.url + "/?q=tag:web")
    page.locator("#export-link").click()
    dialog = page.locator("#export-dialog")
    expect(dialog.get_by_label("Filter", exact=True)).to_have_value("tag:web")
    dialog.get_by_role("button", name="7 d").click()
    expect(dialog.get_by_label("From", exact=True)).to_have_value("-7d")
    dialog.get_by_label("critical").check()
    expect(page.locator("#export-command")).to_contain_text("status=critical")
    shown = dialog.locator("tbody tr").count()
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename.startswith("watchroom_results_2026-11-17T142508_")
    with open(download.value.path(), newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == shown > 0
    assert {row["status"] for row in rows} == {"critical"}


def test_choosing_rollups_changes_the_form_its_preview_and_the_file(page, serve, faults):
    page.goto(serve(sample_services(8)).url + "/checks/storefront")
    page.get_by_role("main").get_by_role("link", name="Export", exact=True).click()
    page.get_by_label("From", exact=True).fill("-6h")
    page.get_by_label("rollups").check()
    expect(page.get_by_label("a day")).to_be_checked()
    expect(page.get_by_label("rollups")).to_be_focused()
    expect(page.get_by_label("From", exact=True)).to_have_value("-6h")
    page.get_by_label("an hour").check()
    expect(page.locator("#export-command")).to_contain_text("dataset=rollups&step=1h&check=storefront")
    expect(page.locator("#export-preview tbody tr")).to_have_count(7)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename.startswith("watchroom_rollups-1h_")
    page.get_by_label("results").check()
    expect(page.get_by_role("checkbox", name="critical", exact=True)).to_be_visible()
    expect(page.locator("#export-command")).not_to_contain_text("step=")


def test_escape_closes_the_dialog_and_gives_the_focus_back(page, serve, faults):
    page.goto(serve(sample_services(8)).url)
    page.locator("#export-link").click()
    expect(page.locator("#export-dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#export-dialog")).to_have_count(0)
    expect(page.locator("#export-link")).to_be_focused()


def test_the_check_page_exports_its_check(page, serve, faults):
    page.goto(serve(sample_services(8)).url + "/checks/storefront")
    page.get_by_role("main").get_by_role("link", name="Export", exact=True).click()
    expect(page.locator("#export-command")).to_contain_text("check=storefront")
    expect(page.locator("#export-preview tbody tr")).to_have_count(20)


def test_a_fault_is_said_while_typing_and_the_last_word_wins(page, serve, faults):
    page.goto(serve(sample_services(8)).url + "/exports")
    page.get_by_label("From", exact=True).fill("yesterday")
    expect(page.get_by_role("alert")).to_contain_text("is not a time")
    page.get_by_label("From", exact=True).fill("-1h")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator("#export-command")).to_contain_text("from=-1h")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dialog_and_page_have_no_barrier_at_any_width(page, serve, faults, violations, scheme):
    server = serve(sample_services(40))
    page.emulate_media(color_scheme=scheme)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 844})
        for dataset in ("results", "rollups"):
            page.goto(f"{server.url}/exports?dataset={dataset}")
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert violations(page) == []
        page.goto(server.url + "/?q=tag:web")
        page.locator("#export-link").click()
        expect(page.locator("#export-dialog")).to_be_visible()
        assert violations(page) == []
        page.keyboard.press("Escape")


def test_without_javascript_the_form_works(browser, serve):
    server = serve(sample_services(8))
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(server.url)
        page.get_by_role("link", name="Export", exact=True).click()
        page.get_by_role("button", name="24 h").click()
        expect(page.get_by_label("From", exact=True)).to_have_value("-24h")
        page.get_by_label("NDJSON").check()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        assert download.value.suggested_filename.endswith(".ndjson")
        page.get_by_label("critical").check()
        page.get_by_label("rollups").check()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        assert download.value.suggested_filename.startswith("watchroom_rollups-1d_")
        page.get_by_role("button", name="Refresh preview").click()
        expect(page.get_by_label("a day")).to_be_checked()
        expect(page.get_by_role("checkbox", name="critical", exact=True)).to_have_count(0)
