"""The whole product from outside: start, memory, pages, lateness under load, restart.

`python tests/bench/bench_product.py [start|memory|overview|paint|load|restart ...]`
"""

from __future__ import annotations

import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from figures import Figure, note, percentile, show
from product import Product, eventually, product

from checks.base import Status
from dashboard.clock import SystemClock
from dashboard.model import Result
from dashboard.storage.store import TinyStore

ROUNDS = 5
LOAD_CHECKS, LOAD_EVERY_S, LOAD_PAGES_PER_S, LOAD_WINDOW_S = 1000, 10, 20, 30

BARE_SERVER = """
import sys
from flask import Flask
from waitress.server import create_server
app = Flask("bare")
body = open(sys.argv[1]).read() if len(sys.argv) > 1 else "<!doctype html><title>x</title><p>hello</p>"
app.add_url_rule("/", "index", lambda: body)
server = create_server(app, host="127.0.0.1", port=0)
print(server.effective_port, flush=True)
server.run()
"""
BARE_TIMER = """
import asyncio, json, sys, time
count, every_s, run_s = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
late = []
def fire(due):
    late.append(loop.time() - due)
    if due + every_s < end:
        loop.call_at(due + every_s, fire, due + every_s)
loop = asyncio.new_event_loop()
end = loop.time() + run_s
for index in range(count):
    due = loop.time() + every_s * index / count
    loop.call_at(due, fire, due)
loop.call_at(end, loop.stop)
loop.run_forever()
late.sort()
print(late[int(0.99 * len(late))])
"""
TARGET = """
import asyncio
async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nConnection: close\\r\\n\\r\\nready")
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@contextlib.contextmanager
def program(source: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A small program that prints its port, and is gone at the end."""
    process = subprocess.Popen([sys.executable, "-c", source, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def workshop() -> Iterator[tuple[Product, int]]:
    """A product in a folder of its own, and the port of a web server to check."""
    with tempfile.TemporaryDirectory() as folder, program(TARGET) as (_, port), product(Path(folder)) as made:
        yield made, port


def configuration(count: int, port: int, every: str) -> str:
    checks = "".join(
        f"  - {{id: check-{n}, name: Check {n}, type: http, url: 'http://127.0.0.1:{port}/{n}', "
        f"body_contains: ready, group: Group {n % 12}, tags: [t{n % 5}]}}\n"
        for n in range(count)
    )
    return f"defaults: {{every: {every}}}\nchecks:\n{checks}"


def fill(data: Path, count: int, *, every_s: int, hours: int = 24) -> None:
    """A history of so many checks, mostly ok."""
    store = TinyStore(data, SystemClock())
    store.open()
    start_at = datetime.now(UTC) - timedelta(hours=hours)
    for step in range(hours * 3600 // every_s):
        store.append(
            [
                Result(
                    check_id=f"check-{n}",
                    at=start_at + timedelta(seconds=step * every_s + n / 100),
                    status=Status.CRITICAL if (step * 7 + n * 13) % 400 == 0 else Status.OK,
                    summary=f"200 in {100 + (step * n) % 90} ms, text found",
                    duration_s=0.1 + ((step * n) % 90) / 1000,
                    covers_s=every_s * 1.5 + 5,
                    worker="prober-1",
                    metrics={"response_time": 0.1 + ((step * n) % 90) / 1000},
                )
                for n in range(count)
            ]
        )
    store.close()


def fetch(port: int, path: str = "/", connection: http.client.HTTPConnection | None = None) -> tuple[float, bytes]:
    """How long a page took, to its last byte, and the page as it came (compressed where the server does so)."""
    asked = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    start_s = time.perf_counter()
    asked.request("GET", path, headers={"Accept-Encoding": "gzip"})
    answer = asked.getresponse()
    body = answer.read()
    took_s = time.perf_counter() - start_s
    assert answer.status == 200, answer.status
    if connection is None:
        asked.close()
    return took_s, body


def port_of(made: Product) -> int:
    return urllib.parse.urlsplit(made.url).port


def bench_start() -> Iterator[Figure]:
    """`python run.py` to the first 200 on `/` with 100 checks; the yardstick is a bare Flask page by waitress."""
    ours, bare = [], []
    with workshop() as (made, port):
        made.configure(configuration(100, port, "10s"))
        for _ in range(ROUNDS):
            start_s = time.perf_counter()
            made.start()
            fetch(port_of(made))
            ours.append(time.perf_counter() - start_s)
            made.stop()
            start_s = time.perf_counter()
            with program(BARE_SERVER) as (_, bare_port):
                fetch(bare_port)
                bare.append(time.perf_counter() - start_s)
    value = statistics.median(ours)
    yield Figure(
        name="`python run.py` to the first page, 100 checks",
        value=value,
        unit="s",
        yardstick="bare Flask and waitress",
        yardstick_value=statistics.median(bare),
        bar="<= 1.2 s",
        is_met=value <= 1.2,
    )


def pss_mib(process: psutil.Process) -> float:
    return process.memory_full_info().pss / 2**20


def bench_memory() -> Iterator[Figure]:
    """Memory of both processes, idle with 10 checks, after a page was shown."""
    with workshop() as (made, port), program(BARE_SERVER) as (bare, bare_port):
        made.configure(configuration(10, port, "10s"))
        made.start()
        fetch(port_of(made))
        fetch(bare_port)
        eventually(lambda: made.health()["store"]["rows"] >= 20, 40)
        pair = [psutil.Process(made.process.pid), made.prober()]
        value = sum(pss_mib(each) for each in pair)
        yield Figure(
            name="memory of both processes (PSS), idle, 10 checks",
            value=value,
            unit="MiB",
            yardstick="bare Flask and waitress, one process",
            yardstick_value=pss_mib(psutil.Process(bare.pid)),
            bar="<= 150 MiB",
            is_met=value <= 150,
        )


@contextlib.contextmanager
def busy_board(count: int) -> Iterator[tuple[Product, int]]:
    """A running product that shows `count` checks with a day of history."""
    with workshop() as (made, port):
        note(f"writing a day of {count} checks ...")
        fill(made.data, count, every_s=300)
        made.configure(configuration(count, port, "60s"))
        made.start()
        eventually(lambda: made.count("ok") >= count * 0.9, 60)
        yield made, port


def bench_overview() -> Iterator[Figure]:
    """The overview of 500 checks, a result arriving every 120 ms, over one kept connection; compression included."""
    with busy_board(500) as (made, _), tempfile.NamedTemporaryFile("w", suffix=".html") as page:
        page.write(made.get("/").decode())
        page.flush()
        with program(BARE_SERVER, page.name) as (_, bare_port):
            ours, bare = [], []
            mine = http.client.HTTPConnection("127.0.0.1", port_of(made))
            theirs = http.client.HTTPConnection("127.0.0.1", bare_port)
            for _ in range(300):
                took_s, body = fetch(port_of(made), connection=mine)
                ours.append(took_s)
                bare.append(fetch(bare_port, connection=theirs)[0])
                time.sleep(0.03)
        value = percentile(ours, 0.95) * 1000
        yield Figure(
            name=f"overview of 500 checks with history, p95, {len(body) / 1024:.0f} KB compressed",
            value=value,
            unit="ms",
            yardstick="bare Flask, the same bytes uncompressed, p95",
            yardstick_value=percentile(bare, 0.95) * 1000,
            bar="<= 20 ms",
            is_met=value <= 20,
        )


def bench_paint() -> Iterator[Figure]:
    """The same overview painted in a cold Chromium; the yardstick is a page with one word."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with busy_board(500) as (made, _), program(BARE_SERVER) as (_, bare_port), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)

        def paint_s(url: str) -> float:
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.goto(url, wait_until="load")
            painted = page.evaluate(
                """() => new Promise(done => new PerformanceObserver(list => {
                    const last = list.getEntries().at(-1); done(last.startTime + (last.duration || 0));
                }).observe({type: 'largest-contentful-paint', buffered: true}))"""
            )
            context.close()
            return painted / 1000

        paint_s(made.url + "/")
        ours, bare = [], []
        for _ in range(ROUNDS):
            ours.append(paint_s(made.url + "/"))
            bare.append(paint_s(f"http://127.0.0.1:{bare_port}/"))
        browser.close()
    value = statistics.median(ours)
    yield Figure(
        name="overview of 500 checks painted in Chromium, cold cache (largest contentful paint)",
        value=value,
        unit="s",
        yardstick="a page with one word",
        yardstick_value=statistics.median(bare),
        bar="<= 0.5 s",
        is_met=value <= 0.5,
    )


def bench_load() -> Iterator[Figure]:
    """1,000 HTTP checks every 10 s, a page fetched 20 times a second; a bare timer runs in the same time."""
    with workshop() as (made, port):
        made.configure(configuration(LOAD_CHECKS, port, f"{LOAD_EVERY_S}s"))
        made.start()
        web_port = port_of(made)
        eventually(lambda: made.health()["store"]["rows"] >= LOAD_CHECKS, 60)
        stop = threading.Event()
        pages: list[float] = []
        reader = threading.Thread(target=_read_pages, args=(web_port, stop, pages))
        reader.start()
        ours, bare = [], []
        time.sleep(LOAD_WINDOW_S)  # the first window still holds the start
        for _ in range(ROUNDS):
            timer = subprocess.run(
                [sys.executable, "-c", BARE_TIMER, str(LOAD_CHECKS), str(LOAD_EVERY_S), str(LOAD_WINDOW_S)],
                capture_output=True,
                text=True,
                check=True,
            )
            bare.append(float(timer.stdout) * 1000)
            ours.append(made.health()["prober"]["lateness_p99_s"] * 1000)
            note(f"window: late p99 {ours[-1]:.2f} ms, bare timer {bare[-1]:.2f} ms, pages {len(pages)}")
        stop.set()
        reader.join()
        missing, skipped = _lost(made)
        value, yardstick = statistics.median(ours), statistics.median(bare)
        yield Figure(
            name=f"1,000 HTTP checks every 10 s, 20 pages/s (page p95 {percentile(pages, 0.95) * 1000:.1f} ms): lateness p99",
            value=value,
            unit="ms",
            yardstick="bare asyncio timer, p99",
            yardstick_value=yardstick,
            bar="<= yardstick + 10 ms",
            is_met=value <= yardstick + 10,
        )
        yield Figure(
            name="the same: results lost or skipped",
            value=float(missing + skipped),
            unit="results",
            yardstick="none",
            yardstick_value=0.0,
            bar="0",
            is_met=missing + skipped == 0,
        )


def _read_pages(port: int, stop: threading.Event, took: list[float]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    due_s = time.monotonic()
    while not stop.is_set():
        took.append(fetch(port, connection=connection)[0])
        due_s += 1 / LOAD_PAGES_PER_S
        stop.wait(max(0.0, due_s - time.monotonic()))


def _lost(made: Product) -> tuple[int, int]:
    """Grid places without a result, over all checks but each one's first and last; and the runs that were skipped."""
    skipped = made.health()["prober"]["skipped"]
    by_check: dict[str, list[float]] = {}
    for line in made.get("/export?format=ndjson").decode().splitlines():
        row = json.loads(line)
        by_check.setdefault(row["check_id"], []).append(datetime.fromisoformat(row["at"]).timestamp())
    assert len(by_check) == LOAD_CHECKS
    missing = 0
    for times in by_check.values():
        on_grid = times[1:]  # the first run is the one at the start, off the grid
        places = round((on_grid[-1] - on_grid[0]) / LOAD_EVERY_S) + 1
        missing += places - len(on_grid)
    return missing, skipped


def bench_restart() -> Iterator[Figure]:
    """After a restart with 500 checks every 60 s: until all have run again."""
    with workshop() as (made, port):
        made.configure(configuration(500, port, "60s"))
        made.start()
        eventually(lambda: made.health()["store"]["rows"] >= 500, 90)
        made.stop()
        start_s = time.perf_counter()
        made.start()
        before = 500
        eventually(lambda: len({row["check_id"] for row in made.rows(**{"from": "-1h"})[before:]}) == 500, 90)
        value = time.perf_counter() - start_s
        yield Figure(
            name="restart with 500 checks every 60 s: all have run again within",
            value=value,
            unit="s",
            yardstick="one interval",
            yardstick_value=60.0,
            bar="<= 1 interval",
            is_met=value <= 60,
        )


BENCHES = {
    "start": bench_start,
    "memory": bench_memory,
    "overview": bench_overview,
    "paint": bench_paint,
    "restart": bench_restart,
    "load": bench_load,
}


def figures(names: list[str] | None = None) -> Iterator[Figure]:
    """All figures of the product, or those of the named benchmarks."""
    for name in names or BENCHES:
        yield from BENCHES[name]()


if __name__ == "__main__":
    sys.exit(min(1, show(figures(sys.argv[1:]))))
