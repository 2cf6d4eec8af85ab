"""What is checked when no file says otherwise: this machine and the prober itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from checks.base import Probe, Thresholds
from dashboard.config.check_list import inherited_timeout_s
from dashboard.model import Check, Schedule, Settings

_GROUP = "This machine"
_EVERY_S = 10.0


def default_settings() -> Settings:
    """Settings without a file: processor, memory, swap, load, every real disk, the clock, the prober."""
    return Settings(checks=tuple(_checks()))


def _checks() -> Iterator[Check]:
    from checks.host import (  # only here: it costs 15 ms, and a file needs it rarely
        Host,
        real_disks,
        suggested_thresholds,
    )
    from checks.prober import Prober

    yield _check("cpu", "CPU", Host(what="cpu"), suggested_thresholds("cpu"))
    yield _check("memory", "Memory", Host(what="memory"), suggested_thresholds("memory"))
    yield _check("swap", "Swap", Host(what="swap"), suggested_thresholds("swap"))
    yield _check("load", "Load", Host(what="load"), suggested_thresholds("load"))
    taken: set[str] = set()
    for path in real_disks():
        name = _unique(re.sub(r"[^A-Za-z0-9._]+", "-", path).strip("-.")[:50] or "root", taken)
        yield _check(f"disk-{name}", f"Disk {path}", Host(what="disk", path=path), suggested_thresholds("disk"))
        yield _check(f"inodes-{name}", f"Inodes {path}", Host(what="inodes", path=path), suggested_thresholds("inodes"))
    yield _check("clock", "Clock", Host(what="clock"), suggested_thresholds("clock"))
    yield _check("prober", "Prober", Prober(), {})


def _check(check_id: str, name: str, probe: Probe, thresholds: Mapping[str, Thresholds]) -> Check:
    schedule = Schedule(every_s=_EVERY_S, timeout_s=inherited_timeout_s(None, _EVERY_S))
    return Check(
        id=check_id, name=name, probe=probe, schedule=schedule, thresholds=thresholds, group=_GROUP, tags=("machine",)
    )


def _unique(name: str, taken: set[str]) -> str:
    """The name, numbered where another disk has it already."""
    number = 1
    candidate = name
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(candidate)
    return candidate
