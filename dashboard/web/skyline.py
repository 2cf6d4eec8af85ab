"""What a slot of time looks like, in rows, on a check's page and in charts: as tall as it is bad, hatched where nothing was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dashboard.model import Slot

GAP = "gap"  # not measured
HEIGHT = 20
HEIGHTS = {GAP: HEIGHT, "ok": 7, "maintenance": 7, "warning": 13, "critical": HEIGHT}  # in the order of drawing


def kind(slot: Slot) -> str:
    """The worst of the slot: a key of HEIGHTS.

    A gap is where most of it was not measured and nothing bad was seen. Maintenance is worse than ok: it shows that it was.
    """
    if slot.critical_s > 0:
        return "critical"
    if slot.warning_s > 0:
        return "warning"
    known_s = slot.ok_s + slot.maintenance_s
    if known_s <= 0 or known_s * 2 < slot.length_s:
        return GAP
    return "maintenance" if slot.maintenance_s > 0 else "ok"


def foot(slot: Slot) -> str:
    """What the little that was measured of a gap was, shown at the foot of its hatch; empty for a whole gap."""
    if slot.maintenance_s > 0:
        return "maintenance"
    return "ok" if slot.ok_s > 0 else ""


def stretches(kinds: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """`(kind, first, last)` of every stretch of equal neighbours."""
    first = 0
    for index in range(1, len(kinds) + 1):
        if index == len(kinds) or kinds[index] != kinds[first]:
            yield kinds[first], first, index - 1
            first = index
