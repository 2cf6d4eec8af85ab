"""The board shows what is durable, ages what is old, and tells who waits."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from fakes import NOW, FakeClock, MemoryStore, make_check, make_result

from checks.base import Status
from dashboard.engine.board import LiveBoard
from dashboard.errors import UnknownCheck
from dashboard.model import BrokenCheck, CheckState, Incident


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def board(clock):
    return LiveBoard(boot="b1", clock=clock)


def configure(board, checks, store=None, *, states=None, incidents=()):
    board.configure(checks, store or MemoryStore(), states=states or {}, incidents=incidents, units={})


def show(board, *results):
    board.apply(results, states={}, incidents={})


def test_check_that_never_ran_shows_no_status(board):
    configure(board, [make_check()])
    view = board.check("api")
    assert (view.shown, view.result, view.bar, view.uptime) == (None, None, (), None)


def test_unknown_check_is_named(board):
    configure(board, [])
    with pytest.raises(UnknownCheck, match="'nope'"):
        board.check("nope")


def test_result_is_shown_at_once_and_changes_only_its_own_check(board):
    configure(board, [make_check("a"), make_check("b")])
    before = board.view()
    show(board, make_result("a", status=Status.CRITICAL, id=1))
    after = board.view()
    assert after.version > before.version
    assert after.layout_version == before.layout_version
    assert after.checks[0].version == after.version
    assert after.checks[1] is before.checks[1]
    assert after.checks[0].shown is Status.CRITICAL
    assert after.checks[0].last_bad == after.checks[0].result


def test_result_that_covers_now_no_longer_turns_unknown_and_back(board, clock):
    configure(board, [make_check()])
    show(board, make_result(id=1, covers_s=20))
    clock.advance(21)
    board.tick()
    view = board.check("api")
    assert (view.shown, view.is_overdue) == (Status.UNKNOWN, True)
    assert view.since_at == NOW + timedelta(seconds=20)
    assert "200 in 184 ms" in view.summary
    show(board, make_result(at=clock.now(), id=2))
    assert board.check("api").shown is Status.OK


def test_paused_check_is_never_overdue(board, clock):
    configure(board, [make_check(paused=True)])
    show(board, make_result(id=1))
    clock.advance(10_000)
    board.tick()
    assert board.check("api").shown is Status.OK


def test_broken_check_is_unknown_with_its_fault(board):
    configure(board, [BrokenCheck(id="x", name="x", type="http", fault="bearer: API_TOKEN is not set")])
    assert board.check("x").shown is Status.UNKNOWN
    assert board.check("x").summary == "bearer: API_TOKEN is not set"


def test_waiter_wakes_when_something_changes(board):
    configure(board, [make_check()])
    version = board.view().version
    seen = []
    waiter = threading.Thread(target=lambda: seen.append(board.wait(version, 10)))
    waiter.start()
    show(board, make_result(id=1))
    waiter.join(10)
    assert seen == [version + 1]


def test_stop_lets_every_waiter_go(board):
    waiter = threading.Thread(target=board.wait, args=(10**9, 60))
    waiter.start()
    board.wake()
    waiter.join(10)
    assert not waiter.is_alive()
    assert board.is_stopped


def test_history_of_the_last_day_is_taken_up_at_start(board):
    store = MemoryStore()
    rows = [
        make_result(at=NOW - timedelta(seconds=10 * (50 - n)), metrics={"response_time": n / 10}) for n in range(50)
    ]
    rows[7] = make_result(at=rows[7].at, status=Status.CRITICAL)
    store.append(rows)
    state = CheckState(check_id="api", status=Status.OK, since_at=NOW - timedelta(days=3))
    configure(board, [make_check()], store, states={"api": state})
    view = board.check("api")
    assert view.result.id == 50
    assert view.last_bad.id == 8
    assert view.last_good.id == 50
    assert view.spark == tuple(n / 10 for n in range(10, 50))
    assert view.since_at == NOW - timedelta(days=3)
    assert sum(cell.critical_s for cell in view.bar) == 10
    assert sum(cell.ok_s for cell in view.bar) == 490
    assert view.uptime.ratio == pytest.approx(490 / 500)


def test_what_a_result_before_the_bar_covers_is_taken_up_and_the_next_result_cuts_it_short(board, clock):
    store = MemoryStore()
    store.append([make_result(at=NOW - timedelta(hours=30), covers_s=86400.0)])
    configure(board, [make_check()], store)
    assert sum(cell.ok_s for cell in board.check("api").bar) == 17 * 3600 + 55 * 60 + 8
    configure(board, [])
    store.append([make_result(at=NOW - timedelta(hours=20), covers_s=60.0), make_result(at=NOW, covers_s=60.0)])
    configure(board, [make_check()], store)
    clock.advance(30)
    show(board, make_result(at=NOW + timedelta(seconds=20), id=4, status=Status.CRITICAL))
    bar = board.check("api").bar
    assert sum(cell.critical_s for cell in bar) == 10
    assert sum(cell.ok_s for cell in bar) == 3 * 3600 + 55 * 60 + 8 + 60 + 20


def test_reload_keeps_what_is_known_of_a_check_and_drops_what_is_gone(board):
    configure(board, [make_check("a"), make_check("b")])
    show(board, make_result("a", id=1))
    layout = board.view().layout_version
    configure(board, [make_check("c"), make_check("a", name="A new")])
    view = board.view()
    assert [check.check.id for check in view.checks] == ["c", "a"]
    assert view.checks[1].check.name == "A new"
    assert view.checks[1].result.id == 1
    assert view.layout_version > layout


def test_incident_is_shown_until_it_closes(board):
    configure(board, [make_check()])
    incident = Incident(
        id=4,
        check_id="api",
        opened_at=NOW,
        confirmed_at=NOW,
        status=Status.CRITICAL,
        worst=Status.CRITICAL,
        summary="x",
    )
    board.apply([make_result(status=Status.CRITICAL, id=1)], states={}, incidents={"api": incident})
    assert board.check("api").incident == incident
    closed = Incident(
        id=4,
        check_id="api",
        opened_at=NOW,
        confirmed_at=NOW,
        status=Status.OK,
        worst=Status.CRITICAL,
        summary="x",
        closed_at=NOW,
    )
    board.apply([make_result(id=2)], states={}, incidents={"api": closed})
    assert board.check("api").incident is None


def test_run_phase_is_shown_until_the_run_is_over(board):
    configure(board, [make_check()])
    board.run_changed("api", "running")
    assert board.check("api").run_phase == "running"
    assert board.check("api").run_since_at == NOW
    board.run_changed("api", None)
    assert board.check("api").run_phase is None


def test_new_slot_moves_every_bar_on(board, clock):
    configure(board, [make_check()])
    show(board, make_result(id=1, covers_s=7200))
    board.tick()
    first = board.check("api").bar[0].start_at
    clock.advance(1800)
    board.tick()
    assert board.check("api").bar[0].start_at == first + timedelta(minutes=30)
