"""Threads for blocking calls: bounded, and none that hangs holds up the others."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from dashboard.prober.workers import THREADS_A_KIND, WRITTEN_OFF_LIMIT, Threads


def test_a_call_gives_its_value() -> None:
    assert asyncio.run(Threads().run("disk", lambda: 42, 5.0)) == 42


def test_a_call_raises_what_it_raises() -> None:
    def fail() -> None:
        raise FileNotFoundError("/mnt/gone")

    with pytest.raises(FileNotFoundError, match="/mnt/gone"):
        asyncio.run(Threads().run("disk", fail, 5.0))


def test_a_call_past_its_deadline_is_given_up_and_its_thread_replaced(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    async def scenario() -> list[int]:
        threads = Threads()
        hung = [threads.run("disk", release.wait, 0.05) for _ in range(THREADS_A_KIND)]
        ended = await asyncio.gather(*hung, return_exceptions=True)
        assert all(isinstance(end, TimeoutError) for end in ended)
        return await asyncio.gather(*(threads.run("disk", lambda n=number: n, 5.0) for number in range(20)))

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(scenario()) == list(range(20))
    release.set()
    assert f"its thread is written off ({THREADS_A_KIND} now)" in caplog.text


def test_one_kind_does_not_wait_for_another() -> None:
    release = threading.Event()

    async def scenario() -> int:
        threads = Threads()
        hung = [asyncio.ensure_future(threads.run("disk", release.wait, 30.0)) for _ in range(THREADS_A_KIND + 3)]
        value = await threads.run("resolver", lambda: 7, 5.0)
        release.set()
        await asyncio.gather(*hung)
        return value

    assert asyncio.run(scenario()) == 7


def test_no_more_calls_of_one_kind_go_at_once_than_allowed() -> None:
    release, going, most = threading.Event(), [0], [0]
    lock = threading.Lock()

    def call() -> None:
        with lock:
            going[0] += 1
            most[0] = max(most[0], going[0])
            if going[0] == THREADS_A_KIND:
                release.set()
        release.wait()
        with lock:
            going[0] -= 1

    async def scenario() -> None:
        threads = Threads()
        await asyncio.gather(*(threads.run("disk", call, 10.0) for _ in range(3 * THREADS_A_KIND)))

    asyncio.run(scenario())
    assert most[0] == THREADS_A_KIND


def test_threads_that_hang_are_bounded_and_serve_again_once_they_come_back() -> None:
    release = threading.Event()

    async def scenario() -> int:
        threads = Threads()
        before = threading.active_count()
        for _ in range(WRITTEN_OFF_LIMIT // THREADS_A_KIND + 3):
            hung = [threads.run("disk", release.wait, 0.02) for _ in range(THREADS_A_KIND)]
            await asyncio.gather(*hung, return_exceptions=True)
        assert threading.active_count() - before <= WRITTEN_OFF_LIMIT + THREADS_A_KIND
        release.set()
        return await threads.run("disk", lambda: 5, 10.0)

    assert asyncio.run(scenario()) == 5


def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    release, called = threading.Event(), []

    async def scenario() -> None:
        threads = Threads()
        hung = [asyncio.ensure_future(threads.run("disk", release.wait, 30.0)) for _ in range(THREADS_A_KIND)]
        waiting = asyncio.ensure_future(threads.run("disk", lambda: called.append(1), 30.0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        release.set()
        await asyncio.gather(*hung)

    asyncio.run(scenario())
    assert called == []
