"""Results in memory: columns per check, about 90 bytes a row and fast to slice."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import chain
from math import nan
from typing import Any

from checks.base import Detail
from dashboard.model import Trigger
from dashboard.storage.base import MetricRows, ResultColumns, Same
from dashboard.storage.records import NUMBER, Row, detail_of

Origin = tuple[Trigger, str, str]  # trigger, by, worker

_INTERNED_AT_MOST = 4096  # texts that keep changing (numbers in a summary) are not worth remembering


class CheckColumns:
    """The rows of one check, ids ascending. Grows by `extend`; not thread-safe by itself."""

    __slots__ = (
        "_are_instants_ascending",
        "at_s",
        "bad",
        "check_id",
        "covers_s",
        "details",
        "durations_s",
        "ids",
        "metrics",
        "origins",
        "statuses",
        "summaries",
    )

    def __init__(self, check_id: str) -> None:
        self.check_id = check_id
        self.ids = array("q")
        self.at_s = array("d")
        self.statuses = array("b")
        self.durations_s = array("d")
        self.covers_s = array("d")
        self.summaries: list[str] = []
        self.origins: list[Origin] = []
        self.metrics: dict[str, array[float]] = {}  # NaN where a row lacks it
        self.details: dict[int, Detail] = {}  # by position
        self.bad = array("I")  # positions of bad rows
        self._are_instants_ascending = True

    def __len__(self) -> int:
        return len(self.ids)

    def extend(self, rows: Sequence[Row], interned: dict[Any, Any] | None = None) -> None:
        """Add rows of this check; equal texts share one object through `interned`."""
        known: dict[Any, Any] = {} if interned is None else interned
        if len(known) > _INTERNED_AT_MOST:
            known.clear()
        start = len(self.ids)
        numbers = [NUMBER[row["status"]] for row in rows]
        summaries = [row["summary"] for row in rows]
        origins = [(row["trigger"], row["by"], row["worker"]) for row in rows]
        self._extend_metrics([row["metrics"] for row in rows])
        self.ids.extend([row["id"] for row in rows])
        self.at_s.extend([row["at"] for row in rows])
        self.statuses.extend(numbers)
        self.durations_s.extend([row["duration_s"] for row in rows])
        self.covers_s.extend([row["covers_s"] for row in rows])
        self.summaries.extend(map(known.setdefault, summaries, summaries))
        self.origins.extend(map(known.setdefault, origins, origins))
        if any(numbers):
            self._extend_bad(rows, start)
        if self._are_instants_ascending:
            instants = self.at_s[max(0, start - 1) :]
            self._are_instants_ascending = all(map(float.__le__, instants, instants[1:]))

    def _extend_bad(self, rows: Sequence[Row], start: int) -> None:
        for position, row in enumerate(rows, start):
            if row["status"] != "ok":
                self.bad.append(position)
                if "detail" in row:
                    self.details[position] = detail_of(row["detail"])

    def _extend_metrics(self, metrics: Sequence[Mapping[str, float]]) -> None:
        columns: dict[str, list[float]] | None
        try:  # nearly always a check has the same metrics each time
            columns = {name: [each[name] for each in metrics] for name in self.metrics}
        except KeyError:
            columns = None
        if columns is None or len(columns) * len(metrics) != sum(map(len, metrics)):
            for name in dict.fromkeys(chain.from_iterable(metrics)):
                if name not in self.metrics:
                    self.metrics[name] = array("d", [nan]) * len(self.ids)
            columns = {name: [each.get(name, nan) for each in metrics] for name in self.metrics}
        for name, values in columns.items():
            self.metrics[name].extend(values)

    def all(self) -> ResultColumns:
        """All rows."""
        return self._slice(0, len(self))

    def between(self, start_s: float, end_s: float) -> ResultColumns:
        """The rows with start_s <= at < end_s."""
        if self._are_instants_ascending:
            return self._slice(bisect_left(self.at_s, start_s), bisect_left(self.at_s, end_s))
        return self._pick([row for row, at_s in enumerate(self.at_s) if start_s <= at_s < end_s])

    def newest(self, n: int, before_id: int | None, bad_only: bool) -> ResultColumns:
        """The newest n rows, oldest first; with an id below `before_id` when given."""
        end = len(self) if before_id is None else bisect_left(self.ids, before_id)
        if bad_only:
            last = bisect_left(self.bad, end)
            return self._pick(self.bad[max(0, last - n) : last])
        return self._slice(max(0, end - n), end)

    def at_id(self, row_id: int) -> ResultColumns:
        """The one row with that id, or none."""
        position = bisect_left(self.ids, row_id)
        return self._slice(position, position + (position < len(self) and self.ids[position] == row_id))

    def _slice(self, start: int, end: int) -> ResultColumns:
        end = max(start, end)
        length = end - start
        first, last = bisect_left(self.bad, start), bisect_left(self.bad, end)
        triggers, by, workers = _origins(self.origins[start:end])
        return ResultColumns(
            ids=self.ids[start:end],
            check_ids=Same(self.check_id, length),
            at_s=self.at_s[start:end],
            statuses=self.statuses[start:end],
            summaries=self.summaries[start:end],
            durations_s=self.durations_s[start:end],
            covers_s=self.covers_s[start:end],
            triggers=triggers,
            by=by,
            workers=workers,
            metrics=MetricRows({name: column[start:end] for name, column in self.metrics.items()}, length),
            details={row - start: self.details[row] for row in self.bad[first:last] if row in self.details},
        )

    def _pick(self, rows: Sequence[int]) -> ResultColumns:
        return joined([self._slice(row, row + 1) for row in rows])


def _origins(origins: Sequence[Origin]) -> tuple[Sequence[Trigger], Sequence[str], Sequence[str]]:
    """Triggers, by, workers: nearly always the same in all rows."""
    if origins and origins.count(origins[0]) == len(origins):
        trigger, by, worker = origins[0]
        return Same(trigger, len(origins)), Same(by, len(origins)), Same(worker, len(origins))
    return [each[0] for each in origins], [each[1] for each in origins], [each[2] for each in origins]


class PartColumns:
    """The columns of all checks over one run of rows."""

    def __init__(self) -> None:
        self.checks: dict[str, CheckColumns] = {}
        self.rows = 0
        self._interned: dict[Any, Any] = {}  # texts and origins, each by itself

    @classmethod
    def of(cls, rows: Sequence[Row]) -> PartColumns:
        """These rows alone."""
        columns = cls()
        columns.extend(rows)
        return columns

    def extend(self, rows: Sequence[Row]) -> None:
        """Add rows of any checks, ids ascending."""
        self.rows += len(rows)
        by_check: dict[str, list[Row]] = {}
        for row in rows:
            by_check.setdefault(row["check_id"], []).append(row)
        for check_id, its_rows in by_check.items():
            columns = self.checks.get(check_id)
            if columns is None:
                columns = self.checks[check_id] = CheckColumns(check_id)
            columns.extend(its_rows, self._interned)


def joined(pieces: Sequence[ResultColumns]) -> ResultColumns:
    """The pieces end to end."""
    if len(pieces) == 1:
        return pieces[0]
    names = dict.fromkeys(name for piece in pieces for name in piece.metric_names())
    metrics = {name: _end_to_end([piece.metric(name) for piece in pieces]) for name in names}
    details: dict[int, Detail] = {}
    length = 0
    for piece in pieces:
        details |= {row + length: detail for row, detail in piece.details.items()}
        length += len(piece)
    return ResultColumns(
        ids=_end_to_end([piece.ids for piece in pieces]),
        check_ids=_end_to_end([piece.check_ids for piece in pieces]),
        at_s=_end_to_end([piece.at_s for piece in pieces]),
        statuses=_end_to_end([piece.statuses for piece in pieces]),
        summaries=_end_to_end([piece.summaries for piece in pieces]),
        durations_s=_end_to_end([piece.durations_s for piece in pieces]),
        covers_s=_end_to_end([piece.covers_s for piece in pieces]),
        triggers=_end_to_end([piece.triggers for piece in pieces]),
        by=_end_to_end([piece.by for piece in pieces]),
        workers=_end_to_end([piece.workers for piece in pieces]),
        metrics=MetricRows(metrics, length),
        details=details,
    )


def _end_to_end(columns: Sequence[Sequence[Any]]) -> Sequence[Any]:  # of any column's values
    """The columns as one, as tightly as they were."""
    first = columns[0] if columns else []
    if isinstance(first, Same) and all(isinstance(each, Same) and each.value == first.value for each in columns):
        return Same(first.value, sum(map(len, columns)))
    if isinstance(first, array) and all(
        isinstance(each, array) and each.typecode == first.typecode for each in columns
    ):
        found: array[Any] = array(first.typecode)
        for each in columns:
            found.extend(each)
        return found
    return list(chain.from_iterable(columns))
