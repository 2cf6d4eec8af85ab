"""What one HTTP check costs: checks a second per core of CPU time of the HTTP engine, of whole probes, and among hung targets.

`python tests/bench/bench_http_engine.py [COUNT] [--uvloop]`

The server is a process of its own, so CPU time of this process is the price of the checks alone and a busy neighbour
changes little. The yardstick is the least that asyncio can do: connect, send, receive, close on a bare socket.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from bench.figures import Figure, note, show
from targets import make_certificates

from checks._measure import measure
from checks._threads import Threads
from checks._tools import Tools
from checks.base import Context, HttpRequest, Probe, Status
from checks.http import Http
from checks.tcp import Tcp
from dashboard.clock import SystemClock

IN_FLIGHT = 32
HUNG = 500
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nready\n"
Work = Callable[[], Awaitable[None]]


class Answers(asyncio.Protocol):
    """Answers each connection once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def data_received(self, _: bytes) -> None:
        self._transport.write(ANSWER)
        self._transport.close()


async def serve(folder: Path) -> None:
    """Serve HTTP and HTTPS until the parent lets go of standard input; prints both ports."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "good.pem", folder / "good.key")
    loop = asyncio.get_running_loop()
    plain = await loop.create_server(Answers, "127.0.0.1", 0, backlog=1024)
    secure = await loop.create_server(Answers, "127.0.0.1", 0, backlog=1024, ssl=tls)
    print(*(server.sockets[0].getsockname()[1] for server in (plain, secure)), flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, int]]:
    """The ports of a server in a process of its own: HTTP, HTTPS."""
    command = [sys.executable, __file__, "serve", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        plain, secure = map(int, process.stdout.readline().split())
        yield plain, secure
        process.communicate("")


async def per_core(work: Work, count: int) -> float:
    """How often a second of CPU time can do the work, with 32 under way at once."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await work()

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))  # warm
    begun_s = time.process_time()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return count / (time.process_time() - begun_s)


def bare(port: int) -> Work:
    """The same exchange on a bare socket."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as connection:
            connection.setblocking(False)
            await loop.sock_connect(connection, ("127.0.0.1", port))
            await loop.sock_sendall(connection, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while await loop.sock_recv(connection, 65536):
                pass

    return work


def engine(context: Context, url: str) -> Work:
    """One exchange of the engine."""
    request = HttpRequest(method="GET", url=url, address="127.0.0.1", timeout_s=10)

    async def work() -> None:
        exchange = await context.http.exchange(request)
        assert exchange.status == 200, exchange.error

    return work


def whole(tools: Tools, probe: Probe) -> Work:
    """One run of the probe, judged as in the prober."""
    memory: dict[str, object] = {}

    async def work() -> None:
        reading = await measure(probe, tools.context(timeout_s=10, memory=memory), {})
        assert reading.status is Status.OK, reading.summary

    return work


async def measured(count: int, plain: int, secure: int) -> list[Figure]:
    """All figures, one after the other."""
    http, https = f"http://127.0.0.1:{plain}/", f"https://127.0.0.1:{secure}/"
    async with Tools(blocking=Threads(), clock=SystemClock()) as tools:
        context = tools.context(timeout_s=600, memory={})
        least = await per_core(bare(plain), count)
        rates = {
            "engine, HTTP": await per_core(engine(context, http), count),
            "probe http, HTTP": await per_core(whole(tools, Http(url=http, body_contains="ready")), count),
            "engine, HTTPS": await per_core(engine(context, https), count // 5),
            "probe http, HTTPS": await per_core(whole(tools, Http(url=https)), count // 5),
            "probe tcp": await per_core(whole(tools, Tcp(host="127.0.0.1", port=plain)), count),
        }
        figures = [figure(name, rate, "bare socket on asyncio", least) for name, rate in rates.items()]
        with socket.create_server(("127.0.0.1", 0), backlog=2 * HUNG) as tarpit:
            hung_url = f"http://127.0.0.1:{tarpit.getsockname()[1]}/"
            hung = [asyncio.create_task(engine(context, hung_url)()) for _ in range(HUNG)]
            await asyncio.sleep(0.2)
            among_hung = await per_core(engine(context, http), count)
            for task in hung:
                task.cancel()
            await asyncio.gather(*hung, return_exceptions=True)
        rate = rates["engine, HTTP"]
        met = among_hung >= 0.85 * rate
        figures.append(figure(f"engine, HTTP, {HUNG} hung", among_hung, "none hung", rate, ">= 0.85 of it", met))
    return figures


def figure(name: str, rate: float, yardstick: str, value: float, bar: str = "", is_met: bool | None = None) -> Figure:
    """A rate as a row of the table."""
    return Figure(name=name, value=rate, unit="/s", yardstick=yardstick, yardstick_value=value, bar=bar, is_met=is_met)


def bench_http_engine(count: int = 5000) -> Iterator[Figure]:
    """Checks a second per core."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority = make_certificates(folder).authority
        stack.enter_context(_trusting(authority))
        plain, secure = stack.enter_context(server(folder))
        yield from asyncio.run(measured(count, plain, secure))


@contextmanager
def _trusting(authority: Path) -> Iterator[None]:
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(authority)
    yield
    if before is None:
        del os.environ["SSL_CERT_FILE"]
    else:
        os.environ["SSL_CERT_FILE"] = before


def main(words: list[str]) -> int:
    """Serve, or measure and show."""
    if "--uvloop" in words or "serve" in words:
        try:
            import uvloop  # not needed to run: to see what it would bring
        except ImportError:
            note("no uvloop here")
        else:
            asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    if words[:1] == ["serve"]:
        asyncio.run(serve(Path(words[1])))
        return 0
    numbers = [int(word) for word in words if word.isdigit()]
    return show(bench_http_engine(*numbers))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
