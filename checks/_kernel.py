"""What the kernel alone knows: how well its clock is kept, and how much memory it grants our container."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path

_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelClock:
    """The kernel's own estimate, as chrony, ntpd or timesyncd last told it; the errors grow to 16 s when nobody does."""

    is_synchronised: bool
    estimated_error_s: float
    max_error_s: float


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h> up to what is read here, and room for the rest of what the kernel writes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_long * 64),
    )


def read_kernel_clock() -> KernelClock | None:
    """The kernel's view; None where it does not tell (no Linux, or a sandbox that forbids to ask)."""
    if sys.platform != "linux":
        return None
    timex = _Timex()  # modes = 0: only read, which needs no rights
    state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    if state < 0:
        return None
    return KernelClock(
        is_synchronised=state != _TIME_ERROR and not timex.status & _STA_UNSYNC,
        estimated_error_s=timex.esterror / 1e6,
        max_error_s=timex.maxerror / 1e6,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory that may be used, and what is in use and cannot be dropped at once."""

    total_bytes: int
    used_bytes: int


def container_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> Memory | None:
    """The memory of the container we are in; None outside of one, or in one without a limit (cgroup v2 only)."""
    try:
        maximum = (cgroup / "memory.max").read_text().strip()
        current = int((cgroup / "memory.current").read_text())
        parts = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if not maximum.isdigit() or int(maximum) == 0:  # "max"
        return None
    return Memory(total_bytes=int(maximum), used_bytes=max(0, current - int(parts.get("inactive_file", 0))))
