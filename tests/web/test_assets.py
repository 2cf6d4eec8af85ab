"""Static files: found, cached, compressed, pinned; and what pages answer is compressed too."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import orjson
import pytest
from fakes import FakeClock, FakeServices, sample_services
from flask import Flask, Response
from flask.testing import FlaskClient

from dashboard import create_app
from dashboard.web.assets import Assets
from dashboard.web.configuration import Test

ROOT = Path(__file__).parents[2]
VENDOR = ROOT / "static" / "vendor"
GZIP = {"Accept-Encoding": "br, gzip;q=0.8"}


def app_over(services: FakeServices) -> Flask:
    return create_app(services.settings, services, configuration=Test, clock=FakeClock())


@pytest.fixture
def client() -> FlaskClient:
    return app_over(FakeServices()).test_client()


def url(name: str) -> str:
    return Assets(ROOT / "static").url(name)


def test_an_asset_under_its_hash_is_kept_for_ever(client: FlaskClient) -> None:
    answer = client.get(url("css/app.css"))
    assert answer.data == (ROOT / "static/css/app.css").read_bytes()
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize("query", ["", "?v=", "?v=0123456789ab"])
def test_an_asset_under_another_address_is_asked_for_again(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/static/css/app.css{query}")
    assert answer.headers["Cache-Control"] == "no-cache"
    again = client.get(f"/static/css/app.css{query}", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304
    assert again.data == b""


def test_text_travels_compressed_and_pictures_do_not_grow(client: FlaskClient) -> None:
    whole, small = client.get(url("css/app.css")), client.get(url("css/app.css"), headers=GZIP)
    assert small.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(small.data) == whole.data
    assert "Content-Encoding" not in whole.headers
    assert whole.headers["Vary"] == small.headers["Vary"] == "Accept-Encoding"
    assert whole.headers["ETag"] != small.headers["ETag"]


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    assets = Assets(tmp_path)
    (tmp_path / "a.js").write_text("2")
    version = hashlib.sha256(b"2").hexdigest()[:12]
    assert assets.url("a.js") == f"/static/a.js?v={version}"


def test_a_changed_asset_gets_a_new_address_while_developing(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    kept, reloaded = Assets(tmp_path), Assets(tmp_path, reload=True)
    before = (kept.url("a.js"), reloaded.url("a.js"))
    (tmp_path / "a.js").write_text("2")
    assert kept.url("a.js") == before[0]
    assert reloaded.url("a.js") != before[1]


@pytest.mark.parametrize(
    "name",
    [
        "../run.py",
        "..%2frun.py",
        "css/../../pyproject.toml",
        "%2e%2e/pyproject.toml",
        "css",
        "",
        "nope.js",
        "/etc/passwd",
    ],
)
def test_only_files_of_the_folder_are_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/static/{name}").status_code in (308, 404)


def test_every_asset_that_a_template_names_exists() -> None:
    answer = app_over(sample_services(count=8)).test_client()
    for path in ("/", "/exports", "/checks/storefront", "/nowhere"):
        page = answer.get(path, headers={"Accept": "text/html"}).text
        for address in {part.split('"')[0] for part in page.split('"/static/')[1:]}:
            assert answer.get(f"/static/{address}").status_code == 200, address


def test_vendored_files_are_those_that_were_pinned() -> None:
    pinned = {
        name: digest for digest, name in (line.split("  ") for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    }
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.iterdir()
        if path.name != "SHA256SUMS"
    }
    assert found == pinned


def test_every_vendored_script_has_its_licence_beside_it() -> None:
    package = {"hx-sse": "htmx", "hx-ptag": "htmx"}  # the extensions come in the htmx package
    scripts = [path.name.removesuffix(".min.js") for path in VENDOR.glob("*.js")]
    assert scripts
    for script in scripts:
        name, _, version = script.rpartition("-")
        assert (VENDOR / f"{package.get(name, name)}-{version}.LICENSE").is_file(), script


def test_a_page_travels_compressed_where_the_browser_takes_it() -> None:
    client = app_over(sample_services(count=30)).test_client()
    whole, small = client.get("/"), client.get("/", headers=GZIP)
    assert small.headers["Content-Encoding"] == "gzip"
    assert int(small.headers["Content-Length"]) == len(small.data) < len(whole.data) / 3
    assert b"Needs attention" in gzip.decompress(small.data)
    assert "Accept-Encoding" in whole.headers["Vary"]
    assert "Content-Encoding" not in client.get("/", headers={"Accept-Encoding": "gzip;q=0, br"}).headers


def test_streams_small_answers_and_compressed_ones_stay_as_they_are() -> None:
    app = app_over(FakeServices())
    body = b"[" + b"1," * 2000 + b"1]"
    packed = gzip.compress(body)

    @app.get("/stream")
    def stream() -> Response:
        return Response(iter([b"data: x\n\n" * 500]), content_type="text/event-stream")

    @app.get("/packed")
    def packed_already() -> Response:
        return Response(packed, content_type="application/json", headers={"Content-Encoding": "gzip"})

    @app.get("/csv")
    def csv() -> Response:
        return Response(body, content_type="text/csv")

    @app.get("/json")
    def json() -> Response:
        response = Response(body, content_type="application/json")
        response.set_etag("one")
        return response

    client = app.test_client()
    for path in ("/stream", "/csv", "/healthz"):
        assert "Content-Encoding" not in client.get(path, headers=GZIP).headers, path
    assert client.get("/packed", headers=GZIP).data == packed
    answer = client.get("/json", headers=GZIP)
    assert orjson.loads(gzip.decompress(answer.data)) == [1] * 2001
    assert answer.headers["ETag"] == 'W/"one"'
