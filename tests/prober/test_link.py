"""The link between the two processes: what goes in comes out, whatever the bytes do on the way."""

from __future__ import annotations

import struct
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

import checks
from checks.base import Detail, ProberHealth, Status, Threshold, Thresholds
from dashboard.errors import LinkError
from dashboard.model import Check, Result, Schedule
from dashboard.prober.link import (
    FRAME_LIMIT_BYTES,
    Acknowledge,
    Configure,
    Heartbeat,
    Inbox,
    Message,
    Resend,
    Results,
    RunChanged,
    RunNow,
    Stop,
    decode,
    encode,
)

PROBE_TYPES = checks.load_all()

numbers = st.floats(allow_nan=False, allow_infinity=False)
printable = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1)
details = st.builds(
    Detail,
    phase=st.text(),
    expected=st.text(),
    got=st.text(),
    excerpt=st.text(),
    facts=st.dictionaries(st.text(), st.text(), max_size=3),
)
results = st.builds(
    Result,
    check_id=st.text(),
    at=st.datetimes(timezones=st.just(UTC)),
    status=st.sampled_from(Status),
    summary=st.text(),
    duration_s=numbers,
    covers_s=numbers,
    trigger=st.sampled_from(["schedule", "manual", "signal"]),
    by=st.text(),
    worker=st.text(),
    metrics=st.dictionaries(st.text(), numbers, max_size=3),
    units=st.dictionaries(st.text(), st.sampled_from(["s", "B", "%", ""]), max_size=3),
    detail=details,
    id=st.integers(min_value=0, max_value=2**53),
)
OPTIONS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "http": st.fixed_dictionaries(
        {"url": st.sampled_from(["https://shop.internal/health?deep=1", "http://user:pass@[::1]:8080/"])},
        optional={
            "method": st.sampled_from(["get", "POST"]),
            "headers": st.dictionaries(printable.map(lambda name: f"X-{name}"), printable, max_size=2),
            "body": st.text(),
            "bearer": printable,
            "follow_redirects": st.booleans(),
            "expect_status": st.sampled_from([200, "2xx", [204, "300-399"]]),
            "body_contains": st.text(),
            "body_matches": st.sampled_from(["", "a+b", r"ready \d+"]),
            "verify": st.booleans(),
        },
    ).filter(lambda options: "bearer" not in options or "@" not in options["url"]),
    "tcp": st.fixed_dictionaries(
        {"host": st.sampled_from(["db.internal", "::1"]), "port": st.integers(1, 65535)},
        optional={"send": st.text(), "expect": st.text(), "family": st.sampled_from(["any", "ipv4", "ipv6"])},
    ),
    "host": st.one_of(
        st.fixed_dictionaries({"what": st.sampled_from(["cpu", "load", "uptime", "network"])}),
        st.fixed_dictionaries({"what": st.sampled_from(["disk", "inodes"])}, optional={"path": st.just("/var")}),
    ),
    "command": st.fixed_dictionaries(
        {"argv": st.lists(printable, max_size=3).map(lambda rest: ["/usr/bin/true", *rest])},
        optional={"env": st.dictionaries(st.just("TOKEN"), st.text(), max_size=1), "cwd": st.just("/tmp")},
    ),
    "prober": st.just({}),
}
probes = st.sampled_from(sorted(PROBE_TYPES)).flatmap(
    lambda kind: OPTIONS[kind].map(lambda options: PROBE_TYPES[kind](**options))
)
thresholds = st.builds(
    Thresholds,
    warning=st.none() | st.sampled_from(["0.5", "10:", "@10:20", "~:30"]).map(Threshold.parse),
    critical=st.none() | st.just(Threshold.parse("2")),
)
configured = st.builds(
    Check,
    id=st.text(min_size=1),
    name=st.text(),
    probe=probes,
    schedule=st.builds(Schedule, every_s=numbers, timeout_s=numbers),
    thresholds=st.dictionaries(st.text(), thresholds, max_size=2),
    group=st.text(),
    tags=st.lists(st.text(), max_size=3).map(tuple),
    retries=st.integers(0, 9),
    paused=st.booleans(),
    secrets=st.lists(st.text(), max_size=2).map(tuple),
)


def _round_trip(message: Message) -> Message:
    (received,) = Inbox().feed(encode(message))
    return received


@given(st.lists(results, max_size=3))
def test_results_arrive_as_they_were_sent(rows: list[Result]) -> None:
    batch = Results(sequence=7, results=tuple(rows))
    assert _round_trip(batch) == batch


@given(st.lists(configured, max_size=2), st.booleans())
def test_checks_of_every_type_arrive_as_they_were_sent(wanted: list[Check], enabled: bool) -> None:
    message = Configure(checks=tuple(wanted), commands_enabled=enabled)
    assert _round_trip(message) == message


def test_every_type_of_probe_has_options_to_try() -> None:
    assert set(OPTIONS) == set(PROBE_TYPES)


@pytest.mark.parametrize(
    "message",
    [
        RunNow(check_id="shop", by="cli:ada"),
        Acknowledge(sequence=12),
        Resend(),
        Stop(),
        RunChanged(check_id="shop", phase="queued", by="local"),
        RunChanged(check_id="shop", phase=None, by="local"),
        Heartbeat(health=ProberHealth(fires_per_s=1.5, lateness_p99_s=0.002, skipped=3, checks=9)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_every_other_message_arrives_as_it_was_sent(message: Message) -> None:
    assert _round_trip(message) == message


def test_secrets_arrive_revealed() -> None:
    probe = PROBE_TYPES["command"](argv=["/usr/bin/true"], env={"TOKEN": "s3cret"})
    check = Check(id="a", name="a", probe=probe, schedule=Schedule(every_s=1, timeout_s=1), secrets=("s3cret",))
    received = _round_trip(Configure(checks=(check,), commands_enabled=True))
    assert isinstance(received, Configure)
    assert dict(received.checks[0].probe)["env"] == {"TOKEN": SecretStr("s3cret")}
    assert received.checks[0].secrets == ("s3cret",)


@given(st.data())
def test_messages_survive_any_cutting_of_the_stream(data: st.DataObject) -> None:
    sent = [RunNow(check_id="shop", by="ada"), Resend(), Acknowledge(sequence=3), Stop()]
    stream = b"".join(encode(message) for message in sent)
    inbox, received = Inbox(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        received += inbox.feed(stream[:size])
        stream = stream[size:]
    assert received == sent


@given(st.binary())
def test_garbage_is_refused_with_a_clear_error(payload: bytes) -> None:
    with pytest.raises(LinkError, match="garbage"):
        decode(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"kind":"Unheard"}',
        b'{"kind":"Acknowledge"}',
        b'{"kind":"Acknowledge","sequence":1,"more":2}',
        b'{"kind":"Results","sequence":1,"results":[{"check_id":"a"}]}',
        b'{"kind":"Configure","checks":[{}],"commands_enabled":true}',
        b"[1]",
    ],
)
def test_a_message_of_the_wrong_form_is_refused(payload: bytes) -> None:
    with pytest.raises(LinkError):
        decode(payload)


def test_a_frame_beyond_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(LinkError, match="limit"):
        list(Inbox().feed(struct.pack(">I", FRAME_LIMIT_BYTES + 1)))


def test_a_message_beyond_the_limit_is_not_sent() -> None:
    with pytest.raises(LinkError, match="limit"):
        encode(RunNow(check_id="a" * FRAME_LIMIT_BYTES, by=""))


def test_a_check_of_a_type_the_prober_does_not_know_is_named_and_does_not_stop_the_others() -> None:
    good = Check(id="good", name="", probe=PROBE_TYPES["prober"](), schedule=Schedule(every_s=1, timeout_s=1))
    frame = encode(Configure(checks=(good, good), commands_enabled=False))
    received = decode(frame[4:].replace(b'"type":"prober"', b'"type":"future"', 1))
    assert isinstance(received, Configure)
    assert received.checks == (good,)
    assert received.faults == ("check 'good': the prober knows no such type",)


def test_what_json_cannot_hold_is_refused_at_the_sender() -> None:
    with pytest.raises(LinkError, match="RunNow cannot be sent"):
        encode(RunNow(check_id="\ud800", by=""))
