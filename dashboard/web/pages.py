"""The overview: problems first, then every check in its group."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from zoneinfo import ZoneInfo

from flask import Blueprint, current_app, render_template
from flask.sansio.blueprints import BlueprintSetupState
from markupsafe import Markup

from dashboard.errors import BadFilter
from dashboard.model import CheckView
from dashboard.web import fragments, words
from dashboard.web.context import now, own_health
from dashboard.web.htmx import request
from dashboard.web.overview import KINDS, Picture, Pictures, Tag
from dashboard.web.services import services

blueprint = Blueprint("pages", __name__)

KEY = "watchroom overview"


@dataclass(frozen=True, slots=True)
class Face:
    """What the overview of one app remembers between requests."""

    pictures: Pictures
    rows: fragments.Rows


def overview_face() -> Face:
    """The app's own."""
    face: Face = current_app.extensions[KEY]
    return face


@blueprint.record_once
def _prepare(state: BlueprintSetupState) -> None:
    """Teach templates our words."""
    environment = state.app.jinja_env
    state.app.extensions[KEY] = Face(Pictures(), fragments.Rows(environment))
    environment.filters |= {
        "span": words.span,
        "percent": words.percent,
        "measure": words.measure,
        "plural": words.plural,
        "stamp": lambda at: f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "clock": lambda at, zone: words.clock(at, ZoneInfo(zone)),
        "moment": lambda at, zone: words.moment(at, ZoneInfo(zone)),
        "place": lambda zone, at: words.place(ZoneInfo(zone), at),
        "time_of_day": lambda at, zone, today: words.time_of_day(at, ZoneInfo(zone), today),
    }


@blueprint.get("/")
def overview() -> tuple[str, int]:
    """The page; a filter that cannot be understood shows all checks and says what is wrong."""
    q = request.args.get("q", "")
    board, fault = services().board.view(), ""
    try:
        picture = overview_face().pictures.take(board, q)
    except BadFilter as error:
        picture, fault = overview_face().pictures.take(board, ""), str(error)
    overview_face().rows.forget_all_but({view.check.id for view in board.checks})
    page = render_template(
        "overview.html",
        tag=Tag.of(picture, own_health(), fault),
        polls=request.args.get("live") == "poll",
        worst=picture.worst,
        **overview_values(picture, fault, q=q),
    )
    return page, 400 if fault else 200


def overview_values(picture: Picture, fault: str = "", *, q: str | None = None) -> dict[str, object]:
    """What the overview's partials need: one set for the page and for what is sent later."""
    return {
        **row_values(),
        "picture": picture,
        "fault": fault,
        "q": picture.asked.text if q is None else q,
        "kinds": KINDS,
        "kind_words": {"broken": "config error", "never": "never run"},
        "map": fragments.group_map,
        "source": services().settings.source,
    }


def row_values() -> dict[str, object]:
    """What a template needs to place rows: `row(kind, view)`."""
    face, zone, at = overview_face(), ZoneInfo(services().settings.server.zone), now()

    def row(kind: str, view: CheckView) -> Markup:
        return face.rows.render(kind, view, zone, at)

    return {"row": row}
