"""What every probe speaks: statuses, metrics, thresholds, readings, and what a probe may use while it measures."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class Status(enum.IntEnum):
    """What a check found; the numbers are the exit codes of monitoring plugins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3

    @property
    def word(self) -> str:
        """The lower-case word that pages, exports and configuration use."""
        return self.name.lower()

    @property
    def severity(self) -> int:
        """Its rank: ok < unknown < warning < critical."""
        return _SEVERITY[self]

    @property
    def is_bad(self) -> bool:
        """Whether it calls for attention."""
        return self is not Status.OK

    @classmethod
    def of(cls, word: str) -> Status:
        """The status with that word; raises KeyError for any other word."""
        return cls[word.upper()]

    @classmethod
    def worst(cls, *statuses: Status) -> Status:
        """The most severe of the statuses, ok where there are none."""
        return max(statuses, key=lambda status: status.severity, default=cls.OK)


_SEVERITY = {Status.OK: 0, Status.UNKNOWN: 1, Status.WARNING: 2, Status.CRITICAL: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A finite number in a base unit: `s`, `B`, `%`, `d`, `B/s`, `/s`, or the empty string for a plain count."""

    name: str
    value: float
    unit: str = ""


_RANGE = re.compile(r"\s*(@)?(?:(~|[-+]?[\d.]+(?:[eE][-+]?\d+)?)?(:))?([-+]?[\d.]+(?:[eE][-+]?\d+)?)?\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A range as monitoring plugins write it: it alarms outside of it, or inside when it starts with `@`.

    Source: Monitoring Plugins Development Guidelines, "Threshold and ranges": `10` = 0..10, `10:` = 10..inf,
    `~:10` = -inf..10, `10:20`, `@10:20` (alarm inside, ends included).
    """

    text: str
    low: float
    high: float
    inside: bool = False

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """The range that the text describes; raises ValueError with the fault in words."""
        match = _RANGE.fullmatch(text)
        if match is None or not text.strip().strip("@"):
            raise ValueError(f"{text!r} is not a range such as '0.5', '14:', '10:20', '~:30' or '@10:20'")
        at, start, _, end = match.groups()
        try:
            low = -math.inf if start == "~" else float(start) if start else 0.0
            high = float(end) if end else math.inf
        except ValueError as error:
            raise ValueError(f"{text!r} holds something that is not a number") from error
        if not start and not end:
            raise ValueError(f"{text!r} has no number")
        if low > high:
            raise ValueError(f"{text!r} starts above its end")
        return cls(text=text.strip(), low=low, high=high, inside=bool(at))

    def alarms(self, value: float) -> bool:
        """Whether the value calls for the alarm."""
        return (self.low <= value <= self.high) == self.inside


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The two ranges of one metric."""

    warning: Threshold | None = None
    critical: Threshold | None = None

    def judge(self, value: float) -> tuple[Status, Threshold | None]:
        """The status that the value earns, and the range that says so."""
        if self.critical is not None and self.critical.alarms(value):
            return Status.CRITICAL, self.critical
        if self.warning is not None and self.warning.alarms(value):
            return Status.WARNING, self.warning
        return Status.OK, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """The evidence behind a reading, all of it plain text that may be hostile: pages escape it.

    `phase` names the step that failed (`dns`, `connect`, `tls`, `first byte`, ...); `expected` and `got` say what was
    asserted and what came; `excerpt` is at most 512 characters of what the target said; `facts` are further
    name-value pairs worth showing (address, certificate, exit code).
    """

    phase: str = ""
    expected: str = ""
    got: str = ""
    excerpt: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a probe found: one status, one line that says why, numbers, evidence. It knows neither check nor clock."""

    status: Status
    summary: str
    metrics: tuple[Metric, ...] = ()
    detail: Detail = Detail()


class ProbeFailure(Exception):
    """The target is at fault: becomes a critical reading. Any other exception is our fault and becomes unknown."""

    def __init__(self, summary: str, *, detail: Detail | None = None, metrics: tuple[Metric, ...] = ()) -> None:
        super().__init__(summary)
        self.summary = summary
        self.detail = detail or Detail()
        self.metrics = metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class ProberHealth:
    """How the prober itself does; rates over the last 30 s."""

    fires_per_s: float = 0.0
    lateness_p50_s: float = 0.0
    lateness_p99_s: float = 0.0
    in_flight: int = 0
    queued: int = 0
    skipped: int = 0  # runs that never started since the prober began: the one before still ran, or the queue was late
    checks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The addresses a name has, in the resolver's order, and how long it took to learn them."""

    addresses: tuple[str, ...]
    duration_s: float


class Clock(Protocol):
    """The one source of time."""

    def now(self) -> datetime:
        """The time as an aware UTC datetime."""

    def monotonic_s(self) -> float:
        """Seconds that only ever grow."""


class Resolver(Protocol):
    """Looks names up without ever blocking the loop."""

    async def resolve(self, host: str, family: int = 0) -> Resolution:
        """The addresses of the host (`family`: socket.AF_INET, AF_INET6 or 0). Raises ProbeFailure (phase dns)."""


class Blocking(Protocol):
    """Runs blocking calls in bounded threads, one pool a kind."""

    async def run(self, kind: str, call: Callable[[], T], timeout_s: float) -> T:
        """What the call gives. Raises TimeoutError at the deadline; the thread is then written off and replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One HTTP hop as it goes on the wire; `address` is the judged IP to connect to; the body is read up to its limit.

    `more_addresses` are further judged IPs of the same host, tried when the first does not answer.
    """

    method: str
    url: str
    address: str
    more_addresses: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    timeout_s: float = 10.0
    verify: bool = True
    body_limit_bytes: int = 1024 * 1024
    want_certificate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpExchange:
    """What one hop answered. Times are seconds since the hop began, 0.0 where the step was not reached."""

    status: int
    http_version: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    body_truncated: bool
    address: str
    connected_s: float
    tls_done_s: float
    first_byte_s: float
    total_s: float
    certificate_not_after: datetime | None = None
    certificate_subject: str = ""
    error: str = ""  # empty when the hop went well; else what failed, in words
    error_phase: str = ""  # connect, tls, first byte, transfer


class HttpEngine(Protocol):
    """Makes HTTP hops; follows no redirect, resolves no name."""

    async def exchange(self, request: HttpRequest) -> HttpExchange:
        """What the hop gave, errors of the target included; raises only for faults of ours."""


class Context(Protocol):
    """What a probe may use while it measures."""

    @property
    def timeout_s(self) -> float:
        """Seconds left until this run's deadline."""

    @property
    def clock(self) -> Clock: ...
    @property
    def http(self) -> HttpEngine: ...
    @property
    def resolver(self) -> Resolver: ...
    @property
    def blocking(self) -> Blocking: ...

    @property
    def memory(self) -> MutableMapping[str, object]:
        """Kept per check between its runs."""

    @property
    def shared(self) -> MutableMapping[str, object]:
        """Kept per prober between all runs: what checks of one type share, such as the host sampler."""

    def prober_health(self) -> ProberHealth:
        """How the prober that runs this probe does."""


class Probe(BaseModel):
    """Measures one kind of target. Its fields are its options: validated, documented and shown from here.

    A subclass names its type (`class Tcp(Probe, type="tcp")`) and writes `run`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: ClassVar[str] = ""
    needs_commands: ClassVar[bool] = False  # runs programs: only with `commands.enabled`

    def __init_subclass__(cls, type: str = "", **kwargs: Any) -> None:  # pydantic's own class keywords
        super().__init_subclass__(**kwargs)
        if type:
            cls.type = type

    async def run(self, context: Context) -> Reading:
        """Measure once. Raises ProbeFailure when the target is at fault."""
        raise NotImplementedError

    @property
    def target(self) -> str:
        """What is measured, in one short line, without secrets."""
        return self.type

    @property
    def headline(self) -> str:
        """The metric that stands for the check in a list; the run's duration where there is none."""
        return "response_time"

    @property
    def metric_names(self) -> frozenset[str]:
        """Every metric that a run may give, so that a threshold can be on nothing else; empty where only the target knows."""
        return frozenset()

    def reproduction(self) -> str:
        """A shell command that does the same by hand, secrets masked; empty where there is none."""
        return ""
