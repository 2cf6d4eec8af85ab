"""Errors: a page for people, JSON for machines, never a traceback."""

from __future__ import annotations

import logging

import pytest
from fakes import FakeClock, FakeServices, make_check, too_soon
from flask import Flask

from dashboard import create_app
from dashboard.errors import BadFilter, BadRequest, ProberDown, RunRefused, StoreReadOnly, UnknownCheck
from dashboard.web.configuration import Test

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def app() -> Flask:
    services = FakeServices([make_check("api")])
    app = create_app(services.settings, services, configuration=Test, clock=FakeClock())
    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app


def fail_with(app: Flask, error: Exception) -> None:
    @app.get("/fails")
    def fails() -> str:
        raise error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadRequest("from: 'x' is not a time"), 400),
        (BadFilter("unknown key 'sta:'", token="sta:"), 400),
        (UnknownCheck("no check has the id 'x'"), 404),
        (RunRefused("check 'x' is paused"), 409),
        (too_soon(), 429),
        (ProberDown("the prober is not running"), 503),
        (StoreReadOnly("writing is over"), 503),
    ],
)
def test_our_errors_say_their_sentence_to_people_and_machines(app: Flask, error: Exception, status: int) -> None:
    fail_with(app, error)
    client = app.test_client()
    machine, person = client.get("/fails"), client.get("/fails", headers=BROWSER)
    assert (machine.status_code, person.status_code) == (status, status)
    assert machine.json == {"error": str(error)}
    assert person.mimetype == "text/html"
    assert str(error).replace("'", "&#39;") in person.text


def test_too_soon_says_when(app: Flask) -> None:
    fail_with(app, too_soon())
    assert app.test_client().get("/fails").headers["Retry-After"] == "1"


def test_a_fault_of_ours_shows_nothing_of_the_inside(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    fail_with(app, ZeroDivisionError("hidden fact"))
    client = app.test_client()
    with caplog.at_level(logging.ERROR):
        machine, person = client.get("/fails?token=s3cret"), client.get("/fails?token=s3cret", headers=BROWSER)
    assert (machine.status_code, person.status_code) == (500, 500)
    for answer in (machine, person):
        assert "hidden fact" not in answer.text
        assert "Traceback" not in answer.text
    assert any("/fails" in record.getMessage() and "?" not in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/nowhere", "GET", 404), ("/", "DELETE", 403), ("/run", "GET", 405), ("/static/../run.py", "GET", 404)],
)
def test_flasks_own_errors_look_the_same(app: Flask, path: str, method: str, status: int) -> None:
    client = app.test_client()
    machine, person = client.open(path, method=method), client.open(path, method=method, headers=BROWSER)
    assert (machine.status_code, person.status_code) == (status, status)
    assert list(machine.json or {}) == ["error"]
    assert "<!doctype html>" in person.text


def test_a_method_that_is_not_allowed_is_told_which_are(app: Flask) -> None:
    assert "POST" in app.test_client().get("/run").headers["Allow"]


def test_what_is_shown_is_escaped(app: Flask) -> None:
    fail_with(app, UnknownCheck("no check has the id '<script>alert(1)</script>'"))
    person = app.test_client().get("/fails", headers=BROWSER)
    assert "<script>alert" not in person.text
    assert "&lt;script&gt;" in person.text


def test_the_sentence_survives_a_page_that_fails(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    fail_with(app, UnknownCheck("no check has the id '<x>'"))
    monkeypatch.setattr(app.extensions["watchroom"].own, "health", broken)
    person = app.test_client().get("/fails", headers=BROWSER)
    assert person.status_code == 404
    assert "no check has the id &#39;&lt;x&gt;&#39;" in person.text
    assert "the error page itself failed" in caplog.text


def test_a_body_over_the_limit_is_refused(app: Flask) -> None:
    answer = app.test_client().post("/run", data={"id": "x" * (1024 * 1024 + 1)})
    assert answer.status_code == 413
    assert answer.json == {"error": "The request is larger than 1 MB."}


def test_a_form_of_too_many_parts_is_refused(app: Flask) -> None:
    parts = {f"part{number}": (None, b"x") for number in range(1001)}
    body = b"".join(b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\nx\r\n' % name.encode() for name in parts)
    answer = app.test_client().post("/run", data=body + b"--b--\r\n", content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 413
