"""Names to addresses by the system's resolver, in our own threads, so that a dead name server stops nobody else."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from functools import lru_cache, partial

from checks.base import Blocking, Clock, Detail, ProbeFailure, Resolution

_LOOK_UP_LIMIT_S = 30.0  # glibc asks each server twice for 5 s; longer than three dead servers take helps nobody
_FAMILY_WORDS = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
_NOT_THERE = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
# Addresses that hand the credentials of this very machine to whoever asks from it (AWS, GCP, Azure; ECS; EKS).
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23")
)


class SystemResolver:
    """A Resolver over getaddrinfo: identical look-ups at one time share one thread, nothing is kept."""

    def __init__(self, blocking: Blocking, clock: Clock) -> None:
        self._blocking = blocking
        self._clock = clock
        self._pending: dict[tuple[str, int], asyncio.Task[tuple[str, ...]]] = {}

    async def resolve(self, host: str, family: int = 0) -> Resolution:
        """The addresses of the host; an IP address is its own. Raises ProbeFailure when the name has none.

        Raises OSError when it is this machine's resolver that fails: the target is not to blame for that.
        """
        literal = _literal(host)
        if literal:
            if family and family != literal:
                raise _absent(host, family)
            return Resolution(addresses=(host,), duration_s=0.0)
        started_s = self._clock.monotonic_s()
        try:
            addresses = await asyncio.shield(self._look_up(host, family))
        except socket.gaierror as error:
            if error.errno in _NOT_THERE:
                raise _absent(host, family) from error
            raise OSError(f"this machine's resolver failed on {host}: {error.strerror}") from error
        return Resolution(addresses=addresses, duration_s=self._clock.monotonic_s() - started_s)

    def _look_up(self, host: str, family: int) -> asyncio.Task[tuple[str, ...]]:
        """The running look-up of that name, or a new one. It outlives a waiter that gives up."""
        key = (host, family)
        task = self._pending.get(key)
        if task is None:
            call = partial(_addresses, host, family)
            task = asyncio.get_running_loop().create_task(self._run(call))
            self._pending[key] = task
            task.add_done_callback(partial(self._done, key))
        return task

    async def _run(self, call: partial[tuple[str, ...]]) -> tuple[str, ...]:
        return await self._blocking.run("dns", call, _LOOK_UP_LIMIT_S)

    def _done(self, key: tuple[str, int], task: asyncio.Task[tuple[str, ...]]) -> None:
        del self._pending[key]
        if not task.cancelled():
            task.exception()  # seen, even when every waiter has given up


@lru_cache(maxsize=4096)
def is_metadata(address: str) -> bool:
    """Whether the address hands out this machine's cloud credentials; no probe ever goes there."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False  # a name: its addresses are judged once they are known
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or _nat64(ip) or ip
    return ip in _METADATA


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside of 64:ff9b::/96 (RFC 6052)."""
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if int(ip) >> 32 == 0x64FF9B << 64 else None


def _addresses(host: str, family: int) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


@lru_cache(maxsize=4096)
def _literal(host: str) -> int:
    """The family of an IP address, 0 for a name."""
    try:
        version = ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError:
        return 0
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _absent(host: str, family: int) -> ProbeFailure:
    word = _FAMILY_WORDS.get(socket.AddressFamily(family)) if family else None
    said = f"{host} has no {word} address" if word else f"name {host} does not exist"
    return ProbeFailure(said, detail=Detail(phase="dns", expected=f"an address for {host}", got="none"))
