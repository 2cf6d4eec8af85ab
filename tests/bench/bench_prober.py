"""How late 1,000 HTTP checks every 10 s start, against a bare asyncio timer in the same run; and whether a result is lost.

`python tests/bench/bench_prober.py [CHECKS] [WINDOWS]`
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from checks.http import Http
from dashboard.clock import SystemClock
from dashboard.model import Check, Result, Schedule
from dashboard.prober.grid import Grid
from dashboard.prober.supervisor import ProberSupervisor

EVERY_S = 10.0
SETTLE_S = 3.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nready\n"


@dataclass
class Figures:
    """p99 of lateness in seconds, one number a window, and what the windows missed."""

    lateness_p99_s: list[float]
    timer_p99_s: list[float]
    checks: int
    expected: int
    lost: int
    duplicates: int
    bad: int

    @property
    def over_the_timer_s(self) -> float:
        """What the prober adds to a bare timer, medians of the windows."""
        return statistics.median(self.lateness_p99_s) - statistics.median(self.timer_p99_s)


@dataclass
class Recorded:
    """Every result that the supervisor handed over."""

    results: list[Result] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, results: Sequence[Result]) -> None:
        with self.lock:
            self.results += results


@contextmanager
def http_server() -> Iterator[int]:
    """The port of a server process that answers every request with 200."""
    with _self_as("server") as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


def http_checks(count: int, port: int, every_s: float = EVERY_S) -> tuple[Check, ...]:
    """So many checks of that server."""
    return tuple(
        Check(
            id=f"bench-{number}",
            name=f"bench {number}",
            probe=Http(url=f"http://127.0.0.1:{port}/{number}", body_contains="ready"),
            schedule=Schedule(every_s=every_s, timeout_s=every_s / 2),
        )
        for number in range(count)
    )


@contextmanager
def timer(count: int, windows: Sequence[datetime], window_s: float) -> Iterator[subprocess.Popen[str]]:
    """A process that runs so many bare asyncio timers on the checks' grids; `timer_p99_s` reads what it saw."""
    with _self_as("timer", str(count), windows[0].isoformat(), str(len(windows)), str(window_s)) as process:
        yield process


def timer_p99_s(process: subprocess.Popen[str]) -> list[float]:
    """The bare timers' p99 of each window."""
    assert process.stdout is not None
    return list(json.loads(process.stdout.readline()))


def windows_from(now_at: datetime, count: int, window_s: float = EVERY_S) -> list[datetime]:
    """Where the windows begin, once the start has settled."""
    return [now_at + timedelta(seconds=SETTLE_S + EVERY_S + number * window_s) for number in range(count)]


def judge(checks: Sequence[Check], results: Sequence[Result], windows: Sequence[datetime], window_s: float) -> Figures:
    """Lateness by the results' own start instants against the grid; each instant of the grid must have one result."""
    found: Counter[tuple[str, datetime]] = Counter()
    grids = {check.id: Grid.of(check.id, check.schedule.every_s) for check in checks}
    period = timedelta(seconds=checks[0].schedule.every_s)
    by_window: list[list[float]] = [[] for _ in windows]
    for result in results:
        due_at = grids[result.check_id].after(result.at - period)
        index = int((due_at - windows[0]).total_seconds() // window_s)
        if due_at >= windows[0] and index < len(windows):
            by_window[index].append((result.at - due_at).total_seconds())
            found[result.check_id, due_at] += 1
    end_at = windows[-1] + timedelta(seconds=window_s)
    expected = sum(len(list(_instants(grid, windows[0], end_at))) for grid in grids.values())
    return Figures(
        lateness_p99_s=[_p99(lateness) for lateness in by_window],
        timer_p99_s=[],
        checks=len(checks),
        expected=expected,
        lost=expected - len(found),
        duplicates=found.total() - len(found),
        bad=sum(result.status.is_bad for result in results),
    )


def run(count: int = 1000, windows_count: int = 5) -> Figures:
    """The whole measurement, a real prober and nothing else on the machine but what is there anyway."""
    recorded = Recorded()
    supervisor = ProberSupervisor(on_results=recorded.take, on_run=lambda *_: None, clock=SystemClock())
    windows = windows_from(datetime.now(UTC), windows_count)
    with http_server() as port, timer(count, windows, EVERY_S) as bare:
        checks = http_checks(count, port)
        supervisor.start(checks, commands_enabled=False)
        try:
            bare_p99_s = timer_p99_s(bare)
            time.sleep(1.0)  # the last results of the last window are on their way
        finally:
            supervisor.stop()
    figures = judge(checks, recorded.results, windows, EVERY_S)
    figures.timer_p99_s = bare_p99_s
    return figures


def _instants(grid: Grid, start_at: datetime, end_at: datetime) -> Iterator[datetime]:
    at = grid.after(start_at - timedelta(microseconds=1))
    while at < end_at:
        yield at
        at = grid.after(at)


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(0.99 * len(values))] if values else float("inf")


@contextmanager
def _self_as(*part: str) -> Iterator[subprocess.Popen[str]]:
    """This file once more, as another process that plays the part."""
    process = subprocess.Popen([sys.executable, __file__, "--as", *part], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def _serve() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _time(count: int, start_at: datetime, windows_count: int, window_s: float) -> None:
    """Bare timers: nothing happens when they ring but that the time is noted."""
    loop = asyncio.get_running_loop()
    offset_s = loop.time() - time.time()
    lateness: list[list[float]] = [[] for _ in range(windows_count)]
    end_at = start_at + timedelta(seconds=windows_count * window_s)

    def ring(due_s: float, window: int) -> None:
        lateness[window].append(loop.time() - due_s)

    for number in range(count):
        for due_at in _instants(Grid.of(f"bench-{number}", EVERY_S), start_at, end_at):
            due_s = due_at.timestamp() + offset_s
            loop.call_at(due_s, ring, due_s, int((due_at - start_at).total_seconds() // window_s))
    await asyncio.sleep(end_at.timestamp() + offset_s - loop.time() + 0.5)
    print(json.dumps([_p99(window) for window in lateness]), flush=True)


def main() -> None:
    """Print the figures, or play a part of the measurement."""
    match sys.argv[1:]:
        case ["--as", "server"]:
            asyncio.run(_serve())
        case ["--as", "timer", count, start_at, windows_count, window_s]:
            asyncio.run(_time(int(count), datetime.fromisoformat(start_at), int(windows_count), float(window_s)))
        case given:
            report(run(*map(int, given)))


def report(figures: Figures) -> None:
    """The figures as rows of the bench table."""
    ours_s, bare_s = statistics.median(figures.lateness_p99_s), statistics.median(figures.timer_p99_s)
    print("| figure | ours | yardstick: bare asyncio timer | ours - yardstick | bar |")
    print("| --- | --- | --- | --- | --- |")
    print(
        f"| {figures.checks} HTTP checks every {EVERY_S:.0f} s: lateness p99, median of {len(figures.lateness_p99_s)} "
        f"| {ours_s * 1000:.2f} ms | {bare_s * 1000:.2f} ms | {figures.over_the_timer_s * 1000:+.2f} ms | <= +10 ms |"
    )
    print(
        f"| results lost, doubled, bad of {figures.expected} "
        f"| {figures.lost}, {figures.duplicates}, {figures.bad} | | | 0, 0, 0 |"
    )


if __name__ == "__main__":
    main()
