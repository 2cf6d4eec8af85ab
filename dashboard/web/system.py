"""The page System: how Watchroom itself does, what its store holds, and the little that a person may ask of it."""

from __future__ import annotations

from urllib.parse import quote

import orjson
from flask import Blueprint, Response, abort, current_app, flash, redirect, render_template
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug.wrappers import Response as AnyResponse

from dashboard.errors import BadRequest
from dashboard.model import Inventory
from dashboard.web import inventory, words
from dashboard.web.context import now, own_health
from dashboard.web.errors import wants_page
from dashboard.web.htmx import request, respond
from dashboard.web.inventory import Archived
from dashboard.web.services import services
from dashboard.web.shelf import Shelf

blueprint = Blueprint("system", __name__)

KEY = "watchroom system"
KEEP_S = 5.0  # an inventory reads sizes from the disk


@blueprint.record_once
def _prepare(state: BlueprintSetupState) -> None:
    state.app.extensions[KEY] = Shelf[Inventory](1)


@blueprint.get("/system")
def page() -> str:
    """The whole page."""
    return render_template("system.html", **_shown())


@blueprint.get("/live/system")
def live() -> Response:
    """What changes on the page by itself, for htmx to morph in."""
    return respond(render_template("partials/system_live.html", **_shown()))


@blueprint.get("/system/forget/<check_id>")
def ask_to_forget(check_id: str) -> str:
    """The question before a history is deleted: which check, how many results."""
    return render_template("system_forget.html", check=_archived(check_id))


@blueprint.post("/system/forget")
def forget() -> AnyResponse:
    """Delete the history of a check that is no longer configured. Raises RunRefused."""
    check_id = _named()
    check = _archived(check_id)
    results = services().upkeep.forget(check.id)
    if not wants_page():
        return Response(orjson.dumps({"check_id": check.id, "rows": results}), content_type="application/json")
    flash(f"The history of {check.id} is deleted: {Archived(id=check.id, results=results).amount}.")
    return redirect("/system", 303)


@blueprint.post("/system/compact")
def compact() -> AnyResponse:
    """Begin to compact in the background; again while it runs does nothing."""
    services().upkeep.compact()
    if not wants_page():
        return Response(orjson.dumps({"compacting": True}), 202, content_type="application/json")
    flash("Compacting: results are sealed and merged in the background, and what is no longer kept goes.")
    return redirect("/system", 303)


def _named() -> str:
    """The check that the form or a machine's JSON names. Raises BadRequest."""
    named = request.get_json(silent=True) if request.is_json else {"check_id": request.form.get("check_id")}
    check_id = named.get("check_id") if isinstance(named, dict) else None
    if not isinstance(check_id, str) or not check_id:
        raise BadRequest("check_id: name the check whose history is to be deleted")
    return check_id


def _held() -> Inventory:
    """The inventory; a check more or less is seen at once."""
    shelf: Shelf[Inventory] = current_app.extensions[KEY]
    at_s, key = now().timestamp(), len(services().history.check_ids())
    return shelf.take(key, at_s, services().history.inventory, now_s=at_s, keep_s=KEEP_S)


def _archived(check_id: str) -> Archived:
    """The archived check of that id; 404 where there is none, 409 for one that is configured."""
    if check_id in _configured():
        abort(409, f"The check {check_id[:64]!r} is configured: take it out of the configuration first.")
    found = {each.id: each for each in _archive(services().history.inventory())}
    if check_id not in found:
        abort(404, f"There is no history of a check {check_id[:64]!r}.")
    return found[check_id]


def _archive(held: Inventory) -> list[Archived]:
    return inventory.archived(held, services().history.check_ids(), _configured())


def _configured() -> set[str]:
    return {view.check.id for view in services().board.view().checks}


def _shown() -> dict[str, object]:
    own, held, settings = own_health(), _held(), services().settings
    problems = [*own.troubles, *(f"Configuration: {problem}" for problem in own.config_problems)]
    if shortage := inventory.shortage(held):
        problems.append(shortage)
    return {
        "problems": problems,
        "own_is_told": True,
        "held": held,
        "classes": inventory.class_rows(held),
        "archive": [(each, f"/system/forget/{quote(each.id, safe='')}") for each in _archive(held)],
        "is_compacting": services().upkeep.is_compacting,
        "settings": settings,
        "source": str(settings.source or "none: this machine is watched"),
        "up": words.span(own.uptime_s),
    }
