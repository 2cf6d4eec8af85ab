"""The store beside SQLite in WAL mode: what inserting, reading, exporting, opening and keeping costs at ten million results.

`python tests/bench/bench_store.py [rows]`: fewer rows scale all of it down. Both get the same results (workload.py) in turns,
so that noise hits both; figures are medians. SQLite holds a tenth of the rows, as the bars have it.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import bench_import
import orjson
from figures import Figure, note, show
from sqlite_yardstick import SqliteResults
from tinydb import TinyDB
from workload import Fleet, end_of_history

from dashboard.clock import SystemClock
from dashboard.runtime import tune_memory
from dashboard.storage.records import Row, row_of_result
from dashboard.storage.store import TinyStore
from dashboard.storage.workshop import HelperProcess

HERE = Path(__file__).parent
ROWS = 10_000_000
FEW_ROWS = 1000
SHARES = (0.5, 0.95, 0.99)
METRIC = "response_time"
DAY_S = 86400.0
INSERT_ROUNDS, ROWS_A_ROUND = 25, 500
READ_ROUNDS = 60
LEAST_NDJSON, LEAST_CSV = 500_000, 200_000


def measure(rows: int = ROWS) -> Iterator[Figure]:
    """All figures of the store."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        yield from bench_import.measure(rows, directory / "history")
        settle(directory / "history")
        yield from insert_figures(directory, rows // 10)
        yield stock_figure(directory)
        yield from read_figures(directory, rows)
        yield from long_figures(directory, rows // 8)
        yield from size_figures(directory, rows // 10)
        yield from open_figures(directory, rows)
        yield from export_figures(directory / "history", "plain HTTP checks")
        yield from seal_figures(directory / "sealing", rows // 40)


def open_store(directory: Path) -> TinyStore:
    """A store as the product opens it."""
    store = TinyStore(directory, SystemClock())
    store.open()
    return store


def settle(directory: Path) -> None:
    """Do with the store what a server does at its next turn: seal, merge the days that are over, roll up."""
    note(f"keeping {directory.name} in order")
    store = TinyStore(directory, SystemClock(), workshop=HelperProcess())
    store.open()
    took_s = seconds(lambda: store.maintain(datetime.now(UTC)))
    note(f"{took_s:.1f} s, {store.health().unsealed_rows:,} results unsealed")
    store.close()


def filled(directory: Path, fleet: Fleet) -> TinyStore:
    """A store with all results of the fleet, sealed."""
    note(f"filling {directory.name} with {fleet.rows:,} results")
    store = open_store(directory)
    store.load(fleet.batches())
    return store


def filled_sqlite(path: Path, fleet: Fleet) -> SqliteResults:
    """SQLite with the same."""
    note(f"filling {path.name} with {fleet.rows:,} results")
    database = SqliteResults(path)
    database.create()
    for batch in fleet.batches():
        database.insert_multiple([row_of_result(result) for result in batch])
    database.settle()
    return database


def seconds(work: Callable[[], object]) -> float:
    """How long the work takes."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


# Inserting


def insert_figures(directory: Path, rows: int) -> Iterator[Figure]:
    """One row, a hundred, a hundred durable: into a large store, a small one and SQLite in turns."""
    fleet = bench_import.history(rows)
    few = filled(directory / "few", bench_import.history(FEW_ROWS))
    many = filled(directory / "many", fleet)
    normal = filled_sqlite(directory / "inserts.db", fleet)
    full = SqliteResults(normal.path, "FULL")
    ways: Mapping[str, Callable[[Sequence[Row]], None]] = {
        "one, few": lambda documents: one_by_one(few, documents),
        "one, SQLite": lambda documents: each(normal.insert, documents),
        "one": lambda documents: one_by_one(many, documents),
        "100, SQLite": lambda documents: each(normal.insert_multiple, hundreds(documents)),
        "100": lambda documents: by_the_hundred(many, documents),
        "durable, SQLite": lambda documents: each(full.insert_multiple, hundreds(documents)),
        "durable": lambda documents: each(lambda batch: durably(many, batch), hundreds(documents)),
    }
    took_us: dict[str, list[float]] = {name: [] for name in ways}
    rounds = count(fleet.rounds, ROWS_A_ROUND // fleet.checks)
    for _ in range(INSERT_ROUNDS):
        for name, way in ways.items():
            documents = fleet.documents(ROWS_A_ROUND, first_round=next(rounds))
            took_us[name].append(seconds(lambda way=way, documents=documents: way(documents)) / ROWS_A_ROUND * 1e6)  # type: ignore[misc]
    us = {name: statistics.median(took) for name, took in took_us.items()}
    stored = f"{fleet.rows:,} stored"
    yield ratio_figure(f"insert of a row, {stored}", us["one"], f"at {FEW_ROWS:,}", us["one, few"], 1.5)
    yield ratio_figure("the same", us["one"], "SQLite NORMAL, a commit a row", us["one, SQLite"], 0.5)
    yield ratio_figure(
        "a row of insert_multiple(100)", us["100"], "SQLite NORMAL, 100 a commit", us["100, SQLite"], 0.5
    )
    yield ratio_figure(
        "the same, each batch durable", us["durable"], "SQLite FULL, 100 a commit", us["durable, SQLite"], 0.7
    )
    for closing in (few, many, normal, full):
        closing.close()


def one_by_one(store: TinyStore, documents: Sequence[Row]) -> None:
    """Insert as TinyDB does, then wait until all of it is durable."""
    table = store.database.table("results")
    for document in documents:
        last_id = table.insert(document)
    table.wait(last_id)


def by_the_hundred(store: TinyStore, documents: Sequence[Row]) -> None:
    """The same in batches."""
    table = store.database.table("results")
    for batch in hundreds(documents):
        last_id = table.insert_multiple(batch)[-1]
    table.wait(last_id)


def durably(store: TinyStore, batch: Sequence[Row]) -> None:
    """One batch, durable on return."""
    table = store.database.table("results")
    table.wait(table.insert_multiple(batch)[-1])


def hundreds(documents: Sequence[Row]) -> list[Sequence[Row]]:
    """The documents in batches of 100."""
    return [documents[start : start + 100] for start in range(0, len(documents), 100)]


def each(work: Callable[[object], object], given: Sequence[object]) -> None:
    """Do the work for each."""
    for one in given:
        work(one)


def stock_figure(directory: Path) -> Figure:
    """What stock TinyDB takes for an insert, at a thousand and at ten thousand rows."""
    small, large = (stock_insert_us(stored, directory) for stored in (FEW_ROWS, 10 * FEW_ROWS))
    return ratio_figure(f"stock TinyDB's insert, {10 * FEW_ROWS:,} stored", large, f"at {FEW_ROWS:,}", small, None)


def stock_insert_us(stored: int, directory: Path) -> float:
    """One insert into stock TinyDB with so many rows in it."""
    (document,) = Fleet(checks=1, every_s=10, rounds=1, end_at=end_of_history()).documents(1, first_round=0)
    with TinyDB(directory / f"stock-{stored}.json") as stock:
        stock.insert_multiple(dict(document) for _ in range(stored))
        return statistics.median(seconds(lambda: stock.insert(dict(document))) for _ in range(5)) * 1e6


# Reading


def read_figures(directory: Path, rows: int) -> Iterator[Figure]:
    """What a check's page asks for, from all rows, beside SQLite with a tenth of them and as many a check."""
    fleet, history = Fleet(checks=100, every_s=10, rounds=rows // 1000, end_at=end_of_history()), directory / "history"
    sqlite, store = filled_sqlite(directory / "reads.db", fleet), open_store(history)
    end_s = store.last(fleet.name(0), 1)[0].at.timestamp()
    hour_at = (fleet.end_at - timedelta(hours=1), fleet.end_at)
    hour_s = [at.timestamp() for at in hour_at]
    by_window, by_fetch = (
        lambda name, way=way: way(name, end_s - DAY_S, end_s, METRIC, SHARES)
        for way in (sqlite.uptime_by_window, sqlite.uptime_by_fetch)
    )
    faster = min(by_window, by_fetch, key=lambda way: min(seconds(lambda: way(fleet.name(1))) for _ in range(3)))
    cases: Mapping[str, tuple[Callable[[str], object], Callable[[str], object]]] = {
        "last 100 of a check": (lambda name: store.last(name, 100), lambda name: sqlite.last(name, 100)),
        "one hour of a check, columns": (lambda name: store.series(name, *hour_at), lambda name: sqlite.series(name, *hour_s)),
        "one hour of a check, results": (lambda name: store.between(name, *hour_at), lambda name: sqlite.between(name, *hour_s)),
        "24 h uptime and p50, p95, p99": (lambda name: uptime(store, name, end_s - DAY_S, end_s), faster),
    }  # fmt: skip
    dice = random.Random(7)
    for case, ways in cases.items():
        took_ms: tuple[list[float], list[float]] = ([], [])
        for _ in range(READ_ROUNDS):
            name = fleet.name(dice.randrange(fleet.checks))
            for way, took in zip(ways, took_ms, strict=True):
                took.append(1e3 * seconds(lambda way=way, name=name: way(name)))  # type: ignore[misc]
        ours, theirs = map(statistics.median, took_ms)
        yield Figure(
            name=f"{case}, {rows:,} stored",
            value=ours,
            unit="ms",
            yardstick=f"SQLite at {fleet.rows:,}",
            yardstick_value=theirs,
            bar="<= it",
            is_met=ours <= theirs,
        )
    store.close()
    sqlite.close()


def uptime(store: TinyStore, name: str, *edges_s: float) -> list[tuple[Sequence[float], Sequence[float]]]:
    """Seconds per kind and quantiles of each bucket."""
    rollups = store.rollups(name, edges_s, now_s=edges_s[-1], metrics=[METRIC])
    return [
        (rollup.seconds, rollup.metrics[METRIC].quantiles(SHARES) if METRIC in rollup.metrics else ())
        for rollup in rollups
    ]


def long_figures(directory: Path, rows: int) -> Iterator[Figure]:
    """Ninety days, as one number and by day for a chart."""
    days = 92
    every_s = max(60, -(-10 * days * 86400 // rows))
    fleet = Fleet(checks=10, every_s=every_s, rounds=days * 86400 // every_s, end_at=end_of_history())
    store = filled(directory / "long", fleet)
    store.compact()
    end_s = fleet.end_at.timestamp()
    by_day = [(end_s // DAY_S - day) * DAY_S for day in range(89, -2, -1)]
    for case, edges_s in (("one number", [end_s - 90 * DAY_S, end_s]), ("by day", by_day)):
        took_ms = [
            1e3 * seconds(lambda number=number, edges_s=edges_s: uptime(store, fleet.name(number % 10), *edges_s))  # type: ignore[misc]
            for number in range(READ_ROUNDS)
        ]
        yield limit_figure(f"90 days of uptime and percentiles, {case}", statistics.median(took_ms), "ms", 5)
    store.close()


# Keeping


def size_figures(directory: Path, rows: int) -> Iterator[Figure]:
    """Bytes a row, rollups included, of a plain HTTP check and of one with eight metrics."""
    phases = Fleet(checks=100, every_s=10, rounds=rows // 100, end_at=end_of_history(), has_phases=True)
    few_phases = Fleet(checks=100, every_s=10, rounds=rows // 500, end_at=phases.end_at, has_phases=True)
    history, plain = open_store(directory / "history"), SqliteResults(directory / "reads.db")
    history.compact()
    yield size_figure("plain HTTP check", bytes_per_row(history, directory / "history"), plain.settle() / rows, 8)
    eight, eight_sqlite = filled(directory / "eight", phases), filled_sqlite(directory / "eight.db", few_phases)
    eight.compact()
    theirs = eight_sqlite.settle() / few_phases.rows
    yield size_figure("HTTP check with 8 metrics", bytes_per_row(eight, directory / "eight"), theirs, 30)
    for closing in (history, plain, eight, eight_sqlite):
        closing.close()


def bytes_per_row(store: TinyStore, directory: Path) -> float:
    """All that results and rollups take, by result."""
    files = [path for name in ("results", "rollups") for path in (directory / name).rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files) / store.health().rows


# In a process of their own


def open_figures(directory: Path, rows: int) -> Iterator[Figure]:
    """Opening with all rows sealed and a fiftieth as many in the journal, beside an empty store."""
    fleet = bench_import.history(rows)
    open_store(directory / "empty").close()
    store = open_store(directory / "history")
    table = store.database.table("results")
    unsealed = max(1, rows // 50 // fleet.checks)
    note(f"leaving {unsealed * fleet.checks:,} results in the journal")
    for number in range(unsealed):
        last_id = table.insert_multiple(fleet.documents(fleet.checks, first_round=fleet.rounds + number))[-1]
    table.wait(last_id)
    store.close()
    empty, full = ([alone("open", directory / name) for _ in range(5)] for name in ("empty", "history"))
    name = f"open with {rows:,} results sealed and {unsealed * fleet.checks:,} in the journal"
    yield Figure(
        name=name,
        value=statistics.median(each["seconds"] for each in full),
        unit="s",
        yardstick="empty",
        yardstick_value=statistics.median(each["seconds"] for each in empty),
        bar="<= 1 s",
        is_met=statistics.median(each["seconds"] for each in full) <= 1.0,
    )
    more_mb = statistics.median(each["kept_mb"] for each in full) - statistics.median(each["kept_mb"] for each in empty)
    yield limit_figure("memory of it over an empty store", more_mb, "MB", 60)


def export_figures(directory: Path, fleet: str) -> Iterator[Figure]:
    """Exports of everything."""
    for form, least in (("ndjson", LEAST_NDJSON), ("csv", LEAST_CSV)):
        found = alone("export", directory, form)
        yield Figure(
            name=f"{form.upper()} export of {found['rows']:,.0f} results of {fleet}, with zone and metrics",
            value=found["rows_per_s"],
            unit="rows/s",
            yardstick="formatting alone",
            yardstick_value=found["formatted_per_s"],
            bar=f">= {least:,} rows/s",
            is_met=found["rows_per_s"] >= least,
        )
        yield limit_figure("memory growth of it", found["peak_mb"], "MB", 10)


def seal_figures(directory: Path, rows: int) -> Iterator[Figure]:
    """Inserting while a journal is sealed."""
    found = alone("seal", directory, rows)
    yield Figure(
        name=f"sealing {rows:,} results while 100 a second come: worst insert",
        value=found["worst_ms"],
        unit="ms",
        yardstick="median",
        yardstick_value=found["median_ms"],
        bar="<= 5 ms",
        is_met=found["worst_ms"] <= 5,
    )
    yield limit_figure("seconds that the sealing takes", found["seconds"], "s", None)


def alone(*words: object) -> dict[str, float]:
    """What that task finds in a process of its own."""
    command = [sys.executable, HERE / "store_alone.py", *map(str, words)]
    found: dict[str, float] = orjson.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


# Figures


def ratio_figure(name: str, value: float, yardstick: str, yardstick_value: float, most: float | None) -> Figure:
    """Microseconds beside a yardstick; the bar is their ratio."""
    return Figure(
        name=name,
        value=value,
        unit="us",
        yardstick=yardstick,
        yardstick_value=yardstick_value,
        bar=f"<= {most} of it" if most else "",
        is_met=value / yardstick_value <= most if most else None,
    )


def limit_figure(name: str, value: float, unit: str, most: float | None) -> Figure:
    """A value that has a limit, perhaps, and no yardstick."""
    return Figure(
        name=name,
        value=value,
        unit=unit,
        yardstick="-",
        yardstick_value=0.0,
        bar=f"<= {most} {unit}" if most else "",
        is_met=value <= most if most else None,
    )


def size_figure(name: str, value: float, theirs: float, most: float) -> Figure:
    """Bytes a row."""
    return Figure(
        name=f"a result of a {name}, sealed, rollups included",
        value=value,
        unit="B",
        yardstick="SQLite",
        yardstick_value=theirs,
        bar=f"<= {most} B",
        is_met=value <= most,
    )


if __name__ == "__main__":
    tune_memory()  # as `run.py serve` does
    sys.exit(show(measure(int(float(sys.argv[1])) if len(sys.argv) > 1 else ROWS)) > 0)
