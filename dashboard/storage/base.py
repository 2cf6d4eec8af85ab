"""What every store promises.

Life cycle: `open()` takes the directory's LOCK (StoreLocked, StoreUnavailable), replays what is there, and the store serves
until `close()`. Threads: every method may be called from any thread; one writer at a time goes in, readers never wait for
the disk of a writer. Time: instants are aware UTC. `revision` grows by at least one with each durable change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import repeat
from math import nan
from operator import eq
from typing import Protocol, TypeVar, overload

from checks.base import Detail, Status
from dashboard.model import CheckState, Incident, Inventory, Result, Retention, StoreHealth, Trigger
from dashboard.rollup import Rollup
from dashboard.uptime import Cursor

T = TypeVar("T")


class Same(Sequence[T]):
    """A column whose rows all hold one value."""

    __slots__ = ("length", "value")

    def __init__(self, value: T, length: int) -> None:
        self.value = value
        self.length = length

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, row: int) -> T: ...
    @overload
    def __getitem__(self, row: slice) -> Same[T]: ...
    def __getitem__(self, row: int | slice) -> T | Same[T]:
        if isinstance(row, slice):
            return Same(self.value, len(range(*row.indices(self.length))))
        if not -self.length <= row < self.length:
            raise IndexError(row)
        return self.value

    def __iter__(self) -> Iterator[T]:
        return repeat(self.value, self.length)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of any list


class Coded(Sequence[T]):
    """A column of few different values: of each row the place of its value among `values`."""

    __slots__ = ("codes", "values")

    def __init__(self, codes: Sequence[int], values: Sequence[T]) -> None:
        self.codes = codes
        self.values = values

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, row: int) -> T: ...
    @overload
    def __getitem__(self, row: slice) -> Coded[T]: ...
    def __getitem__(self, row: int | slice) -> T | Coded[T]:
        return Coded(self.codes[row], self.values) if isinstance(row, slice) else self.values[self.codes[row]]

    def __iter__(self) -> Iterator[T]:
        return map(self.values.__getitem__, self.codes)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of any list


class Later(Sequence[T]):
    """A column that is made when somebody looks at it."""

    __slots__ = ("_length", "_made", "_make")

    def __init__(self, length: int, make: Callable[[], Sequence[T]]) -> None:
        self._length = length
        self._make: Callable[[], Sequence[T]] | None = make
        self._made: Sequence[T] = ()

    @property
    def values(self) -> Sequence[T]:
        """The column itself."""
        make = self._make
        if make is not None:
            self._made = make()
            self._make = None  # whoever looks meanwhile makes the same
        return self._made

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, row: int) -> T: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[T]: ...
    def __getitem__(self, row: int | slice) -> T | Sequence[T]:
        return self.values[row]

    def __iter__(self) -> Iterator[T]:
        return iter(self.values)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of any list


class MetricRows(Sequence[Mapping[str, float]]):
    """Metrics kept as one column a name, read as one mapping a row. NaN in a column: the row lacks that metric."""

    __slots__ = ("columns", "length")

    def __init__(self, columns: Mapping[str, Sequence[float]], length: int) -> None:
        self.columns = columns
        self.length = length

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, row: int) -> Mapping[str, float]: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[Mapping[str, float]]: ...
    def __getitem__(self, row: int | slice) -> Mapping[str, float] | Sequence[Mapping[str, float]]:
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(self.length))]
        if not -self.length <= row < self.length:
            raise IndexError(row)
        values = ((name, column[row]) for name, column in self.columns.items())
        return {name: value for name, value in values if value == value}

    def __iter__(self) -> Iterator[Mapping[str, float]]:
        names, columns = list(self.columns), self.columns.values()
        rows = map(dict, map(zip, repeat(names, self.length), zip(*columns, strict=True) if names else repeat(())))
        if all(all(map(eq, column, column)) for column in columns):
            return rows
        return ({name: value for name, value in row.items() if value == value} for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultColumns:
    """Many results as parallel sequences, oldest first: row i is made of the i-th of each. Far cheaper than Result objects.

    `at_s` is epoch seconds, exact to the microsecond (`datetime.fromtimestamp(at_s[i], UTC)` is the instant); `statuses`
    are the numbers of Status; `details` holds, by row, only those that say something. Treat all of it as read-only.
    """

    ids: Sequence[int]
    check_ids: Sequence[str]
    at_s: Sequence[float]
    statuses: Sequence[int]
    summaries: Sequence[str]
    durations_s: Sequence[float]
    covers_s: Sequence[float]
    triggers: Sequence[Trigger]
    by: Sequence[str]
    workers: Sequence[str]
    metrics: Sequence[Mapping[str, float]]
    details: Mapping[int, Detail]

    def __len__(self) -> int:
        return len(self.ids)

    def metric(self, name: str) -> Sequence[float]:
        """One metric down the rows, NaN where a row lacks it."""
        if isinstance(self.metrics, MetricRows):
            return self.metrics.columns.get(name) or [nan] * len(self)
        return [row.get(name, nan) for row in self.metrics]

    def metric_names(self) -> list[str]:
        """The metrics that any row has, in the order in which they came."""
        if isinstance(self.metrics, MetricRows):
            columns = self.metrics.columns.items()
            return [name for name, column in columns if any(value == value for value in column)]
        return list(dict.fromkeys(name for row in self.metrics for name in row))

    def results(self) -> list[Result]:
        """The same rows as values."""
        count, details = len(self), self.details
        columns: dict[str, Iterable[object]] = {
            "id": self.ids,
            "check_id": self.check_ids,
            "at": [datetime.fromtimestamp(at_s, UTC) for at_s in self.at_s],
            "status": map(_STATUSES.__getitem__, self.statuses),
            "summary": self.summaries,
            "duration_s": self.durations_s,
            "covers_s": self.covers_s,
            "trigger": self.triggers,
            "by": self.by,
            "worker": self.workers,
            "metrics": self.metrics,
            "units": repeat(_NO_UNITS),
            "detail": [details.get(row, _NO_DETAIL) for row in range(count)] if details else repeat(_NO_DETAIL),
        }
        # The constructor of a frozen dataclass takes 1.6 us to set its fields one by one; so it takes 0.6 us (2026-11).
        made: list[Result] = list(map(object.__new__, repeat(Result, count)))
        for name, column in columns.items():
            deque(map(_SETTERS[name], made, column), maxlen=0)
        return made


_NO_DETAIL = Detail()
_NO_UNITS: Mapping[str, str] = {}
_SETTERS: Mapping[str, Callable[[Result, object], None]] = {
    field.name: getattr(Result, field.name).__set__ for field in fields(Result)
}
_STATUSES = tuple(sorted(Status))  # by number


class History(Protocol):
    """Reading what was recorded. A check's results are ordered by id, which is the order of recording."""

    def last(self, check_id: str, n: int, *, before_id: int | None = None, bad_only: bool = False) -> list[Result]:
        """The newest n results, newest first; older than `before_id` when given."""

    def between(self, check_id: str, start_at: datetime, end_at: datetime) -> list[Result]:
        """The results with start_at <= at < end_at, oldest first."""

    def series(self, check_id: str, start_at: datetime, end_at: datetime) -> ResultColumns:
        """What `between` gives, as columns: the cheap read for uptime bars, sparklines and charts."""

    def export(
        self,
        *,
        check_ids: Collection[str] | None = None,
        statuses: Collection[Status] | None = None,
        start_at: datetime | None = None,
        end_at: datetime | None = None,
    ) -> Iterator[Sequence[Result]]:
        """All results that fit, oldest first, in chunks of some thousand rows; bounded memory. Closing it frees all."""

    def export_columns(
        self,
        *,
        check_ids: Collection[str] | None = None,
        statuses: Collection[Status] | None = None,
        start_at: datetime | None = None,
        end_at: datetime | None = None,
    ) -> Iterator[ResultColumns]:
        """What `export` gives, as columns: several times faster. No chunk is empty; `metrics` has one dict a row."""

    def rollups(
        self,
        check_id: str,
        edges_s: Sequence[float],
        *,
        now_s: float | None = None,
        metrics: Collection[str] | None = None,
    ) -> list[Rollup]:
        """The check's history in the buckets between neighbours of `edges_s` (epoch seconds, ascending, two at least).

        One Rollup a bucket, also where it is empty, with the metrics asked for (None = all). Exact as far back as the
        class of history that the edges call for is kept (results; 5 min; hours; days), then by the next coarser one.
        What the newest result covers counts up to `now_s`; None: not at all, since the next may cut it short.
        """

    def cursor(self, check_id: str) -> Cursor:
        """Where the check's uptime goes on after its newest result: a Cursor of the caller's own."""

    def check_ids(self) -> set[str]:
        """The checks that have results or rollups, configured or not."""

    def inventory(self) -> Inventory:
        """What there is, by class; reads sizes from the disk."""

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
        """Record the documents durably, as one commit; StoreFull after a moment without room. `units` is `{check_id: {metric: unit}}`, merged into what is known."""

    def states(self) -> dict[str, CheckState]:
        """The state of every check, by check id."""

    def incidents(self, *, check_id: str | None = None, open_only: bool = False, limit: int = 100) -> list[Incident]:
        """Incidents, newest first."""

    def next_incident_id(self) -> int:
        """An id that no incident has had."""

    def units(self) -> dict[str, dict[str, str]]:
        """`{check_id: {metric: unit}}`."""

    def keep(self, retention: Retention, per_check: Mapping[str, Retention]) -> None:
        """From now on keep history so long: `per_check` holds the checks that differ. See dashboard.storage.retention."""

    def maintain(self, now_at: datetime) -> None:
        """Do what is due: seal, merge, roll up, give up what is too old (never on a clock jump). Blocks; call it often."""

    def compact(self) -> None:
        """Do all of that at once, whether due or not, and drop for good what was forgotten."""

    def forget(self, check_id: str) -> int:
        """Forget all results and rollups of the check; how many results that were. Others are not touched."""
