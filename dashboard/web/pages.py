"""The overview: problems first, then every check in its group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from zoneinfo import ZoneInfo

from flask import Blueprint, current_app, render_template
from flask.sansio.blueprints import BlueprintSetupState
from markupsafe import Markup

from dashboard.engine.quarter import Quarters
from dashboard.errors import BadFilter, BadRequest
from dashboard.model import CheckView
from dashboard.web import fragments, words
from dashboard.web.context import CLOCK_KEY, now, own_health
from dashboard.web.htmx import request
from dashboard.web.overview import BARS, KINDS, Group, Picture, Pictures, Tag, address, ratio
from dashboard.web.services import KEY as SERVICES_KEY
from dashboard.web.services import services

blueprint = Blueprint("pages", __name__)

KEY = "watchroom overview"


@dataclass(frozen=True, slots=True)
class Face:
    """What the overview of one app remembers between requests."""

    pictures: Pictures
    rows: fragments.Rows
    quarters: Quarters


def overview_face() -> Face:
    """The app's own."""
    face: Face = current_app.extensions[KEY]
    return face


@blueprint.record_once
def _prepare(state: BlueprintSetupState) -> None:
    """Teach templates our words."""
    environment = state.app.jinja_env
    quarters = Quarters(state.app.extensions[SERVICES_KEY].history, state.app.extensions[CLOCK_KEY])
    state.app.extensions[KEY] = Face(Pictures(), fragments.Rows(environment), quarters)
    environment.filters |= {
        "span": words.span,
        "percent": words.percent,
        "measure": words.measure,
        "plural": words.plural,
        "digits": words.digits,
        "counted": words.counted,
        "stamp": lambda at: f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "clock": lambda at, zone: words.clock(at, ZoneInfo(zone)),
        "moment": lambda at, zone: words.moment(at, ZoneInfo(zone)),
        "place": lambda zone, at: words.place(ZoneInfo(zone), at),
        "time_of_day": lambda at, zone, today: words.time_of_day(at, ZoneInfo(zone), today),
    }


@blueprint.get("/")
def overview() -> tuple[str, int]:
    """The page; a filter that cannot be understood shows all checks and says what is wrong."""
    q, bars = request.args.get("q", ""), asked_bars(request.args.get("bars", ""))
    board, face, fault = services().board.view(), overview_face(), ""
    try:
        picture = face.pictures.take(board, q)
    except BadFilter as error:
        picture, fault = face.pictures.take(board, ""), str(error)
    known = {view.check.id for view in board.checks}
    face.rows.forget_all_but(known)
    face.quarters.forget_all_but(known)
    values = overview_values(picture, fault, q=q, bars=bars)
    page = render_template(
        "overview.html",
        tag=Tag.of(picture, own_health(), fault, bars, is_complete=bool(values["is_complete"])),
        polls=request.args.get("live") == "poll",
        worst=picture.worst,
        **values,
    )
    return page, 400 if fault else 200


def asked_bars(text: str) -> str:
    """What the bars are to show. Raises BadRequest."""
    if text and text not in BARS:
        raise BadRequest(f"bars: must be {' or '.join(BARS)}, got {text[:64]!r}")
    return text or BARS[0]


def overview_values(
    picture: Picture, fault: str = "", *, q: str | None = None, bars: str = BARS[0]
) -> dict[str, object]:
    """What the overview's partials need: one set for the page and for what is sent later."""
    shown = [view for group in picture.groups for view in group.views]
    return {
        **row_values(bars, shown),
        "picture": picture,
        "fault": fault,
        "q": picture.asked.text if q is None else q,
        "kinds": KINDS,
        "kind_words": {"broken": "config error", "never": "never run"},
        "map": fragments.group_map,
        "source": services().settings.source,
    }


def row_values(bars: str = BARS[0], shown: Iterable[CheckView] = ()) -> dict[str, object]:
    """What a template needs to place rows: `row(kind, view)`; to link to the same bars: `address(q)`; and `ratio(group)`.

    `is_complete` is False while the bars of some shown checks are still to be read.
    """
    face, zone, at = overview_face(), ZoneInfo(services().settings.server.zone), now()
    look = face.quarters.look(at, zone) if bars == "90d" else None
    if look is not None:
        look.prepare(shown)

    def row(kind: str, view: CheckView) -> Markup:
        return face.rows.render(kind, view, zone, at, quarter=look.of(view) if look else None)

    def ratio_of(group: Group) -> float | None:
        return ratio(look.of(view).uptime if look else view.uptime for view in group.views)

    return {
        "row": row,
        "ratio": ratio_of,
        "bars": bars,
        "address": lambda q="", bars=bars: address(q, bars),
        "is_complete": look is None or look.is_complete,
    }
