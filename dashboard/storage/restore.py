"""Restores a backup: into a new directory, checked to the last byte, that takes its place in one step."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dashboard.errors import StoreError
from dashboard.storage import format as formats
from dashboard.storage.archive import FOLDERS, ArchiveReader, Entry, read_archive
from dashboard.storage.files import Files
from dashboard.storage.lock import Lock

_MARGIN_BYTES = 64 * 1024 * 1024  # so that a restore does not fill the disk to its last block
_OURS = frozenset({*FOLDERS, formats.FILE, "LOCK", "RESERVE"})
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored; `moved_to` is where the directory of before is now."""

    directory: Path
    files: int
    size_bytes: int
    created_at: datetime
    version: str
    moved_to: Path | None = None


def restore(archive: Path, target: Path, *, now_at: datetime, replace: bool = False) -> Restored:
    """Put the backup where the target is: a new or empty directory, or any data directory when it may be replaced.

    The directory that is replaced is moved aside, whole. Raises StoreError, StoreLocked when a process uses it, OSError; all
    is then as it was.
    """
    target = target.resolve()
    is_taken = _refuse_target(target, replace=replace)
    with read_archive(archive, newest_format=formats.NEWEST) as reader, _held(target if is_taken else None):
        manifest = reader.manifest
        _refuse_size(archive, manifest.size_bytes, target.parent)
        fresh = Path(tempfile.mkdtemp(prefix=f"{target.name}.restoring-", dir=target.parent))
        aside = target.with_name(f"{target.name}.before-restore-{now_at:%Y%m%dT%H%M%SZ}") if is_taken else None
        made = fresh.stat().st_ino
        try:
            _unpack(reader, fresh)
            if aside is None:
                _move(fresh, target)
            else:
                _swap(fresh, target, aside)
            Files().sync_directory(target.parent)
        except BaseException:
            for path in (fresh, aside):  # whichever name it has by now; never what was here before
                if path is not None and path.exists() and path.stat().st_ino == made:
                    shutil.rmtree(path, ignore_errors=True)
            raise
    return Restored(
        directory=target,
        files=len(manifest.files),
        size_bytes=manifest.size_bytes,
        created_at=manifest.created_at,
        version=manifest.version,
        moved_to=aside,
    )


def _refuse_target(target: Path, *, replace: bool) -> bool:
    """Whether something is there that has to be moved aside. Raises StoreError when it must not be."""
    if not target.parent.is_dir():
        raise StoreError(f"{target.parent}: there is no such directory; make it first")
    if not target.exists():
        return False
    if not target.is_dir():
        raise StoreError(f"{target}: is not a directory; restore to another place with --data")
    if target.is_mount():
        raise StoreError(
            f"{target}: is a mount point, which cannot be renamed; restore into a new directory in it, --data {target}/watchroom, "
            "and start with that"
        )
    names = set(os.listdir(target))
    if not names:
        return False
    if not replace:
        raise StoreError(
            f"{target}: is not empty; restore to another directory with --data, or with --replace move this one aside"
        )
    if not names & _OURS:
        raise StoreError(f"{target}: is not a data directory of Watchroom and will not be moved; name one with --data")
    return True


@contextlib.contextmanager
def _held(directory: Path | None) -> Iterator[None]:
    """Keep every other process from using the directory meanwhile. Raises StoreLocked."""
    if directory is None:
        yield
        return
    lock = Lock(directory / "LOCK")
    lock.take()
    try:
        yield
    finally:
        lock.release()


def _refuse_size(archive: Path, size_bytes: int, parent: Path) -> None:
    room = os.statvfs(parent)
    free_bytes = room.f_bavail * room.f_frsize - _MARGIN_BYTES
    if size_bytes > free_bytes:
        raise StoreError(
            f"{archive}: unpacks to {size_bytes:,} bytes, and {parent} has room for {max(0, free_bytes):,}; "
            "make room, or restore to another disk with --data"
        )


def _unpack(reader: ArchiveReader, fresh: Path) -> None:
    """Write every file, and what names it, down to the disk."""
    files = Files()
    for folder in FOLDERS:
        (fresh / folder).mkdir(mode=0o700)
    for entry, pieces in reader.files():
        _write(fresh / entry.name, entry, pieces, files)
    for folder in (*FOLDERS, ""):
        files.sync_directory(fresh / folder)


def _write(path: Path, entry: Entry, pieces: Iterator[bytes], files: Files) -> None:
    descriptor = files.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                rest = rest[files.write(descriptor, bytes(rest)) :]
        os.fchmod(descriptor, entry.mode & 0o666 | 0o600)
        files.sync(descriptor)
    finally:
        files.close(descriptor)


def _move(fresh: Path, target: Path) -> None:
    """Into a place that is free or an empty directory: one rename."""
    try:
        fresh.rename(target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error


def _swap(fresh: Path, target: Path, aside: Path) -> None:
    """Put the one in the target's place, and what was there aside.

    In one step where renameat2(2) can exchange names; the new one has the other name before. Else by two renames: between
    them the target is not there, and the one of before is already aside.
    """
    if aside.exists():
        raise StoreError(f"{aside}: is there already; try again in a second")
    fresh.rename(aside)
    if not _exchange(aside, target):
        aside.rename(fresh)
        target.rename(aside)
        try:
            fresh.rename(target)
        except BaseException:
            aside.rename(target)
            raise


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places at once; False where the system or the filesystem cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    done = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return bool(done == 0)
