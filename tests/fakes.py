"""The small cast that tests share: a store in memory, a clock that is set by hand, and services with a varied sample board."""

from __future__ import annotations

import math
import random
import threading
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from checks.base import Detail, Probe, ProberHealth, Reading, Status, Threshold, Thresholds
from dashboard.engine.ports import RunTicket
from dashboard.errors import RunRefused, TooSoon, UnknownCheck
from dashboard.model import (
    BoardView,
    BrokenCheck,
    Check,
    CheckState,
    CheckView,
    Incident,
    Inventory,
    OwnHealth,
    Result,
    Retention,
    Schedule,
    Server,
    Settings,
    StoredClass,
    StoreHealth,
)
from dashboard.rollup import Rollup, fold
from dashboard.storage.base import ResultColumns
from dashboard.uptime import Cursor, slots, spans, uptime

NOW = datetime(2026, 11, 24, 13, 25, 8, tzinfo=UTC)


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self, now_at: datetime = NOW) -> None:
        self.now_at = now_at
        self.elapsed_s = 1000.0

    def now(self) -> datetime:
        return self.now_at

    def monotonic_s(self) -> float:
        return self.elapsed_s

    def advance(self, seconds: float) -> None:
        self.now_at += timedelta(seconds=seconds)
        self.elapsed_s += seconds


class FakeProbe(Probe, type="http"):
    """Looks like an HTTP probe and measures nothing."""

    url: str = "https://shop.example.net/health"
    summary: str = "200 in 184 ms"

    @property
    def target(self) -> str:
        return self.url

    def reproduction(self) -> str:
        return f"curl -sv --max-time 5 {self.url}"

    async def run(self, context: object) -> Reading:
        return Reading(status=Status.OK, summary=self.summary)


def make_check(check_id: str = "api", **changes: object) -> Check:
    """A plain check; any field can be given."""
    values: dict[str, object] = {
        "id": check_id,
        "name": check_id,
        "probe": FakeProbe(),
        "schedule": Schedule(every_s=10.0, timeout_s=5.0),
    }
    return Check(**(values | changes))  # type: ignore[arg-type]


def make_result(check_id: str = "api", at: datetime = NOW, status: Status = Status.OK, **changes: object) -> Result:
    """A plain result; any field can be given."""
    values: dict[str, object] = {
        "check_id": check_id,
        "at": at,
        "status": status,
        "summary": "200 in 184 ms" if status is Status.OK else "no answer within 5.0 s",
        "duration_s": 0.184,
        "covers_s": 20.0,
        "worker": "prober-1",
    }
    return Result(**(values | changes))  # type: ignore[arg-type]


def as_columns(rows: Sequence[Result]) -> ResultColumns:
    """The same rows as columns."""
    return ResultColumns(
        ids=[row.id for row in rows],
        check_ids=[row.check_id for row in rows],
        at_s=[row.at.timestamp() for row in rows],
        statuses=[int(row.status) for row in rows],
        summaries=[row.summary for row in rows],
        durations_s=[row.duration_s for row in rows],
        covers_s=[row.covers_s for row in rows],
        triggers=[row.trigger for row in rows],
        by=[row.by for row in rows],
        workers=[row.worker for row in rows],
        metrics=[row.metrics for row in rows],
        details={index: row.detail for index, row in enumerate(rows) if row.status.is_bad},
    )


class MemoryStore:
    """A store that forgets at the end of the process; the whole promise of dashboard.storage.base otherwise."""

    def __init__(self) -> None:
        self.rows: list[Result] = []
        self.revision = 0
        self.saved_states: dict[str, CheckState] = {}
        self.saved_incidents: dict[int, Incident] = {}
        self.saved_units: dict[str, dict[str, str]] = {}
        self.fail: Exception | None = None  # raised by the next writes
        self._lock = threading.Lock()
        self._sorted: tuple[int, dict[str, list[Result]]] = (-1, {})

    def open(self) -> None: ...

    def close(self) -> None: ...

    def append(self, results: Sequence[Result]) -> list[int]:
        if self.fail is not None:
            raise self.fail
        with self._lock:
            first = len(self.rows) + 1
            self.rows += [replace(result, id=first + index) for index, result in enumerate(results)]
            self.revision += 1
            return list(range(first, first + len(results)))

    def save(
        self,
        *,
        states: Iterable[CheckState] = (),
        incidents: Iterable[Incident] = (),
        units: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        if self.fail is not None:
            raise self.fail
        self.saved_states |= {state.check_id: state for state in states}
        self.saved_incidents |= {incident.id: incident for incident in incidents}
        for check_id, found in (units or {}).items():
            self.saved_units.setdefault(check_id, {}).update(found)
        self.revision += 1

    def states(self) -> dict[str, CheckState]:
        return dict(self.saved_states)

    def incidents(self, *, check_id: str | None = None, open_only: bool = False, limit: int = 100) -> list[Incident]:
        found = [
            incident
            for incident in self.saved_incidents.values()
            if check_id in (None, incident.check_id) and not (open_only and incident.closed_at)
        ]
        return sorted(found, key=lambda incident: -incident.id)[:limit]

    def next_incident_id(self) -> int:
        return max(self.saved_incidents, default=0) + 1

    def units(self) -> dict[str, dict[str, str]]:
        return self.saved_units

    def keep(self, retention: Retention, per_check: Mapping[str, Retention]) -> None: ...

    def maintain(self, now_at: datetime) -> None: ...

    def compact(self) -> None: ...

    def forget(self, check_id: str) -> int:
        before = len(self.rows)
        self.rows = [row for row in self.rows if row.check_id != check_id]
        self.revision += 1
        return before - len(self.rows)

    def _of(self, check_id: str) -> list[Result]:
        """The rows of a check, found anew when something was written."""
        if self._sorted[0] != self.revision:
            found: dict[str, list[Result]] = {}
            for row in self.rows:
                found.setdefault(row.check_id, []).append(row)
            self._sorted = (self.revision, found)
        return self._sorted[1].get(check_id, [])

    def rollups(
        self,
        check_id: str,
        edges_s: Sequence[float],
        *,
        now_s: float | None = None,
        metrics: Collection[str] | None = None,
    ) -> list[Rollup]:
        return fold(as_columns(self._of(check_id)), edges_s, now_s=now_s, wanted=metrics)

    def cursor(self, check_id: str) -> Cursor:
        cursor = Cursor()
        for row in self._of(check_id):
            cursor.add(row.at.timestamp(), row.covers_s, int(row.status))
        return cursor

    def inventory(self) -> Inventory:
        counts = Counter(row.check_id for row in self.rows)
        stored = StoredClass(name="journals", files=1, rows=len(self.rows), size_bytes=300 * len(self.rows))
        return Inventory(classes=(stored,), checks=counts, free_bytes=80_000_000_000)

    def last(self, check_id: str, n: int, *, before_id: int | None = None, bad_only: bool = False) -> list[Result]:
        found: list[Result] = []
        for row in reversed(self.rows):
            if len(found) >= n:
                break
            fits = row.check_id == check_id and (before_id is None or row.id < before_id)
            if fits and (row.status.is_bad or not bad_only):
                found.append(row)
        return found

    def between(self, check_id: str, start_at: datetime, end_at: datetime) -> list[Result]:
        return [row for row in self.rows if row.check_id == check_id and start_at <= row.at < end_at]

    def export(
        self,
        *,
        check_ids: Collection[str] | None = None,
        statuses: Collection[Status] | None = None,
        start_at: datetime | None = None,
        end_at: datetime | None = None,
    ) -> Iterator[Sequence[Result]]:
        rows = [
            row
            for row in self.rows
            if (check_ids is None or row.check_id in check_ids)
            and (statuses is None or row.status in statuses)
            and (start_at is None or row.at >= start_at)
            and (end_at is None or row.at < end_at)
        ]
        for index in range(0, len(rows), 1000):
            yield rows[index : index + 1000]

    def series(self, check_id: str, start_at: datetime, end_at: datetime) -> ResultColumns:
        return as_columns(self.between(check_id, start_at, end_at))

    def export_columns(
        self,
        *,
        check_ids: Collection[str] | None = None,
        statuses: Collection[Status] | None = None,
        start_at: datetime | None = None,
        end_at: datetime | None = None,
    ) -> Iterator[ResultColumns]:
        for rows in self.export(check_ids=check_ids, statuses=statuses, start_at=start_at, end_at=end_at):
            yield as_columns(rows)

    def check_ids(self) -> set[str]:
        return {row.check_id for row in self.rows}

    def health(self) -> StoreHealth:
        return StoreHealth(state="ok", rows=len(self.rows), rows_in_memory=len(self.rows), size_bytes=0)


def view_of(check: Check | BrokenCheck, rows: Sequence[Result], now_at: datetime = NOW, **changes: object) -> CheckView:
    """The view that a board would give of a check with these results, oldest first."""
    newest = rows[-1] if rows else None
    found = list(
        spans(
            [row.at.timestamp() for row in rows],
            [row.covers_s for row in rows],
            [int(row.status) for row in rows],
            until_s=now_at.timestamp(),
        )
    )
    day_at = now_at - timedelta(hours=24)
    edge_s = math.floor(now_at.timestamp() / 1800) * 1800 - 47 * 1800
    since_at = newest.at if newest else None
    for row in reversed(rows):
        if newest is None or row.status is not newest.status:
            break
        since_at = row.at
    values: dict[str, object] = {
        "check": check,
        "version": 1,
        "shown": newest.status if newest else None,
        "summary": newest.summary if newest else "",
        "since_at": since_at,
        "result": newest,
        "last_good": next((row for row in reversed(rows) if row.status is Status.OK), None),
        "last_bad": next((row for row in reversed(rows) if row.status.is_bad), None),
        "state": CheckState(check_id=check.id, status=newest.status, since_at=since_at) if newest else None,
        "incident": None,
        "bar": slots(found, edge_s, 1800.0, 48, until_s=now_at.timestamp()) if rows else (),
        "uptime": uptime(found, day_at, now_at) if rows else None,
        "spark": tuple(row.metrics.get("response_time", row.duration_s) for row in rows[-40:]),
        "units": {"response_time": "s", "dns": "s", "connect": "s", "tls": "s", "first_byte": "s", "transfer": "s"},
    }
    return CheckView(**(values | changes))  # type: ignore[arg-type]


@dataclass
class FakeBoard:
    """A board whose views tests set themselves."""

    views: dict[str, CheckView]
    version: int = 1
    layout_version: int = 1
    boot: str = "boot1"
    at: datetime = NOW
    stopped: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def view(self) -> BoardView:
        return BoardView(
            boot=self.boot,
            version=self.version,
            layout_version=self.layout_version,
            at=self.at,
            checks=tuple(self.views.values()),
        )

    def check(self, check_id: str) -> CheckView:
        if check_id not in self.views:
            raise UnknownCheck(f"no check has the id {check_id!r}")
        return self.views[check_id]

    def wait(self, version: int, timeout_s: float) -> int:
        with self.changed:
            self.changed.wait_for(lambda: self.stopped or self.version > version, timeout_s)
            return self.version

    def wake(self) -> None:
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def put(self, view: CheckView, *, new_layout: bool = False) -> None:
        """Publish a changed view."""
        with self.changed:
            self.version += 1
            self.layout_version = self.version if new_layout else self.layout_version
            self.views[view.check.id] = replace(view, version=self.version)
            self.changed.notify_all()


@dataclass
class FakeRuns:
    """Runs that end at once: each wish puts a manual result into the store and on the board."""

    services: FakeServices
    asked: list[tuple[str, str]] = field(default_factory=list)
    refuse: RunRefused | None = None
    finish: bool = True

    def request(self, check_id: str, by: str) -> RunTicket:
        if self.refuse is not None:
            raise self.refuse
        view = self.services.board.check(check_id)
        self.asked.append((check_id, by))
        after_id = view.result.id if view.result else 0
        if self.finish:
            result = make_result(check_id, self.services.board.at, trigger="manual", by=by)
            self.services.history.append([result])
            self.services.board.put(replace(view, result=self.services.history.rows[-1], shown=Status.OK))
        else:
            self.services.board.put(replace(view, run_phase="queued", run_since_at=self.services.board.at))
        return RunTicket(check_id=check_id, phase="queued", joined=False, after_id=after_id)

    def result(self, ticket: RunTicket, timeout_s: float) -> Result | None:
        newest = self.services.history.last(ticket.check_id, 1)
        return newest[0] if newest and newest[0].id > ticket.after_id else None


def too_soon() -> TooSoon:
    """The refusal that a second click within a second earns."""
    return TooSoon("check 'api' ran less than a second ago: wait 0.6 s", retry_after_s=0.6)


@dataclass
class FakeUpkeep:
    """Upkeep that ends when a test says so, over the store's own forgetting."""

    services: FakeServices
    is_compacting: bool = False
    asked: int = 0
    refuse: RunRefused | None = None

    def compact(self) -> None:
        self.asked += 1
        self.is_compacting = True

    def forget(self, check_id: str) -> int:
        if self.refuse is not None:
            raise self.refuse
        return self.services.history.forget(check_id)


@dataclass
class FakeOwn:
    """Own health that tests set."""

    now: OwnHealth

    def health(self) -> OwnHealth:
        return self.now


class FakeServices:
    """All services over memory. `FakeServices()` has no checks; `sample_services()` has a varied board."""

    def __init__(
        self,
        checks: Sequence[Check | BrokenCheck] = (),
        rows: Sequence[Result] = (),
        *,
        server: Server | None = None,
    ) -> None:
        self.settings = Settings(
            server=server or Server(zone="Europe/Prague"),
            checks=tuple(check for check in checks if isinstance(check, Check)),
            broken=tuple(check for check in checks if isinstance(check, BrokenCheck)),
        )
        self.history = MemoryStore()
        self.history.append(rows)
        by_check: dict[str, list[Result]] = {check.id: [] for check in checks}
        for row in self.history.rows:
            by_check.setdefault(row.check_id, []).append(row)
        self.board = FakeBoard({check.id: view_of(check, by_check[check.id]) for check in checks})
        self.runs = FakeRuns(self)
        self.upkeep = FakeUpkeep(self)
        self.own = FakeOwn(
            OwnHealth(
                status="ok",
                version="0.1.0",
                uptime_s=3600.0,
                prober_alive=True,
                prober_restarts=0,
                prober=ProberHealth(fires_per_s=12.5, lateness_p50_s=0.0008, lateness_p99_s=0.004, checks=len(checks)),
                store=self.history.health(),
            )
        )


_NAMES = [
    "checkout-api",
    "storefront",
    "search-api",
    "accounts-api",
    "payments-gateway",
    "webhook-relay",
    "pricing-api",
    "cart-api",
    "invoice-api",
    "image-resizer",
    "notify-sender",
    "build-03",
    "vpn",
    "harbor",
    "ldap-2",
    "pg-billing",
    "pg-core",
    "redis-sessions",
    "rabbit-main",
    "kafka-1",
    "dns-int",
]
_GROUPS = (
    "Customer services",
    "Databases and queues",
    "Hosts",
    "Certificates",
    "Internal tools",
    "Backups and jobs",
    "",
)


def sample_services(count: int = 132, *, every_s: float = 300.0, seed: int = 7) -> FakeServices:
    """A board of `count` checks with 24 h of history: mostly ok, some trouble of every kind, a gap, one broken, one paused."""
    dice = random.Random(seed)
    checks: list[Check | BrokenCheck] = []
    rows: list[Result] = []
    for index in range(count):
        name = _NAMES[index % len(_NAMES)] + ("" if index < len(_NAMES) else f"-{index // len(_NAMES) + 1}")
        group = _GROUPS[index % len(_GROUPS)]
        if index == 5:
            checks.append(
                BrokenCheck(
                    id=name,
                    name=name,
                    type="http",
                    group=group,
                    fault="bearer: environment variable API_TOKEN is not set",
                )
            )
            continue
        check = make_check(
            name,
            group=group,
            probe=FakeProbe(url=f"https://{name}.example.net/health"),
            tags=("prod", "web") if index % 2 else ("prod",),
            owner="Payments" if index % 3 == 0 else "",
            runbook="https://wiki.example.net/runbook" if index % 4 == 0 else "",
            schedule=Schedule(every_s=every_s, timeout_s=5.0),
            paused=index == 9,
            thresholds={"response_time": Thresholds(warning=Threshold.parse("0.5"), critical=Threshold.parse("2"))},
        )
        checks.append(check)
        if index != 17:  # this one never ran
            rows += _day_of(check, index, dice)
    rows.sort(key=lambda row: row.at)
    return FakeServices(checks, rows)


_TROUBLE = {
    0: (Status.CRITICAL, "TLS handshake timed out after 5.0 s at 10.20.4.12:443", 23 * 60),
    2: (Status.WARNING, "response time 1.92 s, warning above 0.5 s", 3 * 3600),
    11: (Status.WARNING, "Disk / is 91 % full, threshold 90 %, 8.1 GB left", 37 * 60),
    12: (Status.WARNING, "certificate expires in 12 d, warning below 14 d", 5 * 3600),
    14: (Status.UNKNOWN, "our fault, not the target's: the resolver on this machine refused the lookup", 6 * 60),
    15: (Status.CRITICAL, "connection refused at 10.0.0.5:5432", 11 * 60),
}


def _day_of(check: Check, index: int, dice: random.Random) -> Iterator[Result]:
    every_s = check.schedule.every_s
    start_s = NOW.timestamp() - 86400 + zlib.crc32(check.id.encode()) % every_s
    base_s = dice.uniform(0.02, 0.4)
    trouble = _TROUBLE.get(index)
    for step in range(int(86400 / every_s)):
        at_s = start_s + step * every_s
        if at_s > NOW.timestamp():
            break
        if 11.5 * 3600 < at_s - (NOW.timestamp() - 86400) < 12 * 3600:
            continue  # the monitor was off
        ago_s = NOW.timestamp() - at_s
        took_s = base_s * dice.uniform(0.8, 1.4) * (4 if dice.random() < 0.01 else 1)
        status, summary = Status.OK, f"200 in {took_s * 1000:.0f} ms, body as expected"
        if trouble and ago_s < trouble[2]:
            status, summary = trouble[0], trouble[1]
            took_s = 5.01 if status is Status.CRITICAL else took_s
        elif dice.random() < 0.0008:
            status, summary = Status.CRITICAL, "connection reset by peer"
        bad = status is Status.CRITICAL
        metrics = {"response_time": took_s, "dns": took_s * 0.05, "connect": took_s * 0.15, "tls": took_s * 0.3}
        yield make_result(
            check.id,
            datetime.fromtimestamp(at_s, UTC),
            status,
            summary=summary,
            duration_s=took_s,
            covers_s=check.schedule.covers_s,
            metrics=metrics if bad else metrics | {"first_byte": took_s * 0.4, "transfer": took_s * 0.1},
            detail=Detail(
                phase="tls" if bad else "",
                expected="status 200, body has 'ready'",
                got="nothing: no TLS session" if bad else "200, body has 'ready'",
                excerpt="<b>upstream</b> timed out" if bad else "",
                facts={"address": "10.20.4.12", "http_version": "HTTP/1.1"},
            ),
        )
