"""A quarter kept and carried on equals the same days counted at once, and costs few reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from fakes import NOW, FakeClock, MemoryStore, make_check, make_result

from checks.base import Status
from dashboard.engine.board import LiveBoard
from dashboard.engine.quarter import DAYS, MOST_RENEWED, Quarter, Quarters, midnights
from dashboard.uptime import uptime_of

PRAGUE = ZoneInfo("Europe/Prague")
CHANGE_AT = datetime(2026, 10, 25, 0, 40, tzinfo=UTC)  # 20 minutes before the clocks in Prague go back


class CountingStore(MemoryStore):
    """Counts how often a rollup is read, and lets time pass meanwhile."""

    reads = 0
    takes_s = 0.0

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock

    def rollups(self, *args, **more):
        self.reads += 1
        self.clock.elapsed_s += self.takes_s
        return super().rollups(*args, **more)


class Rig:
    """A board over a store, which a clock moves on."""

    def __init__(self, now_at: datetime, *, every_s: float = 600.0, checks: int = 1) -> None:
        self.clock = FakeClock(now_at)
        self.store = CountingStore(self.clock)
        self.every_s = every_s
        self.checks = [make_check(f"c{number}") for number in range(checks)]
        self.board = LiveBoard(boot="b", clock=self.clock)
        self.quarters = Quarters(self.store, self.clock)

    def start(self, days: int) -> Rig:
        first_at = self.clock.now_at - timedelta(days=days)
        steps = int(days * 86400 / self.every_s)
        times = [first_at + timedelta(seconds=self.every_s * step) for step in range(steps)]
        self.store.append([self.result(check.id, at) for at in times for check in self.checks])
        self.board.configure(self.checks, self.store, states={}, incidents=(), units={})
        return self

    def result(self, check_id: str, at: datetime):
        status = Status(int(at.timestamp() // 7000) % 4)
        return make_result(check_id, at, status, covers_s=self.every_s * 1.2)

    def run(self) -> None:
        """One more result of every check, now."""
        results = [self.result(check.id, self.clock.now_at) for check in self.checks]
        ids = self.store.append(results)
        rows = self.store.rows[-len(ids) :]
        self.board.apply(rows, states={}, incidents={})

    def quarter(self, zone=PRAGUE, check_id: str = "c0") -> Quarter:
        self.board.tick()
        view = self.board.check(check_id)
        return self.quarters.look(self.clock.now_at, zone).of(view)

    def look_at_all(self) -> None:
        look = self.quarters.look(self.clock.now_at, PRAGUE)
        for view in self.board.view().checks:
            look.of(view)

    def counted_at_once(self, zone=PRAGUE, check_id: str = "c0"):
        edges_s = midnights(self.clock.now_at, zone)
        return self.store.rollups(check_id, edges_s, now_s=self.clock.now_at.timestamp())


def assert_equal(rig: Rig, zone=PRAGUE) -> None:
    found, expected = rig.quarter(zone), rig.counted_at_once(zone)
    assert [cell.start_at.timestamp() for cell in found.slots] == [each.start_s for each in expected]
    for cell, each in zip(found.slots, expected, strict=True):
        assert (cell.ok_s, cell.warning_s, cell.critical_s, cell.unknown_s) == pytest.approx(each.seconds[:4])
    total = [sum(column) for column in zip(*(each.seconds for each in expected), strict=True)]
    start_at = datetime.fromtimestamp(expected[0].start_s, UTC)
    whole = uptime_of(total, start_at, rig.clock.now_at)
    assert found.uptime.ratio == pytest.approx(whole.ratio)
    assert found.uptime.coverage_ratio == pytest.approx(whole.coverage_ratio)


@pytest.mark.parametrize("zone", [UTC, PRAGUE, ZoneInfo("America/St_Johns")])
def test_a_quarter_is_the_days_of_the_zone_as_the_store_counts_them(zone):
    rig = Rig(NOW, every_s=3600).start(100)
    assert_equal(rig, zone)
    assert len(rig.quarter(zone).slots) == DAYS


@pytest.mark.parametrize("now_at", [NOW, CHANGE_AT, NOW.replace(hour=22, minute=40)])
def test_what_was_read_once_goes_on_from_the_board_s_day_also_past_midnight_and_a_clock_change(now_at):
    rig = Rig(now_at).start(3)
    rig.quarters.look(now_at, PRAGUE)
    for _ in range(20):
        rig.clock.advance(600)
        rig.run()
        assert_equal(rig)


def test_a_day_with_a_clock_change_has_25_hours():
    rig = Rig(CHANGE_AT + timedelta(days=1)).start(3)
    lengths = {
        cell.start_at.astimezone(PRAGUE).date().isoformat(): cell.length_s / 3600 for cell in rig.quarter().slots
    }
    assert lengths["2026-10-25"] == 25
    assert lengths["2026-10-24"] == 24


def test_a_check_is_read_again_after_five_minutes_and_not_before():
    rig = Rig(NOW).start(2)
    rig.store.reads = 0
    for _ in range(30):
        rig.clock.advance(10)
        rig.run()
        rig.quarter()
    assert rig.store.reads == 1
    rig.clock.advance(20)
    rig.quarter()
    assert rig.store.reads == 2


def test_checks_that_are_no_longer_fresh_are_read_one_at_a_time():
    rig = Rig(NOW, checks=5, every_s=3600).start(1)
    rig.look_at_all()
    rig.clock.advance(400)
    rig.store.reads = 0
    for looks in range(1, 5):
        rig.look_at_all()
        assert rig.store.reads == looks * MOST_RENEWED


def test_a_look_reads_as_many_as_it_has_time_for_and_leaves_the_rest_to_the_next():
    rig = Rig(NOW, checks=20, every_s=3600).start(1)
    rig.store.takes_s = 0.125
    looks = []
    for _ in range(5):
        look = rig.quarters.look(rig.clock.now_at, PRAGUE)
        look.prepare(rig.board.view().checks)
        looks.append((look.is_complete, sum(bool(look.of(view).slots) for view in rig.board.view().checks)))
    assert looks == [(False, 4), (False, 8), (False, 12), (False, 16), (True, 20)]


def test_late_results_of_a_finished_day_show_within_five_minutes():
    rig = Rig(NOW).start(1)
    assert rig.quarter().slots[-10].critical_s == 0
    late = rig.quarter().slots[-10].start_at + timedelta(hours=3)
    rig.store.append([make_result("c0", late, Status.CRITICAL, covers_s=600)])
    rig.clock.advance(301)
    assert rig.quarter().slots[-10].critical_s == 600


def test_the_same_view_gives_the_same_quarter_so_that_rows_need_no_new_drawing():
    rig = Rig(NOW).start(1)
    assert rig.quarter() is rig.quarter()
    before = rig.quarter()
    rig.clock.advance(1)
    rig.run()
    assert rig.quarter() is not before


def test_a_check_that_never_ran_has_no_quarter_and_costs_no_read():
    rig = Rig(NOW).start(0)
    assert rig.quarter() == Quarter()
    assert rig.store.reads == 0


def test_checks_that_are_gone_are_dropped():
    rig = Rig(NOW).start(1)
    rig.quarter()
    rig.quarters.forget_all_but(set())
    rig.store.reads = 0
    rig.quarter()
    assert rig.store.reads == 1
