"""What an export asks for and what comes out: parameters, times, columns, formats, formulas, memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import nan
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fakes import NOW, MemoryStore, make_check, make_result
from hypothesis import given
from hypothesis import strategies as st

from checks.base import Status
from dashboard.engine import export
from dashboard.errors import BadRequest
from dashboard.storage.base import MetricRows, ResultColumns

CHECKS = (
    make_check("shop", tags=("web", "prod"), group="Shop"),
    make_check("cart", tags=("web",), group="Shop"),
    make_check("db", tags=("prod",), group="Data"),
)


def parse(**given: str | list[str]) -> export.ExportRequest:
    params = {name.removesuffix("_"): [value] if isinstance(value, str) else value for name, value in given.items()}
    return export.parse_request(params, now=NOW, zone="Europe/Prague", checks=CHECKS, recorded={"gone"})


def exported(store: MemoryStore, **changes: str | list[str]) -> str:
    return b"".join(export.write(parse(**changes), store)).decode()


def stored(*results: Any) -> MemoryStore:
    store = MemoryStore()
    store.append(results or [make_result("shop", NOW - timedelta(seconds=1))])
    return store


def csv_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_no_parameter_asks_for_everything_up_to_now() -> None:
    request = parse()
    assert (request.dataset, request.format, request.columns) == ("results", "csv", export.COLUMNS)
    assert (request.start_at, request.end_at, request.zone_name) == (None, NOW, "Europe/Prague")
    assert (request.check_ids, request.statuses) == (None, None)


def test_empty_values_count_as_not_given() -> None:
    assert parse(check="", tag="", status="", from_="", to="", tz="", columns="", q="") == parse()


@pytest.mark.parametrize(
    ("params", "picked"),
    [
        ({"check": "shop"}, {"shop"}),
        ({"check": ["shop", "db"]}, {"shop", "db"}),
        ({"tag": "web"}, {"shop", "cart"}),
        ({"tag": ["web", "prod"]}, {"shop", "cart", "db"}),
        ({"tag": "prod", "group": "Shop"}, {"shop"}),
        ({"check": "cart", "tag": "prod"}, set()),
        ({"check": "gone"}, {"gone"}),
    ],
)
def test_values_of_one_key_add_up_and_keys_narrow(params: dict[str, Any], picked: set[str]) -> None:
    assert parse(**params).check_ids == picked


def test_the_filter_picks_checks_by_the_callers_rule() -> None:
    request = export.parse_request(
        {"q": ["st:critical"], "tag": ["web"]},
        now=NOW,
        zone="UTC",
        checks=CHECKS,
        matches=lambda text: {"shop", "db"} if text == "st:critical" else set(),
    )
    assert request.check_ids == {"shop"}


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("-24h", NOW - timedelta(hours=24)),
        ("-90m", NOW - timedelta(minutes=90)),
        ("-1.5d", NOW - timedelta(hours=36)),
        ("-500ms", NOW - timedelta(milliseconds=500)),
        ("2026-11-20", datetime(2026, 11, 19, 23, tzinfo=UTC)),
        ("2026-11-20T08:30", datetime(2026, 11, 20, 7, 30, tzinfo=UTC)),
        ("2026-11-20 08:30", datetime(2026, 11, 20, 7, 30, tzinfo=UTC)),
        ("2026-07-01T08:30", datetime(2026, 7, 1, 6, 30, tzinfo=UTC)),
        ("2026-11-20T08:30:00.25Z", datetime(2026, 11, 20, 8, 30, 0, 250_000, tzinfo=UTC)),
        ("2026-11-20T08:30:00+05:30", datetime(2026, 11, 20, 3, 0, tzinfo=UTC)),
        ("2026-11-20T08:30:00 05:30", datetime(2026, 11, 20, 3, 0, tzinfo=UTC)),  # a "+" that the URL lost
    ],
)
def test_times_are_iso_8601_or_an_age_and_belong_to_the_zone(text: str, instant: datetime) -> None:
    assert parse(from_=text).start_at == instant


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"dataset": "checks"}, "dataset: must be results or rollups, got 'checks'"),
        ({"format": "xlsx"}, "format: must be csv, ndjson or json, got 'xlsx'"),
        ({"status": "down"}, "status: must be ok, warning, critical or unknown, got 'down'"),
        ({"check": "shpo"}, "check: there is no check 'shpo'; did you mean 'shop'?"),
        ({"tag": "prd"}, "tag: there is no tag 'prd'; did you mean 'prod'?"),
        ({"group": "Shops"}, "group: there is no group 'Shops'; did you mean 'Shop'?"),
        ({"columns": "at,sumary"}, "columns: must be of "),
        ({"stauts": "ok"}, "stauts: no such parameter; did you mean 'status'?"),
        ({"from_": "yesterday"}, "from: 'yesterday' is not a time"),
        ({"from_": "1e99"}, "from: '1e99' is not a time"),
        ({"from_": "-999999999d"}, "from: '-999999999d' is not a time"),
        ({"from_": "0001-01-01"}, "from: '0001-01-01' is not a time"),
        ({"to": "-24h", "from_": "-1h"}, "from: "),
        ({"from_": "-1h", "to": "-1h"}, "from: "),
        ({"tz": "../../etc/passwd"}, "tz: '../../etc/passwd' is not a time zone"),
        ({"tz": "Europe"}, "tz: 'Europe' is not a time zone"),
        ({"tz": "Europe/Nowhere"}, "tz: 'Europe/Nowhere' is not a time zone"),
        ({"tz": ["UTC", "Europe/Berlin"]}, "tz: may be given once, got 2"),
        ({"check": "a\0b"}, "check: must be printable text"),
        ({"q": "x" * 10_000}, "q: must be printable text of at most 2000 characters"),
        ({"q": "st:critical"}, "q: the page's filter works on the server only"),
    ],
)
def test_a_bad_parameter_is_named_with_the_way_out(params: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(**params)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@given(st.dictionaries(st.sampled_from([*export.PARAMETERS, "x"]), st.lists(st.text(), max_size=3)))
def test_whatever_is_asked_is_answered_or_refused_in_words(params: dict[str, list[str]]) -> None:
    try:
        request = export.parse_request(params, now=NOW, zone="UTC", checks=CHECKS, matches=lambda _: set())
    except BadRequest as error:
        said = str(error)
    else:
        said = export.file_name(request)
    assert said.isprintable()
    assert len(said) < 300


def test_csv_has_the_promised_columns_and_line_ends() -> None:
    result = make_result(
        "shop",
        datetime(2026, 7, 1, 10, 0, 0, 123_456, tzinfo=UTC),
        Status.CRITICAL,
        summary='no "ready", no body',
        duration_s=0.25,
        trigger="manual",
        by="cli:mara",
        metrics={"response_time": 0.2, "dns": 0.01},
    )
    assert exported(stored(result), tz="Europe/Berlin") == (
        "check_id,at,status,summary,duration_s,trigger,by,worker,metrics\r\n"
        'shop,2026-07-01T12:00:00.123456+02:00,critical,"no ""ready"", no body",0.25,manual,cli:mara,prober-1,'
        '"{""response_time"":0.2,""dns"":0.01}"\r\n'
    )


def test_ndjson_has_one_object_a_line_and_json_one_array() -> None:
    store = stored(*(make_result("shop", NOW - timedelta(seconds=s), metrics={"cpu": s}) for s in (3, 2, 1)))
    lines = [json.loads(line) for line in exported(store, format="ndjson").splitlines()]
    assert [list(line) for line in lines] == [list(export.COLUMNS)] * 3
    assert [line["metrics"] for line in lines] == [{"cpu": 3}, {"cpu": 2}, {"cpu": 1}]
    assert json.loads(exported(store, format="json")) == lines


def test_an_empty_export_has_its_header_and_is_still_valid() -> None:
    store = stored()
    nothing = {"check": "cart"}
    assert exported(store, **nothing) == ",".join(export.COLUMNS) + "\r\n"
    assert exported(store, format="ndjson", **nothing) == ""
    assert json.loads(exported(store, format="json", **nothing)) == []
    assert csv_rows(exported(store, check="shop", tag="prod", group="Data")) == []


def test_the_end_of_the_range_is_excluded_and_its_start_is_not() -> None:
    store = stored(*(make_result("shop", NOW - timedelta(seconds=s)) for s in (30, 20, 10)))
    rows = csv_rows(exported(store, from_="-30s", to="-10s", tz="UTC"))
    assert [row["at"] for row in rows] == ["2026-11-24T13:24:38.000000+00:00", "2026-11-24T13:24:48.000000+00:00"]


def test_statuses_narrow_the_rows() -> None:
    store = stored(*(make_result("shop", NOW - timedelta(seconds=9 - status), status) for status in Status))
    assert [row["status"] for row in csv_rows(exported(store, status="critical,unknown"))] == ["critical", "unknown"]


def test_chosen_columns_come_in_the_fixed_order() -> None:
    assert exported(stored(), columns="summary,check_id") == "check_id,summary\r\nshop,200 in 184 ms\r\n"
    assert exported(stored(), columns=["status", "at"], format="ndjson", tz="UTC") == (
        '{"at":"2026-11-24T13:25:07.000000+00:00","status":"ok"}\n'
    )


def test_times_carry_the_offset_of_their_own_day() -> None:
    hours = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]  # the clocks go back at 01:00 UTC
    store = stored(*(make_result("shop", at) for at in hours))
    assert [row["at"] for row in csv_rows(exported(store))] == [
        "2026-10-25T02:30:00.000000+02:00",
        "2026-10-25T02:30:00.000000+01:00",
    ]


@given(st.integers(0, 4_000_000_000_000_000))
def test_a_written_time_reads_back_to_the_microsecond(microseconds: int) -> None:
    at = datetime(1971, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    end_at = datetime(2200, 1, 1, tzinfo=UTC)
    request = export.ExportRequest(end_at=end_at, columns=("at",), zone=ZoneInfo("America/New_York"))
    _, line = b"".join(export.write(request, stored(make_result("shop", at)))).decode().split()
    assert datetime.fromisoformat(line) == at


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\0"])
def test_no_text_becomes_a_formula(start: str) -> None:
    hostile = f"{start}cmd|' /C calc'!A0"
    store = stored(make_result("shop", NOW - timedelta(seconds=1), summary=hostile, by=hostile, worker=hostile))
    (row,) = csv_rows(exported(store))
    assert {row["summary"], row["by"], row["worker"]} == {"'" + hostile}
    (line,) = exported(store, format="ndjson").splitlines()
    assert json.loads(line)["summary"] == hostile


def test_numbers_stay_numbers() -> None:
    store = stored(make_result("shop", NOW - timedelta(seconds=1), duration_s=1e-06, metrics={"x": -1.5}))
    (row,) = csv_rows(exported(store))
    assert float(row["duration_s"]) == 1e-06
    assert json.loads(row["metrics"]) == {"x": -1.5}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_any_text_reads_back_from_csv(summaries: list[str]) -> None:
    store = stored(*(make_result("shop", NOW - timedelta(seconds=1), summary=text) for text in summaries))
    rows = csv_rows(exported(store, columns="summary"))
    assert [row["summary"].removeprefix("'") for row in rows] == [text.removeprefix("'") for text in summaries]


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({}, "watchroom_results_start_2026-11-24T142508_Europe-Prague.csv"),
        ({"from_": "2026-11-17", "to": "2026-11-24"}, "watchroom_results_2026-11-17_2026-11-24_Europe-Prague.csv"),
        (
            {"from_": "2026-11-17T08:30", "to": "2026-11-24", "tz": "UTC", "format": "ndjson"},
            "watchroom_results_2026-11-17T0830_2026-11-24_UTC.ndjson",
        ),
    ],
)
def test_the_file_name_says_dataset_range_and_zone(params: dict[str, Any], name: str) -> None:
    assert export.file_name(parse(**params)) == name


def test_the_docs_name_every_parameter_and_column() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
    rows = [line.split("|")[1] for line in docs.splitlines() if line.startswith("| `")]
    named = [name.strip(" `") for row in rows for name in row.split(",")]
    columns = [name for its_columns in export.DATASETS.values() for name in its_columns]
    assert sorted(named) == sorted([*export.PARAMETERS, *columns])


_ODD_NAMES = st.text(st.sampled_from('a,"{}[]:%b'), max_size=6)


@given(st.lists(st.dictionaries(_ODD_NAMES, st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=5))
def test_any_metrics_read_back_whether_the_store_has_them_by_row_or_by_column(metrics: list[dict[str, float]]) -> None:
    (by_row,) = stored(
        *(make_result("shop", NOW - timedelta(seconds=1), metrics=each) for each in metrics)
    ).export_columns()
    names = sorted({name for each in metrics for name in each})
    columns = {name: [each.get(name, nan) for each in metrics] for name in names}
    for chunk in (by_row, replace(by_row, metrics=MetricRows(columns, len(metrics)))):
        store = MemoryStore()
        store.export_columns = lambda chunk=chunk, **_: iter([chunk])  # type: ignore[method-assign]
        assert [json.loads(row["metrics"]) for row in csv_rows(exported(store))] == metrics
        lines = exported(store, format="ndjson").splitlines()
        assert [json.loads(line)["metrics"] for line in lines] == metrics


def test_stopping_early_closes_what_the_history_opened() -> None:
    closed: list[bool] = []

    class Endless(MemoryStore):
        def export_columns(self, **_: object) -> Iterator[ResultColumns]:
            (chunk,) = stored().export_columns()
            try:
                while True:
                    yield chunk
            finally:
                closed.append(True)

    for form in export.FORMATS:
        pieces = export.write(export.ExportRequest(format=form, end_at=NOW), Endless())
        assert next(pieces)
        assert next(pieces)
        pieces.close()  # type: ignore[attr-defined]  # a generator
    assert closed == [True] * 3
