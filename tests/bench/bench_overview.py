"""The overview over fakes, where only the pages cost: the server's time, the bytes, the live update, the paint.

`python tests/bench/bench_overview.py [CHECKS]`
"""

from __future__ import annotations

import gzip
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from fakes import FakeClock, FakeServices, sample_services
from figures import Figure, note, percentile, show

from dashboard import create_app
from dashboard.web.configuration import Test
from dashboard.web.server import WebServer

ROUNDS = 100
CHANGED = 50  # results between two looks
MOST_PAGE_MS, MOST_PAGE_KB, MOST_PAINT_S = {500: 20.0, 2000: 50.0}, 140.0, {500: 0.5, 2000: 1.0}
GZIP = {"Accept-Encoding": "gzip"}


class HeldClock(FakeClock):
    """It is always the same time of day, while seconds pass as they do."""

    def monotonic_s(self) -> float:
        return time.monotonic()


def change(services: FakeServices, dice: random.Random) -> None:
    """As many checks as change in a second of a busy board get a new version."""
    for check_id in dice.sample(list(services.board.views), CHANGED):
        services.board.put(services.board.views[check_id])


def times_ms(look: Callable[[], object], before: Callable[[], None]) -> list[float]:
    """How long each look took, `before` left out."""
    took = []
    for _ in range(ROUNDS):
        before()
        began_s = time.perf_counter()
        look()
        took.append((time.perf_counter() - began_s) * 1000)
    return took


def bench_server(count: int = 500) -> Iterator[Figure]:
    """The page and its live update, 50 checks changed before each look, compression included."""
    services, dice = sample_services(count), random.Random(1)
    client = create_app(services.settings, services, configuration=Test, clock=HeldClock()).test_client()
    page = client.get("/", headers=GZIP).get_data()
    plain = gzip.decompress(page)
    squeeze = percentile(times_ms(lambda: gzip.compress(plain, 1), lambda: None), 0.95)
    full = percentile(times_ms(lambda: client.get("/", headers=GZIP), lambda: change(services, dice)), 0.95)
    bar_ms = MOST_PAGE_MS.get(count)
    yield Figure(
        name=f"overview of {count} checks, {CHANGED} changed, server p95",
        value=full,
        unit="ms",
        yardstick="compressing it alone, p95",
        yardstick_value=squeeze,
        bar=f"<= {bar_ms:g} ms" if bar_ms else "",
        is_met=full <= bar_ms if bar_ms else None,
    )
    quarter = "/?bars=90d"
    client.get(quarter, headers=GZIP)  # reads the 90 days of every check
    days = percentile(times_ms(lambda: client.get(quarter, headers=GZIP), lambda: change(services, dice)), 0.95)
    yield Figure(
        name=f"the same with bars of 90 days, {CHANGED} changed, server p95",
        value=days,
        unit="ms",
        yardstick="with bars of 24 h, p95",
        yardstick_value=full,
        bar=f"<= {bar_ms:g} ms" if bar_ms else "",
        is_met=days <= bar_ms if bar_ms else None,
    )
    tags = [re.search(rb'hx-ptag="([^"]+)"', plain)[1].decode()]

    def look() -> None:
        answer = client.get("/live/overview", headers=GZIP | {"HX-PTag": tags[-1], "HX-Request": "true"})
        tags.append(answer.headers["HX-PTag"])

    look()
    yield Figure(
        name=f"live update with {CHANGED} rows of {count}, server p95",
        value=percentile(times_ms(look, lambda: change(services, dice)), 0.95),
        unit="ms",
        yardstick="the whole page, p95",
        yardstick_value=full,
        bar="",
        is_met=None,
    )
    assets = re.findall(rb'(?:src|href)="(/static/[^"]+)"', plain)
    total = len(page) + sum(len(client.get(url.decode(), headers=GZIP).get_data()) for url in set(assets))
    yield Figure(
        name=f"overview of {count} checks and all its assets, compressed",
        value=total / 1024,
        unit="KB",
        yardstick="the page itself",
        yardstick_value=len(page) / 1024,
        bar=f"<= {MOST_PAGE_KB:g} KB" if count == 500 else "",
        is_met=total / 1024 <= MOST_PAGE_KB if count == 500 else None,
    )


def bench_paint(count: int = 500) -> Iterator[Figure]:
    """The page painted in a cold Chromium, median of 7."""
    from playwright.sync_api import sync_playwright

    services = sample_services(count)
    server = WebServer(create_app(services.settings, services, configuration=Test, clock=HeldClock()), "127.0.0.1", 0)
    server.start()
    paints = """() => new Promise(done => new PerformanceObserver(list => done(list.getEntries().at(-1).startTime))
        .observe({type: 'largest-contentful-paint', buffered: true}))"""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )

        def paint_s(path: str) -> float:
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.goto(server.url + path, wait_until="load")
            painted = page.evaluate(paints) / 1000
            context.close()
            return painted

        paint_s("/")
        ours, small = zip(*((paint_s("/"), paint_s("/?q=no-such-check")) for _ in range(7)), strict=True)
        browser.close()
    services.board.wake()
    server.stop()
    value, bar_s = statistics.median(ours), MOST_PAINT_S.get(count)
    yield Figure(
        name=f"overview of {count} checks painted in Chromium, cold cache",
        value=value,
        unit="s",
        yardstick="the same page without rows",
        yardstick_value=statistics.median(small),
        bar=f"<= {bar_s:g} s" if bar_s else "",
        is_met=value <= bar_s if bar_s else None,
    )


def bench_overview(count: int = 500) -> Iterator[Figure]:
    """All of them."""
    note(f"drawing a day of {count} checks ...")
    yield from bench_server(count)
    yield from bench_paint(count)


if __name__ == "__main__":
    sys.exit(show(bench_overview(*map(int, sys.argv[1:]))))
