"""What was done to the documents, commit by commit, as their journals have it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from dashboard.storage.files import Files
from dashboard.storage.journal import SoundLines, generations
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.recording import JsonObject


class Commits:
    """Iterate, once, for the commits after the one of that number, in their order.

    A commit that was given up (no later one follows it, but its file may still have it) is left out. When the iteration
    is over, `are_complete` says whether any is missing, and `end` where the newest journal can be gone on with.
    """

    def __init__(self, directory: Path, after: int, *, files: Files, quarantine: Quarantine) -> None:
        self._after = after
        self._files = files
        self._quarantine = quarantine
        self._journals = generations(directory)
        self.newest = max((generation for generation, _ in self._journals), default=0)
        self.are_blank = bool(self._journals) and not any(path.stat().st_size for _, path in self._journals)
        self.are_complete = True
        self.end: int | None = None  # byte of the newest journal; None where there is none that can be read

    def __iter__(self) -> Iterator[JsonObject]:
        last: JsonObject | None = None
        for commit in self._sound():
            newest: int = last["seq"] if last else self._after
            if commit["seq"] <= newest:
                continue
            after: int = commit.get("after", newest or commit["seq"] - 1)  # older journals do not say it
            if last and after >= newest:
                yield last
            if after > newest:
                self.are_complete = False
            last = commit
        if last:
            yield last

    def _sound(self) -> Iterator[JsonObject]:
        for generation, path in self._journals:
            lines = SoundLines(path, self._quarantine)
            try:
                for payloads in lines:
                    yield from map(orjson.loads, payloads)
            except PermissionError:
                raise
            except OSError:
                self._quarantine.keep_file(path, self._files)
                self.are_complete = False
                continue
            if tail := lines.tail:
                self._quarantine.keep_tail(path, lines.good_end, tail)
                # One commit at a time is on its way to the disk: a second torn line had been durable.
                self.are_complete &= b"\n" not in tail[:-1]
            if generation == self.newest:
                self.end = lines.good_end
