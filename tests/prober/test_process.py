"""The prober's own main: what it says, and what it does with nonsense."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil
from fakes import make_check

from checks.command import Command
from dashboard.model import Schedule
from dashboard.prober.link import Configure, Inbox, Message, Stop, encode

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Raw:
    """A prober process and the bare socket to it."""

    process: subprocess.Popen[bytes]
    link: socket.socket

    def read_one(self) -> Message:
        inbox = Inbox()
        while True:
            for message in inbox.feed(self.link.recv(65536)):
                return message

    def log(self) -> list[dict[str, str]]:
        """Every line it logged, once it has ended."""
        _, said = self.process.communicate(timeout=15)
        return [orjson.loads(line) for line in said.splitlines()]


@contextmanager
def _raw_prober() -> Iterator[Raw]:
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(15)
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboard.prober.process", "--link-fd", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
        )
        theirs.close()
        try:
            yield Raw(process, ours)
        finally:
            process.kill()
            process.communicate()


def test_the_prober_is_nice_ignores_ctrl_c_and_sighup_and_ends_with_its_link() -> None:
    with _raw_prober() as raw:
        raw.link.sendall(encode(Configure(checks=(), commands_enabled=False)))
        raw.read_one()
        watched = psutil.Process(raw.process.pid)
        assert watched.nice() == min(19, os.nice(0) + 5)
        raw.process.send_signal(signal.SIGINT)
        raw.process.send_signal(signal.SIGHUP)
        raw.link.sendall(encode(Configure(checks=(), commands_enabled=False)))
        raw.read_one()
        raw.link.shutdown(socket.SHUT_RDWR)
        assert raw.log() == []
        assert raw.process.returncode == 0


def test_garbage_on_the_link_ends_the_prober_with_a_line_that_says_so() -> None:
    with _raw_prober() as raw:
        raw.link.sendall(b"\xff\xff\xff\xffnonsense")
        (line,) = raw.log()
        assert line["level"] == "error"
        assert "a message claims 4294967295 bytes" in line["trace"]


def test_a_check_that_cannot_be_rebuilt_is_logged_by_its_name() -> None:
    check = make_check("shop", probe=Command(argv=("/usr/bin/true",)), schedule=Schedule(every_s=60.0, timeout_s=5.0))
    with _raw_prober() as raw:
        frame = encode(Configure(checks=(check,), commands_enabled=False))
        raw.link.sendall(frame.replace(b'"type":"command"', b'"type":"comment"'))
        raw.read_one()
        raw.link.sendall(encode(Stop()))
        (line,) = raw.log()
        assert line["message"] == "check 'shop': the prober knows no such type; it does not run"
