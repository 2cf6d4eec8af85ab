"""The heavy work is done by another process, nice to the others, that ends with the one who asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import orjson
import psutil
import pytest
from fakes import FakeClock
from product import eventually
from storage.samples import START_AT, make_results

from dashboard.errors import StoreError
from dashboard.storage import workshop
from dashboard.storage.appender import Limits
from dashboard.storage.blockfile import Frame, FrameReader, Kind
from dashboard.storage.files import Files
from dashboard.storage.store import TinyStore
from dashboard.storage.workshop import NICENESS, HelperProcess, Here, Task

LIMITS = Limits(reserve_bytes=0, journal_rows=20, group_rows=20, merged_parts=3)
ROOT = Path(__file__).parents[2]
DAY_S = 86400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START_AT)


@pytest.fixture
def sealed(tmp_path: Path, clock: FakeClock) -> Path:
    """A directory with five sealed segments."""
    store = TinyStore(tmp_path, clock, limits=LIMITS)
    store.open()
    for first in range(0, 100, 20):
        store.append(make_results(20, first=first))
    store._appender.rotate()
    store._keeper.seal_all()
    store.close()
    return tmp_path


def merging(directory: Path) -> Task:
    sources = sorted(path.name for path in (directory / "results").glob("*.seg"))
    return Task(kind="merge", root=str(directory), sources=sources, group_rows=50)


def test_a_helper_does_what_is_done_here(tmp_path: Path, clock: FakeClock) -> None:
    told = []
    for name, its_workshop in (("here", Here(Files())), ("helper", HelperProcess())):
        store = TinyStore(tmp_path / name, FakeClock(START_AT), limits=LIMITS, workshop=its_workshop)
        store.open()
        for first in range(0, 100, 20):
            store.append(make_results(20, first=first))
        store.forget("check-2")
        store.maintain(clock.now())
        store.compact()
        assert store.health().warnings == ()
        told.append(
            (
                list(store.export()),
                store.rollups("check-1", [START_AT.timestamp(), START_AT.timestamp() + 777.7]),
                store.cursor("check-1").marks(),
                sorted(path.name for path in (tmp_path / name).rglob("*.[sr]*")),
            )
        )
        store.close()
    assert told[0] == told[1]


@pytest.fixture
def slow_helper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Has helpers tell who they are and wait before they begin."""
    note = tmp_path / "who"
    program = (
        "import os, sys, time, pathlib\n"
        f"sys.path[:0] = [{str(ROOT)!r}]\n"
        "from dashboard.storage import workshop\n"
        "class Slow(workshop.Here):\n"
        "    def perform(self, task):\n"
        f"        note = pathlib.Path({str(note)!r})\n"
        "        note.with_suffix('.new').write_text(f'{os.getpid()} {os.getppid()} {os.nice(0)}')\n"
        "        note.with_suffix('.new').rename(note)\n"
        "        time.sleep(60)\n"
        "workshop.Here = Slow\n"
        "sys.exit(workshop.main())\n"
    )
    real = subprocess.Popen

    def slow(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        return real([command[0], "-c", program, *command[3:]], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(workshop.subprocess, "Popen", slow)
    return note


def test_a_helper_is_another_process_that_is_nice(sealed: Path, slow_helper: Path) -> None:
    helper = HelperProcess()
    failures: list[Exception] = []

    def ask() -> None:
        try:
            helper.perform(merging(sealed))
        except StoreError as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    eventually(slow_helper.exists)
    pid, parent, niceness = map(int, slow_helper.read_text().split())
    assert (pid != os.getpid(), parent) == (True, os.getpid())
    assert niceness == min(19, os.nice(0) + NICENESS)
    helper.stop()
    asking.join(10)
    assert not psutil.pid_exists(pid)
    assert "the helper that should merge failed" in str(failures[0])
    with pytest.raises(StoreError):
        helper.perform(merging(sealed))  # it was let go of for good


def test_closing_the_store_lets_go_of_a_helper_at_work(tmp_path: Path, slow_helper: Path, clock: FakeClock) -> None:
    store = TinyStore(tmp_path / "data", clock, limits=LIMITS, workshop=HelperProcess())
    store.open()
    store.append(make_results(20))
    store.append(make_results(20, first=20))
    keeping = threading.Thread(target=store.maintain, args=(clock.now(),))
    keeping.start()
    eventually(slow_helper.exists)
    store.close()
    keeping.join(10)
    assert not psutil.pid_exists(int(slow_helper.read_text().split()[0]))
    assert store.health().sealing_failures == 0, "that was no failure"
    again = TinyStore(tmp_path / "data", clock, limits=LIMITS)
    again.open()
    assert sorted(row.id for chunk in again.export() for row in chunk) == list(range(1, 41))
    again.close()


ASKING = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import orjson
from dashboard.storage import workshop
import subprocess
real = subprocess.Popen
def slow(command, **options):
    return real([command[0], "-c", {program!r}, *command[3:]], **options)
workshop.subprocess.Popen = slow
workshop.HelperProcess().perform(workshop.Task(**orjson.loads(sys.argv[1])))
"""
SLEEPING = """
import os, sys, time, pathlib
sys.path[:0] = [{root!r}]
from dashboard.storage import workshop
class Slow(workshop.Here):
    def perform(self, task):
        note = pathlib.Path({note!r})
        note.with_suffix(".new").write_text(str(os.getpid()))
        note.with_suffix(".new").rename(note)
        time.sleep(60)
workshop.Here = Slow
sys.exit(workshop.main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word for it")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_helper_ends_with_the_one_who_asked(sealed: Path, tmp_path: Path, how: signal.Signals) -> None:
    note = tmp_path / "who"
    program = SLEEPING.format(root=str(ROOT), note=str(note))
    script = ASKING.format(root=str(ROOT), tests=str(ROOT / "tests"), program=program)
    with subprocess.Popen([sys.executable, "-c", script, orjson.dumps(merging(sealed)).decode()]) as asking:
        try:
            eventually(note.exists)
        finally:
            asking.send_signal(how)
    pid = int(note.read_text())
    eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_helper_whose_parent_is_gone_already_does_nothing(sealed: Path) -> None:
    before = sorted((sealed / "results").iterdir())
    command = [sys.executable, "-m", "dashboard.storage.workshop", "1"]
    done = subprocess.run(command, input=orjson.dumps(merging(sealed)), capture_output=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert sorted((sealed / "results").iterdir()) == before


def test_a_person_may_run_a_task_by_hand(sealed: Path) -> None:
    command = [sys.executable, "-m", "dashboard.storage.workshop"]
    done = subprocess.run(command, input=orjson.dumps(merging(sealed)), capture_output=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    [path] = orjson.loads(done.stdout)["paths"]
    assert Path(path).name == "000000000001-000000000100.seg"


@pytest.mark.parametrize("its_workshop", [Here(Files()), HelperProcess()], ids=["here", "helper"])
def test_a_file_that_cannot_be_read_is_an_os_error(sealed: Path, its_workshop: workshop.Workshop) -> None:
    task = Task(kind="merge", root=str(sealed), sources=["000000000777-000000000778.seg"], group_rows=5)
    with pytest.raises(FileNotFoundError) as caught:
        its_workshop.perform(task)
    assert str(caught.value.filename).endswith("000000000777-000000000778.seg")


@pytest.mark.parametrize("its_workshop", [Here(Files()), HelperProcess()], ids=["here", "helper"])
def test_a_file_of_a_newer_version_is_a_store_error(
    sealed: Path, its_workshop: workshop.Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.storage import segments

    task = merging(sealed)
    newer = Task(kind="merge", root=str(sealed), sources=task.sources[:2], group_rows=50)
    monkeypatch.setattr(segments, "VERSION", 99)
    [made] = Here(Files()).perform(newer).paths
    monkeypatch.undo()
    again = Task(kind="merge", root=str(sealed), sources=[Path(made).name], group_rows=50)
    with pytest.raises(StoreError, match="newer Watchroom"):
        its_workshop.perform(again)


def test_a_helper_that_breaks_is_told_in_its_last_words(sealed: Path) -> None:
    task = Task(kind="merge", root=str(sealed), sources=[], group_rows=50)
    with pytest.raises(StoreError, match="the helper that should merge failed: IndexError"):
        HelperProcess().perform(task)


@pytest.mark.parametrize("its_workshop", [Here(Files()), HelperProcess()], ids=["here", "helper"])
def test_damage_that_is_found_on_the_way_is_told(sealed: Path, its_workshop: workshop.Workshop) -> None:
    hurt = min((sealed / "results").glob("*.seg"))
    raw = next(each for each in FrameReader(hurt).scan() if isinstance(each, Frame) and each.kind == Kind.RAW)
    damaged = bytearray(hurt.read_bytes())
    damaged[raw.end - 1] ^= 1
    hurt.write_bytes(damaged)
    outcome = its_workshop.perform(merging(sealed))
    assert [place[0] for place in outcome.damaged_blocks] == [f"results/{hurt.name}"]
    assert [path.read_bytes() for path in (sealed / "quarantine").iterdir()] == [bytes(damaged)]


def test_damaged_lines_of_a_journal_are_told(tmp_path: Path, clock: FakeClock) -> None:
    store = TinyStore(tmp_path, clock, limits=LIMITS, workshop=HelperProcess())
    store.open()
    store.append(make_results(15))
    store.append(make_results(15, first=15))
    [journal, _] = sorted((tmp_path / "results").glob("*.ndj"))
    journal.write_bytes(journal.read_bytes().replace(b"result number 7", b"result number X"))
    store.maintain(clock.now())
    assert store.health().quarantined_lines == 1
    assert len(list((tmp_path / "quarantine").iterdir())) == 1
    assert store.health().rows == 29
    store.close()
