"""Check now: joined, held back, answered."""

from __future__ import annotations

import pytest
from fakes import FakeClock, MemoryStore, make_check, make_result

from dashboard.engine.board import LiveBoard
from dashboard.engine.runs import RunDesk
from dashboard.errors import ProberDown, RunRefused, TooSoon, UnknownCheck
from dashboard.model import BrokenCheck


class Rig:
    """A desk whose wishes are noted; `answer` records a result as the pipeline would."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.board = LiveBoard(boot="b", clock=self.clock)
        broken = BrokenCheck(id="x", name="x", type="http", fault="bearer: TOKEN is not set")
        self.board.configure([make_check("a"), broken], self.store, states={}, incidents=[], units={})
        self.asked: list[tuple[str, str]] = []
        self.desk = RunDesk(board=self.board, history=self.store, ask=self._ask, clock=self.clock)
        self.is_down = False

    def _ask(self, check_id: str, by: str) -> None:
        if self.is_down:
            raise ProberDown("the prober is not running")
        self.asked.append((check_id, by))

    def answer(self, **changes: object) -> None:
        self.store.append([make_result("a", **changes)])
        self.board.apply([self.store.rows[-1]], states={}, incidents={})
        self.board.run_changed("a", None)


@pytest.fixture
def rig():
    return Rig()


def test_wish_goes_to_the_prober_with_who_asked_and_shows_as_queued(rig):
    ticket = rig.desk.request("a", "local")
    assert (ticket.phase, ticket.joined) == ("queued", False)
    assert rig.asked == [("a", "local")]
    assert rig.board.check("a").run_phase == "queued"


def test_fifty_clicks_are_one_run(rig):
    tickets = [rig.desk.request("a", "local") for _ in range(50)]
    assert [ticket.joined for ticket in tickets].count(False) == 1


def test_second_run_within_a_second_is_held_back(rig):
    rig.desk.request("a", "local")
    rig.answer(by="local")
    rig.clock.advance(0.4)
    with pytest.raises(TooSoon, match=r"try again in 0\.6 s") as caught:
        rig.desk.request("a", "local")
    assert caught.value.retry_after_s == pytest.approx(0.6)
    rig.clock.advance(0.7)
    assert rig.desk.request("a", "local").joined is False


def test_ticket_is_answered_by_the_run_that_was_asked_for(rig):
    ticket = rig.desk.request("a", "local")
    rig.answer()
    assert rig.desk.result(ticket, 0) is None
    rig.answer(trigger="manual", by="local")
    assert rig.desk.result(ticket, 0).id == 2


def test_what_cannot_run_says_why(rig):
    with pytest.raises(UnknownCheck):
        rig.desk.request("nope", "local")
    with pytest.raises(RunRefused, match="TOKEN is not set"):
        rig.desk.request("x", "local")
    rig.is_down = True
    with pytest.raises(ProberDown):
        rig.desk.request("a", "local")
    assert rig.board.check("a").run_phase is None


def test_refusal_by_a_prober_that_is_down_does_not_hold_the_next_wish_back(rig):
    rig.is_down = True
    with pytest.raises(ProberDown):
        rig.desk.request("a", "local")
    rig.is_down = False
    assert rig.desk.request("a", "local").joined is False


def test_run_that_is_over_before_asking_returns_does_not_stay_queued(rig):
    rig.desk._ask = lambda check_id, by: rig.answer(trigger="manual", by=by)
    ticket = rig.desk.request("a", "local")
    assert rig.board.check("a").run_phase is None
    assert rig.desk.result(ticket, 0).by == "local"
