"""The stretch of time that a page shows. It lives in the URL: `range=1h` to `range=1y`, or `from=` and `to=`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from dashboard.engine.export import find_instant
from dashboard.engine.quarter import midnights
from dashboard.errors import BadRequest
from dashboard.web import words

PRESETS = {"1h": "hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days", "1y": "year"}
STANDARD = "24h"
LONG_S = 2 * 86400.0  # a longer period changes too little in a minute for anybody to see
_TO_THE_SECOND = {"1h": 3600.0, "24h": 86400.0}
_IN_HOURS = {"7d": 7 * 24, "30d": 30 * 24}
_IN_DAYS = {"90d": 90, "1y": 365}


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From `start_at` until `end_at`, the end excluded. `name` is a preset's, or `custom`."""

    name: str
    start_at: datetime
    end_at: datetime

    @property
    def is_live(self) -> bool:
        """Whether its end moves with the clock."""
        return self.name in PRESETS

    @property
    def key(self) -> str:
        """Names the period as long as it is the same to a viewer."""
        return self.name if self.is_live else f"{self.start_at.timestamp()}-{self.end_at.timestamp()}"

    @property
    def length_s(self) -> float:
        """How long it is."""
        return (self.end_at - self.start_at).total_seconds()

    @property
    def is_long(self) -> bool:
        """Whether a look a minute is enough to follow it."""
        return self.length_s > LONG_S

    def query(self, zone: tzinfo) -> dict[str, str]:
        """The URL parameters that give it again, for pages and exports."""
        if self.name == STANDARD:
            return {}
        return {"range": self.name} if self.is_live else self.bounds(zone)

    def bounds(self, zone: tzinfo) -> dict[str, str]:
        """The URL parameters `from` and `to` with offsets."""
        return {
            "from": self.start_at.astimezone(zone).isoformat(timespec="seconds"),
            "to": self.end_at.astimezone(zone).isoformat(timespec="seconds"),
        }

    def label(self, zone: tzinfo) -> str:
        """What a heading calls it."""
        if self.is_live:
            return f"last {PRESETS[self.name]}"
        return f"{words.moment(self.start_at, zone)} to {words.moment(self.end_at, zone)}"


def short(name: str) -> str:
    """A preset as its button has it: `24 h`."""
    return f"{name[:-1]}{words.NBSP}{name[-1]}"


def standard(now: datetime) -> Period:
    """The period of a page that was not asked for another."""
    return preset(STANDARD, now)


def preset(name: str, now: datetime, zone: tzinfo = UTC) -> Period:
    """The period of that name, up to now. Like the bar of 24 h, a long one counts the hour or day that still runs as its last."""
    if name in _TO_THE_SECOND:
        start_at = now - timedelta(seconds=_TO_THE_SECOND[name])
    elif name in _IN_HOURS:
        start_at = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=_IN_HOURS[name] - 1)
    else:
        start_at = datetime.fromtimestamp(midnights(now, zone, _IN_DAYS[name])[0], UTC)
    return Period(name=name, start_at=start_at, end_at=now)


def parse(params: Mapping[str, str], *, now: datetime, zone: tzinfo) -> Period:
    """The period that the parameters ask for; an end that lies ahead is cut to now. Raises BadRequest in words."""
    start, end, name = (params.get(key, "").strip() for key in ("from", "to", "range"))
    if not start and not end:
        name = name or STANDARD
        if name not in PRESETS:
            known = " or ".join((", ".join(list(PRESETS)[:-1]), list(PRESETS)[-1]))
            raise BadRequest(f"range: must be {known}, got {name[:64]!r}; or give from and to")
        return preset(name, now, zone)
    if not start:
        raise BadRequest("from: is missing; give the time at which the range starts")
    start_at = find_instant("from", start, now=now, zone=zone)
    end_at = min(find_instant("to", end, now=now, zone=zone), now) if end else now
    if start_at >= end_at:
        limit = "to" if end and end_at < now else "now"
        raise BadRequest(
            f"from: must lie before {limit}, {words.moment(end_at, zone)}; got {words.moment(start_at, zone)}"
        )
    return Period(name="custom", start_at=start_at, end_at=end_at)
