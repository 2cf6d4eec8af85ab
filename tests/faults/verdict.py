"""Holds what a store has against what it owes."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Literal

from fakes import FakeClock, as_columns
from faults.disk import Image, write_image
from faults.ledger import Possible, Promise, serial_of
from faults.stores import Found, Opened, UnderTest, checks_of

from checks.base import Status
from dashboard.model import Result
from dashboard.rollup import DAY_S, HOUR_S, Rollup, fold
from dashboard.storage.files import Files

Fault = Literal["loss", "phantom", "unreadable", "wrong"]
_PROBES, _PROBE_ROWS, _FIRST_PROBE = 4, 7, 10**9
_CLOSE, _CLOSE_S = 1e-9, 1e-4  # files keep 12 digits of a sum and microseconds of each bucket


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a harness found in one store. `expects_faults`: a control, which proves the harness by being caught."""

    harness: str
    store: str
    expects_faults: bool = False
    trials: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def count(self, found: Sequence[tuple[Fault, str]], where: str) -> None:
        """One more trial and what was wrong in it."""
        self.trials += 1
        self.faults.update({kind for kind, _ in found})
        if found and len(self.examples) < 20:
            self.examples.append(f"{where}: " + "; ".join(f"{kind}: {text}" for kind, text in found[:4]))

    @property
    def is_caught(self) -> bool:
        """Whether this is a control and it was caught."""
        return self.expects_faults and self.faults.total() > 0

    @property
    def is_as_wished(self) -> bool:
        """Whether our store is without fault, or the control was caught."""
        return self.is_caught or (not self.expects_faults and self.trials > 0 and not self.faults.total())


def faults_of(found: Found, promise: Promise, *, in_order: bool = True) -> Iterator[tuple[Fault, str]]:
    """What is missing, what nobody sent, what is there twice or altered. `in_order`: rows were sent one after the other."""
    if found.contradiction:
        yield "wrong", found.contradiction
    seen: dict[int, Result] = {}
    for row in found.rows:
        serial = serial_of(row)
        if serial in seen:
            yield "phantom", f"row {serial} is there twice, as {seen[serial].id} and {row.id}"
        seen[serial] = row
        acknowledged = promise.certain.get(serial) or promise.aged.get(serial)
        sent = acknowledged or promise.unknown.get(serial)
        if sent is None:
            yield "phantom", f"row {row.id} ({row.check_id}: {row.summary!r}) should not be there"
        elif replace(row, id=0) != replace(sent, id=0):
            yield "phantom", f"row {row.id} was altered: {row} instead of {sent}"
        elif acknowledged and row.id != acknowledged.id:
            yield "wrong", f"row {serial} has the id {row.id} instead of {acknowledged.id}"
    missing = [serial for serial in promise.certain if serial not in seen]
    if missing:
        yield "loss", f"{len(missing)} of {len(promise.certain)} acknowledged rows are gone: {missing[:12]}"
    by_id = sorted(found.rows, key=lambda row: row.id)
    if any(later.id == earlier.id for earlier, later in pairwise(by_id)):
        yield "wrong", "an id is there twice"
    if in_order and any(serial_of(later) < serial_of(earlier) for earlier, later in pairwise(by_id)):
        yield "wrong", "ids do not ascend in the order of recording"
    if not promise.documents.fits(found.documents):
        yield "loss", f"documents are {_difference(found, promise)}"


def wrong_rollups(store: UnderTest, found: Found, promise: Promise) -> Iterator[tuple[Fault, str]]:
    """Where the rollups disagree with the rows that were recorded, those that retention took included."""
    there = {serial_of(row): row for row in found.rows}
    rows = [there[serial] for serial in there] + [row for serial, row in promise.aged.items() if serial not in there]
    rows.sort(key=lambda row: row.id)
    lost = [row for serial, row in promise.unknown.items() if serial not in there]  # perhaps counted, perhaps not
    for check_id in sorted(checks_of(rows) - promise.unsettled - checks_of(lost)):
        its_rows = [row for row in rows if row.check_id == check_id]
        newest_s = max(row.at.timestamp() for row in its_rows)
        oldest_s = min(row.at.timestamp() for row in its_rows)
        day_s = math.floor(oldest_s / DAY_S) * DAY_S
        days = [day_s + DAY_S * number for number in range(math.ceil((newest_s - day_s) / DAY_S) + 2)]
        now_s = promise.now_at.timestamp()
        hour_s = math.floor((now_s - 2.0 * DAY_S) / HOUR_S) * HOUR_S
        hours = [hour_s + HOUR_S * number for number in range(51)]
        for edges_s in (days, hours):
            given = store.rollups(check_id, edges_s)
            if given is None:
                return
            for expected, actual in zip(fold(as_columns(its_rows), edges_s), given, strict=True):
                if (difference := _unlike(expected, actual)) is not None:
                    yield (
                        "wrong",
                        f"rollup of {check_id} at {expected.start_s:.0f}, {edges_s[1] - edges_s[0]:.0f} s: {difference}",
                    )


def judged(
    opened: Opened, image: Image, promise: Promise, directory: Path, *, is_used: bool = True
) -> list[tuple[Fault, str]]:
    """Open a store on the image and hold it against the promise; use it, if wished, and hold it again.

    The directory is new, and gone afterwards.
    """
    write_image(image, directory)
    try:
        return list(_judged(opened, directory, promise, is_used=is_used))
    finally:
        shutil.rmtree(directory)


def _judged(opened: Opened, directory: Path, promise: Promise, *, is_used: bool) -> Iterator[tuple[Fault, str]]:
    try:
        store = opened(directory, FakeClock(promise.now_at), Files())
    except Exception as error:  # whatever a damaged file may make of it
        yield "unreadable", repr(error)
        return
    with contextlib.closing(store):
        try:
            yield from faults_of(found := store.found(), promise)
            yield from wrong_rollups(store, found, promise)
            if is_used:
                yield from used(store, found, promise)
        except Exception as error:
            yield "unreadable", repr(error)


def used(store: UnderTest, before: Found, promise: Promise) -> Iterator[tuple[Fault, str]]:
    """More rows, late ones too, and all the nightly work: nothing may come to light or go that was not there before."""
    there = {serial_of(row): row for row in before.rows}
    highest_id = max(promise.highest_id, max((row.id for row in before.rows), default=0))
    for number in range(_PROBES):
        probes = [_probe(number, each, promise) for each in range(_PROBE_ROWS)]
        ids = store.append(probes)
        if min(ids) <= highest_id:
            yield "wrong", f"the id {min(ids)} is given a second time"
        highest_id = max(ids)
        there |= {serial_of(probe): replace(probe, id=row_id) for probe, row_id in zip(probes, ids, strict=True)}
        store.maintain()
    store.compact()
    after = store.found()
    settled = replace(
        promise,
        certain={serial: row for serial, row in there.items() if serial not in promise.old},
        aged={serial: row for serial, row in {**promise.aged, **there}.items() if serial in promise.old},
        unknown={serial: row for serial, row in promise.unknown.items() if serial not in there},
        documents=Possible(before.documents),
    )
    for kind, text in (*faults_of(after, settled), *wrong_rollups(store, after, settled)):
        yield kind, f"once used: {text}"


def _probe(number: int, each: int, promise: Promise) -> Result:
    late_s = 7200.0 * (number % 2)
    serial = _FIRST_PROBE + number * _PROBE_ROWS + each
    return Result(
        check_id="api",
        at=promise.now_at - timedelta(seconds=late_s - serial % _FIRST_PROBE),
        status=Status.OK,
        summary=f"run {serial} to see that it goes on",
        duration_s=0.1,
        covers_s=20.0,
    )


def _unlike(expected: Rollup, actual: Rollup) -> str | None:
    if (expected.start_s, expected.end_s, expected.runs) != (actual.start_s, actual.end_s, actual.runs):
        return f"{actual.runs} runs instead of {expected.runs}"
    if not all(map(_is_close, expected.seconds, actual.seconds)):
        return f"{actual.seconds} seconds instead of {expected.seconds}"
    if expected.metrics.keys() != actual.metrics.keys():
        return f"metrics {sorted(actual.metrics)} instead of {sorted(expected.metrics)}"
    for name, metric in expected.metrics.items():
        other = actual.metrics[name]
        exact = (metric.count, metric.low, metric.high, metric.histogram)
        if exact != (other.count, other.low, other.high, other.histogram) or not _is_close(metric.total, other.total):
            return f"metric {name}: {other} instead of {metric}"
    return None


def _is_close(expected: float, actual: float) -> bool:
    return math.isclose(expected, actual, rel_tol=_CLOSE, abs_tol=_CLOSE_S)


def _difference(found: Found, promise: Promise) -> str:
    expected = promise.documents.newest
    keys = [key for key in expected.keys() | found.documents.keys() if expected.get(key) != found.documents.get(key)]
    return f"not as acknowledged: {sorted(keys)[:5]}"
