"""Where sealing, merging and folding are done: here, or in a helper process that is nice to the others.

A task names files; whoever performs it opens them itself. `python -m dashboard.storage.workshop` reads a task as JSON from
standard input and answers on standard output; with the id of a process it ends when that is not its parent (any more).
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson

from dashboard.errors import StoreError
from dashboard.storage import rollup_files, sealing
from dashboard.storage.files import Files, allow_many
from dashboard.storage.parts import JournalPart
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.rollup_files import FoldOrder, RollupFiles
from dashboard.storage.sealing import Windows
from dashboard.storage.segments import Marks, SegmentPart

NICENESS = 10
_ROOT = Path(__file__).parents[2]
_LONGEST_S = 3600.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to do with which files of the data directory `root`. See sealing and rollup_files for the rest."""

    kind: Literal["seal", "merge", "fold"]
    root: str
    sources: Sequence[str]  # names in results/
    group_rows: int
    after_id: int = 0  # seal: rows up to here are in other files
    end: int | None = None  # seal: the byte where what was acknowledged ends; None = the file's own end
    marks_from: str = ""  # seal: the segment before, if any
    windows: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    kept_s: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by class: raw, 5m, 1h, 1d
    forgotten: Mapping[str, int] = field(default_factory=dict)
    keeps_rollups: bool = True  # merge


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The files that were written, and the damage that was found on the way (see Quarantine.learn)."""

    paths: Sequence[str]
    damaged_lines: Sequence[Sequence[Any]] = ()
    damaged_blocks: Sequence[Sequence[Any]] = ()


class Workshop(Protocol):
    """Does a task; raises OSError, StoreError."""

    def perform(self, task: Task) -> Outcome: ...

    def stop(self) -> None:
        """Let go of the task that is going on, if it can be let go of: it fails, and nothing of it is there."""


class Here:
    """Does tasks in this thread."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def perform(self, task: Task) -> Outcome:
        """See Workshop."""
        allow_many()
        root = Path(task.root)
        results = root / "results"
        quarantine = Quarantine(root / "quarantine")
        if task.kind == "seal":
            [source] = task.sources
            journal = JournalPart(results / source, quarantine=quarantine, after_id=task.after_id)
            journal.replay(end=task.end)
            if not journal.summary.rows:
                raise StoreError(f"{journal.path}: no result in it can be read; the file stays as it is")
            before = _marks_before(results / task.marks_from, task, quarantine) if task.marks_from else {}
            windows = Windows(by_check=task.windows)
            made = [sealing.seal(journal, results, before, self._files, group_rows=task.group_rows, windows=windows)]
        else:
            segments = [SegmentPart(results / source, quarantine) for source in task.sources]
            if task.kind == "merge":
                made = sealing.merge(
                    segments,
                    results,
                    self._files,
                    group_rows=task.group_rows,
                    kept_s=task.kept_s.get("raw"),
                    forgotten=task.forgotten,
                    keeps_rollups=task.keeps_rollups,
                )
            else:
                existing = RollupFiles(root / "rollups", quarantine)
                existing.open()
                order = FoldOrder(segments=segments, kept_s=task.kept_s, forgotten=task.forgotten)
                made = rollup_files.fold(order, root / "rollups", existing, self._files)
        return Outcome(
            paths=[str(path) for path in made],
            damaged_lines=quarantine.places,
            damaged_blocks=quarantine.block_places,
        )

    def stop(self) -> None:
        """See Workshop: the task ends by itself."""


def _marks_before(path: Path, task: Task, quarantine: Quarantine) -> Marks:
    segment = SegmentPart(path, quarantine)
    return sealing.remembered(segment.marks(), segment.summary.last_id, task.forgotten)


class HelperProcess:
    """Does tasks in a process of their own, one after the other: nobody who records or reads waits for them."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        self._is_stopping = False

    def stop(self) -> None:
        """See Workshop."""
        self._is_stopping = True
        running = self._running
        if running is not None:
            running.kill()

    def perform(self, task: Task) -> Outcome:
        """See Workshop."""
        command = [sys.executable, "-m", "dashboard.storage.workshop", str(os.getpid())]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=_ROOT) as running:
            self._running = running
            if self._is_stopping:
                running.kill()
            try:
                stdout, stderr = running.communicate(orjson.dumps(task), timeout=_LONGEST_S)
            except subprocess.TimeoutExpired as error:
                running.kill()
                raise StoreError(
                    f"{task.root}: the helper that should {task.kind} did not end within an hour"
                ) from error
            finally:
                self._running = None
        return _answered(task, running.returncode, stdout, stderr)


def _answered(task: Task, code: int, stdout: bytes, stderr: bytes) -> Outcome:
    """What the helper said, or the error that it met."""
    try:
        answer = orjson.loads(stdout)
    except orjson.JSONDecodeError:
        said = stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit code {code}"]
        raise StoreError(f"{task.root}: the helper that should {task.kind} failed: {said[0]}") from None
    if code == 0:
        return Outcome(**answer)
    if answer["errno"]:
        raise OSError(answer["errno"], os.strerror(answer["errno"]), answer["file"])
    raise StoreError(answer["message"])


def main() -> int:
    """Perform the task on standard input."""
    with contextlib.suppress(OSError, AttributeError):  # Linux: end with whoever asked
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if sys.argv[1:] and os.getppid() != int(sys.argv[1]):  # it ended before we asked
        return 1
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asked
    task = Task(**orjson.loads(sys.stdin.buffer.read()))
    answer: dict[str, Any]
    try:
        outcome = Here(Files()).perform(task)
        answer, code = dataclasses.asdict(outcome), 0
    except OSError as error:
        answer, code = {"errno": error.errno, "file": str(error.filename or task.root), "message": str(error)}, 1
    except StoreError as error:
        answer, code = {"errno": 0, "file": "", "message": str(error)}, 1
    sys.stdout.buffer.write(orjson.dumps(answer))
    return code


if __name__ == "__main__":
    sys.exit(main())
