"""What the store tests share: results to record and files that fail on purpose."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from checks.base import Detail, Status
from dashboard.model import Result
from dashboard.storage.files import Files
from dashboard.storage.store import TinyStore

START_AT = datetime(2026, 3, 1, 12, 0, 0, 123457, UTC)


def make_result(number: int, check_id: str = "", **changes: object) -> Result:
    """The result of that number: every seventh is critical with evidence; checks take turns."""
    is_bad = number % 7 == 3
    values: dict[str, object] = {
        "check_id": check_id or f"check-{number % 3}",
        "at": START_AT + timedelta(seconds=10 * number, microseconds=number),
        "status": Status.CRITICAL if is_bad else Status.OK,
        "summary": f"result number {number}",
        "duration_s": 0.1 + number / 1000,
        "covers_s": 20.0,
        "worker": "prober-1",
        "metrics": {"response_time": 0.1 + number / 1000, "size": float(number)},
        "detail": Detail(phase="connect", got="refused", facts={"address": "192.0.2.1"}) if is_bad else Detail(),
    }
    return Result(**(values | changes))  # type: ignore[arg-type]


def make_results(count: int, first: int = 0) -> list[Result]:
    return [make_result(number) for number in range(first, first + count)]


class FailingFiles(Files):
    """Does what real files do until told to fail: `fail(call, error number)` once, or for so many `times`."""

    def __init__(self) -> None:
        self._plans: dict[str, deque[int | str]] = {}
        self.calls: list[str] = []

    def fail(self, call: str, how: int | str, times: int = 1) -> None:
        self._plans.setdefault(call, deque()).extend([how] * times)

    def heal(self) -> None:
        self._plans.clear()

    def _step(self, call: str) -> int | str | None:
        self.calls.append(call)
        plan = self._plans.get(call)
        how = plan.popleft() if plan else None
        if isinstance(how, int):
            raise OSError(how, os.strerror(how))
        return how

    def write(self, descriptor: int, data: bytes) -> int:
        try:
            how = self._step("write")
        except OSError as error:
            if error.errno == errno.ENOSPC:  # as a real full disk does: some of it still goes in
                super().write(descriptor, data[: len(data) // 3])
            raise
        return super().write(descriptor, data[: len(data) // 2] if how == "short" else data)

    def sync(self, descriptor: int) -> None:
        self._step("sync")
        super().sync(descriptor)

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        self._step("truncate")
        super().truncate(descriptor, size_bytes)

    def allocate(self, descriptor: int, size_bytes: int) -> None:
        self._step("allocate")
        super().allocate(descriptor, size_bytes)

    def rename(self, source: object, target: object) -> None:
        self._step("rename")
        super().rename(source, target)  # type: ignore[arg-type]

    def sync_directory(self, directory: object) -> None:
        self._step("sync_directory")
        super().sync_directory(directory)  # type: ignore[arg-type]


class SealingStore(TinyStore):
    """Does after each append whatever is due."""

    def append(self, results: Sequence[Result]) -> list[int]:
        ids = super().append(results)
        self.maintain(self._clock.now())
        return ids


class CompactingStore(TinyStore):
    """Seals, folds and merges everything after each append."""

    def append(self, results: Sequence[Result]) -> list[int]:
        ids = super().append(results)
        self.compact()
        return ids


class UnsyncedFiles(Files):
    """Real files whose syncs are left out: for tests of what is written, not of when."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_directory(self, directory: Path) -> None:
        pass
