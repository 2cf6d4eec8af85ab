"""Sealed results come back as they went in, and damage costs the block that it hits."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fakes import FakeClock
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from storage.samples import START_AT, UnsyncedFiles, make_result, make_results

from checks.base import Detail, Status
from dashboard.model import Result, Retention
from dashboard.storage.appender import Limits
from dashboard.storage.base import History
from dashboard.storage.blockfile import Frame, FrameReader, Kind
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.segments import SegmentName, SegmentPart
from dashboard.storage.store import TinyStore

LIMITS = Limits(reserve_bytes=0, journal_rows=9, group_rows=8, merged_parts=3)
DAY_S = 86400.0


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("000000000001-000000000009.seg", SegmentName(1, 9)),
        ("000000000001-000000000009.86400.seg", SegmentName(1, 9, 86400)),
        ("999999999999-999999999999.seg", SegmentName(999_999_999_999, 999_999_999_999)),
        ("000000000001-000000000009.seg.tmp", None),
        ("1-9.seg", None),
        ("000000000001-000000000009.ndj", None),
        ("000000000001-000000000009..seg", None),
        ("000000000001-000000000009.x.seg", None),
        ("x000000000001-000000000009.seg", None),
        ("", None),
    ],
)
def test_a_name_says_which_ids_a_segment_has(name: str, parsed: SegmentName | None) -> None:
    assert SegmentName.parse(name) == parsed
    assert parsed is None or str(parsed) == name


@given(st.integers(1, 10**12 - 1), st.integers(1, 10**12 - 1), st.integers(0, 10**9))
def test_names_come_back(first: int, last: int, kept: int) -> None:
    assert SegmentName.parse(str(SegmentName(first, last, kept))) == SegmentName(first, last, kept)


@pytest.mark.parametrize(
    ("one", "other", "covers"),
    [((1, 9), (1, 5), True), ((1, 9), (5, 9), True), ((1, 9), (1, 9), False), ((1, 9), (5, 10), False)],
)
def test_a_segment_covers_what_lies_within_it(one: tuple[int, int], other: tuple[int, int], covers: bool) -> None:
    assert SegmentName(*one).covers(SegmentName(*other, 7)) is covers


texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "ok", "200 in 184 ms", "100 % of 7.50 GB", "%d %s", "\0", "007", "٣ half \u2028", '"\\', "🙂"]
    ),
    st.integers(0, 10**6).map(lambda n: f"200 in {n} ms"),
)
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 5e-324, 1.7976931348623157e308, -1e-300, 0.1 + 0.2, 2.0**53 + 1]),
    st.integers(0, 10**6).map(lambda n: n / 1000),
)
instants = st.integers(-3600 * 10**6, 49 * 3600 * 10**6).map(
    lambda micros: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
)
details = st.builds(
    Detail,
    phase=texts,
    expected=texts,
    got=texts,
    excerpt=texts,
    facts=st.dictionaries(texts, texts, max_size=3),
)
results = st.builds(
    Result,
    check_id=st.sampled_from(["api", "db", 'we"ird', "\u00fc/..", "long " * 30]),
    at=instants,
    status=st.sampled_from(list(Status)),
    summary=texts,
    duration_s=numbers,
    covers_s=numbers,
    trigger=st.sampled_from(["schedule", "manual", "signal"]),
    by=st.sampled_from(["", "ada", "cli:gr\u00e4ce"]),
    worker=st.sampled_from(["", "w1", "w2"]),
    metrics=st.dictionaries(st.sampled_from(["x", "y", "dns", "total", "\u00fc \0"]), numbers, max_size=4),
    detail=details,
)


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def exactly(result: Result) -> tuple[object, ...]:
    """All that there is to tell of a result, floats by their bits, evidence of good ones left out."""
    detail = result.detail if result.status is not Status.OK else Detail()
    return (
        result.id,
        result.check_id,
        result.at,
        result.status,
        result.summary,
        bits(result.duration_s),
        bits(result.covers_s),
        result.trigger,
        result.by,
        result.worker,
        sorted((name, bits(value)) for name, value in result.metrics.items()),
        (detail.phase, detail.expected, detail.got, detail.excerpt, sorted(detail.facts.items())),
    )


def everything(history: History) -> list[tuple[object, ...]]:
    return sorted(exactly(result) for chunk in history.export() for result in chunk)


TIDY = ("seal", "day", "compact", "reopen")


# Making a failing example shorter takes minutes, and it is told as it was found.
@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.lists(st.tuples(st.lists(results, min_size=1, max_size=12), st.sampled_from(TIDY)), min_size=1, max_size=6),
    st.sampled_from(
        [{}, {"db": Retention(raw_s=DAY_S * 999)}, {"db": Retention(raw_s=1e9), "api": Retention(raw_s=2e9)}]
    ),
)
def test_every_result_comes_back_bit_for_bit(batches, kept):
    with TemporaryDirectory() as directory:
        clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
        store = opened(Path(directory), clock, kept)
        try:
            expected: list[tuple[object, ...]] = []
            for batch, tidy in batches:
                ids = store.append(batch)
                expected += [exactly(replace(each, id=row_id)) for each, row_id in zip(batch, ids, strict=True)]
                if tidy == "seal":
                    store.maintain(clock.now())
                elif tidy == "day":
                    clock.advance(DAY_S)
                    store.maintain(clock.now())
                elif tidy == "compact":
                    store.compact()
                else:
                    store.close()
                    store = opened(Path(directory), clock, kept)
                assert everything(store) == sorted(expected)
            assert everything(TinyStore.reading(Path(directory), clock)) == sorted(expected)
            table = store.database.table("results")
            assert [document.doc_id for document in table] == [each[0] for each in expected]
            for check_id in store.check_ids():
                mine = [each for each in expected if each[1] == check_id]
                assert [exactly(each) for each in reversed(store.last(check_id, 999))] == mine
        finally:
            store.close()


def opened(directory: Path, clock: FakeClock, kept: Mapping[str, Retention] | None = None) -> TinyStore:
    store = TinyStore(directory, clock, limits=LIMITS, files=UnsyncedFiles())
    store.open()
    store.keep(Retention(raw_s=1e9), kept or {})
    return store


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_AT)


@pytest.fixture
def sealed(tmp_path: Path, clock: FakeClock) -> Path:
    """A segment of 40 rows of three checks, with buckets."""
    store = TinyStore(tmp_path, clock, limits=replace(LIMITS, journal_rows=100))
    store.open()
    store.append([make_result(number, summary=f"text {number} \u00fc" * 9) for number in range(40)])
    store._appender.rotate()
    store.maintain(clock.now())
    store.close()
    [path] = (tmp_path / "results").glob("*.seg")
    return path


def frames_of(path: Path) -> list[Frame]:
    return [frame for frame in FrameReader(path).scan() if isinstance(frame, Frame)]


def read(path: Path) -> tuple[SegmentPart, Quarantine, list[int]]:
    quarantine = Quarantine(None)
    part = SegmentPart(path, quarantine)
    return part, quarantine, [row_id for pieces in part.groups() for piece in pieces for row_id in piece.ids]


def flip(path: Path, offset: int, bit: int = 0) -> bytes:
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[offset] ^= 1 << bit
    path.write_bytes(damaged)
    return whole


def test_any_flipped_bit_costs_the_block_that_it_hits_and_no_other(sealed: Path) -> None:
    expected = {
        (frame.offset, frame.end): list(read(sealed)[0]._unpack(frame, "").ids)  # type: ignore[union-attr]
        for frame in frames_of(sealed)
        if frame.kind == Kind.RAW
    }
    size = sealed.stat().st_size
    dice = random.Random(4)
    for offset in sorted({*range(12), *range(size - 20, size), *dice.sample(range(size), 400)}):
        whole = flip(sealed, offset, dice.randrange(8))
        part, quarantine, ids = read(sealed)
        lost = next((rows for (start, end), rows in expected.items() if start <= offset < end), [])
        assert sorted(ids) == sorted(set(range(1, 41)) - set(lost)), offset
        for check_id in ("check-0", "check-1", "check-2"):
            mine = [
                row_id for row_id in range(1, 41) if make_result(row_id - 1).check_id == check_id and row_id not in lost
            ]
            rows = part.newest(check_id, 99, None, False)
            assert list(rows.ids if rows else []) == mine, offset
            assert [row_id for piece in part.between(check_id, 0.0, 1e12) for row_id in piece.ids] == mine
            part.rollups(check_id)
        assert part.find(17) is not None or 17 in lost
        part.marks()
        hit = next(
            frame
            for frame in [*frames_of_bytes(whole, sealed), None]
            if frame is None or frame.offset <= offset < frame.end
        )
        assert quarantine.blocks or hit is None or hit.kind == Kind.HEAD, f"{offset}: nobody noticed"
        sealed.write_bytes(whole)


def frames_of_bytes(whole: bytes, path: Path) -> list[Frame]:
    copy = path.with_suffix(".copy")
    copy.write_bytes(whole)
    return frames_of(copy)


def test_a_cut_file_keeps_the_blocks_that_are_left(sealed: Path) -> None:
    whole = sealed.read_bytes()
    raw = [frame for frame in frames_of(sealed) if frame.kind == Kind.RAW]
    for size in range(0, len(whole), 37):
        sealed.write_bytes(whole[:size])
        part, quarantine, ids = read(sealed)
        assert len(ids) == sum(len(part._unpack(frame, "").ids) for frame in raw if frame.end <= size)  # type: ignore[union-attr]
        assert quarantine.blocks
        assert part.summary.first_id, part.summary.last_id == (1, 40)


def test_what_a_damaged_index_said_is_found_out(sealed: Path) -> None:
    before = read(sealed)[0]
    expected = (
        before.summary.rows,
        before.summary.start_s,
        before.summary.end_s,
        before.siblings,
        before.level,
        before.has_rollups,
        dict(before.checks),
        before.marks(),
        [before.rollups(check_id) for check_id in before.checks],
    )
    flip(sealed, sealed.stat().st_size - 30)
    part, _, ids = read(sealed)
    assert expected == (
        part.summary.rows,
        part.summary.start_s,
        part.summary.end_s,
        part.siblings,
        part.level,
        part.has_rollups,
        dict(part.checks),
        part.marks(),
        [part.rollups(check_id) for check_id in part.checks],
    )
    assert ids


def test_a_damaged_end_of_one_file_does_not_cost_its_sibling(tmp_path: Path, clock: FakeClock) -> None:
    store = opened(tmp_path, clock, {"check-1": Retention(raw_s=2e9)})
    store.append(make_results(60))
    store.compact()
    store.close()
    both = sorted((tmp_path / "results").glob("*.seg"))
    assert len(both) == 2
    for path in both:
        whole = flip(path, path.stat().st_size - 3)
        store = opened(tmp_path, clock)
        assert sorted(row.id for chunk in store.export() for row in chunk) == list(range(1, 61))
        store.close()
        assert sorted((tmp_path / "results").glob("*.seg")) == both
        path.write_bytes(whole)


def test_damage_is_told_and_the_rest_is_served(tmp_path: Path, sealed: Path, clock: FakeClock) -> None:
    frame = next(frame for frame in frames_of(sealed) if frame.kind == Kind.RAW)
    flip(sealed, frame.end - 1)
    store = opened(tmp_path, clock)
    found = [row.id for chunk in store.export() for row in chunk]
    assert 0 < len(found) < 40
    assert store.health().damaged_blocks == 1
    assert [row.id for chunk in store.export() for row in chunk] == found
    assert store.health().damaged_blocks == 1, "the same place is counted once"
    store.close()


def test_a_merge_keeps_what_is_damaged_for_a_person(tmp_path: Path, sealed: Path, clock: FakeClock) -> None:
    frame = next(frame for frame in frames_of(sealed) if frame.kind == Kind.RAW)
    flip(sealed, frame.end - 1)
    damaged = sealed.read_bytes()
    store = opened(tmp_path, clock)
    store.compact()
    assert store.health().damaged_blocks >= 1
    assert damaged in [path.read_bytes() for path in (tmp_path / "quarantine").iterdir()]
    store.close()


def test_reading_goes_on_though_the_file_is_gone(sealed: Path) -> None:
    part, _, _ = read(sealed)
    groups = part.groups()
    seen = [row_id for piece in next(groups) for row_id in piece.ids]
    sealed.unlink()
    seen += [row_id for pieces in groups for piece in pieces for row_id in piece.ids]
    assert sorted(seen) == list(range(1, 41))
