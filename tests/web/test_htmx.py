"""What htmx 4 says of its requests, and what it is answered."""

from __future__ import annotations

from typing import cast

import pytest
from flask import Flask

from dashboard.web import htmx


@pytest.fixture
def app() -> Flask:
    app = Flask("test")
    htmx.attach(app)
    return app


def test_a_request_of_htmx_names_source_target_and_version(app: Flask) -> None:
    headers = {"HX-Request": "true", "HX-Source": "button#run-api", "HX-Target": "div#live", "HX-PTag": "boot1.7"}
    with app.test_request_context(headers=headers):
        request = htmx.request
        assert request.htmx
        assert (request.source_id, request.target_id, request.ptag) == ("run-api", "live", "boot1.7")


def test_any_other_request_names_nothing(app: Flask) -> None:
    with app.test_request_context(headers={"HX-Source": "button"}):
        request = cast(htmx.DashboardRequest, htmx.request)
        assert not request.htmx
        assert (request.source_id, request.target_id, request.ptag) == ("", "", "")


def test_an_answer_may_morph_and_carries_its_version(app: Flask) -> None:
    with app.test_request_context():
        response = htmx.respond("<p>", reswap="outerMorph settle:0ms", ptag="boot1.8", trigger="ran")
    assert response.headers["HX-Reswap"] == "outerMorph settle:0ms"
    assert response.headers["HX-PTag"] == "boot1.8"
    assert response.headers["HX-Trigger"] == "ran"
    assert response.headers["Vary"] == "HX-Request"


def test_a_plain_answer_says_no_more_than_it_must(app: Flask) -> None:
    with app.test_request_context():
        response = htmx.respond(status=304)
    assert response.status_code == 304
    assert not [name for name, _ in response.headers if name.upper().startswith("HX-")]
