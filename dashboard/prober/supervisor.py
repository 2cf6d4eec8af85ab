"""The web process's side: starts the prober, gives it its checks, takes its results, and starts it again when it dies."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from checks.base import Clock, ProberHealth
from dashboard.errors import LinkError, ProberDown
from dashboard.model import Check, Result, RunPhase
from dashboard.prober.link import (
    Acknowledge,
    Configure,
    Heartbeat,
    Inbox,
    Message,
    Resend,
    Results,
    RunChanged,
    RunNow,
    Stop,
    encode,
)

_log = logging.getLogger(__name__)
_ROOT = Path(__file__).resolve().parents[2]  # where `dashboard` is imported from
_FIRST_BACK_OFF_S, _LAST_BACK_OFF_S, _ALIVE_LONG_S = 0.5, 30.0, 60.0
_FIRST_RESEND_S, _LAST_RESEND_S = 0.5, 30.0
_SEND_TIMEOUT_S, _RECEIVE_TIMEOUT_S = 10, 1
_RECEIVE_BYTES = 256 * 1024
_SILENCE_LIMIT_S = 30  # heartbeats come every second; 30 s of silence and its loop is stuck
_GRACE_S = 2.0  # from the end of the link to the end of the process

OnResults = Callable[[Sequence[Result]], None]
OnRun = Callable[[str, RunPhase | None, str], None]


@dataclass(slots=True)
class _Child:
    """One start of the prober. `expected` is the sequence to record next; batches beyond it wait for a Resend."""

    process: subprocess.Popen[bytes]
    link: socket.socket
    expected: int = 1
    resend_after_s: float = _FIRST_RESEND_S
    resend_at_s: float = math.inf
    inbox: Inbox = field(default_factory=Inbox)


class ProberSupervisor:
    """Keeps one prober process running. Every method may be called from any thread.

    `on_results` and `on_run` are called on one thread of its own, in order. A batch is acknowledged once `on_results`
    returned; when that raises, the batch comes again later, and nothing that followed is recorded before it.
    `on_run` tells of runs that somebody asked for (`run_now`), never of merely scheduled ones; "over" (None) comes
    after the result was recorded, or when the prober died.
    """

    def __init__(self, *, on_results: OnResults, on_run: OnRun, worker: str = "prober-1", clock: Clock) -> None:
        self._on_results = on_results
        self._on_run = on_run
        self._worker = worker
        self._clock = clock
        self._lock = threading.Lock()  # sending, and who the child is
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="prober supervisor", daemon=True)
        self._wanted = Configure(checks=(), commands_enabled=False)
        self._child: _Child | None = None
        self._asked: dict[str, str] = {}  # check id -> who asked, until the run is over
        self._restarts = 0
        self._health = ProberHealth()
        self._heard_s = math.nan

    @property
    def is_alive(self) -> bool:
        """Whether a prober process is there."""
        return self._child is not None

    @property
    def pid(self) -> int | None:
        """The prober's process id while there is one."""
        child = self._child
        return child.process.pid if child else None

    @property
    def restarts(self) -> int:
        """How often it had to be started again."""
        return self._restarts

    @property
    def health(self) -> ProberHealth:
        """What the prober last said of itself."""
        return self._health

    @property
    def heartbeat_age_s(self) -> float:
        """Seconds since the prober was last heard of, or since `start`; infinite before."""
        return math.inf if math.isnan(self._heard_s) else self._clock.monotonic_s() - self._heard_s

    def start(self, checks: Sequence[Check], *, commands_enabled: bool) -> None:
        """Start the prober with these checks; returns at once. Raises LinkError when they cannot be sent."""
        self.configure(checks, commands_enabled=commands_enabled)
        self._heard_s = self._clock.monotonic_s()
        self._thread.start()

    def configure(self, checks: Sequence[Check], *, commands_enabled: bool) -> None:
        """Run these checks from now on, also after a restart. Raises LinkError when they cannot be sent."""
        wanted = Configure(checks=tuple(checks), commands_enabled=commands_enabled)
        frame = encode(wanted)
        with self._lock:
            self._wanted = wanted
            if self._child is not None:
                self._send(self._child, frame)

    def run_now(self, check_id: str, by: str) -> None:
        """Ask for a run; `on_run` and `on_results` tell what became of it. Raises ProberDown."""
        with self._lock:
            if self._child is None or self._stopping.is_set():
                raise ProberDown("the prober is not running; it is started again within 30 s")
            self._asked.setdefault(check_id, by)
            self._send(self._child, encode(RunNow(check_id=check_id, by=by)))

    def stop(self, timeout_s: float = 8.0) -> None:
        """Let the prober finish and hand over its results, then end it; idempotent."""
        self._stopping.set()
        with self._lock:
            child = self._child
            if child is not None:
                self._send(child, encode(Stop()))
        if not self._thread.is_alive():
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive() and child is not None:
            _log.error("the prober did not end within %.0f s and is killed", timeout_s)
            child.process.kill()
            self._thread.join(_GRACE_S)

    def _watch(self) -> None:
        """Start the prober, serve it to its end, start it again. The thread must outlive the child (PR_SET_PDEATHSIG)."""
        # A child inherits what its thread holds back: Ctrl-C must not hit a prober that is still starting.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        back_off_s = _FIRST_BACK_OFF_S
        while not self._stopping.is_set():
            started_s = self._clock.monotonic_s()
            try:
                self._serve_one_life()
            except Exception:  # noqa: BLE001 - whatever goes wrong, the next prober is to be started; logged
                _log.exception("the prober could not be served")
            if self._stopping.is_set():
                return
            if self._clock.monotonic_s() - started_s >= _ALIVE_LONG_S:
                back_off_s = _FIRST_BACK_OFF_S
            _log.error("the prober ended; it is started again in %.1f s", back_off_s)
            self._stopping.wait(back_off_s)
            self._restarts += not self._stopping.is_set()
            back_off_s = min(2 * back_off_s, _LAST_BACK_OFF_S)

    def _serve_one_life(self) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            self._child = child = _start_child(self._worker)
            self._send(child, encode(self._wanted))
        try:
            self._read(child)
        except (OSError, LinkError) as error:
            _log.error("the link to the prober broke: %s", error)
        finally:
            with self._lock:
                self._child = None
            self._health = ProberHealth()
            child.link.close()
            _reap(child.process)
            self._forget_asked()

    def _read(self, child: _Child) -> None:
        """Take messages until the link ends, or the prober has been silent for too long."""
        silent_s = 0  # counted in idle waits: time that passes while we ourselves are stopped is no silence
        while silent_s < _SILENCE_LIMIT_S:
            self._resend_if_due(child)
            try:
                data = child.link.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                silent_s += _RECEIVE_TIMEOUT_S
                continue
            if not data:
                return
            silent_s = 0
            for message in child.inbox.feed(data):
                self._take(child, message)
        raise LinkError(f"not a word for {_SILENCE_LIMIT_S} s")

    def _take(self, child: _Child, message: Message) -> None:
        match message:
            case Results():
                self._record(child, message)
            case RunChanged(check_id=check_id, phase=phase, by=by):
                if phase is None:
                    self._asked.pop(check_id, None)
                self._tell_run(check_id, phase, by)
            case Heartbeat(health=health):
                self._health = health
                self._heard_s = self._clock.monotonic_s()
            case _:
                raise LinkError(f"the prober sent {type(message).__name__}, which only it may receive")

    def _record(self, child: _Child, batch: Results) -> None:
        """Record the batch if it is the next one, and acknowledge; what was recorded before is only acknowledged."""
        if batch.sequence > child.expected:
            return  # its forerunner failed: all of them come again, in order
        if batch.sequence == child.expected:
            try:
                self._on_results(batch.results)
            except Exception:  # noqa: BLE001 - logged; the prober still has the batch
                _log.exception("%d results were not recorded; they are asked for again", len(batch.results))
                child.resend_at_s = self._clock.monotonic_s() + child.resend_after_s
                child.resend_after_s = min(2 * child.resend_after_s, _LAST_RESEND_S)
                return
            child.expected += 1
            child.resend_after_s = _FIRST_RESEND_S
        with self._lock:
            self._send(child, encode(Acknowledge(sequence=child.expected - 1)))

    def _resend_if_due(self, child: _Child) -> None:
        if self._clock.monotonic_s() >= child.resend_at_s:
            child.resend_at_s = math.inf
            with self._lock:
                self._send(child, encode(Resend()))

    def _forget_asked(self) -> None:
        """A run that was asked for died with the prober: say that it is over."""
        with self._lock:
            asked, self._asked = self._asked, {}
        for check_id, by in asked.items():
            self._tell_run(check_id, None, by)

    def _tell_run(self, check_id: str, phase: RunPhase | None, by: str) -> None:
        try:
            self._on_run(check_id, phase, by)
        except Exception:  # noqa: BLE001 - what a page shows must not end the measuring; logged
            _log.exception("that a run of check %r changed could not be told", check_id)

    def _send(self, child: _Child, frame: bytes) -> None:
        """Send, the lock held. A link that takes nothing is cut: the reading thread then starts a new prober."""
        try:
            child.link.sendall(frame)
        except OSError as error:
            _log.error("the prober takes no messages: %s", error)
            try:
                child.link.shutdown(socket.SHUT_RDWR)
            except OSError:
                _log.debug("the link was gone already")


def _start_child(worker: str) -> _Child:
    ours, theirs = socket.socketpair()
    try:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_TIMEOUT_S, 0))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _RECEIVE_TIMEOUT_S, 0))
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "dashboard.prober.process"),
                *("--link-fd", str(theirs.fileno()), "--worker", worker, "--directory", os.getcwd()),
            ],
            cwd=_ROOT,  # `-m` imports from here; the prober then returns to where we are
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return _Child(process=process, link=ours)


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
