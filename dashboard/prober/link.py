"""Messages between the web process and its prober: typed values, framed JSON on a socket pair.

Each frame is four bytes of length, big-endian, then one JSON object whose `kind` names the message. Options of probes
travel with their secrets in clear: the pair of sockets has no name and no other reader.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import PurePath
from typing import Any, cast

import orjson
from pydantic import SecretStr, ValidationError

import checks as probes
from checks.base import Detail, Probe, ProberHealth, Status, Threshold, Thresholds
from dashboard.errors import LinkError
from dashboard.model import Check, Result, RunPhase, Schedule

FRAME_LIMIT_BYTES = 64 * 1024 * 1024  # 10,000 checks of 6 KiB fit
_HEADER = struct.Struct(">I")
_Row = dict[str, Any]  # decoded JSON, trusted only after the constructors below took it


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure:
    """To the prober: run these checks from now on. `faults` names checks that could not be rebuilt on arrival."""

    checks: tuple[Check, ...]
    commands_enabled: bool
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNow:
    """To the prober: somebody wants a run of this check."""

    check_id: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """To the prober: every batch up to this sequence is durable."""

    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """To the prober: send every batch again that is not acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """To the prober: finish what runs, hand over what is measured, end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """From the prober: one batch. Sequences ascend by one from 1; a link serves one start of the prober only."""

    sequence: int
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChanged:
    """From the prober: a run that somebody asked for is queued, running, or (None) over."""

    check_id: str
    phase: RunPhase | None
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """From the prober, every second: it lives, and how it does."""

    health: ProberHealth


Message = Configure | RunNow | Acknowledge | Resend | Stop | Results | RunChanged | Heartbeat


def encode(message: Message) -> bytes:
    """The message as one frame. Raises LinkError when it is too large or holds what JSON cannot."""
    row: _Row = {"kind": type(message).__name__}
    for field in fields(message):
        row[field.name] = getattr(message, field.name)
    if isinstance(message, Configure):
        row["checks"] = [_check_row(check) for check in message.checks]
    try:
        payload = orjson.dumps(row, default=_plain)
    except orjson.JSONEncodeError as error:
        raise LinkError(f"{row['kind']} cannot be sent: {error}") from error
    if len(payload) > FRAME_LIMIT_BYTES:
        raise LinkError(f"{row['kind']} has {len(payload)} bytes, {FRAME_LIMIT_BYTES} is the limit")
    return _HEADER.pack(len(payload)) + payload


def decode(payload: bytes) -> Message:
    """The message in the payload of one frame. Raises LinkError."""
    try:
        row = orjson.loads(payload)
        kind = row.pop("kind")
        if kind == "Configure":
            return _configure(row)
        if kind == "Results":
            row["results"] = tuple(_result(result) for result in row["results"])
            return Results(**row)
        if kind == "Heartbeat":
            return Heartbeat(health=ProberHealth(**row["health"]))
        return _PLAIN_KINDS[kind](**row)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LinkError(f"a message of {len(payload)} bytes is garbage: {type(error).__name__}") from error


_PLAIN_KINDS: dict[str, type[RunNow | Acknowledge | Resend | Stop | RunChanged]] = {
    kind.__name__: kind for kind in (RunNow, Acknowledge, Resend, Stop, RunChanged)
}


class Inbox:
    """Turns received bytes, however they were cut, back into messages."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Every message that is complete now. Raises LinkError; nothing that follows can be trusted then."""
        self._bytes += data
        while len(self._bytes) >= _HEADER.size:
            (size,) = _HEADER.unpack_from(self._bytes)
            if size > FRAME_LIMIT_BYTES:
                raise LinkError(f"a message claims {size} bytes, {FRAME_LIMIT_BYTES} is the limit")
            end = _HEADER.size + size
            if len(self._bytes) < end:
                return
            payload = bytes(self._bytes[_HEADER.size : end])
            del self._bytes[:end]
            yield decode(payload)


def _check_row(check: Check) -> _Row:
    row: _Row = {field.name: getattr(check, field.name) for field in fields(check)}
    row["type"] = check.type
    row["retention"] = None  # the prober keeps nothing
    row["probe"] = check.probe.model_dump(exclude_unset=True, by_alias=False)
    row["thresholds"] = {
        metric: [both.warning and both.warning.text, both.critical and both.critical.text]
        for metric, both in check.thresholds.items()
    }
    return row


def _configure(row: _Row) -> Configure:
    """The configuration; a check that cannot be rebuilt is named in `faults` and does not stop the others."""
    types = probes.load_all()
    rebuilt: list[Check] = []
    faults: list[str] = []
    for check_row in row["checks"]:
        try:
            rebuilt.append(_check(check_row, types))
        except (LinkError, ValidationError) as error:
            told = error if isinstance(error, LinkError) else "its options are refused on arrival"
            faults.append(f"check {check_row['id']!r}: {told}")
    return Configure(checks=tuple(rebuilt), commands_enabled=row["commands_enabled"], faults=tuple(faults))


def _check(row: _Row, types: Mapping[str, type[Probe]]) -> Check:
    kind = types.get(row.pop("type"))
    if kind is None:
        raise LinkError("the prober knows no such type")
    row["probe"] = kind.model_validate(row["probe"], by_name=True)
    row["schedule"] = Schedule(**row["schedule"])
    row["thresholds"] = {
        metric: Thresholds(warning=_threshold(warning), critical=_threshold(critical))
        for metric, (warning, critical) in row["thresholds"].items()
    }
    row["tags"] = tuple(row["tags"])
    row["secrets"] = tuple(row["secrets"])
    return Check(**row)


def _threshold(text: str | None) -> Threshold | None:
    return None if text is None else Threshold.parse(text)


def _result(row: _Row) -> Result:
    row["at"] = datetime.fromisoformat(row["at"])
    row["status"] = Status(row["status"])
    row["detail"] = Detail(**row["detail"])
    if not all(isinstance(value, float | int) for value in row["metrics"].values()):
        raise TypeError("a metric is not a finite number")
    return Result(**row)


def _plain(value: object) -> object:
    """What orjson does not know by itself, as JSON can hold it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, frozenset | set):
        return sorted(cast("frozenset[str]", value))
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form on the wire")
