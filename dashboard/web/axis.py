"""The time axis of a chart. Plotly knows no zones: instants are moved by the zone's offset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from dashboard.rollup import DAY_S, HOUR_S
from dashboard.web.period import Period

_OWN_OFFSETS_FROM_S = 3 * HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The time axis of one period in one zone. Plotly knows no zones: instants are moved by the zone's offset.

    Slots of 3 hours or more each have their own, so that days begin at midnight; all else has that of the period's end, so
    that a night with a clock change stays in order.
    """

    period: Period
    length_s: float  # of a slot; 0 where single results are drawn
    zone: tzinfo

    def place(self, at_s: float) -> int:
        """Where an instant lies, as Plotly counts: milliseconds."""
        own = self.length_s >= _OWN_OFFSETS_FROM_S
        at = datetime.fromtimestamp(at_s, UTC) if own else self.period.end_at
        shift = at.astimezone(self.zone).utcoffset() or timedelta()
        return round((at_s + shift.total_seconds()) * 1000)

    def layout(self) -> dict[str, object]:
        """The axis as Plotly has it."""
        bounds = (self.period.start_at, self.period.end_at)
        days = self.period.length_s / DAY_S
        hover = "%a %-d %b %Y" if self.length_s >= DAY_S else "%a %-d %b %H:%M"
        return {
            "type": "date",
            "range": [self.place(bound.timestamp()) for bound in bounds],
            "hoverformat": hover if self.length_s else "%a %-d %b %H:%M:%S",
            "tickformat": "%H:%M\n%-d %b" if days <= 2 else "%-d %b\n%H:%M" if days <= 8 else "%-d %b\n%Y",
        }


def bars(places: Sequence[tuple[float, float]], axis: Axis, heights: Sequence[float]) -> dict[str, object]:
    """Bars over stretches of time, as Plotly has them."""
    ends = [(axis.place(start_s), axis.place(end_s)) for start_s, end_s in places]
    return {
        "x": [(start + end) / 2 for start, end in ends],
        "y": heights,
        "width": [end - start for start, end in ends],
    }
