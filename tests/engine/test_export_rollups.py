"""The dataset rollups: which steps, which numbers, in which order; and that they add up to what the whole range says."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import recount
from fakes import NOW, FakeClock, MemoryStore, make_check, make_result
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.base import Status
from dashboard.engine import export, export_rollups
from dashboard.errors import BadRequest
from dashboard.model import BrokenCheck, Retention
from dashboard.rollup import Rollup
from dashboard.storage.store import TinyStore

CHECKS = (make_check("shop", tags=("web",)), make_check("db", retention=Retention(five_minutes_s=7 * 86400.0)))
SECONDS = ("ok_s", "warning_s", "critical_s", "maintenance_s", "unmeasured_s")
PRAGUE = ZoneInfo("Europe/Prague")


def parse(**asked: str | list[str]) -> export.ExportRequest:
    params = {name.removesuffix("_"): [value] if isinstance(value, str) else value for name, value in asked.items()}
    return export.parse_request({"dataset": ["rollups"], "tz": ["UTC"]} | params, now=NOW, zone="UTC", checks=CHECKS)


def rows(store: Any, **asked: str | list[str]) -> list[dict[str, Any]]:
    text = b"".join(export.write(parse(format="ndjson", **asked), store)).decode()
    return [json.loads(line) for line in text.splitlines()]


def stored(*results: Any) -> MemoryStore:
    store = MemoryStore()
    store.append(results)
    return store


def an_hour_of(check_id: str = "shop", **changes: Any) -> MemoryStore:
    """A minute of each status within 12:00 to 13:00 UTC, then gaps."""
    at = datetime(2026, 11, 24, 12, 10, tzinfo=UTC)
    return stored(
        *(
            make_result(check_id, at + timedelta(minutes=status), status, covers_s=60.0, **changes)
            for status in sorted(Status)
        )
    )


def test_a_row_tells_what_became_of_each_second_and_each_run() -> None:
    [row] = rows(an_hour_of(metrics={"response_time": 0.5}), from_="2026-11-24T12:00", to="2026-11-24T13:00", step="1h")
    assert list(row) == list(export_rollups.COLUMNS)
    response_time = row.pop("metrics").pop("response_time")
    assert row == {
        "check_id": "shop",
        "start": "2026-11-24T12:00:00+00:00",
        "end": "2026-11-24T13:00:00+00:00",
        "ok_s": 60.0,
        "warning_s": 60.0,
        "critical_s": 60.0,
        "unknown_s": 60.0,
        "maintenance_s": 0.0,
        "unmeasured_s": 3420.0,  # unknown time is not measured either
        "uptime_ratio": pytest.approx(2 / 3),
        "coverage_ratio": 180 / 3600,
        "runs": 4,
        "runs_ok": 1,
        "runs_warning": 1,
        "runs_critical": 1,
        "runs_unknown": 1,
    }
    assert response_time == {"count": 4, "mean": 0.5, "low": 0.5, "high": 0.5, "p50": 0.5, "p95": 0.5, "p99": 0.5}


def test_where_nothing_was_measured_the_uptime_is_empty_and_not_a_number() -> None:
    asked = {"from_": "2026-11-24T11:00", "to": "2026-11-24T12:00"}
    [row] = rows(an_hour_of(), **asked)
    assert (row["uptime_ratio"], row["coverage_ratio"], row["runs"], row["metrics"]) == (None, 0.0, 0, {})
    text = b"".join(export.write(parse(**asked), an_hour_of())).decode()
    [line] = csv.DictReader(io.StringIO(text, newline=""))
    assert (line["uptime_ratio"], line["unmeasured_s"], line["metrics"]) == ("", "3600.0", "{}")


def test_a_second_of_trouble_in_years_is_not_rounded_away() -> None:
    start_at = datetime(2000, 1, 1, tzinfo=UTC)
    years_s = (NOW - start_at).total_seconds()
    store = stored(
        make_result("shop", start_at, Status.CRITICAL, covers_s=10.0),
        make_result("shop", start_at + timedelta(microseconds=1), covers_s=years_s),
    )
    [row] = rows(store, from_="2000-01-01", to="2000-02-01")[:1]
    assert (row["critical_s"], row["coverage_ratio"]) == (1e-6, 1.0)
    assert row["uptime_ratio"] < 1


def test_steps_stand_in_order_of_time_and_then_of_checks() -> None:
    store = stored(
        *(make_result(name, NOW - timedelta(hours=hour)) for hour in (50, 30, 1) for name in ("shop", "db", "web-2"))
    )
    found = [(row["start"], row["check_id"]) for row in rows(store, step="1h")]
    assert found == sorted(found)
    assert len(found) == 3 * 51
    assert {row["check_id"] for row in rows(store, check=["shop", "db"])} == {"shop", "db"}


def test_the_first_and_the_last_step_are_cut_at_the_range() -> None:
    found = rows(an_hour_of(), from_="2026-11-22T18:30", to="2026-11-24T12:11:30", check="shop")
    assert [(row["start"], row["end"]) for row in found] == [
        ("2026-11-22T18:30:00+00:00", "2026-11-23T00:00:00+00:00"),
        ("2026-11-23T00:00:00+00:00", "2026-11-24T00:00:00+00:00"),
        ("2026-11-24T00:00:00+00:00", "2026-11-24T12:11:30+00:00"),
    ]
    assert (found[-1]["ok_s"], found[-1]["warning_s"], found[-1]["runs"]) == (60.0, 30.0, 2)


def test_the_range_ends_with_now_and_so_does_what_the_newest_result_covers() -> None:
    store = stored(make_result("shop", NOW - timedelta(minutes=2), covers_s=1e6))
    [row] = rows(store, from_="-1h", to="2030-01-01", step="1w")
    assert (row["end"], row["ok_s"]) == ("2026-11-24T13:25:08+00:00", 120.0)


@pytest.mark.parametrize(
    ("step", "start", "end"),
    [
        ("5m", "2026-03-28T14:05:00+01:00", "2026-03-28T14:10:00+01:00"),
        ("1h", "2026-03-28T14:00:00+01:00", "2026-03-28T15:00:00+01:00"),
        ("1d", "2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00"),
        ("1w", "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),  # the clocks change on Sunday
        ("1mo", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"),
    ],
)
def test_without_from_it_begins_with_the_step_of_the_first_history(step: str, start: str, end: str) -> None:
    store = stored(
        make_result("shop", datetime(2026, 3, 28, 13, 7, 30, tzinfo=UTC)),
        make_result("db", datetime(2026, 3, 28, 13, 9, tzinfo=UTC)),
    )
    request = export.ExportRequest(
        dataset="rollups", step=step, columns=export_rollups.COLUMNS, zone=PRAGUE, end_at=NOW
    )
    [db, shop] = [dict(zip(request.columns, row, strict=True)) for row in islice(export.rows(request, store), 2)]
    assert (db["start"], db["end"], db["check_id"]) == (start, end, "db")
    assert (shop["start"], shop["end"], shop["runs"]) == (start, end, 1)


def test_without_any_history_in_time_there_is_only_the_header() -> None:
    store = stored(make_result("shop", NOW - timedelta(hours=1)))
    assert rows(store, check="db") == rows(store, to="-2h") == rows(stored()) == rows(stored(), from_="-1h") == []
    assert b"".join(export.write(parse(check="db"), store)).decode() == ",".join(export_rollups.COLUMNS) + "\r\n"


def edges(step: str, start: str, end: str, zone: str) -> list[datetime]:
    place = ZoneInfo(zone)
    bounds = (datetime.fromisoformat(text).replace(tzinfo=place).timestamp() for text in (start, end))
    return [datetime.fromtimestamp(edge_s, place) for edge_s in export_rollups.edges(step, *bounds, place)]


def hours(found: Sequence[datetime]) -> list[float]:
    return [(after.timestamp() - before.timestamp()) / 3600 for before, after in pairwise(found)]


def test_a_day_with_a_clock_change_has_23_or_25_hours() -> None:
    assert hours(edges("1d", "2026-03-28", "2026-03-31", "Europe/Prague")) == [24, 23, 24]
    assert hours(edges("1d", "2026-10-24", "2026-10-27", "Europe/Prague")) == [24, 25, 24]
    assert hours(edges("1h", "2026-03-29", "2026-03-30", "Europe/Prague")) == [1] * 23


def test_weeks_begin_on_mondays_and_months_on_their_first() -> None:
    weeks = edges("1w", "2026-10-14", "2026-11-05", "Europe/Prague")
    assert [f"{edge:%a %d %H:%M}" for edge in weeks[1:-1]] == ["Mon 19 00:00", "Mon 26 00:00", "Mon 02 00:00"]
    months = edges("1mo", "2026-01-31", "2026-05-01", "America/New_York")
    assert [edge.date() for edge in months[1:-1]] == [date(2026, month, 1) for month in (2, 3, 4)]


def test_a_day_that_a_zone_left_out_is_no_step() -> None:
    found = edges("1d", "2011-12-29", "2012-01-01", "Pacific/Apia")
    assert [edge.day for edge in found] == [29, 31, 1]
    assert hours(found) == [24, 24]


@given(
    st.sampled_from(export_rollups.STEPS),
    st.integers(0, 4_000_000_000),
    st.integers(1, 3_000_000),
    st.sampled_from(["UTC", "Europe/Prague", "Asia/Kolkata", "America/Sao_Paulo", "Africa/Cairo", "Pacific/Apia"]),
)
def test_steps_ascend_and_fill_the_range(step: str, start_s: int, length_s: int, zone: str) -> None:
    found = list(export_rollups.edges(step, float(start_s), float(start_s + length_s), ZoneInfo(zone)))
    assert (found[0], found[-1]) == (start_s, start_s + length_s)
    assert all(before < after for before, after in pairwise(found))
    longest_s = {"5m": 300, "1h": 3600, "1d": 49 * 3600, "1w": 8 * 86400, "1mo": 32 * 86400}[step]
    assert max(after - before for before, after in pairwise(found)) <= longest_s


START = int(datetime(2026, 10, 24, 20, tzinfo=UTC).timestamp())  # five hours before a day of 25 in Prague
HISTORIES = st.lists(
    st.tuples(
        st.integers(0, 40_000).map(lambda second: START + 5 * second),
        st.sampled_from([0, 7, 600, 90_000]),
        st.integers(0, 3),
        st.dictionaries(st.sampled_from(["dns", "cpu"]), st.floats(0.001, 1000.0), max_size=2),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60)
@given(HISTORIES, st.sampled_from(["1h", "1d", "1w", "1mo"]), st.integers(-4000, 100_000), st.integers(1, 200_000))
def test_the_steps_sum_up_to_the_whole_range_and_to_a_recount(
    history: list[recount.Row], step: str, offset: int, length: int
) -> None:
    start, end = START + offset, START + offset + length
    store = stored(
        *(
            make_result("shop", datetime.fromtimestamp(at, UTC), Status(status), covers_s=covers, metrics=metrics)
            for at, covers, status, metrics in history
        )
    )
    request = export.ExportRequest(
        dataset="rollups",
        step=step,
        columns=export_rollups.COLUMNS,
        zone=PRAGUE,
        start_at=datetime.fromtimestamp(start, UTC),
        end_at=datetime.fromtimestamp(end, UTC),
    )
    found = [dict(zip(request.columns, row, strict=True)) for row in export.rows(request, store)]
    [whole] = store.rollups("shop", [float(start), float(end)], now_s=float(end))
    [counted] = recount.seconds(recount.kinds_by_second(history, end), [start, end])
    columns = ("ok_s", "warning_s", "critical_s", "unknown_s", "maintenance_s")
    for name, seconds, recounted in zip(columns, whole.seconds, counted, strict=True):
        assert sum(row[name] for row in found) == pytest.approx(seconds) == recounted
    assert math.fsum(row[name] for row in found for name in SECONDS) == pytest.approx(length)
    for status in Status:
        assert sum(row[f"runs_{status.word}"] for row in found) == whole.runs[status]
    metrics = [json.loads(row["metrics"]) for row in found]
    for name, metric in whole.metrics.items():
        parts = [each[name] for each in metrics if name in each]
        assert sum(part["count"] for part in parts) == metric.count
        assert math.fsum(part["mean"] * part["count"] for part in parts) == pytest.approx(metric.total)
        assert (min(part["low"] for part in parts), max(part["high"] for part in parts)) == (metric.low, metric.high)
    assert {name for each in metrics for name in each} == set(whole.metrics)


def flat(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of plain values, rounded a little: sums of floats depend on their order."""
    return [
        {
            name: round(value, 9) if isinstance(value, float) else value
            for name, value in (row | row["metrics"].get("dns", {})).items()
        }
        | {"metrics": sorted(row["metrics"])}
        for row in found
    ]


def test_the_embedded_store_gives_the_same_file_sealed_or_not(tmp_path: Path) -> None:
    results = [
        make_result(
            name,
            NOW - timedelta(hours=hour, seconds=7),
            Status(hour * 7919 % 97 % 4),
            covers_s=4000.0,
            metrics={"dns": hour % 9},
        )
        for hour in range(1500, 0, -1)
        for name in ("shop", "db")
        if hour % 100 > 4
    ]
    expected = {step: rows(stored(*results), step=step, tz="Europe/Prague") for step in ("1h", "1d", "1w", "1mo")}
    assert len(expected["1d"]) == 2 * 63
    store = TinyStore(tmp_path, FakeClock())
    store.open()
    store.load([results])
    for _ in range(2):
        for step, its_rows in expected.items():
            assert flat(rows(store, step=step, tz="Europe/Prague")) == flat(its_rows)
        store.compact()
    reading = TinyStore.reading(tmp_path, FakeClock())
    assert flat(rows(reading, tz="Europe/Prague")) == flat(expected["1d"])
    store.close()


def test_csv_ndjson_and_json_say_the_same_and_no_id_becomes_a_formula() -> None:
    store = an_hour_of("=shop", metrics={'a "b", c': 1.5})
    lines = rows(store, step="5m", check="=shop")
    assert json.loads(b"".join(export.write(parse(step="5m", format="json"), store))) == lines
    text = b"".join(export.write(parse(step="5m"), store)).decode()
    assert text.count("\r\n") == 1 + len(lines)
    for line, row in zip(csv.DictReader(io.StringIO(text, newline="")), lines, strict=True):
        assert line.pop("check_id") == "'" + row.pop("check_id")
        assert json.loads(line.pop("metrics")) == row.pop("metrics")
        assert line == {name: "" if value is None else str(value) for name, value in row.items()}


def test_chosen_columns_come_in_the_fixed_order_and_metrics_are_read_only_where_asked_for() -> None:
    asked: list[Collection[str] | None] = []

    class Watched(MemoryStore):
        def rollups(self, *args: Any, metrics: Collection[str] | None = None, **more: Any) -> list[Rollup]:
            asked.append(metrics)
            return super().rollups(*args, metrics=metrics, **more)

    store = Watched()
    store.append([make_result("shop", NOW - timedelta(minutes=1))])
    [row] = rows(store, columns="uptime_ratio,check_id", from_="-1h")
    assert list(row.items()) == [("check_id", "shop"), ("uptime_ratio", 1.0)]
    assert asked == [()]
    assert b"".join(export.write(parse(columns="uptime_ratio", from_="-2h", to="-1h"), store)).endswith(b'\r\n""\r\n')


def test_few_steps_are_read_at_a_time_and_stopping_early_reads_no_more() -> None:
    steps: list[int] = []

    class Watched(MemoryStore):
        def rollups(self, check_id: str, edges_s: Sequence[float], **more: Any) -> list[Rollup]:
            steps.append(len(edges_s) - 1)
            return [Rollup(start_s=start_s, end_s=end_s) for start_s, end_s in pairwise(edges_s)]

    store = Watched()
    store.append([make_result(f"check-{number}", NOW - timedelta(minutes=1)) for number in range(50)])
    pieces = export.write(parse(step="1h", from_="-30d"), store)
    assert next(pieces)
    assert next(pieces)
    pieces.close()  # type: ignore[attr-defined]  # a generator
    assert steps == [1] * 50 + [80] * 50
    steps.clear()
    assert sum(1 for _ in export.rows(parse(step="1h", from_="-30d", check="check-7"), store)) == 30 * 24 + 1
    assert max(steps) == 200


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"step": "2h"}, "step: must be 5m, 1h, 1d, 1w or 1mo, got '2h'"),
        ({"step": ["1h", "1d"]}, "step: may be given once, got 2"),
        ({"step": "1h", "dataset": "results"}, "step: belongs to the dataset rollups"),
        ({"status": "critical"}, "status: belongs to the dataset results"),
        ({"columns": "uptime"}, "columns: must be of check_id, start, end, "),
        ({"columns": "summary"}, "columns: must be of check_id, start, end, "),
        ({"columns": "runs_ok", "dataset": "results"}, "columns: must be of check_id, at, "),
        ({"from_": "2030-01-01", "to": "2031-01-01"}, "from: "),
        ({"step": "5m", "from_": "-91d", "check": "shop"}, "step: 5m is told apart for 90 d only; ask for a longer"),
        ({"step": "5m", "from_": "-8d"}, "step: 5m is told apart for 7 d only; ask for a longer"),
        ({"step": "5m", "to": "-8d", "check": "db"}, "step: 5m is told apart for 7 d only; ask for a longer"),
        ({"step": "1h", "from_": "2020-01-01"}, "step: 1h is told apart for 730 d only; ask for a longer"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(params: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(**params)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_steps_of_days_are_told_apart_for_ever_and_short_ones_from_where_they_are_kept() -> None:
    assert parse(step="1d", from_="2000-01-01").kept_from_at is None
    store = stored(*(make_result("db", NOW - timedelta(days=day)) for day in (20, 6, 1)))
    assert rows(store, step="5m", check="db")[0]["start"] == "2026-11-17T13:25:00+00:00"
    assert rows(store, step="1h", check="db")[0]["start"] == "2026-11-04T13:00:00+00:00"


def test_a_check_that_cannot_run_keeps_its_retention() -> None:
    broken = BrokenCheck(id="b", name="b", type="http", fault="", retention=Retention(hours_s=86400.0))
    with pytest.raises(BadRequest, match="1h is told apart for 1 d only"):
        export.parse_request(
            {"dataset": ["rollups"], "step": ["1h"], "from": ["-3d"]}, now=NOW, zone="UTC", checks=(broken,)
        )


def test_the_file_name_says_the_step() -> None:
    assert export.file_name(parse(step="1h", from_="2026-11-17")) == (
        "watchroom_rollups-1h_2026-11-17_2026-11-24T132508_UTC.csv"
    )
