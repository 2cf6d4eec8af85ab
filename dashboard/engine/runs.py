"""Check now: at most once a second a check, joined where a run is already going, answered by a recorded result."""

from __future__ import annotations

import threading
from collections.abc import Callable

from checks.base import Clock
from dashboard.engine.board import LiveBoard
from dashboard.engine.ports import RunTicket
from dashboard.errors import RunRefused, TooSoon
from dashboard.model import BrokenCheck, Result
from dashboard.storage.base import History

PAUSE_S = 1.0


class RunDesk:
    """Takes wishes to run a check and hands them to the prober (`ask(check_id, by)`, which may raise ProberDown)."""

    def __init__(self, *, board: LiveBoard, history: History, ask: Callable[[str, str], None], clock: Clock) -> None:
        self._board = board
        self._history = history
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_s: dict[str, float] = {}

    def request(self, check_id: str, by: str) -> RunTicket:
        """Ask for a run. Raises UnknownCheck, TooSoon, ProberDown, RunRefused."""
        with self._lock:
            view = self._board.check(check_id)
            if isinstance(view.check, BrokenCheck):
                raise RunRefused(f"check {check_id!r} cannot run: {view.check.fault}")
            after_id = view.result.id if view.result else 0
            if view.run_phase is not None:
                self._ask(check_id, by)
                return RunTicket(check_id=check_id, phase=view.run_phase, joined=True, after_id=after_id)
            now_s = self._hold_back(check_id)
            self._board.run_changed(check_id, "queued")  # before asking: a quick run may be over before `ask` returns
            try:
                self._ask(check_id, by)
            except RunRefused:
                self._board.run_changed(check_id, None)
                raise
            self._asked_s[check_id] = now_s
            return RunTicket(check_id=check_id, phase="queued", joined=False, after_id=after_id)

    def result(self, ticket: RunTicket, timeout_s: float) -> Result | None:
        """The recorded result that answers the ticket; None when time is up."""
        end_s = self._clock.monotonic_s() + timeout_s
        while True:
            version = self._board.view_version()
            for result in self._history.last(ticket.check_id, 5):
                if result.id > ticket.after_id and result.by:
                    return result
            left_s = end_s - self._clock.monotonic_s()
            if left_s <= 0 or self._board.is_stopped:
                return None
            self._board.wait(version, min(left_s, 5.0))

    def _hold_back(self, check_id: str) -> float:
        """The time now in seconds; raises TooSoon within a second of the last run asked for."""
        now_s = self._clock.monotonic_s()
        wait_s = self._asked_s.get(check_id, now_s - PAUSE_S) + PAUSE_S - now_s
        if wait_s > 0:
            raise TooSoon(
                f"check {check_id!r} was asked for less than a second ago: try again in {wait_s:.1f} s",
                retry_after_s=wait_s,
            )
        return now_s
