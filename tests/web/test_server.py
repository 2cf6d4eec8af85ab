"""The web server on a real socket: it starts, says why it cannot, and ends whatever its readers do."""

from __future__ import annotations

import http.client
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from fakes import NOW, FakeClock, FakeServices, MemoryStore, make_check, make_result
from flask import Flask, Response

from dashboard import create_app
from dashboard.errors import WatchroomError
from dashboard.storage.base import ResultColumns
from dashboard.web.configuration import Test
from dashboard.web.server import MOST_CONNECTIONS, OTHER_FILES, WebServer

DEADLINE_S = 10.0


def app_over(services: FakeServices) -> Flask:
    return create_app(services.settings, services, configuration=Test, clock=FakeClock())


@contextmanager
def serving(app: Flask, host: str = "127.0.0.1") -> Iterator[WebServer]:
    server = WebServer(app, host, 0)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def connect(server: WebServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(server.url).hostname or "", server.port, timeout=DEADLINE_S)


def send(server: WebServer, path: str) -> socket.socket:
    """A request whose answer the test reads by hand, or never; the window is small, so that a writer soon waits."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(DEADLINE_S)
    client.connect(("127.0.0.1", server.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


def wait_for(fact: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + DEADLINE_S
    while not fact():
        assert time.monotonic() < give_up_at
        threading.Event().wait(0.005)


class EndlessStore(MemoryStore):
    """A history without an end that counts how often it was opened and closed."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = self.closed = 0

    def export_columns(self, **_: object) -> Iterator[ResultColumns]:
        one = MemoryStore()
        one.append([make_result("api", NOW, summary="x" * 200)] * 1000)
        (chunk,) = one.export_columns()
        self.opened += 1
        try:
            while True:
                yield chunk
        finally:
            self.closed += 1


@pytest.fixture
def endless() -> FakeServices:
    services = FakeServices([make_check("api")])
    services.history = EndlessStore()
    return services


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_it_answers_at_its_url(host: str) -> None:
    with serving(app_over(FakeServices()), host) as server:
        connection = connect(server)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        assert answer.status == 200
        assert b'"alive":true' in answer.read()
        assert answer.headers["Server"] is None
        connection.close()


def test_a_port_in_use_is_said_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(WatchroomError, match=rf"127\.0\.0\.1, port {port}: the port is in use.*--port"):
            WebServer(app_over(FakeServices()), "127.0.0.1", port)


@pytest.mark.parametrize(("host", "reason"), [("192.0.2.1", "no such address"), ("no host of ours", "not known")])
def test_an_address_that_is_not_ours_is_said_in_words(host: str, reason: str) -> None:
    with pytest.raises(WatchroomError, match=reason):
        WebServer(app_over(FakeServices()), host, 0)


def test_after_a_stop_the_port_is_free_and_a_second_stop_does_nothing() -> None:
    with serving(app_over(FakeServices())) as server:
        port = server.port
    server.stop()
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_it_can_be_stopped_before_it_started() -> None:
    WebServer(app_over(FakeServices()), "127.0.0.1", 0).stop()


def test_it_ends_at_once_with_streams_open() -> None:
    services = FakeServices([make_check("api")])
    server = WebServer(app_over(services), "127.0.0.1", 0)
    server.start()
    streams = [send(server, "/live/events") for _ in range(20)]
    for stream in streams:
        assert stream.recv(12) == b"HTTP/1.1 200"
    began_s = time.monotonic()
    server.stop()
    assert time.monotonic() - began_s < 3
    for stream in streams:
        stream.close()


def test_it_lets_a_running_request_end() -> None:
    app = app_over(FakeServices())
    running, may_end = threading.Event(), threading.Event()

    @app.get("/slow")
    def slow() -> Response:
        running.set()
        may_end.wait(DEADLINE_S)
        return Response("whole")

    server = WebServer(app, "127.0.0.1", 0)
    server.start()
    client = send(server, "/slow")
    assert running.wait(DEADLINE_S)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    may_end.set()
    stopping.join(DEADLINE_S)
    assert b"whole" in client.recv(65536)
    client.close()


def test_it_ends_within_ten_seconds_with_a_reader_who_never_reads(endless: FakeServices) -> None:
    server = WebServer(app_over(endless), "127.0.0.1", 0)
    server.start()
    stalled = send(server, "/export")
    assert stalled.recv(12) == b"HTTP/1.1 200"
    began_s = time.monotonic()
    server.stop()
    assert time.monotonic() - began_s < 10
    assert (endless.history.opened, endless.history.closed) == (1, 1)  # type: ignore[attr-defined]
    stalled.close()


def test_a_reader_who_leaves_mid_way_leaves_nothing_open(endless: FakeServices) -> None:
    with serving(app_over(endless)) as server:
        for _ in range(3):
            client = send(server, "/export?format=ndjson")
            assert len(client.recv(20_000)) > 0
            client.close()
        wait_for(lambda: endless.history.opened == 3)  # type: ignore[attr-defined]
        wait_for(lambda: endless.history.closed == 3)  # type: ignore[attr-defined]


def test_headers_and_bodies_beyond_measure_are_cut_off() -> None:
    with serving(app_over(FakeServices())) as server:
        connection = connect(server)
        connection.request("GET", "/healthz", headers={"X-Long": "x" * 70_000})
        assert connection.getresponse().status == 431
        connection.close()
        connection = connect(server)
        connection.putrequest("POST", "/run")
        connection.putheader("Content-Length", str(100 * 1024 * 1024))
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()


def test_connections_never_take_the_last_descriptors() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        with serving(app_over(FakeServices())) as server:
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            assert soft == min(MOST_CONNECTIONS + OTHER_FILES, before[1])
            assert server._server.adj.connection_limit <= soft - OTHER_FILES
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_connections_than_threads_are_served() -> None:
    with serving(app_over(FakeServices())) as server:
        idle = [connect(server) for _ in range(300)]
        for connection in idle:
            connection.connect()
        connection = connect(server)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        for each in (*idle, connection):
            each.close()
