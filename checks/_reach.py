"""The way to a target: which of its addresses may be used, how long a step may take, whose fault it is when it fails."""

from __future__ import annotations

import errno
import os
import socket
from typing import Literal

from checks._resolve import is_metadata
from checks.base import Context, Detail, ProbeFailure, Resolution

Family = Literal["any", "ipv4", "ipv6"]
_FAMILIES: dict[Family, int] = {"any": 0, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_MOST_ADDRESSES = 8
_TARGET_FAULTS = {
    errno.ECONNREFUSED: "connection refused by {where}",
    errno.ECONNRESET: "connection reset by {where}",
    errno.EPIPE: "connection closed by {where}",
    errno.ECONNABORTED: "connection closed by {where}",
    errno.EHOSTUNREACH: "{where} unreachable: no route to that host",
    errno.EHOSTDOWN: "{where} unreachable: host is down",
    errno.ETIMEDOUT: "connection to {where} timed out",
    errno.ENETRESET: "connection to {where} lost: network reset",
}


async def judged_addresses(context: Context, host: str, family: Family) -> Resolution:
    """The addresses that a probe may connect to, at most 8. Raises ProbeFailure when one of them is forbidden."""
    found = await context.resolver.resolve(host, _FAMILIES[family])
    for address in found.addresses:
        if is_metadata(address):
            raise ProbeFailure(
                f"{host} not asked: {address} hands out this machine's cloud credentials", detail=Detail(phase="dns")
            )
    return Resolution(addresses=found.addresses[:_MOST_ADDRESSES], duration_s=found.duration_s)


def left_s(context: Context) -> float:
    """The seconds until the run's deadline, a moment when it has passed: no step may wait for ever (0 means that to libcurl)."""
    return max(0.001, context.timeout_s)


def target_fault(number: int, where: str) -> str:
    """What the target did, in words. Raises OSError when the error number tells of this machine, not of the target.

    Ours are those of a machine without files, ports, memory, rights or a network (ENETUNREACH is our own routing
    table: a cable pulled here must not turn every check critical).
    """
    words = _TARGET_FAULTS.get(number)
    if words is None:
        raise OSError(number, f"cannot connect to {where}: {os.strerror(number)}")
    return words.format(where=where)


def place(address: str, port: int) -> str:
    """Address and port as people write them: `10.0.0.5:443`, `[::1]:443`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
