"""What Flask is told, and the key that signs cookies."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeServices

from dashboard import create_app
from dashboard.errors import StoreUnavailable, WatchroomError
from dashboard.web.configuration import Development, Production, Test, secret_key
from dashboard.web.server import WebServer


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHROOM_SECRET_KEY", raising=False)
    monkeypatch.delenv("FLASK_DEBUG", raising=False)


def services_in(data: Path) -> FakeServices:
    services = FakeServices()
    services.settings = replace(services.settings, data=data)
    return services


def test_the_key_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    key = secret_key(tmp_path / "data")
    file = tmp_path / "data" / "secret.key"
    assert len(key) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    assert secret_key(tmp_path / "data") == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret.key"]


def test_a_damaged_key_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("short\n")
    assert len(secret_key(tmp_path)) == 64


def test_a_given_key_is_used_and_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHROOM_SECRET_KEY", "given by the operator")
    services = services_in(tmp_path)
    assert create_app(services.settings, services).secret_key == "given by the operator"
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_cannot_be_kept_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the directory should be")
    with pytest.raises(StoreUnavailable, match="cannot keep the secret key"):
        secret_key(tmp_path / "data")


def test_two_servers_on_one_host_do_not_share_a_cookie(tmp_path: Path) -> None:
    services = services_in(tmp_path)
    app = create_app(services.settings, services)
    assert app.config["SESSION_COOKIE_NAME"] == "watchroom_8000"


def test_production_refuses_debug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services = services_in(tmp_path)
    app = create_app(services.settings, services, configuration=Production)
    assert not app.debug
    app.debug = True
    with pytest.raises(WatchroomError, match="debug"):
        WebServer(app, "127.0.0.1", 0)
    monkeypatch.setenv("FLASK_DEBUG", "1")
    with pytest.raises(WatchroomError, match="FLASK_DEBUG"):
        create_app(services.settings, services)


def test_development_may_debug_and_reads_templates_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_DEBUG", "1")
    services = services_in(tmp_path)
    app = create_app(services.settings, services, configuration=Development)
    assert app.config["TEMPLATES_AUTO_RELOAD"]


@pytest.mark.parametrize("configuration", [Production, Development, Test])
def test_bodies_and_forms_are_bounded_everywhere(tmp_path: Path, configuration: type[Production]) -> None:
    services = services_in(tmp_path)
    config = create_app(services.settings, services, configuration=configuration).config
    assert config["MAX_CONTENT_LENGTH"] == 1024 * 1024
    assert config["MAX_FORM_PARTS"] == 1000
