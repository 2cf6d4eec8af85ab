"""Uptime is time, not counts: results become spans of time, spans become seconds per status.

A result speaks for [at, min(next result, at + covers_s)). What no result speaks for is not measured. Each instant is counted
once: where the clock was set back, the span recorded first keeps it, and the result before the step covers nothing. All functions are pure; times are epoch seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from checks.base import Status
from dashboard.model import Slot, Uptime

_OK, _WARNING, _CRITICAL = int(Status.OK), int(Status.WARNING), int(Status.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time with one raw status; `end_s` excluded."""

    start_s: float
    end_s: float
    status: int


def spans(
    at_s: Sequence[float], covers_s: Sequence[float], status: Sequence[int], *, until_s: float | None = None
) -> Iterator[Span]:
    """The spans of a check's results, oldest first, neighbours of one status joined, none after `until_s` (now)."""
    held: tuple[float, float, int] | None = None
    counted_to = float("-inf")
    for index in range(len(at_s)):
        start = max(at_s[index], counted_to)
        end = at_s[index] + covers_s[index]
        if index + 1 < len(at_s):
            end = min(end, max(at_s[index], at_s[index + 1]))
        if until_s is not None and end > until_s:
            end = until_s
        counted_to = max(counted_to, end)
        if end <= start:
            continue
        if held is not None and held[2] == status[index] and held[1] >= start:
            held = (held[0], end, held[2])
            continue
        if held is not None:
            yield Span(start_s=held[0], end_s=held[1], status=held[2])
        held = (start, end, status[index])
    if held is not None:
        yield Span(start_s=held[0], end_s=held[1], status=held[2])


def uptime(found: Iterable[Span], start_at: datetime, end_at: datetime) -> Uptime:
    """Seconds per kind between two instants, end excluded."""
    start_s, end_s = start_at.timestamp(), end_at.timestamp()
    seconds = [0.0, 0.0, 0.0, 0.0]
    for span in found:
        overlap = min(span.end_s, end_s) - max(span.start_s, start_s)
        if overlap > 0:
            seconds[span.status] += overlap
    measured = seconds[_OK] + seconds[_WARNING] + seconds[_CRITICAL]
    return Uptime(
        start_at=start_at,
        end_at=end_at,
        ok_s=seconds[_OK],
        warning_s=seconds[_WARNING],
        critical_s=seconds[_CRITICAL],
        unmeasured_s=max(0.0, end_s - start_s - measured),
    )


def slots(
    found: Iterable[Span], start_s: float, length_s: float, count: int, *, until_s: float | None = None
) -> tuple[Slot, ...]:
    """`count` slots of equal length from `start_s` on, oldest first, with the seconds of each status.

    The slot that holds `until_s` (now) still runs: its length is the time it has had so far.
    """
    seconds = [[0.0, 0.0, 0.0, 0.0] for _ in range(count)]
    for span in found:
        first = max(0, int((span.start_s - start_s) // length_s))
        last = min(count - 1, int((span.end_s - start_s) // length_s))
        for index in range(first, last + 1):
            edge_s = start_s + index * length_s
            overlap = min(span.end_s, edge_s + length_s) - max(span.start_s, edge_s)
            if overlap > 0:
                seconds[index][span.status] += overlap
    return tuple(slot(start_s + index * length_s, length_s, row, until_s) for index, row in enumerate(seconds))


def slot(start_s: float, length_s: float, seconds: Sequence[float], until_s: float | None = None) -> Slot:
    """One slot from its seconds per status (ok, warning, critical, unknown), cut at `until_s` where that falls inside."""
    if until_s is not None and start_s < until_s < start_s + length_s:
        length_s = until_s - start_s
    return Slot(
        start_at=datetime.fromtimestamp(start_s, UTC),
        length_s=length_s,
        ok_s=seconds[0],
        warning_s=seconds[1],
        critical_s=seconds[2],
        unknown_s=seconds[3],
    )
