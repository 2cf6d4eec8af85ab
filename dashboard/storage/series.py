"""The results as a TinyDB table: append-only, read through plans instead of whole-store reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from tinydb.queries import QueryLike
from tinydb.storages import Storage
from tinydb.table import Document, Table

from dashboard.errors import StoreError
from dashboard.rollup import Rollup
from dashboard.storage.appender import Appender
from dashboard.storage.base import ResultColumns
from dashboard.storage.planner import only_upper_bound, plan
from dashboard.storage.records import Row, row_of_columns, row_of_document
from dashboard.storage.timeline import Timeline

NAME = "results"


class SeriesTable(Table):
    """The table `results`; documents come in the order of their ids.

    What is inserted has its id at once and is durable a moment later, as `wait` tells; every read makes it so first. A
    query on `check_id` equality or on bounds of `at` reads only what can match; any other shape reads everything:
    slower, never wrong. `remove` takes `at < X` alone and gives up whole files; nothing is ever updated.
    """

    def __init__(
        self,
        storage: Storage,
        timeline: Timeline,
        appender: Appender,
        give_up: Callable[[float], list[int]],
        clear: Callable[[], None],
        rollups: Callable[[str, Sequence[float], float | None], list[Rollup]],
    ) -> None:
        super().__init__(storage, NAME, cache_size=0)
        self._timeline = timeline
        self._appender = appender
        self._give_up = give_up
        self._clear = clear
        self._rollups = rollups

    def insert(self, document: Mapping[str, Any]) -> int:
        """Take one result in; its id. Raises ValueError naming the field at fault, StoreFull, StoreReadOnly."""
        return self._appender.insert((_row_of(document),))[0]

    def insert_multiple(self, documents: Iterable[Mapping[str, Any]]) -> list[int]:
        """Take results in, all or none; their ids."""
        return self._appender.insert([_row_of(document) for document in documents])

    def wait(self, doc_id: int | None = None) -> None:
        """Block until that result, or all so far, is durable. Raises StoreFull, StoreReadOnly for one that was lost."""
        self._appender.wait(doc_id)

    def search(self, cond: QueryLike) -> list[Document]:
        """The documents that match."""
        return list(self._matching(cond))

    def count(self, cond: QueryLike) -> int:
        """How many documents match."""
        return sum(1 for _ in self._matching(cond))

    def get(  # type: ignore[override]  # one signature for TinyDB's overloads
        self, cond: QueryLike | None = None, doc_id: int | None = None, doc_ids: list[int] | None = None
    ) -> Document | list[Document] | None:
        """The document with that id, those with these ids, or the first that matches."""
        self._appender.settle()
        if doc_id is not None:
            row = self._timeline.find(doc_id)
            return None if row is None else _document(row)
        if doc_ids is not None:
            found = (self._timeline.find(each) for each in sorted(set(doc_ids)))
            return [_document(row) for row in found if row is not None]
        if cond is not None:
            return next(self._matching(cond), None)
        raise RuntimeError("You have to pass either cond or doc_id or doc_ids")

    def contains(self, cond: QueryLike | None = None, doc_id: int | None = None) -> bool:
        """Whether there is a document with that id, or one that matches."""
        return self.get(cond, doc_id) is not None

    def last(self, check_id: str, n: int) -> list[Document]:
        """The newest n documents of a check, newest first."""
        self._appender.settle()
        pieces = self._timeline.newest(check_id, n, None, False)
        rows = (row_of_columns(piece, row) for piece in pieces for row in reversed(range(len(piece))))
        return [_document(row) for row in rows]

    def between(self, check_id: str, start_s: float, end_s: float) -> list[Document]:
        """The documents of a check with start_s <= at < end_s, oldest recording first."""
        self._appender.settle()
        return [_document(row) for row in self._timeline.rows_by_id((check_id,), start_s, end_s)]

    def iter_search(self, cond: QueryLike) -> Iterator[Document]:
        """What `search` gives, one by one: memory stays bounded."""
        return self._matching(cond)

    def stats(self, check_id: str, edges_s: Sequence[float], *, now_s: float | None = None) -> list[Rollup]:
        """Time per status, runs and metrics of a check between neighbouring edges; see History.rollups."""
        self._appender.settle()
        return self._rollups(check_id, edges_s, now_s)

    def export(self) -> Iterator[ResultColumns]:
        """All results as columns, oldest first, some thousand at a time."""
        self._appender.settle()
        return self._timeline.export_columns(None, None, None, None)

    def all(self) -> list[Document]:
        """All documents. They may be millions: rather iterate."""
        return list(self)

    def __iter__(self) -> Iterator[Document]:
        self._appender.settle()
        return map(_document, self._timeline.rows_by_id())

    def __len__(self) -> int:
        self._appender.settle()
        return self._timeline.rows

    def remove(self, cond: QueryLike | None = None, doc_ids: Iterable[int] | None = None) -> list[int]:
        """Give up the closed files whose every row matches `at < X`; the ids of the rows given up."""
        before_s = None if doc_ids is not None else only_upper_bound(cond)
        if before_s is None:
            raise StoreError("results are only removed by age: remove(where('at') < epoch_seconds); or use truncate()")
        return self._give_up(before_s)

    def truncate(self) -> None:
        """Remove all results; ids go on where they were."""
        self._clear()

    def update(self, *_: object, **__: object) -> NoReturn:
        """Refused: what was measured stays."""
        raise StoreError("results are append-only: they cannot be updated; insert a new one")

    update_multiple = upsert = update

    def _matching(self, cond: QueryLike) -> Iterator[Document]:
        self._appender.settle()
        where = plan(cond)
        checks = None if where.check_id is None else (where.check_id,)
        rows = self._timeline.rows_by_id(checks, where.start_s, math.nextafter(where.end_s, math.inf))
        return (document for document in map(_document, rows) if cond(document))

    def _read_table(self) -> NoReturn:
        raise StoreError("results are not read as a whole; iterate, search or export them")

    def _update_table(self, updater: Callable[[Any], None]) -> NoReturn:
        raise StoreError("results are append-only")


def _row_of(document: Mapping[str, Any]) -> Row:
    if not isinstance(document, Mapping):
        raise ValueError("Document is not a Mapping")
    if isinstance(document, Document):
        raise ValueError("results get their ids from the store: insert a plain dict, not a Document with an id")
    return row_of_document(document)


def _document(row: Row) -> Document:
    row_id = row.pop("id")
    return Document(row, row_id)
