"""The short forms of the fault harnesses: each first catches a store that is known to be bad. `make faults` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults import crash_points, damage, failing_calls, kills, power_cuts
from faults.stores import Ours, Stock
from faults.verdict import Tally

SEED = 20261124
BUSY_S = 60.0  # a machine that runs tests side by side


@pytest.fixture
def control() -> Tally:
    return Tally(harness="", store="control", expects_faults=True)


@pytest.fixture
def ours() -> Tally:
    return Tally(harness="", store="ours")


def assert_held(tally: Tally, trials: int) -> None:
    assert tally.trials >= trials
    assert not tally.examples, "\n".join(tally.examples)


def test_a_kill_at_any_operation_destroys_stock_tinydb(control: Tally) -> None:
    crash_points.run(Stock, control, seed=SEED, days=2)
    assert control.faults["unreadable"] > 3


def test_a_kill_at_any_operation_costs_nothing(ours: Tally) -> None:
    crash_points.run(Ours, ours, seed=SEED, share=0.1, second_share=0.03)
    assert_held(ours, 100)


@pytest.mark.parametrize("skips", [{"sync": False}, {"sync_directory": False}])
def test_a_store_that_skips_its_syncs_is_caught_by_a_power_cut(control: Tally, skips: dict[str, bool]) -> None:
    power_cuts.run(Ours, control, seed=SEED, images=40, **skips)
    assert control.faults["loss"] > 10


def test_a_power_cut_destroys_stock_tinydb(control: Tally) -> None:
    power_cuts.run(Stock, control, seed=SEED, images=150)
    assert control.faults["unreadable"] > 3


def test_a_power_cut_costs_nothing(ours: Tally) -> None:
    power_cuts.run(Ours, ours, seed=SEED, images=500)
    assert_held(ours, 500)


def test_calls_that_fail_destroy_stock_tinydb(control: Tally) -> None:
    failing_calls.run(Stock, control, seed=SEED, trials=40)
    assert control.faults["unreadable"] > 3


def test_calls_that_fail_are_told_and_cost_nothing(ours: Tally) -> None:
    failing_calls.run(Ours, ours, seed=SEED, trials=80)
    assert_held(ours, 80)


def test_flipped_bits_alter_what_stock_tinydb_says_or_make_it_unreadable(control: Tally) -> None:
    damage.run_control(control, seed=SEED, flips=60)
    assert control.faults["unreadable"] > 10
    assert control.faults["phantom"] > 3


def test_flipped_bits_are_seen_and_cost_one_record_or_block(ours: Tally) -> None:
    damage.run_flips(ours, seed=SEED, flips=200)
    assert_held(ours, 200)


def test_cut_files_are_seen_and_cost_what_was_cut(ours: Tally) -> None:
    damage.run_cuts(ours, seed=SEED, cuts=120)
    assert_held(ours, 120)


def test_a_journal_may_end_at_any_byte(ours: Tally) -> None:
    damage.run_tails(ours, seed=SEED, step=499)
    assert_held(ours, 130)


def test_killing_a_writer_destroys_stock_tinydb(control: Tally) -> None:
    kills.run("stock", control, seed=SEED, kills=60)
    assert control.is_caught


def test_killing_a_writer_costs_nothing(ours: Tally) -> None:
    kills.run("ours", ours, seed=SEED, kills=6, ready_s=BUSY_S)
    assert_held(ours, 6)


def test_killing_the_product_costs_nothing(ours: Tally, tmp_path: Path) -> None:
    kills.run_product(ours, seed=SEED, kills=5, folder=tmp_path, ready_s=BUSY_S)
    assert_held(ours, 5)
