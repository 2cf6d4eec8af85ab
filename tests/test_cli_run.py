"""`run CHECK_ID`: the running server is asked, else this process runs the check; plugins' exit codes, 3 for faults of ours."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_server import serving, write_address

from dashboard import asking
from dashboard.cli import main
from dashboard.clock import SystemClock
from dashboard.storage.store import TinyStore

ROOT = Path(__file__).parents[1]
USER = pwd.getpwuid(os.geteuid()).pw_name
ANSWER = {
    "check_id": "a/b",
    "at": "2026-11-22T12:00:00+00:00",
    "status": "ok",
    "summary": "200 in 12 ms",
    "duration_s": 0.012,
    "trigger": "manual",
    "by": "cli:me",
    "worker": "prober-1",
    "metrics": {"response_time": 0.012, "size": 5},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("WATCHROOM_CONFIG", raising=False)
    monkeypatch.delenv("WATCHROOM_DATA", raising=False)
    (tmp_path / "data").mkdir()
    Path("watchroom.yaml").write_text(
        "checks: [{id: up, type: host, what: uptime}, {id: down, type: tcp, host: 127.0.0.1, port: 1}]"
    )
    return tmp_path


def call(*arguments: str):
    return CliRunner().invoke(main, ["run", *arguments])


def test_the_server_is_asked_with_its_token_in_the_name_of_this_user(folder):
    with serving(folder, 200, ANSWER) as fake:
        found = call("a/b", "--wait", "7", "-v")
    path, headers, body = fake.asked[0]
    assert (path, body) == ("/checks/a%2Fb/run", {"wait_s": 7.0})
    assert (headers["Authorization"], headers["X-Watchroom-By"], headers["Accept"]) == (
        "Bearer t0ken",
        USER,
        "application/json",
    )
    assert found.stdout == "OK a/b: 200 in 12 ms\n  response_time = 0.012\n  size = 5\n"


@pytest.mark.parametrize(
    ("status", "code"), [("ok", 0), ("warning", 1), ("critical", 2), ("unknown", 3), ("purple", 3)]
)
def test_the_exit_code_is_the_status(folder, status, code):
    with serving(folder, 200, ANSWER | {"status": status}):
        assert call("a/b").exit_code == code


def test_the_result_comes_as_json(folder):
    with serving(folder, 200, ANSWER):
        assert json.loads(call("a/b", "--json").stdout) == ANSWER


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, {"error": "no check has the id 'a'"}, "no check has the id 'a'"),
        (429, {"error": "too soon"}, "too soon"),
        (500, b"<html>", "HTTP status 500"),
        (403, {"error": 5}, "HTTP status 403"),
        (200, b"[]", "makes no sense"),
        (200, b"\xff", "makes no sense"),
        (202, {"check_id": "a", "phase": "running", "joined": False}, "no result within 60 s; the run goes on"),
    ],
)
def test_a_refusal_is_a_fault_of_ours_and_never_the_target_s(folder, status, body, words):
    with serving(folder, status, body):
        found = call("a")
    assert found.exit_code == 3
    assert found.stdout == ""
    assert words in found.stderr
    assert "t0ken" not in found.output


@pytest.mark.parametrize("address", ["none", "garbage", "dead", "refused"])
def test_without_a_server_the_check_runs_here_and_is_recorded(folder, address):
    if address == "garbage":
        (folder / "data" / "server.json").write_text("{")
    elif address == "dead":
        write_address(folder, "http://127.0.0.1:1", pid=2**31 - 1)
    elif address == "refused":
        write_address(folder, "http://127.0.0.1:1")
    found = call("up")
    assert found.exit_code == 0, found.stderr
    assert found.stdout.startswith("OK up: Up for ")
    (recorded,) = TinyStore.reading(folder / "data", SystemClock()).last("up", 10)
    assert (recorded.trigger, recorded.by) == ("manual", f"cli:{USER}")


def test_a_process_of_another_user_that_got_the_dead_server_s_pid_is_no_server(folder, monkeypatch):
    write_address(folder, "http://127.0.0.1:1")

    def kill(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", kill)
    assert call("up").exit_code == 0


def test_a_target_that_is_down_exits_with_2(folder):
    found = call("down")
    assert found.exit_code == 2
    assert found.stdout.startswith("CRITICAL down: ")


def test_a_check_that_is_not_there_exits_with_3(folder):
    found = call("nope")
    assert (found.exit_code, found.stdout) == (3, "")
    assert "'nope'" in found.stderr


def test_a_faulty_configuration_exits_with_3(folder):
    Path("watchroom.yaml").write_text("checks: 5")
    found = call("up")
    assert found.exit_code == 3
    assert "watchroom.yaml:1: checks: must be a list" in found.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["up", "--bogus"], ["up", "--wait", "x"], ["up", "--wait", "61"], ["up", "b"]]
)
def test_wrong_use_exits_with_3(folder, arguments):
    assert call(*arguments).exit_code == 3


@pytest.mark.parametrize("before", [["--bogus"], ["--port", "x"]])
def test_wrong_use_before_the_command_exits_with_3_too(folder, before):
    found = CliRunner().invoke(main, [*before, "run", "up"])
    assert (found.exit_code, found.stdout) == (3, "")
    assert "Usage: " in found.stderr


def test_a_port_in_the_environment_that_is_none_exits_with_3(folder, monkeypatch):
    monkeypatch.setenv("WATCHROOM_PORT", "x")
    assert call("up").exit_code == 3


@pytest.mark.parametrize("arguments", [["up"], ["up", "--json"], ["up", "-v"]])
def test_a_result_that_cannot_be_printed_exits_with_3(folder, arguments):
    with open("/dev/full", "w") as full:
        found = subprocess.run(
            [sys.executable, str(ROOT / "run.py"), "run", *arguments],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert found.returncode == 3
    assert found.stderr == "UNKNOWN up: the result cannot be printed: No space left on device\n"


def test_an_interrupted_run_exits_with_3_without_a_traceback(folder, monkeypatch):
    def interrupted(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(asking, "find_server", interrupted)
    found = call("up")
    assert (found.exit_code, found.stdout, found.stderr) == (3, "", "UNKNOWN up: interrupted\n")


def test_a_store_that_is_held_by_a_silent_process_exits_with_3_and_names_it(folder):
    store = TinyStore(folder / "data", SystemClock())
    store.open()
    try:
        found = call("up")
    finally:
        store.close()
    assert found.exit_code == 3
    assert str(os.getpid()) in found.stderr
