"""Names to addresses: what is the target's fault, what is ours, and that nobody waits twice."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import pytest

from checks._resolve import SystemResolver, is_metadata
from checks._threads import Threads
from checks.base import ProbeFailure, Resolution
from dashboard.clock import SystemClock

LookUp = Callable[..., list[tuple[object, ...]]]


def entries(*addresses: str) -> list[tuple[object, ...]]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]


def resolve(host: str, family: int = 0) -> Resolution:
    async def run() -> Resolution:
        return await SystemResolver(Threads(), SystemClock()).resolve(host, family)

    return asyncio.run(run())


def test_localhost_has_an_address() -> None:
    found = resolve("localhost", socket.AF_INET)
    assert found.addresses == ("127.0.0.1",)
    assert found.duration_s > 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1%lo"])
def test_an_address_is_its_own_without_asking(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("nobody is asked")

    monkeypatch.setattr(socket, "getaddrinfo", never)
    assert resolve(address) == Resolution(addresses=(address,), duration_s=0.0)


def test_an_address_of_the_other_family_is_refused() -> None:
    with pytest.raises(ProbeFailure, match=r"127\.0\.0\.1 has no IPv6 address"):
        resolve("127.0.0.1", socket.AF_INET6)


@pytest.mark.parametrize(
    ("code", "family", "words"),
    [
        (socket.EAI_NONAME, 0, "name shop.example does not exist"),
        (socket.EAI_NODATA, socket.AF_INET6, "shop.example has no IPv6 address"),
    ],
)
def test_a_name_without_addresses_is_the_targets_fault(
    code: int, family: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object) -> None:
        raise socket.gaierror(code, "said the system")

    monkeypatch.setattr(socket, "getaddrinfo", absent)
    with pytest.raises(ProbeFailure) as caught:
        resolve("shop.example", family)
    assert (caught.value.summary, caught.value.detail.phase) == (words, "dns")


@pytest.mark.parametrize("code", [socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM])
def test_a_resolver_that_does_not_work_is_our_fault(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise socket.gaierror(code, "said the system")

    monkeypatch.setattr(socket, "getaddrinfo", broken)
    with pytest.raises(OSError, match=r"this machine's resolver failed on shop\.example: said the system"):
        resolve("shop.example")


def test_addresses_keep_their_order_and_come_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: entries("10.0.0.2", "10.0.0.1", "10.0.0.2"))
    assert resolve("shop.example").addresses == ("10.0.0.2", "10.0.0.1")


def test_equal_look_ups_at_one_time_share_one_and_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    answer_now = threading.Event()

    def slow(host: str, *_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        answer_now.wait(5)
        return entries("10.0.0.1")

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    async def run() -> list[Resolution]:
        resolver = SystemResolver(Threads(), SystemClock())
        waiting = [asyncio.create_task(resolver.resolve("shop.example")) for _ in range(20)]
        await asyncio.sleep(0)
        answer_now.set()
        together = await asyncio.gather(*waiting)
        return [*together, await resolver.resolve("shop.example")]

    assert {found.addresses for found in asyncio.run(run())} == {("10.0.0.1",)}
    assert asked == ["shop.example", "shop.example"]


def test_a_waiter_that_gives_up_takes_nothing_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_now = threading.Event()

    def slow(*_: object) -> list[tuple[object, ...]]:
        answer_now.wait(5)
        return entries("10.0.0.1")

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    async def run() -> Resolution:
        resolver = SystemResolver(Threads(), SystemClock())
        impatient, patient = (asyncio.create_task(resolver.resolve("shop.example")) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        answer_now.set()
        return await patient

    assert asyncio.run(run()).addresses == ("10.0.0.1",)


@pytest.mark.parametrize(
    ("address", "forbidden"),
    [
        ("169.254.169.254", True),
        ("169.254.170.2", True),
        ("fd00:ec2::254", True),
        ("::ffff:169.254.169.254", True),
        ("64:ff9b::a9fe:a9fe", True),
        ("2002:a9fe:a9fe::1", True),
        ("fd00:ec2::254%eth0", True),
        ("169.254.1.1", False),
        ("fe80::1%eth0", False),
        ("127.0.0.1", False),
        ("64:ff9b::808:808", False),
        ("shop.example", False),
    ],
)
def test_addresses_that_hand_out_credentials_are_known(address: str, forbidden: bool) -> None:
    assert is_metadata(address) is forbidden
