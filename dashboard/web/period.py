"""The stretch of time that a page shows. It lives in the URL: `range=1h`, `range=24h`, or `from=` and `to=`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from dashboard.engine.export import find_instant
from dashboard.errors import BadRequest
from dashboard.web import words

PRESETS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24)}
STANDARD = "24h"
LARGEST_ROWS = 300_000  # 30 d of a 10 s check; reading and folding as many takes about 0.5 s


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
            return {"1h": "last hour", "24h": "last 24 hours"}[self.name]
        return f"{words.moment(self.start_at, zone)} to {words.moment(self.end_at, zone)}"


def standard(now: datetime) -> Period:
    """The period of a page that was not asked for another."""
    return preset(STANDARD, now)


def preset(name: str, now: datetime) -> Period:
    """The period of that name, up to now."""
    return Period(name=name, start_at=now - PRESETS[name], end_at=now)


def parse(params: Mapping[str, str], *, now: datetime, zone: tzinfo, every_s: float = 0.0) -> Period:
    """The period that the parameters ask for; an end that lies ahead is cut to now.

    `every_s` is the check's interval: more results than LARGEST_ROWS are refused. Raises BadRequest in words.
    """
    start, end, name = (params.get(key, "").strip() for key in ("from", "to", "range"))
    if not start and not end:
        name = name or STANDARD
        if name not in PRESETS:
            raise BadRequest(f"range: must be {' or '.join(PRESETS)}, got {name[:64]!r}; or give from and to")
        return preset(name, now)
    if not start:
        raise BadRequest("from: is missing; give the time at which the range starts")
    start_at = find_instant("from", start, now=now, zone=zone)
    end_at = min(find_instant("to", end, now=now, zone=zone), now) if end else now
    if start_at >= end_at:
        limit = "to" if end and end_at < now else "now"
        raise BadRequest(
            f"from: must lie before {limit}, {words.moment(end_at, zone)}; got {words.moment(start_at, zone)}"
        )
    longest_s = LARGEST_ROWS * every_s
    if every_s and (end_at - start_at).total_seconds() > longest_s:
        raise BadRequest(
            f"from: the range is too long to draw for a check that runs every {words.every(every_s)}; "
            f"choose at most {words.span(longest_s)}, or export it"
        )
    return Period(name="custom", start_at=start_at, end_at=end_at)
