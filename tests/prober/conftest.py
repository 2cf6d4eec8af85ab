"""A real prober process under supervision, and the targets it measures."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from checks.tcp import Tcp
from dashboard.clock import SystemClock
from dashboard.model import Check, Result, RunPhase, Schedule
from dashboard.prober.supervisor import ProberSupervisor


@dataclass
class Watched:
    """A supervisor and everything it told."""

    results: list[Result] = field(default_factory=list)
    runs: list[tuple[str, RunPhase | None, str]] = field(default_factory=list)
    fail: Exception | None = None  # raised instead of taking results
    refused: int = 0  # batches that were not taken
    told: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.supervisor = ProberSupervisor(on_results=self._take, on_run=self._note, clock=SystemClock())

    def start(self, *checks: Check, commands_enabled: bool = False) -> None:
        self.supervisor.start(checks, commands_enabled=commands_enabled)

    def of(self, check_id: str) -> list[Result]:
        return [result for result in list(self.results) if result.check_id == check_id]

    def until(self, holds: Callable[[], bool], timeout_s: float = 15.0) -> None:
        """Wait until the condition holds; looked at with everything the prober tells, and a few times a second."""
        end_s = time.monotonic() + timeout_s
        with self.told:
            while not holds():
                assert time.monotonic() < end_s, f"waited {timeout_s} s in vain; results: {self.results[-5:]}"
                self.told.wait(0.05)

    def _take(self, results: Sequence[Result]) -> None:
        with self.told:
            if self.fail is not None:
                self.refused += 1
                self.told.notify_all()
                raise self.fail
            self.results += results
            self.told.notify_all()

    def _note(self, check_id: str, phase: RunPhase | None, by: str) -> None:
        with self.told:
            self.runs.append((check_id, phase, by))
            self.told.notify_all()


@pytest.fixture
def prober() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.fail = None
    watched.supervisor.stop()
    assert not watched.supervisor.is_alive


class Port:
    """A TCP port that takes connections and, unless it is told to answer, says nothing."""

    def __init__(self, *, answers: bool) -> None:
        self._answers = answers
        self._held: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.number: int = self._server.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def check(self, check_id: str, *, every_s: float = 60.0, timeout_s: float = 30.0) -> Check:
        """A check that wants an answer from this port."""
        return Check(
            id=check_id,
            name=check_id,
            probe=Tcp(host="127.0.0.1", port=self.number, expect="ready"),
            schedule=Schedule(every_s=every_s, timeout_s=timeout_s),
        )

    def answer(self) -> None:
        """Answer everybody who waits, and all who come."""
        self._answers = True
        held, self._held = self._held, []
        for connection in held:
            _answer(connection)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._held:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            if self._answers:
                _answer(connection)
            else:
                self._held.append(connection)


def _answer(connection: socket.socket) -> None:
    with connection:
        try:
            connection.sendall(b"ready\r\n")
        except OSError:
            return  # whoever asked has left


@pytest.fixture
def silent_port() -> Iterator[Port]:
    port = Port(answers=False)
    yield port
    port.close()


@pytest.fixture
def ready_port() -> Iterator[Port]:
    port = Port(answers=True)
    yield port
    port.close()
