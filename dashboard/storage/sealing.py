"""Journals into segments, and segments into larger ones: written beside, made durable, renamed; the sources are left alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from dashboard.rollup import FIVE_MINUTES_S, Rollup, coarsened, fold_buckets
from dashboard.storage.base import ResultColumns
from dashboard.storage.columns import PartColumns, joined
from dashboard.storage.files import Files
from dashboard.storage.parts import JournalPart
from dashboard.storage.segments import Marks, SegmentName, SegmentPart, SegmentWriter
from dashboard.uptime import Cursor, Window

_FULL_BUCKETS = 64  # so many parts of buckets of one check are joined at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Maintenance: windows of single checks, ascending, and of all."""

    by_check: Mapping[str, Sequence[Window]]

    def of(self, check_id: str) -> Sequence[Window]:
        """Those of the check."""
        return self.by_check.get(check_id, ())


NO_WINDOWS = Windows(by_check={})


def seal(
    journal: JournalPart, directory: Path, marks: Marks, files: Files, *, group_rows: int, windows: Windows = NO_WINDOWS
) -> Path:
    """The segment of a closed journal that has rows; `marks` are where uptime goes on before it. Raises OSError."""
    name = SegmentName(journal.summary.first_id, journal.summary.last_id)
    path = directory / str(name)
    names = list(journal.checks)
    cursors = {check_id: Cursor.of_marks(marks.get(check_id, ())) for check_id in names}
    buckets: dict[str, list[Rollup]] = {}
    writer = SegmentWriter(path, names, files)
    try:
        for pieces in _groups_of(journal, group_rows):
            writer.add(pieces)
            for piece in pieces:
                check_id = piece.check_ids[0]
                fresh = fold_buckets(piece, FIVE_MINUTES_S, cursor=cursors[check_id], windows=windows.of(check_id))
                buckets[check_id] = _add(buckets.get(check_id, []), fresh)
        for check_id, found in buckets.items():
            writer.add_rollups(check_id, coarsened(found, FIVE_MINUTES_S))
        writer.seal(name, {**marks, **{check_id: cursor.marks() for check_id, cursor in cursors.items()}})
        writer.publish()
        files.sync_directory(directory)
    finally:
        writer.abandon()
    return path


def merge(
    segments: Sequence[SegmentPart],
    directory: Path,
    files: Files,
    *,
    group_rows: int,
    kept_s: Mapping[str, int] | None = None,
    forgotten: Mapping[str, int],
    keeps_rollups: bool,
) -> list[Path]:
    """Neighbouring segments as one, or as one for each retention when `kept_s` (`{check_id: seconds}`) is given.

    Without `keeps_rollups` their buckets must be in rollup files already. What was forgotten is left out. One of several
    files for the same ids stays what it is, and comes alone. Raises OSError.
    """
    first_id, last_id = segments[0].summary.first_id, max(segment.summary.last_id for segment in segments)
    shown = {
        check_id: [segment for segment in segments if segment.summary.last_id > forgotten.get(check_id, 0)]
        for check_id in sorted({check_id for segment in segments for check_id in segment.check_ids()})
    }
    only = segments[0]
    own = only.name.kept_s if only.siblings > 1 else 0
    classes: dict[int, list[str]] = {own: []}  # the default is never left out: it may replace a source
    for check_id, parts in shown.items():
        if parts:
            kept = own if only.siblings > 1 else (kept_s or {}).get(check_id, 0)
            classes.setdefault(kept, []).append(check_id)
    siblings = only.siblings if only.siblings > 1 else len(classes)
    level = max(segment.level for segment in segments) + 1
    marks = remembered(segments[-1].marks(), segments[-1].summary.last_id, forgotten)
    writers: list[SegmentWriter] = []
    paths: list[Path] = []
    try:
        for kept, names in sorted(classes.items()):
            name = SegmentName(first_id, last_id, kept)
            paths.append(directory / str(name))
            writer = SegmentWriter(
                paths[-1],
                names,
                files,
                siblings=siblings,
                level=level,
                sources=[segment.path.name for segment in segments],
            )
            writers.append(writer)
            _merge_into(writer, segments, names, shown, group_rows, keeps_rollups=keeps_rollups)
            writer.seal(name, marks)
        for segment in segments:
            segment.keep_damaged(files)
        default, *others = writers
        for writer in others:
            writer.publish()
        if others:  # durably before the default's: that may replace a source, which is whole until then
            files.sync_directory(directory)
        default.publish()
        files.sync_directory(directory)
    finally:
        for writer in writers:
            writer.abandon()
    return paths


def _merge_into(
    writer: SegmentWriter,
    segments: Sequence[SegmentPart],
    names: Sequence[str],
    shown: Mapping[str, Sequence[SegmentPart]],
    group_rows: int,
    *,
    keeps_rollups: bool,
) -> None:
    held: dict[str, list[ResultColumns]] = {}
    rows = 0
    for segment in segments:
        wanted = [check_id for check_id in names if segment in shown[check_id]]
        for pieces in map(list, segment.groups(wanted)):
            coming = sum(map(len, pieces))
            if 2 * rows >= group_rows and rows + coming > 1.25 * group_rows:
                writer.add([joined(parts) for parts in held.values()])
                held, rows = {}, 0
            for piece in pieces:
                held.setdefault(piece.check_ids[0], []).append(piece)
            rows += coming
    writer.add([joined(parts) for parts in held.values()])
    if keeps_rollups:
        for check_id in names:
            found = [bucket for segment in shown[check_id] for bucket in segment.rollups(check_id)]
            writer.add_rollups(check_id, coarsened(found, FIVE_MINUTES_S))


def _groups_of(journal: JournalPart, group_rows: int) -> Iterator[list[ResultColumns]]:
    """The journal's rows in runs of ids of equal length, a piece a check. Memory holds one run, packed."""
    rows = journal.summary.rows
    group_rows = ceil(rows / max(1, round(rows / group_rows)))
    columns = PartColumns()
    for chunk in journal.rows():
        while chunk:
            missing = group_rows - columns.rows
            columns.extend(chunk[:missing])
            chunk = chunk[missing:]
            if columns.rows == group_rows:
                yield [each.all() for each in columns.checks.values()]
                columns = PartColumns()
    if columns.rows:
        yield [each.all() for each in columns.checks.values()]


def _add(known: list[Rollup], fresh: list[Rollup]) -> list[Rollup]:
    known += fresh
    return coarsened(known, FIVE_MINUTES_S) if len(known) > _FULL_BUCKETS else known


def remembered(marks: Marks, last_id: int, forgotten: Mapping[str, int]) -> Marks:
    """The marks without those of checks that were forgotten up to that id: if they come back, they begin anew."""
    return {check_id: found for check_id, found in marks.items() if forgotten.get(check_id, 0) < last_id}


def leftovers(
    siblings: Mapping[SegmentName, int], sources: Mapping[SegmentName, Sequence[str]] | None = None
) -> set[SegmentName]:
    """The segments that an interrupted merge, or an unlink that failed, left over.

    Each segment there is tells how many files its merge wrote for the same ids, and of which `sources`. While all sources
    are there, files of a merge that wrote more are not whole; otherwise they are, though retention may have taken some
    since, and whatever lies within their ids is left over. One that was written alone is whole: others with its ids are not.
    """
    gone: set[SegmentName] = set()
    names = set(map(str, siblings))
    for name in sorted(siblings, key=lambda each: each.last_id - each.first_id, reverse=True):
        if name in gone:
            continue
        family = {other for other in siblings if other.ids == name.ids}
        alone = {other for other in family if siblings[other] == 1}
        if alone and alone != family:
            gone |= family - alone
            family = alone
        within = {other for other in siblings if name.covers(other)}
        is_whole = len(family) == siblings[next(iter(family))]
        if not is_whole and sources is not None:
            its_sources = set(sources[name])
            is_whole = str(name) in its_sources or not its_sources <= names
        if within:
            gone |= within if is_whole else family
    return gone


def unlink_quietly(paths: Iterable[Path], files: Files) -> None:
    """Remove what is not needed any more; what cannot be removed is found again at the next start."""
    for path in paths:
        with suppress(OSError):
            files.unlink(path)
