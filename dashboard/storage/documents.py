"""TinyDB on a journal of operations and a snapshot: every write is one line, durable on return.

All of TinyDB's tables and queries work. Documents live in memory; whoever changes nested values of a document that was
read changes nothing durable: use `update`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson
from tinydb import TinyDB
from tinydb.storages import Storage
from tinydb.table import Table

from dashboard.errors import StoreError, StoreFull
from dashboard.storage.files import Files
from dashboard.storage.journal import Journal, SoundLines, frame, generations, path_of
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.recording import STRICT, JsonObject, Operation, Recording, TableView, refuse_not_finite
from dashboard.storage.room import Room

SNAPSHOT = ".snap.json"

log = logging.getLogger(__name__)


class JournaledStorage(Storage):
    """The documents of all tables. Thread-safe: one writer at a time under `lock`, readers wait for nobody."""

    def __init__(
        self,
        directory: Path,
        *,
        files: Files,
        room: Room,
        quarantine: Quarantine,
        snapshot_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        self._directory = directory
        self._files = files
        self._room = room
        self._quarantine = quarantine
        self._snapshot_bytes = snapshot_bytes
        self._snapshot_at_bytes = snapshot_bytes
        self._journal = Journal(directory, files=files)
        self._tables: dict[str, dict[str, JsonObject]] = {}
        self.lock = threading.RLock()
        self.sequence = 0  # of the last commit
        self._next_sequence = 1
        self._is_closed = True

    @property
    def fault(self) -> str:
        """Why writing is over; empty while it is not."""
        return self._journal.fault

    def open(self) -> None:
        """Read the newest good snapshot and what was done since. Raises OSError, StoreError when none is good."""
        snapshot = self._read_snapshot()
        journals = generations(self._directory)
        for generation, path in journals:
            lines = SoundLines(path, self._quarantine)
            for payloads in lines:
                for payload in payloads:
                    self._replay(orjson.loads(payload))
            if tail := lines.tail:
                self._quarantine.keep_tail(path, lines.good_end, tail)
            if generation == journals[-1][0]:
                self._journal.resume(generation, lines.good_end)
        self._journal.generation = max(self._journal.generation, snapshot - 1)
        self._is_closed = False

    def read(self) -> dict[str, dict[str, JsonObject]] | None:
        """All tables, as TinyDB keeps them; the outer two levels are copies."""
        return {name: table.copy() for name, table in self._tables.copy().items()} or None

    def write(self, data: Mapping[str, Mapping[str, JsonObject]]) -> None:
        """Put these tables in the place of all there are."""
        with self.lock:
            operations: list[Operation] = [("drop", name) for name in self._tables]
            for name, table in data.items():
                operations.append(("make", name))
                operations += [("put", name, key, document) for key, document in table.items()]
            self.commit(operations)

    def close(self) -> None:
        """Close the file; idempotent."""
        with self.lock:
            self._is_closed = True
            self._journal.close()

    def table(self, name: str) -> Mapping[str, JsonObject]:
        """A live view of one table, empty when there is none."""
        return TableView(self._tables.get(name, {}))

    def has_table(self, name: str) -> bool:
        """Whether there is such a table, empty or not."""
        return name in self._tables

    def commit(self, operations: Sequence[Operation]) -> None:
        """Do all of it or nothing, durable on return; raises StoreFull after a moment without room.

        Raises ValueError or TypeError, before anything is done, for a value that JSON cannot hold.
        """
        if not operations:
            return
        refuse_not_finite(operations)
        with self.lock:
            if self._is_closed:
                raise StoreError(f"{self._directory}: the store is closed")
            # A number is never used again: what failed may still be in an abandoned file.
            payload = orjson.dumps({"seq": self._next_sequence, "ops": operations}, option=STRICT)
            self._next_sequence += 1
            self._write(frame(payload))
            self._replay(orjson.loads(payload))
            if self._journal.size_bytes >= self._snapshot_at_bytes:
                self._snapshot()
        self._room.regained()

    def _write(self, line: bytes) -> None:
        try:
            self._journal.commit(line)
        except StoreFull as error:
            self._room.make(error)
            self._journal.commit(line)

    def _replay(self, line: JsonObject) -> None:
        """Take over what a line says, unless the snapshot has it, or an abandoned file had it before."""
        if line["seq"] <= self.sequence:
            return
        self.sequence = line["seq"]
        self._next_sequence = self.sequence + 1
        for kind, name, *rest in line["ops"]:
            if kind == "drop":
                self._tables.pop(name, None)
            elif kind == "make":
                self._tables.setdefault(name, {})
            elif kind == "put":
                key, document = rest
                self._tables.setdefault(name, {})[key] = document
            elif kind == "cut":
                self._tables[name].pop(rest[0], None)

    def _snapshot(self) -> None:
        """Write all documents down and begin a new journal. A full disk only puts it off: the journal holds everything."""
        generation = self._journal.generation + 1
        tables = orjson.dumps(self._tables)
        head = b'{"generation":%d,"seq":%d,"crc32":"%08x","tables":' % (generation, self.sequence, crc32(tables))
        try:
            self._files.put(path_of(self._directory, generation, SNAPSHOT), head + tables + b"}\n")
        except OSError as error:
            log.warning("%s: no snapshot now (%s)", self._directory, error)
            self._snapshot_at_bytes = 2 * self._journal.size_bytes
            return
        self._journal.close()
        self._snapshot_at_bytes = max(self._snapshot_bytes, 4 * len(tables))
        self._forget_old()

    def _forget_old(self) -> None:
        """Keep the newest two snapshots and the journals since the older one: damage to one is then no loss."""
        snapshots = generations(self._directory, SNAPSHOT)
        if len(snapshots) < 2:
            return
        oldest = snapshots[-2][0]
        for generation, path in snapshots + generations(self._directory):
            if generation < oldest:
                with contextlib.suppress(OSError):
                    self._files.unlink(path)

    def _read_snapshot(self) -> int:
        """Load the newest snapshot that is good; its generation, which is that of the first journal after it."""
        snapshots = generations(self._directory, SNAPSHOT)
        for generation, path in reversed(snapshots):
            data = path.read_bytes()
            with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
                content = orjson.loads(data)
                if f"{crc32(orjson.dumps(content['tables'])):08x}" == content["crc32"]:
                    self._tables, self.sequence = content["tables"], content["seq"]
                    self._next_sequence = self.sequence + 1
                    return generation
            self._quarantine.keep_line(path, 0, data)
        if snapshots and not path_of(self._directory, 1).exists():
            raise StoreError(
                f"{self._directory}: every snapshot is damaged; put a backup of this directory in its place"
            )
        return 0


class DocumentTable(Table):
    """A TinyDB table whose writes cost what they change, not what is stored."""

    def __init__(self, storage: JournaledStorage, name: str, **kwargs: Any) -> None:  # TinyDB's own keywords
        self._journaled = storage
        super().__init__(storage, name, **{**kwargs, "cache_size": 0})

    def insert(self, document: Mapping[str, Any]) -> int:
        with self._journaled.lock:
            return super().insert(document)

    def insert_multiple(self, documents: Iterable[Mapping[str, Any]]) -> list[int]:
        with self._journaled.lock:
            return super().insert_multiple(documents)

    def _read_table(self) -> Mapping[str, JsonObject]:  # type: ignore[override]  # a live view instead of a dict
        return self._journaled.table(self.name)

    def _update_table(self, updater: Callable[[Any], None]) -> None:
        with self._journaled.lock:
            recording = Recording(self._journaled.table(self.name))
            updater(recording)
            made: list[Operation] = [] if self._journaled.has_table(self.name) else [("make", self.name)]
            self._journaled.commit(made + recording.operations(self.name))


class Database(TinyDB):
    """A TinyDB of document tables, with room for tables of another kind."""

    table_class: type[Table] = DocumentTable

    def __init__(self, storage: JournaledStorage) -> None:
        super().__init__(storage=lambda: storage)
        self._journaled = storage
        self._others: dict[str, Table] = {}

    def adopt(self, table: Table) -> None:
        """Serve this table under its name."""
        self._others[table.name] = table

    def table(self, name: str, **kwargs: Any) -> Table:  # TinyDB's own keywords
        other = self._others.get(name)
        return super().table(name, **kwargs) if other is None else other

    def tables(self) -> set[str]:
        return super().tables() | self._others.keys()

    def drop_table(self, name: str) -> None:
        if name in self._others:
            self._others[name].truncate()
        elif self._journaled.has_table(name):
            self._tables.pop(name, None)
            self._journaled.commit([("drop", name)])

    def drop_tables(self) -> None:
        for name in self.tables():
            self.drop_table(name)
        self._tables.clear()
