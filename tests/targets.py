"""Targets for probes: real sockets on port 0 that behave as a test wants, and certificates made by openssl."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from checks._measure import measure
from checks._threads import Threads
from checks._tools import Tools
from checks.base import Clock, Probe, Reading, Thresholds
from dashboard.clock import SystemClock

Handler = Callable[[socket.socket, "Target"], None]


class Target:
    """A server whose handler gets each connection in a thread of its own; `over` is set when the test is done with it."""

    def __init__(
        self,
        handler: Handler,
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        listener: socket.socket | None = None,
    ) -> None:
        self.over = threading.Event()
        self.heard: list[str] = []  # request heads, as they came
        self.connections = 0
        self.reached = threading.Event()  # somebody has connected
        self._handler = handler
        self._tls = tls
        self._socket = listener or socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def url(self, path: str = "/", *, host: str = "") -> str:
        name = host or (f"[{self.host}]" if ":" in self.host else self.host)
        return f"{'https' if self._tls else 'http'}://{name}:{self.port}{path}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self.reached.set()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the other side may go at any time
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self._handler(connection, self)


def head_of(connection: socket.socket, target: Target) -> str:
    """The request's head, which is noted in `target.heard`."""
    came = b""
    while b"\r\n\r\n" not in came:
        part = connection.recv(65536)
        if not part:
            break
        came += part
    head = came.decode("latin-1")
    target.heard.append(head)
    return head


def answer(body: str | bytes = "ok", status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP answer as it goes on the wire; underscores in header names become dashes."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def redirect(location: str, status: str = "302 Found") -> bytes:
    """An answer that leads elsewhere."""
    return answer("", status, Location=location)


def says(*parts: bytes) -> Handler:
    """A handler that hears a request and answers the parts, whatever was asked."""

    def handle(connection: socket.socket, target: Target) -> None:
        head_of(connection, target)
        for part in parts:
            connection.sendall(part)

    return handle


def routes(answers: Mapping[str, bytes]) -> Handler:
    """A handler that answers by path, 404 where there is none."""

    def handle(connection: socket.socket, target: Target) -> None:
        head = head_of(connection, target)
        path = head.partition(" ")[2].partition(" ")[0].partition("?")[0]
        connection.sendall(answers.get(path, answer("nothing here", "404 Not Found")))

    return handle


def hangs_after(*parts: bytes) -> Handler:
    """A handler that hears a request, answers the parts and then nothing until the test is over."""

    def handle(connection: socket.socket, target: Target) -> None:
        says(*parts)(connection, target)
        target.over.wait(30)

    return handle


def silent(connection: socket.socket, target: Target) -> None:
    """Accept, and never say a word."""
    target.over.wait(30)


def resets_after(*parts: bytes) -> Handler:
    """A handler that answers the parts and then resets the connection (RST instead of FIN)."""

    def handle(connection: socket.socket, target: Target) -> None:
        says(*parts)(connection, target)
        reset(connection)

    return handle


def reset(connection: socket.socket) -> None:
    """Close so that the other side sees a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def probe_once(
    probe: Probe,
    *,
    timeout_s: float = 5.0,
    memory: MutableMapping[str, object] | None = None,
    thresholds: Mapping[str, Thresholds] | None = None,
    clock: Clock | None = None,
) -> Reading:
    """What one run of the probe finds, by the same road as in the prober."""

    async def run() -> Reading:
        async with Tools(blocking=Threads(), clock=clock or SystemClock()) as tools:
            context = tools.context(timeout_s=timeout_s, memory={} if memory is None else memory)
            return await measure(probe, context, thresholds or {})

    return asyncio.run(run())


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """A small certificate authority in a folder: `authority` signs, each `server` loads one certificate."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"

    def server(self, name: str) -> ssl.SSLContext:
        """The TLS side of a server with that certificate: good, expired, elsewhere, self-signed."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context


def make_certificates(folder: Path) -> Certificates:
    """Certificates for 127.0.0.1 and localhost: one good for 20 days, and one of each bad kind."""
    made = Certificates(folder=folder)
    _self_signed(folder, "authority", "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")
    _self_signed(folder, "self-signed", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    _signed(folder, "good", "DNS:localhost,IP:127.0.0.1", days=20)
    _signed(folder, "expired", "DNS:localhost,IP:127.0.0.1", days=-1)
    _signed(folder, "elsewhere", "DNS:other.example", days=20)
    return made


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _self_signed(folder: Path, name: str, *extensions: str) -> None:
    added = [word for extension in extensions for word in ("-addext", extension)]
    _openssl(folder, "req", "-x509", *_NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "30",
             "-subj", f"/CN={name}", *added)  # fmt: skip


def _signed(folder: Path, name: str, names: str, *, days: int) -> None:
    (folder / "names").write_text(f"subjectAltName={names}\n")
    _openssl(folder, "req", *_NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "authority.pem", "-CAkey", "authority.key",
             "-CAcreateserial", "-out", f"{name}.pem", "-days", str(days), "-extfile", "names")  # fmt: skip


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
