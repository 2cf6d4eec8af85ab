"""What bench_store measures in a process of its own: `open`, `export` and `seal`. Prints one JSON object."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from math import inf
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import orjson
from figures import note
from memory import Growth
from workload import Fleet, end_of_history

from dashboard.clock import SystemClock
from dashboard.engine import export
from dashboard.runtime import tune_memory
from dashboard.storage.appender import Limits
from dashboard.storage.base import ResultColumns
from dashboard.storage.store import TinyStore
from dashboard.storage.workshop import HelperProcess

READY_CHUNKS = 20
CHECKS, EVERY_S = 500, 10
INSERTS_PER_S, MOST_INSERTS = 100, 6000


def open_alone(directory: Path) -> dict[str, float]:
    """Seconds to open the store, and the MB that stay."""
    store = TinyStore(directory, SystemClock())
    with Growth() as growth:
        began_s = time.perf_counter()
        store.open()
        took_s = time.perf_counter() - began_s
    found = {"seconds": took_s, "kept_mb": growth.now_mb(), "rows": store.health().rows}
    store.close()
    return found


def export_alone(directory: Path, form: str) -> dict[str, float]:
    """Rows a second and MB of an export of everything, times in a zone, to a file that keeps nothing."""
    store = TinyStore(directory, SystemClock())
    store.open()
    asked = {"tz": ["Europe/Berlin"], "format": [form]}
    request = export.parse_request(asked, now=datetime.now(UTC), zone="UTC", checks=())
    rows = store.health().rows
    with open("/dev/null", "wb") as nowhere, Growth() as growth:
        began_s = time.perf_counter()
        size = sum(map(nowhere.write, export.write(request, store)))
        took_s = time.perf_counter() - began_s
    ready = Ready(islice(store.export_columns(), READY_CHUNKS))
    began_s = time.perf_counter()
    all(export.write(request, ready))  # type: ignore[arg-type]  # it asks for nothing else
    formatted_per_s = ready.rows / (time.perf_counter() - began_s)
    store.close()
    note(f"{size / rows:.0f} bytes a row, {took_s:.1f} s")
    return {"rows": rows, "rows_per_s": rows / took_s, "peak_mb": growth.peak_mb, "formatted_per_s": formatted_per_s}


def seal_alone(directory: Path, rows: str) -> dict[str, float]:
    """Seconds to seal a journal of so many rows while others come, and milliseconds that inserting one took meanwhile."""
    fleet = Fleet(checks=CHECKS, every_s=EVERY_S, rounds=int(rows) // CHECKS, end_at=end_of_history())
    limits = Limits(journal_rows=fleet.rows, journal_s=inf)
    store = TinyStore(directory, SystemClock(), limits=limits, workshop=HelperProcess())
    store.open()
    for batch in fleet.batches():
        store.append(batch)
    table = store.database.table("results")
    waiting = iter(fleet.documents(MOST_INSERTS, first_round=fleet.rounds))
    stopped = threading.Event()
    keeper = threading.Thread(target=keep, args=(store, stopped))
    keeper.start()
    took_ms: list[float] = []
    began_s = time.perf_counter()
    sealed_s = 0.0
    for number, document in enumerate(waiting):
        now_s = time.perf_counter()
        time.sleep(max(0.0, began_s + number / INSERTS_PER_S - now_s))
        if not sealed_s and store.health().sealed_at is not None:
            sealed_s = now_s - began_s
        if sealed_s and now_s - began_s > 2 * sealed_s:
            break
        called_s = time.perf_counter()
        table.insert(document)
        took_ms.append(1e3 * (time.perf_counter() - called_s))
    stopped.set()
    keeper.join()
    store.close()
    took_ms.sort()
    assert sealed_s, "it was not sealed"
    note(f"sealed in {sealed_s:.1f} s, {len(took_ms)} inserts")
    return {"seconds": sealed_s, "worst_ms": took_ms[-1], "median_ms": took_ms[len(took_ms) // 2]}


def keep(store: TinyStore, stopped: threading.Event) -> None:
    """Do what is due whenever a journal was closed, as the server does."""
    while not stopped.is_set():
        if store.rotated.wait(0.2):
            store.rotated.clear()
            store.maintain(datetime.now(UTC))


class Ready:
    """A history whose export is in memory already."""

    def __init__(self, chunks: Iterable[ResultColumns]) -> None:
        self._chunks = list(chunks)
        self.rows = sum(map(len, self._chunks))

    def export_columns(self, **_: object) -> Iterator[ResultColumns]:
        """All of it, whatever is asked for."""
        return iter(self._chunks)


TASKS: Mapping[str, Callable[..., dict[str, float]]] = {"open": open_alone, "export": export_alone, "seal": seal_alone}

if __name__ == "__main__":
    tune_memory()  # as `run.py serve` does
    task, where, *rest = sys.argv[1:]
    print(orjson.dumps(TASKS[task](Path(where), *rest)).decode())
