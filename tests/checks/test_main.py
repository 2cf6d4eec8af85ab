"""One probe from a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from targets import Target, answer, free_port, says, silent

from checks.__main__ import main, plugin_line
from checks._options import UsageError, read_order
from checks.base import Metric, Reading, Status, Threshold, Thresholds
from checks.command import Command
from checks.http import Http
from checks.tcp import Tcp

ROOT = Path(__file__).parents[2]


def test_a_good_run_prints_a_plugin_line_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with Target(says(answer("ready"))) as target:
        code = main(
            ["http", f"url={target.url()}", "body_contains=ready", "warning.response_time=9", "critical.size=:99"]
        )
    assert code == 0
    line = capsys.readouterr().out
    assert re.fullmatch(r"HTTP OK - 200 in [\d.]+ ms, text found \| .*\n", line)
    assert re.search(r" response_time=0\.\d+s;9 ", line)
    assert line.endswith(" size=5B;;:99\n")


@pytest.mark.parametrize(("limit", "code", "word"), [("warning", 1, "WARNING"), ("critical", 2, "CRITICAL")])
def test_a_threshold_sets_the_exit_code(limit: str, code: int, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Target(says(answer("ready"))) as target:
        assert main(["http", f"url={target.url()}", f"{limit}.size=2"]) == code
    assert capsys.readouterr().out.startswith(f"HTTP {word} - size 5 B, {limit} above 2 B; 200 in ")


def test_a_dead_target_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert main(["tcp", "host=127.0.0.1", f"port={port}"]) == 2
    assert capsys.readouterr().out == f"TCP CRITICAL - connection refused by 127.0.0.1:{port}\n"


def test_the_deadline_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    with Target(silent) as target:
        assert main(["tcp", "host=127.0.0.1", f"port={target.port}", "expect=x", "timeout=200ms"]) == 2
    assert "said nothing within 0.2 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "usage: python -m checks TYPE"),
        (["--nonsense"], "usage: python -m checks TYPE"),
        (["htp"], "there is no type 'htp'; there are "),
        (["http"], "http: url is missing; add url=..."),
        (["http", "url"], "'url' is not key=value"),
        (["http", "url=http://x", "metod=GET"], "http: there is no option 'metod'; did you mean 'method'?"),
        (["http", "url=x", "method=TRACE"], "http: method: must be 'GET'"),
        (["http", "url=x", "method=TRACE"], "http: url: must start with http:// or https://"),
        (["http", "url=http://x", "url=http://y"], "url is given twice"),
        (["http", "url=http://x", "basic=a", "basic.username=b"], "basic is given both as a whole and in parts"),
        (["http", "url=http://x", "basic.username=b"], "http: basic.password is missing"),
        (["http", "url=http://x", "timeout=0"], "timeout: '0' is not a duration"),
        (["http", "url=http://x", "warning.response_time=fast"], "threshold: 'fast' is not a range"),
        (["tcp", "host=x", "port=99999"], "tcp: port: must be less than or equal to 65535"),
        (["command", "argv=[oops"], "is not a JSON list"),
    ],
)
def test_wrong_usage_ends_with_3_and_says_what_is_wrong(
    words: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 3
    printed = capsys.readouterr()
    assert fault in printed.err
    assert printed.out == ""


def test_a_refused_secret_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["http", "url=http://x", "bearer=s3cret", "basic.username=a", "basic.password=s3cret", "max_redirects=s3cret"])
    assert "s3cret" not in capsys.readouterr().err


def test_help_is_at_hand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "python -m checks TYPE --help" in capsys.readouterr().out
    assert main(["--list"]) == 0
    assert {"http", "tcp"} <= set(capsys.readouterr().out.split())
    assert main(["tcp", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name}  (" in shown for name in Tcp.model_fields)


def test_words_become_options_of_every_kind() -> None:
    words = [
        "url=http://x",
        "headers.Accept=a/b=c",
        "expect_status=200",
        "expect_status=3xx",
        "verify=no",
        "max_redirects=2",
    ]
    probe = read_order(Http, words).probe
    assert isinstance(probe, Http)
    assert probe.headers == {"Accept": "a/b=c"}
    assert probe.expect_status == ("200", "3xx")
    assert (probe.verify, probe.max_redirects) == (False, 2)
    command = read_order(Command, ["argv=/bin/x", "argv=-w", 'argv=["a b","c"]']).probe
    assert isinstance(command, Command)
    assert command.argv == ("/bin/x", "-w", "a b", "c")


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("5s", 5), ("7", 7), ("1.5m", 90), ("1h", 3600), ("1d", 86400)]
)
def test_a_duration_has_a_unit(text: str, seconds: float) -> None:
    assert read_order(Http, ["url=http://x", f"timeout={text}"]).timeout_s == seconds


@pytest.mark.parametrize("text", ["", "-1", "5 s", "1y", "nan", "1e9"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_order(Http, ["url=http://x", f"timeout={text}"])


def test_performance_data_keeps_to_the_guidelines() -> None:
    metrics = (
        Metric(name="load 1", value=0.5),
        Metric(name="it's=odd", value=2.0**40, unit="B"),
        Metric(name="days", value=-3, unit="d"),
        Metric(name="tiny", value=1e-9, unit="s"),
        Metric(name="cpu", value=12.5, unit="%"),
    )
    limits = {"cpu": Thresholds(warning=Threshold.parse("80"), critical=Threshold.parse("@90:95"))}
    line = plugin_line("host", Reading(status=Status.WARNING, summary="a|b", metrics=metrics), limits)
    assert line == (
        "HOST WARNING - a/b | 'load 1'=0.5 'it''s_odd'=1099511627776B days=-3 tiny=0s cpu=12.5%;80;@90:95\n"
    )


def test_it_runs_as_a_program_and_needs_neither_flask_nor_dashboard() -> None:
    script = (
        "import sys, runpy; sys.argv = ['checks', 'tcp', 'host=127.0.0.1', 'port=1', 'timeout=2s']\n"
        "try: runpy.run_module('checks', run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "assert not {'flask', 'dashboard'} & set(sys.modules), 'the probes are a leaf'\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "TCP CRITICAL - connection refused by 127.0.0.1:1\n", "")


def test_a_line_that_cannot_be_printed_exits_with_3() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "checks", "host", "what=uptime"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (3, "cannot print: No space left on device\n")
