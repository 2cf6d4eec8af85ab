"""The command line: what wins, what is printed, and with which code it exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import dashboard
from dashboard import runtime
from dashboard.cli import main
from dashboard.errors import ConfigError, Problem, StoreLocked, StoreUnavailable, WatchroomError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("CONFIG", "DATA", "HOST", "PORT"):
        monkeypatch.delenv(f"WATCHROOM_{name}", raising=False)
    return tmp_path


def call(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


def process(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *arguments],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def served(folder, monkeypatch):
    """What serve was called with."""
    calls: list[dict[str, object]] = []

    def serve(**options: object) -> int:
        calls.append(options)
        return 0

    monkeypatch.setattr(runtime, "serve", serve)
    return calls


NOTHING = {"config": None, "data": None, "host": None, "port": None}


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ([], {}, {}),
        (["serve"], {}, {}),
        (["--port", "9000"], {}, {"port": 9000}),
        (["serve", "--port", "9000"], {}, {"port": 9000}),
        (["--port", "1", "serve", "--port", "2"], {}, {"port": 2}),
        (["--port", "0"], {"PORT": "9000"}, {"port": 0}),
        (["serve", "--port", "0"], {"PORT": "9000"}, {"port": 0}),
        (
            [],
            {"PORT": "9000", "HOST": "::1", "DATA": "d", "CONFIG": "c"},
            {"port": 9000, "host": "::1", "data": Path("d"), "config": Path("c")},
        ),
        (["--data", "x", "serve", "--host", "localhost"], {"DATA": "d"}, {"data": Path("x"), "host": "localhost"}),
        (["--port", "9000", "serve"], {"PORT": "1"}, {"port": 9000}),
        ([], {"PORT": "", "CONFIG": ""}, {}),
    ],
)
def test_the_command_line_wins_over_the_environment(served, monkeypatch, arguments, environ, expected):
    for name, value in environ.items():
        monkeypatch.setenv(f"WATCHROOM_{name}", value)
    result = call(*arguments)
    assert (result.exit_code, served) == (0, [NOTHING | expected])


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (StoreLocked("data is held by process 42", pid=42), 4, "held by process 42"),
        (StoreUnavailable("data cannot be written"), 3, "cannot be written"),
        (WatchroomError("port 8000 is in use"), 1, "port 8000 is in use"),
        (OSError(98, "Address already in use"), 1, "the port is in use by another program"),
        (PermissionError(13, "Permission denied", "/data"), 1, "/data: Permission denied"),
        (
            ConfigError([Problem(message="a", line=3), Problem(message="b")], source="f.yaml"),
            2,
            "f.yaml:3: a\nf.yaml: b\n2 problems\n",
        ),
    ],
)
def test_serve_says_why_it_cannot_and_exits_with_the_code_of_that(folder, monkeypatch, error, code, words):
    def serve(**options: object) -> int:
        raise error

    monkeypatch.setattr(runtime, "serve", serve)
    result = call()
    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", [[], *([name] for name in main.commands)])
def test_every_command_explains_itself(folder, command):
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_the_version_is_told(folder):
    assert call("--version").stdout.strip().endswith(dashboard.__version__)


@pytest.mark.parametrize("arguments", [["--port", "65536"], ["--port", "x"], ["serve", "--bogus"], ["nonsense"]])
def test_a_wrong_option_exits_with_2(folder, arguments):
    assert call(*arguments).exit_code == 2


def test_validate_tells_every_problem_with_its_line(folder):
    (folder / "bad.yaml").write_text("chekcs: []\nchecks:\n  - {id: a, type: prober, every: 5}\n")
    result = process("validate", "bad.yaml", cwd=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "bad.yaml:1: chekcs: unknown key, did you mean 'checks'?",
        "bad.yaml:3: check 'a': every: needs a unit (ms, s, m, h, d or y): write 5s for seconds",
        "2 problems",
    ]


def test_validate_sums_up_what_is_right_and_names_what_will_not_run(folder):
    (folder / "watchroom.yaml").write_text(
        "server: {zone: Europe/Berlin}\n"
        "checks: [{id: a, type: prober, paused: true}, {id: b, type: tcp, host: '${NOPE_NOPE}', port: 1}]"
    )
    result = call("validate")
    assert result.exit_code == 0
    assert (
        result.stdout == "watchroom.yaml is valid: 1 check, 1 of them paused, 1 that will not run; zone Europe/Berlin\n"
    )
    assert result.stderr.startswith("check 'b' will not run: host: the environment variable NOPE_NOPE is not set")


def test_validate_without_a_file_looks_at_this_machine(folder):
    assert "no file: this machine is valid: " in call("validate").stdout


def test_validate_of_a_file_that_is_not_there_exits_with_2(folder):
    result = process("validate", cwd=folder, WATCHROOM_CONFIG="none.yaml")
    assert result.returncode == 2
    assert "none.yaml does not exist" in result.stderr


def test_validate_prints_the_schema_for_editors(folder):
    assert json.loads(call("validate", "--schema").stdout)["title"]
