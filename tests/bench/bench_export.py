"""The export of a million results: rows a second and memory, beside a plain csv.writer over values that are ready.

`python tests/bench/bench_export.py [rows]`
"""

from __future__ import annotations

import csv
import gc
import io
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from fakes import FakeServices, make_result
from figures import Figure, note, show

from checks.base import Status
from dashboard import create_app
from dashboard.clock import SystemClock
from dashboard.engine import export
from dashboard.runtime import tune_memory
from dashboard.storage.store import TinyStore
from dashboard.web.configuration import Test
from dashboard.web.server import WebServer

ROWS = 1_000_000
BATCH = 10_000
CHECKS = 500
LEAST_ROWS_PER_S, MOST_GROWTH_MB = 100_000, 20.0
MB = 1e6


def measure(rows: int = ROWS) -> Iterator[Figure]:
    """Rows a second to a file and over a socket, and the memory both take."""
    with tempfile.TemporaryDirectory() as folder:
        store = TinyStore(Path(folder), SystemClock())
        store.open()
        note(f"recording {rows:,} results")
        fill(store, rows)
        plain = plain_rows_per_s()
        for form in export.FORMATS:
            asked = {"tz": ["Europe/Berlin"], "format": [form]}
            request = export.parse_request(asked, now=datetime.now(UTC), zone="UTC", checks=())
            rate, growth_mb = timed(rows, lambda request=request: to_nowhere(export.write(request, store)))
            yield rate_figure(f"{form} export of {rows:,} rows", rate, plain, has_bar=form == "csv")
            yield growth_figure(f"memory growth of it, {form}", growth_mb)
        with served(store) as fetch:
            rate, growth_mb = timed(rows, fetch)
        yield rate_figure("CSV export over HTTP", rate, plain)
        yield growth_figure("memory growth of it, over HTTP", growth_mb)
        store.close()


def fill(store: TinyStore, rows: int) -> None:
    """Results of HTTP checks over the last 20 h, oldest first."""
    dice = random.Random(7)
    end_at = datetime.now(UTC) - timedelta(minutes=1)
    step_s = 20 * 3600 / rows
    for start in range(0, rows, BATCH):
        store.append(
            [
                make_result(
                    f"check-{index % CHECKS}",
                    end_at - timedelta(seconds=(rows - index) * step_s),
                    Status.CRITICAL if dice.random() < 0.01 else Status.OK,
                    summary=f"200 in {dice.randrange(1000)} ms, body as expected",
                    duration_s=round(dice.random(), 6),
                    metrics={
                        name: round(dice.random(), 6) for name in ("response_time", "dns", "connect", "first_byte")
                    },
                )
                for index in range(start, min(start + BATCH, rows))
            ]
        )


def plain_rows_per_s() -> float:
    """What csv.writer alone does with values that are texts and numbers already."""
    metrics = '{"response_time":0.184,"dns":0.01,"connect":0.02,"first_byte":0.15}'
    row = (
        "check-1",
        "2026-11-24T14:25:08.123456+01:00",
        "ok",
        "200 in 184 ms",
        0.184,
        "schedule",
        "",
        "prober-1",
        metrics,
    )
    rows = [row] * BATCH
    began_s = time.perf_counter()
    for _ in range(20):
        csv.writer(io.StringIO()).writerows(rows)
    return 20 * BATCH / (time.perf_counter() - began_s)


def to_nowhere(pieces: Iterator[bytes]) -> int:
    """Write the pieces to a file that keeps nothing; how many bytes it was given."""
    with open("/dev/null", "wb") as file:
        return sum(file.write(piece) for piece in pieces)


READER = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("GET", "/healthz")  # what the first request loads is not the export's
connection.getresponse().read()
print("ready", flush=True)
sys.stdin.readline()
connection.request("GET", "/export?tz=Europe/Berlin")
answer, size = connection.getresponse(), 0
while piece := answer.read(262144):
    size += len(piece)
print(size)
"""


@contextmanager
def served(store: TinyStore) -> Iterator[Callable[[], int]]:
    """Fetches the export through the web server, from another process."""
    services = FakeServices()
    services.history = store
    server = WebServer(create_app(services.settings, services, configuration=Test), "127.0.0.1", 0)
    server.start()
    command = [sys.executable, "-c", READER, str(server.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        reader.stdout.readline()
        yield lambda: int(reader.communicate("\n")[0])
    server.stop()


def timed(rows: int, work: Callable[[], int]) -> tuple[float, float]:
    """Rows a second, and how far memory grew meanwhile, in MB."""
    gc.collect()
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began_s = time.perf_counter()
    size = work()
    took_s = time.perf_counter() - began_s
    done.set()
    watcher.join()
    note(f"{size / MB:,.0f} MB in {took_s:.1f} s")
    return rows / took_s, (peak - before) / MB


def rate_figure(name: str, rate: float, plain: float, *, has_bar: bool = True) -> Figure:
    """Speed beside the yardstick."""
    return Figure(
        name=name,
        value=rate,
        unit="rows/s",
        yardstick="csv.writer over ready values",
        yardstick_value=plain,
        bar=f">= {LEAST_ROWS_PER_S:,} rows/s" if has_bar else "",
        is_met=rate >= LEAST_ROWS_PER_S if has_bar else None,
    )


def growth_figure(name: str, growth_mb: float) -> Figure:
    """Memory."""
    return Figure(
        name=name,
        value=growth_mb,
        unit="MB",
        yardstick="-",
        yardstick_value=0.0,
        bar=f"<= {MOST_GROWTH_MB:.0f} MB",
        is_met=growth_mb <= MOST_GROWTH_MB,
    )


if __name__ == "__main__":
    tune_memory()  # as `run.py serve` does
    sys.exit(show(measure(int(float(sys.argv[1])) if len(sys.argv) > 1 else ROWS)) > 0)
