"""The prober's main: `python -m dashboard.prober.process --link-fd N`, started by the supervisor and ended with it."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import socket
import sys

from checks._tools import Tools
from dashboard.clock import SystemClock
from dashboard.errors import LinkError
from dashboard.logs import JsonLines, start_log
from dashboard.model import Result, RunPhase
from dashboard.prober.link import (
    Acknowledge,
    Configure,
    Heartbeat,
    Inbox,
    Message,
    Resend,
    RunChanged,
    RunNow,
    Stop,
    encode,
)
from dashboard.prober.outbox import Outbox
from dashboard.prober.runner import Runner
from dashboard.prober.scheduler import Scheduler
from dashboard.prober.workers import Threads

_log = logging.getLogger(__name__)
_BATCH_S = 0.05
_HEARTBEAT_S = 1.0
_GRACE_S, _END_S = 3.0, 7.5  # for runs in flight; for everything, within the supervisor's 8 s
_NICE = 5
_PR_SET_PDEATHSIG = 1
_BACKLOG_BYTES = 1024 * 1024


class Prober(asyncio.Protocol):
    """The prober's end of the link: obeys messages, hands results over, stops in order."""

    def __init__(self, worker: str, parent: int, log_lines: JsonLines) -> None:
        self._parent = parent
        self._log_lines = log_lines
        self._clock = SystemClock()
        self._tools = Tools(blocking=Threads(), clock=self._clock, prober_health=lambda: self._scheduler.health())
        self._runner = Runner(self._tools, worker=worker, clock=self._clock)
        self._scheduler = Scheduler(
            self._runner.run, on_result=self._take_result, on_run=self._tell_run, clock=self._clock
        )
        self._inbox = Inbox()
        self._outbox = Outbox()
        self._transport: asyncio.Transport | None = None
        self._flush_timer: asyncio.TimerHandle | None = None
        self._stop_wanted = asyncio.Event()
        self._link_lost = asyncio.Event()
        self._acknowledged = asyncio.Event()

    async def serve(self, link: socket.socket) -> None:
        """Measure until the link ends, or Stop or SIGTERM comes; then end in order."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_sigterm)
        async with self._tools:
            self._scheduler.start()
            await loop.connect_accepted_socket(lambda: self, link)
            beat = loop.create_task(self._beat())
            await self._stop_wanted.wait()
            beat.cancel()
            await self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._inbox.feed(data):
                self._obey(message)
        except LinkError:
            _log.exception("the link cannot be read any more")
            self._lose_link()

    def connection_lost(self, error: Exception | None) -> None:
        self._lose_link()

    def _on_sigterm(self) -> None:
        if os.getppid() == self._parent:
            self._stop_wanted.set()
        else:
            self._lose_link()

    def _lose_link(self) -> None:
        self._link_lost.set()
        self._acknowledged.set()
        self._stop_wanted.set()

    def _obey(self, message: Message) -> None:
        match message:
            case Configure():
                self._configure(message)
            case RunNow(check_id=check_id, by=by):
                self._scheduler.run_now(check_id, by)
            case Acknowledge(sequence=sequence):
                self._outbox.acknowledge(sequence)
                self._acknowledged.set()
                if self._outbox.is_batch_full:
                    self._flush()
            case Resend():
                self._outbox.resend()
                self._flush()
            case Stop():
                self._stop_wanted.set()
            case _:
                raise LinkError(f"the web process sent {type(message).__name__}, which only it may receive")

    def _configure(self, wanted: Configure) -> None:
        for fault in wanted.faults:
            _log.error("%s; it does not run", fault)
        self._log_lines.secrets = {secret for check in wanted.checks for secret in check.secrets}
        self._runner.commands_enabled = wanted.commands_enabled
        self._runner.keep_only({check.id for check in wanted.checks})
        self._scheduler.configure(wanted.checks)
        self._send(Heartbeat(health=self._scheduler.health()))

    def _take_result(self, result: Result, is_awaited: bool) -> None:
        """Batch the result: at most 50 ms pass before it is on its way, none when somebody waits for it."""
        if not self._outbox.add(result) and self._outbox.dropped in (1, 1000):
            _log.error("results are not taken for so long that new ones are dropped (%d)", self._outbox.dropped)
        if is_awaited or self._outbox.is_batch_full:
            self._flush()
        elif self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(_BATCH_S, self._flush)

    def _tell_run(self, check_id: str, phase: RunPhase | None, by: str) -> None:
        self._send(RunChanged(check_id=check_id, phase=phase, by=by))

    def _flush(self) -> None:
        """Send every batch that may go."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        while (batch := self._outbox.take()) is not None:
            self._send(batch)

    def _send(self, message: Message) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(message))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_S)
            self._scheduler.watch_clock()
            self._flush()
            if self._transport is not None and self._transport.get_write_buffer_size() < _BACKLOG_BYTES:
                self._send(Heartbeat(health=self._scheduler.health()))

    async def _end(self) -> None:
        """No new runs, 3 s for those in flight, then results until acknowledged; nobody left to tell means at once."""
        end_s = self._clock.monotonic_s() + _END_S
        await self._scheduler.stop(grace_s=0.0 if self._link_lost.is_set() else _GRACE_S)
        while self._outbox.rows and not self._link_lost.is_set():
            self._acknowledged.clear()
            self._flush()
            try:
                async with asyncio.timeout(end_s - self._clock.monotonic_s()):
                    await self._acknowledged.wait()
            except TimeoutError:
                break
        if self._outbox.rows:
            _log.error("the prober ends and %d results were not taken", self._outbox.rows)
        if self._transport is not None:
            self._transport.close()


def main() -> None:
    """Become the prober."""
    options = argparse.ArgumentParser(prog="dashboard.prober.process", description="Started by Watchroom itself.")
    options.add_argument("--link-fd", type=int, required=True)
    options.add_argument("--worker", default="prober-1")
    options.add_argument("--directory", default=".")
    chosen = options.parse_args()
    parent = os.getppid()
    _end_with_parent()
    os.nice(_NICE)
    os.chdir(chosen.directory)
    os.set_inheritable(chosen.link_fd, False)
    log_lines = start_log()
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # it tells of every fire, and of every skipped one
    asyncio.run(_run(chosen.link_fd, chosen.worker, parent, log_lines))


async def _run(link_fd: int, worker: str, parent: int, log_lines: JsonLines) -> None:
    await Prober(worker, parent, log_lines).serve(socket.socket(fileno=link_fd))


def _end_with_parent() -> None:
    """Ctrl-C and SIGHUP are the parent's to handle; when it is gone the kernel sends SIGTERM, besides ending the link."""
    signals = {signal.SIGINT, signal.SIGHUP}
    for number in signals:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)  # the supervisor held them back until now
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


if __name__ == "__main__":
    main()
