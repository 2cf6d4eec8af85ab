"""What a request that failed is told: a page for people, JSON for machines, never a traceback."""

from __future__ import annotations

import logging
import math

import orjson
from flask import Flask, Response, render_template, request
from markupsafe import escape
from werkzeug.exceptions import HTTPException, InternalServerError

from dashboard.errors import (
    BadFilter,
    BadRequest,
    ProberDown,
    RunRefused,
    StoreError,
    TooSoon,
    UnknownCheck,
    WatchroomError,
)

log = logging.getLogger(__name__)

_STATUS_OF: tuple[tuple[type[WatchroomError], int], ...] = (
    (UnknownCheck, 404),
    (TooSoon, 429),
    (ProberDown, 503),
    (RunRefused, 409),
    (BadFilter, 400),
    (BadRequest, 400),
    (StoreError, 503),
    (WatchroomError, 500),
)
_TITLES = {
    400: "That cannot be understood",
    401: "That token is not ours",
    403: "Not from there",
    404: "Not here",
    405: "Not that way",
    409: "Not now",
    413: "Too large",
    429: "Too soon",
    500: "Our fault",
    503: "Not right now",
}
_SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not take such a request.",
    413: "The request is larger than 1 MB.",
    500: "Something inside Watchroom failed. Its log says what; the checks go on.",
}


def attach(app: Flask) -> None:
    """Answer every error in the asker's language."""
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(WatchroomError, _answer_ours)


def wants_page() -> bool:
    """Whether a person's browser asks: it says that it takes HTML."""
    return "text/html" in request.headers.get("Accept", "") and not request.path.startswith("/healthz")


def answer(status: int, message: str, *, retry_after_s: float = 0.0) -> Response:
    """The error as a page or as JSON; `message` is one sentence fit for a person."""
    if wants_page():
        response = Response(_page(status, message), status, content_type="text/html; charset=utf-8")
    else:
        response = Response(orjson.dumps({"error": message}), status, content_type="application/json")
    if retry_after_s > 0:
        response.headers["Retry-After"] = str(math.ceil(retry_after_s))
    response.vary.add("Accept")
    return response


def _answer_http(error: HTTPException) -> Response:
    if error.response is not None or error.code is None or error.code < 400:
        return Response(error.get_body(), error.code, error.get_headers())
    is_ours = error.description != type(error).description and not isinstance(error, InternalServerError)
    message = str(error.description) if is_ours else _SENTENCES.get(error.code, error.name)
    response = answer(error.code, message)
    for name, value in error.get_headers():
        if name in ("Allow", "WWW-Authenticate"):
            response.headers[name] = value
    return response


def _answer_ours(error: WatchroomError) -> Response:
    status = next(status for kind, status in _STATUS_OF if isinstance(error, kind))
    return answer(status, str(error), retry_after_s=error.retry_after_s if isinstance(error, TooSoon) else 0.0)


def _page(status: int, message: str) -> str:
    title = _TITLES.get(status, "That did not work")
    try:
        return render_template("error.html", status=status, title=title, message=message)
    except Exception:
        log.exception("the error page itself failed")
        return f"<!doctype html><html lang=en><title>{status}</title><h1>{escape(title)}</h1><p>{escape(message)}</p>"
