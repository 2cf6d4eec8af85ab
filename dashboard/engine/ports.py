"""What the pages and the command line need of the engine, as Protocols: tests pass fakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dashboard.model import BoardView, CheckView, OwnHealth, Result, RunPhase, Settings
from dashboard.storage.base import History


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTicket:
    """What became of a wish to run a check now. `joined`: a run was already going and serves this wish too."""

    check_id: str
    phase: RunPhase
    joined: bool
    after_id: int  # the result that answers has an id above this one


class Board(Protocol):
    """The live picture of all checks. Thread-safe; views are immutable."""

    def view(self) -> BoardView:
        """All checks as they are now."""

    def check(self, check_id: str) -> CheckView:
        """One check; raises UnknownCheck."""

    def wait(self, version: int, timeout_s: float) -> int:
        """Block until the version is above the given one or time is up; the version now."""

    def wake(self) -> None:
        """Let every waiter go: the server stops."""


class Runs(Protocol):
    """Check now."""

    def request(self, check_id: str, by: str) -> RunTicket:
        """Ask for a run. Raises UnknownCheck, TooSoon, ProberDown, RunRefused."""

    def result(self, ticket: RunTicket, timeout_s: float) -> Result | None:
        """The recorded result that answers the ticket; None when time is up."""


class Own(Protocol):
    """Watchroom's own health."""

    def health(self) -> OwnHealth: ...


class Upkeep(Protocol):
    """What a person may ask of the store's keeping."""

    def compact(self) -> None:
        """Begin to seal, merge, roll up and clear away in the background; a second wish while it runs does nothing."""

    @property
    def is_compacting(self) -> bool:
        """Whether that is going on."""

    def forget(self, check_id: str) -> int:
        """Forget the history of a check that is no longer configured; how many results. Raises RunRefused."""


class Services(Protocol):
    """All of it, as create_app wants it."""

    @property
    def settings(self) -> Settings:
        """The configuration in force now (a reload replaces it)."""

    @property
    def board(self) -> Board: ...
    @property
    def history(self) -> History: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def own(self) -> Own: ...
    @property
    def upkeep(self) -> Upkeep: ...
