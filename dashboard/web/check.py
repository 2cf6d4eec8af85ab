"""The page of one check: why it is as it is, its charts, its uptime, its run log."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from urllib.parse import quote, urlencode

from flask import Blueprint, Response, abort, current_app, render_template
from flask.sansio.blueprints import BlueprintSetupState

from dashboard.engine.export import find_zone
from dashboard.errors import BadRequest, UnknownCheck
from dashboard.model import BrokenCheck, Check, CheckView
from dashboard.web import charts, evidence, metrics, words
from dashboard.web.context import now, own_health
from dashboard.web.evidence import LogRow
from dashboard.web.fragments import Row
from dashboard.web.htmx import request, respond
from dashboard.web.past import Past
from dashboard.web.period import PRESETS, Period, parse, short, standard
from dashboard.web.services import services
from dashboard.web.shelf import Shelf
from dashboard.web.uptime_bars import UptimeBar, UptimeFigure, uptime_figure, uptimes

blueprint = Blueprint("check", __name__)

KEY = "watchroom check"
KEEP_S = 60.0  # so long a picture of more than two days is good enough
LOG_ROWS = 50
LONGEST_TRAIL = 40  # pages back that "newer" can still retrace
NO_LONGER_CONFIGURED = "this check is no longer in the configuration; what was recorded stays until its retention ends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One page of the run log, newest first. An address is empty where there is nothing to go to."""

    rows: Sequence[LogRow]
    bad_only: bool
    is_newest: bool
    newer_url: str
    older_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the address of a check page asks for. `cursors` are the log's pages from the newest to the one shown."""

    check_id: str
    period: Period
    zone: tzinfo
    bad_only: bool = False
    cursors: tuple[int, ...] = ()

    def url(
        self,
        *,
        period: str = "",
        bad_only: bool | None = None,
        cursors: tuple[int, ...] = (),
        base: str = "/checks/",
        suffix: str = "",
    ) -> str:
        """The address of this page with something changed; `period` names a preset."""
        bad_only = self.bad_only if bad_only is None else bad_only
        query = list({"range": period}.items() if period else self.period.query(self.zone).items())
        query += [("log", "failures")] if bad_only else []
        query += [("before", str(cursor)) for cursor in cursors[-LONGEST_TRAIL:]]
        return f"{base}{quote(self.check_id, safe='')}{suffix}" + (f"?{urlencode(query)}" if query else "")


@dataclass(frozen=True, slots=True)
class Kept:
    """What the check pages of one app share: figures as JSON, and uptimes in words."""

    figures: Shelf[bytes]
    uptimes: Shelf[tuple[list[UptimeFigure], UptimeBar]]


@blueprint.record_once
def _prepare(state: BlueprintSetupState) -> None:
    state.app.extensions[KEY] = Kept(Shelf(64), Shelf(512))


@blueprint.get("/checks/<check_id>")
def page(check_id: str) -> Response:
    """The whole page. A range that cannot be understood is answered in its form, with status 400."""
    view, at, zone = _view(check_id), now(), _zone()
    fault = ""
    try:
        asked = _asked(view, at, zone)
    except BadRequest as error:
        fault = str(error)
        asked = Asked(check_id=check_id, period=standard(at), zone=zone)
    past = _past(view, at, zone)
    whole = past.whole(asked.period)
    panels = metrics.panels(whole.metrics, view.units, headline=_headline(view))
    body = render_template(
        "check.html",
        **_shown(view, asked, at),
        panels=panels,
        numbers=[each for panel in panels for each in metrics.numbers(panel, whole.metrics)],
        fault=fault,
        form=_form(asked, keep=bool(fault)),
        presets=[(name, short(name), asked.url(period=name)) for name in PRESETS],
        has_results=sum(whole.runs) > 0,
        point=past.point(asked.period),
        draws_slots=not past.draws_results(asked.period),
        refresh_s=KEEP_S if asked.period.is_long else 10,
        tag=_tag(view),
        polls=request.args.get("live") == "poll",
    )
    return respond(body, 400 if fault else 200)


@blueprint.get("/live/check/<check_id>")
def live(check_id: str) -> Response:
    """What changes on the page by itself, for htmx to morph in; 304 while the viewer has the newest."""
    view, at, zone = _view(check_id), now(), _zone()
    tag = _tag(view)
    if request.ptag == tag:
        return respond(status=304, ptag=tag)
    asked = _asked(view, at, zone)
    return respond(render_template("partials/check_live.html", **_shown(view, asked, at)), ptag=tag)


@blueprint.get("/checks/<check_id>/charts.json")
def figures(check_id: str) -> Response:
    """The charts of the page as Plotly figures; 304 while nothing was recorded since, or for a minute where the range is long."""
    view, at, zone = _view(check_id), now(), _zone()
    period, shelf = _asked(view, at, zone).period, _kept().figures
    key, kept = (
        (check_id, period.key, str(zone)),
        {"now_s": at.timestamp(), "keep_s": KEEP_S if period.is_long else 0.0},
    )
    version = shelf.version(key, view.version, **kept)
    response = Response(content_type="application/json")
    response.set_etag(f"{services().board.view().boot}.{version}.{period.key}.{zone}", weak=True)
    response.headers["Cache-Control"] = "private, no-cache"
    if request.if_none_match.contains_weak(response.get_etag()[0] or ""):
        response.status_code = 304
        return response
    response.set_data(shelf.take(key, view.version, lambda: _figures(view, period, at, zone), **kept))
    return response


def _figures(view: CheckView, period: Period, at: datetime, zone: tzinfo) -> bytes:
    return charts.figures(
        _past(view, at, zone).measured(period),
        period=period,
        zone=zone,
        units=view.units,
        thresholds=view.check.thresholds if isinstance(view.check, Check) else {},
        headline=_headline(view),
    )


def _kept() -> Kept:
    kept: Kept = current_app.extensions[KEY]
    return kept


def _past(view: CheckView, at: datetime, zone: tzinfo) -> Past:
    own = view.check.retention if isinstance(view.check, Check) else None
    return Past(
        history=services().history, view=view, retention=own or services().settings.retention, now=at, zone=zone
    )


def _uptimes(
    view: CheckView, period: Period, at: datetime, zone: tzinfo
) -> tuple[list[UptimeFigure], UptimeBar | None]:
    """The figures and the bar of the period; the last 24 hours are as fresh as the view, all else is kept for a while."""
    if view.result is None:
        return [], None
    past = _past(view, at, zone)
    figures, bar = _kept().uptimes.take(
        (view.check.id, period.key, str(zone)),
        view.version,
        lambda: uptimes(past, period),
        now_s=at.timestamp(),
        keep_s=KEEP_S / 2 if period.is_long else 0.0,
    )
    if view.uptime is not None:
        figures = [uptime_figure("24h", view.uptime), *figures[1:]]
    return figures, bar


def _view(check_id: str) -> CheckView:
    """The check, or what is left of one that is no longer configured; 404 for one that never was."""
    try:
        return services().board.check(check_id)
    except UnknownCheck:
        history = services().history
        if check_id not in history.check_ids():
            abort(
                404,
                f"No check has the id {check_id[:64]!r}, and none with it was recorded. The overview lists all checks.",
            )
        newest = history.last(check_id, 1)
        return CheckView(
            check=BrokenCheck(id=check_id, name=check_id, type="", fault=NO_LONGER_CONFIGURED),
            version=0,
            shown=None,
            summary="",
            since_at=None,
            result=newest[0] if newest else None,
            last_good=None,
            last_bad=None,
            state=None,
            incident=None,
        )


def _zone() -> tzinfo:
    return find_zone(services().settings.server.zone)


def _asked(view: CheckView, at: datetime, zone: tzinfo) -> Asked:
    """Raises BadRequest naming the parameter at fault."""
    log = request.args.get("log", "all")
    if log not in ("all", "failures"):
        raise BadRequest(f"log: must be all or failures, got {log[:64]!r}")
    cursors = request.args.getlist("before")
    if not all(cursor.isascii() and cursor.isdigit() and len(cursor) < 19 for cursor in cursors):
        raise BadRequest("before: must be the number of a run, as the links of the run log have it")
    return Asked(
        check_id=view.check.id,
        period=parse(request.args, now=at, zone=zone),
        zone=zone,
        bad_only=log == "failures",
        cursors=tuple(int(cursor) for cursor in cursors[-LONGEST_TRAIL:]),
    )


def _headline(view: CheckView) -> str:
    return view.check.probe.headline if isinstance(view.check, Check) else metrics.RESPONSE_TIME


def _tag(view: CheckView) -> str:
    """What of the page may change by itself, as a version."""
    own = own_health()
    trouble = zlib.crc32(repr((own.troubles, own.config_problems)).encode())
    return f"{services().board.view().boot}.{view.version}.{trouble:x}"


def _shown(view: CheckView, asked: Asked, at: datetime) -> dict[str, object]:
    """What the page and its live part both show."""
    zone, check = asked.zone, view.check
    failures = {"status": "warning,critical,unknown"} if asked.bad_only else {}
    figures, bar = _uptimes(view, asked.period, at, zone)
    return {
        "view": view,
        "check": check,
        "is_configured": isinstance(check, Check),
        "is_gone": isinstance(check, BrokenCheck) and check.fault == NO_LONGER_CONFIGURED,
        "row": Row(view=view, zone=zone, now=at),
        "title": f"({view.shown.word}) {check.name}" if view.shown is not None and view.shown.is_bad else check.name,
        "worst": view.shown.word if view.shown is not None else "unknown",
        "asked": asked,
        "period_label": asked.period.label(zone),
        "uptimes": [(each, asked.url(period=each.range)) for each in figures],
        "bar": bar,
        "phases": evidence.phases(view),
        "comparisons": evidence.comparisons(view, zone, at),
        "reproduction": evidence.reproduction(view),
        "mask": evidence.mask_of(view),
        "text": evidence.as_text(view, f"{request.host_url.rstrip('/')}{asked.url()}", zone, at),
        "failing": _failing(view),
        "about": evidence.about(check) if isinstance(check, Check) else [],
        "since": evidence.clock_time(view.since_at, zone, at) if view.since_at else "",
        "every": words.every(check.schedule.every_s) if isinstance(check, Check) else "",
        "log": _log(view, asked, at),
        "export_url": f"/exports?{urlencode({'check': check.id} | asked.period.bounds(zone) | failures)}",
        "charts_url": asked.url(bad_only=False, suffix="/charts.json"),
        "live_url": asked.url(cursors=asked.cursors, base="/live/check/"),
    }


def _failing(view: CheckView) -> str:
    """The step at which the newest run failed, as people call it; empty for a good run."""
    if view.result is None or not view.result.status.is_bad:
        return ""
    phase = view.result.detail.phase
    return metrics.PHASES.get(phase.replace(" ", "_"), evidence.mask_of(view)(phase))


def _log(view: CheckView, asked: Asked, at: datetime) -> Log:
    before_id = asked.cursors[-1] if asked.cursors else None
    found = services().history.last(asked.check_id, LOG_ROWS + 1, before_id=before_id, bad_only=asked.bad_only)
    shown = found[:LOG_ROWS]
    mask = evidence.mask_of(view)
    return Log(
        rows=[evidence.log_row(result, view.units, mask, asked.zone, at) for result in shown],
        bad_only=asked.bad_only,
        is_newest=not asked.cursors,
        newer_url=asked.url(cursors=asked.cursors[:-1]) if asked.cursors else "",
        older_url=asked.url(cursors=(*asked.cursors, shown[-1].id)) if len(found) > LOG_ROWS else "",
    )


def _form(asked: Asked, *, keep: bool) -> Mapping[str, str]:
    """The values of the range's form; with `keep` what was typed."""
    if keep:
        return {name: request.args.get(name, "")[:64] for name in ("from", "to")}
    if asked.period.is_live:
        return {"from": "", "to": ""}
    bounds = {"from": asked.period.start_at, "to": asked.period.end_at}
    return {name: f"{bound.astimezone(asked.zone):%Y-%m-%dT%H:%M}" for name, bound in bounds.items()}
