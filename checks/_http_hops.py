"""From a URL to its final answer: redirects followed by us, each hop resolved, judged and timed on its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast
from urllib.parse import quote, urljoin

from checks._reach import Family, judged_addresses, left_s
from checks._url import SECRET_NAME, checked_url, host_and_port, origin, shown_url, split_user
from checks._words import plain
from checks.base import Context, Detail, HttpExchange, HttpRequest, Metric, ProbeFailure

_CERTIFICATE_AGE_S = 300.0  # asking costs 51-87 us a hop, so a known one is believed for this long
_MOST_CERTIFICATES = 16
_WORTH_ASKING_S = 0.05  # left of a run
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AS_IS = "!#$%&'()*+,/:;=?@[]~|{}^`"  # of a Location; spaces and letters beyond ASCII are escaped as browsers do


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A server certificate as it was last seen; `ask_again_s` is on the monotonic clock."""

    subject: str
    not_after: datetime
    ask_again_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What is asked for: the first hop, and what may change on the way."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes | None = field(repr=False)
    verify: bool
    family: Family
    most_redirects: int  # 0 = redirects are an answer like any other


class Trip:
    """One run of an errand: the hops so far, their times summed up, the answer of the last."""

    def __init__(self, errand: Errand, context: Context) -> None:
        self._errand = errand
        self._context = context
        self.chain: list[str] = []  # "http://shop/ 301", in the order they were followed
        self.exchange: HttpExchange | None = None
        self.certificate: Certificate | None = None  # the one of all hops that ends first
        self._certificates = cast("dict[tuple[str, int], Certificate]", context.memory.setdefault("certificates", {}))
        self._times = dict.fromkeys(("dns", "connect", "tls", "first_byte", "transfer"), 0.0)

    async def travel(self) -> HttpExchange:
        """The final answer. Raises ProbeFailure when a hop fails or leads where no check may go."""
        errand = self._errand
        method, url, body = errand.method, errand.url, errand.body
        while True:
            exchange = await self._hop(method, url, body)
            location = next((value for name, value in exchange.headers if name.lower() == "location"), "")
            if exchange.status not in _REDIRECTS or not location or not errand.most_redirects:
                return exchange
            if len(self.chain) >= errand.most_redirects:
                raise self.failure("redirect", f"more than {errand.most_redirects} redirects", got=shown_url(location))
            self.chain.append(f"{shown_url(url)} {exchange.status}")
            url = self._next_url(url, location)
            if exchange.status == 303 or (exchange.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), None

    def failure(self, phase: str, summary: str, *, expected: str = "", got: str = "") -> ProbeFailure:
        """The failure of this trip, with all that is known about it."""
        detail = Detail(phase=phase, expected=expected, got=got, facts=self.facts())
        return ProbeFailure(summary, detail=detail, metrics=self.metrics())

    def facts(self) -> dict[str, str]:
        """What is worth showing beside the answer."""
        facts = {}
        if self.exchange is not None and self.exchange.address:
            facts["address"] = self.exchange.address
        if self.exchange is not None and self.exchange.http_version:
            facts["HTTP version"] = self.exchange.http_version
        if self.chain:
            facts["redirects"] = ", ".join(self.chain)
        if self.certificate is not None:
            facts["certificate"] = self.certificate.subject
            facts["certificate ends"] = f"{self.certificate.not_after:%Y-%m-%d %H:%M} UTC"
        return facts

    def metrics(self) -> tuple[Metric, ...]:
        """The phases that were reached, redirects included, and the days left of the certificate."""
        metrics = [Metric(name=name, value=value, unit="s") for name, value in self._times.items() if value > 0]
        if self.certificate is not None:
            left = self.certificate.not_after - self._context.clock.now()
            metrics.append(Metric(name="certificate_days", value=left.total_seconds() / 86400, unit="d"))
        return tuple(metrics)

    @property
    def response_time_s(self) -> float:
        """From the first look-up to the last byte."""
        return sum(self._times.values())

    async def _hop(self, method: str, url: str, body: bytes | None) -> HttpExchange:
        host, port = host_and_port(url)
        addresses = await self._resolve(host)
        known = self._certificates.get((host, port))
        now_s = self._context.clock.monotonic_s()
        request = HttpRequest(
            method=method,
            url=url,
            address=addresses[0],
            more_addresses=addresses[1:],
            headers=self._headers_for(url),
            body=body,
            timeout_s=left_s(self._context),
            verify=self._errand.verify,
            want_certificate=url.startswith("https:") and (known is None or now_s > known.ask_again_s),
        )
        exchange = self.exchange = await self._context.http.exchange(request)
        self._add_times(exchange)
        self._note_certificate(host, port, await self._with_certificate(request, exchange))
        if exchange.error:
            raise self.failure(exchange.error_phase, exchange.error, got=shown_url(url) if self.chain else "")
        return exchange

    async def _resolve(self, host: str) -> tuple[str, ...]:
        """The judged addresses of the host."""
        try:
            found = await judged_addresses(self._context, host, self._errand.family)
        except ProbeFailure as failure:
            raise self.failure(
                "dns", failure.summary, expected=failure.detail.expected, got=failure.detail.got
            ) from failure
        self._times["dns"] += found.duration_s
        return found.addresses

    def _headers_for(self, url: str) -> tuple[tuple[str, str], ...]:
        """The headers for that hop: another origin gets neither credentials nor the name of the first."""
        headers = self._errand.headers
        if url == self._errand.url or origin(url) == origin(self._errand.url):
            return headers
        return tuple(
            (name, value) for name, value in headers if name.lower() != "host" and not SECRET_NAME.search(name)
        )

    def _add_times(self, exchange: HttpExchange) -> None:
        begin_s = 0.0
        ends = (exchange.connected_s, exchange.tls_done_s, exchange.first_byte_s, exchange.total_s)
        for name, end_s in zip(("connect", "tls", "first_byte", "transfer"), ends, strict=True):
            if name == "transfer" and not exchange.first_byte_s:
                return  # what was spent in the phase that failed is no time of a later one
            if end_s > begin_s:
                self._times[name] += end_s - begin_s
                begin_s = end_s

    async def _with_certificate(self, request: HttpRequest, exchange: HttpExchange) -> HttpExchange:
        """The exchange, or a second one made only to see the certificate that the first was refused for."""
        if exchange.error_phase != "tls" or request.want_certificate or left_s(self._context) < _WORTH_ASKING_S:
            return exchange
        return await self._context.http.exchange(
            replace(request, want_certificate=True, timeout_s=left_s(self._context))
        )

    def _note_certificate(self, host: str, port: int, exchange: HttpExchange) -> None:
        """Remember what was seen now, else take what was seen in an earlier run."""
        if exchange.certificate_not_after is not None:
            if len(self._certificates) >= _MOST_CERTIFICATES:
                self._certificates.clear()
            self._certificates[host, port] = Certificate(
                subject=exchange.certificate_subject,
                not_after=exchange.certificate_not_after,
                ask_again_s=self._context.clock.monotonic_s() + _CERTIFICATE_AGE_S,
            )
        seen = self._certificates.get((host, port))
        if seen is not None and (self.certificate is None or seen.not_after < self.certificate.not_after):
            self.certificate = seen

    def _next_url(self, url: str, location: str) -> str:
        """Where a redirect leads; only ever to http and https."""
        try:
            return checked_url(split_user(urljoin(url, quote(location, safe=_AS_IS, encoding="latin-1")))[0])
        except ValueError as error:
            shown = shown_url(location)
            raise self.failure(
                "redirect", f"redirect to {plain(shown, 100)} not followed: {error}", got=shown
            ) from error
