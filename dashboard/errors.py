"""Every error of ours.

WatchroomError
+-- ConfigError            the file cannot be used; `.problems` holds them all
+-- StoreError
|   +-- StoreLocked        another process holds the data directory; exit 4
|   +-- StoreUnavailable   the data directory cannot be read or written; exit 3
|   +-- StoreFull          no room: rows wait in memory
|   +-- StoreReadOnly      writing failed twice: reads go on
+-- LinkError              the web process and its prober do not understand each other
+-- RunRefused             a check cannot be run now, and why
|   +-- UnknownCheck
|   +-- TooSoon            `.retry_after_s`
|   +-- ProberDown
+-- BadFilter              `.token` is the word at fault
+-- BadRequest             a request that cannot be understood: one clear message
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class WatchroomError(Exception):
    """Whatever we raise on purpose; its text is fit for a user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault of the configuration: where (line from 1, 0 unknown), and what with the way out."""

    message: str
    line: int = 0
    check_id: str = ""

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


class ConfigError(WatchroomError):
    """The configuration cannot be used."""

    def __init__(self, problems: Sequence[Problem], *, source: str = "") -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
        self.source = source


class StoreError(WatchroomError):
    """The store could not do what was asked."""


class StoreLocked(StoreError):
    """Another process holds the data directory."""

    def __init__(self, message: str, *, pid: int = 0) -> None:
        super().__init__(message)
        self.pid = pid


class StoreUnavailable(StoreError):
    """The data directory cannot be read or written."""


class StoreFull(StoreError):
    """There is no room on the disk."""


class StoreReadOnly(StoreError):
    """Writing failed for good; reading goes on."""


class LinkError(WatchroomError):
    """A message between the two processes cannot be sent or read."""


class RunRefused(WatchroomError):
    """A check cannot be run now."""


class UnknownCheck(RunRefused):
    """No check has that id."""


class TooSoon(RunRefused):
    """The check was asked for less than a second ago."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ProberDown(RunRefused):
    """The prober is not running."""


class BadFilter(WatchroomError):
    """A filter cannot be understood."""

    def __init__(self, message: str, *, token: str = "") -> None:
        super().__init__(message)
        self.token = token


class BadRequest(WatchroomError):
    """A request cannot be understood."""
