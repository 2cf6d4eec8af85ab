"""kill -9 from outside: of a program that writes with several threads (faults.writer), and of the whole product under load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from fakes import FakeClock
from faults import writer
from faults.ledger import Possible, Promise, serial_of
from faults.stores import Ours, Stock
from faults.verdict import Fault, Tally, faults_of, wrong_rollups
from faults.workplace import workplace
from product import ROOT, Product, Target, product, target

from dashboard.asking import Answer, ServerGone, ask_for_run, find_server
from dashboard.errors import RunRefused
from dashboard.model import Result
from dashboard.storage.files import Files

NAME, PRODUCT_NAME = "kills of a writer", "kills of the product"
READY_S = 3.0  # on a quiet machine
_LIVES_A_DIRECTORY = 20


def run(kind: str, tally: Tally, *, seed: int, kills: int, ready_s: float = READY_S) -> None:
    """Kill a program that writes to our store (`ours`) or to stock TinyDB (`stock`) so many times; a control, until it is caught."""
    chance = Random(seed)
    for first in range(0, kills, _LIVES_A_DIRECTORY):
        with workplace(is_disk=True) as place:
            directory = place()
            directory.mkdir(parents=True)
            lives = _Lives(kind, directory, ready_s)
            for life in range(1, 1 + min(_LIVES_A_DIRECTORY, kills - first)):
                its_seed = chance.randrange(1 << 30)
                found = lives.live(life, its_seed, for_s=chance.uniform(0.05, 0.8))
                tally.count(found, f"seed {its_seed}, life {life}")
                if tally.is_caught:
                    return


class _Lives:
    """One directory and what was acknowledged in it, life after life."""

    def __init__(self, kind: str, directory: Path, ready_s: float) -> None:
        self._ready_s = ready_s
        self._kind = kind
        self._directory = directory
        self._base_s = float(int(time.time()) // 86400 * 86400 - 3 * 86400)
        self._certain: dict[int, Result] = {}
        self._unknown: dict[int, Result] = {}
        self._documents: dict[int, tuple[int, ...]] = dict.fromkeys(range(writer.DOCUMENTS), (0,))  # which of these

    def live(self, life: int, seed: int, *, for_s: float) -> list[tuple[Fault, str]]:
        """One life of the writer, to its violent end, and what is wrong then."""
        arguments = (self._kind, str(self._directory), str(life), str(seed), str(self._base_s))
        environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        command = [sys.executable, str(Path(writer.__file__)), *arguments]
        started_s = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environ)
        assert process.stdout is not None
        greeting = process.stdout.readline()
        ready_s = time.monotonic() - started_s
        killing = threading.Timer(for_s, process.kill)
        killing.start()
        said, _ = process.communicate()
        killing.join()
        if greeting != b"ready\n":
            return [("unreadable", "it does not start")]
        late: list[tuple[Fault, str]] = [("wrong", f"ready after {ready_s:.1f} s")] if ready_s > self._ready_s else []
        self._learn(life, said.decode().split("\n")[:-1])
        return late + self._look()

    def _learn(self, life: int, lines: Sequence[str]) -> None:
        """Take down what was acknowledged, and what was on its way when the end came."""
        next_serial = {thread: writer.first_serial(life, thread) for thread in range(writer.THREADS)}
        next_number = {key: writer.first_number(life) for key in range(writer.DOCUMENTS)}
        for line in lines:
            kind, *numbers = line.split()
            first, *ids = map(int, numbers)
            if kind == "d":
                self._documents[first] = (ids[0],)
                next_number[first] = ids[0] + 1
                continue
            for serial, row_id in enumerate(ids, first):
                self._certain[serial] = replace(writer.result_of(serial, self._base_s), id=row_id)
            next_serial[writer.thread_of(first)] = first + len(ids)
        for serial in next_serial.values():
            some = range(serial, serial + writer.BATCH)
            self._unknown |= {each: writer.result_of(each, self._base_s) for each in some}
        for key, number in next_number.items():
            self._documents[key] = (*self._documents[key], number)

    def _look(self) -> list[tuple[Fault, str]]:
        try:
            store = (Ours if self._kind == "ours" else Stock)(self._directory, FakeClock(datetime.now(UTC)), Files())
        except Exception as error:
            return [("unreadable", repr(error))]
        try:
            found = store.found()
            promise = Promise(
                now_at=datetime.now(UTC),
                certain=self._certain,
                aged={},
                unknown=self._unknown,
                documents=Possible(found.documents),
                unsettled=frozenset(),
                old=frozenset(),
            )
            faults = [*faults_of(found, promise, in_order=False), *wrong_rollups(store, found, promise)]
            for key, numbers in self._documents.items():
                possible = [writer.document_of(key, number) for number in numbers if number]
                there = found.documents.get(repr(("note", key)))
                if there not in map(repr, possible) and not (there is None and 0 in numbers):
                    faults.append(("loss", f"document {key} is none of {numbers}"))
        except Exception as error:
            return [("unreadable", repr(error))]
        finally:
            store.close()
        seen = {serial_of(row) for row in found.rows}
        self._unknown = {serial: row for serial, row in self._unknown.items() if serial in seen}
        self._settle(found.documents)
        return faults

    def _settle(self, documents: Mapping[str, str]) -> None:
        """What was seen once must stay."""
        for key, numbers in self._documents.items():
            there = documents.get(repr(("note", key)))
            self._documents[key] = (
                tuple(
                    number
                    for number in numbers
                    if (repr(writer.document_of(key, number)) == there if number else there is None)
                )
                or numbers
            )


def run_product(tally: Tally, *, seed: int, kills: int, folder: Path, ready_s: float = READY_S) -> None:
    """Kill the product so many times: with runs on their schedule, runs that are asked for, and other options each time."""
    chance = Random(seed)
    with product(folder) as made, target() as web:
        life = _ProductLife(made, web, chance, ready_s)
        for number in range(kills):
            life.configure()
            tally.count(life.live(), f"seed {seed}, kill {number}")


class _ProductLife:
    """The product from one kill to the next, and all that it has shown."""

    def __init__(self, made: Product, web: Target, chance: Random, ready_s: float) -> None:
        self._ready_s = ready_s
        self._made = made
        self._web = web
        self._chance = chance
        self._shown: list[str] = []  # rows of exports
        self._answers: list[Answer] = []  # of runs that were asked for
        self._lock = threading.Lock()
        self._check_ids: list[str] = []

    def configure(self) -> None:
        """Other options."""
        chance = self._chance
        self._check_ids = [f"c{number}" for number in range(chance.randint(2, 12))]
        defaults = f"{{every: 1s, failure_threshold: {chance.randint(1, 3)}, retries: {chance.randint(0, 1)}}}"
        kinds = (f"type: http, url: '{self._web.url}', body_contains: ready", "type: tcp, host: 127.0.0.1, port: 1")
        lines = [f"  - {{id: {check_id}, {chance.choice(kinds)}}}" for check_id in self._check_ids]
        zone = chance.choice(("UTC", "Europe/Berlin", "Asia/Kolkata"))
        retention = f"{{raw: {chance.choice(('1h', '30d', '3650d'))}}}"
        checks = "\n".join(lines)
        self._made.configure(
            f"server: {{zone: {zone}}}\nretention: {retention}\ndefaults: {defaults}\nchecks:\n{checks}\n"
        )

    def live(self) -> list[tuple[Fault, str]]:
        """Start, look whether everything is still there, work, and end it with violence."""
        made, chance = self._made, self._chance
        started_s = time.monotonic()
        try:
            made.start()
            made.get("/")
        except (AssertionError, OSError) as error:
            return [("unreadable", f"it does not start: {error}")]
        ready_s = time.monotonic() - started_s
        found: list[tuple[Fault, str]] = [("wrong", f"ready after {ready_s:.1f} s")] if ready_s > self._ready_s else []
        found += self._faults(_rows(made))
        stopping = threading.Event()
        askers = [threading.Thread(target=self._ask, args=(check_id, stopping)) for check_id in self._check_ids[:3]]
        for asker in askers:
            asker.start()
        end_s = time.monotonic() + chance.uniform(0.2, 2.0)
        while time.monotonic() < end_s:
            self._shown = _rows(made)
            stopping.wait(0.05)
        how = chance.choice(("both", "both", "both", "web", "prober"))
        if how == "prober" and (prober := made.prober()) is not None:
            prober.kill()
            stopping.wait(chance.uniform(0.0, 0.5))
        elif how == "web":
            assert made.process is not None
            made.process.kill()
        made.kill()
        stopping.set()
        for asker in askers:
            asker.join()
        return found

    def _faults(self, rows: Sequence[str]) -> list[tuple[Fault, str]]:
        found: list[tuple[Fault, str]] = []
        counts = Counter(rows)
        twice = [row for row, count in counts.items() if count > 1]
        if twice:
            found.append(("phantom", f"{len(twice)} rows are there twice: {twice[0]}"))
        gone = [row for row in self._shown if row not in counts]
        if gone:
            found.append(("loss", f"{len(gone)} rows were shown and are gone: {gone[0]}"))
        there = {(row["check_id"], row["summary"], row["duration_s"], row["by"]) for row in map(json.loads, rows)}
        with self._lock:
            answers = list(self._answers)
        lost = [each for each in answers if (each.check_id, each.summary, each.duration_s, each.by) not in there]
        if lost:
            found.append(("loss", f"{len(lost)} runs were answered and are gone: {lost[0]}"))
        return found

    def _ask(self, check_id: str, stopping: threading.Event) -> None:
        """Ask for runs, one after the other, until the end."""
        while not stopping.is_set():
            try:
                answer = ask_for_run(find_server(self._made.data), check_id, user="mara", wait_s=5.0)
            except (RunRefused, ServerGone):
                stopping.wait(0.05)
                continue
            with self._lock:
                self._answers.append(answer)


def _rows(made: Product) -> list[str]:
    return made.get("/export?dataset=results&format=ndjson&tz=UTC").decode().splitlines()
