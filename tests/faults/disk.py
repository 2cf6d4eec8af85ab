"""A disk whose every operation is remembered, so that any moment of it can be seen again: as a kill or a power cut leaves it.

A kill leaves all that was done (`Disk.visible`). A power cut leaves what was synced, and of the rest whatever it pleases
(`Disk.after_power_cut`): nothing, all, a part up to some byte, later writes without earlier ones, blocks of zeros; names that
the directory was not synced for are old or new, each by itself. Directories themselves are taken to be there.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Literal

from dashboard.storage.files import Files

Image = Mapping[str, bytes]  # what a directory holds: {path below it: bytes}
Call = Literal["create", "write", "sync", "truncate", "allocate", "rename", "unlink", "sync_directory"]

RECORDED = frozenset(
    {"open", "write", "sync", "truncate", "allocate", "rename", "unlink", "close", "sync_directory", "put"}
)
_SECTOR_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One change of the disk, or one wait for it. `inode` is the file's own number, whatever it is called by then."""

    call: Call
    inode: int = 0
    path: str = ""  # of create, rename, unlink, sync_directory
    target: str = ""  # of rename
    offset: int = 0
    data: bytes = b""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What was there at first, and every operation since."""

    base: Image
    operations: Sequence[Operation]


class RecordingFiles(Files):
    """Real files below a directory, with every operation remembered. `sync=False` forgets to wait for data, `sync_directory=False`
    for names: stores on such files must be found out."""

    def __init__(self, root: Path, *, sync: bool = True, sync_directory: bool = True) -> None:
        self._root = root
        self._syncs = {"sync": sync, "sync_directory": sync_directory}
        self._inodes: dict[str, int] = {}
        self._descriptors: dict[int, tuple[int, bool]] = {}  # the inode, and whether writes append
        self.base = read_image(root)
        self.operations: list[Operation] = []
        for path in self.base:
            self._inodes[path] = len(self._inodes) + 1
        self._last_inode = len(self._inodes)

    @property
    def log(self) -> Log:
        """All so far."""
        return Log(base=self.base, operations=tuple(self.operations))

    def open(self, path: Path, flags: int) -> int:
        is_new = not path.exists()
        descriptor = super().open(path, flags)
        name = self._name(path)
        if is_new or name not in self._inodes:
            self._last_inode += 1
            self._inodes[name] = self._last_inode
            self.operations.append(Operation(call="create", path=name, inode=self._last_inode))
        elif flags & os.O_TRUNC:
            self.operations.append(Operation(call="truncate", inode=self._inodes[name]))
        self._descriptors[descriptor] = (self._inodes[name], bool(flags & os.O_APPEND))
        return descriptor

    def write(self, descriptor: int, data: bytes) -> int:
        inode, appends = self._descriptors[descriptor]
        offset = os.fstat(descriptor).st_size if appends else os.lseek(descriptor, 0, os.SEEK_CUR)
        written = super().write(descriptor, data)
        self.operations.append(Operation(call="write", inode=inode, offset=offset, data=bytes(data[:written])))
        return written

    def sync(self, descriptor: int) -> None:
        # Not super().sync: the model decides what is durable, and thousands of waits for a real disk prove nothing.
        if self._syncs["sync"]:
            self.operations.append(Operation(call="sync", inode=self._descriptors[descriptor][0]))

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        super().truncate(descriptor, size_bytes)
        self.operations.append(
            Operation(call="truncate", inode=self._descriptors[descriptor][0], size_bytes=size_bytes)
        )

    def allocate(self, descriptor: int, size_bytes: int) -> None:
        super().allocate(descriptor, size_bytes)
        self.operations.append(
            Operation(call="allocate", inode=self._descriptors[descriptor][0], size_bytes=size_bytes)
        )

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._inodes[self._name(target)] = self._inodes.pop(self._name(source))
        self.operations.append(Operation(call="rename", path=self._name(source), target=self._name(target)))

    def unlink(self, path: Path) -> None:
        if self._inodes.pop(self._name(path), None) is not None:
            self.operations.append(Operation(call="unlink", path=self._name(path)))
        super().unlink(path)

    def close(self, descriptor: int) -> None:
        self._descriptors.pop(descriptor, None)
        super().close(descriptor)

    def sync_directory(self, directory: Path) -> None:
        if self._syncs["sync_directory"] and directory.is_relative_to(self._root):  # what is above it is not modelled
            self.operations.append(Operation(call="sync_directory", path=self._name(directory)))

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._root))


class Disk:
    """A model of the disk: what programs see, what is durable, and what is on its way."""

    def __init__(self, base: Image) -> None:
        self._names = {path: number for number, path in enumerate(base, 1)}
        self._contents = {self._names[path]: bytes(data) for path, data in base.items()}
        self._durable_names = dict(self._names)
        self._durable_contents = dict(self._contents)
        self._pending: dict[int, list[Operation]] = defaultdict(list)
        self._pending_names: list[Operation] = []

    def apply(self, operation: Operation) -> None:
        """Do the next operation."""
        if operation.call == "sync":
            self._durable_contents[operation.inode] = self._contents[operation.inode]
            self._pending.pop(operation.inode, None)
        elif operation.call == "sync_directory":
            self._sync_names(operation.path)
        elif operation.call in ("create", "rename", "unlink"):
            if operation.call == "create":
                self._contents[operation.inode] = self._durable_contents[operation.inode] = b""
            elif operation.call == "rename":
                operation = replace(operation, inode=self._names[operation.path])
            _rename(self._names, operation)
            self._pending_names.append(operation)
        else:
            self._contents[operation.inode] = _changed(self._contents[operation.inode], operation)
            self._pending[operation.inode].append(operation)

    def visible(self) -> Image:
        """What a kill of the program leaves."""
        return {path: self._contents[inode] for path, inode in self._names.items()}

    def torn(self, write: Operation, share: float) -> Image:
        """What a kill within that write leaves, which comes next."""
        half = replace(write, data=write.data[: int(len(write.data) * share)])
        inodes = self._contents | {write.inode: _changed(self._contents[write.inode], half)}
        return {path: inodes[inode] for path, inode in self._names.items()}

    def after_power_cut(self, chance: Random) -> Image:
        """What a power cut may leave: one of very many possibilities."""
        names = dict(self._durable_names)
        for operation in _kept_names(self._pending_names, chance):
            _rename(names, operation)
        return {path: self._left_of(inode, chance) for path, inode in names.items()}

    def _left_of(self, inode: int, chance: Random) -> bytes:
        content = self._durable_contents[inode]
        for operation in _kept_writes(self._pending.get(inode, []), chance):
            content = _changed(content, operation)
        return content

    def _sync_names(self, directory: str) -> None:
        later: list[Operation] = []
        for operation in self._pending_names:
            if str(Path(operation.target or operation.path).parent) == directory:
                _rename(self._durable_names, operation)
            else:
                later.append(operation)
        self._pending_names = later


def disk_of(log: Log) -> Disk:
    """The disk at the end of the log."""
    disk = Disk(log.base)
    for operation in log.operations:
        disk.apply(operation)
    return disk


def crash_points(log: Log) -> Iterator[tuple[int, Image]]:
    """What a kill leaves before and after each operation and in the middle of each write, with the number of operations done."""
    disk = Disk(log.base)
    for done, operation in enumerate(log.operations):
        yield done, disk.visible()
        if operation.call == "write":
            for share in (0.5, 0.97):
                yield done, disk.torn(operation, share)
        disk.apply(operation)
    yield len(log.operations), disk.visible()


def power_cuts(log: Log, chance: Random, count: int) -> Iterator[tuple[int, Image]]:
    """`count` images of power cuts, spread evenly over the log, with the number of operations done."""
    disk = Disk(log.base)
    moments = sorted(chance.randint(0, len(log.operations)) for _ in range(count))
    done = 0
    for moment in moments:
        while done < moment:
            disk.apply(log.operations[done])
            done += 1
        yield done, disk.after_power_cut(chance)


def read_image(root: Path) -> dict[str, bytes]:
    """The files that are below the directory, but for those that no Files wrote: the lock and what is in quarantine."""
    found = (path for path in sorted(root.rglob("*")) if path.is_file())
    image = {str(path.relative_to(root)): path.read_bytes() for path in found}
    return {name: data for name, data in image.items() if name != "LOCK" and not name.startswith("quarantine/")}


def write_image(image: Image, root: Path) -> None:
    """Put the image into a new directory."""
    root.mkdir(parents=True)
    for name, data in image.items():
        path = root / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data)


def _changed(content: bytes, operation: Operation) -> bytes:
    if operation.call == "truncate":
        return content[: operation.size_bytes].ljust(operation.size_bytes, b"\0")
    if operation.call == "allocate":
        return content.ljust(operation.size_bytes, b"\0")
    hole = content[: operation.offset].ljust(operation.offset, b"\0")
    return hole + operation.data + content[operation.offset + len(operation.data) :]


def _rename(names: dict[str, int], operation: Operation) -> None:
    if operation.call == "create":
        names[operation.path] = operation.inode
    elif operation.call == "unlink":
        names.pop(operation.path, None)
    else:
        names.pop(operation.path, None)
        names[operation.target] = operation.inode


def _kept_names(pending: Sequence[Operation], chance: Random) -> Sequence[Operation]:
    how = chance.choice(("old", "new", "first", "any"))
    if how == "first":
        return pending[: chance.randint(0, len(pending))]
    if how == "any":
        return [operation for operation in pending if chance.random() < 0.5]
    return pending if how == "new" else ()


def _kept_writes(pending: Sequence[Operation], chance: Random) -> Sequence[Operation]:
    how = chance.choice(("dropped", "kept", "torn", "reordered", "holes"))
    if how == "dropped" or not pending:
        return ()
    if how == "kept":
        return pending
    if how == "reordered":
        return [operation for operation in pending if chance.random() < 0.5]
    last = chance.randrange(len(pending))
    cut = pending[last]
    data = cut.data[: chance.randint(0, len(cut.data))] if how == "torn" else _with_holes(cut.data, chance)
    return [*pending[:last], replace(cut, data=data), *(pending[last + 1 :] if how == "holes" else ())]


def _with_holes(data: bytes, chance: Random) -> bytes:
    """Some sectors never came in: the file is as long as if they had, with zeros there."""
    sectors = [data[start : start + _SECTOR_BYTES] for start in range(0, len(data), _SECTOR_BYTES)]
    lost = chance.randrange(len(sectors)) if sectors else 0
    return b"".join(
        bytes(len(sector)) if number == lost or chance.random() < 0.3 else sector
        for number, sector in enumerate(sectors)
    )
