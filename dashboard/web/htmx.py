"""The one module that knows htmx_flask, which speaks htmx 2; what htmx 4 says otherwise is put right here."""

from __future__ import annotations

from typing import cast
from urllib.parse import parse_qs, urlsplit

import flask
from flask import Flask, Response
from htmx_flask import Htmx, make_response
from htmx_flask.requests import HtmxAwareRequest


class DashboardRequest(HtmxAwareRequest):  # type: ignore[misc]  # the library carries no types
    """A request with `.htmx` (true when htmx sent it) and what htmx 4 says of itself."""

    @property
    def source_id(self) -> str:
        """The id of the element that asked; empty when it has none. htmx 4 sends `HX-Source: tag#id`."""
        return _element_id(self.headers.get("HX-Source", ""))

    @property
    def target_id(self) -> str:
        """The id of the element that the answer is for; empty when it has none."""
        return _element_id(self.headers.get("HX-Target", ""))

    @property
    def ptag(self) -> str:
        """The version of what the asking element shows; empty when it shows none."""
        return str(self.headers.get("HX-PTag", ""))

    def shown(self, name: str) -> str:
        """A parameter of the address that the viewer's browser shows; empty when it has none."""
        address: str = self.headers.get("HX-Current-URL", "")
        return parse_qs(urlsplit(address).query).get(name, [""])[0]


request = cast(DashboardRequest, flask.request)


def attach(app: Flask) -> None:
    """Give the app's requests what DashboardRequest promises."""
    Htmx().init_app(app)
    app.request_class = DashboardRequest  # after init_app, which puts its own in place


def respond(
    body: str | bytes = "",
    status: int = 200,
    *,
    reswap: str = "",
    ptag: str = "",
    retarget: str | None = None,
    trigger: str | None = None,
    push_url: str | None = None,
    redirect: str | None = None,
) -> Response:
    """An answer to htmx. `reswap` takes htmx 4's words, modifiers included; `ptag` is the version that the body shows."""
    response = cast(
        Response,
        make_response(body, status, retarget=retarget, trigger=trigger, push_url=push_url, redirect=redirect),
    )
    if reswap:
        response.headers["HX-Reswap"] = reswap
    if ptag:
        response.headers["HX-PTag"] = ptag
    response.vary.add("HX-Request")
    return response


def _element_id(header: str) -> str:
    return header.partition("#")[2]
