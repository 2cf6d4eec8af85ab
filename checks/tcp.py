"""TCP: a port accepts a connection and, if asked, says what it should."""

from __future__ import annotations

import asyncio
import shlex
import socket
from collections.abc import Mapping

from pydantic import Field, field_validator

from checks._reach import Family, judged_addresses, left_s, place, target_fault
from checks._resolve import is_metadata
from checks._words import duration, limit
from checks.base import Context, Detail, Metric, Probe, ProbeFailure, Reading, Status

_MOST_BYTES = 64 * 1024
_CHUNK_BYTES = 4096
_OCTAL = {chr(code): f"\\0{code:o}" for code in (*range(32), 92, 127)} | {"\r": "\\r", "\n": "\\n", "\t": "\\t"}


class Tcp(Probe, type="tcp"):
    """A port accepts a connection and, if asked, says what it should.

    Metrics: `response_time` and its parts `dns`, `connect` and, where a text is expected, `first_byte` until it has come (s).
    """

    host: str = Field(max_length=253, description="Host name or IP address.", examples=["db.internal"])
    port: int = Field(ge=1, le=65535, description="Port number.", examples=[5432])
    send: str = Field("", description="Text to send once connected; a line end is sent only where one is written.")
    expect: str = Field("", description="Text that must come back, among the first 64 KiB.")
    family: Family = Field("any", description="Which addresses of the host may be used.")

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        if not host or not host.isprintable() or any(letter in host for letter in " /@[]"):
            raise ValueError("must be a host name or an IP address, nothing around it")
        if is_metadata(host):
            raise ValueError(f"{host} hands out this machine's cloud credentials; no check may ask it")
        return host

    @property
    def metric_names(self) -> frozenset[str]:
        """The response time and its parts."""
        return frozenset({"response_time", "dns", "connect", "first_byte"})

    async def run(self, context: Context) -> Reading:
        """Connect; send and wait for the expected text where there is one."""
        found = await judged_addresses(context, self.host, self.family)
        metrics = {"dns": found.duration_s}
        clock = context.clock
        begun_s = clock.monotonic_s()
        with await self._connect(context, found.addresses) as connection:
            metrics["connect"] = clock.monotonic_s() - begun_s
            where = place(*connection.getpeername()[:2])
            if self.send or self.expect:
                spoken_s = clock.monotonic_s()
                await self._talk(context, connection, where, metrics)
                if self.expect:
                    metrics["first_byte"] = clock.monotonic_s() - spoken_s
        time_s = found.duration_s + clock.monotonic_s() - begun_s
        seen = f", expected text seen in {duration(time_s)}" if self.expect else ""
        return Reading(
            status=Status.OK,
            summary=f"connected in {duration(metrics['dns'] + metrics['connect'])}{seen}",
            metrics=(Metric(name="response_time", value=time_s, unit="s"), *_metrics(metrics)),
            detail=Detail(facts={"address": where}),
        )

    @property
    def target(self) -> str:
        """Host and port."""
        return place(self.host, self.port)

    def reproduction(self) -> str:
        """A netcat command line."""
        family = {"any": [], "ipv4": ["-4"], "ipv6": ["-6"]}[self.family]
        if not self.send and not self.expect:
            return shlex.join(["nc", "-vz", *family, self.host, str(self.port)])
        speak = f"printf %b {shlex.quote(_escaped(self.send))} | " if self.send else ""
        return speak + shlex.join(["nc", "-v", *family, self.host, str(self.port)])

    async def _connect(self, context: Context, addresses: tuple[str, ...]) -> socket.socket:
        """A connection to the first address that accepts one. Raises ProbeFailure with what each of them did."""
        faults: list[str] = []
        ours: OSError | None = None
        for number, address in enumerate(addresses):
            where = place(address, self.port)
            share_s = left_s(context) / (len(addresses) - number)
            try:
                return await _connected(address, self.port, share_s)
            except TimeoutError:
                faults.append(f"connection to {where} timed out after {limit(share_s)}")
            except OSError as error:
                try:
                    faults.append(target_fault(error.errno or 0, where))
                except OSError as fault:  # another address may still do: IPv6 is often no more than a name
                    ours = fault
        if not faults and ours is not None:
            raise ours
        raise ProbeFailure(
            "; ".join(faults),
            detail=Detail(
                phase="connect", expected="an accepted connection", facts={"addresses": ", ".join(addresses)}
            ),
        )

    async def _talk(
        self, context: Context, connection: socket.socket, where: str, metrics: Mapping[str, float]
    ) -> None:
        """Send, then read until the expected text is there. Raises ProbeFailure when it does not come."""
        loop = asyncio.get_running_loop()
        wanted, got, ended = self.expect.encode(), b"", ""
        patience_s = left_s(context)
        try:
            async with asyncio.timeout(patience_s):
                await loop.sock_sendall(connection, self.send.encode())
                while wanted not in got and not ended:
                    came = await loop.sock_recv(connection, _CHUNK_BYTES)
                    got += came
                    if not came:
                        ended = f"{where} closed the connection"
                    elif len(got) > _MOST_BYTES:
                        ended = "more than 64 KiB came"
        except TimeoutError:
            ended = (
                f"nothing more from {where} within {limit(patience_s)}"
                if got
                else f"{where} said nothing within {limit(patience_s)}"
            )
        except OSError as error:
            ended = target_fault(error.errno or 0, where)
        if wanted in got and (wanted or not ended):
            return
        raise ProbeFailure(
            f"text {self.expect!r} not seen: {ended}" if wanted else ended,
            metrics=_metrics(metrics),
            detail=Detail(
                phase="transfer" if got else "first byte",
                expected=self.expect,
                got="something else" if got else "nothing",
                excerpt=got.decode("utf-8", "replace"),
                facts={"address": where},
            ),
        )


async def _connected(address: str, port: int, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(connection, (address, port))
    except BaseException:
        connection.close()
        raise
    return connection


def _metrics(times_s: Mapping[str, float]) -> tuple[Metric, ...]:
    return tuple(Metric(name=name, value=time_s, unit="s") for name, time_s in times_s.items())


def _escaped(text: str) -> str:
    """The text as `printf %b` writes it back."""
    return "".join(_OCTAL.get(letter, letter) for letter in text)
