"""Backups: one archive of a data directory as it is at one instant, while a server goes on writing there."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import resource
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import orjson

import dashboard
from dashboard.errors import StoreError, StoreUnavailable
from dashboard.model import Backup
from dashboard.storage.archive import FOLDERS, PIECE_BYTES, ArchiveWriter, Entry, Manifest, is_ours, read_archive
from dashboard.storage.files import Files
from dashboard.storage.inventory import BACKUP_NOTE
from dashboard.storage.journal import SUFFIX

_TRIES = 100
_PAUSE_S = 0.1
_OTHER_FILES = 64


class Identity(NamedTuple):
    """Which file a name means: a rename in its place changes it."""

    device: int
    inode: int


class _Changed(Exception):
    """The directory was not the same for long enough."""


@dataclass(slots=True, kw_only=True)
class _Source:
    """A file that is held open, up to the byte where it was whole."""

    name: str
    descriptor: int
    mode: int
    size_bytes: int = 0

    def pieces(self) -> Iterator[bytes]:
        """Its content. Raises _Changed when some of it is gone: a write that failed was taken back."""
        offset = 0
        while offset < self.size_bytes:
            try:
                piece = os.pread(self.descriptor, min(PIECE_BYTES, self.size_bytes - offset), offset)
            except OSError as error:
                raise StoreError(f"{self.name}: cannot be read: {error.strerror}; see what `doctor` says") from error
            if not piece:
                raise _Changed(self.name)
            offset += len(piece)
            yield piece

    def measure(self) -> None:
        """Note its size; of a journal, whole lines only."""
        size = os.fstat(self.descriptor).st_size
        self.size_bytes = _end_of_lines(self.descriptor, size) if self.name.endswith(SUFFIX) else size

    def entry(self) -> Entry:
        """What the manifest says of it."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return Entry(name=self.name, size=self.size_bytes, sha256=digest.hexdigest(), mode=self.mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A backup that was written."""

    path: Path
    files: int
    size_bytes: int  # of the archive
    unpacked_bytes: int


def write_backup(
    directory: Path,
    target: Path,
    *,
    format_number: int,
    now_at: datetime,
    force: bool = False,
    verify: bool = True,
    files: Files | None = None,
) -> Written:
    """Write all of the data directory into one file, which appears whole or not at all, for its owner alone.

    Takes no LOCK. Raises StoreError when the target is there (`force` replaces it), when the directory never holds still or
    when what was written does not read back; StoreUnavailable when the directory holds nothing of ours; OSError.
    """
    files = files or Files()
    target = target.resolve()
    _refuse_target(target, force=force)
    for _ in range(_TRIES):
        with contextlib.suppress(_Changed), _captured(directory) as sources:
            entries = tuple(source.entry() for source in sources)
            manifest = Manifest(format=format_number, version=dashboard.__version__, created_at=now_at, files=entries)
            size_bytes = _write(target, manifest, sources, files=files, force=force, verify=verify)
            return Written(path=target, files=len(entries), size_bytes=size_bytes, unpacked_bytes=manifest.size_bytes)
        time.sleep(_PAUSE_S)
    raise StoreError(
        f"{directory}: its files changed all the time, through {_TRIES} tries; try again once an import or a compaction is over"
    )


def leave_note(directory: Path, backup: Backup) -> bool:
    """Leave word of the newest backup in the data directory; whether that could be done."""
    content = {"at": backup.at, "path": backup.path, "size_bytes": backup.size_bytes, "rows": backup.rows}
    try:
        Files().put(directory / BACKUP_NOTE, orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))
        (directory / BACKUP_NOTE).chmod(
            0o644
        )  # whoever wrote it: the server is to read it, and nothing in it is secret
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _captured(directory: Path) -> Iterator[list[_Source]]:
    """All files as they were at one instant, held open: the server may rename and unlink as it likes meanwhile.

    Names and files are looked up twice; where nothing differs, all of it was there together in between. Sizes are taken in
    between too, those of documents first: results may be ahead of documents, which catch up from them, never behind.
    """
    with contextlib.ExitStack() as stack:
        before = _look(directory)
        if not before:
            raise StoreUnavailable(f"{directory}: holds no data of Watchroom; name its data directory with --data")
        _make_room_for_descriptors(len(before))
        sources = [_open(directory, name, stack) for name in sorted(before)]
        for source in sources:  # documents/ comes before results/
            source.measure()
        held = {source.name: _identity(os.fstat(source.descriptor)) for source in sources}
        if _look(directory) != held:
            raise _Changed(str(directory))
        yield sources


def _look(directory: Path) -> dict[str, Identity]:
    """The files that belong into a backup, by name."""
    found: dict[str, Identity] = {}
    for folder in ("", *FOLDERS):
        try:
            listing = list(os.scandir(directory / folder))
        except FileNotFoundError as error:
            if not folder:
                raise StoreUnavailable(f"{directory}: there is no such directory; name one with --data") from error
            continue
        for each in listing:
            name = f"{folder}/{each.name}" if folder else each.name
            with contextlib.suppress(FileNotFoundError):
                if is_ours(name) and each.is_file(follow_symlinks=False):
                    found[name] = _identity(each.stat(follow_symlinks=False))
    return found


def _identity(status: os.stat_result) -> Identity:
    return Identity(status.st_dev, status.st_ino)


def _open(directory: Path, name: str, stack: contextlib.ExitStack) -> _Source:
    try:
        descriptor = os.open(directory / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise _Changed(name) from error
    stack.callback(os.close, descriptor)
    return _Source(name=name, descriptor=descriptor, mode=stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o777)


def _end_of_lines(descriptor: int, size: int) -> int:
    """Where the last whole line ends."""
    while size:
        start = max(0, size - PIECE_BYTES)
        cut = os.pread(descriptor, size - start, start).rfind(b"\n") + 1
        if cut:
            return start + cut
        size = start
    return 0


def _make_room_for_descriptors(count: int) -> None:
    """Let this process hold that many files open. Raises StoreError where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise StoreError(
            f"a backup holds {count} files open at once, and this process may open {hard}; raise `ulimit -n`"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _refuse_target(target: Path, *, force: bool) -> None:
    if target.exists() and not target.is_file():
        raise StoreError(f"{target}: is not a file; name a file to write")
    if target.exists() and not force:
        raise StoreError(f"{target}: is there already; choose another name, or replace it with --force")


def _write(target: Path, manifest: Manifest, sources: list[_Source], *, files: Files, force: bool, verify: bool) -> int:
    """Write, sync, read back, rename: the size of the archive. Raises _Changed, StoreError, OSError."""
    part = target.with_name(f"{target.name[:200]}.{os.getpid()}.part")
    try:
        descriptor = files.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            writer = ArchiveWriter(functools.partial(_write_all, files, descriptor), manifest)
            for source, entry in zip(sources, manifest.files, strict=True):
                try:
                    writer.add(entry, source.pieces())
                except ValueError as error:
                    raise _Changed(entry.name) from error
            writer.finish()
            files.sync(descriptor)
            size_bytes = os.fstat(descriptor).st_size
            if hasattr(os, "posix_fadvise"):  # so that it is the disk that is read back, not memory
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            files.close(descriptor)
        if verify:
            with read_archive(part, newest_format=manifest.format) as archive:
                archive.verify()
        _refuse_target(target, force=force)
        files.rename(part, target)
        files.sync_directory(target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        with contextlib.suppress(OSError):
            files.unlink(part)
    return size_bytes


def _write_all(files: Files, descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[files.write(descriptor, bytes(rest)) :]
