"""The TCP probe against real sockets."""

from __future__ import annotations

import socket
import subprocess

import pytest
from pydantic import ValidationError
from targets import Target, free_port, probe_once, reset, silent

from checks.base import Reading, Status
from checks.tcp import Tcp


def numbers(reading: Reading) -> dict[str, float]:
    return {metric.name: metric.value for metric in reading.metrics}


def greets(connection: socket.socket, target: Target) -> None:
    connection.sendall(b"220 mail.example ESMTP\r\n")
    target.over.wait(5)


def echoes(connection: socket.socket, target: Target) -> None:
    while part := connection.recv(4096):
        connection.sendall(b"+" + part)


def test_a_port_that_accepts_is_ok() -> None:
    with Target(silent) as target:
        reading = probe_once(Tcp(host="127.0.0.1", port=target.port))
    assert reading.status is Status.OK
    assert reading.summary.startswith("connected in ")
    assert reading.detail.facts == {"address": f"127.0.0.1:{target.port}"}
    assert set(numbers(reading)) == {"response_time", "dns", "connect"}
    assert 0 < numbers(reading)["connect"] <= numbers(reading)["response_time"] < 1


def test_a_greeting_is_waited_for() -> None:
    with Target(greets) as target:
        reading = probe_once(Tcp(host="localhost", port=target.port, expect="ESMTP"))
    assert reading.status is Status.OK
    assert ", expected text seen in " in reading.summary
    assert numbers(reading)["first_byte"] >= 0
    assert numbers(reading)["dns"] > 0


def test_what_is_sent_is_answered() -> None:
    with Target(echoes) as target:
        reading = probe_once(Tcp(host="127.0.0.1", port=target.port, send="PING\r\n", expect="+PING\r\n"))
    assert reading.status is Status.OK


def test_what_is_sent_arrives_even_if_no_answer_is_wanted() -> None:
    came: list[bytes] = []

    def keep(connection: socket.socket, target: Target) -> None:
        came.append(connection.recv(4096))
        target.over.set()

    with Target(keep) as target:
        assert probe_once(Tcp(host="127.0.0.1", port=target.port, send="hello")).status is Status.OK
        target.over.wait(5)
    assert came == [b"hello"]


def test_a_refused_connection_is_the_targets_fault() -> None:
    port = free_port()
    reading = probe_once(Tcp(host="127.0.0.1", port=port))
    assert (reading.status, reading.summary) == (Status.CRITICAL, f"connection refused by 127.0.0.1:{port}")
    assert reading.detail.phase == "connect"


def test_a_connection_that_nobody_accepts_times_out() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # the backlog is full now
            reading = probe_once(Tcp(host="127.0.0.1", port=port), timeout_s=0.3)
    assert reading.status is Status.CRITICAL
    assert reading.summary == f"connection to 127.0.0.1:{port} timed out after 0.3 s"


@pytest.mark.parametrize(
    ("handler", "words", "phase"),
    [
        (silent, "{where} said nothing within 0.3 s", "first byte"),
        (greets, "nothing more from {where} within 0.3 s", "transfer"),
        (lambda connection, _: connection.recv(9), "{where} closed the connection", "first byte"),
        (lambda connection, _: (connection.recv(9), reset(connection)), "connection reset by {where}", "first byte"),
        (lambda connection, _: connection.sendall(b"x" * 200_000), "more than 64 KiB came", "transfer"),
    ],
)
def test_an_expected_text_that_does_not_come_is_critical(handler: object, words: str, phase: str) -> None:
    with Target(handler) as target:  # type: ignore[arg-type]
        reading = probe_once(Tcp(host="127.0.0.1", port=target.port, send="hi", expect="READY"), timeout_s=0.3)
    where = f"127.0.0.1:{target.port}"
    assert reading.status is Status.CRITICAL
    assert reading.summary == f"text 'READY' not seen: {words.format(where=where)}"
    assert (reading.detail.phase, reading.detail.expected) == (phase, "READY")
    assert "connect" in numbers(reading)


def test_what_came_instead_is_shown_escaped() -> None:
    with Target(lambda connection, _: connection.sendall(b"\x1b[2Jbusy\xff")) as target:
        reading = probe_once(Tcp(host="127.0.0.1", port=target.port, expect="READY"), timeout_s=0.3)
    assert reading.detail.excerpt == "\\x1b[2Jbusy\ufffd"


def test_a_host_with_a_dead_address_is_reached_by_its_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def two(*_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 1, 6, "", (address, 0)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with Target(silent) as target:
        reading = probe_once(Tcp(host="db.example", port=target.port))
    assert reading.detail.facts == {"address": f"127.0.0.1:{target.port}"}


def test_every_dead_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def two(*_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 1, 6, "", (address, 0)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    port = free_port()
    reading = probe_once(Tcp(host="db.example", port=port))
    assert reading.summary == f"connection refused by 127.0.0.2:{port}; connection refused by 127.0.0.1:{port}"


def test_a_network_that_we_do_not_have_is_our_fault() -> None:
    reading = probe_once(Tcp(host="255.255.255.255", port=80))
    assert reading.status is Status.UNKNOWN
    assert reading.summary.startswith("our fault, not the target's: cannot connect to 255.255.255.255:80: ")


def test_a_name_that_leads_to_credentials_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def metadata(*_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 1, 6, "", ("169.254.169.254", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", metadata)
    reading = probe_once(Tcp(host="db.example", port=80))
    assert reading.status is Status.CRITICAL
    assert "cloud credentials" in reading.summary


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_ipv6_is_reached() -> None:
    with Target(silent, host="::1") as target:
        reading = probe_once(Tcp(host="::1", port=target.port, family="ipv6"))
    assert reading.detail.facts == {"address": f"[::1]:{target.port}"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": "x", "port": 0}, "greater than or equal to 1"),
        ({"host": "x", "port": 99999}, "less than or equal to 65535"),
        ({"host": "", "port": 1}, "must be a host name or an IP address"),
        ({"host": "tcp://x", "port": 1}, "must be a host name or an IP address"),
        ({"host": "169.254.169.254", "port": 1}, "cloud credentials"),
        ({"port": 1}, "Field required"),
    ],
)
def test_bad_options_are_refused_in_words(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Tcp.model_validate(options)
    assert words in str(caught.value)


def test_the_reproduction_is_a_netcat_line() -> None:
    assert Tcp(host="db", port=5432).reproduction() == "nc -vz db 5432"
    assert Tcp(host="db", port=5432, family="ipv6").reproduction() == "nc -vz -6 db 5432"
    probe = Tcp(host="db", port=6379, send="PI\\NG 'x' 100%\r\n", expect="PONG")
    assert probe.reproduction().endswith(" | nc -v db 6379")
    printed = subprocess.run(["sh", "-c", probe.reproduction().split(" | ")[0]], capture_output=True, check=True)
    assert printed.stdout == probe.send.encode()
    assert Tcp(host="::1", port=1).target == "[::1]:1"
