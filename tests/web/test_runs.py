"""Check now: pages, scripts and the command line by one function."""

from __future__ import annotations

import pytest
from fakes import FakeClock, FakeServices, make_check, make_result, too_soon

from dashboard import create_app
from dashboard.errors import ProberDown, RunRefused
from dashboard.model import BrokenCheck
from dashboard.web.configuration import Test
from dashboard.web.security import TOKEN_KEY

MACHINE = {"Authorization": "Bearer secret-token", "Accept": "application/json", "X-Watchroom-By": "mara"}
BROWSER = {"Accept": "text/html", "X-CSRF-Token": "token", "Sec-Fetch-Site": "same-origin"}
HTMX = BROWSER | {"HX-Request": "true"}


@pytest.fixture
def services() -> FakeServices:
    return FakeServices([make_check("api"), make_check("db")], [make_result("api")])


@pytest.fixture
def client(services):
    app = create_app(services.settings, services, configuration=Test, clock=FakeClock())
    app.config[TOKEN_KEY] = "secret-token"
    client = app.test_client()
    with client.session_transaction() as session:
        session["csrf"] = "token"
    return client


def test_a_script_that_waits_gets_the_result(services, client):
    answer = client.post("/checks/api/run", json={"wait_s": 5}, headers=MACHINE)
    assert answer.status_code == 200
    assert answer.json == {
        "check_id": "api",
        "at": "2026-11-24T13:25:08.000+00:00",
        "status": "ok",
        "summary": "200 in 184 ms",
        "duration_s": 0.184,
        "trigger": "manual",
        "by": "cli:mara",
        "worker": "prober-1",
        "metrics": {},
    }
    assert services.runs.asked == [("api", "cli:mara")]


def test_a_script_that_does_not_wait_hears_that_it_is_queued(services, client):
    services.runs.finish = False
    for body in ({}, {"wait_s": 0}, {"wait_s": 0.01}):
        answer = client.post("/checks/api/run", json=body, headers=MACHINE)
        assert (answer.status_code, answer.json) == (202, {"check_id": "api", "phase": "queued", "joined": False})
    assert client.post("/checks/api/run", headers=MACHINE).status_code == 202


def test_several_checks_are_run_by_one_request(services, client):
    answer = client.post("/run", json={"ids": ["api", "db", "api"], "wait_s": 1}, headers=MACHINE)
    assert answer.status_code == 200
    assert [each["check_id"] for each in answer.json["runs"]] == ["api", "db"]
    assert [check_id for check_id, _ in services.runs.asked] == ["api", "db"]


@pytest.mark.parametrize(
    ("refusal", "status"),
    [(too_soon(), 429), (ProberDown("the prober is starting again"), 503), (RunRefused("it cannot run"), 409)],
)
def test_a_refused_run_says_why(services, client, refusal, status):
    services.runs.refuse = refusal
    answer = client.post("/checks/api/run", json={}, headers=MACHINE)
    assert (answer.status_code, answer.json) == (status, {"error": str(refusal)})
    assert answer.headers.get("Retry-After") == ("1" if status == 429 else None)


def test_an_unknown_check_is_a_404_and_nothing_is_run(services, client):
    answer = client.post("/run", json={"ids": ["api", "nope"]}, headers=MACHINE)
    assert answer.status_code == 404
    assert "'nope'" in answer.json["error"]
    assert services.runs.asked == []


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/run", {}, "id: name 1 to 1000 checks"),
        ("/run", {"ids": []}, "id: name 1 to 1000 checks"),
        ("/checks/api/run", {"wait_s": 61}, "wait_s: "),
        ("/checks/api/run", {"wait": 1}, "wait: "),
        ("/checks/api/run", [1], "body: "),
    ],
)
def test_a_bad_body_is_named(client, path, body, said):
    answer = client.post(path, json=body, headers=MACHINE)
    assert answer.status_code == 400
    assert answer.json["error"].startswith(said)


def test_the_button_works_without_scripts(services, client):
    answer = client.post("/run", data={"id": "api", "back": "/?q=st:ok"}, headers=BROWSER)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/?q=st:ok")
    assert services.runs.asked == [("api", "local")]


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:x",
        "",
    ],
)
def test_the_way_back_never_leaves_the_site(client, back):
    answer = client.post("/run", data={"id": "api", "back": back}, headers=BROWSER)
    assert answer.headers["Location"] == "/"


def test_a_page_with_scripts_gets_the_rows_that_changed(services, client):
    services.runs.finish = False
    answer = client.post("/run", data={"id": "api"}, headers=HTMX)
    body = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert '<hx-partial id="c-api"' in body
    assert "Queued</button>" in body
    assert "c-db" not in body


def test_a_refusal_reaches_the_page_as_its_message(services, client):
    services.runs.refuse = too_soon()
    answer = client.post("/run", data={"id": "api"}, headers=HTMX)
    assert answer.status_code == 429
    assert "wait 0.6 s" in answer.get_data(as_text=True)


def test_a_form_without_token_runs_nothing(services, client):
    answer = client.post("/run", data={"id": "api"}, headers={"Accept": "text/html"})
    assert answer.status_code == 403
    assert services.runs.asked == []


def test_a_broken_check_cannot_be_run_from_the_page():
    services = FakeServices([BrokenCheck(id="pay", name="pay", type="http", fault="no PAY_TOKEN")])
    page = create_app(services.settings, services, configuration=Test, clock=FakeClock()).test_client().get("/")
    assert 'value="pay"' not in page.get_data(as_text=True)
