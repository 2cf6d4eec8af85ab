"""The program that is killed: `python writer.py STORE DIRECTORY LIFE SEED BASE_S` writes with several threads until then.

It says what was acknowledged, a line each: `r FIRST_SERIAL ID...` for rows, `d KEY NUMBER` for a document.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from faults.stores import Ours, Stock, UnderTest

from checks.base import Status
from dashboard.clock import SystemClock
from dashboard.model import Result
from dashboard.storage.appender import Limits
from dashboard.storage.files import Files

THREADS = 2
DOCUMENTS = 2
BATCH = 9
_PAUSE_S = 0.01
LIFE_SERIALS, THREAD_SERIALS = 1_000_000, 100_000


def result_of(serial: int, base_s: float) -> Result:
    """The row of that serial number; several days lie within the numbers of one life."""
    chance = Random(serial)
    return Result(
        check_id=f"check-{serial % 5}",
        at=datetime.fromtimestamp(base_s, UTC) + timedelta(seconds=17.0 * (serial % THREAD_SERIALS)),
        status=chance.choice(tuple(Status)),
        summary=f"run {serial} " + "of many " * chance.randint(0, 9),
        duration_s=chance.random(),
        covers_s=90.0,
        metrics={"response_time": chance.random()},
    )


def document_of(key: int, number: int) -> dict[str, object]:
    """The document of that number: a long one, then a short one."""
    return {"number": number, "text": "long " * (1 + 20_000 * (number % 2))}


def first_serial(life: int, thread: int) -> int:
    """The first serial number of a thread."""
    return life * LIFE_SERIALS + thread * THREAD_SERIALS + 1


def thread_of(serial: int) -> int:
    """The thread that a serial number is of."""
    return serial % LIFE_SERIALS // THREAD_SERIALS


def first_number(life: int) -> int:
    """The first number of a document."""
    return life * LIFE_SERIALS + 1


class _OneAtATime:
    """Stock TinyDB knows nothing of threads: they take turns."""

    def __init__(self, store: UnderTest) -> None:
        self._store = store
        self._turn = threading.Lock()

    def __getattr__(self, name: str) -> Callable[..., object]:
        def in_turn(*arguments: object) -> object:
            with self._turn:
                return getattr(self._store, name)(*arguments)

        return in_turn


def main(kind: str, directory: Path, life: int, seed: int, base_s: float) -> None:
    """Write until killed."""
    chance = Random(seed)
    limits = Limits(
        journal_rows=chance.choice((20, 200, 5000)),
        journal_s=chance.choice((0.2, 5.0, 900.0)),
        merged_parts=chance.choice((2, 3, 8)),
        group_rows=chance.choice((30, 1000, 65_536)),
        snapshot_bytes=chance.choice((3000, 100_000)),
        reserve_bytes=chance.choice((0, 8192)),
    )
    store: Any  # an UnderTest
    if kind == "stock":
        store, pause_s = _OneAtATime(Stock(directory, SystemClock(), Files())), 20 * _PAUSE_S  # it is slow with rows
    else:
        store, pause_s = Ours(directory, SystemClock(), Files(), limits), _PAUSE_S
    _say("ready")
    for thread in range(THREADS):
        _start(_write_rows, store, first_serial(life, thread), Random(seed + thread), base_s, pause_s)
    for key in range(DOCUMENTS):
        _start(_write_documents, store, key, life)
    while True:
        store.maintain()
        if chance.random() < 0.2:
            store.compact()
        _pause(10 * _PAUSE_S)


def _write_rows(store: UnderTest, serial: int, chance: Random, base_s: float, pause_s: float) -> None:
    while True:
        count = chance.randint(1, BATCH)
        ids = store.append([result_of(serial + number, base_s) for number in range(count)])
        _say(f"r {serial} {' '.join(map(str, ids))}")
        serial += count
        _pause(pause_s)


def _write_documents(store: UnderTest, key: int, life: int) -> None:
    number = first_number(life)
    while True:
        store.commit({("note", key): document_of(key, number)})
        _say(f"d {key} {number}")
        number += 1
        _pause(_PAUSE_S * (number % 2))  # after the short one


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def _start(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
