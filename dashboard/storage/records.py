"""How values are written down: results, states and incidents as the documents that TinyDB keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any, cast, get_args

import orjson

from checks.base import Detail, Status
from dashboard.model import CheckState, Incident, Result, Trigger
from dashboard.storage.base import ResultColumns

Row = dict[str, Any]  # a result as its JSON object, the id included: any JSON value, so nothing closer than Any

NUMBER = {status.word: status.value for status in Status}
WORD = {status.value: status.word for status in Status}
TRIGGERS: tuple[str, ...] = get_args(Trigger)
_LAST_S = 253_370_764_800.0  # the year 9999: what lies beyond cannot be read as an instant
_TRIGGER_SET = frozenset(TRIGGERS)
_FLOAT = {float}
_TEXT = {str}

_DETAIL_TEXTS = ("phase", "expected", "got", "excerpt")
_DEFAULTS: Row = {
    "check_id": "",
    "at": 0.0,
    "status": "",
    "summary": "",
    "duration_s": 0.0,
    "covers_s": 0.0,
    "trigger": "schedule",
    "by": "",
    "worker": "",
    "metrics": {},
}


def row_of_result(result: Result) -> Row:
    """The result as it is stored. Raises ValueError for a number that is not finite."""
    row: Row = {
        "check_id": result.check_id,
        "at": result.at.timestamp(),
        "status": WORD[result.status],
        "summary": result.summary,
        "duration_s": float(result.duration_s),
        "covers_s": float(result.covers_s),
        "trigger": result.trigger,
        "by": result.by,
        "worker": result.worker,
        "metrics": result.metrics,
    }
    if not _has_plain_numbers(row):
        row["metrics"] = {name: float(value) for name, value in result.metrics.items()}
        _refuse_not_finite(row)
    if result.status is not Status.OK and (detail := detail_row(result.detail)):
        row["detail"] = detail
    return row


def row_of_document(document: Mapping[str, Any]) -> Row:
    """The document that somebody wants to insert, complete and in order. Raises ValueError naming the field at fault."""
    row = {**_DEFAULTS, **document}
    if len(row) == len(_DEFAULTS) and "at" in document and _is_plain(row):
        return row
    return _row_checked(document)


def _is_plain(row: Row) -> bool:
    """Whether there is nothing to check closer: the quick look that nearly every document passes."""
    return (
        type(row["check_id"]) is type(row["summary"]) is type(row["status"]) is str
        and type(row["trigger"]) is type(row["by"]) is type(row["worker"]) is str
        and row["check_id"] != ""
        and row["status"] in NUMBER
        and row["trigger"] in _TRIGGER_SET
        and _has_plain_numbers(row)
        and 0.0 <= row["at"] < _LAST_S
    )


def _has_plain_numbers(row: Row) -> bool:
    """Whether all numbers are finite floats, by the quick look: their sum is."""
    metrics = row["metrics"]
    if type(metrics) is not dict:
        return False
    at, duration_s, covers_s = row["at"], row["duration_s"], row["covers_s"]
    if not (type(at) is type(duration_s) is type(covers_s) is float):
        return False
    values = metrics.values()
    if metrics and (set(map(type, values)) != _FLOAT or set(map(type, metrics)) != _TEXT):
        return False
    return isfinite(at + duration_s + covers_s + sum(values))


def _row_checked(document: Mapping[str, Any]) -> Row:
    unknown = document.keys() - _DEFAULTS.keys() - {"detail"}
    if unknown:
        raise ValueError(f"{min(unknown)!r}: not a field of a result; it has {', '.join(_DEFAULTS)} and detail")
    row = {name: document.get(name, default) for name, default in _DEFAULTS.items()}
    if not isinstance(row["check_id"], str) or not row["check_id"]:
        raise ValueError("check_id: a result names its check, as text")
    if "at" not in document or row["status"] not in NUMBER or row["trigger"] not in TRIGGERS:
        raise ValueError(f"a result has at, a status of {', '.join(NUMBER)} and a trigger of {', '.join(TRIGGERS)}")
    for name in ("summary", "by", "worker"):
        if not isinstance(row[name], str):
            raise ValueError(f"{name}: must be text, got {row[name]!r}")
    for name in ("at", "duration_s", "covers_s"):
        row[name] = _number(name, row[name])
    row["metrics"] = {str(name): _number(name, value) for name, value in dict(row["metrics"]).items()}
    if row["status"] != "ok" and (detail := detail_row(detail_of(document.get("detail") or {}))):
        row["detail"] = detail
    _refuse_not_finite(row)
    if not 0.0 <= row["at"] < _LAST_S:
        raise ValueError(f"check {row['check_id']!r}: at: must be epoch seconds since 1970, got {row['at']}")
    return row


def encode(row: Row) -> bytes:
    """The row's JSON. Text that no encoding can hold (half of a surrogate pair) is replaced, never refused."""
    try:
        return orjson.dumps(row)
    except orjson.JSONEncodeError:
        row.update(_cleaned(row))
        return orjson.dumps(row)


def detail_of(row: Mapping[str, Any]) -> Detail:
    """The evidence that was stored with a bad result."""
    return Detail(**{**row, "facts": dict(row.get("facts", {}))})


def columns_of(rows: Sequence[Row]) -> ResultColumns:
    """Rows of any checks as columns."""
    return ResultColumns(
        ids=[row["id"] for row in rows],
        check_ids=[row["check_id"] for row in rows],
        at_s=[row["at"] for row in rows],
        statuses=[NUMBER[row["status"]] for row in rows],
        summaries=[row["summary"] for row in rows],
        durations_s=[row["duration_s"] for row in rows],
        covers_s=[row["covers_s"] for row in rows],
        triggers=[row["trigger"] for row in rows],
        by=[row["by"] for row in rows],
        workers=[row["worker"] for row in rows],
        metrics=[row["metrics"] for row in rows],
        details={index: detail_of(row["detail"]) for index, row in enumerate(rows) if "detail" in row},
    )


def row_of_columns(columns: ResultColumns, index: int) -> Row:
    """One row of the columns as it is stored."""
    row: Row = {
        "id": columns.ids[index],
        "check_id": columns.check_ids[index],
        "at": columns.at_s[index],
        "status": WORD[columns.statuses[index]],
        "summary": columns.summaries[index],
        "duration_s": columns.durations_s[index],
        "covers_s": columns.covers_s[index],
        "trigger": columns.triggers[index],
        "by": columns.by[index],
        "worker": columns.workers[index],
        "metrics": dict(columns.metrics[index]),
    }
    if index in columns.details:
        row["detail"] = detail_row(columns.details[index])
    return row


def document_of_state(state: CheckState) -> Row:
    """The state as it is stored."""
    return {
        "check_id": state.check_id,
        "status": state.status.word if state.status is not None else None,
        "since_at": _seconds(state.since_at),
        "recent": [status.word for status in state.recent],
        "pending": state.pending,
        "pending_since_at": _seconds(state.pending_since_at),
        "incident_id": state.incident_id,
        "version": state.version,
        "last_id": state.last_id,
    }


def state_of(document: Mapping[str, Any]) -> CheckState:
    """The state that was stored."""
    return CheckState(
        check_id=document["check_id"],
        status=None if document["status"] is None else Status.of(document["status"]),
        since_at=_instant(document["since_at"]),
        recent=tuple(Status.of(word) for word in document["recent"]),
        pending=document["pending"],
        pending_since_at=_instant(document["pending_since_at"]),
        incident_id=document["incident_id"],
        version=document["version"],
        last_id=document["last_id"],
    )


def document_of_incident(incident: Incident) -> Row:
    """The incident as it is stored; its id is the document's."""
    return {
        "check_id": incident.check_id,
        "opened_at": _seconds(incident.opened_at),
        "confirmed_at": _seconds(incident.confirmed_at),
        "status": incident.status.word,
        "worst": incident.worst.word,
        "summary": incident.summary,
        "closed_at": _seconds(incident.closed_at),
    }


def incident_of(incident_id: int, document: Mapping[str, Any]) -> Incident:
    """The incident that was stored."""
    return Incident(
        id=incident_id,
        check_id=document["check_id"],
        opened_at=cast(datetime, _instant(document["opened_at"])),
        confirmed_at=cast(datetime, _instant(document["confirmed_at"])),
        status=Status.of(document["status"]),
        worst=Status.of(document["worst"]),
        summary=document["summary"],
        closed_at=_instant(document["closed_at"]),
    )


def detail_row(detail: Detail) -> Row:
    """The evidence as it is stored; empty where there is none."""
    row: Row = {name: text for name in _DETAIL_TEXTS if (text := getattr(detail, name))}
    if detail.facts:
        row["facts"] = dict(detail.facts)
    return row


def _seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}: must be a number, got {value!r}")
    return float(value)


def _refuse_not_finite(row: Row) -> None:
    """NaN and infinity would come back from JSON as null."""
    for name, value in (("at", row["at"]), ("duration_s", row["duration_s"]), ("covers_s", row["covers_s"])):
        if not isfinite(value):
            raise ValueError(f"check {row['check_id']!r}: {name}: must be finite, got {value}")
    for name, value in row["metrics"].items():
        if not isfinite(value):
            raise ValueError(f"check {row['check_id']!r}: metric {name!r}: must be finite, got {value}")


def _cleaned(value: Any) -> Any:  # any JSON value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(each) for key, each in value.items()}
    return value
