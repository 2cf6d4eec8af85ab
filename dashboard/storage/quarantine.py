"""Damaged bytes: counted, and kept for a person to look at."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path

log = logging.getLogger(__name__)


class Quarantine:
    """Remembers each damaged place once, however often it is read. Thread-safe.

    With a directory the bytes are kept there as `<file>-<offset>.bad`; without one they are only counted.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._lines: set[tuple[str, int]] = set()
        self._tails: set[tuple[str, int]] = set()
        self._lock = threading.Lock()

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
