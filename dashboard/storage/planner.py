"""What a TinyDB query narrows down to: read from its structural hash, always rechecked by running the query."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import inf, nan
from typing import Any

_LOWER = frozenset({">", ">=", "=="})
_UPPER = frozenset({"<", "<=", "=="})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where matching rows can be: one check (None: any), and instants with start_s <= at <= end_s."""

    check_id: str | None = None
    start_s: float = -inf
    end_s: float = inf

    def narrowed(self, other: Plan) -> Plan:
        """Where rows can be that match both."""
        return Plan(
            check_id=self.check_id if self.check_id is not None else other.check_id,
            start_s=max(self.start_s, other.start_s),
            end_s=min(self.end_s, other.end_s),
        )

    def widened(self, other: Plan) -> Plan:
        """Where rows can be that match either."""
        return Plan(
            check_id=self.check_id if self.check_id == other.check_id else None,
            start_s=min(self.start_s, other.start_s),
            end_s=max(self.end_s, other.end_s),
        )


def plan(query: object) -> Plan:
    """The plan of the query; a shape that is not known here narrows nothing."""
    return _plan_of(getattr(query, "_hash", None))


def only_upper_bound(query: object) -> float | None:
    """X when the query is exactly `at < X`."""
    match getattr(query, "_hash", None):
        case ("<", ("at",), bound):
            return _seconds(bound)
    return None


def _plan_of(shape: Any) -> Plan:  # the nested tuples that TinyDB builds
    match shape:
        case ("and", frozenset() as terms):
            return reduce(Plan.narrowed, map(_plan_of, terms), Plan())
        case ("or", frozenset() as terms):
            return reduce(Plan.widened, map(_plan_of, terms))
        case ("==", ("check_id",), str(check_id)):
            return Plan(check_id=check_id)
        case (str(operator), ("at",), bound) if (seconds := _seconds(bound)) is not None:
            return Plan(
                start_s=seconds if operator in _LOWER else -inf,
                end_s=seconds if operator in _UPPER else inf,
            )
    return Plan()


def _seconds(bound: object) -> float | None:
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        return None
    try:
        seconds = float(bound)
    except OverflowError:
        seconds = nan
    return seconds if seconds == seconds else None
