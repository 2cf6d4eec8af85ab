"""FORMAT: which layout a data directory has. One that is too new is left alone, an older one is backed up before it changes.

1: journals of results and documents, no FORMAT. 2: sealed segments and rollup files beside them.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from zlib import crc32

import orjson

import dashboard
from dashboard.clock import SystemClock
from dashboard.errors import StoreUnavailable
from dashboard.storage.archive import FOLDERS, is_ours
from dashboard.storage.backup import write_backup
from dashboard.storage.files import NO_ROOM, Files

FILE = "FORMAT"
NEWEST = 2
BEFORE = f"before-format-{NEWEST}.tar.gz"

_SEALED = (".seg", ".rol")

log = logging.getLogger(__name__)


def told(directory: Path) -> int | None:
    """What FORMAT says; None when it is not there or makes no sense."""
    try:
        content = (directory / FILE).read_bytes()
    except FileNotFoundError:
        return None
    with contextlib.suppress(orjson.JSONDecodeError):
        claim = orjson.loads(content)
        found = claim.get("format") if isinstance(claim, dict) else None
        if isinstance(found, int) and not isinstance(found, bool) and found > 0 and _is_sound(claim, found):
            return found
    return None


def _is_sound(claim: dict[str, object], found: int) -> bool:
    """By its checksum; one without it may have been written by hand or by a version that has other keys."""
    if "crc32" in claim:
        return claim["crc32"] == _checksum(found)
    return found > NEWEST or claim.keys() == {"format"}


def _checksum(number: int) -> str:
    return f"{crc32(b'format %d' % number):08x}"


def known(directory: Path) -> int:
    """The format that the directory has, whether this version knows it or not. Raises OSError.

    A FORMAT that is gone or makes no sense counts as lost: sealed files are then proof of format 2 (each carries a version
    and a checksum of its own), journals alone are format 1.
    """
    claimed = told(directory)
    return _guessed(directory) if claimed is None else claimed


def refuse_newer(directory: Path) -> None:
    """Raise StoreUnavailable when only a newer version can read the directory, or when it cannot be read at all."""
    try:
        found = known(directory)
    except OSError as error:
        raise StoreUnavailable(
            f"{error.filename or directory}: {error.strerror}, as user id {os.getuid()}; name a data directory of that user with --data"
        ) from error
    _refuse(directory, found)


def prepare(directory: Path, files: Files) -> None:
    """Bring the directory to the newest format; needs the LOCK. Raises StoreUnavailable, StoreError, OSError."""
    claimed = told(directory)
    found = _guessed(directory) if claimed is None else claimed
    _refuse(directory, found)
    if claimed is None and (directory / FILE).exists():
        log.warning("%s: makes no sense and counts as lost: the other files are of format %d", directory / FILE, found)
    if found < NEWEST:
        _keep_the_old(directory, files)
    if claimed == NEWEST:
        return
    try:
        files.put(
            directory / FILE,
            orjson.dumps({"format": NEWEST, "crc32": _checksum(NEWEST)}, option=orjson.OPT_APPEND_NEWLINE),
        )
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        log.warning("%s: not written, the disk is full; the next start tries again", directory / FILE)


def _refuse(directory: Path, found: int) -> None:
    if found > NEWEST:
        raise StoreUnavailable(
            f"{directory}: has format {found}, and this Watchroom ({dashboard.__version__}) knows formats up to {NEWEST}; "
            "start the version that wrote it or a newer one, or restore a backup from before; nothing was touched"
        )


def _keep_the_old(directory: Path, files: Files) -> None:
    target = directory / BEFORE
    for unfinished in directory.glob(f"{BEFORE}.*.part"):
        files.unlink(unfinished)
    try:
        written = write_backup(directory, target, format_number=1, now_at=SystemClock().now(), force=True, files=files)
    except OSError as error:
        raise StoreUnavailable(
            f"{target}: cannot write the backup that comes before the change to format {NEWEST}: {error.strerror}; "
            "make room or let this user write there, then start again; nothing was changed"
        ) from error
    log.warning("%s: holds the data as older versions read it (%d bytes)", target, written.size_bytes)


def _guessed(directory: Path) -> int:
    names: list[str] = []
    for folder in FOLDERS:
        with contextlib.suppress(FileNotFoundError):
            names += [name for name in os.listdir(directory / folder) if is_ours(f"{folder}/{name}")]
    return NEWEST if not names or any(name.endswith(_SEALED) for name in names) else 1
