"""What all runs of one event loop share, and the context that one run sees of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from checks._curl import CurlEngine
from checks._resolve import SystemResolver
from checks.base import Blocking, Clock, Context, HttpEngine, ProberHealth, Resolver


class Tools:
    """The HTTP engine, the resolver and the rest, for as long as `async with` lasts; belongs to that event loop."""

    def __init__(
        self, *, blocking: Blocking, clock: Clock, prober_health: Callable[[], ProberHealth] = ProberHealth
    ) -> None:
        self._blocking = blocking
        self._clock = clock
        self._prober_health = prober_health
        self._resolver = SystemResolver(blocking, clock)
        self._shared: dict[str, object] = {}
        self._engine: CurlEngine | None = None

    async def __aenter__(self) -> Self:
        self._engine = CurlEngine(asyncio.get_running_loop())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def context(self, *, timeout_s: float, memory: MutableMapping[str, object]) -> Context:
        """What one run may use; its time starts now. `memory` is the check's own, kept between its runs."""
        if self._engine is None:
            raise RuntimeError("Tools serve only inside `async with`")
        return _RunContext(
            deadline_s=self._clock.monotonic_s() + timeout_s,
            clock=self._clock,
            http=self._engine,
            resolver=self._resolver,
            blocking=self._blocking,
            memory=memory,
            shared=self._shared,
            health=self._prober_health,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunContext:
    """One run's Context. `deadline_s` is on the clock's monotonic scale."""

    deadline_s: float
    clock: Clock
    http: HttpEngine
    resolver: Resolver
    blocking: Blocking
    memory: MutableMapping[str, object]
    shared: MutableMapping[str, object]
    health: Callable[[], ProberHealth]

    @property
    def timeout_s(self) -> float:
        return max(0.0, self.deadline_s - self.clock.monotonic_s())

    def prober_health(self) -> ProberHealth:
        return self.health()
