"""The values that travel inside Watchroom: frozen, keyword-only, instants aware UTC, durations in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from checks.base import Detail, Probe, ProberHealth, Status, Thresholds

Trigger = Literal["schedule", "manual", "signal"]
RunPhase = Literal["queued", "running"]
MASK = "***"
_TELLING = 4  # so many first characters of a secret, at the end of a text, are taken for its beginning


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret replaced: as it is, as shells and URLs quote it, and where a cut left only its beginning."""
    for secret in secrets:
        for form in {secret, secret.replace("'", "'\"'\"'"), quote(secret, safe="")}:
            text = text.replace(form, MASK)
            end = text.removesuffix("…")
            cut = next((n for n in range(len(form) - 1, _TELLING - 1, -1) if end.endswith(form[:n])), 0)
            if cut:
                text = end[:-cut] + MASK
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How often a check runs and how long a run may take."""

    every_s: float
    timeout_s: float

    @property
    def covers_s(self) -> float:
        """How long one result speaks for its check when no other follows."""
        return 1.5 * self.every_s + self.timeout_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A configured probe. `secrets` are texts that no page, log or export may show."""

    id: str
    name: str
    probe: Probe
    schedule: Schedule
    thresholds: Mapping[str, Thresholds] = field(default_factory=dict)
    group: str = ""
    tags: tuple[str, ...] = ()
    owner: str = ""
    runbook: str = ""
    notes: str = ""
    failure_threshold: int = 2
    success_threshold: int = 1
    retries: int = 0
    paused: bool = False
    retention: Retention | None = None  # None = that of the settings
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def type(self) -> str:
        """The probe's type."""
        return self.probe.type

    def mask(self, text: str) -> str:
        """The text with every secret of this check replaced."""
        return masked(text, self.secrets)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenCheck:
    """A check whose configuration cannot be used right now (a missing secret, say): shown, not run, never down."""

    id: str
    name: str
    type: str
    fault: str
    group: str = ""
    tags: tuple[str, ...] = ()
    retention: Retention | None = None  # None = that of the settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A reading plus which check, when it started, how long it took, who asked, which worker: what is recorded.

    `metrics` maps names to numbers in base units; `units` names those units on the way to the pipeline, which keeps them
    once per check. `detail` is kept with bad results only. `id` is 0 until the store gives one; ids ascend.
    """

    check_id: str
    at: datetime
    status: Status
    summary: str
    duration_s: float
    covers_s: float
    trigger: Trigger = "schedule"
    by: str = ""
    worker: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    detail: Detail = Detail()
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckState:
    """What is confirmed about a check. `recent` holds the newest statuses, oldest first, as many as the rules need."""

    check_id: str
    status: Status | None = None  # confirmed; None = never run
    since_at: datetime | None = None  # first result of the confirmed status
    recent: tuple[Status, ...] = ()
    pending: int = 0  # results in a row that speak against the confirmed status
    pending_since_at: datetime | None = None
    incident_id: int = 0  # 0 = none open
    version: int = 0
    last_id: int = 0  # the newest result folded in


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One trouble of one check, from its first bad result to its confirmed recovery."""

    id: int
    check_id: str
    opened_at: datetime  # the first bad result
    confirmed_at: datetime
    status: Status  # now, or when it closed
    worst: Status
    summary: str  # of the newest bad result
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One fixed slot of time in an uptime bar: seconds per kind; what is left of the slot is not measured.

    `length_s` of the slot that still runs is the time it has had so far.
    """

    start_at: datetime
    length_s: float
    ok_s: float = 0.0
    warning_s: float = 0.0
    critical_s: float = 0.0
    unknown_s: float = 0.0
    maintenance_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Uptime:
    """Seconds per kind over a range; `unmeasured_s` counts unknown time and gaps, maintenance is told apart."""

    start_at: datetime
    end_at: datetime
    ok_s: float
    warning_s: float
    critical_s: float
    unmeasured_s: float
    maintenance_s: float = 0.0

    @property
    def ratio(self) -> float | None:
        """up / (up + down), 0-1; None when nothing was measured."""
        up = self.ok_s + self.warning_s
        return up / (up + self.critical_s) if up + self.critical_s > 0 else None

    @property
    def coverage_ratio(self) -> float:
        """Measured time over all time outside maintenance, 0-1."""
        total = (self.end_at - self.start_at).total_seconds() - self.maintenance_s
        return min(1.0, (self.ok_s + self.warning_s + self.critical_s) / total) if total > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckView:
    """One check as the pages show it now. `version` is the board's version when anything here last changed.

    `shown` is the status on the page: the last result's, or unknown when the result no longer covers now; None = never run.
    `bar` has 48 slots of 30 min, oldest first, the last one still running; `spark` holds up to 40 headline values, oldest first.
    """

    check: Check | BrokenCheck
    version: int
    shown: Status | None
    summary: str
    since_at: datetime | None  # since when it has been what is shown
    result: Result | None  # the newest
    last_good: Result | None
    last_bad: Result | None
    state: CheckState | None
    incident: Incident | None
    unconfirmed: str = ""  # "1 of 2" while a change waits for confirmation
    is_overdue: bool = False  # the newest result no longer covers now
    run_phase: RunPhase | None = None
    run_since_at: datetime | None = None
    bar: tuple[Slot, ...] = ()
    uptime: Uptime | None = None  # the last 24 h
    spark: tuple[float, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardView:
    """All checks as one consistent picture. A status change does not touch `layout_version`; a reload that adds, removes,
    moves or edits checks does."""

    boot: str  # changes with every start of the server
    version: int
    layout_version: int  # the version when the set or order of checks last changed
    at: datetime
    checks: tuple[CheckView, ...]  # in the order of the configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long each class of history is kept, in seconds; infinity = for ever."""

    raw_s: float = 30 * 86400.0
    five_minutes_s: float = 90 * 86400.0
    hours_s: float = 730 * 86400.0
    days_s: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredClass:
    """What one class of files takes. `rows` are results (raw classes) or buckets (rollups); `keep_s` 0 = no limit of its own."""

    name: Literal["journals", "raw", "five_minutes", "hours", "days", "documents", "quarantine", "reserve"]
    files: int
    rows: int
    size_bytes: int
    oldest_at: datetime | None = None
    newest_at: datetime | None = None
    keep_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """The newest backup that was written of a data directory."""

    at: datetime
    path: str
    size_bytes: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a store holds. `checks` counts the raw results of each check, configured or not.

    `forecast_bytes` is what all classes will take once each is as old as it may get, at the rate of the last days; None
    while there is less than a day to go by.
    """

    classes: tuple[StoredClass, ...]
    checks: Mapping[str, int]
    free_bytes: int
    sealed_at: datetime | None = None
    merged_at: datetime | None = None
    retained_at: datetime | None = None
    backup: Backup | None = None
    rows_per_day: float = 0.0
    forecast_bytes: int | None = None

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return sum(each.size_bytes for each in self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """How the store does. `state`: ok, full, read-only. `warnings`: sentences about what is not right but goes on."""

    state: Literal["ok", "full", "read-only"]
    rows: int
    rows_in_memory: int
    size_bytes: int
    waiting_rows: int = 0
    quarantined_lines: int = 0
    torn_tails: int = 0
    message: str = ""
    last_sync_s: float = 0.0
    damaged_blocks: int = 0
    unsealed_rows: int = 0
    clock_jumps: int = 0
    sealing_failures: int = 0
    sealed_at: datetime | None = None
    merged_at: datetime | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnHealth:
    """How Watchroom itself does: `/healthz`, and the strip on the pages when `troubles` is not empty."""

    status: Literal["ok", "degraded"]
    version: str
    uptime_s: float
    prober_alive: bool
    prober_restarts: int
    prober: ProberHealth
    store: StoreHealth
    troubles: tuple[str, ...] = ()  # each one sentence fit for a person
    config_problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where and for whom the pages are served."""

    host: str = "127.0.0.1"
    port: int = 8000
    zone: str = "UTC"
    allowed_hosts: tuple[str, ...] = ()
    access: Literal["local", "open"] = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the configuration says, validated."""

    server: Server = Server()
    data: Path = Path("data")
    source: Path | None = None  # the file it was read from
    retention: Retention = Retention()
    commands_enabled: bool = False
    checks: tuple[Check, ...] = ()
    broken: tuple[BrokenCheck, ...] = ()
