"""What keeps the overview fresh: a stream that says "changed", and an answer with what changed since the viewer's version."""

from __future__ import annotations

import gzip
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flask import Blueprint, Response, current_app, render_template
from flask.sansio.blueprints import BlueprintSetupState

from checks.base import Clock
from dashboard.errors import BadFilter
from dashboard.model import CheckView
from dashboard.web import words
from dashboard.web.context import CLOCK_KEY, own_health
from dashboard.web.errors import answer
from dashboard.web.htmx import request, respond
from dashboard.web.overview import Group, Picture, Tag, address
from dashboard.web.pages import asked_bars, overview_face, overview_values
from dashboard.web.services import services
from dashboard.web.stream import Pulse, Streams, signals

blueprint = Blueprint("live", __name__)

KEY = "watchroom live"
KEPT_BODIES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Which parts of the page are out of date. `asked`: another filter, under which groups open and close anew."""

    face: bool = False
    problems: bool = False
    groups: bool = False
    asked: bool = False
    titles: Sequence[Group] = ()
    problem_rows: Sequence[CheckView] = ()
    rows: Sequence[CheckView] = ()


def change_between(before: Tag | None, after: Tag, picture: Picture) -> Change:
    """What to send a viewer who has `before`: single rows where their order still stands, else whole sections."""
    if before is None or (before.boot, before.asked) != (after.boot, after.asked) or before.version > after.version:
        asked = before is not None and before.asked != after.asked
        return Change(face=True, problems=True, groups=True, asked=asked)
    changed = picture.changed_since(before.version)
    face = before.face != after.face
    if picture.groups_version > before.version or len(changed) > 20 + picture.matches // 2:
        return Change(face=face, problems=True, groups=True)
    problems = picture.problems_version > before.version
    return Change(
        face=face,
        problems=problems,
        titles=[] if picture.is_plain else [group for group in picture.groups if group.version > before.version],
        problem_rows=[] if problems else [view for view in changed if words.is_problem(view)],
        rows=changed,
    )


class Bodies:
    """Compressed answers, shared by all viewers who have the same and want the same. Thread-safe; each is made once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, ...], make: Callable[[], str]) -> bytes:
        """The answer of that key as gzip."""
        with self._lock:
            body = self._kept.get(key)
            if body is None:
                body = self._kept[key] = gzip.compress(make().encode(), 1, mtime=0)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT_BODIES:
                self._kept.popitem(last=False)
            return body


@dataclass(frozen=True, slots=True)
class Live:
    """What the live routes of one app share."""

    pulse: Pulse
    streams: Streams
    bodies: Bodies


@blueprint.record_once
def _prepare(state: BlueprintSetupState) -> None:
    state.app.extensions[KEY] = Live(Pulse(), Streams(), Bodies())


def _live() -> Live:
    live: Live = current_app.extensions[KEY]
    return live


@blueprint.get("/live/events")
def events() -> Response:
    """The stream of signals; 503 while too many are open: the page then polls."""
    live, board = _live(), services().board
    clock: Clock = current_app.extensions[CLOCK_KEY]
    if not live.streams.enter():
        return answer(503, "too many streams are open: this page looks again every 15 s", retry_after_s=15)
    response = Response(signals(board, live.pulse, clock), content_type="text/event-stream")
    response.call_on_close(live.streams.leave)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


@blueprint.get("/live/overview")
def overview() -> Response:
    """What changed since the viewer's HX-PTag: 304 for nothing, else partials. A bad filter leaves the last good one."""
    q, bars = request.args.get("q", ""), asked_bars(request.args.get("bars", ""))
    picture, fault = _picture(q)
    values = overview_values(picture, fault, bars=bars)
    is_complete = bool(values["is_complete"])
    tag = Tag.of(picture, own_health(), fault, bars, is_complete=is_complete)
    before = Tag.parse(request.ptag)
    if before == tag and is_complete:
        return respond(status=304, ptag=str(tag))

    def render() -> str:
        return render_template("partials/live.html", change=change_between(before, tag, picture), **values)

    if is_complete:
        key = (str(before), str(tag), picture.asked.text, services().settings.server.zone)
        response = _encoded(_live().bodies.get(key, render), ptag=str(tag))
    else:
        response = _encoded(gzip.compress(render().encode(), 1), ptag=str(tag))
    if before is not None and before.asked != tag.asked:
        response.headers["HX-Replace-Url"] = address(picture.asked.text, bars)
    return response


def _picture(q: str) -> tuple[Picture, str]:
    face, board = overview_face(), services().board.view()
    try:
        return face.pictures.take(board, q), ""
    except BadFilter as error:
        fault = str(error)
    try:
        return face.pictures.take(board, request.shown("q")), fault
    except BadFilter:
        return face.pictures.take(board, ""), fault


def _encoded(body: bytes, *, ptag: str) -> Response:
    takes_gzip = request.accept_encodings["gzip"] > 0
    response = respond(body if takes_gzip else gzip.decompress(body), ptag=ptag)
    if takes_gzip:
        response.content_encoding = "gzip"
    response.vary.add("Accept-Encoding")
    response.headers["Cache-Control"] = "no-store"
    return response
