"""The Nth call of each kind fails, once or for a while, with EIO, ENOSPC, EROFS or a short write.

While it fails, reading goes on and somebody is told; when it is over, writing goes on or a restart mends it; nothing
acknowledged is missing in between or afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from fakes import FakeClock
from faults.disk import read_image
from faults.ledger import Ledger
from faults.stores import Opened, UnderTest, keep_s
from faults.verdict import Fault, Tally, faults_of, judged
from faults.workload import START_AT, Worker, work
from faults.workplace import workplace

from dashboard.errors import StoreError
from dashboard.storage.files import Files

NAME = "failing calls"
SHORT = -1  # instead of an error number: half of the data goes in
_CALLS = ("open", "write", "sync", "truncate", "allocate", "rename", "unlink", "sync_directory")
_HOW = (errno.EIO, errno.ENOSPC, errno.EROFS)
_WHILE = 40  # so many calls fail before a failure "for a while" is over
Lasts = Literal["once", "kind", "all"]
_LASTS: dict[Lasts, str] = {
    "once": "",
    "kind": " and at those after it for a while",
    "all": " and at all calls for a while",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which call fails (the Nth of its kind, from 1), how, and what fails after it for a while: nothing, its kind, all."""

    call: str
    nth: int
    how: int
    lasts: Lasts

    def __str__(self) -> str:
        how = "a short write" if self.how == SHORT else errno.errorcode.get(self.how, "nothing")
        return f"{how} at {self.call} {self.nth}{_LASTS[self.lasts]}"


class FaultyFiles(Files):
    """Real files that fail as planned."""

    def __init__(self, plan: Plan | None = None) -> None:
        self._plan = plan
        self.calls: Counter[str] = Counter()
        self.failed = 0
        self._known = 0
        self.on_failure: Callable[[], None] = lambda: None

    def heal(self) -> None:
        """From now on all is well."""
        self._plan = None

    def open(self, path: Path, flags: int) -> int:
        self._step("open")
        return super().open(path, flags)

    def write(self, descriptor: int, data: bytes) -> int:
        try:
            is_short = self._step("write")
        except OSError:
            super().write(descriptor, data[: len(data) // 3])  # as real disks do: some of it still goes in
            raise
        return super().write(descriptor, data[: len(data) // 2] if is_short else data)

    def sync(self, descriptor: int) -> None:
        self._step("sync")

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        self._step("truncate")
        super().truncate(descriptor, size_bytes)

    def allocate(self, descriptor: int, size_bytes: int) -> None:
        self._step("allocate")
        super().allocate(descriptor, size_bytes)

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename")
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._step("unlink")
        super().unlink(path)

    def sync_directory(self, directory: Path) -> None:
        self._step("sync_directory")

    def has_news(self) -> bool:
        """Whether something failed since this was asked last, or still would."""
        has_news = self.failed > self._known or (self.failed > 0 and self._plan is not None)
        self._known = self.failed
        return has_news

    def _step(self, call: str) -> bool:
        """Raises the planned error; True for a short write."""
        self.calls[call] += 1
        plan = self._plan
        if plan is None or not self._is_hit(plan, call):
            return False
        self.failed += 1
        if plan.lasts == "once" or self.failed >= _WHILE:
            self.heal()
        elif self.failed > 1:
            self.on_failure()
        if plan.how == SHORT:
            return True
        raise OSError(plan.how, os.strerror(plan.how))

    def _is_hit(self, plan: Plan, call: str) -> bool:
        if self.failed:
            return call == plan.call if plan.how == SHORT else plan.lasts == "all" or call == plan.call
        return call == plan.call and self.calls[call] == plan.nth


def plans(opened: Opened, *, seed: int, days: int) -> list[Plan]:
    """Every plan there is for that workload, by the calls that it makes on a healthy disk."""
    healthy = Plan(call="", nth=0, how=0, lasts="once")
    with workplace() as place:
        trial = _Trial(opened, FaultyFiles(healthy), place(), seed=seed, days=days)
        assert trial.faults(healthy) == []
        calls = trial.files.calls
    return [
        Plan(call=call, nth=nth, how=how, lasts=lasts)
        for call in _CALLS
        for nth in range(1, calls[call] + 1)
        for how in (*_HOW, *((SHORT,) if call == "write" else ()))
        for lasts in _LASTS
        if how != SHORT or lasts != "all"
    ]


def run(opened: Opened, tally: Tally, *, seed: int, days: int = 2, trials: int | None = None) -> None:
    """Try all plans, or so many of them."""
    chosen = plans(opened, seed=seed, days=days)
    if trials is not None and trials < len(chosen):
        chosen = Random(seed).sample(chosen, trials)
    for plan in chosen:
        with workplace() as place:
            directory = place()
            trial = _Trial(opened, FaultyFiles(plan), directory, seed=seed, days=days)
            found = trial.faults(plan)
            found += judged(opened, read_image(directory), trial.ledger.promise(), place())
            tally.count(found, f"seed {seed}, {plan}")


class _Trial:
    """One workload on files that fail."""

    def __init__(self, opened: Opened, files: FaultyFiles, directory: Path, *, seed: int, days: int) -> None:
        directory.mkdir(parents=True)
        self.files = files
        self.ledger = Ledger(lambda: 0, keep_s)
        self._opened = opened
        self._directory = directory
        self._clock = FakeClock(START_AT)
        self._chance = Random(seed)
        self._days = days
        self._told: list[str] = []  # what the store said of its trouble
        self._found: list[tuple[Fault, str]] = []
        self._store: UnderTest | None = None
        self.ledger.tell_time(START_AT)
        files.on_failure = self._listen

    def faults(self, plan: Plan) -> list[tuple[Fault, str]]:
        """Do the work to its end; what was wrong on the way."""
        try:
            self._work(plan)
        except Exception as error:  # of whatever kind: it reached the caller of the store
            self._found.append(("wrong", f"{error!r} came out"))
        finally:
            self.files.heal()
            with contextlib.suppress(Exception):
                if self._store is not None:
                    self._store.close()
        return self._found

    def _work(self, plan: Plan) -> None:
        self._store = self._open()
        worker = Worker(self._store, self._clock, self.ledger, self._chance)
        worker.after_each = lambda: self._look(worker)
        work(worker, days=self._days, reopen=self._reopen)
        self.files.heal()
        if plan.lasts != "once" and self.files.failed > 1 and not self._told:
            self._found.append(("wrong", f"{self.files.failed} calls failed and nobody was told"))
        self._goes_on(worker, plan)

    def _goes_on(self, worker: Worker, plan: Plan) -> None:
        health = worker.store.health()
        if health is not None and health.state == "read-only":
            if plan.how in (errno.ENOSPC, SHORT):
                self._found.append(("wrong", f"a full disk ended writing: {health.message}"))
            return
        errors = len(worker.errors)
        worker.record(2)
        worker.save()
        worker.compact()
        if len(worker.errors) > errors:
            self._found.append(("wrong", f"it does not go on: {worker.errors[-1]}"))
        health = worker.store.health()
        if health is not None and health.state != "ok":
            self._found.append(("wrong", f"all is well again, yet it says: {health.state}, {health.message}"))

    def _look(self, worker: Worker) -> None:
        """After each piece of work that met a failure: reading goes on, and everything acknowledged is there."""
        if not self.files.has_news():
            return
        self._listen()
        self._told += map(str, worker.errors)
        self._found += faults_of(worker.store.found(), self.ledger.promise())

    def _listen(self) -> None:
        health = self._store.health() if self._store is not None else None
        if health is not None and (health.state != "ok" or health.message or health.warnings):
            self._told.append(health.message or health.state)

    def _open(self) -> UnderTest:
        try:
            return self._opened(self._directory, self._clock, self.files)
        except StoreError as error:  # as the command line tells it: then somebody mends the disk and starts again
            self._told.append(str(error))
            self.files.heal()
            return self._opened(self._directory, self._clock, self.files)

    def _reopen(self) -> UnderTest:
        assert self._store is not None
        self._store.close()
        self._store = None
        self._store = self._open()
        return self._store
