"""Exports from a shell: whole files or none, quiet when nobody reads on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from checks.base import Status
from dashboard.cli import main
from dashboard.clock import SystemClock
from dashboard.model import Result
from dashboard.storage.store import TinyStore

ROOT = Path(__file__).parents[1]
CONFIG = "checks: [{id: a, type: prober, tags: [x]}, {id: b, type: prober}]\n"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def call(*arguments: str):
    return CliRunner().invoke(main, ["export", *arguments])


def result(check_id: str, number: int) -> Result:
    return Result(
        check_id=check_id,
        at=NOON + timedelta(seconds=number),
        status=Status(number % 4),
        summary=f"run {number}",
        duration_s=0.25,
        covers_s=20.0,
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WATCHROOM_CONFIG", raising=False)
    monkeypatch.delenv("WATCHROOM_DATA", raising=False)
    Path("watchroom.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def store(folder):
    """Still open, and so locked, while the export reads."""
    store = TinyStore(folder / "data", SystemClock())
    store.open()
    store.append([result(check_id, number) for number in range(8) for check_id in ("a", "b")])
    yield store
    store.close()


def test_everything_comes_as_csv_by_default(store):
    found = call()
    assert found.exit_code == 0
    lines = found.stdout_bytes.decode().split("\r\n")
    assert lines[0] == "check_id,at,status,summary,duration_s,trigger,by,worker,metrics"
    assert len(lines) == 1 + 16 + 1


def test_the_parameters_are_those_of_the_page(store):
    found = call(
        *("--format", "ndjson", "--tag", "x", "--status", "critical", "--status", "unknown", "--tz", "Europe/Berlin"),
        *("--from", "2026-11-22T13:00:03", "--to", "2026-11-22T13:00:07"),
    )
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert [(row["check_id"], row["at"][:25], row["status"]) for row in rows] == [
        ("a", "2026-11-22T13:00:03.00000", "unknown"),
        ("a", "2026-11-22T13:00:06.00000", "critical"),
    ]


def test_rollups_come_step_by_step(store):
    found = call(
        *("--dataset", "rollups", "--step", "5m", "--format", "ndjson", "--columns", "start,check_id,runs,ok_s"),
        *("--from", "2026-11-22T11:58", "--to", "2026-11-22T12:10"),
    )
    assert [json.loads(line) for line in found.stdout.splitlines()] == [
        {"check_id": check_id, "start": f"2026-11-22T{start}:00+00:00", "ok_s": ok_s, "runs": runs}
        for start, ok_s, runs in (("11:58", 0.0, 0), ("12:00", 2.0, 8), ("12:05", 0.0, 0))
        for check_id in ("a", "b")
    ]


def test_an_age_is_a_time_too(store):
    assert call("--from", "-24h", "--format", "json", "--check", "a").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "xml"], "--format: must be csv, ndjson or json"),
        (["--status", "red"], "--status: must be ok, warning, critical or unknown"),
        (["--check", "c"], "--check: there is no check 'c'"),
        (["--from", "yesterday"], "--from: 'yesterday' is not a time"),
        (["--step", "1h"], "--step: belongs to the dataset rollups"),
        (["--dataset", "rollups", "--step", "2h"], "--step: must be 5m, 1h, 1d, 1w or 1mo"),
        (["--dataset", "rollups", "--status", "ok"], "--status: belongs to the dataset results"),
    ],
)
def test_a_parameter_that_makes_no_sense_exits_with_2(store, folder, arguments, words):
    found = call(*arguments, "--output", "out.csv")
    assert found.exit_code == 2
    assert words in found.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["data", "watchroom.yaml"]


def test_a_file_appears_whole_and_keeps_the_usual_rights(store, folder):
    (folder / "out.csv").write_text("old")
    assert call("--output", "out.csv").exit_code == 0
    assert (folder / "out.csv").read_text().count("\n") == 17
    assert sorted(path.name for path in folder.iterdir()) == ["data", "out.csv", "watchroom.yaml"]


def test_a_link_stays_a_link_and_a_device_a_device(store, folder):
    (folder / "link.csv").symlink_to(folder / "real.csv")
    assert call("--output", "link.csv").exit_code == 0
    assert (folder / "link.csv").is_symlink()
    assert (folder / "real.csv").stat().st_size > 0
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        assert call("--output", str(pipe)).exit_code == 0
        assert reader.stdout.read().startswith(b"check_id,")
    assert pipe.is_fifo()


def test_a_place_that_cannot_be_written_is_named(store, folder):
    found = call("--output", "none/out.csv")
    assert found.exit_code == 1
    assert found.stderr == "watchroom: none/out.csv: No such file or directory\n"


def test_a_device_that_is_full_is_named(store, folder):
    found = call("--output", "/dev/full")
    assert (found.exit_code, found.stderr) == (1, "watchroom: /dev/full: No space left on device\n")


def test_a_reader_that_has_enough_is_no_fault(store, folder):
    store.append([result("a", number) for number in range(20_000)])
    found = subprocess.run(
        f"{sys.executable} {ROOT / 'run.py'} export | head -n 1",
        shell=True,
        cwd=folder,
        capture_output=True,
        check=False,
    )
    assert found.stdout.startswith(b"check_id,")
    assert found.stderr == b""
