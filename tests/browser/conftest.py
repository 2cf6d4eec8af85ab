"""A real Chromium, a real server over fakes, and a watch on what no page may do: console errors, foreign requests."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import FakeClock, FakeServices
from playwright.sync_api import Page

from dashboard import create_app
from dashboard.web.configuration import Test
from dashboard.web.server import WebServer

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
# pytest 9.2 says so of the browser plugin's `base_url`, which we cannot change
PLUGIN_IS_OLD = pytest.mark.filterwarnings("ignore:Session-scoped fixtures defined as instance methods")
AXE = Path(__file__).with_name("axe-core-4.14.1.min.js")


class HeldClock(FakeClock):
    """It is always the same time of day, while seconds pass as they do."""

    def monotonic_s(self) -> float:
        return time.monotonic()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip where no Chromium is found and say so; in CI that is a failure instead."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(PLUGIN_IS_OLD)
            if not CHROMIUM and os.environ.get("CI") != "true":
                item.add_marker(pytest.mark.skip(reason="no Chromium found: install the package chromium"))


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, object]) -> dict[str, object]:
    return browser_type_launch_args | {"executable_path": CHROMIUM, "args": ["--no-sandbox", "--disable-gpu"]}


@pytest.fixture
def serve() -> Iterator[Callable[[FakeServices], WebServer]]:
    """Starts a server over the services; all are stopped at the end."""
    started: list[tuple[FakeServices, WebServer]] = []

    def start(services: FakeServices, port: int = 0) -> WebServer:
        app = create_app(services.settings, services, configuration=Test, clock=HeldClock())
        server = WebServer(app, "127.0.0.1", port)
        server.start()
        started.append((services, server))
        return server

    yield start
    for services, server in started:
        services.board.wake()
        server.stop()


@pytest.fixture
def faults(page: Page) -> Iterator[list[str]]:
    """What the page did wrong so far; anything in it fails the test at the end."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("http://127.0.0.1:", "data:", "blob:"))
            else found.append(f"foreign request: {request.url}")
        ),
    )
    yield found
    assert found == []


@pytest.fixture
def violations() -> Callable[[Page], list[str]]:
    """What axe-core finds wrong with the page: `rule: elements`. By evaluate, for the CSP refuses a script element."""
    source = AXE.read_text()

    def check(page: Page) -> list[str]:
        page.evaluate(source)
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [f"{rule['id']}: {[node['target'] for node in rule['nodes']][:5]}" for rule in result["violations"]]

    return check
