"""The page System: what is wrong comes first, what is stored in words, and deleting a history only after a question."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from math import inf
from typing import get_args, get_type_hints

import pytest
from fakes import NOW, FakeClock, FakeServices, make_check, make_result
from flask.testing import FlaskClient

from checks.base import ProberHealth
from dashboard import create_app
from dashboard.errors import RunRefused
from dashboard.model import Backup, BrokenCheck, Inventory, StoredClass, StoreHealth
from dashboard.web.configuration import Test
from dashboard.web.inventory import archived, class_rows, shortage

PAGE = {"Accept": "text/html"}
HELD = Inventory(
    classes=(
        StoredClass(name="journals", files=2, rows=21_877, size_bytes=6_400_000, oldest_at=NOW, newest_at=NOW),
        StoredClass(name="raw", files=34, rows=34_213_880, size_bytes=171_000_000, keep_s=30 * 86400.0),
        StoredClass(name="days", files=1, rows=48_180, size_bytes=2_100_000, keep_s=inf),
        StoredClass(name="quarantine", files=0, rows=0, size_bytes=0),
    ),
    checks={"api": 1200, "gone": 88_211, "<b>old</b>": 0},
    free_bytes=80_400_000_000,
    sealed_at=NOW - timedelta(minutes=12),
    rows_per_day=1_140_480.0,
    forecast_bytes=612_000_000,
)


@pytest.fixture
def services() -> FakeServices:
    """One configured check, one broken, and two that are gone."""
    rows = [make_result("api"), *(make_result("gone", NOW - timedelta(seconds=index)) for index in range(3))]
    return FakeServices([make_check("api"), BrokenCheck(id="b", name="b", type="http", fault="no token")], rows)


@pytest.fixture
def client(services: FakeServices) -> FlaskClient:
    return create_app(services.settings, services, configuration=Test, clock=FakeClock()).test_client()


def text_of(client: FlaskClient, address: str = "/system") -> str:
    answer = client.get(address, headers=PAGE)
    assert answer.status_code == 200
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", answer.get_data(as_text=True)).split()))


def write(client: FlaskClient, address: str, accept: str = "text/html", **fields: str):
    """Send a form of the page, with its token."""
    client.get("/system")
    with client.session_transaction() as session:
        fields["csrf_token"] = session["csrf"]
    return client.post(address, data=fields, headers={"Accept": accept})


def test_all_well_is_one_sentence(services, client):
    services.own.now = replace(services.own.now, prober=ProberHealth(checks=131))
    services.history.inventory = lambda: HELD
    page = text_of(client)
    assert "Watchroom itself is well: 131 checks measured, 4 results kept, 80.4 GB free." in page
    assert "needs you" not in page


def test_whatever_is_wrong_stands_first_and_only_once(services, client):
    services.own.now = replace(
        services.own.now, troubles=("The disk is full.",), config_problems=("line 3: unknown key",), status="degraded"
    )
    services.history.inventory = lambda: replace(HELD, free_bytes=1_000_000)
    page = text_of(client)
    assert page.index("3 things need you") < page.index("Measuring")
    assert page.count("The disk is full.") == 1
    assert "Configuration: line 3: unknown key" in page
    assert "it is to grow by 432 MB, and 1 MB are free" in page
    assert "is well" not in page


def test_the_facts_of_prober_and_store_are_told_and_the_odd_ones_marked(services, client):
    services.own.now = replace(
        services.own.now,
        prober_restarts=2,
        prober=ProberHealth(fires_per_s=12.5, lateness_p50_s=0.0008, lateness_p99_s=0.9, in_flight=3, queued=2, skipped=7),
        store=StoreHealth(
            state="read-only", rows=9, rows_in_memory=9, size_bytes=1, damaged_blocks=2, clock_jumps=1, torn_tails=1,
            unsealed_rows=21_877, last_sync_s=0.002, sealed_at=NOW - timedelta(minutes=12),
        ),
    )  # fmt: skip
    page = text_of(client)
    for words in (
        "Prober running, started again 2 times",
        "Runs a second 12.5",
        "Runs start late by 0.80 ms, 99 of 100 below 900 ms",
        "At work 3 runs, 2 waiting",
        "Skipped 7 runs",
        "Store read-only",
        "took 2 ms",
        "Not sealed yet 21 877 results",
        "Last seal 12 m ago",
        "Damaged blocks 2 left out of pages and exports; python run.py doctor names them",
        "Torn ends 1 a last write that a crash cut off",
        "Clock jumps 1",
    ):
        assert words in page, words
    odd = re.findall(r'<div class="is-odd"><dt>([^<]+)', client.get("/system").get_data(as_text=True))
    assert odd == ["Runs start late by", "Skipped", "Store", "Damaged blocks", "Clock jumps"]


def test_every_class_of_files_says_how_much_and_how_long(services, client):
    services.history.inventory = lambda: HELD
    page = text_of(client)
    assert "Journals newest results, not sealed yet 2 21 877 6.4 MB 14:25 14:25" in page
    assert "Results sealed, each one 30 d 34 34 213 880 171 MB" in page
    assert "Rollups of a day for ever 1 48 180 2.1 MB" in page
    assert (
        "180 MB on the disk, 80.4 GB free; 1 140 480 results a day; 612 MB forecast for when every class is full"
        in page
    )
    assert "Quarantine" not in page


def test_the_last_backup_is_told_or_how_to_make_one(services, client):
    assert "Last backup none make one while all runs: python run.py backup FILE" in text_of(client)
    backup = Backup(at=NOW - timedelta(days=2), path="/var/backups/w.tar", size_bytes=298_000_000, rows=34)
    services.history.inventory = lambda: replace(HELD, backup=backup, classes=(), checks={})
    client = create_app(services.settings, services, configuration=Test, clock=FakeClock()).test_client()
    assert "Last backup 2 d 0 h ago 34 results, 298 MB, /var/backups/w.tar" in text_of(client)


def test_archived_checks_are_those_that_were_recorded_and_are_not_configured(services, client):
    page = client.get("/system").get_data(as_text=True)
    assert re.findall(r'href="/system/forget/([^"]+)"', page) == ["gone"]
    assert 'href="/checks/gone"' in page
    found = archived(HELD, {"api", "gone", "rolled"}, {"api"})
    assert [(each.id, each.results) for each in found] == [("gone", 88_211), ("<b>old</b>", 0), ("rolled", 0)]
    assert found[-1].amount == "its rollups"


def test_hostile_names_of_archived_checks_stay_text(services, client):
    services.history.append([make_result('<script>alert(1)</script>"')])
    page = client.get("/system").get_data(as_text=True)
    assert "<script>alert" not in page
    assert "/system/forget/%3Cscript%3Ealert%281%29%3C%2Fscript%3E%22" in page


def test_a_history_is_deleted_after_a_question_that_names_it_and_how_much_it_is(services, client):
    question = text_of(client, "/system/forget/gone")
    assert "Delete the history of gone?" in question
    assert "3 results and all that was counted from them go for good" in question
    assert len(services.history.rows) == 4
    answer = write(client, "/system/forget", check_id="gone")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/system")
    page = text_of(client)
    assert "The history of gone is deleted: 3 results." in page
    assert "None: every check with a history is configured." in page
    assert "is deleted" not in text_of(client)  # said once
    assert {row.check_id for row in services.history.rows} == {"api"}


def test_a_script_is_told_how_much_was_deleted(services, client):
    assert write(client, "/system/forget", accept="application/json", check_id="gone").json == {
        "check_id": "gone",
        "rows": 3,
    }


@pytest.mark.parametrize(
    ("check_id", "status", "words"),
    [
        ("api", 409, "is configured"),
        ("b", 409, "is configured"),
        ("nope", 404, "no history of a check"),
        ("", 400, "check_id:"),
    ],
)
def test_only_a_history_without_a_check_can_be_deleted(services, client, check_id, status, words):
    answer = write(client, "/system/forget", accept="application/json", check_id=check_id)
    assert answer.status_code == status
    assert words in answer.json["error"]
    assert len(services.history.rows) == 4


def test_a_deletion_without_the_form_s_token_is_refused(services, client):
    assert client.post("/system/forget", data={"check_id": "gone"}).status_code == 403
    assert client.post("/system/compact").status_code == 403
    assert len(services.history.rows) == 4


def test_what_the_engine_refuses_is_said(services, client):
    services.upkeep.refuse = RunRefused("the store is read-only: nothing can be deleted")
    answer = write(client, "/system/forget", check_id="gone")
    assert answer.status_code == 409
    assert "nothing can be deleted" in answer.get_data(as_text=True)


def test_compacting_begins_in_the_background_and_the_button_says_so(services, client):
    answer = write(client, "/system/compact")
    assert (answer.status_code, services.upkeep.asked) == (303, 1)
    page = client.get("/system").get_data(as_text=True)
    assert "Compacting: results are sealed" in page
    assert re.search(r'<button class="btn" data-busy><i class="spin"></i>Compacting</button>', page)
    assert write(client, "/system/compact", accept="application/json").json == {"compacting": True}


def test_the_live_part_is_the_same_as_on_the_page(services, client):
    answer = client.get("/live/system", headers={"HX-Request": "true"})
    assert re.findall(r'<hx-partial id="(\w+)"', answer.get_data(as_text=True)) == ["own", "system"]
    assert "Archived checks" in answer.get_data(as_text=True)


def test_sizes_are_read_from_the_disk_once_in_some_seconds(services, client):
    reads = []
    services.history.inventory = lambda: reads.append(1) or HELD
    for _ in range(5):
        client.get("/live/system")
    assert len(reads) == 1


def test_a_disk_that_will_do_is_no_problem_and_neither_is_one_that_nobody_can_judge_yet():
    assert shortage(HELD) == ""
    assert shortage(replace(HELD, free_bytes=0, forecast_bytes=None)) == ""
    assert "give it more room" in shortage(replace(HELD, free_bytes=1))


def test_every_kind_of_class_has_words():
    kinds = get_args(get_type_hints(StoredClass)["name"])
    held = replace(HELD, classes=tuple(StoredClass(name=kind, files=1, rows=0, size_bytes=1) for kind in kinds))
    assert len(class_rows(held)) == len(kinds) == 8
