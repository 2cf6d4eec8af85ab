"""Power cuts: what was not synced is dropped, kept, torn, reordered or full of holes; names are old or new."""

from __future__ import annotations

from pathlib import Path
from random import Random

from fakes import FakeClock
from faults.disk import Image, RecordingFiles, power_cuts, write_image
from faults.ledger import Promise
from faults.stores import Opened
from faults.verdict import Tally, judged
from faults.workload import recorded
from faults.workplace import workplace

NAME = "power cuts"
_IMAGES_A_RUN = 500
_USED = 0.4  # so often the store is also used on afterwards
_CUT_AGAIN = 0.25  # so often the power goes a second time, while the store recovers


def run(
    opened: Opened,
    tally: Tally,
    *,
    seed: int,
    images: int,
    days: int = 3,
    sync: bool = True,
    sync_directory: bool = True,
) -> None:
    """Try so many images, of several runs of the workload. `sync=False`, `sync_directory=False`: a store that does not wait."""
    chance = Random(seed)
    for first in range(0, images, _IMAGES_A_RUN):
        with workplace() as place:
            directory = place()
            directory.mkdir(parents=True)
            files = RecordingFiles(directory, sync=sync, sync_directory=sync_directory)
            its_seed = seed + first
            done = recorded(opened, directory, seed=its_seed, days=days, files=files)
            for moment, image in power_cuts(done.log, chance, min(_IMAGES_A_RUN, images - first)):
                promise = done.ledger.promise(moment)
                where = f"seed {its_seed}, power cut after operation {moment}"
                if chance.random() < _CUT_AGAIN:
                    image = _cut_again(opened, image, promise, place(), chance)
                    where += " and again while recovering"
                tally.count(judged(opened, image, promise, place(), is_used=chance.random() < _USED), where)


def _cut_again(opened: Opened, image: Image, promise: Promise, directory: Path, chance: Random) -> Image:
    write_image(image, directory)
    files = RecordingFiles(directory)
    try:
        store = opened(directory, FakeClock(promise.now_at), files)
        store.maintain()
        store.close()
    except Exception:
        return image  # which is then told as what it is
    _moment, again = next(power_cuts(files.log, chance, 1))
    return again
