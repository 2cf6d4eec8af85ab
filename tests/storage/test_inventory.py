"""The inventory says what lies on the disk, and what it will come to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from fakes import FakeClock
from storage.samples import START_AT, UnsyncedFiles, make_result, make_results

from dashboard.model import Backup, Inventory, Retention, StoredClass
from dashboard.storage.appender import Limits
from dashboard.storage.inventory import read_backup_note
from dashboard.storage.store import TinyStore

LIMITS = Limits(reserve_bytes=8192, journal_rows=100, group_rows=50)
DAY_S = 86400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_AT)


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[TinyStore]:
    opened = TinyStore(tmp_path, clock, limits=LIMITS, files=UnsyncedFiles())
    opened.open()
    yield opened
    opened.close()


def classes(inventory: Inventory) -> dict[str, StoredClass]:
    return {each.name: each for each in inventory.classes}


def days_of_life(store: TinyStore, clock: FakeClock, days: int, per_day: int = 200) -> None:
    for _ in range(days):
        for number in range(0, per_day, 20):
            at = clock.now()
            step = DAY_S / per_day
            rows = [make_result(n, at=at + timedelta(seconds=step * n)) for n in range(20)]
            store.append([*rows])
            clock.advance(20 * step)
            store.maintain(clock.now())
            assert number < per_day


def on_disk(directory: Path) -> int:
    return sum(
        path.stat().st_size for path in directory.rglob("*") if path.is_file() and path.name not in ("LOCK", "FORMAT")
    )


def test_an_empty_store_has_an_empty_inventory(store: TinyStore, tmp_path: Path) -> None:
    inventory = store.inventory()
    assert {each.name: (each.files, each.rows) for each in inventory.classes} == {
        "journals": (0, 0),
        "raw": (0, 0),
        "five_minutes": (0, 0),
        "hours": (0, 0),
        "days": (0, 0),
        "documents": (len(list((tmp_path / "documents").iterdir())), 0),
        "quarantine": (0, 0),
        "reserve": (1, 0),
    }
    assert (inventory.checks, inventory.rows_per_day, inventory.forecast_bytes, inventory.backup) == (
        {},
        0.0,
        None,
        None,
    )
    assert inventory.size_bytes == on_disk(tmp_path)


def test_sizes_and_rows_are_those_of_the_files(store: TinyStore, clock: FakeClock, tmp_path: Path) -> None:
    days_of_life(store, clock, 2)
    store.append(make_results(7, first=20_000))
    (tmp_path / "quarantine" / "results-1.ndj-5.bad").write_bytes(b"damage")
    inventory = store.inventory()
    found = classes(inventory)
    assert inventory.size_bytes == on_disk(tmp_path)
    assert found["raw"].files == len(list((tmp_path / "results").glob("*.seg")))
    assert found["journals"].files == len(list((tmp_path / "results").glob("*.ndj")))
    assert found["raw"].rows + found["journals"].rows == 407 == sum(inventory.checks.values())
    assert (found["quarantine"].files, found["quarantine"].size_bytes) == (1, 6)
    assert found["days"].rows == 2 * 3 or found["days"].rows == 3 * 3
    assert found["five_minutes"].keep_s == 90 * DAY_S
    assert found["raw"].oldest_at == START_AT
    assert found["reserve"].size_bytes == 8192


def test_the_same_is_told_after_a_restart_and_by_a_reading(store: TinyStore, clock: FakeClock, tmp_path: Path) -> None:
    days_of_life(store, clock, 2)
    before = store.inventory()
    reading = TinyStore.reading(tmp_path, clock).inventory()
    assert (reading.classes, reading.checks) == (before.classes, before.checks)
    store.close()
    again = TinyStore(tmp_path, clock, limits=LIMITS)
    again.open()
    inventory = again.inventory()
    assert (inventory.classes, inventory.checks, inventory.rows_per_day) == (
        before.classes,
        before.checks,
        before.rows_per_day,
    )
    assert inventory.sealed_at is not None, "a restart does not forget that there was a seal"
    again.close()


def test_steps_of_the_keeper_are_told(store: TinyStore, clock: FakeClock) -> None:
    assert store.inventory().sealed_at is None
    store.append(make_results(5))
    store.compact()
    inventory = store.inventory()
    assert inventory.sealed_at == inventory.merged_at == inventory.retained_at == clock.now()


def test_a_forecast_needs_a_day_and_comes_near_the_truth(store: TinyStore, clock: FakeClock) -> None:
    keep = Retention(raw_s=5 * DAY_S, five_minutes_s=8 * DAY_S, hours_s=30 * DAY_S, days_s=30 * DAY_S)
    store.keep(keep, {})
    days_of_life(store, clock, 3)
    forecast = store.inventory().forecast_bytes
    assert forecast is not None
    assert store.inventory().rows_per_day == pytest.approx(200, rel=0.1)
    days_of_life(store, clock, 9)
    found = classes(store.inventory())
    ages = sum(found[name].size_bytes for name in ("raw", "journals", "five_minutes"))
    others = sum(found[name].size_bytes for name in ("documents", "quarantine", "reserve"))
    assert 0.5 < forecast / (ages + others) < 2


def test_no_forecast_within_the_first_day(store: TinyStore) -> None:
    store.append(make_results(50))
    assert (store.inventory().forecast_bytes, store.inventory().rows_per_day) == (None, 0.0)


@pytest.mark.parametrize(
    "note", [b"", b"{}", b"[]", b"{", b'{"at":"yesterday","path":"x","size_bytes":1,"rows":1}', b'{"at":5}', b"\xff"]
)
def test_a_note_of_a_backup_that_cannot_be_read_is_none(tmp_path: Path, note: bytes) -> None:
    (tmp_path / "BACKUP").write_bytes(note)
    assert read_backup_note(tmp_path) is None


def test_the_note_of_the_newest_backup_is_told(store: TinyStore, tmp_path: Path) -> None:
    note = {"at": START_AT.isoformat(), "path": "/backups/one.tar.gz", "size_bytes": 5, "rows": 7}
    (tmp_path / "BACKUP").write_bytes(orjson.dumps(note))
    assert store.inventory().backup == Backup(at=START_AT, path="/backups/one.tar.gz", size_bytes=5, rows=7)
