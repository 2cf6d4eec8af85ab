"""The stream of "changed" signals: at most one a second, at once when a status changes. It carries no content."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator

from checks.base import Clock
from dashboard.engine.ports import Board
from dashboard.model import BoardView

BEAT_S = 15.0
LIFE_S = 600.0
GAP_S = 1.0  # between signals for mere values
GLANCE_S = 0.1  # how often a waiting signal looks whether a status changed after all
LIMIT = 224  # of 256 server threads: 32 stay free for pages


class Pulse:
    """Since which version the statuses are as they are: worked out once a version for all streams. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Hashable = None
        self._statuses: Hashable = None
        self._version = 0

    def status_version(self, view: BoardView) -> int:
        """The version when a status, a confirmation or a run's phase last changed."""
        with self._lock:
            if self._seen != (view.boot, view.version):
                self._seen = (view.boot, view.version)
                statuses = _statuses(view)
                if statuses != self._statuses:
                    self._statuses, self._version = statuses, view.version
            return self._version


def _statuses(view: BoardView) -> Hashable:
    return tuple((each.check.id, each.shown, each.unconfirmed, each.run_phase) for each in view.checks)


class Streams:
    """Counts the streams that are open, so that pages always find a thread."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._open = 0
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Take a place; False when all are taken."""
        with self._lock:
            if self._open >= self._limit:
                return False
            self._open += 1
            return True

    def leave(self) -> None:
        """Give the place back."""
        with self._lock:
            self._open -= 1


def signals(board: Board, pulse: Pulse, clock: Clock) -> Iterator[bytes]:
    """Server-sent events: `changed` at first and with each change, `beat` in between. Ends when the board is woken."""
    began_s = sent_s = clock.monotonic_s()
    view = board.view()
    pulse.status_version(view)
    version = view.version
    yield _event("changed", version)
    while (now_s := clock.monotonic_s()) < began_s + LIFE_S:
        newest = board.wait(version, BEAT_S)
        if newest == version:
            if clock.monotonic_s() - now_s < BEAT_S / 2:
                return  # woken before its time: the server stops
            yield _event("beat", version)
        elif clock.monotonic_s() - sent_s >= GAP_S or pulse.status_version(board.view()) > version:
            version, sent_s = newest, clock.monotonic_s()
            yield _event("changed", version)
        else:
            time.sleep(GLANCE_S)


def _event(name: str, version: int) -> bytes:
    return f"event: {name}\ndata: {version}\n\n".encode()
