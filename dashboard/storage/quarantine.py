"""Damaged bytes: counted, and kept for a person to look at."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dashboard.storage.files import Files

log = logging.getLogger(__name__)


class Quarantine:
    """Remembers each damaged place once, however often it is read. Thread-safe.

    With a directory the bytes are kept there as `<file>-<offset>.bad`; without one they are only counted.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._lines: set[tuple[str, int]] = set()
        self._tails: set[tuple[str, int]] = set()
        self._blocks: dict[tuple[str, int], str] = {}
        self._lock = threading.Lock()

    @property
    def blocks(self) -> int:
        """Damaged blocks of sealed files."""
        return len(self._blocks)

    @property
    def places(self) -> list[tuple[str, int]]:
        """The damaged lines, `(file, byte)`."""
        return sorted(self._lines)

    @property
    def block_places(self) -> list[tuple[str, int, str]]:
        """The damaged blocks, `(file, byte, fault)`."""
        return sorted((*place, fault) for place, fault in self._blocks.items())

    def learn(self, lines: Iterable[Sequence[Any]], blocks: Iterable[Sequence[Any]]) -> None:
        """Note damage that another process has found and kept: `places` and `block_places` of its own."""
        with self._lock:
            self._lines.update((str(file), int(offset)) for file, offset in lines)
            known = set(self._blocks.values())
            fresh = [each for each in blocks if str(each[2]) not in known]
            self._blocks.update({(str(file), int(offset)): str(fault) for file, offset, fault in fresh})

    def note_block(self, path: Path, fault: str, offset: int) -> None:
        """Note a damaged block of a sealed file; its bytes stay where they are."""
        place = (f"{path.parent.name}/{path.name}", offset)
        with self._lock:
            is_new = fault not in self._blocks.values()  # it names file and byte; who reads may know another offset
            if is_new:
                self._blocks[place] = fault
        if is_new:
            log.warning("%s: left out: %s", path, fault)

    @property
    def lines(self) -> int:
        """Damaged lines between good ones."""
        return len(self._lines)

    @property
    def tails(self) -> int:
        """Torn ends that were cut."""
        return len(self._tails)

    def keep_line(self, path: Path, offset: int, data: bytes) -> None:
        """Note a damaged line that good lines follow."""
        if self._is_new(self._lines, path, offset):
            log.warning("%s: the line at byte %d is damaged and skipped", path, offset)
            self._save(path, offset, data)

    def keep_tail(self, path: Path, offset: int, data: bytes) -> None:
        """Note a torn end."""
        if self._is_new(self._tails, path, offset):
            log.warning("%s: %d torn bytes at its end, from byte %d", path, len(data), offset)
            self._save(path, offset, data)

    def keep_copy(self, path: Path, files: Files) -> None:
        """Keep a damaged file that another is about to replace."""
        if self._directory is not None:
            target = self._directory / f"{path.parent.name}-{path.name}.bad"
            with contextlib.suppress(OSError):  # evidence is worth a try, never a merge that fails
                if not target.exists():
                    files.put(target, path.read_bytes())

    def keep_file(self, path: Path, files: Files) -> None:
        """Move a damaged file here, whole; without a directory it stays where it is."""
        if self._is_new(self._lines, path, 0):
            log.error("%s: damaged as a whole and set aside", path)
        if self._directory is not None:
            stem = f"{path.parent.name}-{path.name}"
            names = itertools.chain([f"{stem}.bad"], (f"{stem}-{number}.bad" for number in itertools.count(2)))
            targets = (self._directory / name for name in names)
            with contextlib.suppress(OSError):
                files.rename(path, next(target for target in targets if not target.exists()))

    def _is_new(self, known: set[tuple[str, int]], path: Path, offset: int) -> bool:
        place = (f"{path.parent.name}/{path.name}", offset)
        with self._lock:
            is_new = place not in known
            known.add(place)
        return is_new

    def _save(self, path: Path, offset: int, data: bytes) -> None:
        if self._directory is None:
            return
        target = self._directory / f"{path.parent.name}-{path.name}-{offset}.bad"
        # Evidence is worth a try, never a failed start: a full disk must not keep good rows from being served.
        with contextlib.suppress(OSError):
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)
