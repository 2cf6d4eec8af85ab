"""Days of service in a few dozen writes: rows, documents, the nightly work, old history going, a check forgotten, restarts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from fakes import FakeClock
from faults.disk import Log, RecordingFiles
from faults.ledger import Ledger
from faults.stores import KEEPS_LESS, Key, Opened, UnderTest, keep_s

from checks.base import Detail, Status
from dashboard.errors import StoreError
from dashboard.model import CheckState, Incident, Result

START_AT = datetime(2026, 3, 1, 21, 40, 0, 123457, UTC)
CHECKS = ("api", KEEPS_LESS, "shop")
FORGOTTEN = "shop"
_COVERS_S = 1200.0
_LATE_S = (0.0, 0.0, 0.0, 0.0, 0.0, 7200.0, 100_000.0)
_SUMMARIES = ("200 in 184 ms", "gr\u00fcn \N{CHECK MARK}", "=cmd|' /C calc'!A0", "two\nlines, \x1b[31mone red")


class Worker:
    """Uses a store as Watchroom does and keeps the ledger. A StoreError is an answer: what it was about stays unknown."""

    def __init__(self, store: UnderTest, clock: FakeClock, ledger: Ledger, chance: Random) -> None:
        self.store = store
        self.errors: list[StoreError] = []
        self.after_each: Callable[[], None] = lambda: None
        self._clock = clock
        self._ledger = ledger
        self._chance = chance
        self._serial = 0

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self._clock.advance(seconds)
        self._ledger.tell_time(self._clock.now())

    def record(self, count: int) -> None:
        """Rows come in; now and then a late batch."""
        late_s = self._chance.choice(_LATE_S)
        results = [self._result(late_s + 2.0 * (count - number)) for number in range(count)]

        def append() -> None:
            with self._ledger.sending(results) as ids:
                ids += self.store.append(results)

        self._ask(append)

    def save(self) -> None:
        """States, incidents and units change in one commit."""
        chance, now_at = self._chance, self._clock.now()
        check_ids = chance.sample(CHECKS, chance.randint(1, len(CHECKS)))
        incident_id = chance.randint(1, 9)
        changes: dict[Key, Any] = {}
        for check_id in check_ids:
            changes["state", check_id] = CheckState(
                check_id=check_id, status=chance.choice(tuple(Status)), since_at=now_at, last_id=self._serial
            )
            changes["units", check_id] = {"response_time": "s", "size": f"B{self._serial}"}
        changes["incident", incident_id] = Incident(
            id=incident_id,
            check_id=next(each for each in (*check_ids, *CHECKS) if each != FORGOTTEN),
            opened_at=now_at,
            confirmed_at=now_at,
            status=Status.OK,
            worst=Status.CRITICAL,
            summary="refused " * chance.randint(1, 6),
        )
        self._commit(changes)

    def note(self) -> None:
        """A document of another table is put or removed."""
        number = self._chance.randint(1, 4)
        is_there = self._chance.random() < 0.7
        text = "who, why \N{EM DASH} " * self._chance.randint(0, 6)
        self._commit({("note", number): {"text": text, "until": self._serial} if is_there else None})

    def forget(self) -> None:
        """A check's history goes for good."""

        def forget() -> None:
            documents = {repr((kind, FORGOTTEN)): None for kind in ("state", "units")}
            with self._ledger.forgetting(FORGOTTEN), self._ledger.changing(documents):
                self.store.forget(FORGOTTEN)

        self._ask(forget)

    def maintain(self) -> None:
        """What is due is done."""
        self._ask(self.store.maintain)

    def compact(self) -> None:
        """All that could ever be due is done."""
        self._ask(self.store.compact)

    def burst(self) -> None:
        """Some minutes to hours of service."""
        chance = self._chance
        for _ in range(chance.randint(1, 3)):
            self.record(chance.randint(1, 9))
            self.wait(chance.uniform(10.0, 900.0))
        chance.choice((self.save, self.note, self.save, self.note, lambda: None))()
        if chance.random() < 0.7:
            self.maintain()
        self.wait(chance.uniform(300.0, 9000.0))

    def to_next_day(self) -> None:
        """The night comes, and its work."""
        now_at = self._clock.now()
        midnight_at = now_at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1, minutes=20)
        self.wait((midnight_at - now_at).total_seconds())
        self.maintain()

    def _result(self, ago_s: float) -> Result:
        chance = self._chance
        self._serial += 1
        status = chance.choice((Status.OK, Status.OK, Status.OK, Status.WARNING, Status.CRITICAL, Status.UNKNOWN))
        metrics = {"response_time": chance.lognormvariate(-2, 1), "size": float(chance.randint(0, 10**6))}
        return Result(
            check_id=chance.choice(CHECKS),
            at=self._clock.now() - timedelta(seconds=ago_s),
            status=status,
            summary=f"run {self._serial} {chance.choice(_SUMMARIES)}",
            duration_s=chance.random(),
            covers_s=_COVERS_S,
            trigger=chance.choice(("schedule", "schedule", "manual")),
            by=chance.choice(("", "mara")),
            worker="prober-1",
            metrics=chance.choice((metrics, metrics, metrics | {"queue": -1.5}, {})),
            detail=Detail(phase="connect", got="refused", facts={"address": "192.0.2.1"})
            if status.is_bad
            else Detail(),
        )

    def _commit(self, changes: Mapping[Key, Any]) -> None:
        told = {repr(key): None if value is None else repr(value) for key, value in changes.items()}

        def commit() -> None:
            with self._ledger.changing(told):
                self.store.commit(changes)

        self._ask(commit)

    def _ask(self, work: Callable[[], None]) -> None:
        try:
            work()
        except StoreError as error:
            self.errors.append(error)
        self.after_each()


def work(worker: Worker, *, days: int, reopen: Callable[[], UnderTest]) -> None:
    """The whole workload: each kind of work on each day, restarts, and a check that is forgotten in the middle."""
    for day in range(days):
        for _ in range(3):
            worker.burst()
        worker.record(3)
        for _ in range(6):
            worker.save()
            worker.note()
        if day == 1:
            worker.forget()
        worker.to_next_day()
        if day % 2:
            worker.store = reopen()
    worker.compact()
    worker.burst()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A workload that was done: what was promised when, and what the disk did."""

    ledger: Ledger
    log: Log


def recorded(
    opened: Opened, directory: Path, *, seed: int, days: int, rows: int = 0, files: RecordingFiles | None = None
) -> Recorded:
    """The workload done in that new directory, after so many rows at once, to its orderly end."""
    directory.mkdir(parents=True, exist_ok=True)
    files = files or RecordingFiles(directory)
    clock = FakeClock(START_AT)
    ledger = Ledger(lambda: len(files.operations), keep_s)
    ledger.tell_time(clock.now())
    worker = Worker(opened(directory, clock, files), clock, ledger, Random(seed))

    def reopen() -> UnderTest:
        worker.store.close()
        return opened(directory, clock, files)

    if rows:
        worker.record(rows)
    if days:
        work(worker, days=days, reopen=reopen)
    worker.store.close()
    if worker.errors:
        raise AssertionError(f"a healthy disk refused something: {worker.errors[0]}")
    return Recorded(ledger=ledger, log=files.log)
