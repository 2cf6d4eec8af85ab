"""The store: what an insert costs as the store grows, how fast it opens and is read.

`python tests/bench/bench_store.py [rows]`
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import orjson
from figures import Figure, note, show
from tinydb import TinyDB

from checks.base import Status
from dashboard.clock import SystemClock
from dashboard.model import Result
from dashboard.storage.store import TinyStore

ROWS = 1_000_000
FEW_ROWS = 1000
CHECKS = 500
BATCH = 256
MOST_GROWTH_OF_AN_INSERT = 1.5
START_AT = datetime.now(UTC) - timedelta(hours=20)


def make_result(number: int) -> Result:
    """What an HTTP check records: five metrics, all results within 20 h."""
    return Result(
        check_id=f"check-{number % CHECKS}",
        at=START_AT + timedelta(milliseconds=60 * number),
        status=Status.CRITICAL if number % 97 == 0 else Status.OK,
        summary=f"200 in {number % 300} ms",
        duration_s=0.184 + number % 300 / 1000,
        covers_s=45.0,
        worker="prober-1",
        metrics={"response_time": 0.184, "dns": 0.001, "connect": 0.012, "tls": 0.03, "size": 5120.0 + number % 7},
    )


def open_store(directory: Path) -> TinyStore:
    """A store as the product opens it."""
    store = TinyStore(directory, SystemClock())
    store.open()
    return store


def fill(store: TinyStore, rows: int) -> None:
    """Record so many results, a batch at a time."""
    for first in range(0, rows, BATCH):
        store.append([make_result(number) for number in range(first, min(first + BATCH, rows))])


def seconds(work: Callable[[], object]) -> float:
    """How long the work takes."""
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def stock_insert_s(stored: int, directory: Path) -> float:
    """One insert into stock TinyDB with so many rows in it."""
    document = {"check_id": "a", "at": 1.5, "status": "ok", "summary": "200 in 12 ms", "duration_s": 0.2}
    with TinyDB(directory / f"stock-{stored}.json") as stock:
        stock.insert_multiple(dict(document) for _ in range(stored))
        return statistics.median(seconds(lambda: stock.insert(dict(document))) for _ in range(5))


def inserts(few: TinyStore, many: TinyStore, at_once: int, rounds: int) -> tuple[float, float]:
    """Microseconds a durable row in each store, the two in turns so that noise hits both; medians."""
    took: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        batch = [make_result(ROWS + number + each) for each in range(at_once)]
        for store, times in zip((few, many), took, strict=True):
            times.append(seconds(lambda store=store, batch=batch: store.append(batch)))  # type: ignore[misc]
    return statistics.median(took[0]) / at_once * 1e6, statistics.median(took[1]) / at_once * 1e6


def insert_figures(few: TinyStore, many: TinyStore, rows: int, directory: Path) -> Iterator[Figure]:
    """A durable insert in a small and in a large store, beside stock TinyDB."""
    for at_once, rounds in ((1, 400), (100, 60)):
        small, large = inserts(few, many, at_once, rounds)
        yield Figure(
            name=f"a row's insert, {at_once} at once, {rows:,} stored",
            value=large,
            unit="us",
            yardstick=f"at {FEW_ROWS:,}",
            yardstick_value=small,
            bar=f"<= {MOST_GROWTH_OF_AN_INSERT}",
            is_met=large / small <= MOST_GROWTH_OF_AN_INSERT,
        )
    tenfold = 10 * FEW_ROWS
    yield Figure(
        name=f"stock TinyDB's insert, {tenfold:,} stored",
        value=stock_insert_s(tenfold, directory) * 1e6,
        unit="us",
        yardstick=f"at {FEW_ROWS:,}",
        yardstick_value=stock_insert_s(FEW_ROWS, directory) * 1e6,
        bar="",
        is_met=None,
    )


def parse_rate(directory: Path) -> float:
    """Rows a second of nothing but parsing the lines of one journal."""
    lines = min((directory / "results").iterdir()).read_bytes().splitlines()
    return len(lines) / seconds(lambda: [orjson.loads(line[9:]) for line in lines])


def read_figures(store: TinyStore, rows: int, parsed: float) -> Iterator[Figure]:
    """What the board reads at a start, and the two forms of an export."""
    names = sorted(store.check_ids())
    now_at = datetime.now(UTC)

    def start_board() -> None:
        for name in names:
            store.last(name, 40)
            store.series(name, now_at - timedelta(days=1), now_at)

    yield figure("last 40 and 24 h of every check", seconds(start_board), "s", rows / parsed)
    yield figure("the same 24 h in one sweep", seconds(lambda: list(store.sweep(START_AT, now_at))), "s", rows / parsed)
    yield figure("export as columns", rows / seconds(lambda: sum(map(len, store.export_columns()))), "rows/s", parsed)
    yield figure("export as results", rows / seconds(lambda: sum(map(len, store.export()))), "rows/s", parsed)


def figure(name: str, value: float, unit: str, parsed: float) -> Figure:
    """A figure beside parsing alone, without a bar."""
    return Figure(
        name=name,
        value=value,
        unit=unit,
        yardstick="parsing the lines alone",
        yardstick_value=parsed,
        bar="",
        is_met=None,
    )


def measure(rows: int = ROWS) -> Iterator[Figure]:
    """All figures of the store."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        few, many = open_store(directory / "few"), open_store(directory / "many")
        fill(few, FEW_ROWS)
        note(f"recording {rows:,} results")
        fill(many, rows)
        yield from insert_figures(few, many, rows, directory)
        few.close()
        many.close()
        parsed = parse_rate(directory / "many")
        again = TinyStore(directory / "many", SystemClock())
        yield figure(f"opening with {rows:,} rows", seconds(again.open), "s", rows / parsed)
        yield from read_figures(again, rows, parsed)
        again.close()


if __name__ == "__main__":
    sys.exit(show(measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)))
