"""Results as lines of an export, many at a time: the text of each value, joined row by row.

A column is one or more iterables of bytes. What stands before a value is part of its text, and equal texts are made once:
0.5 us a row, where an encoder called for each took 2.3 (2026-11).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import chain
from math import floor
from typing import Any, Literal

import orjson

from checks.base import Status
from dashboard.storage.base import Coded, MetricRows, ResultColumns

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\0")
_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_KNOWN_TEXTS = 8192  # of a column
_OF_FEW = {
    "check_id": "check_ids",
    "trigger": "triggers",
    "by": "by",
    "worker": "workers",
}  # where they stand in a chunk
_OF_MANY = {"status": "statuses", "summary": "summaries"}
_TEN_DIGITS_S = 1_000_000_000  # epoch seconds: from 2001 on they have so many
_ROUNDS, _ROUNDED_UNTIL = 2.0**52, b"4503599627"  # microseconds, and the second in which there are so many: in 2112

Pieces = list[Iterable[bytes]]


class Lines:
    """Writes the rows of one export. Not thread-safe: it remembers the texts that it made."""

    def __init__(self, form: Literal["csv", "json"], columns: Sequence[str], zone: tzinfo) -> None:
        self._columns = columns
        self._zone = zone
        self._is_csv = form == "csv"
        self._mark = b"" if self._is_csv else b'"'
        self._quote = b'""' if self._is_csv else b'"'
        self._texts: dict[tuple[str, bytes], _Texts] = {}  # by column and what stands before it
        self._tables: dict[tuple[str, bytes], tuple[Sequence[str], Sequence[bytes]]] = {}  # values, texts

    def csv(self, rows: ResultColumns) -> bytes:
        """Lines of values with commas between them, each ended."""
        return self._joined(rows, b"\r\n", b"\r\n")

    def json(self, between: bytes, end: bytes, rows: ResultColumns) -> bytes:
        """Objects with that between them, and behind the last."""
        return self._joined(rows, b"}" + between, b"}" + end)

    def _joined(self, rows: ResultColumns, between: bytes, end: bytes) -> bytes:
        pieces: Pieces = []
        rest = b""  # what stands behind the last piece in every row
        columns = list(self._columns)
        while columns:
            name = columns.pop(0)
            before = rest + self._before(name)
            rest = b""
            if name == "at":
                parts, rest = times(rows.at_s, self._zone, before + self._mark, self._mark)
                pieces += parts
            elif name == "duration_s":
                pieces.append(_numbers(rows.durations_s, before))
            elif name == "metrics":
                parts, rest = self._metrics(rows.metrics, before)
                pieces += parts
            elif name in _OF_FEW:
                run = [name]
                while columns and columns[0] in _OF_FEW:
                    run.append(columns.pop(0))
                pieces += self._of_few(run, [getattr(rows, _OF_FEW[each]) for each in run], before)
            else:
                pieces.append(map(self._known(name, before).__getitem__, getattr(rows, _OF_MANY[name])))
        lines = map(b"".join, zip(*pieces, strict=True)) if len(pieces) > 1 else pieces[0]
        if self._is_csv and len(self._columns) == 1:
            lines = (line or b'""' for line in lines)  # an empty line would be no row at all
        if between == end:  # else all of it would be copied for the end
            return (rest + between).join(chain(lines, (b"",)))
        return (rest + between).join(lines) + rest + end

    def _before(self, name: str) -> bytes:
        """What stands before the value of that column."""
        is_first = name == self._columns[0]
        if self._is_csv:
            return b"" if is_first else b","
        return (b'{"%b":' if is_first else b',"%b":') % name.encode()

    def _known(self, name: str, before: bytes) -> _Texts:
        """The texts of that column."""
        found = self._texts.get((name, before))
        if found is None:
            write: Callable[[Any], bytes] = field if self._is_csv else orjson.dumps
            if name == "status":
                write = _word if self._is_csv else _quoted_word
            found = self._texts[name, before] = _Texts(before, write)
        return found

    def _of_few(self, names: Sequence[str], columns: Sequence[Sequence[str]], before: bytes) -> Pieces:
        """Columns of few values side by side: one text for all where the store tells them by one number."""
        known = [self._known(names[0], before), *(self._known(name, self._before(name)) for name in names[1:])]
        first = columns[0]
        if not all(isinstance(column, Coded) and column.codes is first.codes for column in columns):  # type: ignore[attr-defined]  # is Coded
            return [map(texts.__getitem__, column) for texts, column in zip(known, columns, strict=True)]
        values = [column.values for column in columns]  # type: ignore[attr-defined]  # all are Coded
        values_before, table = self._tables.get((names[0], before), ((), ()))
        if values_before is not values[0]:
            rows = zip(*values, strict=True)
            table = [b"".join([texts[each] for texts, each in zip(known, row, strict=True)]) for row in rows]
            self._tables[names[0], before] = values[0], table
        return [map(table.__getitem__, first.codes)]  # type: ignore[attr-defined]  # is Coded

    def _metrics(self, metrics: Sequence[Mapping[str, float]], before: bytes) -> tuple[Pieces, bytes]:
        mark = b'"' if self._is_csv else b""
        before, after = before + mark + b"{", b"}" + mark
        if isinstance(metrics, MetricRows):
            return _members_by_column(metrics, before, self._quote), after
        texts = (
            orjson.dumps(list(metrics))[2:-2].replace(b'"', self._quote).split(b"},{")
        )  # one call for all is cheaper
        if len(texts) != len(metrics):  # that is in somebody's name of a metric
            texts = [_members(each, self._quote) for each in metrics]
        return [[before] * len(texts), texts], after


class _Texts(dict[Any, bytes]):
    """The text of each value, made when it is first asked for. Bounded."""

    def __init__(self, before: bytes, write: Callable[[Any], bytes]) -> None:
        super().__init__()
        self._before = before
        self._write = write

    def __missing__(self, value: Any) -> bytes:  # whatever the column holds
        if len(self) >= _KNOWN_TEXTS:
            self.clear()
        text = self[value] = self._before + self._write(value)
        return text


def times(at_s: Sequence[float], zone: tzinfo, before: bytes = b"", after: bytes = b"") -> tuple[Pieces, bytes]:
    """ISO 8601 with the zone's offset: up to the second, its microseconds, the offset; and what all have behind that.

    Zones change on whole minutes, so each minute of these rows is converted once.
    """
    base_s = 0
    digits = _digits(at_s)
    if digits is None:
        first_s = floor(min(at_s))
        if max(at_s) - first_s >= _TEN_DIGITS_S:  # decades apart: each by itself
            apart = [times([each], zone, before) for each in at_s]
            return [[b"".join([*map(b"".join, zip(*parts, strict=True)), rest, after]) for parts, rest in apart]], b""
        base_s = first_s - _TEN_DIGITS_S
        digits = _digits([each - base_s for each in at_s])
        assert digits is not None
    seconds, microseconds = digits
    known = _seconds(set(seconds), base_s, zone)
    prefixes = {second: before + text for second, (text, _) in known.items()}
    pieces: Pieces = [map(prefixes.__getitem__, seconds), microseconds]
    offsets = {offset for _, offset in known.values()}
    if len(offsets) == 1:
        return pieces, offsets.pop() + after
    return [*pieces, [known[second][1] for second in seconds]], after


def _digits(at_s: Sequence[float]) -> tuple[Sequence[bytes], Sequence[bytes]] | None:
    """The seconds of each instant in ten digits and its microseconds in six; None where they do not fit.

    A float between 2**52 and 2**53 has no fraction: adding 2**52 rounds, in half the time that whole numbers take.
    """
    count = len(at_s)
    texts = orjson.dumps([each * 1e6 + _ROUNDS - _ROUNDS for each in at_s])[1:-1] + b","  # 1795524935160309.0,
    if len(texts) != 19 * count or texts[16::19] != b"." * count or texts[18::19] != b"," * count or b"-" in texts:
        return None
    parts = struct.unpack("10s6s3x" * count, texts)
    seconds = parts[::2]
    return (seconds, parts[1::2]) if max(seconds) < _ROUNDED_UNTIL else None


def _seconds(digits: Iterable[bytes], base_s: int, zone: tzinfo) -> dict[bytes, tuple[bytes, bytes]]:
    """What stands before and behind the microseconds of each of these seconds."""
    minutes: dict[int, bytes] = {}
    found: dict[bytes, tuple[bytes, bytes]] = {}
    for each in digits:
        minute, second = divmod(int(each) + base_s, 60)
        text = minutes.get(minute)
        if text is None:
            text = minutes[minute] = _written(minute * 60, zone)
        if text[17:19] == b"00":
            found[each] = b"%b%02d." % (text[:17], second), text[19:]
        else:  # before there were zones, clocks went by the sun
            text = _written(minute * 60 + second, zone)
            found[each] = text[:19] + b".", text[19:]
    return found


def _written(at_s: int, zone: tzinfo) -> bytes:
    return datetime.fromtimestamp(at_s, zone).isoformat().encode()


def _numbers(values: Sequence[float], before: bytes) -> list[bytes]:
    """Numbers as JSON, with that before each; it holds no line break."""
    texts = orjson.dumps(values if isinstance(values, list | tuple) else list(values))[1:-1]
    return (before + texts.replace(b",", b"\n" + before)).split(b"\n")


def _members_by_column(metrics: MetricRows, before: bytes, quote: bytes) -> Pieces:
    """The insides of JSON objects, a piece a metric, with that before the first."""
    if not metrics.columns:
        return [[before] * len(metrics)]
    pieces: list[list[bytes]] = []
    rows_without: set[int] = set()
    start = before
    for name, column in metrics.columns.items():
        key = start + orjson.dumps(name).replace(b'"', quote) + b":"
        pieces.append(_numbers(column, key))
        start = b","
        missing = key + b"null"
        if missing in pieces[-1]:
            rows_without.update(row for row, text in enumerate(pieces[-1]) if text == missing)
    for row in rows_without:
        pieces[0][row] = before + _members(metrics[row], quote)
        for piece in pieces[1:]:
            piece[row] = b""
    return [*pieces]


def _members(metrics: Mapping[str, float], quote: bytes) -> bytes:
    return orjson.dumps(dict(metrics))[1:-1].replace(b'"', quote)


def field(text: str) -> bytes:
    """Text as RFC 4180 wants it, and no spreadsheet takes for a formula (ASVS 1.2.10)."""
    if text.startswith(_FORMULA_STARTS):
        text = "'" + text
    return ('"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text).encode()


def _word(status: int) -> bytes:
    return Status(status).word.encode()


def _quoted_word(status: int) -> bytes:
    return b'"%b"' % _word(status)
