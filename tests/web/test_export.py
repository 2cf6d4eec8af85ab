"""The export over HTTP, and the page and dialog that put one together."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest
from fakes import NOW, FakeClock, FakeServices, make_check, make_result
from flask.testing import FlaskClient

from checks.base import Status
from dashboard import create_app
from dashboard.engine import export_rollups
from dashboard.engine.export import COLUMNS
from dashboard.model import Uptime
from dashboard.web import words
from dashboard.web.configuration import Test

BROWSER = {"Accept": "text/html"}


@pytest.fixture
def services() -> FakeServices:
    checks = [make_check("shop", tags=("web",), group="Shop"), make_check("db", group="Data")]
    rows = [
        make_result(
            check_id,
            NOW - timedelta(minutes=minute),
            Status.CRITICAL if check_id == "db" and minute < 3 else Status.OK,
            metrics={"response_time": minute / 10},
        )
        for minute in range(30, 0, -1)
        for check_id in ("shop", "db")
    ]
    return FakeServices(checks, [*rows, make_result("gone", NOW - timedelta(minutes=1))])


@pytest.fixture
def client(services: FakeServices) -> FlaskClient:
    return create_app(services.settings, services, configuration=Test, clock=FakeClock()).test_client()


def rows_of(client: FlaskClient, query: str) -> list[dict[str, str]]:
    answer = client.get(f"/export?{query}")
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


@pytest.mark.parametrize(
    ("form", "media_type"),
    [("csv", "text/csv; charset=utf-8"), ("ndjson", "application/x-ndjson"), ("json", "application/json")],
)
def test_an_export_is_a_file_to_save(client: FlaskClient, form: str, media_type: str) -> None:
    answer = client.get(f"/export?dataset=results&format={form}&from=-24h")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["Content-Disposition"] == (
        f'attachment; filename="watchroom_results_2026-11-23T142508_2026-11-24T142508_Europe-Prague.{form}"'
    )
    assert "Content-Encoding" not in answer.headers


def test_without_a_range_everything_comes_oldest_first(client: FlaskClient) -> None:
    rows = rows_of(client, "")
    assert len(rows) == 61
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    assert rows[0]["at"] == "2026-11-24T13:55:08.000000+01:00"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("check=shop", 30),
        ("check=shop&check=gone", 31),
        ("tag=web&group=Shop", 30),
        ("status=critical", 2),
        ("q=st:critical", 30),
        ("q=-tag:web", 30),
        ("from=-10m", 21),
        ("from=-10m&to=-5m&check=shop", 5),
    ],
)
def test_a_filter_narrows_the_rows(client: FlaskClient, query: str, count: int) -> None:
    assert len(rows_of(client, query)) == count


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("from=yesterday", "from: "),
        ("from=0001-01-01T00:00Z&tz=America/New_York", "from: "),
        ("to=9999-12-31T23:59:59Z&tz=Asia/Tokyo", "to: "),
        ("tz=../../etc", "tz: "),
        ("range=1e99", "range: "),
        ("check=nope", "check: "),
        ("q=sta:ok", "q: "),
        ("q=%00", "q: "),
        ("format=xlsx", "format: "),
    ],
)
def test_a_bad_parameter_is_named_before_anything_is_sent(client: FlaskClient, query: str, named: str) -> None:
    machine, person = client.get(f"/export?{query}"), client.get(f"/export?{query}", headers=BROWSER)
    assert (machine.status_code, person.status_code) == (400, 400)
    assert machine.json["error"].startswith(named)  # type: ignore[index]
    assert "Content-Disposition" not in machine.headers
    assert named in person.text


def test_the_page_works_as_a_plain_form(client: FlaskClient) -> None:
    page = client.get("/exports?q=tag:web&from=-24h&status=ok&columns=at&columns=status&format=json").text
    assert "<!doctype html>" in page
    assert '<form class="form" id="export" action="/exports/download" method="get"' in page
    assert 'name="q" value="tag:web"' in page
    assert 'name="from" value="-24h"' in page
    assert re.search(r'value="ok" checked', page)
    assert re.search(r'value="critical">', page)
    assert re.search(r'value="summary">', page)
    assert re.search(r'value="json" checked', page)
    assert re.search(r'value="-24h" formaction="/exports" aria-pressed="true"', page)


def test_for_htmx_the_form_is_a_dialog(client: FlaskClient) -> None:
    answer = client.get("/exports?check=shop", headers={"HX-Request": "true"})
    assert answer.text.startswith('<dialog class="sheet" id="export-dialog"')
    assert "HX-Request" in answer.headers["Vary"]
    assert 'name="check" value="shop" checked' in answer.text


def test_a_list_in_one_value_ticks_every_box_that_it_names(client: FlaskClient) -> None:
    page = client.get("/exports?status=critical,unknown&columns=at,status").text
    ticked = re.findall(r'name="(?:status|columns)" value="(\w+)" checked', page)
    assert ticked == ["critical", "unknown", "at", "status"]


def test_a_preset_fills_the_range(client: FlaskClient) -> None:
    page = client.get("/exports?from=2026-01-01&to=2026-02-01&range=-7d").text
    assert 'name="from" value="-7d"' in page
    assert 'name="to" value=""' in page
    assert 'name="from" value=""' in client.get("/exports?from=-24h&range=all").text


def test_the_preview_shows_the_first_rows_and_the_same_as_a_command(client: FlaskClient) -> None:
    text = client.get(
        "/exports/preview?tz=UTC&check=shop&from=-29m&to=&" + "&".join(f"columns={c}" for c in COLUMNS)
    ).text
    assert text.count("<tr>") == 1 + 20
    assert "2026-11-24T12:56:08.000000+00:00" in text
    assert "first <b>20</b> rows of <b>1</b> check, oldest first" in text
    assert "watchroom_results_2026-11-24T125608_2026-11-24T132508_UTC.csv" in text
    command = re.search(r"<code[^>]*>(.*?)</code>", text)
    assert command is not None
    program, option, address = shlex.split(command[1].replace("&amp;", "&").replace("&#39;", "'"))
    assert (program, option) == ("curl", "-OJ")
    assert address == "http://localhost/export?tz=UTC&check=shop&from=-29m"
    assert len(rows_of(client, urlsplit(address).query)) == 29


def test_the_command_survives_a_hostile_filter(client: FlaskClient) -> None:
    text = client.get("/exports/preview", query_string={"q": "'; rm -rf / #<script>"}).text
    command = re.search(r"<code[^>]*>(.*?)</code>", text)
    assert command is not None
    assert "<script>" not in text
    plain = command[1].replace("&amp;", "&").replace("&#39;", "'").replace("&#34;", '"')
    assert len(shlex.split(plain)) == 3


def test_a_preview_of_few_rows_says_that_these_are_all(client: FlaskClient) -> None:
    assert "all <b>2</b> rows, oldest first" in client.get("/exports/preview?status=critical").text
    assert "all <b>1</b> row of <b>1</b> check" in client.get("/exports/preview?check=gone").text
    assert "its header only" in client.get("/exports/preview?status=unknown").text


def test_a_fault_in_the_form_is_said_where_the_rows_would_be(client: FlaskClient) -> None:
    answer = client.get("/exports/preview?from=yesterday")
    assert answer.status_code == 200
    assert "from: &#39;yesterday&#39; is not a time" in answer.text
    assert "<table" not in answer.text
    assert client.get("/exports?from=yesterday", headers={"HX-Request": "true"}).status_code == 200
    page = client.get("/exports?from=yesterday&tz=UTC")
    assert (page.status_code, page.text.count("is not a time")) == (400, 1)
    assert 'name="from" value="yesterday"' in page.text


def test_what_a_target_said_is_text_in_the_preview(services: FakeServices, client: FlaskClient) -> None:
    services.history.append([make_result("shop", NOW - timedelta(days=9), summary="<img src=x onerror=alert(1)>")])
    text = client.get("/exports/preview?from=-10d&to=-8d").text
    assert "<img" not in text
    assert "&lt;img src=x" in text


def test_a_machine_reads_ndjson_line_by_line(client: FlaskClient) -> None:
    lines = [
        json.loads(line) for line in client.get("/export?format=ndjson&check=db&status=critical").text.splitlines()
    ]
    assert [line["metrics"] for line in lines] == [{"response_time": 0.2}, {"response_time": 0.1}]
    assert {line["check_id"] for line in lines} == {"db"}


def test_rollups_are_a_file_to_save_and_named_after_their_step(client: FlaskClient) -> None:
    answer = client.get("/export?dataset=rollups&step=1h&from=-24h&format=ndjson")
    assert answer.headers["Content-Disposition"] == (
        'attachment; filename="watchroom_rollups-1h_2026-11-23T142508_2026-11-24T142508_Europe-Prague.ndjson"'
    )
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) == 25 * 3
    assert lines[0]["start"] == "2026-11-23T14:25:08+01:00"
    assert sum(line["runs"] for line in lines) == 61


def test_rollups_have_the_numbers_of_the_check_page(client: FlaskClient) -> None:
    bounds = "from=2026-11-24T13:40&to=2026-11-24T14:24:10"
    page = client.get(f"/checks/db?{bounds}").text
    address = f"/export?dataset=rollups&step=1mo&check=db&format=ndjson&{bounds}"
    row = json.loads(client.get(address).text)
    up = Uptime(
        start_at=datetime.fromisoformat(row["start"]),
        end_at=datetime.fromisoformat(row["end"]),
        **{name: row[name] for name in ("ok_s", "warning_s", "critical_s", "unmeasured_s", "maintenance_s")},
    )
    assert (row["uptime_ratio"], row["coverage_ratio"]) == (up.ratio, up.coverage_ratio)
    assert 0 < row["uptime_ratio"] < 1
    assert f"<b>{words.coverage(up)}</b>" in page
    metric = row["metrics"]["response_time"]
    told = [metric[name] for name in ("low", "p50", "p95", "p99", "high")]
    cells = "".join(f'<td class="num">{words.measure(value, "s")}</td>' for value in told)
    assert f'<td class="num">{metric["count"]}</td>{cells}' in page


def test_rollups_of_the_last_day_have_the_uptime_of_the_overview(services: FakeServices, client: FlaskClient) -> None:
    for check_id in ("shop", "db"):
        up = services.board.check(check_id).uptime
        assert up is not None
        [line] = client.get(
            f"/export?dataset=rollups&step=1mo&check={check_id}&format=ndjson&from=-24h"
        ).text.splitlines()
        row = json.loads(line)
        assert (row["uptime_ratio"], row["coverage_ratio"]) == (up.ratio, up.coverage_ratio)


def test_the_form_of_rollups_offers_steps_and_their_columns(client: FlaskClient) -> None:
    page = client.get("/exports?dataset=rollups&step=1h&check=db").text
    assert re.findall(r'name="(?:dataset|step)" value="(\w+)" checked', page) == ["rollups", "1h"]
    assert re.findall(r'name="columns" value="(\w+)" checked', page) == list(export_rollups.COLUMNS)
    assert 'name="status"' not in page
    assert "export?dataset=rollups&amp;step=1h&amp;check=db" in page
    assert 'name="step"' not in client.get("/exports").text


def test_what_is_left_over_from_the_other_dataset_is_no_fault(client: FlaskClient) -> None:
    left_over = "status=critical&step=1h&" + "&".join(f"columns={name}" for name in ("check_id", "at", "metrics"))
    page = client.get(f"/exports?dataset=rollups&{left_over}")
    assert (page.status_code, page.text.count("checked")) == (200, 3 + len(export_rollups.COLUMNS))
    answer = client.get(f"/exports/download?dataset=rollups&{left_over}&from=&range=")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/export?dataset=rollups&step=1h")
    answer = client.get(f"/exports/download?dataset=results&{left_over}")
    assert answer.headers["Location"] == (
        "/export?dataset=results&status=critical&columns=check_id&columns=at&columns=metrics"
    )
    assert client.get(f"/export?dataset=rollups&{left_over}").status_code == 400
    assert client.get("/export?step=1h").json["error"].startswith("step: ")  # type: ignore[index]


def test_a_misspelt_dataset_or_column_is_said_in_the_form(client: FlaskClient) -> None:
    assert "dataset: must be results or rollups" in client.get("/exports?dataset=rolups").text
    assert "columns: must be of check_id, start" in client.get("/exports?dataset=rollups&columns=uptime").text


def test_the_preview_of_rollups_shows_numbers_and_leaves_empty_what_nobody_knows(client: FlaskClient) -> None:
    text = client.get("/exports/preview?dataset=rollups&check=db&from=-2d&step=1w").text
    assert '<th scope="col" class="num">uptime_ratio</th>' in text
    text = client.get("/exports/preview?dataset=rollups&check=db&from=-2d&to=-1d&columns=uptime_ratio").text
    assert '<td class="num"></td>' in text
