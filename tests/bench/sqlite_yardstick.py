"""The yardstick: the same results in one table of SQLite in WAL mode, written and read as well as we know how."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson

from checks.base import Detail, Status
from dashboard.model import Result
from dashboard.storage.base import ResultColumns
from dashboard.storage.records import NUMBER, Row, detail_of

FIELDS = (
    "check_id", "at", "status", "summary", "duration_s", "covers_s", "trigger", "by", "worker", "metrics", "detail"
)  # fmt: skip
_NO_DETAIL = Detail()
_TABLE = """
create table results (
    id integer primary key, check_id text not null, at real not null, status text not null, summary text not null,
    duration_s real not null, covers_s real not null, trigger text not null, "by" text not null, worker text not null,
    metrics text not null, detail text
)
"""
_INSERT = f"insert into results ({', '.join(f'{chr(34)}{name}{chr(34)}' for name in FIELDS)}) values ({', '.join('?' * len(FIELDS))})"
_ALL = f"select id, {', '.join(f'{chr(34)}{name}{chr(34)}' for name in FIELDS)} from results"
_LAST = f"{_ALL} where check_id = ? order by at desc limit ?"
_BETWEEN = f"{_ALL} where check_id = ? and at >= ? and at < ? order by at"
_COVERED = """
with covered as (
    select status, min(covers_s, coalesce(lead(at) over (order by at), :end_s) - at) as seconds
    from results where check_id = :check_id and at >= :start_s and at < :end_s
)
select status, sum(seconds) from covered group by status
"""
_VALUES = """
select json_extract(metrics, '$.' || :metric) as value
from results where check_id = :check_id and at >= :start_s and at < :end_s and value is not null order by value
"""
_RAW = "select at, covers_s, status, metrics from results where check_id = ? and at >= ? and at < ? order by at"

Answer = tuple[dict[str, float], list[float]]  # seconds by status, quantiles


class SqliteResults:
    """One database. Statements are prepared once: sqlite3 keeps them by their text."""

    def __init__(self, path: Path, synchronous: Literal["NORMAL", "FULL"] = "NORMAL") -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None, cached_statements=64)
        self.connection.execute("pragma journal_mode=wal")
        self.connection.execute(f"pragma synchronous={synchronous}")
        self.connection.execute("pragma cache_size=-65536")

    def create(self) -> None:
        """Make the table and its index."""
        self.connection.execute(_TABLE)
        self.connection.execute("create index results_by_check on results (check_id, at)")

    def insert(self, row: Row) -> None:
        """One row, one commit."""
        self.connection.execute(_INSERT, values_of(row))

    def insert_multiple(self, rows: Iterable[Row]) -> None:
        """All of these rows, one commit."""
        self.connection.execute("begin")
        self.connection.executemany(_INSERT, map(values_of, rows))
        self.connection.execute("commit")

    def last(self, check_id: str, n: int) -> list[Result]:
        """What `Store.last` gives."""
        return [_result(row) for row in self.connection.execute(_LAST, (check_id, n))]

    def between(self, check_id: str, start_s: float, end_s: float) -> list[Result]:
        """What `Store.between` gives."""
        return [_result(row) for row in self.connection.execute(_BETWEEN, (check_id, start_s, end_s))]

    def series(self, check_id: str, start_s: float, end_s: float) -> ResultColumns:
        """What `Store.series` gives."""
        rows = self.connection.execute(_BETWEEN, (check_id, start_s, end_s)).fetchall()
        columns = list(zip(*rows, strict=True)) if rows else [()] * (len(FIELDS) + 1)
        ids, check_ids, at_s, statuses, summaries, durations_s, covers_s, triggers, by, workers, metrics, details = (
            columns
        )
        return ResultColumns(
            ids=ids, check_ids=check_ids, at_s=at_s, statuses=[NUMBER[word] for word in statuses], summaries=summaries,
            durations_s=durations_s, covers_s=covers_s, triggers=triggers, by=by, workers=workers,
            metrics=_parsed(metrics),
            details={row: detail_of(orjson.loads(text)) for row, text in enumerate(details) if text},
        )  # fmt: skip

    def uptime_by_window(
        self, check_id: str, start_s: float, end_s: float, metric: str, shares: Sequence[float]
    ) -> Answer:
        """Seconds by status and quantiles, computed by SQLite."""
        named = {"check_id": check_id, "start_s": start_s, "end_s": end_s, "metric": metric}
        seconds = dict(self.connection.execute(_COVERED, named).fetchall())
        return seconds, _nearest([value for (value,) in self.connection.execute(_VALUES, named)], shares)

    def uptime_by_fetch(
        self, check_id: str, start_s: float, end_s: float, metric: str, shares: Sequence[float]
    ) -> Answer:
        """The same, computed here from the rows."""
        rows = self.connection.execute(_RAW, (check_id, start_s, end_s)).fetchall()
        if not rows:
            return {}, []
        at_s, covers_s, words, metrics = zip(*rows, strict=True)
        seconds = dict.fromkeys(words, 0.0)
        for from_s, until_s, covered_s, word in zip(at_s, (*at_s[1:], end_s), covers_s, words, strict=True):
            seconds[word] += min(until_s - from_s, covered_s)
        values = [parsed[metric] for parsed in _parsed(metrics) if metric in parsed]
        values.sort()
        return seconds, _nearest(values, shares)

    def settle(self) -> int:
        """Put everything into the one file; its size in bytes."""
        self.connection.execute("pragma wal_checkpoint(truncate)")
        return self.path.stat().st_size

    def close(self) -> None:
        self.connection.close()


def values_of(row: Row) -> tuple[Any, ...]:
    """The fields of a row as SQLite takes them."""
    detail = row.get("detail")
    return (
        row["check_id"], row["at"], row["status"], row["summary"], row["duration_s"], row["covers_s"], row["trigger"],
        row["by"], row["worker"], orjson.dumps(row["metrics"]).decode(), orjson.dumps(detail).decode() if detail else None,
    )  # fmt: skip


def _parsed(texts: Iterable[str]) -> list[dict[str, float]]:
    parsed: list[dict[str, float]] = orjson.loads(f"[{','.join(texts)}]")  # one call is cheaper than many
    return parsed


def _result(row: Sequence[Any]) -> Result:
    row_id, check_id, at_s, status, summary, duration_s, covers_s, trigger, by, worker, metrics, detail = row
    return Result(
        id=row_id, check_id=check_id, at=datetime.fromtimestamp(at_s, UTC), status=_STATUSES[status], summary=summary,
        duration_s=duration_s, covers_s=covers_s, trigger=trigger, by=by, worker=worker, metrics=orjson.loads(metrics),
        detail=detail_of(orjson.loads(detail)) if detail else _NO_DETAIL,
    )  # fmt: skip


def _nearest(ordered: Sequence[float], shares: Sequence[float]) -> list[float]:
    return [ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in shares] if ordered else []


_STATUSES: Mapping[str, Status] = {status.word: status for status in Status}
