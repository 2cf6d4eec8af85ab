"""Room on the disk: a reserve to give up in an emergency, and the wait for room when there is none."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path

from dashboard.errors import StoreFull
from dashboard.storage.files import Files

log = logging.getLogger(__name__)


class Room:
    """Shared by all journals of one directory. Thread-safe."""

    def __init__(self, reserve: Path, size_bytes: int, *, files: Files, retry_s: float) -> None:
        self._reserve = reserve
        self._size_bytes = size_bytes
        self._files = files
        self._retry_s = retry_s
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._scarce = f"{reserve.parent}: the disk is nearly full; free some room"
        self.trouble = ""  # what a person should know; empty while there is room

    def prepare(self) -> None:
        """Set the reserve aside where there is none; a disk too full for it is no reason not to start."""
        self._stopping.clear()
        with self._lock:
            if not self._set_aside():
                self.trouble = self._scarce

    def make(self, error: StoreFull) -> None:
        """After a write found no room: give up the reserve, or wait a little. Raises the error when the store closes."""
        with self._lock:
            gave_up = self._give_up()
            trouble = self._scarce if gave_up else str(error)
            if trouble != self.trouble:
                log.error("%s", trouble)
            self.trouble = trouble
        if not gave_up and self._stopping.wait(self._retry_s):
            raise error

    def regained(self) -> None:
        """After a write went well: when the reserve can be set aside again, the trouble is over."""
        if self.trouble:
            with self._lock:
                if not self._set_aside():
                    self.trouble = self._scarce
                    return
                log.warning("%s: there is room on the disk again", self._reserve.parent)
                self.trouble = ""

    def stop(self) -> None:
        """Let those who wait go."""
        self._stopping.set()

    def _give_up(self) -> bool:
        if not self._reserve.exists():
            return False
        with contextlib.suppress(OSError):
            self._files.unlink(self._reserve)
            return True
        return False

    def _set_aside(self) -> bool:
        with contextlib.suppress(OSError):
            if self._reserve.stat().st_size == self._size_bytes:
                return True
        try:
            descriptor = self._files.open(self._reserve, os.O_WRONLY | os.O_CREAT)
        except OSError:
            return False
        try:
            if self._size_bytes:
                self._files.allocate(descriptor, self._size_bytes)
        except OSError:
            with contextlib.suppress(OSError):
                self._files.unlink(self._reserve)
            return False
        finally:
            self._files.close(descriptor)
        return True
