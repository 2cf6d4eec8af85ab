"""Runs programs under a deadline, few at a time, and leaves nothing of them behind."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from checks.base import Blocking

OUTPUT_LIMIT_BYTES = 64 * 1024
GRACE_S = 2.0  # between asking a program to end (SIGTERM) and ending it (SIGKILL)
_MARK = "WATCHROOM_RUN"  # in the environment of a run: finds the children that moved to other sessions and parents
_POLL_S = 0.02  # where the system cannot tell us that a program ended (macOS)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended. `exit_code` is negative for a signal (as in subprocess), None when the deadline came first."""

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    dropped_bytes: int


class NoFreeSlot(Exception):
    """As many programs as may run at once were running until the deadline."""


class Programs:
    """Runs at most `limit` programs at once. Belongs to one event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._slots = asyncio.Semaphore(limit)
        self._stopping: set[asyncio.Task[None]] = set()

    async def run(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str, timeout_s: float, blocking: Blocking
    ) -> Ending:
        """How the program ended, at the deadline at the latest; what is left of it is then ended behind the answer.

        Raises OSError when the program cannot be started, NoFreeSlot when it never got its turn.
        """
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise NoFreeSlot from error
        try:
            run = _Run(argv, env, cwd)
        except BaseException:
            self._slots.release()
            raise
        try:
            await asyncio.wait({run.exited}, timeout=deadline_s - asyncio.get_running_loop().time())
            if run.exited.done():
                run.close()
            return run.ending()
        finally:
            if run.is_closed:
                self._slots.release()
            else:
                self._stop(run, blocking)

    def _stop(self, run: _Run, blocking: Blocking) -> None:
        """End the run in a task of its own, which keeps the slot until nothing is left."""

        def stopped(task: asyncio.Task[None]) -> None:
            self._stopping.discard(task)
            run.close()  # where the prober itself ends and cancels the task, the program still must not stay
            self._slots.release()
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("a program was ended the hard way", exc_info=error)

        run.signal_group(signal.SIGTERM)
        task = asyncio.create_task(run.stop(blocking))
        self._stopping.add(task)
        task.add_done_callback(stopped)


class _Run:
    """One program on its way: its process group, what it prints, and the end of both."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> None:
        self._mark = secrets.token_hex(16)
        self._process = subprocess.Popen(
            argv,
            env={**env, _MARK: self._mark},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._loop = asyncio.get_running_loop()
        self._stdout = _Output(self._process.stdout, self._loop)
        self._stderr = _Output(self._process.stderr, self._loop)
        self.exited: asyncio.Future[None] = self._loop.create_future()
        self.is_closed = False
        self._pidfd = -1
        self._watch()

    def ending(self) -> Ending:
        """How it ended as far as is known now."""
        return Ending(
            exit_code=self._process.returncode,
            stdout=bytes(self._stdout.kept),
            stderr=bytes(self._stderr.kept),
            dropped_bytes=self._stdout.dropped_bytes + self._stderr.dropped_bytes,
        )

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the whole process group. Its number is safe to use until its leader is reaped."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    async def stop(self, blocking: Blocking) -> None:
        """End the program and its children, wherever they moved to; return when the program is gone."""
        await self._signal_strays(signal.SIGTERM, blocking)
        await asyncio.wait({self.exited, self._stdout.ended, self._stderr.ended}, timeout=GRACE_S)
        self.signal_group(signal.SIGKILL)
        for _ in range(10):  # strays may fork while they are being looked for
            if not await self._signal_strays(signal.SIGKILL, blocking):
                break
        await asyncio.wait({self.exited})

    def close(self) -> None:
        """Reap the program, end what is left of its group and free what it held; idempotent."""
        if self.is_closed:
            return
        self.is_closed = True
        if not self.exited.done():
            self.exited.cancel()
            _signal_strays(self._process.pid, self._mark, signal.SIGKILL)
        self.signal_group(signal.SIGKILL)
        self._stdout.close()
        self._stderr.close()
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1.0)  # it has ended already, but for the hard way out

    def _watch(self) -> None:
        """See to it that `exited` is set when the program ends, without reaping it and without a thread."""
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):
            self._poll()
        else:
            self._loop.add_reader(self._pidfd, self._note_exit)

    def _note_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        if not self.exited.done():
            self.exited.set_result(None)

    def _poll(self) -> None:
        if self.exited.done():
            return
        if self._process.poll() is None:
            self._loop.call_later(_POLL_S, self._poll)
        else:
            self.exited.set_result(None)

    async def _signal_strays(self, number: signal.Signals, blocking: Blocking) -> int:
        """How many strays were signalled; looking for them reads all of /proc, hence the thread."""
        return await blocking.run("command", lambda: _signal_strays(self._process.pid, self._mark, number), GRACE_S)


class _Output:
    """What comes out of one pipe: kept up to the limit, read and dropped beyond it, so that nobody blocks on it."""

    def __init__(self, pipe: IO[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self.kept = bytearray()
        self.dropped_bytes = 0
        self.ended: asyncio.Future[None] = loop.create_future()
        self._pipe = pipe
        self._loop = loop
        os.set_blocking(pipe.fileno(), False)
        loop.add_reader(pipe.fileno(), self._read)

    def close(self) -> None:
        """Take what is already there, within the limit, and let go of the pipe."""
        while not self.ended.done() and len(self.kept) < OUTPUT_LIMIT_BYTES and self._read():
            pass
        self._finish()

    def _read(self) -> bool:
        """Whether there was something to read."""
        try:
            chunk = os.read(self._pipe.fileno(), OUTPUT_LIMIT_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            self._finish()
            return False
        room_bytes = OUTPUT_LIMIT_BYTES - len(self.kept)
        self.kept += chunk[:room_bytes]
        self.dropped_bytes += max(0, len(chunk) - room_bytes)
        return True

    def _finish(self) -> None:
        if not self.ended.done():
            self._loop.remove_reader(self._pipe.fileno())
            self._pipe.close()
            self.ended.set_result(None)


def _signal_strays(pid: int, mark: str, number: signal.Signals) -> int:
    """Signal every process that the run brought forth but that left its process group; how many there were.

    They are found in /proc by their parents, by their session, and by the mark in their environment, which also
    finds one whose parents are gone. One that wiped its environment and lost its parent stays unseen.
    """
    strays = 0
    for stray in _find_strays(pid, mark):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(stray, number)
            strays += 1
    return strays


def _find_strays(pid: int, mark: str) -> set[int]:
    needle = f"{_MARK}={mark}".encode()
    family, group, children = {pid}, {pid}, dict[int, list[int]]()
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if not name.isdigit():
            continue
        with suppress(OSError):  # it ended, or belongs to somebody else
            state, parent, process_group, session = _read("stat", name).rpartition(b") ")[2].split()[:4]
            if state == b"Z":
                continue
            children.setdefault(int(parent), []).append(int(name))
            if int(process_group) == pid:
                group.add(int(name))
            if pid in (int(process_group), int(session)) or needle in _read("environ", name):
                family.add(int(name))
    unseen = list(family)
    while unseen:
        born = [child for child in children.get(unseen.pop(), []) if child not in family]
        family.update(born)
        unseen += born
    return family - group


def _read(what: str, pid: str) -> bytes:
    with open(f"/proc/{pid}/{what}", "rb") as file:
        return file.read()
