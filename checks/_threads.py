"""Blocking calls in a few threads: all that one run from a shell needs."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
_MOST_OF_A_KIND = 8


class Threads:
    """A Blocking whose threads die with the program, so that a hung call keeps nobody waiting at the end."""

    def __init__(self) -> None:
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_MOST_OF_A_KIND))

    async def run(self, kind: str, call: Callable[[], T], timeout_s: float) -> T:
        """What the call gives. Raises TimeoutError at the deadline; the thread is then left to itself."""
        async with asyncio.timeout(timeout_s), self._slots[kind]:
            loop = asyncio.get_running_loop()
            done: asyncio.Future[T] = loop.create_future()

            def settle(value: T | None, error: BaseException | None) -> None:
                if done.done():
                    return
                if error is not None:
                    done.set_exception(error)
                else:
                    done.set_result(value)  # type: ignore[arg-type]  # T itself may be None

            def work() -> None:
                value, error = None, None
                try:
                    value = call()
                except BaseException as raised:  # noqa: BLE001 - whatever it is, the waiter gets it
                    error = raised
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(settle, value, error)

            threading.Thread(target=work, name=f"{kind} call", daemon=True).start()
            return await done
