"""What a result does to what is confirmed about its check: pure functions of values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from checks.base import Status
from dashboard.model import Check, CheckState, Incident, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The state after a result, and the incident where the result opened, changed or closed one."""

    state: CheckState
    incident: Incident | None = None


def advance(state: CheckState, incident: Incident | None, result: Result, check: Check, *, new_id: int) -> Step:
    """Fold one result in. `incident` is the open one, if any; `new_id` is the id a new incident would take.

    A trouble is confirmed by `failure_threshold` bad results in a row, at the least severe status among them. While it is
    open, its status rises or falls only when as many results in a row are all worse, or all lighter: one odd result in a
    long outage changes nothing. `success_threshold` good ones in a row close it, at the first of them.
    A result that is already folded in changes nothing.
    """
    if result.id and result.id <= state.last_id:
        return Step(state=state)
    keep = max(check.failure_threshold, check.success_threshold)
    recent = (*state.recent, result.status)[-keep:]
    confirmed = _confirmed(state, recent, check, is_open=incident is not None)
    waiting = _wait(replace(state, recent=recent, last_id=result.id or state.last_id), result, state.recent[-1:])
    if confirmed is state.status:
        return Step(state=waiting, incident=_with_reason(incident, result))
    since_at = waiting.pending_since_at or result.at
    changed = replace(
        waiting, status=confirmed, since_at=since_at, pending=0, pending_since_at=None, version=state.version + 1
    )
    return _with_incident(changed, incident, result, since_at, new_id)


def _confirmed(state: CheckState, recent: tuple[Status, ...], check: Check, *, is_open: bool) -> Status | None:
    bad = _trailing(recent, good=False)
    if not bad:
        needed = check.success_threshold if is_open else 1
        return Status.OK if len(_trailing(recent, good=True)) >= needed else state.status
    if len(bad) < check.failure_threshold:
        return state.status
    window = sorted(bad[-check.failure_threshold :], key=lambda status: status.severity)
    lightest, worst = window[0], window[-1]
    if not is_open or state.status is None or lightest.severity > state.status.severity:
        return lightest
    return worst if worst.severity < state.status.severity else state.status


def _trailing(recent: tuple[Status, ...], *, good: bool) -> tuple[Status, ...]:
    count = 0
    while count < len(recent) and recent[-1 - count].is_bad != good:
        count += 1
    return recent[len(recent) - count :]


def _wait(state: CheckState, result: Result, before: tuple[Status, ...]) -> CheckState:
    """Count the results in a row that speak against what is confirmed; one that turns from bad to good starts anew."""
    if result.status is state.status:
        return replace(state, pending=0, pending_since_at=None)
    if state.pending and before and before[0].is_bad == result.status.is_bad:
        return replace(state, pending=state.pending + 1)
    return replace(state, pending=1, pending_since_at=result.at)


def _with_reason(incident: Incident | None, result: Result) -> Incident | None:
    """The open incident with the newest reason, where the result brings another one."""
    if incident is None or not result.status.is_bad or incident.summary == result.summary:
        return None
    return replace(incident, summary=result.summary)


def _with_incident(
    state: CheckState, incident: Incident | None, result: Result, since_at: datetime, new_id: int
) -> Step:
    status = state.status
    if status is None or status is Status.OK:
        closed = None if incident is None else replace(incident, closed_at=since_at)
        return Step(state=replace(state, incident_id=0), incident=closed)
    if incident is None:
        opened = Incident(
            id=new_id,
            check_id=state.check_id,
            opened_at=since_at,
            confirmed_at=result.at,
            status=status,
            worst=status,
            summary=result.summary,
        )
        return Step(state=replace(state, incident_id=new_id), incident=opened)
    worst = Status.worst(incident.worst, status)
    return Step(state=state, incident=replace(incident, status=status, worst=worst, summary=result.summary))


def unconfirmed(state: CheckState, newest: Status, check: Check) -> str:
    """ "1 of 2" while the newest result waits for confirmation, else empty."""
    if newest is state.status or not state.pending:
        return ""
    needed = check.failure_threshold if newest.is_bad else check.success_threshold
    return f"{min(state.pending, needed)} of {needed}"
