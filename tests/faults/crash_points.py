"""Kills at every operation of the disk: before it, after it, in the middle of a write, and once more while the store recovers.

A kill runs no handler and undoes nothing: what it leaves is what the operations up to there have done. So each kill is an
image of the disk, made from the log of one run (faults.disk), and every one of them can be tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from fakes import FakeClock
from faults.disk import Image, RecordingFiles, crash_points, write_image
from faults.ledger import Promise
from faults.stores import Opened
from faults.verdict import Tally, judged
from faults.workload import recorded
from faults.workplace import workplace

NAME = "crash points"
_USED = 0.4  # so often the store is also used on afterwards


def run(
    opened: Opened, tally: Tally, *, seed: int, days: int = 3, share: float = 1.0, second_share: float = 1.0
) -> None:
    """Try that share of all points, and of the points of each recovery from there."""
    chance = Random(seed)
    with workplace() as place:
        done = recorded(opened, place(), seed=seed, days=days)
        for moment, image in crash_points(done.log):
            if chance.random() >= share:
                continue
            promise = done.ledger.promise(moment)
            where = f"seed {seed}, killed after operation {moment}"
            tally.count(judged(opened, image, promise, place(), is_used=chance.random() < _USED), where)
            for again, second in _second_kills(opened, image, promise, place):
                if chance.random() < second_share:
                    found = judged(opened, second, promise, place(), is_used=chance.random() < _USED)
                    tally.count(found, f"{where}, then after {again} of the recovery")


def _second_kills(
    opened: Opened, image: Image, promise: Promise, place: Callable[[], Path]
) -> Iterator[tuple[int, Image]]:
    """What a kill leaves at each operation of a recovery and of the work that was due."""
    directory = place()
    write_image(image, directory)
    files = RecordingFiles(directory)
    try:
        store = opened(directory, FakeClock(promise.now_at), files)
        store.maintain()
        store.close()
    except Exception:
        return  # the first kill's trial tells
    seen = image
    for again, second in crash_points(files.log):
        if second != seen:
            seen = second
            yield again, second
