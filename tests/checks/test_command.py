"""Real programs: what they say becomes a reading, and nothing of them is left behind."""

import asyncio
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from local_context import LocalContext, Threads
from pydantic import ValidationError

from checks._measure import measure
from checks._program import OUTPUT_LIMIT_BYTES, Programs
from checks.base import Reading, Status
from checks.command import Command

PLUGINS = Path("/usr/lib/nagios/plugins")
Script = Callable[..., str]


@pytest.fixture
def context() -> Iterator[LocalContext]:
    threads = Threads()
    yield LocalContext(threads)
    threads.close()


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Makes a program of a body; gives its path."""

    def make(body: str, *, name: str = "check_it", first: str = "#!/bin/sh", mode: int = 0o755) -> str:
        path = tmp_path / name
        path.write_text(f"{first}\n{body}\n")
        path.chmod(mode)
        return str(path)

    return make


def run(context: LocalContext, *argv: str, **options: object) -> Reading:
    return asyncio.run(measure(Command(argv=argv, **options), context, {}))  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


async def until(is_so: Callable[[], bool], within_s: float, what: str) -> float:
    """How long it took until it was so; fails the test when it takes longer than given."""
    start_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - start_s < within_s, f"{what}: not within {within_s} s"
        await asyncio.sleep(0.01)
    return time.monotonic() - start_s


async def gone(pids: list[int], within_s: float) -> float:
    """How long it took until none of the processes was alive."""
    return await until(lambda: not any(is_alive(pid) for pid in pids), within_s, f"{pids} gone")


async def pids_in(path: Path, count: int) -> list[int]:
    """The process ids that the program wrote, once they are all there."""
    await until(lambda: len(lines(path)) == count, 5.0, f"{count} process ids written")
    return [int(line) for line in lines(path)]


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []


def programs_of(context: LocalContext) -> Programs:
    programs = context.shared["programs"]
    assert isinstance(programs, Programs)
    return programs


def children() -> list[str]:
    """The processes that this one has started and not reaped."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


# -- what is said ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "status"), list(enumerate(Status)))
def test_exit_codes_0_to_3_are_the_status(context: LocalContext, script: Script, code: int, status: Status) -> None:
    reading = run(context, script(f"echo 'IT IS - so | a=1;2;3'; exit {code}"))
    assert reading.status is status
    assert reading.summary == "IT IS - so"
    assert [(metric.name, metric.value) for metric in reading.metrics] == [("a", 1.0)]
    assert reading.detail.facts["exit code"] == str(code)
    assert reading.detail.facts["a, the plugin's range"] == "warning 2, critical 3"


@pytest.mark.parametrize(
    ("body", "summary"),
    [
        ("echo gone wrong; exit 4", "check_it ended with exit code 4, a plugin's are 0 to 3; it said: gone wrong"),
        ("exit 127", "check_it ended with exit code 127, a plugin's are 0 to 3"),
        ("echo half | tr -d '\\n'; kill -SEGV $$", "check_it was ended by signal 11 (SIGSEGV); it said: half"),
        ("exit 0", "check_it said nothing on its standard output (exit code 0)"),
        ("echo No module named x >&2; exit 1", "check_it said nothing on its standard output (exit code 1); it said: No module named x"),
    ],
)  # fmt: skip
def test_odd_endings_and_silence_are_unknown(context: LocalContext, script: Script, body: str, summary: str) -> None:
    reading = run(context, script(body))
    assert reading.status is Status.UNKNOWN
    assert reading.summary == summary
    assert reading.detail.phase == "exit"


def test_numbers_of_an_unfinished_program_are_not_recorded(context: LocalContext, script: Script) -> None:
    context.timeout_s = 0.3
    assert run(context, script("printf 'OK | a=12'; exec sleep 60")).metrics == ()
    assert run(context, script("printf 'OK | a=12'; kill -KILL $$")).metrics == ()


def test_numbers_without_words_keep_their_status(context: LocalContext, script: Script) -> None:
    reading = run(context, script("echo '|a=1'; exit 1"))
    assert (reading.status, reading.summary) == (Status.WARNING, "check_it says warning without a word")


def test_long_output_is_the_excerpt_and_its_numbers_count(context: LocalContext, script: Script) -> None:
    reading = run(context, script("printf 'OK - fine | a=1\\nline 1\\nline 2 | b=2\\nc=3\\n'"))
    assert reading.summary == "OK - fine"
    assert reading.detail.excerpt == "line 1\nline 2"
    assert [metric.name for metric in reading.metrics] == ["a", "b", "c"]


def test_the_error_output_is_the_excerpt_of_a_silent_program(context: LocalContext, script: Script) -> None:
    reading = run(context, script("printf 'Traceback:\\n  boom\\n' >&2; exit 1"))
    assert reading.detail.excerpt == "Traceback:\n  boom"


def test_hostile_output_becomes_plain_text(context: LocalContext, script: Script) -> None:
    reading = run(context, script("printf '\\033[31mBAD\\033[0m \\000caf\\351 <b>|a=1\\n'"))
    assert reading.summary == "BAD caf\N{REPLACEMENT CHARACTER} <b>"
    assert [metric.name for metric in reading.metrics] == ["a"]


def test_faulty_performance_data_is_named(context: LocalContext, script: Script) -> None:
    reading = run(context, script("echo 'OK | a=1 what b=2'"))
    assert reading.detail.facts["performance data not understood"] == "what"


# -- what a program finds -------------------------------------------------------------------------------------------


def test_a_program_finds_a_plain_world(
    context: LocalContext, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHROOM_TEST_LEAK", "1")
    seen = tmp_path / "seen"
    seen.mkdir()
    program = script(
        f"env > {seen}/env; pwd > {seen}/cwd; cat > {seen}/stdin; ls -l /proc/self/fd > {seen}/fds; "
        f"ps -o pid=,pgid=,sid= -p $$ > {seen}/ids; echo ok"
    )
    reading = run(context, program, env={"TOKEN": "s3cret", "LC_ALL": "C.UTF-8"}, cwd=str(tmp_path))
    assert reading.status is Status.OK
    env = dict(line.split("=", 1) for line in (seen / "env").read_text().splitlines())
    assert env["TOKEN"] == "s3cret"
    assert env["LC_ALL"] == "C.UTF-8"
    assert env["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert set(env) <= {"TOKEN", "LC_ALL", "PATH", "WATCHROOM_RUN", "PWD", "OLDPWD", "SHLVL", "_"}
    assert (seen / "cwd").read_text().strip() == str(tmp_path)
    assert (seen / "stdin").read_text() == ""
    assert "/dev/null" in (seen / "fds").read_text()
    assert len(set((seen / "ids").read_text().split())) == 1  # leads its own group and session


def test_arguments_reach_the_program_untouched_by_any_shell(context: LocalContext, script: Script) -> None:
    program = script('for word in "$@"; do echo "[$word]"; done')
    reading = run(context, program, "$HOME", "a b", "`id`; true", "*")
    assert reading.summary == "[$HOME]"
    assert reading.detail.excerpt == "[a b]\n[`id`; true]\n[*]"


# -- what cannot be started -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "options", "words"),
    [
        ("{tmp}/missing", {}, "does not exist: install the plugin or correct argv"),
        ("{tmp}", {}, "is not a program but a folder"),
        ("{tmp}/plain", {}, "is not executable for the user that runs Watchroom: chmod +x"),
        ("{tmp}/no_interpreter", {}, "the interpreter that its first line names does not exist"),
        ("{tmp}/no_first_line", {}, "a script needs a first line such as #!/bin/sh"),
        ("/bin/true", {"cwd": "/no/such/folder"}, "cwd /no/such/folder is not a folder"),
    ],
)
def test_what_cannot_be_started_is_unknown_and_says_why(
    context: LocalContext, script: Script, tmp_path: Path, argv: str, options: dict[str, str], words: str
) -> None:
    script("true", name="plain", mode=0o644)
    script("true", name="no_interpreter", first="#!/no/such/interpreter")
    script("true", name="no_first_line", first="")
    program = argv.format(tmp=tmp_path)
    reading = run(context, program, **options)
    assert reading.status is Status.UNKNOWN
    assert words in reading.summary
    assert options or program in reading.summary
    assert reading.detail.phase == "start"


def test_a_program_on_a_disk_that_hangs_is_unknown_and_stops_nobody(
    context: LocalContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(kind: str, call: object, timeout_s: float) -> None:
        raise TimeoutError

    monkeypatch.setattr(context.blocking, "run", hang)
    reading = run(context, "/bin/true")
    assert reading.status is Status.UNKNOWN
    assert "/bin/true or / cannot be reached" in reading.summary


# -- deadlines ------------------------------------------------------------------------------------------------------


def test_a_program_past_its_deadline_is_unknown_and_the_answer_is_in_time(
    context: LocalContext, script: Script
) -> None:
    context.timeout_s = 0.5

    async def story() -> tuple[Reading, float]:
        start_s = time.monotonic()
        reading = await measure(Command(argv=(script("echo so far; exec sleep 60"),)), context, {})
        return reading, time.monotonic() - start_s

    reading, took_s = asyncio.run(story())
    assert took_s < 0.5
    assert reading.status is Status.UNKNOWN
    assert reading.summary.startswith("check_it gave no answer within 0.5 s and was ended: raise the check's timeout")
    assert (reading.detail.phase, reading.detail.excerpt) == ("deadline", "so far")


STUBBORN = """
import os, signal, sys, time
for name in ("SIGTERM", "SIGINT", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
for number in range(6):
    if os.fork() == 0:
        if number % 3 == 1:
            os.setsid()  # another session, same parent
        if number % 3 == 2:
            os.setsid()
            if os.fork():
                os._exit(0)  # another session, and its parent is gone
        break
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
print("x", flush=True)
while True:
    time.sleep(60)
"""


def test_a_program_that_ignores_being_asked_is_gone_2_s_after_its_deadline_with_its_children(
    context: LocalContext, script: Script, tmp_path: Path
) -> None:
    context.timeout_s = 1.0
    ids = tmp_path / "ids"

    async def story() -> float:
        reading = await measure(Command(argv=(script(STUBBORN, first=f"#!{sys.executable}"), str(ids))), context, {})
        assert reading.status is Status.UNKNOWN
        return await gone(await pids_in(ids, 7), within_s=4.0)

    took_s = asyncio.run(story())
    assert took_s == pytest.approx(2.0, abs=1.0)


def test_a_program_that_heeds_being_asked_ends_at_once_and_may_clean_up(
    context: LocalContext, script: Script, tmp_path: Path
) -> None:
    context.timeout_s = 0.5
    ids, cleaned = tmp_path / "ids", tmp_path / "cleaned"
    program = script(f"trap 'touch {cleaned}; exit 0' TERM; echo $$ > {ids}; sleep 60 & wait")

    async def story() -> float:
        await measure(Command(argv=(program,)), context, {})
        return await gone(await pids_in(ids, 1), within_s=1.5)

    asyncio.run(story())
    assert cleaned.exists()


def test_a_cancelled_run_leaves_no_program(context: LocalContext, script: Script, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    program = script(STUBBORN, first=f"#!{sys.executable}")

    async def story() -> list[int]:
        task = asyncio.create_task(measure(Command(argv=(program, str(ids))), context, {}))
        pids = await pids_in(ids, 7)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return pids

    pids = asyncio.run(story())  # the loop ends here, and with it the two seconds of grace
    asyncio.run(gone(pids, within_s=1.0))


def test_an_answer_counts_though_a_child_in_the_background_holds_the_pipe(
    context: LocalContext, script: Script, tmp_path: Path
) -> None:
    ids = tmp_path / "ids"

    async def story() -> float:
        start_s = time.monotonic()
        reading = await measure(Command(argv=(script(f"sleep 60 & echo $! > {ids}; echo OK - done"),)), context, {})
        took_s = time.monotonic() - start_s
        assert (reading.status, reading.summary) == (Status.OK, "OK - done")
        await gone(await pids_in(ids, 1), within_s=1.0)
        return took_s

    assert asyncio.run(story()) < 2.0


# -- limits ---------------------------------------------------------------------------------------------------------


def test_a_flood_is_drained_cut_and_said_while_the_loop_stays_free(context: LocalContext, script: Script) -> None:
    program = script("echo 'OK - loud | a=1'; head -c 30000000 /dev/zero | tr '\\0' x; echo; echo late")

    async def story() -> tuple[Reading, float]:
        worst_s = 0.0

        async def tick() -> None:
            nonlocal worst_s
            while True:
                start_s = time.monotonic()
                await asyncio.sleep(0.001)
                worst_s = max(worst_s, time.monotonic() - start_s)

        ticking = asyncio.create_task(tick())
        reading = await measure(Command(argv=(program,)), context, {})
        ticking.cancel()
        return reading, worst_s

    reading, worst_s = asyncio.run(story())
    assert (reading.status, reading.summary) == (Status.OK, "OK - loud")
    dropped_bytes = int(reading.detail.facts["output"].removeprefix("cut, ").removesuffix(" bytes dropped"))
    assert dropped_bytes == 30_000_000 + len("OK - loud | a=1\n\nlate\n") - OUTPUT_LIMIT_BYTES
    assert len(reading.detail.excerpt) <= 512
    assert worst_s < 0.5


def test_at_most_twice_as_many_programs_as_cores_run_at_once(
    context: LocalContext, script: Script, tmp_path: Path
) -> None:
    program = script(f"touch {tmp_path}/$$.on; ls {tmp_path} | grep -c '[.]on$'; sleep 0.05; rm {tmp_path}/$$.on")
    limit = 2 * (os.cpu_count() or 1)

    async def story() -> list[Reading]:
        return await asyncio.gather(*(measure(Command(argv=(program,)), context.again(), {}) for _ in range(3 * limit)))

    together = [int(reading.summary) for reading in asyncio.run(story())]
    assert max(together) <= limit
    assert len(together) == 3 * limit


def test_a_run_that_never_gets_its_turn_is_unknown_and_says_so(context: LocalContext, script: Script) -> None:
    limit = 2 * (os.cpu_count() or 1)
    slow = Command(argv=(script("exec sleep 60"),))

    async def story() -> Reading:
        holders = [asyncio.create_task(measure(slow, context.again(), {})) for _ in range(limit)]
        await until(
            lambda: "programs" in context.shared and programs_of(context)._slots.locked(), 5.0, "every slot taken"
        )
        reading = await measure(Command(argv=("/bin/true",)), context.again(timeout_s=0.2), {})
        for holder in holders:
            holder.cancel()
        await asyncio.gather(*holders, return_exceptions=True)
        return reading

    reading = asyncio.run(story())
    assert reading.status is Status.UNKNOWN
    assert reading.summary.startswith(f"true did not get its turn within 0.2 s: {limit} other commands were running")


def test_50_runs_leave_no_descriptor_and_no_zombie(context: LocalContext, script: Script) -> None:
    programs = [
        script("echo ok"),
        script("exec sleep 60", name="check_slow"),
        script("true", name="check_broken", first="#!/no/such"),
    ]

    async def rounds(count: int) -> None:
        for number in range(count):
            program = programs[number % 3]
            await measure(Command(argv=(program,)), context.again(timeout_s=0.1 if "slow" in program else 5.0), {})
        await until(lambda: not programs_of(context)._stopping, 5.0, "all ended")

    async def story() -> tuple[int, int, list[str]]:
        await rounds(3)
        before = len(os.listdir("/proc/self/fd"))
        await rounds(50)
        return before, len(os.listdir("/proc/self/fd")), children()

    before, after, zombies = asyncio.run(story())
    assert after == before
    assert zombies == []


def test_runs_work_where_the_kernel_cannot_announce_an_exit(
    context: LocalContext, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert run(context, script("echo OK - polled")).summary == "OK - polled"


# -- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"argv": ["check_load"]}, "must start with the absolute path of a program, got 'check_load'"),
        ({"argv": []}, "at least 1 item"),
        ({"argv": "/bin/true -x"}, "valid tuple"),
        ({"argv": ["/bin/true"], "cwd": "here"}, "cwd"),
        ({"argv": ["/bin/true"], "env": {"A B": "x"}}, "env"),
        ({"argv": ["/bin/true", "a\0b"]}, "argv"),
        ({"argv": ["/bin/true"], "shell": True}, "Extra inputs"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Command.model_validate(options)
    assert words in str(caught.value)


def test_numbers_may_stand_among_the_arguments() -> None:
    assert Command.model_validate({"argv": ["/bin/true", "-p", 80, 0.5]}).argv == ("/bin/true", "-p", "80", "0.5")


def test_the_reproduction_is_a_shell_command_that_does_the_same(script: Script, tmp_path: Path) -> None:
    probe = Command(argv=(script('echo "$1" "$PWD"'), "it's $HOME"), cwd=str(tmp_path))
    done = subprocess.run(["/bin/sh", "-c", probe.reproduction()], capture_output=True, text=True, check=True)
    assert done.stdout == f"it's $HOME {tmp_path}\n"


def test_environment_values_are_shown_nowhere() -> None:
    probe = Command.model_validate({"argv": ["/bin/true"], "env": {"TOKEN": "s3cret"}})
    assert shlex.split(probe.reproduction())[-2:] == ["TOKEN=***", "/bin/true"]
    assert "s3cret" not in repr(probe) + str(probe) + probe.model_dump_json() + probe.target


def test_commands_need_leave_to_run() -> None:
    assert Command.needs_commands


# -- plugins of others ----------------------------------------------------------------------------------------------


def plugin(name: str) -> str:
    path = PLUGINS / name
    if not path.exists():
        reason = f"{path} is not installed: apt-get install monitoring-plugins-basic"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return str(path)


def test_check_load_gives_its_three_loads(context: LocalContext) -> None:
    reading = run(context, plugin("check_load"), "-w", "9000,9000,9000", "-c", "9999,9999,9999")
    assert reading.status is Status.OK
    assert reading.summary.startswith("LOAD OK")
    assert {"load1", "load5", "load15"} <= {metric.name for metric in reading.metrics}
    assert reading.detail.facts["load5, the plugin's range"] == "warning 9000.000, critical 9999.000"


@pytest.mark.parametrize(("code", "status"), list(enumerate(Status)))
def test_check_dummy_says_what_it_is_told(context: LocalContext, code: int, status: Status) -> None:
    reading = run(context, plugin("check_dummy"), str(code), "as told")
    assert reading.status is status
    assert reading.summary == f"{status.word.upper()}: as told"


def test_check_disk_gives_bytes(context: LocalContext) -> None:
    reading = run(context, plugin("check_disk"), "-w", "0%", "-c", "0%", "-p", "/")
    disk = next(metric for metric in reading.metrics if metric.name == "/")
    assert disk.unit == "B"
    assert 0 < disk.value < os.statvfs("/").f_blocks * os.statvfs("/").f_frsize
