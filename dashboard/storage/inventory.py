"""What a data directory holds, by class, and how much it will take once every class is as old as it may get."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from math import inf, isfinite
from pathlib import Path
from typing import Literal

import orjson

from dashboard.model import Backup, Inventory, StoredClass
from dashboard.rollup import DAY_S
from dashboard.storage.parts import Part
from dashboard.storage.retention import Keeping
from dashboard.storage.rollup_files import RollupFile, RollupFiles
from dashboard.storage.timeline import Timeline

DEFAULT = Keeping()
BACKUP_NOTE = "BACKUP"

_RECENT_S = 2 * DAY_S
_YEARS_S = 5 * 365 * DAY_S  # what is kept for ever is forecast for so long
_NAMES: dict[str, Literal["five_minutes", "hours", "days"]] = {"5m": "five_minutes", "1h": "hours", "1d": "days"}


def take(
    directory: Path,
    timeline: Timeline,
    rollups: RollupFiles,
    *,
    keeping: Keeping,
    sealed_at: datetime | None = None,
    merged_at: datetime | None = None,
    retained_at: datetime | None = None,
) -> Inventory:
    """What there is now. Sizes of documents, quarantine and reserve are read from the disk."""
    raw = StoredClass(
        name="raw",
        files=len(timeline.segments),
        rows=sum(part.summary.rows for part in timeline.segments),
        size_bytes=sum(part.size_bytes for part in timeline.segments),
        oldest_at=_at(part.summary.start_s for part in timeline.segments if part.summary.rows),
        newest_at=_at((part.summary.end_s for part in timeline.segments if part.summary.rows), newest=True),
        keep_s=keeping.of("raw", 0),
    )
    journals = StoredClass(
        name="journals",
        files=len(timeline.journals),
        rows=timeline.unsealed_rows,
        size_bytes=sum(part.size_bytes for part in timeline.journals),
        oldest_at=_at(part.summary.start_s for part in timeline.journals if part.summary.rows),
        newest_at=_at((part.summary.end_s for part in timeline.journals if part.summary.rows), newest=True),
    )
    newest_s = inf if timeline.newest_s is None else timeline.newest_s
    folded = [_of_rollups(label, list(rollups.files.values()), keeping, newest_s) for label in _NAMES]
    others = [_of_folder("documents", directory), _of_folder("quarantine", directory), _of_reserve(directory)]
    span_s = _span_s(timeline.parts)
    rows_per_day = _rate(timeline) * DAY_S if span_s >= DAY_S else 0.0
    return Inventory(
        classes=(journals, raw, *folded, *others),
        checks=timeline.tallies(),
        free_bytes=_free_bytes(directory),
        sealed_at=sealed_at or changed_at(part.path for part in timeline.segments),
        merged_at=merged_at or changed_at(part.path for part in timeline.segments if not part.has_rollups),
        retained_at=retained_at,
        backup=read_backup_note(directory),
        rows_per_day=rows_per_day,
        forecast_bytes=_forecast(raw, _raw_rate(timeline), folded, others, span_s) if span_s >= DAY_S else None,
    )


def read_backup_note(directory: Path) -> Backup | None:
    """The note of the newest backup; None where there is none that can be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        note = orjson.loads((directory / BACKUP_NOTE).read_bytes())
        return Backup(
            at=datetime.fromisoformat(note["at"]),
            path=str(note["path"]),
            size_bytes=int(note["size_bytes"]),
            rows=int(note["rows"]),
        )
    return None


def _forecast(
    raw: StoredClass, raw_per_s: float, folded: Iterable[StoredClass], others: Iterable[StoredClass], span_s: float
) -> int:
    """Each class at its present rate over its whole time; what does not age stays as it is."""
    total = float(sum(each.size_bytes for each in others)) + raw_per_s * raw.keep_s
    for each in folded:
        if each.oldest_at is not None and each.newest_at is not None:
            its_span_s = max(DAY_S, (each.newest_at - each.oldest_at).total_seconds())
            its_span_s = min(its_span_s, max(span_s, DAY_S)) if each.files == 1 else its_span_s
            total += each.size_bytes / its_span_s * min(each.keep_s, _YEARS_S)
    return round(total)


def _raw_rate(timeline: Timeline) -> float:
    """Bytes a second that results take once they are sealed, at the rate of the last days."""
    sealed_rows = sum(part.summary.rows for part in timeline.segments)
    if not sealed_rows:
        return timeline.size_bytes / max(DAY_S, _span_s(timeline.parts))
    return _rate(timeline) * sum(part.size_bytes for part in timeline.segments) / sealed_rows


def _rate(timeline: Timeline) -> float:
    """Results a second over the last days."""
    since_s = (timeline.newest_s or 0.0) - _RECENT_S
    recent = [part for part in timeline.parts if part.summary.end_s >= since_s]
    return sum(part.summary.rows for part in recent) / max(3600.0, _span_s(recent))


def _span_s(parts: Sequence[Part]) -> float:
    parts = [part for part in parts if part.summary.rows]
    if not parts:
        return 0.0
    return max(part.summary.end_s for part in parts) - min(part.summary.start_s for part in parts)


def _of_rollups(label: str, files: list[RollupFile], keeping: Keeping, newest_s: float) -> StoredClass:
    mine = [file for file in files if file.name.label == label]
    return StoredClass(
        name=_NAMES[label],
        files=len(mine),
        rows=sum(file.buckets for file in mine),
        size_bytes=sum(file.size_bytes for file in mine),
        oldest_at=_at(file.start_s for file in mine),
        newest_at=_at((min(file.name.end_s, newest_s) for file in mine), newest=True),
        keep_s=keeping.of(label, 0),
    )


def _of_folder(name: Literal["documents", "quarantine"], directory: Path) -> StoredClass:
    sizes: list[int] = []
    with suppress(OSError):
        for path in (directory / name).iterdir():
            with suppress(OSError):
                sizes.append(path.stat().st_size)
    return StoredClass(name=name, files=len(sizes), rows=0, size_bytes=sum(sizes))


def _of_reserve(directory: Path) -> StoredClass:
    size = 0
    with suppress(OSError):
        size = (directory / "RESERVE").stat().st_size
    return StoredClass(name="reserve", files=int(size > 0), rows=0, size_bytes=size)


def _free_bytes(directory: Path) -> int:
    with suppress(OSError):
        return shutil.disk_usage(directory).free
    return 0


def changed_at(paths: Iterable[Path]) -> datetime | None:
    """When the newest of the files was written; None for none."""
    newest = 0.0
    for path in paths:
        with suppress(OSError):
            newest = max(newest, path.stat().st_mtime)
    return datetime.fromtimestamp(newest, UTC) if newest else None


def _at(instants_s: Iterable[float], *, newest: bool = False) -> datetime | None:
    found = [each for each in instants_s if isfinite(each)]
    return datetime.fromtimestamp(max(found) if newest else min(found), UTC) if found else None
