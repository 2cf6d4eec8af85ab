"""HTTP by libcurl's multi interface on the event loop: the engine that all HTTP probes share."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from typing import Any

import pycurl

from checks._curl_words import HopTimes, explain, port_of, read_certificate
from checks.base import HttpExchange, HttpRequest

_MOST_HEADER_BYTES = 64 * 1024
_MOST_HEADER_LINES = 256
_IDLE_HOPS = 256  # kept for the next request; 7 KiB each
_VERSIONS = {1: "HTTP/1.0", 2: "HTTP/1.1", 3: "HTTP/2", 30: "HTTP/3"}


class CurlEngine:
    """An HttpEngine on one event loop, whose thread alone may touch it.

    `socket_action` is told which socket is ready, so hung targets cost nothing: `perform` falls to 73 checks/s with 500
    of them, this does not (measured 2026-07). Each hop has its own connection, as what is measured is a new visitor.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ca_file = ssl.get_default_verify_paths().cafile  # honours SSL_CERT_FILE
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._watched: dict[int, int] = {}  # socket -> POLL_IN | POLL_OUT that the loop watches for us
        self._timer: asyncio.Handle | None = None
        self._busy: dict[pycurl.Curl, tuple[_Hop, asyncio.Future[int]]] = {}
        self._idle: list[_Hop] = []
        self._numbers = itertools.count()
        self._closed = False

    async def exchange(self, request: HttpRequest) -> HttpExchange:
        """What the hop gave, errors of the target included. Raises OSError for faults of this machine."""
        if self._closed:
            raise RuntimeError("the HTTP engine is closed")
        hop = self._idle.pop() if self._idle else _Hop(next(self._numbers), self._ca_file)
        hop.prepare(request)
        done: asyncio.Future[int] = self._loop.create_future()
        self._busy[hop.easy] = (hop, done)
        self._multi.add_handle(hop.easy)
        try:
            code = await done
        except asyncio.CancelledError:
            self._release(hop)
            raise
        exchange = hop.exchange(request, code)
        if len(self._idle) < _IDLE_HOPS:
            self._idle.append(hop)
        return exchange

    def close(self) -> None:
        """Give up what is under way and free everything; idempotent."""
        if self._closed:
            return
        for hop, done in list(self._busy.values()):
            self._release(hop)
            done.cancel()
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for socket in list(self._watched):
            self._watch(socket, 0)
        self._multi.close()
        self._idle.clear()

    def _release(self, hop: _Hop) -> None:
        if self._busy.pop(hop.easy, None) is not None:
            self._multi.remove_handle(hop.easy)

    def _on_socket(self, what: int, socket: int, multi: Any, data: Any) -> None:
        """libcurl says which events of a socket it waits for. (The last two are pycurl's own, unused.)"""
        self._watch(socket, 0 if what == pycurl.POLL_REMOVE else what)

    def _watch(self, socket: int, events: int) -> None:
        before = self._watched.pop(socket, 0)
        if events:
            self._watched[socket] = events
        changed = before ^ events
        if changed & pycurl.POLL_IN:
            if events & pycurl.POLL_IN:
                self._loop.add_reader(socket, self._advance, socket, pycurl.CSELECT_IN)
            else:
                self._loop.remove_reader(socket)
        if changed & pycurl.POLL_OUT:
            if events & pycurl.POLL_OUT:
                self._loop.add_writer(socket, self._advance, socket, pycurl.CSELECT_OUT)
            else:
                self._loop.remove_writer(socket)

    def _on_timer(self, timeout_ms: int) -> None:
        """libcurl says when it wants to be woken; it may not be called back from inside this call."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if timeout_ms == 0:
            self._timer = self._loop.call_soon(self._on_time)
        elif timeout_ms > 0:
            self._timer = self._loop.call_later(timeout_ms / 1000, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._advance(pycurl.SOCKET_TIMEOUT, 0)

    def _advance(self, socket: int, events: int) -> None:
        _, running = self._multi.socket_action(socket, events)
        if running < len(self._busy):
            self._collect()

    def _collect(self) -> None:
        waiting = 1
        while waiting:
            waiting, well, failed = self._multi.info_read()
            for easy in well:
                self._finish(easy, pycurl.E_OK)
            for easy, code, _ in failed:
                self._finish(easy, code)

    def _finish(self, easy: pycurl.Curl, code: int) -> None:
        hop, done = self._busy[easy]
        self._release(hop)
        if not done.done():
            done.set_result(code)


class _Hop:
    """One reusable easy handle with what it has received."""

    def __init__(self, number: int, ca_file: str | None) -> None:
        self.easy = pycurl.Curl()
        self._alias = f"hop-{number}.invalid"  # a name of its own: the address cache is shared by all hops
        self._headers: list[bytes] = []
        self._header_bytes = 0
        self._header_overflow = False
        self._body: list[bytes] = []
        self._room = 0  # bytes of the body still wanted
        self._truncated = False
        set_option = self.easy.setopt
        set_option(pycurl.NOSIGNAL, 1)
        set_option(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        set_option(pycurl.FOLLOWLOCATION, 0)
        set_option(pycurl.PROXY, "")  # without it libcurl obeys http_proxy
        set_option(pycurl.NOPROXY, "*")
        set_option(pycurl.FRESH_CONNECT, 1)
        set_option(pycurl.FORBID_REUSE, 1)
        set_option(pycurl.SSL_SESSIONID_CACHE, 0)  # a resumed session shows no certificate
        set_option(pycurl.PATH_AS_IS, 1)
        set_option(pycurl.USERAGENT, "Watchroom")
        set_option(pycurl.HEADERFUNCTION, self._on_header)
        set_option(pycurl.WRITEFUNCTION, self._on_body)
        if ca_file:
            set_option(pycurl.CAINFO, ca_file)

    def prepare(self, request: HttpRequest) -> None:
        """Make the handle ready for the request and forget the one before."""
        self._headers, self._header_bytes, self._header_overflow = [], 0, False
        self._body, self._room, self._truncated = [], request.body_limit_bytes, False
        set_option = self.easy.setopt
        set_option(pycurl.URL, request.url)
        set_option(pycurl.NOBODY, 0)
        if request.body is None:
            set_option(pycurl.HTTPGET, 1)
        else:
            set_option(pycurl.POSTFIELDS, request.body)
        if request.method == "HEAD":
            set_option(pycurl.NOBODY, 1)
        set_option(pycurl.CUSTOMREQUEST, request.method)
        set_option(pycurl.HTTPHEADER, _header_lines(request))
        set_option(pycurl.TIMEOUT_MS, max(1, round(request.timeout_s * 1000)))
        set_option(pycurl.SSL_VERIFYPEER, int(request.verify))
        set_option(pycurl.SSL_VERIFYHOST, 2 if request.verify else 0)
        set_option(pycurl.OPT_CERTINFO, int(request.want_certificate))
        self._pin(request)

    def _pin(self, request: HttpRequest) -> None:
        """Connect to the judged addresses and no other, whatever host libcurl reads in the URL."""
        addresses = [
            f"[{address}]" if ":" in address else address for address in (request.address, *request.more_addresses)
        ]
        if len(addresses) == 1:
            self.easy.setopt(pycurl.CONNECT_TO, [f"::{addresses[0]}:"])
            return
        port = port_of(request.url)
        self.easy.setopt(pycurl.RESOLVE, [f"{self._alias}:{port}:{','.join(addresses)}"])
        self.easy.setopt(pycurl.CONNECT_TO, [f"::{self._alias}:"])

    def exchange(self, request: HttpRequest, code: int) -> HttpExchange:
        """What came of the request."""
        info = self.easy.getinfo
        times = HopTimes(
            connected_s=info(pycurl.CONNECT_TIME),
            tls_done_s=info(pycurl.APPCONNECT_TIME),
            first_byte_s=info(pycurl.STARTTRANSFER_TIME) if self._headers else 0.0,
            total_s=info(pycurl.TOTAL_TIME),
        )
        if self._header_overflow:
            phase, error = "first byte", "the headers are too large: more than 64 KiB or 256 lines"
        elif code == pycurl.E_OK or self._truncated:  # to stop libcurl in the middle of a body is an error to it
            phase, error = "", ""
        else:
            phase, error = explain(self.easy, request, code, times)
        not_after, subject = read_certificate(self.easy) if request.want_certificate else (None, "")
        return HttpExchange(
            status=info(pycurl.RESPONSE_CODE),
            http_version=_VERSIONS.get(info(pycurl.INFO_HTTP_VERSION), ""),
            headers=_last_headers(self._headers),
            body=b"".join(self._body),
            body_truncated=self._truncated,
            address=info(pycurl.PRIMARY_IP),
            connected_s=times.connected_s,
            tls_done_s=times.tls_done_s,
            first_byte_s=times.first_byte_s,
            total_s=times.total_s,
            certificate_not_after=not_after,
            certificate_subject=subject,
            error=error,
            error_phase=phase,
        )

    def _on_header(self, line: bytes) -> int | None:
        self._headers.append(line)
        self._header_bytes += len(line)
        if self._header_bytes > _MOST_HEADER_BYTES or len(self._headers) > _MOST_HEADER_LINES:
            self._header_overflow = True
            return -1  # libcurl ends the transfer
        return None

    def _on_body(self, data: bytes) -> int | None:
        if len(data) <= self._room:
            self._room -= len(data)
            self._body.append(data)
            return None
        self._body.append(data[: self._room])
        self._room = 0
        self._truncated = True
        return -1


def _header_lines(request: HttpRequest) -> list[bytes]:
    """The headers as libcurl wants them; a lone `;` keeps one that has no value."""
    given = {name.lower() for name, _ in request.headers}
    lines = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers]
    if "accept-encoding" not in given:
        lines.append("Accept-Encoding: identity")  # a packed bomb stays packed
    lines.append("Expect:")  # no waiting for a 100
    return [line.encode("utf-8") for line in lines]


def _last_headers(lines: list[bytes]) -> tuple[tuple[str, str], ...]:
    """The headers of the final answer, those of a 1xx before it left out."""
    headers: list[tuple[str, str]] = []
    for line in lines:
        if line.startswith(b"HTTP/"):
            headers.clear()
            continue
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            headers.append((name.strip(), value.strip()))
    return tuple(headers)
