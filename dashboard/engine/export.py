"""What was recorded as CSV, NDJSON or JSON: what was asked for, and the bytes that answer it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from math import inf
from typing import Literal, TypeVar, cast
from zoneinfo import ZoneInfo

from checks.base import Status
from dashboard.engine import export_rollups
from dashboard.engine.export_lines import Lines, times
from dashboard.errors import BadRequest
from dashboard.model import BrokenCheck, Check, Retention
from dashboard.storage.base import History, ResultColumns

Format = Literal["csv", "ndjson", "json"]
FORMATS: tuple[Format, ...] = ("csv", "ndjson", "json")
COLUMNS = ("check_id", "at", "status", "summary", "duration_s", "trigger", "by", "worker", "metrics")
DATASETS: Mapping[str, tuple[str, ...]] = {"results": COLUMNS, "rollups": export_rollups.COLUMNS}
PARAMETERS = ("dataset", "step", "format", "check", "tag", "group", "q", "status", "from", "to", "tz", "columns")
CONTENT_TYPES: Mapping[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "json": "application/json",
}
LONGEST_VALUE = 2000
_SINGLE = frozenset({"dataset", "step", "format", "q", "from", "to", "tz"})
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_AGO = re.compile(r"-(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)")
_BARE_OFFSET = re.compile(r"(T\d\d:?\d\d\S*) (\d\d:?\d\d)")  # "+02:00" in a URL that nobody quoted: "+" became " "
_YEARS = range(1900, 2200)  # beyond them neither zones nor epoch seconds can be relied on
_ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}")
_C = TypeVar("_C")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What to export: results with start_at <= at < end_at (`start_at` None = from the first), of these checks
    (None = all) and statuses (None = all), in this zone and these columns.

    Or the rollups of that time by `step`. They end with now at the latest, and have no history from before `kept_from_at`
    that is told apart so finely (None = all is).
    """

    dataset: str = "results"
    step: str = ""
    kept_from_at: datetime | None = None
    format: Format = "csv"
    columns: tuple[str, ...] = COLUMNS
    zone_name: str = "UTC"
    zone: tzinfo = UTC
    start_at: datetime | None = None
    end_at: datetime
    check_ids: frozenset[str] | None = None
    statuses: frozenset[Status] | None = None


def parse_request(
    params: Mapping[str, Sequence[str]],
    *,
    now: datetime,
    zone: str,
    checks: Sequence[Check | BrokenCheck],
    recorded: Collection[str] | None = None,
    matches: Callable[[str], Collection[str]] | None = None,
    retention: Retention | None = None,
) -> ExportRequest:
    """The request that the parameters make; empty values count as not given.

    `zone` is used where `tz` is not given. `recorded` are the checks that have results: with it, a `check` that is
    neither configured nor recorded is refused. `matches` gives the ids of the checks that a filter (`q`) picks.
    `retention` is that of checks without their own.
    Raises BadRequest naming the parameter at fault; BadFilter comes through from `matches`.
    """
    given = _clean(params)
    dataset = _one_of(given, "dataset", tuple(DATASETS))
    if dataset == "rollups":
        now = now.replace(microsecond=0)  # steps are cut there
    zone_name = _single(given, "tz") or zone
    found_zone = find_zone(zone_name)
    start_at, end_at = (
        find_instant(name, text, now=now, zone=found_zone) if (text := _single(given, name)) else None
        for name in ("from", "to")
    )
    end_at = end_at or now
    if dataset == "rollups":
        end_at = min(end_at, now)
    if start_at is not None and start_at >= end_at:
        raise BadRequest(f"from: {start_at.isoformat()} is not before to, {end_at.isoformat()} (the end is excluded)")
    step = _step(given, dataset)
    check_ids = _check_ids(given, checks, recorded, matches)
    kept_s = _kept_s(step, check_ids, checks, retention or Retention())
    kept_from_at = now - timedelta(seconds=kept_s) if kept_s < inf else None
    if kept_from_at is not None and (start_at or end_at) < kept_from_at:
        raise BadRequest(
            f"step: {step} is told apart for {kept_s / 86400:g} d only; ask for a longer step or a later time"
        )
    return ExportRequest(
        dataset=dataset,
        step=step,
        kept_from_at=kept_from_at,
        format=cast(Format, _one_of(given, "format", FORMATS)),
        columns=_columns(given, DATASETS[dataset]),
        zone_name=zone_name,
        zone=found_zone,
        start_at=start_at,
        end_at=end_at,
        check_ids=check_ids,
        statuses=_statuses(given, dataset),
    )


def file_name(request: ExportRequest) -> str:
    """The name to save it under: dataset with its step, range and zone."""
    dataset = f"{request.dataset}-{request.step}" if request.step else request.dataset
    start = "start" if request.start_at is None else _stamp(request.start_at, request.zone)
    end = _stamp(request.end_at, request.zone)
    zone = request.zone_name.replace("/", "-")
    return f"watchroom_{dataset}_{start}_{end}_{zone}.{request.format}"


def write(request: ExportRequest, history: History) -> Iterator[bytes]:
    """The export in pieces of bounded size, oldest first. Closing the iterator closes the history's too."""
    if request.dataset == "rollups":
        as_json = partial(export_rollups.as_json, request.columns)
        return _written(request, export_rollups.chunks(request, history), export_rollups.as_csv, as_json)
    lines = Lines("csv" if request.format == "csv" else "json", request.columns, request.zone)
    return _written(request, _chunks(request, history), lines.csv, lines.json)


def _written(
    request: ExportRequest,
    opened: Generator[_C],
    as_csv: Callable[[_C], bytes],
    as_json: Callable[[bytes, bytes, _C], bytes],  # with what stands between lines, and behind the last
) -> Iterator[bytes]:
    with closing(opened) as chunks:
        # map, unlike a for statement, lets go of one chunk before it asks for the next: half the memory
        if request.format == "csv":
            yield (",".join(request.columns) + "\r\n").encode()
            yield from map(as_csv, chunks)
        elif request.format == "ndjson":
            yield from map(partial(as_json, b"\n", b"\n"), chunks)
        else:
            opening = b"["
            for piece in map(partial(as_json, b",\n", b""), chunks):
                yield opening + piece
                opening = b",\n"
            yield b"[]\n" if opening == b"[" else b"]\n"


def rows(request: ExportRequest, history: History) -> Iterator[Sequence[object]]:
    """The same rows one by one, the values of each in the order of `request.columns`: for looking at a few."""
    if request.dataset == "rollups":
        yield from export_rollups.rows(request, history)
        return
    with closing(_chunks(request, history)) as chunks:
        for chunk in chunks:
            yield from zip(*(_VALUES[name](chunk, request.zone) for name in request.columns), strict=True)


def find_zone(name: str) -> tzinfo:
    """The time zone with that IANA name. Raises BadRequest."""
    if name == "UTC":
        return UTC
    try:
        if _ZONE_NAME.fullmatch(name):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise BadRequest(f"tz: {name[:64]!r} is not a time zone; write one such as Europe/Berlin or UTC")


def find_instant(name: str, text: str, *, now: datetime, zone: tzinfo) -> datetime:
    """The instant that the parameter `name` means, in UTC: ISO 8601 or an age such as -24h.

    A time without an offset is one of the zone. Raises BadRequest.
    """
    try:
        if ago := _AGO.fullmatch(text):
            at = now - timedelta(seconds=float(ago[1]) * _UNITS_S[ago[2]])
        else:
            at = datetime.fromisoformat(_BARE_OFFSET.sub(r"\1+\2", text))
        if at.year in _YEARS:
            return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise BadRequest(
        f"{name}: {text[:64]!r} is not a time; write ISO 8601 such as 2026-01-31T08:00 or an age such as -24h"
    )


def _clean(params: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for name, values in params.items():
        if name not in PARAMETERS:
            raise BadRequest(f"{name[:64]}: no such parameter{_did_you_mean(name, PARAMETERS)}")
        kept = [value.strip() for value in values if value.strip()]
        for value in kept:
            if len(value) > LONGEST_VALUE or not value.isprintable():
                raise BadRequest(f"{name}: must be printable text of at most {LONGEST_VALUE} characters")
        if len(kept) > 1 and name in _SINGLE:
            raise BadRequest(f"{name}: may be given once, got {len(kept)}")
        if kept:
            given[name] = kept
    return given


def _single(given: Mapping[str, list[str]], name: str) -> str:
    return given.get(name, [""])[0]


def _one_of(given: Mapping[str, list[str]], name: str, choices: Sequence[str], standard: str = "") -> str:
    value = _single(given, name) or standard or choices[0]
    if value not in choices:
        raise BadRequest(f"{name}: must be {_or(choices)}, got {value[:64]!r}")
    return value


def _step(given: Mapping[str, list[str]], dataset: str) -> str:
    """The step of rollups; empty for results."""
    if dataset == "rollups":
        return _one_of(given, "step", export_rollups.STEPS, export_rollups.STANDARD)
    if "step" in given:
        raise BadRequest("step: belongs to the dataset rollups; results are single runs")
    return ""


def _kept_s(
    step: str, check_ids: Collection[str] | None, checks: Sequence[Check | BrokenCheck], standard: Retention
) -> float:
    """How far back all of these checks have that step; infinity = always."""
    own = {check.id: check.retention or standard for check in checks}
    found = [*own.values(), standard] if check_ids is None else [own.get(check_id, standard) for check_id in check_ids]
    return min((export_rollups.kept_s(step, retention) for retention in found), default=inf)


def _columns(given: Mapping[str, list[str]], known: tuple[str, ...]) -> tuple[str, ...]:
    asked = {column.strip() for value in given.get("columns", []) for column in value.split(",")}
    for column in sorted(asked - set(known)):
        raise BadRequest(f"columns: must be of {', '.join(known)}; got {column[:64]!r}{_did_you_mean(column, known)}")
    return tuple(column for column in known if column in asked or not asked)


def _statuses(given: Mapping[str, list[str]], dataset: str) -> frozenset[Status] | None:
    if dataset == "rollups" and "status" in given:
        raise BadRequest("status: belongs to the dataset results; rollups count the runs of every status")
    words = {word.strip() for value in given.get("status", []) for word in value.split(",")}
    known = [status.word for status in Status]
    for word in sorted(words - set(known)):
        raise BadRequest(f"status: must be {_or(known)}, got {word[:64]!r}")
    return frozenset(Status.of(word) for word in words) or None


def _check_ids(
    given: Mapping[str, list[str]],
    checks: Sequence[Check | BrokenCheck],
    recorded: Collection[str] | None,
    matches: Callable[[str], Collection[str]] | None,
) -> frozenset[str] | None:
    """The checks that every key picks: values of one key add up, different keys narrow; None = no key given."""
    picks: list[set[str]] = []
    if "check" in given:
        picks.append(_known_ids(given["check"], {check.id for check in checks}, recorded))
    if "tag" in given:
        _known("tag", given["tag"], {tag for check in checks for tag in check.tags})
        picks.append({check.id for check in checks if set(check.tags) & set(given["tag"])})
    if "group" in given:
        _known("group", given["group"], {check.group for check in checks})
        picks.append({check.id for check in checks if check.group in given["group"]})
    if "q" in given:
        if matches is None:
            raise BadRequest("q: the page's filter works on the server only; use check, tag or group")
        picks.append(set(matches(given["q"][0])))
    return frozenset(set.intersection(*picks)) if picks else None


def _known_ids(asked: Sequence[str], configured: set[str], recorded: Collection[str] | None) -> set[str]:
    if recorded is not None:
        _known("check", asked, configured.union(recorded))
    return set(asked)


def _known(name: str, asked: Sequence[str], known: Collection[str]) -> None:
    for value in asked:
        if value not in known:
            raise BadRequest(f"{name}: there is no {name} {value[:64]!r}{_did_you_mean(value, known)}")


def _did_you_mean(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word[:64], known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _or(choices: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))


def _stamp(at: datetime, zone: tzinfo) -> str:
    local = at.astimezone(zone)
    if local.time() == local.min.time():
        return f"{local:%Y-%m-%d}"
    return f"{local:%Y-%m-%dT%H%M%S}" if local.second else f"{local:%Y-%m-%dT%H%M}"


def _chunks(request: ExportRequest, history: History) -> Generator[ResultColumns]:
    if request.check_ids is None or request.check_ids:
        yield from history.export_columns(  # closing this generator closes that one
            check_ids=request.check_ids, statuses=request.statuses, start_at=request.start_at, end_at=request.end_at
        )


def _texts_of_times(rows: ResultColumns, zone: tzinfo) -> Iterable[str]:
    pieces, rest = times(rows.at_s, zone)
    return (b"".join([*parts, rest]).decode() for parts in zip(*pieces, strict=True))


_VALUES: Mapping[str, Callable[[ResultColumns, tzinfo], Iterable[object]]] = {
    "check_id": lambda rows, _: rows.check_ids,
    "at": lambda rows, zone: _texts_of_times(rows, zone),
    "status": lambda rows, _: (Status(status).word for status in rows.statuses),
    "summary": lambda rows, _: rows.summaries,
    "duration_s": lambda rows, _: rows.durations_s,
    "trigger": lambda rows, _: rows.triggers,
    "by": lambda rows, _: rows.by,
    "worker": lambda rows, _: rows.workers,
    "metrics": lambda rows, _: rows.metrics,
}
