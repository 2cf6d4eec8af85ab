"""What the store holds, in words: classes of files, archived checks, and whether the disk will do."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dashboard.model import Inventory, StoredClass
from dashboard.web import words

_CLASSES: Mapping[str, tuple[str, str]] = {
    "journals": ("Journals", "newest results, not sealed yet"),
    "raw": ("Results", "sealed, each one"),
    "five_minutes": ("Rollups of 5 minutes", "time per status, percentiles"),
    "hours": ("Rollups of an hour", ""),
    "days": ("Rollups of a day", ""),
    "documents": ("States and incidents", ""),
    "quarantine": ("Quarantine", "damaged pieces, set aside"),
    "reserve": ("Reserve", "given up first when the disk is full"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """One class of files in words."""

    name: str
    aside: str
    kept: str
    stored: StoredClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """A check that was recorded and is no longer configured. `results` 0: rollups are all that is left."""

    id: str
    results: int

    @property
    def amount(self) -> str:
        """What there is of it: `1 204 551 results`, `1 result`, `its rollups`."""
        return words.counted(self.results, "result") if self.results else "its rollups"


def class_rows(held: Inventory) -> list[ClassRow]:
    """The classes that hold something."""
    return [
        ClassRow(
            name=_CLASSES[stored.name][0], aside=_CLASSES[stored.name][1], kept=_kept(stored.keep_s), stored=stored
        )
        for stored in held.classes
        if stored.files
    ]


def archived(held: Inventory, recorded: Collection[str], configured: Collection[str]) -> list[Archived]:
    """The recorded checks that are not configured, the one with the most results first."""
    found = [
        Archived(id=check_id, results=held.checks.get(check_id, 0))
        for check_id in {*recorded, *held.checks}
        if check_id not in configured
    ]
    return sorted(found, key=lambda each: (-each.results, each.id))


def shortage(held: Inventory) -> str:
    """Why the disk will not do, in a sentence; empty when it will, or nobody can tell yet."""
    if held.forecast_bytes is None or held.forecast_bytes - held.size_bytes <= held.free_bytes:
        return ""
    grows_bytes = held.forecast_bytes - held.size_bytes
    return (
        f"The disk will not hold the history: it is to grow by {words.measure(grows_bytes, 'B')}, and "
        f"{words.measure(held.free_bytes, 'B')} are free. Keep it for a shorter time (retention in the "
        "configuration) or give it more room."
    )


def _kept(keep_s: float) -> str:
    if math.isinf(keep_s):
        return "for ever"
    return words.span(keep_s) if keep_s > 0 else ""
