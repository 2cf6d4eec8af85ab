"""The stores under test, alike to the harnesses: Watchroom's own, and stock TinyDB as the control that must be caught."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fakes import FakeClock
from tinydb import TinyDB
from tinydb.storages import JSONStorage, Storage
from tinydb.table import Document

from dashboard.errors import StoreError
from dashboard.model import CheckState, Incident, Result, Retention, StoreHealth
from dashboard.rollup import Rollup
from dashboard.storage.appender import Limits
from dashboard.storage.files import Files
from dashboard.storage.records import columns_of, row_of_result
from dashboard.storage.store import TinyStore

DAY_S = 86400.0
KEEP = Retention(raw_s=2 * DAY_S, five_minutes_s=3 * DAY_S, hours_s=5 * DAY_S)
KEEP_LESS = Retention(raw_s=1 * DAY_S, five_minutes_s=2 * DAY_S, hours_s=5 * DAY_S)
KEEPS_LESS = "db"  # the check with a retention of its own
# So small that everything a year of service does happens within some dozen writes.
LIMITS = Limits(
    journal_rows=12,
    merged_parts=3,
    group_rows=16,
    snapshot_bytes=2500,
    reserve_bytes=4096,
    retry_s=0.0005,
    waiting_rows=1000,
)

Key = tuple[str, object]  # the kind of document, and which


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything that a store says it has."""

    rows: Sequence[Result]
    documents: Mapping[str, str]
    contradiction: str = ""  # where two ways of reading give different answers


class UnderTest(Protocol):
    """One store in one directory, open."""

    def append(self, results: Sequence[Result]) -> list[int]:
        """Record rows; their ids once they are acknowledged."""

    def commit(self, changes: Mapping[Key, Any]) -> None:  # CheckState, Incident, dict; None removes
        """Change documents, all of one kind of table or none."""

    def forget(self, check_id: str) -> None:
        """Forget a check's rows."""

    def maintain(self) -> None:
        """Do what is due."""

    def compact(self) -> None:
        """Do everything that could ever be due."""

    def found(self) -> Found:
        """Read everything, every way there is."""

    def rollups(self, check_id: str, edges_s: Sequence[float]) -> Sequence[Rollup] | None:
        """The rollups; None from a store that has none."""

    def health(self) -> StoreHealth | None:
        """How it says it does; None from a store that cannot tell."""

    def close(self) -> None:
        """Close it."""


Opened = Callable[[Path, FakeClock, Files], UnderTest]


class Ours:
    """A TinyStore with limits so small that it rotates, seals, merges and retires all the time."""

    def __init__(self, directory: Path, clock: FakeClock, files: Files, limits: Limits = LIMITS) -> None:
        self._clock = clock
        self.store = TinyStore(directory, clock, limits=limits, files=files)
        self.store.open()
        self.store.keep(KEEP, {KEEPS_LESS: KEEP_LESS})

    def append(self, results: Sequence[Result]) -> list[int]:
        return self.store.append(results)

    def commit(self, changes: Mapping[Key, Any]) -> None:
        if notes := {key: value for (kind, key), value in changes.items() if kind == "note"}:
            table = self.store.database.table("notes")
            for key, value in notes.items():
                if value is None:
                    table.remove(doc_ids=[key])
                else:
                    table.upsert(Document(value, doc_id=key))
            return
        self.store.save(
            states=[value for value in changes.values() if isinstance(value, CheckState)],
            incidents=[value for value in changes.values() if isinstance(value, Incident)],
            units={str(key): value for (kind, key), value in changes.items() if kind == "units"},
        )

    def forget(self, check_id: str) -> None:
        self.store.forget(check_id)

    def maintain(self) -> None:
        self.store.maintain(self._clock.now())

    def compact(self) -> None:
        self.store.compact()

    def found(self) -> Found:
        exported = [result for chunk in self.store.export() for result in chunk]
        by_check = [result for check_id in self.store.check_ids() for result in self.store.last(check_id, 1_000_000)]
        documents: dict[Key, object] = {("state", key): value for key, value in self.store.states().items()}
        documents |= {("incident", each.id): each for each in self.store.incidents(limit=1_000_000)}
        documents |= {("units", key): value for key, value in self.store.units().items()}
        documents |= {("note", each.doc_id): dict(each) for each in self.store.database.table("notes").all()}
        return Found(
            rows=exported,
            documents={repr(key): repr(value) for key, value in documents.items()},
            contradiction=_difference(exported, by_check),
        )

    def rollups(self, check_id: str, edges_s: Sequence[float]) -> Sequence[Rollup]:
        return self.store.rollups(check_id, edges_s)

    def health(self) -> StoreHealth:
        return self.store.health()

    def close(self) -> None:
        self.store.close()


class Stock:
    """TinyDB as it comes: one JSON file, written over at every change."""

    def __init__(self, directory: Path, clock: FakeClock, files: Files) -> None:
        path = directory / "db.json"
        self._database = TinyDB(storage=lambda: _JsonStorage(path, files))
        self._results = self._database.table("results")
        self._documents = self._database.table("documents")

    def append(self, results: Sequence[Result]) -> list[int]:
        with _told():
            return self._results.insert_multiple(row_of_result(result) for result in results)

    def commit(self, changes: Mapping[Key, Any]) -> None:
        def change(document: dict[str, str]) -> None:
            document |= {repr(key): repr(value) for key, value in changes.items() if value is not None}
            for key in (repr(key) for key, value in changes.items() if value is None):
                document.pop(key, None)

        with _told():
            if self._documents.contains(doc_id=1):
                self._documents.update(change, doc_ids=[1])
            else:
                first: dict[str, str] = {}
                change(first)
                self._documents.insert(Document(first, doc_id=1))

    def forget(self, check_id: str) -> None:
        with _told():
            self._results.remove(lambda document: document["check_id"] == check_id)
        self.commit({("state", check_id): None, ("units", check_id): None})

    def maintain(self) -> None: ...

    def compact(self) -> None: ...

    def found(self) -> Found:
        rows = columns_of([{**document, "id": document.doc_id} for document in self._results.all()]).results()
        document = self._documents.get(doc_id=1) or {}
        assert isinstance(document, dict)
        return Found(rows=rows, documents=dict(document))

    def rollups(self, check_id: str, edges_s: Sequence[float]) -> None:
        return None

    def health(self) -> None:
        return None

    def close(self) -> None:
        self._database.close()


@contextmanager
def _told() -> Iterator[None]:
    """TinyDB lets the system's error through; that counts as told."""
    try:
        yield
    except OSError as error:
        raise StoreError(str(error)) from error


class _JsonStorage(JSONStorage):
    """Stock TinyDB's storage; only the file object under it is ours, so that its operations are seen."""

    def __init__(self, path: Path, files: Files) -> None:
        Storage.__init__(self)
        self._mode = "r+"
        self.kwargs = {}
        self._handle = _Handle(path, files)  # type: ignore[assignment]


class _Handle:
    """What Python's own file object does to the disk, one write for all that was buffered: kinder to TinyDB than the real one."""

    def __init__(self, path: Path, files: Files) -> None:
        self._files = files
        self._descriptor = files.open(path, os.O_RDWR | os.O_CREAT)
        files.sync_directory(path.parent)  # kinder than the real one, too
        self._buffer = b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def read(self) -> str:
        size = os.fstat(self._descriptor).st_size
        return os.pread(self._descriptor, size, self.tell()).decode()

    def write(self, text: str) -> None:
        self._buffer += text.encode()

    def flush(self) -> None:
        data, self._buffer = self._buffer, b""
        while data:
            data = data[self._files.write(self._descriptor, data) :]

    def fileno(self) -> int:
        """JSONStorage asks for it only to wait for the disk, which is done here, where it is seen."""
        self._files.sync(self._descriptor)
        return self._descriptor

    def truncate(self) -> None:
        self._files.truncate(self._descriptor, self.tell())

    def close(self) -> None:
        self._files.close(self._descriptor)


def _difference(exported: Sequence[Result], by_check: Sequence[Result]) -> str:
    mine = sorted(exported, key=lambda row: row.id)
    others = sorted(by_check, key=lambda row: row.id)
    if mine == others:
        return ""
    if len(mine) != len(others):
        return f"an export has {len(mine)} rows, the pages of all checks have {len(others)}"
    return next(f"an export tells {a}, a check's page {b}" for a, b in zip(mine, others, strict=True) if a != b)


def keep_s(check_id: str) -> float:
    """How long Ours keeps a check's rows."""
    return KEEP_LESS.raw_s if check_id == KEEPS_LESS else KEEP.raw_s


def checks_of(results: Collection[Result]) -> set[str]:
    """The checks that these rows are of."""
    return {result.check_id for result in results}
