"""The HTTP engine on its own: many at once, one after the other, given up, out of resources."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TypeVar

import pytest
from targets import Target, answer, head_of, routes, says, silent

from checks._curl import CurlEngine
from checks.base import HttpExchange, HttpRequest

T = TypeVar("T")


def with_engine(use: Callable[[CurlEngine], Awaitable[T]]) -> T:
    async def run() -> T:
        with closing(CurlEngine(asyncio.get_running_loop())) as engine:
            return await use(engine)

    return asyncio.run(run())


def request(url: str, method: str = "GET", **options: object) -> HttpRequest:
    return HttpRequest(**{"method": method, "url": url, "address": "127.0.0.1", "timeout_s": 5.0, **options})  # type: ignore[arg-type]


@contextmanager
def tarpit() -> Iterator[int]:
    """The port of a server that lets everybody connect and serves nobody; it costs no thread and no socket of ours."""
    with socket.create_server(("127.0.0.1", 0), backlog=2000) as listener:
        yield listener.getsockname()[1]


@contextmanager
def no_file_left() -> Iterator[None]:
    """No file or socket can be opened meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
    taken = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_hundreds_of_hung_targets_do_not_slow_a_healthy_one() -> None:
    async def use(engine: CurlEngine) -> tuple[HttpExchange, int]:
        hung = [asyncio.create_task(engine.exchange(request(f"http://127.0.0.1:{port}/"))) for _ in range(600)]
        for _ in range(3):
            await engine.exchange(request(target.url()))
        healthy = await engine.exchange(request(target.url()))
        waiting = sum(not task.done() for task in hung)
        for task in hung:
            task.cancel()
        await asyncio.gather(*hung, return_exceptions=True)
        return healthy, waiting

    with tarpit() as port, Target(says(answer())) as target:
        healthy, waiting = with_engine(use)
    assert waiting == 600
    assert healthy.status == 200
    assert healthy.total_s < 0.5


def test_given_up_exchanges_leave_no_socket_behind() -> None:
    async def use(engine: CurlEngine) -> tuple[int, int]:
        await engine.exchange(request(target.url()))
        before = open_files()
        hung = [asyncio.create_task(engine.exchange(request(f"http://127.0.0.1:{port}/"))) for _ in range(50)]
        await engine.exchange(request(target.url()))
        for task in hung:
            task.cancel()
        await asyncio.gather(*hung, return_exceptions=True)
        again = await engine.exchange(request(target.url()))
        assert again.status == 200
        return before, open_files()

    with tarpit() as port, Target(says(answer())) as target:
        before, after = with_engine(use)
    assert after <= before + 1  # the server's side of the last exchange may still be closing


def test_a_handle_forgets_the_request_before() -> None:
    async def use(engine: CurlEngine) -> list[HttpExchange]:
        return [
            await engine.exchange(
                request(target.url("/a"), "POST", body=b"x=1", headers=(("X-One", "1"),), want_certificate=True)
            ),
            await engine.exchange(request(target.url("/b"), "HEAD")),
            await engine.exchange(request(target.url("/c"))),
            await engine.exchange(request(target.url("/d"), "DELETE")),
        ]

    paths = {"/a": answer("one"), "/b": answer("two"), "/c": answer("three"), "/d": answer("four")}
    with Target(routes(paths)) as target:
        exchanges = with_engine(use)
    assert [exchange.body for exchange in exchanges] == [b"one", b"", b"three", b"four"]
    assert [exchange.error for exchange in exchanges] == [""] * 4
    assert [head.split(" ")[0] for head in target.heard] == ["POST", "HEAD", "GET", "DELETE"]
    assert all("X-One" not in head and "Content-Length" not in head for head in target.heard[1:])


def test_hops_at_the_same_time_keep_their_addresses_apart() -> None:
    with Target(says(answer("first")), host="127.0.0.1") as first:
        second_listener = socket.create_server(("127.0.0.2", first.port))

        async def use(engine: CurlEngine) -> list[bytes]:
            url = f"http://shop.example:{first.port}/"
            mixed = [("127.0.0.1", "127.0.0.3"), ("127.0.0.2", "127.0.0.3")] * 20
            answers = await asyncio.gather(
                *(engine.exchange(request(url, address=one, more_addresses=(two,))) for one, two in mixed)
            )
            return [exchange.body for exchange in answers]

        with Target(says(answer("second")), listener=second_listener):
            assert with_engine(use) == [b"first", b"second"] * 20


def test_the_first_address_that_answers_is_taken_and_named() -> None:
    async def use(engine: CurlEngine) -> HttpExchange:
        return await engine.exchange(request(target.url(), address="127.0.0.9", more_addresses=("127.0.0.1",)))

    with Target(says(answer())) as target:
        exchange = with_engine(use)
    assert (exchange.status, exchange.address) == (200, "127.0.0.1")


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(engine: CurlEngine) -> HttpExchange:
        return await engine.exchange(request(target.url()))

    with Target(says(answer("proxy"))) as proxy, Target(says(answer("target"))) as target:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
        assert with_engine(use).body == b"target"
    assert proxy.connections == 0


def test_interim_answers_and_their_headers_are_passed_over() -> None:
    async def use(engine: CurlEngine) -> HttpExchange:
        return await engine.exchange(request(target.url()))

    early = b"HTTP/1.1 103 Early Hints\r\nLink: early\r\n\r\n"
    with Target(says(early, answer("late", X_Late="yes"))) as target:
        exchange = with_engine(use)
    assert (exchange.status, exchange.body) == (200, b"late")
    assert ("X-Late", "yes") in exchange.headers
    assert ("Link", "early") not in exchange.headers


def test_the_body_stops_at_its_limit() -> None:
    async def use(engine: CurlEngine) -> list[HttpExchange]:
        return [await engine.exchange(request(target.url(), body_limit_bytes=size)) for size in (3, 4, 5)]

    with Target(says(answer("four"))) as target:
        exchanges = with_engine(use)
    assert [exchange.body for exchange in exchanges] == [b"fou", b"four", b"four"]
    assert [exchange.body_truncated for exchange in exchanges] == [True, False, False]
    assert [exchange.error for exchange in exchanges] == ["", "", ""]


def test_phases_only_grow_and_name_where_time_went() -> None:
    def dawdle(connection: socket.socket, target: Target) -> None:
        head_of(connection, target)
        target.over.wait(0.2)
        connection.sendall(answer("x")[:-1])
        target.over.wait(0.2)
        connection.sendall(b"x")

    async def use(engine: CurlEngine) -> HttpExchange:
        return await engine.exchange(request(target.url()))

    with Target(dawdle) as target:
        exchange = with_engine(use)
    assert 0 < exchange.connected_s < 0.15
    assert exchange.tls_done_s == 0
    assert 0.2 <= exchange.first_byte_s < 0.4
    assert exchange.total_s >= exchange.first_byte_s + 0.19


def test_a_closed_engine_lets_its_waiters_go() -> None:
    async def run() -> None:
        engine = CurlEngine(asyncio.get_running_loop())
        waiting = asyncio.create_task(engine.exchange(request(target.url())))
        await asyncio.to_thread(target.reached.wait, 5)
        engine.close()
        engine.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(RuntimeError, match="closed"):
            await engine.exchange(request(target.url()))

    with Target(silent) as target:
        asyncio.run(run())


def test_having_no_files_left_is_our_fault() -> None:
    async def use(engine: CurlEngine) -> None:
        await engine.exchange(request(f"http://127.0.0.1:{port}/", timeout_s=0.1))
        with no_file_left():
            await engine.exchange(request(f"http://127.0.0.1:{port}/"))

    with tarpit() as port, pytest.raises(OSError, match=r"no connection to 127\.0\.0\.1:\d+ could be tried"):
        with_engine(use)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://"])
def test_what_is_no_web_address_is_never_fetched(url: str) -> None:
    async def use(engine: CurlEngine) -> None:
        await engine.exchange(request(url))

    with pytest.raises(OSError, match="no connection to"):
        with_engine(use)
