"""Why a check is as it is: the phases of its newest run, its last good run beside its last bad one, and all of it as text.

Whatever a target or a plugin said passes through the check's mask here; templates escape it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from dashboard.model import BrokenCheck, Check, CheckView, Result
from dashboard.web import words
from dashboard.web.metrics import PHASES, RESPONSE_TIME, label

Mask = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One step of the newest run. `state`: `done`, `fail` or `none` (not reached); `note` compares it with the last good run."""

    title: str
    state: str
    value: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One field of the last good and the last bad run."""

    field: str
    good: str
    bad: str

    @property
    def differs(self) -> bool:
        """Whether the two tell a difference worth a look."""
        return self.field != "Finished" and self.good != self.bad and words.NONE not in (self.good, self.bad)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """One run in the log, masked. `fields` is what opening the row shows."""

    result: Result
    time: str
    day: str
    offset: str
    took: str
    summary: str
    asked_by: str
    phase: str
    fields: tuple[tuple[str, str], ...]
    excerpt: str


def phases(view: CheckView) -> list[Phase]:
    """The steps of the newest run, in order; empty for probes that know no phases."""
    newest, good = view.result, view.last_good
    if newest is None or isinstance(view.check, BrokenCheck):
        return []
    failed = newest.detail.phase.replace(" ", "_") if newest.status.is_bad else ""
    usual: Mapping[str, float] = good.metrics if good else {}
    known = [name for name in PHASES if name in newest.metrics or name in usual or name == failed]
    if len(known) < 2:
        return []
    last_reached = known.index(failed) if failed in known else len(known)
    return [
        _phase(name, "done" if place < last_reached else "fail" if place == last_reached else "none", newest, usual)
        for place, name in enumerate(known)
    ]


def _phase(name: str, state: str, newest: Result, usual: Mapping[str, float]) -> Phase:
    good = f"good run {words.duration(usual[name])}" if name in usual else ""
    taken_s = newest.metrics.get(name)
    if state == "fail" and taken_s is None:  # what the steps before it left of the run
        before_s = sum(newest.metrics.get(other, 0.0) for other in PHASES if other != name)
        taken_s = max(0.0, newest.duration_s - before_s)
    if state == "none" or taken_s is None:
        return Phase(title=PHASES[name], state="none", value="not reached", note=good)
    note = ", ".join(filter(None, ("failed" if state == "fail" else "", good)))
    return Phase(title=PHASES[name], state=state, value=words.duration(taken_s), note=note)


def comparisons(view: CheckView, zone: tzinfo, now: datetime) -> list[Comparison]:
    """The last good run beside the last bad one; empty when there is neither."""
    good, bad = view.last_good, view.last_bad
    if good is None and bad is None:
        return []
    mask = mask_of(view)
    columns = [_fields(result, view.units, mask, zone, now) if result else {} for result in (good, bad)]
    names = list(dict.fromkeys([*columns[1], *columns[0]]))
    names.sort(key=lambda name: _FIELDS.index(name) if name in _FIELDS else len(_FIELDS) - 3)
    return [
        Comparison(field=name, good=columns[0].get(name, words.NONE), bad=columns[1].get(name, words.NONE))
        for name in names
    ]


_FIELDS = ["Finished", "Result", "Expected", "Got", "Took", "", "Asked by", "Worker"]  # "": facts and metrics


def _fields(result: Result, units: Mapping[str, str], mask: Mask, zone: tzinfo, now: datetime) -> dict[str, str]:
    finished_at = result.at + timedelta(seconds=result.duration_s)
    detail = result.detail
    found = {
        "Finished": f"{clock_time(finished_at, zone, now)}, {words.span((now - finished_at).total_seconds())} ago",
        "Result": f"{result.status.word}, {mask(result.summary)}",
        "Expected": mask(detail.expected),
        "Got": mask(detail.got),
        "Took": words.duration(result.duration_s),
        **_facts(result, mask),
        **_plain_metrics(result, units, mask),
        "Asked by": asked_by(result),
        "Worker": result.worker,
    }
    return {name: value for name, value in found.items() if value}


def _facts(result: Result, mask: Mask) -> dict[str, str]:
    return {mask(_capital(name.replace("_", " "))): mask(value) for name, value in result.detail.facts.items()}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain_metrics(result: Result, units: Mapping[str, str], mask: Mask) -> dict[str, str]:
    """The metrics that neither the phases nor the duration show."""
    return {
        mask(_capital(label(name))): words.measure(value, units.get(name, ""))
        for name, value in result.metrics.items()
        if name not in PHASES and name != RESPONSE_TIME
    }


def log_row(result: Result, units: Mapping[str, str], mask: Mask, zone: tzinfo, now: datetime) -> LogRow:
    """The run as the log shows it."""
    local, detail = result.at.astimezone(zone), result.detail
    fields = {
        "Expected": mask(detail.expected),
        "Got": mask(detail.got),
        **_facts(result, mask),
        **{
            mask(_capital(label(name))): words.measure(value, units.get(name, ""))
            for name, value in result.metrics.items()
        },
        "Speaks for": f"at most {words.span(result.covers_s)}",
        "Worker": result.worker,
        "Run": str(result.id),
    }
    return LogRow(
        result=result,
        time=f"{local:%H:%M:%S}",
        day=day(result.at, zone, now),
        offset=local.isoformat()[-6:],
        took=words.duration(result.duration_s),
        summary=mask(result.summary),
        asked_by=asked_by(result),
        phase=PHASES.get(detail.phase.replace(" ", "_"), mask(detail.phase)),
        fields=tuple((name, value) for name, value in fields.items() if value),
        excerpt=mask(detail.excerpt),
    )


def asked_by(result: Result) -> str:
    """Who asked for the run: `schedule`, `signal`, or `manual by local`."""
    return f"manual by {result.by}" if result.trigger == "manual" and result.by else result.trigger


def day(at: datetime, zone: tzinfo, now: datetime) -> str:
    """The day of an instant, with its year when that is not this year."""
    local = at.astimezone(zone)
    this_year = local.year == now.astimezone(zone).year
    return (
        f"{local.day}{words.NBSP}{local:%b}"
        if this_year
        else f"{local.day}{words.NBSP}{local:%b}{words.NBSP}{local.year}"
    )


def clock_time(at: datetime, zone: tzinfo, now: datetime) -> str:
    """The time to the second, with its day when that is not today."""
    local = at.astimezone(zone)
    time = f"{local:%H:%M:%S}"
    return time if local.date() == now.astimezone(zone).date() else f"{day(at, zone, now)} {time}"


def about(check: Check) -> list[tuple[str, str]]:
    """How the check is configured, as name and value."""
    schedule = check.schedule
    found = [("Every", words.every(schedule.every_s)), ("Timeout", words.every(schedule.timeout_s))]
    if check.retries:
        found.append(("Retries", str(check.retries)))
    found.append(("Trouble", f"confirmed by {words.plural(check.failure_threshold, 'bad result')}"))
    found.append(("Recovery", f"confirmed by {words.plural(check.success_threshold, 'good result')}"))
    for name, limits in check.thresholds.items():
        ranges = (("warning", limits.warning), ("critical", limits.critical))
        texts = [
            f"{word} {'in' if each.inside else 'outside'} {each.text.lstrip('@')}" for word, each in ranges if each
        ]
        found.append((_capital(label(name)), ", ".join(texts)))
    return found


def reproduction(view: CheckView) -> str:
    """The shell command that measures the same by hand, masked."""
    return view.check.mask(view.check.probe.reproduction()) if isinstance(view.check, Check) else ""


def mask_of(view: CheckView) -> Mask:
    """What hides the check's secrets."""
    return view.check.mask if isinstance(view.check, Check) else str


def as_text(view: CheckView, url: str, zone: tzinfo, now: datetime) -> str:
    """What a person pastes into a chat: state, reason, runs, address."""
    check, mask = view.check, mask_of(view)
    since = f" since {words.moment(view.since_at, zone)}" if view.since_at else ""
    lines = [f"{check.name}: {words.status(view)}{since}", mask(words.reason(view, zone, now))]
    if isinstance(check, Check):
        target = mask(check.probe.target)
        lines.append(", ".join(dict.fromkeys((check.type, target, f"every {words.every(check.schedule.every_s)}"))))
    if view.unconfirmed:
        lines.append(f"not confirmed yet: {view.unconfirmed}")
    for title, result in (("last good run", view.last_good), ("last bad run", view.last_bad)):
        if result is not None:
            lines.append(f"{title}: {words.moment(result.at, zone)}, {mask(result.summary)}")
    return "\n".join([*lines, url]).replace(words.NBSP, " ")
