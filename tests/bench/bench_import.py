"""A bulk import: rows a second and memory, beside SQLite that takes the same results.

`python tests/bench/bench_import.py [rows] [directory]` leaves the store in the directory when one is given.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from figures import Figure, note, show
from memory import Growth
from sqlite_yardstick import SqliteResults
from workload import Fleet, end_of_history

from dashboard.clock import SystemClock
from dashboard.model import Result
from dashboard.runtime import tune_memory
from dashboard.storage.records import row_of_result
from dashboard.storage.store import TinyStore
from dashboard.storage.workshop import HelperProcess

ROWS = 10_000_000
CHECKS, EVERY_S = 500, 10
SHARE_FOR_SQLITE = 20
MOST_GROWTH_MB, MOST_LATER_MB = 150.0, 15.0


def history(rows: int) -> Fleet:
    """The fleet whose results are imported."""
    return Fleet(checks=CHECKS, every_s=EVERY_S, rounds=rows // CHECKS, end_at=end_of_history())


def measure(rows: int = ROWS, directory: Path | None = None) -> Iterator[Figure]:
    """The import into a store in that directory, or in one that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = history(rows)
        store = TinyStore(directory or Path(folder) / "store", SystemClock(), workshop=HelperProcess())
        store.open()
        counted = Counted(fleet.batches())
        note(f"importing {fleet.rows:,} results")
        with Growth() as growth:
            began_s = time.perf_counter()
            store.load(counted)
            took_s = time.perf_counter() - began_s
        note(f"{took_s:.1f} s, of which {counted.made_in_s:.1f} s to make them up")
        assert store.health().rows == fleet.rows
        yield rate_figure(fleet, fleet.rows / took_s, sqlite_rate(fleet, Path(folder) / "yardstick.db"))
        yield memory_figure("memory growth of it, helpers included", growth.peak_mb, MOST_GROWTH_MB)
        yield memory_figure("memory growth of its second half over its first", growth.later_mb, MOST_LATER_MB)
        store.close()


class Counted:
    """The batches, and the seconds that it took to make them up."""

    def __init__(self, batches: Iterable[list[Result]]) -> None:
        self._batches = iter(batches)
        self.made_in_s = 0.0

    def __iter__(self) -> Iterator[list[Result]]:
        return self

    def __next__(self) -> list[Result]:
        began_s = time.perf_counter()
        try:
            return next(self._batches)
        finally:
            self.made_in_s += time.perf_counter() - began_s


def sqlite_rate(fleet: Fleet, path: Path) -> float:
    """Rows a second of SQLite for the first part of the same results, a commit a batch, the making included."""
    database = SqliteResults(path)
    database.create()
    rounds = max(1, fleet.rounds // SHARE_FOR_SQLITE)
    began_s = time.perf_counter()
    for batch in fleet.batches(rounds=rounds):
        database.insert_multiple([row_of_result(result) for result in batch])
    took_s = time.perf_counter() - began_s
    database.close()
    return rounds * fleet.checks / took_s


def rate_figure(fleet: Fleet, rate: float, yardstick: float) -> Figure:
    """Speed, without a bar."""
    return Figure(
        name=f"bulk import of {fleet.rows:,} results",
        value=rate,
        unit="rows/s",
        yardstick="SQLite NORMAL, 5,000 a commit",
        yardstick_value=yardstick,
        bar="",
        is_met=None,
    )


def memory_figure(name: str, value_mb: float, most_mb: float) -> Figure:
    """Memory."""
    return Figure(
        name=name,
        value=value_mb,
        unit="MB",
        yardstick="-",
        yardstick_value=0.0,
        bar=f"<= {most_mb:.0f} MB",
        is_met=value_mb <= most_mb,
    )


if __name__ == "__main__":
    tune_memory()  # as `run.py serve` does
    rows_asked = int(float(sys.argv[1])) if len(sys.argv) > 1 else ROWS
    sys.exit(show(measure(rows_asked, Path(sys.argv[2]) if len(sys.argv) > 2 else None)) > 0)
