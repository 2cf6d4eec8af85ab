"""A real Context for probes that need no network: real threads, a real or a fake clock, memory between runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from checks.base import Clock, ProberHealth
from dashboard.clock import SystemClock

T = TypeVar("T")


class Threads:
    """Blocking calls in real threads, at most `count` at once."""

    def __init__(self, count: int = 4) -> None:
        self._pool = ThreadPoolExecutor(count)

    async def run(self, kind: str, call: Callable[[], T], timeout_s: float) -> T:
        return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(self._pool, call), timeout_s)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class LocalContext:
    """One check's context; `again` gives that of another check of the same prober."""

    def __init__(
        self,
        threads: Threads,
        *,
        timeout_s: float = 10.0,
        clock: Clock | None = None,
        health: ProberHealth | None = None,
        shared: dict[str, object] | None = None,
    ) -> None:
        self.timeout_s = timeout_s  # of a run: a test's context does not count down
        self.clock = clock or SystemClock()
        self.blocking = threads
        self.memory: dict[str, object] = {}
        self.shared: dict[str, object] = {} if shared is None else shared
        self.health = health or ProberHealth()

    @property
    def http(self) -> object:
        raise AssertionError("no local probe asks for HTTP")

    @property
    def resolver(self) -> object:
        raise AssertionError("no local probe looks a name up")

    def prober_health(self) -> ProberHealth:
        return self.health

    def again(self, timeout_s: float | None = None) -> LocalContext:
        return LocalContext(
            self.blocking,
            timeout_s=self.timeout_s if timeout_s is None else timeout_s,
            clock=self.clock,
            health=self.health,
            shared=self.shared,
        )
