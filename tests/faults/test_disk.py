"""The model of the disk is one of a real disk, and a power cut takes what was not synced and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from faults.disk import RECORDED, Image, RecordingFiles, crash_points, disk_of, power_cuts, read_image
from faults.stores import Ours, Stock
from faults.workload import recorded

from dashboard.storage.files import Files


def images(files: RecordingFiles, count: int = 400) -> list[Image]:
    """What power cuts at the end may leave."""
    disk, chance = disk_of(files.log), Random(1)
    return [disk.after_power_cut(chance) for _ in range(count)]


def written(files: RecordingFiles, path: Path, data: bytes, *, flags: int = os.O_CREAT) -> int:
    descriptor = files.open(path, os.O_RDWR | flags)
    files.write(descriptor, data)
    return descriptor


def test_every_call_that_changes_a_disk_is_recorded() -> None:
    calls = {name for name in vars(Files) if not name.startswith("_")}
    assert calls == RECORDED, "Files can do something new: RecordingFiles and FaultyFiles must know it too"


def test_the_model_agrees_with_the_disk(tmp_path: Path) -> None:
    for opened in (Ours, Stock):
        directory = tmp_path / opened.__name__
        done = recorded(opened, directory, seed=3, days=3)
        assert disk_of(done.log).visible() == read_image(directory)


def test_the_workload_does_all_that_a_store_ever_does(tmp_path: Path) -> None:
    log = recorded(Ours, tmp_path, seed=1, days=3).log
    renamed = {Path(each.target).suffix for each in log.operations if each.call == "rename"}
    unlinked = {Path(each.path).suffix for each in log.operations if each.call == "unlink"}
    assert renamed == {".seg", ".rol", ".json", ""}, "it seals and rolls up, takes snapshots, and notes its format"
    assert unlinked == {".seg", ".rol", ".ndj", ".json"}, "what was sealed, merged, replaced and too old goes"
    calls = {each.call for each in log.operations}
    assert calls == {"create", "write", "sync", "truncate", "allocate", "rename", "unlink", "sync_directory"}


def test_what_was_synced_is_there_after_every_power_cut(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path)
    descriptor = written(files, tmp_path / "a", b"first")
    files.sync(descriptor)
    files.sync_directory(tmp_path)
    files.write(descriptor, b" second")
    left = {image["a"] for image in images(files)}
    assert all(content.startswith(b"first") for content in left)
    assert {b"first", b"first second", b"first sec", b"first\0\0\0\0\0\0\0"} <= left
    files.close(descriptor)


def test_a_later_write_may_come_in_without_an_earlier_one(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path)
    descriptor = written(files, tmp_path / "a", b"11")
    files.sync_directory(tmp_path)
    files.write(descriptor, b"22")
    assert {b"", b"11", b"1122", b"\0\0" + b"22"} <= {image["a"] for image in images(files)}
    files.close(descriptor)


def test_a_name_that_was_not_synced_is_old_or_new(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path)
    files.put(tmp_path / "a", b"old")
    descriptor = written(files, tmp_path / "b", b"new")
    files.sync(descriptor)
    files.close(descriptor)
    files.rename(tmp_path / "b", tmp_path / "a")
    found = {(image["a"], "b" in image) for image in images(files)}
    assert found == {(b"old", False), (b"old", True), (b"new", False)}
    files.sync_directory(tmp_path)
    assert {image["a"] for image in images(files)} == {b"new"}


def test_a_kill_leaves_what_was_done_and_half_of_a_write(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path)
    files.close(written(files, tmp_path / "a", b"12345678"))
    found = [image.get("a") for _, image in crash_points(files.log)]
    assert found == [None, b"", b"1234", b"1234567", b"12345678"]


def test_the_same_seed_cuts_the_power_in_the_same_way(tmp_path: Path) -> None:
    log = recorded(Ours, tmp_path, seed=1, days=1).log
    assert list(power_cuts(log, Random(4), 20)) == list(power_cuts(log, Random(4), 20))
