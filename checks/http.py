"""HTTP: a web address answers as it should."""

from __future__ import annotations

import re
import shlex
from base64 import b64encode
from http import HTTPStatus
from typing import Annotated, Any, Literal

import re2
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)

from checks._http_hops import Errand, Trip
from checks._reach import Family
from checks._url import MASK, SECRET_NAME, checked_url, shown_url, split_user
from checks._words import TEXT_LENGTH, duration, quantity
from checks.base import Context, Detail, HttpExchange, Metric, Probe, ProbeFailure, Reading, Status

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "expect"})
_CHARSET = re.compile(  # those that text comes in; others that Python knows are slow or odd (punycode, unicode_escape)
    r"charset=[\"']?((?:utf|iso|latin|windows|cp|koi8|shift|euc|gb|big5|us-ascii|ascii)[\w-]*)", re.IGNORECASE
)


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _status_range(text: str) -> range:
    """`200`, `2xx` or `200-299` as a range. Raises ValueError."""
    match = re.fullmatch(r"([1-5])xx|([1-5]\d\d)(?:-([1-5]\d\d))?", text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is not a status such as 200, 2xx or 200-299")
    hundred, low, high = match.groups()
    if hundred:
        return range(int(hundred) * 100, int(hundred) * 100 + 100)
    if high and high < low:
        raise ValueError(f"{text!r} starts above its end")
    return range(int(low), int(high or low) + 1)


class Basic(BaseModel):
    """User name and password of HTTP's own log-in (RFC 7617)."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    username: str = Field(pattern=r"^[^:\x00-\x1f]*$", description="User name.")
    password: SecretStr = Field(description="Password.")


class Http(Probe, type="http"):
    """A web address answers, in time, with the status and the text it should have.

    Metrics: `response_time` and its parts `dns`, `connect`, `tls`, `first_byte`, `transfer` (s), `size` of the body (B),
    `certificate_days` until the first certificate on the way ends (d). Redirects are part of all of them.

    A certificate is verified against the system's authorities; the environment variable `SSL_CERT_FILE` names others.
    A proxy of the environment is not used.
    """

    url: str = Field(description="Web address, http or https.", examples=["https://shop.internal/health"])
    method: Annotated[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], BeforeValidator(_upper)] = (
        Field("GET", description="Request method.")
    )
    headers: dict[str, str] = Field({}, description="Request headers by name.")
    body: str | None = Field(None, description="Request body.")
    basic: Basic | None = Field(None, description="Log in with `username` and `password`.")
    bearer: SecretStr | None = Field(None, description="Log in with this bearer token.")
    follow_redirects: bool = Field(
        True, description="Follow redirects; log-ins, cookies and keys go to the first host only."
    )
    max_redirects: int = Field(5, ge=1, le=20, description="How many redirects are followed before it is a failure.")
    expect_status: tuple[int | str, ...] = Field(
        ("200-399",), min_length=1, description="Statuses that are well: `200`, `2xx`, `200-299`; one or a list."
    )
    body_contains: str = Field("", description="Text that the body must contain.")
    body_matches: str = Field("", description="Regular expression (RE2) that must match somewhere in the body.")
    family: Family = Field("any", description="Which addresses of the host may be used.")
    verify: bool = Field(True, description="Refuse a certificate that does not verify.")

    _statuses: tuple[range, ...] = PrivateAttr()
    _pattern: Any = PrivateAttr()  # re2 has no types

    @model_validator(mode="before")
    @classmethod
    def _take_user_from_url(cls, options: Any) -> Any:
        """Move `https://user:password@host` into `basic`, so that the URL holds no secret from here on."""
        if not isinstance(options, dict) or not isinstance(options.get("url"), str):
            return options
        url, username, password = split_user(options["url"])
        if not username:
            return options
        if options.get("basic") is not None:
            raise ValueError("url and basic both name a user; keep one")
        return {**options, "url": url, "basic": {"username": username, "password": password}}

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        return checked_url(url)

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a header name")
            if name.lower() in _FRAMING:
                raise ValueError(f"{name} is set by Watchroom itself; leave it out")
            if any((ord(letter) < 0x20 and letter != "\t") or letter == "\x7f" for letter in value):
                raise ValueError(f"the value of {name} holds a line end or another control character")
        return headers

    @field_validator("expect_status", mode="before")
    @classmethod
    def _check_statuses(cls, given: object) -> object:
        entries = given if isinstance(given, list | tuple) else [given]
        for entry in entries:
            _status_range(str(entry))
        return tuple(entries)

    @field_validator("bearer")
    @classmethod
    def _check_bearer(cls, bearer: SecretStr | None) -> SecretStr | None:
        if bearer is not None and not bearer.get_secret_value().isprintable():
            raise ValueError("holds a line end or another control character")
        return bearer

    @field_validator("body_matches")
    @classmethod
    def _check_pattern(cls, pattern: str) -> str:
        if pattern:
            _compiled(pattern)
        return pattern

    @model_validator(mode="after")
    def _check_log_in(self) -> Http:
        has_header = any(name.lower() == "authorization" for name in self.headers)
        if sum((self.basic is not None, self.bearer is not None, has_header)) > 1:
            raise ValueError("basic, bearer and an Authorization header exclude each other; keep one")
        if self.body is not None and self.method == "HEAD":
            raise ValueError("a HEAD request has no body")
        if self.method == "HEAD" and (self.body_contains or self.body_matches):
            raise ValueError("the answer to HEAD has no body to look into; use GET")
        return self

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """What repr shows: none of the options that may hold a secret."""
        return [("url", self.target), ("method", self.method)]

    def model_post_init(self, _: Any) -> None:
        """Prepare once what every run needs."""
        self._statuses = tuple(_status_range(str(entry)) for entry in self.expect_status)
        self._pattern = _compiled(self.body_matches) if self.body_matches else None

    @property
    def metric_names(self) -> frozenset[str]:
        """The response time, its phases, the size and the certificate's days."""
        phases = ("dns", "connect", "tls", "first_byte", "transfer")
        return frozenset({"response_time", "size", "certificate_days", *phases})

    async def run(self, context: Context) -> Reading:
        """Ask, follow redirects, judge the final answer."""
        trip = Trip(self._errand(), context)
        exchange = await trip.travel()
        time_s = trip.response_time_s
        metrics = (
            Metric(name="response_time", value=time_s, unit="s"),
            *trip.metrics(),
            Metric(name="size", value=len(exchange.body), unit="B"),
        )
        phase, fault = self._fault(exchange)
        took = f"{exchange.status} in {duration(time_s)}{_after(len(trip.chain))}"
        if fault:
            raise ProbeFailure(
                f"{fault} ({took})" if phase == "body" else fault,
                metrics=metrics,
                detail=Detail(
                    phase=phase,
                    expected=self._expectation(),
                    got=_status_words(exchange.status),
                    excerpt=self._masked(_text(exchange, 4 * TEXT_LENGTH)),
                    facts=trip.facts(),
                ),
            )
        found = ", text found" if self.body_contains or self.body_matches else ""
        return Reading(status=Status.OK, summary=took + found, metrics=metrics, detail=Detail(facts=trip.facts()))

    @property
    def target(self) -> str:
        """The URL, secret query fields masked."""
        return shown_url(self.url)

    def reproduction(self) -> str:
        """A curl command line, secrets masked."""
        words = ["curl", "-sv"]
        if self.family != "any":
            words.append("-4" if self.family == "ipv4" else "-6")
        if not self.verify:
            words.append("-k")
        if self.follow_redirects:
            words += ["-L", "--max-redirs", str(self.max_redirects)]
        if self.method == "HEAD":
            words.append("-I")
        elif self.method != ("GET" if self.body is None else "POST"):
            words += ["-X", self.method]
        if self.basic is not None:
            words += ["-u", f"{self.basic.username}:{MASK}"]
        if self.bearer is not None:
            words += ["-H", f"Authorization: Bearer {MASK}"]
        for name, value in self.headers.items():
            words += ["-H", f"{name}: {MASK if SECRET_NAME.search(name) else value}" if value else f"{name};"]
        if self.body is not None:
            words += ["--data-raw", self.body]
        return shlex.join([*words, shown_url(self.url)])

    def _errand(self) -> Errand:
        headers = tuple(self.headers.items())
        if self.basic is not None:
            user = f"{self.basic.username}:{self.basic.password.get_secret_value()}".encode()
            headers += (("Authorization", f"Basic {b64encode(user).decode('ascii')}"),)
        if self.bearer is not None:
            headers += (("Authorization", f"Bearer {self.bearer.get_secret_value()}"),)
        return Errand(
            method=self.method,
            url=self.url,
            headers=headers,
            body=None if self.body is None else self.body.encode(),
            verify=self.verify,
            family=self.family,
            most_redirects=self.max_redirects if self.follow_redirects else 0,
        )

    def _masked(self, text: str) -> str:
        """The text without our own secrets: some servers send back what they were sent."""
        for name, value in self._errand().headers:
            if SECRET_NAME.search(name) and value:
                text = text.replace(value, MASK).replace(value.rpartition(" ")[2], MASK)
        password = self.basic.password.get_secret_value() if self.basic is not None else ""
        return text.replace(password, MASK) if password else text

    def _fault(self, exchange: HttpExchange) -> tuple[str, str]:
        """The phase and the words of what is wrong with the final answer; empty where it is as it should be."""
        if not any(exchange.status in statuses for statuses in self._statuses):
            return "status", f"{_status_words(exchange.status)}, expected {self._status_list()}"
        if not self.body_contains and self._pattern is None:
            return "", ""
        text = _text(exchange)
        where = (
            f"in the first {quantity(len(exchange.body), 'B')}: body too large"
            if exchange.body_truncated
            else "in body"
        )
        if self.body_contains not in text:
            return "body", f"text {self.body_contains!r} not found {where}"
        if self._pattern is not None and self._pattern.search(text) is None:
            return "body", f"nothing matches {self.body_matches!r} {where}"
        return "", ""

    def _expectation(self) -> str:
        parts = [f"status {self._status_list()}"]
        if self.body_contains:
            parts.append(f"body contains {self.body_contains!r}")
        if self.body_matches:
            parts.append(f"body matches {self.body_matches!r}")
        return ", ".join(parts)

    def _status_list(self) -> str:
        return " or ".join(str(entry) for entry in self.expect_status)


def _compiled(pattern: str) -> Any:
    """The pattern, ready to search in time linear to the text. Raises ValueError with RE2's own words."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0]
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"is not a regular expression that RE2 knows: {words}") from error


def _text(exchange: HttpExchange, length: int | None = None) -> str:
    """The body as text, by the charset that the answer names."""
    kind = next((value for name, value in exchange.headers if name.lower() == "content-type"), "")
    match = _CHARSET.search(kind)
    try:
        return exchange.body[:length].decode(match[1] if match else "utf-8", "replace")
    except LookupError:
        return exchange.body[:length].decode("utf-8", "replace")


def _status_words(status: int) -> str:
    """`503 Service Unavailable`: the standard's words, as the server's own may be anything."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _after(redirects: int) -> str:
    return f" after {redirects} redirect{'s' if redirects > 1 else ''}" if redirects else ""
