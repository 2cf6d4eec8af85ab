"""FORMAT: new, older, newer, lost and spoiled directories."""

from __future__ import annotations

import errno
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from storage.archives import digests
from storage.samples import FailingFiles

from dashboard.errors import StoreUnavailable
from dashboard.storage.archive import read_archive
from dashboard.storage.files import Files
from dashboard.storage.format import known, prepare, refuse_newer
from dashboard.storage.restore import restore

NOW = datetime(2026, 11, 24, 13, 25, 8, tzinfo=UTC)
JOURNALS = {"results/0000000001.ndj": b"row\n", "documents/0000000001.ndj": b"", "quarantine/results-x.ndj-7.bad": b"?"}
SEALED = JOURNALS | {"results/000000000001-000000000007.seg": b"sealed"}


def make(directory: Path, content: dict[str, bytes], text: str | None = None) -> Path:
    for folder in ("results", "documents", "quarantine"):
        (directory / folder).mkdir(exist_ok=True)
    (directory / "LOCK").touch()
    for name, data in content.items():
        (directory / name).write_bytes(data)
    if text is not None:
        (directory / "FORMAT").write_text(text)
    return directory


def told(directory: Path) -> object:
    return json.loads((directory / "FORMAT").read_text())


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_an_empty_directory_begins_with_the_newest(tmp_path: Path) -> None:
    prepare(make(tmp_path, {}), Files())
    assert told(tmp_path)["format"] == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["FORMAT", "LOCK"]


def test_it_is_written_once(tmp_path: Path) -> None:
    make(tmp_path, SEALED, '{"format": 2}')
    files = FailingFiles()
    prepare(tmp_path, files)
    assert files.calls == []


@pytest.mark.parametrize("text", [None, '{"format": 1}'])
def test_an_older_directory_is_backed_up_before_it_changes(tmp_path: Path, text: str | None) -> None:
    before = digests(make(tmp_path, JOURNALS, text))
    assert known(tmp_path) == 1
    prepare(tmp_path, Files())
    assert told(tmp_path)["format"] == 2
    archive = tmp_path / "before-format-2.tar.gz"
    with read_archive(archive, newest_format=1) as reader:
        assert reader.manifest.format == 1
    restore(archive, tmp_path / "again", now_at=NOW)
    assert digests(tmp_path / "again") == before
    assert known(tmp_path / "again") == 1


def test_a_backup_that_a_kill_interrupted_is_made_anew(tmp_path: Path) -> None:
    make(tmp_path, JOURNALS)
    (tmp_path / "before-format-2.tar.gz").write_bytes(b"whole but older")
    (tmp_path / "before-format-2.tar.gz.123.part").write_bytes(b"half")
    prepare(tmp_path, Files())
    assert (tmp_path / "before-format-2.tar.gz").stat().st_size > 100
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(("call", "number"), [("write", errno.ENOSPC), ("sync", errno.EIO)])
def test_without_that_backup_nothing_is_changed(tmp_path: Path, call: str, number: int) -> None:
    before = tree(make(tmp_path, JOURNALS))
    files = FailingFiles()
    files.fail(call, number)
    words = (
        f"before-format-2.tar.gz: cannot write the backup .* {os.strerror(number)}; make room .* nothing was changed"
    )
    with pytest.raises(StoreUnavailable, match=words):
        prepare(tmp_path, files)
    assert tree(tmp_path) == before


def test_a_newer_directory_is_refused_and_untouched(tmp_path: Path) -> None:
    before = tree(make(tmp_path, SEALED, '{"format": 3, "novel": "thing"}'))
    for refuse in (lambda: prepare(tmp_path, Files()), lambda: refuse_newer(tmp_path)):
        with pytest.raises(
            StoreUnavailable, match=r"has format 3, .* knows formats up to 2; start the version that wrote"
        ):
            refuse()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("text", ["", "\0" * 14, "{", "[2]", '{"format": "2"}', '{"format": true}', '{"format": 0}'])
def test_a_format_that_makes_no_sense_counts_as_lost(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, SEALED, text)
    assert known(tmp_path) == 2
    with caplog.at_level(logging.WARNING):
        prepare(tmp_path, Files())
    assert "FORMAT: makes no sense and counts as lost" in caplog.text
    assert told(tmp_path)["format"] == 2
    assert not (tmp_path / "before-format-2.tar.gz").exists()


def test_a_lost_format_beside_journals_alone_costs_one_more_backup(tmp_path: Path) -> None:
    make(tmp_path, JOURNALS, "?")
    prepare(tmp_path, Files())
    assert (tmp_path / "before-format-2.tar.gz").exists()
    assert told(tmp_path)["format"] == 2


def test_a_full_disk_puts_it_off(tmp_path: Path) -> None:
    make(tmp_path, {})
    files = FailingFiles()
    files.fail("write", errno.ENOSPC)
    prepare(tmp_path, files)
    assert not (tmp_path / "FORMAT").exists()
    prepare(tmp_path, files)
    assert told(tmp_path)["format"] == 2


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    files = FailingFiles()
    files.fail("write", errno.EROFS)
    with pytest.raises(OSError, match="Read-only"):
        prepare(make(tmp_path, {}), files)


def test_a_directory_that_is_not_there_yet_is_no_newer_one(tmp_path: Path) -> None:
    refuse_newer(tmp_path / "none")
