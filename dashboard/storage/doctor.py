"""Examines a data directory, every checksum of it, while a server may write there: reads only."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dashboard.errors import StoreError, StoreUnavailable
from dashboard.storage import blockfile, place, snapshot
from dashboard.storage import format as formats
from dashboard.storage.archive import FOLDERS, is_ours
from dashboard.storage.journal import SoundLines
from dashboard.storage.quarantine import Quarantine

_LOOKS = 3  # at a torn end: what is being written now is whole a moment later
_PAUSE_S = 0.1
_OTHERS = frozenset(
    {"LOCK", "RESERVE", "BACKUP", "server.json", "server.new", "secret.key", "secret.new", formats.BEFORE}
)
_RESTORE = "where it matters, restore a backup from before into another directory and compare"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A file that is damaged: what is wrong, what that means, the way out."""

    file: str
    fault: str
    meaning: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.file}: {self.fault}: {self.meaning}; {self.way_out}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Damaged bytes that were set aside before."""

    file: str
    size_bytes: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found. `notes` are sentences about what is no damage."""

    directory: str
    format: int
    filesystem: str  # empty = unknown
    free_bytes: int
    files: int
    size_bytes: int
    faults: tuple[Fault, ...]
    quarantined: tuple[Kept, ...]
    notes: tuple[str, ...]


def examine(directory: Path) -> Examination:
    """Read every file once. Raises StoreUnavailable when the directory cannot be read or is of a newer format."""
    formats.refuse_newer(directory)
    faults: list[Fault] = []
    notes = [place.warning_of(directory)]
    quarantined: list[Kept] = []
    files = size_bytes = 0
    try:
        for name, status in _listing(directory):
            if name.startswith("quarantine/"):
                at = datetime.fromtimestamp(status.st_mtime, UTC)
                quarantined.append(Kept(file=name, size_bytes=status.st_size, at=at))
                continue
            if not is_ours(name):
                notes.append(_foreign(name))
                continue
            fault, note = _examine_file(directory, name)
            faults += [fault] if fault else []
            notes.append(note)
            files, size_bytes = files + 1, size_bytes + status.st_size
    except OSError as error:
        raise StoreUnavailable(
            f"{error.filename or directory}: {error.strerror}, as user id {os.getuid()}; "
            "name the data directory with --data, and be the user who runs the server"
        ) from error
    if not files and not quarantined:
        raise StoreUnavailable(f"{directory}: holds no data of Watchroom; name its data directory with --data")
    room = os.statvfs(directory)
    mount = place.mount_of(directory)
    return Examination(
        directory=str(directory),
        format=formats.known(directory),
        filesystem=mount.kind if mount else "",
        free_bytes=room.f_bavail * room.f_frsize,
        files=files,
        size_bytes=size_bytes,
        faults=tuple(faults),
        quarantined=tuple(quarantined),
        notes=tuple(note for note in notes if note),
    )


def _listing(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    """All files of the directory and its folders, by name. What goes meanwhile is left out."""
    for folder in ("", *FOLDERS):
        try:
            entries = sorted(os.scandir(directory / folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            if folder:
                continue
            raise
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if folder or not (entry.is_dir(follow_symlinks=False) and entry.name in FOLDERS):
                yield f"{folder}/{entry.name}" if folder else entry.name, status


def _foreign(name: str) -> str:
    if name in _OTHERS:
        return ""
    if name.endswith(blockfile.TEMPORARY):
        return f"{name}: is being written, or was when a server ended; the next start removes it"
    return f"{name!a}: is not a file of Watchroom; it is neither read nor in backups"


def _examine_file(directory: Path, name: str) -> tuple[Fault | None, str]:
    """Its fault and what else there is to say; nothing of a file that is gone by now: the server has replaced it."""
    path = directory / name
    try:
        if name.endswith(".ndj"):
            fault, note = _journal(path, name)
        elif name.endswith(snapshot.SUFFIX):
            fault, note = _snapshot(path, name), ""
        elif name == formats.FILE:
            fault, note = _format(path, name), ""
        else:
            fault, note = _sealed(path, name), ""
    except FileNotFoundError:
        return None, ""
    except PermissionError:
        raise
    except OSError as error:
        return _unreadable(name, error), ""
    return (fault, note) if path.exists() else (None, "")


class _Noting(Quarantine):
    """Notes where damaged lines begin, and keeps and logs nothing."""

    def __init__(self) -> None:
        super().__init__(None)
        self.offsets: list[int] = []

    def keep_line(self, path: Path, offset: int, data: bytes) -> None:
        self.offsets.append(offset)


def _journal(path: Path, name: str) -> tuple[Fault | None, str]:
    for look in range(_LOOKS):
        damaged = _Noting()
        lines = SoundLines(path, damaged)
        for _payloads in lines:
            pass
        if not lines.tail:
            break
        time.sleep(_PAUSE_S if look < _LOOKS - 1 else 0)
    what = "operation" if name.startswith("documents/") else "result"
    if damaged.offsets:
        count = len(damaged.offsets)
        return Fault(
            file=name,
            fault=f"{count} damaged line{'s' if count > 1 else ''}, the first at byte {damaged.offsets[0]}",
            meaning=f"each may have been a {what} that is lost; all others are read",
            way_out=_RESTORE,
        ), ""
    if b"\n" in lines.tail:
        return Fault(
            file=name,
            fault=f"the last {len(lines.tail)} bytes, from byte {lines.good_end}, are damaged",
            meaning=f"they were never acknowledged if the power went then, else they are {what}s that are lost",
            way_out=f"the next start sets them aside; {_RESTORE}",
        ), ""
    if lines.tail:
        return None, (
            f"{name}: {len(lines.tail)} bytes at its end are half a line: it is being written, or was when a server ended, "
            "before anybody was told that it is recorded; the next start sets them aside"
        )
    return None, ""


def _snapshot(path: Path, name: str) -> Fault | None:
    try:
        if snapshot.read(path) is not None:
            return None
    except StoreError as error:
        return Fault(file=name, fault=str(error), meaning="it cannot be used here", way_out="start the newer version")
    return Fault(
        file=name,
        fault="its checksum is wrong",
        meaning="the snapshot before it and the journals since are used in its place, as far as they are there",
        way_out=_RESTORE,
    )


def _format(path: Path, name: str) -> Fault | None:
    if formats.told(path.parent) is not None:
        return None
    return Fault(
        file=name,
        fault="makes no sense",
        meaning="the format is told by the other files instead",
        way_out="the next start writes it anew",
    )


def _sealed(path: Path, name: str) -> Fault | None:
    found = [fault.removeprefix(f"{path}: ") for fault in blockfile.examine(path)]
    if not found:
        return None
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    what = "results" if name.startswith("results/") else "rollups"
    return Fault(
        file=name,
        fault=found[0] + more,
        meaning=f"the {what} in such a block are lost, answers and exports show a gap there, and all else is read",
        way_out=_RESTORE,
    )


def _unreadable(name: str, error: OSError) -> Fault:
    return Fault(
        file=name,
        fault=f"cannot be read: {error.strerror}",
        meaning="what it holds is missing in answers and exports",
        way_out=f"look at the disk's own log; {_RESTORE}",
    )
