"""Rollup files hold each result once, whatever is folded twice or damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes import FakeClock
from hypothesis import given
from hypothesis import strategies as st
from storage.samples import START_AT, UnsyncedFiles, make_result, make_results

from dashboard.rollup import DAY_S, MetricRollup, Rollup
from dashboard.storage.appender import Limits
from dashboard.storage.blockfile import Damaged, FrameReader, Kind
from dashboard.storage.files import Files
from dashboard.storage.quarantine import Quarantine
from dashboard.storage.rollup_files import (
    LENGTHS,
    FoldOrder,
    RollupFile,
    RollupFiles,
    RollupName,
    RollupWriter,
    fold,
    rewrite,
)
from dashboard.storage.store import TinyStore

LIMITS = Limits(reserve_bytes=0, journal_rows=20, group_rows=20, merged_parts=100)


def s(*date: int) -> float:
    return datetime(*date, tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "start", "end", "bucket_s"),
    [
        ("5m-20260301.rol", (2026, 3, 1), (2026, 3, 2), 300),
        ("5m-20261231.rol", (2026, 12, 31), (2027, 1, 1), 300),
        ("1h-202602.rol", (2026, 2, 1), (2026, 3, 1), 3600),
        ("1h-202612.86400.rol", (2026, 12, 1), (2027, 1, 1), 3600),
        ("1d-2026.999999999.rol", (2026, 1, 1), (2027, 1, 1), 86400),
        ("1d-1970.rol", (1970, 1, 1), (1971, 1, 1), 86400),
    ],
)
def test_a_name_says_which_time_a_file_is_for(
    text: str, start: tuple[int, ...], end: tuple[int, ...], bucket_s: int
) -> None:
    name = RollupName.parse(text)
    assert name is not None
    assert (str(name), name.start_s, name.end_s, name.bucket_s) == (text, s(*start), s(*end), bucket_s)
    assert RollupName.at(name.label, name.start_s, name.kept_s) == name
    assert RollupName.at(name.label, name.end_s - 1, name.kept_s) == name
    assert RollupName.at(name.label, name.end_s, name.kept_s) != name


@pytest.mark.parametrize(
    "text",
    ["5m-20260230.rol", "5m-2026.rol", "1h-20260301.rol", "1d-99999.rol", "2h-2026.rol", "5m-20260301.rol.tmp", ""],
)
def test_any_other_name_is_none(text: str) -> None:
    assert RollupName.parse(text) is None


@given(st.sampled_from(sorted(LENGTHS)), st.floats(0, 2.5e11), st.integers(0, 10**9))
def test_every_instant_has_its_file(label: str, at_s: float, kept_s: int) -> None:
    name = RollupName.at(label, at_s, kept_s)
    assert name.start_s <= at_s < name.end_s
    assert RollupName.parse(str(name)) == name


def bucket(at_s: float, count: int = 1, length_s: int = 300) -> Rollup:
    metric = MetricRollup.of([0.25] * count)
    return Rollup(start_s=at_s, end_s=at_s + length_s, runs=(count, 0, 0, 0), metrics={"x": metric})


DAY = s(2026, 3, 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "5m-20260301.rol"
    writer = RollupWriter(path, 77, Files())
    for check_id in ("api", "db", 'we"ird\n\u00fc'):
        writer.add(check_id, [bucket(DAY + number * 300, number + 1) for number in range(30)])
    writer.seal()
    writer.publish()
    return path


def test_a_file_gives_back_what_was_written(path: Path) -> None:
    file = RollupFile(path, Quarantine(None))
    assert (file.through_id, file.buckets, set(file.check_ids)) == (77, 90, {"api", "db", 'we"ird\n\u00fc'})
    found = file.rollups("db")
    assert [(each.start_s, each.runs[0]) for each in found] == [(DAY + n * 300, n + 1) for n in range(30)]
    assert [each.metrics for each in file.rollups("db", ())] == [{}] * 30
    assert file.rollups("nobody") == []


def test_every_flipped_bit_costs_one_check_at_most(path: Path) -> None:
    whole = path.read_bytes()
    blocks = [each for each in FrameReader(path).scan() if not isinstance(each, Damaged) and each.kind == Kind.ROLLUP]
    for offset in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[offset] ^= 16
        path.write_bytes(damaged)
        quarantine = Quarantine(None)
        file = RollupFile(path, quarantine)
        left = [check_id for check_id in ("api", "db", 'we"ird\n\u00fc') if len(file.rollups(check_id)) == 30]
        is_in_block = any(each.offset <= offset < each.end for each in blocks)
        assert len(left) == (2 if is_in_block else 3), offset
        assert file.through_id == 77
    path.write_bytes(whole[:-1])
    assert RollupFile(path, Quarantine(None)).through_id == 77


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_AT)


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[TinyStore]:
    opened = TinyStore(tmp_path, clock, limits=LIMITS, files=UnsyncedFiles())
    opened.open()
    for first in range(0, 100, 20):
        opened.append(make_results(20, first=first))
    opened._appender.rotate()
    opened._keeper.seal_all()
    yield opened
    opened.close()


def fold_into(directory: Path, segments: Sequence[object], forgotten: dict[str, int] | None = None) -> RollupFiles:
    quarantine = Quarantine(None)
    existing = RollupFiles(directory, quarantine)
    existing.open()
    order = FoldOrder(segments=segments, kept_s={}, forgotten=forgotten or {})  # type: ignore[arg-type]
    fold(order, directory, existing, UnsyncedFiles())
    existing.open()
    return existing


def runs_in(files: RollupFiles, check_id: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, file in files.files.items():
        found[name.label] = found.get(name.label, 0) + sum(sum(each.runs) for each in file.rollups(check_id))
    return found


ALL = {"5m": 33, "1h": 33, "1d": 33}


def test_folding_again_adds_nothing(store: TinyStore, tmp_path: Path) -> None:
    target = tmp_path / "rollups"
    segments = store._timeline.segments
    assert len(segments) == 5
    for _ in range(2):
        assert runs_in(fold_into(target, segments), "check-1") == ALL
    assert not list(target.glob("*.tmp"))


def test_folding_in_any_steps_is_folding_at_once(store: TinyStore, tmp_path: Path) -> None:
    target = tmp_path / "rollups"
    segments = store._timeline.segments
    for end in (1, 1, 3, 2, 5):
        files = fold_into(target, segments[:end])
    assert runs_in(files, "check-1") == ALL


@pytest.mark.parametrize("lacking", ["5m", "1h", "1d"])
def test_a_fold_that_was_interrupted_between_its_files_is_made_whole(
    store: TinyStore, tmp_path: Path, lacking: str
) -> None:
    target = tmp_path / "rollups"
    segments = store._timeline.segments
    fold_into(target, segments[:2])
    before = {path: path.read_bytes() for path in target.glob(f"{lacking}-*.rol")}
    fold_into(target, segments)
    for path, data in before.items():
        path.write_bytes(data)  # it had not been renamed yet
    assert runs_in(fold_into(target, segments), "check-1") == ALL


def test_what_is_forgotten_is_not_folded_and_goes_from_the_files(store: TinyStore, tmp_path: Path) -> None:
    target = tmp_path / "rollups"
    segments = store._timeline.segments
    files = fold_into(target, segments[:3])
    assert runs_in(files, "check-1")["5m"] == 20
    files = fold_into(target, segments, {"check-1": segments[3].summary.last_id})
    assert runs_in(files, "check-1") == {"5m": 6, "1h": 6, "1d": 6}
    assert runs_in(files, "check-0") == {"5m": 34, "1h": 34, "1d": 34}


def test_rewriting_leaves_out_what_was_forgotten_and_nothing_else(store: TinyStore, tmp_path: Path) -> None:
    files = fold_into(tmp_path / "rollups", store._timeline.segments)
    for file in list(files.files.values()):
        assert not rewrite(file, {"check-1": file.through_id - 1}, UnsyncedFiles())
        assert rewrite(file, {"check-1": file.through_id}, UnsyncedFiles())
        files.take(file.path)
    assert files.check_ids() == {"check-0", "check-2"}
    assert runs_in(files, "check-0") == {"5m": 34, "1h": 34, "1d": 34}


def test_folding_over_a_damaged_file_keeps_it_for_a_person(store: TinyStore, tmp_path: Path) -> None:
    target = tmp_path / "rollups"
    segments = store._timeline.segments
    fold_into(target, segments[:2])
    [hurt] = target.glob("5m-*.rol")
    frame = next(each for each in FrameReader(hurt).scan() if each.kind == Kind.ROLLUP)  # type: ignore[union-attr]
    damaged = bytearray(hurt.read_bytes())
    damaged[frame.end - 1] ^= 1  # type: ignore[union-attr]
    hurt.write_bytes(damaged)
    existing = RollupFiles(target, Quarantine(tmp_path / "quarantine"))
    existing.open()
    fold(FoldOrder(segments=segments, kept_s={}, forgotten={}), target, existing, UnsyncedFiles())
    assert [path.read_bytes() for path in (tmp_path / "quarantine").iterdir()] == [bytes(damaged)]


def test_files_are_found_by_time(tmp_path: Path) -> None:
    names = [
        "5m-20260227.rol",
        "5m-20260228.rol",
        "5m-20260301.rol",
        "5m-20260301.5.rol",
        "1h-202602.rol",
        "1d-2026.rol",
    ]
    for text in names:
        writer = RollupWriter(tmp_path / text, 1, UnsyncedFiles())
        name = RollupName.parse(text)
        assert name is not None
        writer.add("api", [bucket(name.start_s, length_s=name.bucket_s)])
        writer.seal()
        writer.publish()
    (tmp_path / "notes.txt").write_text("not ours")
    files = RollupFiles(tmp_path, Quarantine(None))
    files.open()

    def found(label: str, start_s: float, end_s: float) -> list[str]:
        return sorted(str(file.name) for file in files.of(label, start_s, end_s))

    assert found("5m", DAY - DAY_S, DAY) == ["5m-20260228.rol"]
    assert found("5m", DAY - 1, DAY + 1) == ["5m-20260228.rol", "5m-20260301.5.rol", "5m-20260301.rol"]
    assert found("5m", 0.0, 1e11) == sorted(text for text in names if text.startswith("5m"))
    assert found("1h", DAY, DAY + 300) == []
    assert found("1d", DAY, DAY + 300) == ["1d-2026.rol"]
    assert found("1d", DAY, DAY) == []
    oldest = files.oldest_of("5m", "api")
    assert oldest is not None
    assert str(oldest.name) == "5m-20260227.rol"
    assert files.oldest_of("5m", "nobody") is None


def test_results_at_midnight_lie_in_the_day_that_begins(store: TinyStore, clock: FakeClock) -> None:
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    store.append([make_result(0, check_id="a", at=midnight)])
    store.compact()
    day_s = midnight.timestamp()
    before, after = store.rollups("a", [day_s - DAY_S, day_s, day_s + DAY_S])
    assert (sum(before.runs), sum(after.runs)) == (0, 1)
