"""Numbers, times and reasons in words, with a no-break space before every unit. Pure functions; pages call them."""

from __future__ import annotations

import math
from datetime import datetime, tzinfo

from dashboard.model import BrokenCheck, CheckView, Uptime

NBSP = "\u00a0"
NONE = "–"
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
_SCALES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


def span(seconds: float) -> str:
    """How long something has lasted, at most two units: `45 s`, `11 m`, `3 h 04 m`, `2 d 5 h`, `19 d`.

    `static/js/ages.js` says the same: change both.
    """
    whole = max(0, int(seconds))
    if whole < MINUTE_S:
        return f"{whole}{NBSP}s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S}{NBSP}m"
    if whole < DAY_S:
        return f"{whole // HOUR_S}{NBSP}h{NBSP}{whole % HOUR_S // MINUTE_S:02d}{NBSP}m"
    days, hours = whole // DAY_S, whole % DAY_S // HOUR_S
    return f"{days}{NBSP}d{NBSP}{hours}{NBSP}h" if days < 7 else f"{days}{NBSP}d"


def every(seconds: float) -> str:
    """An interval as it was configured: `500 ms`, `30 s`, `90 s`, `5 m`, `1 h`, `2 d`."""
    for size, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{NBSP}{unit}"
    return f"{seconds:g}{NBSP}s" if seconds >= 1 else f"{seconds * 1000:g}{NBSP}ms"


def duration(seconds: float) -> str:
    """A measured time with three digits: `0.42 ms`, `147 ms`, `1.92 s`, `12.3 s`; from two minutes on as a span."""
    if abs(seconds) < 0.9995:
        return f"{digits(seconds * 1000)}{NBSP}ms"
    return f"{digits(seconds)}{NBSP}s" if abs(seconds) < 2 * MINUTE_S else span(seconds)


def digits(value: float) -> str:
    """A number with about three digits that matter, thousands set apart: `0.042`, `1.92`, `91`, `12 480`, `1e+300`."""
    if not math.isfinite(value):
        return NONE
    size = abs(value)
    if size >= 1e15:
        return f"{value:.3g}"
    if size >= 1000 or value == int(value):
        return f"{value:,.0f}".replace(",", "\u202f")
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


def measure(value: float, unit: str = "") -> str:
    """A metric for people: `147 ms`, `8.1 GB`, `91 %`, `12 d`, `3.4 MB/s`, `18`."""
    if not math.isfinite(value):
        return NONE
    if unit == "s":
        return duration(value)
    if unit in ("B", "B/s"):
        for prefix, size in _SCALES:
            if abs(value) >= size:
                return f"{value / size:.3g}{NBSP}{prefix}{unit}"
    if unit == "d":
        return f"{math.floor(value)}{NBSP}d"
    return f"{digits(value)}{NBSP}{unit}" if unit else digits(value)


def percent(ratio: float | None) -> str:
    """A share, cut and never rounded up, so that only a full one reads `100 %`: `99.99 %`, `0 %`."""
    if ratio is None:
        return NONE
    hundredths = math.floor(round(ratio * 10_000, 6))
    return f"{hundredths // 100}{NBSP}%" if hundredths in (0, 10_000) else f"{hundredths / 100:.2f}{NBSP}%"


def coverage(uptime: Uptime) -> str:
    """An uptime that owns up to what it does not know: `99.71 % up, 96.66 % measured`."""
    if uptime.ratio is None:
        return "not measured"
    return f"{percent(uptime.ratio)} up, {percent(uptime.coverage_ratio)} measured"


def plural(count: int, noun: str) -> str:
    """A count with its noun: `1 check`, `2 checks`."""
    return f"{count}{NBSP}{noun}" if count == 1 else f"{count}{NBSP}{noun}s"


def counted(count: int, noun: str) -> str:
    """The same for large numbers: `1 result`, `21 877 results`."""
    return f"{digits(count)}{NBSP}{noun}{'' if count == 1 else 's'}"


def listed(names: list[str]) -> str:
    """Names as a sentence lists them: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def time_of_day(at: datetime, zone: tzinfo, now: datetime) -> str:
    """The time as short as it stays clear: `14:14`, `Mon 14:14`, `24 Nov 14:14`, `24 Nov 2025 14:14`."""
    local, today = at.astimezone(zone), now.astimezone(zone)
    days = (today.date() - local.date()).days
    if days == 0:
        return f"{local:%H:%M}"
    if 0 < days < 6:
        return f"{local:%a %H:%M}"
    return f"{local.day} {local:%b %H:%M}" if local.year == today.year else f"{local.day} {local:%b %Y %H:%M}"


def moment(at: datetime, zone: tzinfo) -> str:
    """The whole instant with its offset, for tooltips: `2026-11-24 14:25:08 +01:00`."""
    text = at.astimezone(zone).isoformat(sep=" ", timespec="seconds")
    return f"{text[:19]} {text[19:]}"


def clock(at: datetime, zone: tzinfo) -> str:
    """The time for a header: `Tue 24 Nov 14:25:08`."""
    local = at.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %H:%M:%S}"


def place(zone: tzinfo, at: datetime) -> str:
    """The zone with its distance from UTC at that instant: `Prague, UTC+01:00`, or `UTC`."""
    name = str(zone).rsplit("/", 1)[-1].replace("_", " ")
    local = at.astimezone(zone)
    if not local.utcoffset():
        return name
    return f"{name}, UTC{local.isoformat()[-6:]}"


def is_problem(view: CheckView) -> bool:
    """Whether the check calls for attention: bad, or not usable as it is configured. A paused one never does."""
    if isinstance(view.check, BrokenCheck):
        return True
    return not view.check.paused and view.shown is not None and view.shown.is_bad


def kind(view: CheckView) -> str:
    """The CSS word of what the page shows: a status, `broken`, `paused` or `never`."""
    if isinstance(view.check, BrokenCheck):
        return "broken"
    if view.check.paused:
        return "paused"
    return view.shown.word if view.shown is not None else "never"


def status(view: CheckView) -> str:
    """What the page calls it: a status, or `config error`, `paused`, `never run`."""
    return {"broken": "config error", "never": "never run"}.get(kind(view), kind(view))


def reason(view: CheckView, zone: tzinfo, now: datetime) -> str:
    """Why the check is as it is, in one line."""
    check = view.check
    if isinstance(check, BrokenCheck):
        return check.fault
    if check.paused:
        return "not scheduled while it is paused"
    if view.result is None:
        return f"waiting for its first result, due every {every(check.schedule.every_s)}"
    if view.is_overdue:
        since = time_of_day(view.result.at, zone, now)
        return f"No result since {since}, expected every {every(check.schedule.every_s)}; then: {view.result.summary}"
    return view.summary


def value(view: CheckView) -> str:
    """The metric that stands for the check, in its unit; the run's duration where it has none."""
    if view.result is None or view.is_overdue or isinstance(view.check, BrokenCheck):
        return NONE
    name = view.check.probe.headline
    if name in view.result.metrics:
        return measure(view.result.metrics[name], view.units.get(name, ""))
    return duration(view.result.duration_s)
