"""Plugin runs a second: the command probe against a plain subprocess loop, in turns in the same run.

`python tests/bench/bench_command.py [RUNS]`
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from checks._measure import measure
from checks._tools import Tools
from checks.base import Status
from checks.command import Command
from dashboard.clock import SystemClock
from dashboard.prober.workers import Threads

ARGV = ("/bin/echo", "OK - fine | a=1;2;3 b=2s")
ROUNDS = 5


def run_plain(runs: int, at_once: int) -> None:
    """The yardstick: start, read, wait; threads where several run at once."""
    with ThreadPoolExecutor(at_once) as pool:
        done = list(pool.map(lambda _: subprocess.run(ARGV, capture_output=True, check=True), range(runs)))
    assert len(done) == runs


def run_probe(runs: int, at_once: int) -> None:
    """The same programs through the probe, its deadline, its judgement and the house's threads included."""

    async def one_after_another(tools: Tools, count: int) -> None:
        probe = Command(argv=ARGV)
        for _ in range(count):
            reading = await measure(probe, tools.context(timeout_s=10.0, memory={}), {})
            assert reading.status is Status.OK, reading

    async def all_of_them() -> None:
        async with Tools(blocking=Threads(), clock=SystemClock()) as tools:
            await asyncio.gather(*(one_after_another(tools, runs // at_once) for _ in range(at_once)))

    asyncio.run(all_of_them())


def rate(work: Callable[[int, int], None], runs: int, at_once: int) -> float:
    start_s = time.perf_counter()
    work(runs, at_once)
    return runs / (time.perf_counter() - start_s)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print(f"| plugin runs/s, median of {ROUNDS} x {runs} | command probe | plain subprocess | ratio |")
    print("| --- | --- | --- | --- |")
    for at_once in (1, 4):
        rates = [(rate(run_probe, runs, at_once), rate(run_plain, runs, at_once)) for _ in range(ROUNDS)]
        ours, plain = (statistics.median(column) for column in zip(*rates, strict=True))
        print(f"| {at_once} at once | {ours:.0f} | {plain:.0f} | {ours / plain:.2f} |")


if __name__ == "__main__":
    main()
