"""Hosts, origins, tokens, headers: what docs/security.md promises of every request."""

from __future__ import annotations

from dataclasses import replace
from http.cookies import SimpleCookie

import pytest
from fakes import FakeClock, FakeServices, make_check, sample_services
from flask import Flask, Response
from flask.testing import FlaskClient

from dashboard import create_app
from dashboard.errors import WatchroomError
from dashboard.model import Server, Settings
from dashboard.web.configuration import Test
from dashboard.web.security import TOKEN_KEY, asker, refuse_open_bind

MACHINE = {"Authorization": "Bearer s3cret-token"}


def app_over(services: FakeServices) -> Flask:
    app = create_app(services.settings, services, configuration=Test, clock=FakeClock())
    app.config[TOKEN_KEY] = "s3cret-token"
    return app


@pytest.fixture
def services() -> FakeServices:
    return FakeServices([make_check("api")])


@pytest.fixture
def client(services: FakeServices) -> FlaskClient:
    return app_over(services).test_client()


def token_of(client: FlaskClient) -> str:
    with client.session_transaction() as session:
        session["csrf"] = "a-token"
    return "a-token"


@pytest.mark.parametrize("path", ["/", "/healthz", "/nowhere", "/export", "/exports", "/static/css/app.css"])
def test_every_answer_carries_the_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    assert "script-src 'self';" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"]


@pytest.mark.parametrize(
    ("host", "server", "status"),
    [
        ("localhost", {}, 200),
        ("LOCALHOST:8000", {}, 200),
        ("127.0.0.1:8000", {}, 200),
        ("127.8.9.1", {}, 200),
        ("[::1]:8000", {}, 200),
        ("localhost.", {}, 200),
        ("evil.example", {}, 400),
        ("localhost.evil.example", {}, 400),
        ("127.0.0.1.evil.example", {}, 400),
        ("evil.example:8000@localhost", {}, 400),
        ("localhost/evil.example", {}, 400),
        ("10.0.0.5", {}, 400),
        ("", {}, 400),
        ("[::1", {}, 400),
        ("watch.internal", {"allowed_hosts": ("Watch.internal",)}, 200),
        ("other.internal", {"allowed_hosts": ("watch.internal",)}, 400),
        ("watch.internal", {"host": "watch.internal"}, 200),
        ("10.0.0.5:8000", {"host": "0.0.0.0", "access": "open"}, 200),
        ("evil.example", {"host": "0.0.0.0", "access": "open"}, 400),
    ],
)
def test_only_our_own_names_are_answered(host: str, server: dict[str, object], status: int) -> None:
    services = FakeServices(server=Server(**server))  # type: ignore[arg-type]
    client = app_over(services).test_client()
    assert client.get("/healthz", environ_overrides={"HTTP_HOST": host}).status_code == status


def test_a_refused_host_says_the_way_out(client: FlaskClient) -> None:
    answer = client.get("/", headers={"Host": "evil.example"})
    assert "server.allowed_hosts" in answer.json["error"]  # type: ignore[index]


def test_a_reload_changes_the_allowed_hosts(services: FakeServices, client: FlaskClient) -> None:
    assert client.get("/healthz", headers={"Host": "watch.internal"}).status_code == 400
    services.settings = replace(services.settings, server=Server(allowed_hosts=("watch.internal",)))
    assert client.get("/healthz", headers={"Host": "watch.internal"}).status_code == 200


def post(client: FlaskClient, token: str = "", **headers: str) -> Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/run", data={"id": "api", "csrf_token": token}, headers=sent)


def test_a_form_of_ours_may_write(client: FlaskClient, services: FakeServices) -> None:
    assert post(client, token_of(client), Origin="http://localhost", Sec_Fetch_Site="same-origin").status_code < 400
    assert services.runs.asked == [("api", "local")]


def test_the_token_may_come_as_a_header(client: FlaskClient, services: FakeServices) -> None:
    answer = client.post("/run", data={"id": "api"}, headers={"X-CSRF-Token": token_of(client)})
    assert answer.status_code < 400
    assert services.runs.asked


def test_plain_http_sends_a_null_origin_and_the_token_decides(client: FlaskClient, services: FakeServices) -> None:
    assert post(client, token_of(client), Origin="null").status_code < 400
    assert post(client, "wrong", Origin="null").status_code == 403
    assert len(services.runs.asked) == 1


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        ("", {}),
        ("wrong", {}),
        ("wröng", {}),
        ("a-token", {"Sec_Fetch_Site": "cross-site"}),
        ("a-token", {"Sec_Fetch_Site": "same-site"}),
        ("a-token", {"Origin": "http://evil.example"}),
        ("a-token", {"Origin": "http://localhost:9999"}),
        ("a-token", {"Sec_Fetch_Site": "cross-site", "Origin": "http://localhost"}),
    ],
)
def test_a_foreign_write_is_refused(
    client: FlaskClient, services: FakeServices, token: str, headers: dict[str, str]
) -> None:
    token_of(client)
    assert post(client, token, **headers).status_code == 403
    assert services.runs.asked == []


def test_without_a_session_no_token_fits(client: FlaskClient, services: FakeServices) -> None:
    assert post(client, "").status_code == 403
    assert services.runs.asked == []


@pytest.mark.parametrize(
    ("headers", "who"),
    [({}, "cli"), ({"X-Watchroom-By": "mara"}, "cli:mara"), ({"X-Watchroom-By": "m.k@ops-1"}, "cli:m.k@ops-1")],
)
def test_a_machine_with_the_token_needs_no_form(
    client: FlaskClient, services: FakeServices, headers: dict[str, str], who: str
) -> None:
    assert client.post("/run", data={"id": "api"}, headers=MACHINE | headers).status_code < 400
    assert services.runs.asked == [("api", who)]


@pytest.mark.parametrize("name", ["<b>", "a b", "x" * 65, "ü", "a\tb"])
def test_a_machine_cannot_sign_with_any_text(client: FlaskClient, services: FakeServices, name: str) -> None:
    answer = client.post("/run", data={"id": "api"}, headers=MACHINE | {"X-Watchroom-By": name})
    assert answer.status_code == 400
    assert "X-Watchroom-By" in answer.json["error"]  # type: ignore[index]
    assert services.runs.asked == []


@pytest.mark.parametrize("token", ["", "wrong", "s3cret-token-and-more", "ü"])
def test_a_wrong_machine_token_is_refused(client: FlaskClient, services: FakeServices, token: str) -> None:
    given = {"Authorization": f"Bearer {token}"}
    assert client.post("/run", data={"id": "api"}, headers=given).status_code == 401
    assert services.runs.asked == []


def test_no_token_is_right_where_the_server_has_none(services: FakeServices) -> None:
    app = app_over(services)
    app.config[TOKEN_KEY] = ""
    answer = app.test_client().post("/run", data={"id": "api"}, headers={"Authorization": "Bearer "})
    assert answer.status_code == 401


def test_the_session_cookie_is_closed_to_scripts_and_other_sites(client: FlaskClient) -> None:
    cookie = SimpleCookie(client.get("/").headers["Set-Cookie"])["watchroom_8000"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_the_pages_form_carries_the_token_of_its_session(client: FlaskClient) -> None:
    page = client.get("/").text
    with client.session_transaction() as session:
        assert f'value="{session["csrf"]}"' in page


def test_whoever_shows_no_token_is_local(services: FakeServices) -> None:
    with app_over(services).test_request_context("/"):
        assert asker() == "local"


def test_reading_never_changes_anything() -> None:
    services = sample_services(count=8)
    app = app_over(services)
    client = app.test_client()
    before = (services.history.revision, services.board.version, services.settings)
    services.board.wake()  # streams end at once
    swept = set()
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()):
            continue
        values = {"check_id": "storefront", "name": "css/app.css"}
        with app.test_request_context():
            path = app.url_for(rule.endpoint, **{name: values[name] for name in rule.arguments})
        for method in ("GET", "HEAD", "OPTIONS"):
            answer = client.open(f"{path}?id=storefront&run=1&live=poll", method=method)
            answer.close()
        swept.add(rule.endpoint)
    assert {"pages.overview", "export.download", "api.healthz", "check.page", "static"} <= swept
    assert services.runs.asked == []
    assert (services.history.revision, services.board.version, services.settings) == before


def test_every_writing_route_refuses_a_write_without_token(services: FakeServices) -> None:
    app = app_over(services)
    writing = [rule for rule in app.url_map.iter_rules() if (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}]
    assert writing
    for rule in writing:
        with app.test_request_context():
            path = app.url_for(rule.endpoint, **dict.fromkeys(rule.arguments, "api"))
        assert app.test_client().post(path).status_code == 403, path


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_may_be_served(host: str) -> None:
    refuse_open_bind(Settings(server=Server(host=host)))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "watch.internal", ""])
def test_more_than_loopback_needs_a_word(host: str) -> None:
    refuse_open_bind(Settings(server=Server(host=host, access="open")))
    with pytest.raises(WatchroomError, match="access: open"):
        refuse_open_bind(Settings(server=Server(host=host)))


def test_open_access_is_said_on_every_page() -> None:
    services = FakeServices([make_check("api")], server=Server(host="0.0.0.0", access="open"))
    client = app_over(services).test_client()
    for path in ("/", "/exports", "/checks/api", "/nowhere"):
        assert "Open access" in client.get(path, headers={"Accept": "text/html"}).text, path
    services.settings = replace(services.settings, server=Server())
    assert "Open access" not in client.get("/").text
