"""Threads for calls that block: few for each kind, and none that hangs keeps the others waiting."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

_log = logging.getLogger(__name__)
THREADS_A_KIND = 8
WRITTEN_OFF_LIMIT = 32  # a kind in which so many threads hang gets no further ones until one comes back
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Task:
    """One call and who waits for it."""

    call: Callable[[], Any]  # any value, handed through
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]
    is_running: bool = False
    is_written_off: bool = False


@dataclass(slots=True)
class _Kind:
    """The threads of one kind. Its fields are touched under `Threads._lock` only."""

    name: str
    waiting: deque[_Task] = field(default_factory=deque)
    threads: int = 0
    written_off: int = 0


class Threads:
    """Runs blocking calls in daemon threads, at most eight at a time for each kind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[str, _Kind] = {}

    async def run(self, kind: str, call: Callable[[], T], timeout_s: float) -> T:
        """What the call gives. Raises TimeoutError at the deadline; the thread is then written off and replaced."""
        loop = asyncio.get_running_loop()
        task = _Task(call=call, loop=loop, done=loop.create_future())
        with self._lock:
            home = self._kinds.setdefault(kind, _Kind(name=kind))
            home.waiting.append(task)
            self._ensure_thread(home)
        try:
            async with asyncio.timeout(timeout_s):
                return await task.done  # type: ignore[no-any-return]  # what the call gives
        finally:
            if not task.done.done() or task.done.cancelled():
                self._give_up(home, task)

    def _ensure_thread(self, home: _Kind) -> None:
        """Start a thread if a call waits and one more is allowed; the lock held."""
        if home.waiting and home.threads < THREADS_A_KIND and home.written_off < WRITTEN_OFF_LIMIT:
            home.threads += 1
            threading.Thread(target=self._work, args=(home,), name=f"{home.name} worker", daemon=True).start()

    def _give_up(self, home: _Kind, task: _Task) -> None:
        with self._lock:
            if not task.is_running:
                if task in home.waiting:
                    home.waiting.remove(task)
                return
            task.is_written_off = True
            home.threads -= 1
            home.written_off += 1
            self._ensure_thread(home)
        _log.warning(
            "a %s call hangs past its deadline; its thread is written off (%d now)", home.name, home.written_off
        )

    def _work(self, home: _Kind) -> None:
        """Take calls until none waits, or this thread was written off."""
        while True:
            with self._lock:
                if not home.waiting:
                    home.threads -= 1
                    return
                task = home.waiting.popleft()
                task.is_running = True
            value, error = None, None
            try:
                value = task.call()
            except BaseException as raised:  # noqa: BLE001 - handed to whoever waits for the call
                error = raised
            with self._lock:
                task.is_running = False
                if task.is_written_off:
                    home.written_off -= 1
                    self._ensure_thread(home)
                    return
            _hand_over(task, value, error)


def _hand_over(task: _Task, value: object, error: BaseException | None) -> None:
    try:
        task.loop.call_soon_threadsafe(_settle, task.done, value, error)
    except RuntimeError:
        _log.debug("a call came back after its loop had ended")


def _settle(done: asyncio.Future[Any], value: object, error: BaseException | None) -> None:
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(value)
