"""backup, restore, doctor, compact and forget from a shell: what is printed, and with which code it exits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_server import serving, write_address
from product import eventually, product
from storage.archives import digests

from checks.base import Status
from dashboard import asking
from dashboard.cli import main
from dashboard.clock import SystemClock
from dashboard.model import Result
from dashboard.storage.inventory import read_backup_note
from dashboard.storage.store import TinyStore

CONFIG = "checks: [{id: kept, type: prober}]\n"


def call(*arguments: str, answer: str = ""):
    return CliRunner().invoke(main, list(arguments), input=answer)


def results(check_id: str, count: int) -> list[Result]:
    start_at = SystemClock().now() - timedelta(seconds=10 * count)
    return [
        Result(
            check_id=check_id,
            at=start_at + timedelta(seconds=10 * number),
            status=Status.OK,
            summary="fine",
            duration_s=0.1,
            covers_s=20.0,
        )
        for number in range(count)
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("CONFIG", "DATA", "HOST", "PORT"):
        monkeypatch.delenv(f"WATCHROOM_{name}", raising=False)
    Path("watchroom.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def store(folder) -> Iterator[TinyStore]:
    """Open, and so locked, with the history of a check that is configured and of one that is not."""
    store = TinyStore(folder / "data", SystemClock())
    store.open()
    store.append([*results("kept", 30), *results("gone", 20)])
    yield store
    store.close()


@pytest.fixture
def data(store, folder) -> Path:
    """The same with nobody there."""
    store.close()
    return folder / "data"


def held_by_another_process(data: Path) -> subprocess.Popen[str]:
    code = (
        "import sys; from pathlib import Path; from dashboard.storage.lock import Lock\n"
        "Lock(Path(sys.argv[1])).take(); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(data / "LOCK")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.fixture
def holder(data) -> Iterator[subprocess.Popen[str]]:
    holder = held_by_another_process(data)
    yield holder
    holder.communicate("")


# backup and restore


def test_a_backup_is_made_beside_a_writer_and_noted(store, folder):
    found = call("backup", "b.tar.gz")
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith(f"{folder}/b.tar.gz: ")
    assert found.stdout.endswith("with about 50 results, read back and sound\n")
    note = read_backup_note(folder / "data")
    assert (note.path, note.size_bytes, note.rows) == (f"{folder}/b.tar.gz", Path("b.tar.gz").stat().st_size, 50)


def test_where_no_note_can_be_left_only_the_note_is_missing(data):
    (data / "BACKUP.tmp").mkdir()
    found = call("backup", "b.tar.gz")
    assert found.exit_code == 0
    assert found.stderr == "data: cannot be written, so the System page will not show this backup\n"


def test_a_backup_that_is_there_is_kept_unless_forced(data):
    Path("b.tar.gz").write_text("older")
    found = call("backup", "b.tar.gz")
    assert found.exit_code == 1
    assert "b.tar.gz: is there already; choose another name, or replace it with --force" in found.stderr
    assert "not read back" in call("backup", "b.tar.gz", "--force", "--no-verify").stdout


def test_a_backup_cannot_go_to_standard_output(data):
    found = call("backup", "-")
    assert found.exit_code == 2
    assert "name one" in found.stderr


@pytest.mark.parametrize("command", [["backup", "b.tar.gz"], ["doctor"]])
@pytest.mark.parametrize(
    ("made", "words"),
    [("none", "none: "), ("empty", "empty: holds no data of Watchroom"), ("newer", "newer: has format 3, and this")],
)
def test_a_directory_that_holds_no_data_we_know_exits_with_3(folder, command, made, words):
    Path("empty").mkdir()
    Path("newer").mkdir()
    Path("newer/FORMAT").write_text('{"format": 3}')
    found = call("--data", made, *command)
    assert found.exit_code == 3
    assert words in found.stderr
    assert not Path("b.tar.gz").exists()


def test_a_backup_that_cannot_be_written_names_its_file(data):
    found = call("backup", "none/b.tar.gz")
    assert (found.exit_code, found.stderr.endswith("none/b.tar.gz: No such file or directory\n")) == (1, True)


def test_a_restored_directory_is_equal_and_works(data, folder):
    before = digests(data)
    assert call("backup", "b.tar.gz").exit_code == 0
    found = call("restore", "b.tar.gz", "--data", "again")
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith(f"{folder}/again: {len(before)} files, ")
    assert digests(folder / "again") == before
    assert "all sound" in call("doctor", "--data", "again").stdout


def test_a_directory_with_data_is_replaced_only_when_that_is_wished(data, folder):
    call("backup", "b.tar.gz")
    refused = call("restore", "b.tar.gz")
    assert refused.exit_code == 1
    assert "data: is not empty" in refused.stderr
    done = call("restore", "b.tar.gz", "--replace")
    assert done.exit_code == 0, done.output
    (aside,) = folder.glob("data.before-restore-*")
    assert f"{aside}: what was there before; remove it once you are sure" in done.stdout


def test_a_directory_that_somebody_holds_is_not_replaced(data, holder):
    call("backup", "b.tar.gz")
    found = call("restore", "b.tar.gz", "--replace")
    assert found.exit_code == 4
    assert f"process {holder.pid} is using this data directory" in found.stderr


def test_an_archive_that_cannot_be_trusted_exits_with_1(data):
    Path("b.tar.gz").write_bytes(b"hello")
    found = call("restore", "b.tar.gz", "--data", "again")
    assert (found.exit_code, found.stdout) == (1, "")
    assert "b.tar.gz: cannot be trusted: " in found.stderr
    assert (
        call("restore", "none.tar.gz", "--data", "again").stderr
        == "watchroom: none.tar.gz: No such file or directory\n"
    )


# doctor


def test_the_doctor_finds_all_sound_beside_a_writer(store):
    found = call("doctor")
    assert found.exit_code == 0, found.output
    lines = found.stdout.splitlines()
    assert lines[0].startswith("data: format 2 on ")
    assert any(line.split()[:4] == ["results,", "not", "sealed", "yet"] for line in lines)
    assert "last backup: none is known" in lines
    assert lines[-1].endswith("read: all sound")


def test_the_doctor_names_the_damage_and_exits_with_1(data):
    (journal,) = (data / "results").glob("*.ndj")
    spoiled = bytearray(journal.read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    journal.write_bytes(bytes(spoiled))
    found = call("doctor")
    assert (found.exit_code, found.stderr) == (1, "")
    assert f"DAMAGED results/{journal.name}: 1 damaged line, the first at byte " in found.stdout
    assert found.stdout.splitlines()[-1].endswith("read: 1 of them damaged")


def test_the_doctor_speaks_json(data):
    call("backup", "b.tar.gz")
    found = json.loads(call("doctor", "--json").stdout)
    assert found["sound"] is True
    assert found["examination"]["faults"] == []
    assert found["inventory"]["checks"] == {"gone": 20, "kept": 30}
    assert found["inventory"]["backup"]["path"].endswith("/b.tar.gz")


# compact and forget


def test_without_a_server_it_is_compacted_here(data):
    found = call("compact")
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("data: ")
    assert " became " in found.stdout
    assert list((data / "results").glob("*.seg"))
    assert len(TinyStore.reading(data, SystemClock()).last("kept", 100)) == 30


def test_compacting_keeps_what_the_configuration_keeps(data, monkeypatch):
    kept: list[object] = []
    monkeypatch.setattr(TinyStore, "keep", lambda self, *retention: kept.append(retention))
    call("compact")
    ((retention, per_check),) = kept
    assert retention.raw_s > 0
    assert per_check == {}


def test_a_running_server_is_asked_to_compact(data, folder):
    before = digests(data)
    with serving(folder, 202, {}) as fake:
        found = call("compact")
    assert found.exit_code == 0
    assert f"process {os.getpid()} compacts in the background" in found.stdout
    assert [(path, body) for path, _, body in fake.asked] == [("/system/compact", {})]
    assert fake.asked[0][1]["Authorization"] == "Bearer t0ken"
    assert digests(data) == before


def test_a_server_that_refuses_is_quoted(data, folder):
    with serving(folder, 503, {"error": "the disk is full"}):
        found = call("compact")
    assert (found.exit_code, found.stderr) == (1, "watchroom: the disk is full\n")


@pytest.mark.parametrize("command", [["compact"], ["forget", "gone", "--yes"]])
@pytest.mark.parametrize("address", ["none", "refused", "silent"])
def test_a_directory_held_by_what_does_not_answer_exits_with_4(data, folder, holder, monkeypatch, command, address):
    monkeypatch.setattr(asking, "_GRACE_S", 0.2)
    monkeypatch.setattr(asking, "_LONG_S", 0.2)
    if address == "refused":
        write_address(folder, "http://127.0.0.1:1")
    if address == "silent":
        import socket

        with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, nobody speaks
            write_address(folder, f"http://127.0.0.1:{silent.getsockname()[1]}")
            found = call(*command)
    else:
        found = call(*command)
    assert found.exit_code == 4
    assert f"process {holder.pid} is using this data directory" in found.stderr


def test_a_check_that_is_gone_is_forgotten_here(data):
    found = call("forget", "gone", answer="y\n")
    assert found.exit_code == 0, found.output
    assert "Forget 20 results of 'gone', and all that was made of them, for good?" in found.output
    assert found.stdout.endswith("gone: 20 results are forgotten; their bytes go with the next merge, or `compact`\n")
    store = TinyStore(data, SystemClock())
    store.open()
    try:
        assert store.check_ids() == {"kept"}
        assert len(store.last("kept", 100)) == 30
    finally:
        store.close()


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_without_a_yes_nothing_is_forgotten(data, answer):
    before = digests(data)
    assert call("forget", "gone", answer=answer).exit_code == 1
    assert digests(data) == before


def test_a_running_server_is_asked_to_forget(store, folder):
    with serving(folder, 200, {"rows": 20}) as fake:
        found = call("forget", "gone", "--yes")
    assert found.exit_code == 0
    assert found.stdout.startswith("gone: 20 results are forgotten; ")
    assert [(path, body) for path, _, body in fake.asked] == [("/system/forget", {"check_id": "gone"})]


@pytest.mark.parametrize(
    ("check_id", "words"),
    [
        ("kept", "check 'kept' is configured: take it out of the configuration first"),
        ("never", "nothing is recorded of a check 'never' in data"),
    ],
)
def test_only_a_check_that_is_gone_can_be_forgotten(data, check_id, words):
    found = call("forget", check_id, "--yes")
    assert (found.exit_code, found.stderr) == (1, f"watchroom: {words}\n")


# all of it beside the real thing


def test_backup_and_restore_of_a_running_server(tmp_path):
    with product(tmp_path) as made:
        made.configure("defaults: {every: 1s}\nchecks: [{id: up, type: host, what: uptime}]\n")
        made.start()
        eventually(lambda: len(made.rows(check="up")) >= 2)
        seen = made.rows(check="up")
        found = made.command("backup", "b.tar.gz")
        assert found.returncode == 0, found.stderr
        assert made.command("doctor").returncode == 0
        assert made.command("restore", "b.tar.gz", "--replace").returncode == 4
        made.kill()
        shutil.rmtree(made.data)
        found = made.command("restore", "b.tar.gz")
        assert found.returncode == 0, found.stderr
        made.start()
        assert [row for row in made.rows(check="up") if row in seen] == seen
        assert made.stop() == 0
