"""Which failed connections are the target's fault, and in what words."""

from __future__ import annotations

import errno
import os

_TARGETS = {
    errno.ECONNREFUSED: "connection refused by {where}",
    errno.ECONNRESET: "connection reset by {where}",
    errno.EPIPE: "connection closed by {where}",
    errno.ECONNABORTED: "connection closed by {where}",
    errno.EHOSTUNREACH: "no route to {where}: host unreachable",
    errno.EHOSTDOWN: "no route to {where}: host down",
    errno.ETIMEDOUT: "{where} does not answer: connection timed out",
    errno.ENETRESET: "connection to {where} lost: network reset",
}


def target_fault(number: int, where: str) -> str:
    """What the target did, in words. Raises OSError when the error number tells of this machine, not of the target.

    Ours are those of a machine without files, ports, memory, rights or a network (ENETUNREACH is our own routing
    table: a cable pulled here must not turn every check critical).
    """
    words = _TARGETS.get(number)
    if words is None:
        raise OSError(number, f"cannot connect to {where}: {os.strerror(number)}")
    return words.format(where=where)


def place(address: str, port: int) -> str:
    """Address and port as people write them: `10.0.0.5:443`, `[::1]:443`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
