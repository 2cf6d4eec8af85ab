"""The HTTP probe against real servers."""

from __future__ import annotations

import socket
import ssl
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from fakes import FakeClock
from pydantic import ValidationError
from targets import (
    Certificates,
    Target,
    answer,
    free_port,
    hangs_after,
    head_of,
    probe_once,
    redirect,
    reset,
    resets_after,
    routes,
    says,
    silent,
)

from checks.base import Metric, Reading, Status, Threshold, Thresholds
from checks.http import Http


def numbers(reading: Reading) -> dict[str, float]:
    return {metric.name: metric.value for metric in reading.metrics}


def faults(**options: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Http.model_validate({"url": "http://shop.example/", **options})
    return str(caught.value)


def test_a_good_answer_is_ok_with_its_phases() -> None:
    with Target(says(answer("all is ready"))) as target:
        reading = probe_once(Http(url=target.url("/health"), body_contains="ready"))
    assert reading.status is Status.OK
    assert reading.summary.startswith("200 in ")
    assert reading.summary.endswith(" ms, text found")
    assert reading.detail.facts == {"address": "127.0.0.1", "HTTP version": "HTTP/1.1"}
    measured = numbers(reading)
    assert set(measured) == {"response_time", "connect", "first_byte", "transfer", "size"}
    assert measured["size"] == len("all is ready")
    phases = measured["connect"] + measured["first_byte"] + measured["transfer"]
    assert measured["response_time"] == pytest.approx(phases)
    assert 0 < measured["response_time"] < 1


def test_a_name_is_looked_up_and_its_time_is_a_phase() -> None:
    with Target(says(answer())) as target:
        reading = probe_once(Http(url=target.url(host="localhost")))
    assert reading.status is Status.OK
    assert numbers(reading)["dns"] > 0


def test_the_request_is_what_was_configured() -> None:
    with Target(says(answer())) as target:
        probe_once(Http(url=target.url("/a b"[:2] + "?x=1&y=%20"), method="put", headers={"X-Team": "ops"}, body="hi"))
    head = target.heard[0]
    assert head.startswith("PUT /a?x=1&y=%20 HTTP/1.1\r\n")
    assert "X-Team: ops\r\n" in head
    assert "Accept-Encoding: identity\r\n" in head
    assert "Content-Length: 2\r\n" in head
    assert "Expect:" not in head


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"basic": {"username": "ops", "password": "s3cret"}}, "Authorization: Basic b3BzOnMzY3JldA==\r\n"),
        ({"bearer": "t0ken"}, "Authorization: Bearer t0ken\r\n"),
    ],
)
def test_log_in_goes_out_as_a_header(options: dict[str, object], header: str) -> None:
    with Target(says(answer())) as target:
        probe_once(Http.model_validate({"url": target.url(), **options}))
    assert header in target.heard[0]


def test_a_user_in_the_url_becomes_basic_and_leaves_the_url() -> None:
    with Target(says(answer())) as target:
        probe = Http(url=target.url(host="ops:s3cret@127.0.0.1"))
        probe_once(probe)
    assert "Authorization: Basic b3BzOnMzY3JldA==\r\n" in target.heard[0]
    assert probe.url == target.url()
    assert "s3cret" not in repr(probe) + probe.target + probe.reproduction()


def test_a_wrong_status_is_critical_with_what_was_expected_and_said() -> None:
    with Target(says(answer("database \x1b[31mgone", "503 Whatever It Says"))) as target:
        reading = probe_once(Http(url=target.url(), expect_status=(200, "3xx")))
    assert reading.status is Status.CRITICAL
    assert reading.summary == "503 Service Unavailable, expected 200 or 3xx"
    assert reading.detail.phase == "status"
    assert reading.detail.expected == "status 200 or 3xx"
    assert reading.detail.excerpt == "database \\x1b[31mgone"
    assert numbers(reading)["response_time"] > 0


@pytest.mark.parametrize(
    ("expected", "status"), [((404,), "404 Not Found"), (("4xx",), "410 Gone"), (("200-204",), "204 No Content")]
)
def test_an_expected_status_is_ok(expected: tuple[int | str, ...], status: str) -> None:
    with Target(says(answer("", status))) as target:
        assert probe_once(Http(url=target.url(), expect_status=expected)).status is Status.OK


def test_a_missing_text_is_critical_and_the_body_is_shown() -> None:
    with Target(says(answer("not yet"))) as target:
        reading = probe_once(Http(url=target.url(), body_contains="ready"))
    assert reading.status is Status.CRITICAL
    assert reading.summary.startswith("text 'ready' not found in body (200 in ")
    assert (reading.detail.phase, reading.detail.excerpt) == ("body", "not yet")


def test_a_pattern_is_searched_in_linear_time() -> None:
    with Target(says(answer("a" * 5000 + "!"))) as target:
        evil = probe_once(Http(url=target.url(), body_matches="(a+)+$"), timeout_s=2)
        found = probe_once(Http(url=target.url(), body_matches="a{3}!"), timeout_s=2)
    assert evil.summary.startswith("nothing matches '(a+)+$' in body")
    assert found.status is Status.OK


def test_text_is_found_in_the_charset_of_the_answer() -> None:
    body = "Größe".encode("latin-1")
    with Target(says(answer(body, Content_Type="text/html; charset=iso-8859-1"))) as target:
        assert probe_once(Http(url=target.url(), body_contains="Größe")).status is Status.OK


@pytest.mark.parametrize("charset", ["punycode", "idna", "hex", "unicode_escape", "utf-99", "iso-nonsense", "'"])
def test_an_odd_charset_harms_nobody(charset: str) -> None:
    with Target(says(answer("x" * 100_000 + "end", Content_Type=f"text/html; charset={charset}"))) as target:
        assert probe_once(Http(url=target.url(), body_contains="end"), timeout_s=2).status is Status.OK


def test_redirects_are_followed_and_shown() -> None:
    with Target(routes({"/": redirect("/b?token=hush"), "/b": redirect("c", "301 Moved"), "/c": answer()})) as target:
        reading = probe_once(Http(url=target.url()))
    assert reading.status is Status.OK
    assert reading.summary.endswith(" ms after 2 redirects")
    assert reading.detail.facts["redirects"] == f"{target.url('/')} 302, {target.url('/b?token=***')} 301"


def test_a_redirect_is_an_answer_where_none_is_followed() -> None:
    with Target(says(redirect("/elsewhere"))) as target:
        reading = probe_once(Http(url=target.url(), follow_redirects=False))
    assert reading.status is Status.OK
    assert target.connections == 1


def test_a_loop_of_redirects_ends_at_the_limit() -> None:
    with Target(says(redirect("/"))) as target:
        reading = probe_once(Http(url=target.url(), max_redirects=3))
    assert reading.status is Status.CRITICAL
    assert (reading.summary, reading.detail.phase) == ("more than 3 redirects", "redirect")
    assert target.connections == 4


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1/x",
        "http://169.254.169.254/latest/",
        "http://[::ffff:a9fe:a9fe]/",
        "https://",
        "http://[x",
    ],
)
def test_a_redirect_to_where_no_check_may_go_is_not_followed(location: str) -> None:
    with Target(says(redirect(location))) as target:
        reading = probe_once(Http(url=target.url()))
    assert reading.status is Status.CRITICAL
    assert reading.detail.phase == "redirect"
    assert reading.summary.startswith(f"redirect to {location} not followed: ")


def test_a_decimal_address_cannot_hide_the_metadata_service() -> None:
    with Target(says(redirect("http://2852039166/"))) as target:
        reading = probe_once(Http(url=target.url()))
    assert reading.status is Status.CRITICAL
    assert "cloud credentials" in reading.summary


def test_credentials_never_follow_to_another_origin() -> None:
    with Target(says(answer())) as other, Target(says(redirect(other.url("/in")))) as first:
        probe_once(
            Http.model_validate({
                "url": first.url(),
                "bearer": "hush",
                "headers": {"X-Api-Key": "hush", "Cookie": "hush", "Host": "shop.example", "Accept": "text/plain"},
            })
        )  # fmt: skip
    assert "hush" in first.heard[0]
    assert "Host: shop.example\r\n" in first.heard[0]
    assert "hush" not in other.heard[0]
    assert f"Host: 127.0.0.1:{other.port}\r\n" in other.heard[0]
    assert "Accept: text/plain\r\n" in other.heard[0]


@pytest.mark.parametrize(
    "log_in",
    [{"basic": {"username": "ops", "password": "s3cret"}}, {"bearer": "s3cret"}, {"headers": {"X-Api-Key": "s3cret"}}],
)
def test_a_server_that_says_back_what_it_heard_betrays_nothing(log_in: dict[str, object]) -> None:
    def echo(connection: socket.socket, target: Target) -> None:
        connection.sendall(answer(head_of(connection, target) + " password s3cret", "500 Oops"))

    with Target(echo) as target:
        reading = probe_once(Http.model_validate({"url": target.url(), **log_in}))
    assert "GET / HTTP/1.1" in reading.detail.excerpt
    assert "s3cret" not in str(reading)
    assert "b3BzOnMzY3JldA" not in str(reading)


def test_credentials_follow_within_the_origin() -> None:
    with Target(routes({"/": redirect("/in"), "/in": answer()})) as target:
        probe_once(Http(url=target.url(), bearer="hush"))  # type: ignore[arg-type]
    assert "Bearer hush" in target.heard[1]


@pytest.mark.parametrize(
    ("status", "method"), [("302 Found", "GET"), ("303 See Other", "GET"), ("307 Temporary", "POST")]
)
def test_a_redirected_post_does_as_browsers_do(status: str, method: str) -> None:
    with Target(routes({"/": redirect("/in", status), "/in": answer()})) as target:
        probe_once(Http(url=target.url(), method="POST", body="x=1"))
    assert target.heard[0].startswith("POST / ")
    assert target.heard[1].startswith(f"{method} /in ")


def test_a_refused_connection_is_the_targets_fault() -> None:
    port = free_port()
    reading = probe_once(Http(url=f"http://127.0.0.1:{port}/"))
    assert reading.status is Status.CRITICAL
    assert reading.summary == f"connection refused by 127.0.0.1:{port}"
    assert reading.detail.phase == "connect"
    assert "response_time" not in numbers(reading)


def test_each_phase_has_its_own_words_for_being_late(trusted: Certificates) -> None:
    cases = {
        "first byte": (Target(silent), "no answer from {where} within 0.3 s"),
        "tls": (Target(silent, tls=None), "TLS handshake timed out after 0.3 s at {where}"),
        "transfer": (Target(hangs_after(answer("half")[:-2])), "body not complete after 0.3 s"),
    }
    for phase, (target, words) in cases.items():
        with target:
            url = target.url().replace("http:", "https:") if phase == "tls" else target.url()
            reading = probe_once(Http(url=url), timeout_s=0.3)
        assert reading.status is Status.CRITICAL
        assert (reading.detail.phase, reading.summary) == (phase, words.format(where=f"127.0.0.1:{target.port}"))


def test_a_connection_that_nobody_accepts_times_out_in_connect() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = [socket.create_connection(("127.0.0.1", port))]  # the backlog is full now
        reading = probe_once(Http(url=f"http://127.0.0.1:{port}/"), timeout_s=0.3)
        for connection in waiting:
            connection.close()
    assert (reading.detail.phase, reading.summary) == (
        "connect",
        f"connection to 127.0.0.1:{port} timed out after 0.3 s",
    )


@pytest.mark.parametrize(
    ("parts", "phase", "words"),
    [
        ((), "first byte", "connection reset by {where} before its answer"),
        ((answer("half")[:-2],), "transfer", "connection reset by {where} in the middle of the body"),
    ],
)
def test_a_reset_is_told_apart_from_being_late(parts: tuple[bytes, ...], phase: str, words: str) -> None:
    with Target(resets_after(*parts)) as target:
        reading = probe_once(Http(url=target.url()))
    assert reading.status is Status.CRITICAL
    assert (reading.detail.phase, reading.summary) == (phase, words.format(where=f"127.0.0.1:{target.port}"))


@pytest.mark.parametrize(
    ("sent", "phase", "words"),
    [
        (b"", "first byte", "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "first byte", "not proper HTTP from "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort", "transfer", "body cut short: "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "transfer", "not proper HTTP from "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "first byte", "not proper HTTP from "),
        (b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(999)) + b"\r\n", "first byte", "headers are too large"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 90_000 + b"\r\n\r\n", "first byte", "headers are too large"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "first byte", "headers are too large"),
    ],
)  # fmt: skip
def test_lies_about_http_are_named(sent: bytes, phase: str, words: str) -> None:
    with Target(says(sent)) as target:
        reading = probe_once(Http(url=target.url()))
    assert reading.status is Status.CRITICAL
    assert words in reading.summary
    assert len(reading.summary) <= 300


def test_an_endless_body_is_read_to_the_limit_only() -> None:
    def pour(connection: socket.socket, target: Target) -> None:
        head_of(connection, target)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not target.over.is_set():
            connection.sendall(b"x" * 65536)

    with Target(pour) as target:
        reading = probe_once(Http(url=target.url()))
        missing = probe_once(Http(url=target.url(), body_contains="end"))
    assert reading.status is Status.OK
    assert numbers(reading)["size"] == 1024 * 1024
    assert missing.summary.startswith("text 'end' not found in the first 1 MiB: body too large")


def test_a_packed_bomb_stays_packed() -> None:
    bomb = zlib.compress(b"0" * 50_000_000)
    with Target(says(answer(bomb, Content_Encoding="deflate"))) as target:
        reading = probe_once(Http(url=target.url()))
    assert numbers(reading)["size"] == len(bomb)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_ipv6_is_reached_and_can_be_asked_for() -> None:
    with Target(says(answer()), host="::1") as target:
        reading = probe_once(Http(url=target.url(), family="ipv6"))
        refused = probe_once(Http(url=target.url(), family="ipv4"))
    assert reading.detail.facts["address"] == "::1"
    assert (refused.summary, refused.detail.phase) == ("::1 has no IPv4 address", "dns")


def test_a_host_with_a_dead_address_is_reached_by_its_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_addresses(*_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 1, 6, "", (address, 0)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    with Target(says(answer())) as target:
        reading = probe_once(Http(url=target.url(host="shop.example")))
    assert reading.status is Status.OK
    assert reading.detail.facts["address"] == "127.0.0.1"
    assert f"Host: shop.example:{target.port}\r\n" in target.heard[0]


def test_https_counts_the_days_of_the_certificate(trusted: Certificates) -> None:
    with Target(says(answer()), tls=trusted.server("good")) as target:
        reading = probe_once(Http(url=target.url()))
    assert reading.status is Status.OK
    assert numbers(reading)["certificate_days"] == pytest.approx(20, abs=0.1)
    assert numbers(reading)["tls"] > 0
    assert reading.detail.facts["certificate"] == "CN = good"


def test_the_certificate_is_remembered_and_judged_each_run(trusted: Certificates) -> None:
    memory: dict[str, object] = {}
    clock = FakeClock(datetime.now(UTC))
    limits = {"certificate_days": Thresholds(warning=Threshold.parse("14:"))}
    with Target(says(answer()), tls=trusted.server("good")) as target:
        probe = Http(url=target.url())
        first = probe_once(probe, memory=memory, thresholds=limits, clock=clock)
        clock.now_at += timedelta(days=10)
        second = probe_once(probe, memory=memory, thresholds=limits, clock=clock)
    assert first.status is Status.OK
    assert second.status is Status.WARNING
    assert second.summary.startswith("certificate days 10 d, warning below 14 d; 200 in ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("expired", "certificate has expired"),
        ("self-signed", "certificate is self-signed"),
        ("elsewhere", "certificate is for another host, not for 127.0.0.1"),
    ],
)
def test_each_bad_certificate_is_told_apart(trusted: Certificates, name: str, words: str) -> None:
    memory: dict[str, object] = {}
    with Target(says(answer()), tls=trusted.server(name)) as target:
        for _ in range(2):  # with a certificate to learn, and with one that is known
            reading = probe_once(Http(url=target.url()), memory=memory)
            assert reading.status is Status.CRITICAL
            assert (reading.detail.phase, reading.summary) == ("tls", words)
            assert reading.detail.facts["certificate"] == f"CN = {name}"
            assert "certificate_days" in numbers(reading)
        assert probe_once(Http(url=target.url(), verify=False)).status is Status.OK
    assert len([head for head in target.heard if head]) == 1, "a server that is not trusted is told nothing"


def test_a_certificate_of_an_unknown_issuer_is_refused(certificates: Certificates) -> None:
    with Target(says(answer()), tls=certificates.server("good")) as target:
        reading = probe_once(Http(url=target.url()))
    assert (reading.detail.phase, reading.summary) == ("tls", "certificate's issuer is unknown")


def test_a_renewed_certificate_is_seen_when_the_old_is_forgotten(trusted: Certificates) -> None:
    memory: dict[str, object] = {}
    clock = FakeClock(datetime.now(UTC))
    context: ssl.SSLContext = trusted.server("good")
    with Target(says(answer()), tls=context) as target:
        probe = Http(url=target.url(), verify=False)
        assert probe_once(probe, memory=memory, clock=clock).detail.facts["certificate"] == "CN = good"
        context.load_cert_chain(trusted.folder / "expired.pem", trusted.folder / "expired.key")
        assert probe_once(probe, memory=memory, clock=clock).detail.facts["certificate"] == "CN = good"
        clock.advance(301)
        assert probe_once(probe, memory=memory, clock=clock).detail.facts["certificate"] == "CN = expired"


def test_plain_http_on_a_tls_port_is_said_so(trusted: Certificates) -> None:
    def refuse(connection: socket.socket, target: Target) -> None:
        connection.recv(65536)
        connection.sendall(answer("this is no TLS", "400 Bad Request"))

    with Target(refuse) as target:
        reading = probe_once(Http(url=target.url().replace("http:", "https:")))
    assert reading.status is Status.CRITICAL
    assert reading.detail.phase == "tls"
    assert reading.summary == f"TLS handshake failed at 127.0.0.1:{target.port}: wrong version number"


def test_a_reset_in_the_handshake_is_said_so(trusted: Certificates) -> None:
    def slam(connection: socket.socket, target: Target) -> None:
        connection.recv(1)
        reset(connection)

    with Target(slam) as target:
        reading = probe_once(Http(url=target.url().replace("http:", "https:")))
    assert reading.detail.phase == "tls"
    assert reading.summary == f"TLS handshake failed at 127.0.0.1:{target.port}: connection reset"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "ftp://x"}, "must start with http:// or https://"),
        ({"url": "shop.example"}, "must start with http:// or https://"),
        ({"url": "http://"}, "names no host"),
        ({"url": "http://x:99999/"}, "is not a URL: Port out of range 0-65535"),
        ({"url": "http://x/a b"}, "must not hold spaces"),
        ({"url": "http://169.254.169.254/"}, "cloud credentials"),
        ({"expect_status": "2x"}, "'2x' is not a status such as 200, 2xx or 200-299"),
        ({"expect_status": [200, 999]}, "'999' is not a status"),
        ({"body_matches": "(?=x)"}, "is not a regular expression that RE2 knows: invalid perl operator: (?="),
        ({"headers": {"a b": "c"}}, "'a b' is not a header name"),
        ({"headers": {"a": "b\r\nc: d"}}, "the value of a holds a line end"),
        ({"headers": {"Content-Length": "5"}}, "Content-Length is set by Watchroom itself"),
        ({"basic": {"username": "a", "password": "b"}, "bearer": "c"}, "exclude each other"),
        ({"url": "http://a:b@x/", "basic": {"username": "a", "password": "b"}}, "both name a user"),
        ({"method": "HEAD", "body_contains": "x"}, "has no body"),
        ({"method": "TRACE"}, "Input should be 'GET'"),
        ({"max_redirects": 99}, "less than or equal to 20"),
    ],
)
def test_bad_options_are_refused_in_words(options: dict[str, object], words: str) -> None:
    assert words in faults(**options)


def test_a_refused_url_keeps_its_password() -> None:
    assert "s3cret" not in faults(url="ftp://ops:s3cret@x/", basic=None)


def test_the_reproduction_is_a_curl_line_without_secrets() -> None:
    probe = Http.model_validate({
        "url": "https://ops:s3cret@shop.example/a?token=s3cret&page=2",
        "method": "POST",
        "headers": {"X-Api-Key": "s3cret", "Accept": "it's"},
        "body": "{}",
        "family": "ipv4",
        "verify": False,
    })  # fmt: skip
    assert probe.reproduction() == (
        "curl -sv -4 -k -L --max-redirs 5 -u 'ops:***' -H 'X-Api-Key: ***' -H 'Accept: it'\"'\"'s' --data-raw '{}' "
        "'https://shop.example/a?token=***&page=2'"
    )
    assert "s3cret" not in repr(probe)


def test_international_names_and_paths_go_out_in_ascii() -> None:
    assert Http(url="https://Bücher.example/größe?q=ä").url == "https://xn--bcher-kva.example/gr%C3%B6%C3%9Fe?q=%C3%A4"


def test_metrics_have_base_units() -> None:
    with Target(says(answer())) as target:
        reading = probe_once(Http(url=target.url()))
    assert {(metric.name, metric.unit) for metric in reading.metrics} >= {("response_time", "s"), ("size", "B")}
    assert all(isinstance(metric, Metric) for metric in reading.metrics)
