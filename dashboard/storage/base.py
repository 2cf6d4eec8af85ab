"""What every store promises.

Life cycle: `open()` takes the directory's LOCK (StoreLocked, StoreUnavailable), replays what is there, and the store serves
until `close()`. Threads: every method may be called from any thread; one writer at a time goes in, readers never wait for
the disk of a writer. Time: instants are aware UTC. `revision` grows by at least one with each durable change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from checks.base import Status
from dashboard.model import CheckState, Incident, Result, StoreHealth


class History(Protocol):
    """Reading what was recorded. A check's results are ordered by id, which is the order of recording."""

    def last(self, check_id: str, n: int, *, before_id: int | None = None, bad_only: bool = False) -> list[Result]:
        """The newest n results, newest first; older than `before_id` when given."""

    def between(self, check_id: str, start_at: datetime, end_at: datetime) -> list[Result]:
        """The results with start_at <= at < end_at, oldest first."""

    def export(
        self,
        *,
        check_ids: Collection[str] | None = None,
        statuses: Collection[Status] | None = None,
        start_at: datetime | None = None,
        end_at: datetime | None = None,
    ) -> Iterator[Sequence[Result]]:
        """All results that fit, oldest first, in chunks of some thousand rows; bounded memory. Closing it frees all."""

    def check_ids(self) -> set[str]:
        """The checks that have results, configured or not."""

    def health(self) -> StoreHealth:
        """How the store does."""


class Store(History, Protocol):
    """Reading and writing."""

    @property
    def revision(self) -> int: ...

    def open(self) -> None:
        """Take the LOCK and replay. Raises StoreLocked, StoreUnavailable."""

    def close(self) -> None:
        """Flush, release the LOCK; idempotent."""

    def append(self, results: Sequence[Result]) -> list[int]:
        """Record the batch, all or nothing, and return its ids once they are durable.

        Blocks while the disk is full (rows wait, bounded), raises StoreFull when too many wait, StoreReadOnly when writing
        is over. Everything is validated before ids are taken: NaN and infinity raise ValueError.
        """

    def save(
        self,
        *,
        states: Iterable[CheckState] = (),
        incidents: Iterable[Incident] = (),
        units: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Record the documents durably, as one commit. `units` is `{check_id: {metric: unit}}`, merged into what is known."""

    def states(self) -> dict[str, CheckState]:
        """The state of every check, by check id."""

    def incidents(self, *, check_id: str | None = None, open_only: bool = False, limit: int = 100) -> list[Incident]:
        """Incidents, newest first."""

    def next_incident_id(self) -> int:
        """An id that no incident has had."""

    def units(self) -> dict[str, dict[str, str]]:
        """`{check_id: {metric: unit}}`."""

    def retain(self, *, raw_s: float, now_at: datetime) -> int:
        """Unlink closed files whose newest row is older than raw_s before now; the rows given up. Never on a clock jump."""
