"""Rows of many checks in the order in which their runs began, in bounded memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, repeat
from math import copysign, inf
from operator import itemgetter
from typing import Any

from checks.base import Detail
from dashboard.storage.base import Coded, Later, MetricRows, ResultColumns, Same

_LATEST_S = 3600.0  # no run lasts longer: the largest timeout
_LOOK_AHEAD_ROWS = 8192  # 82 s at 100 results a second
_CHUNK_ROWS = 1024
_SORTED_ROWS = 16_384
_SPARE_NAMES = 4  # so many columns may lack a row's metric before it costs less to keep such rows apart

_NONE: Mapping[str, float] = {}
_NAN = array("d", [float("nan")])

Pick = Callable[[Sequence[Any]], Sequence[Any]]  # of any column's values
# Check, trigger, by, worker, covers_s and its sign (0.0 is not -0.0): nearly always the same all through a piece.
Owner = tuple[str, Any, str, str, float, float]


class _Shape:
    """The metrics of rows that have the same names, a column a name."""

    def __init__(self, number: int, names: Iterable[str]) -> None:
        self.number = number
        self.columns = {name: array("d") for name in names}

    def rows(self, places: Sequence[int]) -> MetricRows:
        """Those at these places, in this order."""
        pick = _picker(places)
        return MetricRows({name: pick(column) for name, column in self.columns.items()}, len(places))

    def fits(self, names: Iterable[str]) -> bool:
        """Whether rows with these names may stand here, NaN where they lack one."""
        return self.columns.keys() >= set(names) and len(self.columns) <= len(set(names)) + _SPARE_NAMES


class _Pool:
    """Rows of any checks as columns, packed tightly: first all are added, then taken."""

    def __init__(self) -> None:
        self._starts: list[int] = []  # of pieces, none empty
        self._ids: list[Sequence[int]] = []  # of pieces
        self.at_s = array("d")
        self.statuses = bytearray()
        self.durations_s = array("d")
        self.summaries: list[str] = []
        self.details: dict[int, Detail] = {}
        self._owners: dict[Owner, int] = {}
        self._owner_of = array("I")
        self._shapes: list[_Shape] = []
        self._known_shapes: dict[tuple[str, ...], _Shape] = {}
        self._runs: list[tuple[_Shape, int]] = []  # of pieces: their shape, how many rows

    @classmethod
    def of(cls, pieces: Iterable[ResultColumns]) -> _Pool:
        """A pool of these rows."""
        pool = cls()
        for piece in pieces:
            pool.add(piece)
        return pool

    def __len__(self) -> int:
        return len(self.at_s)

    def add_all(self, pieces: Iterable[ResultColumns]) -> None:
        """Take the rows of all these pieces in."""
        for piece in pieces:
            self.add(piece)

    def add(self, piece: ResultColumns) -> None:
        """Take rows in."""
        start, count = len(self), len(piece)
        self._starts.append(start)
        self._ids.append(piece.ids)
        self.at_s.extend(piece.at_s)
        self.statuses += bytes(piece.statuses)
        self.durations_s.extend(piece.durations_s)
        self.summaries += piece.summaries
        for row, detail in piece.details.items():
            self.details[start + row] = detail
        self._add_owners(piece, count)
        self._add_metrics(piece, count)

    def order(self) -> array[int]:
        """All rows by the instant, a stretch of time at a time: to sort all at once takes 70 bytes a row."""
        at_s, count = self.at_s, len(self)
        if not count:
            return array("I")
        ends = [*self._starts[1:], count]
        first_s = min(at_s[start] for start in self._starts)
        last_s = max(at_s[end - 1] for end in ends)
        stretches = count // _SORTED_ROWS + 1
        found = array("I")
        lows, after_s = self._starts, -inf
        for number in range(1, stretches + 1):
            until_s = first_s + (last_s - first_s) * number / stretches if number < stretches else inf
            highs = [bisect_left(at_s, until_s, low, end) for low, end in zip(lows, ends, strict=True)]
            stretch = sorted(chain.from_iterable(map(range, lows, highs)), key=at_s.__getitem__)
            if stretch and not after_s <= at_s[stretch[0]] <= at_s[stretch[-1]] < until_s:
                return array("I", sorted(range(count), key=at_s.__getitem__))  # the clock was set back within a piece
            found.extend(stretch)
            lows, after_s = highs, until_s
        return found

    def take(self, rows: Sequence[int]) -> ResultColumns:
        """These rows, in this order."""
        pick = _picker(rows)
        owner_of = pick(self._owner_of)
        check_ids, triggers, by, workers, covers_s = (Coded(owner_of, values) for values in self._columns_of_owners)
        return ResultColumns(
            ids=Later(len(rows), lambda: pick(self._all_ids)),
            check_ids=check_ids,
            at_s=pick(self.at_s),
            statuses=pick(self.statuses),
            summaries=pick(self.summaries),
            durations_s=pick(self.durations_s),
            covers_s=covers_s,
            triggers=triggers,
            by=by,
            workers=workers,
            metrics=self._metrics(pick, len(rows)),
            details=_Details(self.details, rows) if self.details else self.details,
        )

    @cached_property
    def _all_ids(self) -> array[int]:
        found = array("q")
        for ids in self._ids:
            found.extend(ids)
        return found

    @cached_property
    def _columns_of_owners(self) -> list[tuple[Any, ...]]:
        return list(zip(*self._owners, strict=True))[:5]

    def pieces(self, rows: Sequence[int]) -> list[ResultColumns]:
        """These rows, in this order, but each kind of metrics apart."""
        if len(self._shapes) == 1:
            return [self._alone(rows)]
        shape_of, _ = self._places
        by_shape: dict[int, list[int]] = {}
        for row in rows:
            by_shape.setdefault(shape_of[row], []).append(row)
        return [self._alone(its_rows) for its_rows in by_shape.values()]

    def _alone(self, rows: Sequence[int]) -> ResultColumns:
        """These rows, tightly and without what would keep the whole pool."""
        taken = self.take(rows)
        return replace(
            taken,
            ids=array("q", taken.ids),
            at_s=array("d", taken.at_s),
            statuses=bytes(taken.statuses),
            durations_s=array("d", taken.durations_s),
            metrics=_tight(taken.metrics),
        )

    def _add_owners(self, piece: ResultColumns, count: int) -> None:
        columns = (piece.check_ids, piece.triggers, piece.by, piece.workers, _same(piece.covers_s))
        owners = self._owners
        if all(type(column) is Same for column in columns):
            owner = (*(column[0] for column in columns), copysign(1.0, piece.covers_s[0]))
            self._owner_of.extend(array("I", (owners.setdefault(owner, len(owners)),)) * count)  # type: ignore[arg-type]
        else:
            signs = map(copysign, repeat(1.0), piece.covers_s)
            found = [owners.setdefault(owner, len(owners)) for owner in zip(*columns, signs, strict=True)]
            self._owner_of.extend(found)

    def _add_metrics(self, piece: ResultColumns, count: int) -> None:
        metrics = piece.metrics
        if not isinstance(metrics, MetricRows):
            names = dict.fromkeys(chain.from_iterable(metrics))
            metrics = MetricRows({name: piece.metric(name) for name in names}, count)
        shape = self._shape_of(tuple(metrics.columns))
        for name, column in shape.columns.items():
            column.extend(metrics.columns.get(name) or _NAN * count)
        self._runs.append((shape, count))

    def _shape_of(self, names: tuple[str, ...]) -> _Shape:
        shape = self._known_shapes.get(names)
        if shape is None:
            shape = next((each for each in self._shapes if each.fits(names)), None)
            if shape is None:
                shape = _Shape(len(self._shapes), names)
                self._shapes.append(shape)
            self._known_shapes[names] = shape
        return shape

    @cached_property
    def _places(self) -> tuple[array[int], array[int]]:
        """The shape of each row, and its place among the rows of that shape."""
        shape_of, place_of = array("I"), array("I")
        counts = [0] * len(self._shapes)
        for shape, count in self._runs:
            shape_of.extend(array("I", [shape.number]) * count)
            place_of.extend(range(counts[shape.number], counts[shape.number] + count))
            counts[shape.number] += count
        return shape_of, place_of

    def _metrics(self, pick: Pick, count: int) -> Sequence[Mapping[str, float]]:
        if len(self._shapes) == 1:  # a row's place is its own
            return MetricRows({name: pick(column) for name, column in self._shapes[0].columns.items()}, count)
        shape_of, place_of = self._places
        shapes, places = pick(shape_of), pick(place_of)
        different: set[int] = set(shapes)
        if len(different) == 1:
            return self._shapes[different.pop()].rows(places)
        found: list[Mapping[str, float]] = [_NONE] * len(shapes)  # a column for each name would mostly be empty
        for number in different:
            rows = [row for row, its_number in enumerate(shapes) if its_number == number]
            values = self._shapes[number].rows([places[row] for row in rows])
            for row, each in zip(rows, values, strict=True):
                found[row] = each
        return found


class _Details(Mapping[int, Detail]):
    """The details of some rows, by their place among them: looked for when somebody asks."""

    def __init__(self, details: Mapping[int, Detail], rows: Sequence[int]) -> None:
        self._details = details
        self._rows = rows

    @cached_property
    def _found(self) -> dict[int, Detail]:
        details = self._details
        return {place: details[row] for place, row in enumerate(self._rows) if row in details}

    def __getitem__(self, place: int) -> Detail:
        return self._found[place]

    def __iter__(self) -> Iterator[int]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def oldest_first(groups: Iterable[Sequence[ResultColumns]]) -> Iterator[ResultColumns]:
    """The same rows by the instant at which they began, as far as looking ahead a bounded number of rows can tell.

    They come in the order of recording: a run is recorded when it ends, so a slow one comes after quick ones that began
    later. Where the clock was set back by more than that, the order of recording stays.
    """
    held: list[ResultColumns] = []
    for pieces in groups:
        pool = _Pool()
        pool.add_all(chain(held, pieces))
        del pieces
        held.clear()
        order = pool.order()
        newest_s = pool.at_s[order[-1]] if order else 0.0
        sure = bisect_left(order, newest_s - _LATEST_S, key=pool.at_s.__getitem__)
        sure = max(sure, len(order) - _LOOK_AHEAD_ROWS)
        yield from _chunks(pool, order[:sure])
        if sure < len(order):
            held = pool.pieces(order[sure:])
        del pool, order  # before the next group comes
    pool = _Pool()
    pool.add_all(held)
    yield from _chunks(pool, pool.order())


def _same(column: Sequence[float]) -> Sequence[float]:
    """The column as one value where an array holds the same, bit for bit, in all rows."""
    if isinstance(column, array) and column.tobytes() == column[:1].tobytes() * len(column):
        return Same(column[0], len(column))
    return column


def _tight(metrics: Sequence[Mapping[str, float]]) -> Sequence[Mapping[str, float]]:
    if not isinstance(metrics, MetricRows):
        return metrics
    return MetricRows({name: array("d", column) for name, column in metrics.columns.items()}, len(metrics))


def _chunks(pool: _Pool, order: array[int]) -> Iterator[ResultColumns]:
    for start in range(0, len(order), _CHUNK_ROWS):
        yield pool.take(order[start : start + _CHUNK_ROWS])


def _picker(rows: Sequence[int]) -> Pick:
    """What takes these rows from any column, one at least."""
    if len(rows) == 1:
        return lambda column: (column[rows[0]],)
    make: Any = itemgetter  # mypy 2.4 stumbles over itemgetter of many
    taken: Pick = make(*rows)
    return taken
