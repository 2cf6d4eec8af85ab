"""Check now: one function behind the button of a page, a script's POST and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

import orjson
from flask import Blueprint, Response, redirect, render_template
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.wrappers import Response as AnyResponse

from dashboard.errors import BadRequest
from dashboard.model import Result
from dashboard.web.errors import wants_page
from dashboard.web.htmx import request, respond
from dashboard.web.pages import asked_bars, row_values
from dashboard.web.security import asker
from dashboard.web.services import services

blueprint = Blueprint("runs", __name__)

MOST_IDS = 1000


class Wish(BaseModel):
    """The body that a machine sends: which checks (the path may name it), and how long to wait for the results."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: tuple[str, ...] = Field(default=(), max_length=MOST_IDS)
    wait_s: float = Field(default=0.0, ge=0, le=60)


@blueprint.post("/checks/<check_id>/run")
def run_one(check_id: str) -> AnyResponse:
    """Run the check that the path names."""
    wish = _wish()
    return _run([check_id], wish.wait_s, is_one=True)


@blueprint.post("/run")
def run_named() -> AnyResponse:
    """Run the checks that the form or the body names."""
    wish = _wish()
    ids = list(dict.fromkeys((*wish.ids, *request.form.getlist("id"))))
    if not ids or len(ids) > MOST_IDS:
        raise BadRequest(f"id: name 1 to {MOST_IDS} checks to run, got {len(ids)}")
    return _run(ids, wish.wait_s, is_one=len(ids) == 1)


def _wish() -> Wish:
    """What the body asks for; an empty one asks for nothing special. Raises BadRequest."""
    if not request.is_json:
        return Wish()
    try:
        return Wish.model_validate_json(request.get_data() or b"{}")
    except ValidationError as error:
        raise BadRequest(
            "; ".join(_said(each) for each in error.errors(include_url=False, include_input=False))
        ) from error


def _said(fault: ErrorDetails) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where or 'body'}: {fault['msg']}"


def _run(ids: Sequence[str], wait_s: float, *, is_one: bool) -> AnyResponse:
    """Ask for every run, then answer in the asker's language. Raises RunRefused with the first refusal."""
    runs, by = services().runs, asker()
    for check_id in ids:
        services().board.check(check_id)  # refuse a wrong name before any check is asked for
    tickets = [runs.request(check_id, by) for check_id in ids]
    if request.htmx:
        return _rows(ids)
    if wants_page():
        return redirect(_way_back(), 303)
    ended: list[dict[str, object]] = []
    for ticket in tickets:
        result = runs.result(ticket, wait_s) if wait_s > 0 else None
        waiting = {"check_id": ticket.check_id, "phase": ticket.phase, "joined": ticket.joined}
        ended.append(waiting if result is None else as_json(result))
    status = 202 if any("phase" in each for each in ended) else 200
    return Response(orjson.dumps(ended[0] if is_one else {"runs": ended}), status, content_type="application/json")


def _rows(ids: Sequence[str]) -> Response:
    """The rows of these checks as they are now: their buttons say queued or running."""
    board, values = services().board, row_values(asked_bars(request.shown("bars")))
    return respond(render_template("partials/rows.html", views=[board.check(check_id) for check_id in ids], **values))


def _way_back() -> str:
    """The page of ours that the form was on. Browsers read a backslash as a slash and leave out tabs and line ends."""
    back = request.form.get("back", "/")
    is_ours = back.startswith("/") and not back.startswith("//") and back.isprintable() and "\\" not in back
    return back if is_ours else "/"


def as_json(result: Result) -> dict[str, object]:
    """A result as scripts read it: the columns of an export."""
    return {
        "check_id": result.check_id,
        "at": result.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "status": result.status.word,
        "summary": result.summary,
        "duration_s": result.duration_s,
        "trigger": result.trigger,
        "by": result.by,
        "worker": result.worker,
        "metrics": dict(result.metrics),
    }
