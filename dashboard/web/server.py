"""The web server: waitress, embedded, in threads of this process."""

from __future__ import annotations

import errno
import resource
import socket
import threading

from flask import Flask
from waitress import wasyncore
from waitress.server import create_server

from dashboard.engine.ports import Services
from dashboard.errors import WatchroomError
from dashboard.web.configuration import LARGEST_BODY_BYTES
from dashboard.web.services import KEY

THREADS = 256
LARGEST_HEADER_BYTES = 65536
MOST_CONNECTIONS = 2000  # 1,000 viewers with two connections each; waitress would stop at 100
OTHER_FILES = 256  # descriptors that the store, the log and the prober may need
BUFFERED_BYTES = 256 * 1024  # a writer waits while its reader is this far behind
SPILLED_BYTES = 8 * 1024 * 1024  # hardly ever reached: waitress would go on in a file
DRAIN_S = 4.0
CLOSE_S = 2.0


class WebServer:
    """Serves the app from start() to stop(). Listens at once when made: raises WatchroomError where it cannot."""

    def __init__(self, app: Flask, host: str, port: int) -> None:
        if app.debug and not app.config.get("ALLOW_DEBUG"):
            raise WatchroomError("debug mode is on: in production anyone could run code through Flask's console")
        self._services: Services = app.extensions[KEY]
        self._socket = _listen(host, port)
        self._host = host
        self.port: int = self._socket.getsockname()[1]
        self._sockets: dict[int, object] = {}
        self._server = create_server(
            app,
            map=self._sockets,
            sockets=[self._socket],
            threads=THREADS,
            channel_request_lookahead=1,  # so that a reader who leaves is noticed while the answer is written
            asyncore_use_poll=True,
            connection_limit=_room_for_connections(),
            max_request_header_size=LARGEST_HEADER_BYTES,
            max_request_body_size=8 * LARGEST_BODY_BYTES,  # beyond LARGEST_BODY_BYTES the app itself refuses, in words
            outbuf_high_watermark=BUFFERED_BYTES,
            outbuf_overflow=SPILLED_BYTES,
            ident="",
        )
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Let running requests end, streams and stalled readers cut off, within 10 s; idempotent."""
        if self._closing.is_set():
            return
        self._server.accepting = False
        self._services.board.wake()
        self._server.task_dispatcher.shutdown(timeout=DRAIN_S)
        self._closing.set()
        self._server.pull_trigger()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)
        self._server.task_dispatcher.shutdown(timeout=CLOSE_S)
        wasyncore.close_all(self._sockets, ignore_all=True)

    def _serve(self) -> None:
        while not self._closing.is_set():
            wasyncore.loop(timeout=30.0, use_poll=True, map=self._sockets, count=1)
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()  # wakes whoever still writes to it


def _room_for_connections() -> int:
    """How many connections may be open. Without a descriptor left, waitress would try to accept in an endless loop."""
    wanted = MOST_CONNECTIONS + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, max(64, soft - OTHER_FILES))


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, address = min((entry[0], entry[4]) for entry in found)  # IPv4 first: localhost is both
        return socket.create_server(address, family=family, dualstack_ipv6=host == "::")
    except OSError as error:
        raise WatchroomError(f"cannot serve on {host}, port {port}: {_reason(error, port)}") from error


def _reason(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use, perhaps by another Watchroom; stop that one or choose another with --port"
    if error.errno == errno.EACCES:
        return f"ports below 1024 need privileges ({port}); choose a higher one with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address; set server.host or --host to one of its own"
    if isinstance(error, socket.gaierror):
        return "the host name is not known; set server.host or --host to an address of this machine"
    return str(error)
