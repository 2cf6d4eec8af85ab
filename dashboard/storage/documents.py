"""TinyDB on a journal of operations and a snapshot: every write is one line, durable on return.

All of TinyDB's tables and queries work. Documents live in memory; whoever changes nested values of a document that was
read changes nothing durable: use `update`. Different from stock TinyDB, on purpose: a write that raises has changed
nothing; what JSON cannot hold as it is is refused; ids are whole numbers; there is no query cache (stock's takes
`where("a").fragment(x)` for `where("b").fragment(x)`, and a regular expression for the same one with other flags).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from tinydb import TinyDB
from tinydb.queries import QueryLike
from tinydb.storages import Storage
from tinydb.table import Table

from dashboard.errors import StoreError, StoreFull, StoreUnavailable
from dashboard.storage.commits import Commits
from dashboard.storage.files import NO_ROOM, Files
from dashboard.storage.journal import Journal, frame, generations, path_of
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.recording import STRICT, JsonObject, Operation, Recording, TableView, refuse_not_finite
from dashboard.storage.room import Room
from dashboard.storage.snapshot import SUFFIX as SNAPSHOT
from dashboard.storage.snapshot import Snapshot, Tables, pack, read

_WAY_BACK = "what was damaged lies in quarantine/; to have it back, stop Watchroom and restore a backup"

log = logging.getLogger(__name__)


class JournaledStorage(Storage):
    """The documents of all tables. Thread-safe: one writer at a time under `lock`, readers wait for nobody.

    A line of the journal says which commit it follows: one that is missing is noticed, one that was given up is not done.
    `recovered` is a sentence about what `open` found missing, empty normally.
    """

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
        self._tables: Tables = {}
        self.recovered = ""
        self.lock = threading.RLock()
        self.sequence = 0  # of the last commit
        self._next_sequence = 1
        self._is_closed = True

    @property
    def fault(self) -> str:
        """Why writing is over; empty while it is not."""
        return self._journal.fault

    def open(self, *, expected: bool = False) -> None:
        """Read the newest good snapshot and what was done since; what cannot be read is set aside and told.

        `expected`: other data says that there were documents. Raises OSError, StoreUnavailable (a newer Watchroom wrote them).
        """
        for path in self._directory.glob("*.tmp"):
            self._files.unlink(path)
        snapshots, base, commits = self.load()
        if not self.sequence and (snapshots or (expected and not commits.are_blank)):
            self._tell("nothing of what was kept here can be read: incidents and check states begin anew")
        elif not commits.are_complete:
            self._tell("changes to incidents or other documents are missing; all that can be read is there")
        if commits.end is not None:
            self._journal.resume(commits.newest, commits.end)
        elif not base and not commits.newest:
            self._begin()
        self._journal.generation = max(self._journal.generation, commits.newest, base - 1)
        self._is_closed = False

    def load(self) -> tuple[Sequence[tuple[int, Path]], int, Commits]:
        """Take up what is there, without writing: the snapshots, the generation of the one that was read, the commits since."""
        snapshots = generations(self._directory, SNAPSHOT)
        base = self._read_newest(snapshots)
        commits = Commits(self._directory, self.sequence, files=self._files, quarantine=self._quarantine)
        for commit in commits:
            self._do(commit)
        return snapshots, base, commits

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
            line = {"seq": self._next_sequence, "after": self.sequence, "ops": operations}
            payload = orjson.dumps(line, option=STRICT)
            self._next_sequence += 1
            self._write(frame(payload))
            self._do(orjson.loads(payload))
            if self._journal.size_bytes >= self._snapshot_at_bytes:
                self._snapshot()
        self._room.regained()

    def _write(self, line: bytes) -> None:
        try:
            self._journal.commit(line)
        except StoreFull as error:
            self._room.make(error)
            self._journal.commit(line)

    def _do(self, commit: JsonObject) -> None:
        for kind, name, *rest in commit["ops"]:
            if kind == "drop":
                self._tables.pop(name, None)
            elif kind == "make":
                self._tables.setdefault(name, {})
            elif kind == "put":
                key, document = rest
                self._tables.setdefault(name, {})[key] = document
            elif kind == "cut":
                self._tables.get(name, {}).pop(rest[0], None)
            else:
                raise StoreUnavailable(f"{self._directory}: has {kind!r} in it, of a newer Watchroom: start that one")
        self.sequence = commit["seq"]
        self._next_sequence = self.sequence + 1

    def _snapshot(self) -> None:
        """Write all documents down and begin a new journal. A full disk only puts it off: the journal holds everything."""
        data = pack(Snapshot(sequence=self.sequence, tables=self._tables))
        try:
            self._files.put(path_of(self._directory, self._journal.generation + 1, SNAPSHOT), data)
        except OSError as error:
            log.warning("%s: no snapshot now (%s)", self._directory, error)
            self._snapshot_at_bytes = 2 * self._journal.size_bytes
            return
        self._journal.close()
        self._snapshot_at_bytes = max(self._snapshot_bytes, 4 * len(data))
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

    def _read_newest(self, snapshots: Sequence[tuple[int, Path]]) -> int:
        """Load the newest good one, set damaged ones aside; its generation, that of the first journal after it, or 0."""
        for generation, path in reversed(snapshots):
            if snapshot := read(path):
                self._tables, self.sequence = snapshot.tables, snapshot.sequence
                self._next_sequence = self.sequence + 1
                return generation
            self._quarantine.keep_file(path, self._files)
        return 0

    def _begin(self) -> None:
        """Make an empty journal, so that its absence tells of a loss; a full disk is no reason not to start."""
        try:
            self._files.close(self._files.open(path_of(self._directory, 1), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            self._files.sync_directory(self._directory)
            self._journal.resume(1, 0)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise

    def _tell(self, loss: str) -> None:
        self.recovered = f"{self._directory}: {loss}; {_WAY_BACK}"
        log.error("%s", self.recovered)


def tables_in(directory: Path, quarantine: Quarantine) -> Tables:
    """All tables as they are on the disk, while another process may write there. Raises OSError, StoreUnavailable.

    `quarantine` is one without a directory: nothing is set aside or mended.
    """
    files = Files()
    storage = JournaledStorage(
        directory, files=files, room=Room(directory, 0, files=files, retry_s=1.0), quarantine=quarantine
    )
    storage.load()
    return storage.read() or {}


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

    def upsert(self, document: Mapping[str, Any], cond: QueryLike | None = None) -> list[int]:
        with self._journaled.lock:
            return super().upsert(document, cond)

    def truncate(self) -> None:
        with self._journaled.lock:
            super().truncate()

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
        self._tables.pop(name, None)
        if name in self._others:
            self._others[name].truncate()
        elif self._journaled.has_table(name):
            self._journaled.commit([("drop", name)])

    def drop_tables(self) -> None:
        for table in self._others.values():
            table.truncate()
        self._journaled.write({})
        self._tables.clear()
