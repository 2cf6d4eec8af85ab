"""All fault harnesses as one table: `make faults`, or a part of it: `make faults ARGS="power_cuts damage --size short --seed 7"`.

First each control, a store that is known to be bad and must be caught, then ours, which must hold. Exits with 1 when either
is not so.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from faults import crash_points, damage, failing_calls, kills, power_cuts  # noqa: E402
from faults.stores import Ours, Stock  # noqa: E402
from faults.verdict import Tally  # noqa: E402

OURS, STOCK = "Watchroom", "stock TinyDB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is tried."""

    share: float  # of all crash points, and of those while recovering
    second_share: float
    power_cuts: int
    failing_calls: int | None  # None = all
    loads: int
    flips: int
    cuts: int
    step: int  # bytes between two cuts of a tail
    kills: int
    product_kills: int
    control: int  # trials of a control


SIZES = {
    "short": Size(
        share=0.08,
        second_share=0.05,
        power_cuts=500,
        failing_calls=120,
        loads=1,
        flips=300,
        cuts=150,
        step=331,
        kills=8,
        product_kills=5,
        control=100,
    ),
    "night": Size(
        share=1.0,
        second_share=0.2,
        power_cuts=20_000,
        failing_calls=2500,
        loads=1,
        flips=5000,
        cuts=1500,
        step=16,
        kills=150,
        product_kills=60,
        control=300,
    ),
    "long": Size(
        share=1.0,
        second_share=1.0,
        power_cuts=20_000,
        failing_calls=None,
        loads=2,
        flips=50_000,
        cuts=10_000,
        step=1,
        kills=500,
        product_kills=500,
        control=1000,
    ),
}

Part = tuple[Tally, Callable[[Tally], None]]


def of_crash_points(size: Size, seed: int) -> Iterator[Part]:
    """Kills at every operation."""
    yield (
        Tally(harness=crash_points.NAME, store=STOCK, expects_faults=True),
        lambda tally: crash_points.run(Stock, tally, seed=seed),
    )
    yield (
        Tally(harness=crash_points.NAME, store=OURS),
        lambda tally: crash_points.run(Ours, tally, seed=seed, share=size.share, second_share=size.second_share),
    )


def of_power_cuts(size: Size, seed: int) -> Iterator[Part]:
    """Images of power cuts."""
    name = power_cuts.NAME
    yield (
        Tally(harness=name, store=STOCK, expects_faults=True),
        lambda tally: power_cuts.run(Stock, tally, seed=seed, images=size.control),
    )
    yield (
        Tally(harness=name, store=f"{OURS} that syncs no data", expects_faults=True),
        lambda tally: power_cuts.run(Ours, tally, seed=seed, images=size.control, sync=False),
    )
    yield (
        Tally(harness=name, store=f"{OURS} that syncs no names", expects_faults=True),
        lambda tally: power_cuts.run(Ours, tally, seed=seed, images=size.control, sync_directory=False),
    )
    yield (
        Tally(harness=name, store=OURS),
        lambda tally: power_cuts.run(Ours, tally, seed=seed, images=size.power_cuts),
    )


def of_failing_calls(size: Size, seed: int) -> Iterator[Part]:
    """Calls that fail."""
    yield (
        Tally(harness=failing_calls.NAME, store=STOCK, expects_faults=True),
        lambda tally: failing_calls.run(Stock, tally, seed=seed, trials=size.control),
    )
    for load in range(size.loads):
        yield (
            Tally(harness=failing_calls.NAME, store=OURS),
            lambda tally, load=load: failing_calls.run(Ours, tally, seed=seed + load, trials=size.failing_calls),
        )


def of_damage(size: Size, seed: int) -> Iterator[Part]:
    """Flipped bits and cut files."""
    yield (
        Tally(harness=damage.FLIPS, store=STOCK, expects_faults=True),
        lambda tally: damage.run_control(tally, seed=seed, flips=size.control),
    )
    yield (
        Tally(harness=damage.FLIPS, store=OURS),
        lambda tally: damage.run_flips(tally, seed=seed, flips=size.flips),
    )
    yield (
        Tally(harness=damage.CUTS, store=OURS),
        lambda tally: damage.run_cuts(tally, seed=seed, cuts=size.cuts),
    )
    yield (
        Tally(harness=damage.TAILS, store=OURS),
        lambda tally: damage.run_tails(tally, seed=seed, step=size.step),
    )


def of_kills(size: Size, seed: int) -> Iterator[Part]:
    """kill -9."""
    yield (
        Tally(harness=kills.NAME, store=STOCK, expects_faults=True),
        lambda tally: kills.run("stock", tally, seed=seed, kills=size.control),
    )
    yield (
        Tally(harness=kills.NAME, store=OURS),
        lambda tally: kills.run("ours", tally, seed=seed, kills=size.kills),
    )
    yield Tally(harness=kills.PRODUCT_NAME, store=OURS), lambda tally: _kill_product(tally, seed, size.product_kills)


HARNESSES = {
    "crash_points": of_crash_points,
    "kills": of_kills,
    "power_cuts": of_power_cuts,
    "failing_calls": of_failing_calls,
    "damage": of_damage,
}


def _kill_product(tally: Tally, seed: int, count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="watchroom-faults-") as folder:
        kills.run_product(tally, seed=seed, kills=count, folder=Path(folder))


def line_of(tally: Tally, took_s: float) -> str:
    """The tally's row of the table."""
    faults = " | ".join(f"{tally.faults[kind]:,}" for kind in ("loss", "phantom", "unreadable", "wrong"))
    words = ("caught", "MISSED") if tally.expects_faults else ("held", "BROKEN")
    verdict = words[0] if tally.is_as_wished else words[1]
    return f"| {tally.harness} | {tally.store} | {tally.trials:,} | {faults} | {verdict} | {took_s:,.0f} s |"


def main(arguments: list[str]) -> int:
    """Run the named harnesses, or all; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harness", nargs="*", help=f"{', '.join(HARNESSES)}; all when none is named")
    parser.add_argument("--size", choices=SIZES, default="long")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    unknown = [name for name in given.harness if name not in HARNESSES]
    if unknown:
        parser.error(f"no harness has the name {unknown[0]!r}: there are {', '.join(HARNESSES)}")
    logging.disable(logging.CRITICAL)  # a store on a broken disk has a lot to say
    print(f"size {given.size}, seed {given.seed}\n")
    print("| harness | store | trials | losses | phantoms | unreadable | wrong | verdict | took |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    is_well = True
    told: list[str] = []
    for name in given.harness or HARNESSES:
        for tally, run in HARNESSES[name](SIZES[given.size], given.seed):
            started_s = time.monotonic()
            run(tally)
            print(line_of(tally, time.monotonic() - started_s), flush=True)
            is_well &= tally.is_as_wished
            told += [] if tally.expects_faults else [f"{tally.harness}, {example}" for example in tally.examples]
    print("".join(f"\n{example}" for example in told))
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
