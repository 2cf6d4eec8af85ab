"""The live picture of all checks: folded as results become durable, handed out as immutable views."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from checks.base import Clock, Status
from dashboard.engine.day import SLOT_S, SLOTS, Day, uptime_of_bar
from dashboard.engine.incidents import unconfirmed
from dashboard.errors import UnknownCheck
from dashboard.model import BoardView, BrokenCheck, Check, CheckState, CheckView, Incident, Result, RunPhase
from dashboard.storage.base import History

SPARK = 40


@dataclass(slots=True, kw_only=True)
class _Entry:
    """What the board holds of one check; `view` is None while it waits to be drawn anew."""

    check: Check | BrokenCheck
    version: int
    day: Day = field(default_factory=Day)
    spark: deque[float] = field(default_factory=lambda: deque(maxlen=SPARK))
    result: Result | None = None
    last_good: Result | None = None
    last_bad: Result | None = None
    state: CheckState | None = None
    incident: Incident | None = None
    units: dict[str, str] = field(default_factory=dict)
    run_phase: RunPhase | None = None
    run_since_at: datetime | None = None
    is_overdue: bool = False
    view: CheckView | None = None

    @property
    def covered_until_at(self) -> datetime | None:
        """Until when the newest result speaks for the check; None where nothing is expected."""
        if self.result is None or isinstance(self.check, BrokenCheck) or self.check.paused:
            return None
        return self.result.at + timedelta(seconds=self.result.covers_s)


class LiveBoard:
    """All checks as they are now. Any thread may call any method; `boot` names this start of the server."""

    def __init__(self, *, boot: str, clock: Clock) -> None:
        self._boot = boot
        self._clock = clock
        self._changed = threading.Condition()
        self._entries: dict[str, _Entry] = {}
        self._version = 1
        self._layout_version = 1
        self._slot = 0
        self._is_stopped = False

    def configure(
        self,
        checks: Sequence[Check | BrokenCheck],
        history: History,
        *,
        states: Mapping[str, CheckState],
        incidents: Iterable[Incident],
        units: Mapping[str, Mapping[str, str]],
    ) -> None:
        """Show these checks, in this order; a check that is new to the board brings its last day from the history."""
        by_check = {incident.check_id: incident for incident in incidents}
        now_at = self._clock.now()
        with self._changed:
            known = self._entries
        loaded = {
            check.id: _load(check, history, states.get(check.id), by_check.get(check.id), units.get(check.id, {}))
            for check in checks
            if check.id not in known
        }
        _load_days(loaded, history, now_at)
        with self._changed:
            self._bump()
            self._layout_version = self._version
            self._entries = {check.id: loaded.get(check.id) or known[check.id] for check in checks}
            for check in checks:
                entry = self._entries[check.id]
                if entry.check != check or check.id in loaded:
                    if _headline_of(entry.check) != _headline_of(check):
                        entry.spark.clear()
                    entry.check = check
                    self._touch(entry)
            self._find_overdue(now_at)

    def apply(
        self,
        results: Sequence[Result],
        *,
        states: Mapping[str, CheckState],
        incidents: Mapping[str, Incident],
    ) -> None:
        """Show durable results, with the states and the incidents (by check) that they changed."""
        with self._changed:
            self._bump()
            for result in results:
                entry = self._entries.get(result.check_id)
                if entry is not None:
                    _fold(entry, result)
                    self._touch(entry)
            for check_id, state in states.items():
                if check_id in self._entries:
                    self._entries[check_id].state = state
            for check_id, incident in incidents.items():
                if check_id in self._entries:
                    self._entries[check_id].incident = None if incident.closed_at else incident

    def run_changed(self, check_id: str, phase: RunPhase | None) -> None:
        """Show that a check is queued, running, or neither."""
        with self._changed:
            entry = self._entries.get(check_id)
            if entry is not None and entry.run_phase != phase:
                self._bump()
                entry.run_phase = phase
                entry.run_since_at = self._clock.now() if phase else None
                self._touch(entry)

    def tick(self) -> None:
        """Let time pass: mark results that no longer cover now, and move the bars on when a slot begins."""
        now_at = self._clock.now()
        slot = int(now_at.timestamp() // SLOT_S)
        with self._changed:
            if slot != self._slot:
                self._slot = slot
                self._bump()
                for entry in self._entries.values():
                    self._touch(entry)
            self._find_overdue(now_at)

    def touch(self) -> None:
        """Tell every viewer to look again: something beside the checks has changed."""
        with self._changed:
            self._bump()

    def view(self) -> BoardView:
        """All checks as they are now."""
        now_at = self._clock.now()
        with self._changed:
            return BoardView(
                boot=self._boot,
                version=self._version,
                layout_version=self._layout_version,
                at=now_at,
                checks=tuple(_drawn(entry, now_at) for entry in self._entries.values()),
            )

    def check(self, check_id: str) -> CheckView:
        """One check; raises UnknownCheck."""
        with self._changed:
            if check_id not in self._entries:
                raise UnknownCheck(f"no check has the id {check_id!r}")
            return _drawn(self._entries[check_id], self._clock.now())

    def wait(self, version: int, timeout_s: float) -> int:
        """Block until the version is above the given one, the server stops or time is up; the version now."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._version > version, timeout_s)
            return self._version

    def view_version(self) -> int:
        """The version now, without drawing anything."""
        with self._changed:
            return self._version

    @property
    def is_stopped(self) -> bool:
        """Whether `wake` was called: nothing will change any more."""
        return self._is_stopped

    def wake(self) -> None:
        """Let every waiter go, for good: the server stops."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _bump(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _touch(self, entry: _Entry) -> None:
        entry.version = self._version
        entry.view = None

    def _find_overdue(self, now_at: datetime) -> None:
        for entry in self._entries.values():
            until_at = entry.covered_until_at
            is_overdue = until_at is not None and now_at > until_at
            if is_overdue != entry.is_overdue:
                self._bump()
                entry.is_overdue = is_overdue
                self._touch(entry)


def _load(
    check: Check | BrokenCheck,
    history: History,
    state: CheckState | None,
    incident: Incident | None,
    units: Mapping[str, str],
) -> _Entry:
    """An entry with its newest results, its day still empty."""
    entry = _Entry(check=check, version=0, state=state, incident=incident, units=dict(units))
    newest = history.last(check.id, SPARK)
    if newest:
        entry.result = newest[0]
        entry.spark.extend(_headline(check, result) for result in reversed(newest))
        entry.last_good = next((result for result in newest if not result.status.is_bad), None)
        entry.last_bad = next(iter(history.last(check.id, 1, bad_only=True)), None)
    return entry


def _load_days(entries: Mapping[str, _Entry], history: History, now_at: datetime) -> None:
    """Give every entry the bar's range as the history has folded it."""
    last = int(now_at.timestamp() // SLOT_S) + 1
    edges_s = [number * SLOT_S for number in range(last - SLOTS, last + 1)]
    for check_id, entry in entries.items():
        if entry.result is not None:
            entry.day.resume(history.rollups(check_id, edges_s, metrics=()), history.cursor(check_id))


def _fold(entry: _Entry, result: Result) -> None:
    if entry.result is not None and result.id and result.id <= entry.result.id:
        return  # it was durable already when the history was read
    entry.day.add(result.at.timestamp(), result.covers_s, int(result.status))
    entry.spark.append(_headline(entry.check, result))
    entry.result = result
    entry.units.update(result.units)
    entry.is_overdue = False
    if result.status.is_bad:
        entry.last_bad = result
    else:
        entry.last_good = result


def _headline_of(check: Check | BrokenCheck) -> str:
    return check.probe.headline if isinstance(check, Check) else ""


def _headline(check: Check | BrokenCheck, result: Result) -> float:
    return result.metrics.get(_headline_of(check), result.duration_s)


def _drawn(entry: _Entry, now_at: datetime) -> CheckView:
    if entry.view is None:
        entry.view = _draw(entry, now_at)
    return entry.view


def _draw(entry: _Entry, now_at: datetime) -> CheckView:
    shown, summary, since_at = _shown(entry)
    check, state, result = entry.check, entry.state, entry.result
    bar = entry.day.bar(now_at.timestamp()) if result is not None else ()
    waiting = ""
    if isinstance(check, Check) and state is not None and result is not None and not entry.is_overdue:
        waiting = unconfirmed(state, result.status, check)
    return CheckView(
        check=check,
        version=entry.version,
        shown=shown,
        summary=summary,
        since_at=since_at,
        result=result,
        last_good=entry.last_good,
        last_bad=entry.last_bad,
        state=state,
        incident=entry.incident,
        unconfirmed=waiting,
        is_overdue=entry.is_overdue,
        run_phase=entry.run_phase,
        run_since_at=entry.run_since_at,
        bar=bar,
        uptime=uptime_of_bar(bar, now_at.timestamp()) if bar else None,
        spark=tuple(entry.spark),
        units=dict(entry.units),
    )


def _shown(entry: _Entry) -> tuple[Status | None, str, datetime | None]:
    """The status, the reason and since when, as the page says it."""
    result, state = entry.result, entry.state
    if isinstance(entry.check, BrokenCheck):
        return Status.UNKNOWN, entry.check.fault, None
    if result is None:
        return None, "", None
    if entry.is_overdue:
        return Status.UNKNOWN, f"no result since; the last one said: {result.summary}", entry.covered_until_at
    if state is None:
        return result.status, result.summary, result.at
    since_at = state.since_at if state.status is result.status else state.pending_since_at
    return result.status, result.summary, since_at or result.at
