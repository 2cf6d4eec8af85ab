"""The history to take away: the export itself, and the page or dialog that puts one together."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from urllib.parse import urlencode

import orjson
from flask import Blueprint, Response, redirect, render_template
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as WerkzeugResponse

from checks.base import Status
from dashboard.engine import export, export_rollups, filters
from dashboard.errors import BadFilter, BadRequest
from dashboard.web.context import now
from dashboard.web.htmx import request, respond
from dashboard.web.services import services

blueprint = Blueprint("export", __name__)

PRESETS = (("-24h", "24 h"), ("-7d", "7 d"), ("-30d", "30 d"), ("-90d", "90 d"), ("-365d", "1 y"), ("all", "All"))
STEPS = {"5m": "5 minutes", "1h": "an hour", "1d": "a day", "1w": "a week", "1mo": "a month"}
PREVIEW_ROWS = 20
RESULTS = "results"
_ALL_COLUMNS = frozenset(chain.from_iterable(export.DATASETS.values()))
_NUMBERS = frozenset({"duration_s", *export_rollups.COLUMNS}) - {"check_id", "start", "end", export_rollups.METRICS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The first rows of an export as it stands in the form, or why there is none (`fault`)."""

    fault: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    is_all: bool = False  # there are no further rows
    checks: int | None = None  # how many are picked; None = all
    address: str = ""
    file_name: str = ""

    @property
    def numbers(self) -> frozenset[str]:
        """The columns that hold a number."""
        return _NUMBERS

    @property
    def command(self) -> str:
        """The same export from a shell."""
        return f"curl -OJ {shlex.quote(self.address)}"


@blueprint.get("/export")
def download() -> Response:
    """The export, streamed: memory stays bounded and a reader who leaves ends it."""
    wanted = _wanted(request.args)
    response = Response(export.write(wanted, services().history), content_type=export.CONTENT_TYPES[wanted.format])
    response.headers["Content-Disposition"] = f'attachment; filename="{export.file_name(wanted)}"'
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


@blueprint.get("/exports")
def form() -> Response:
    """The form with its preview: a page, or the inside of a dialog for htmx, which would not show an error's body."""
    values = _values(request.args)
    shown = _preview(values)
    template = "partials/export_dialog.html" if request.htmx else "export.html"
    status = 400 if shown.fault and not request.htmx else 200
    return respond(render_template(template, form=values, preview=shown, **_choices(values)), status)


@blueprint.get("/exports/download")
def send_on() -> WerkzeugResponse:
    """To the export that the form means, which may still hold what belongs to the other dataset."""
    return redirect(f"/export{_query(_values(request.args))}", 303)


@blueprint.get("/exports/preview")
def preview() -> Response:
    """What the form would export, row by row; a fault in it is said where the rows would be."""
    return respond(render_template("partials/export_preview.html", preview=_preview(_values(request.args))))


def _choices(form: MultiDict[str, str]) -> dict[str, object]:
    server = services().settings.server
    return {
        "dataset": _dataset(form),
        "presets": PRESETS,
        "formats": export.FORMATS,
        "steps": STEPS,
        "standard_step": export_rollups.STANDARD,
        "columns": export.DATASETS.get(_dataset(form), export.COLUMNS),
        "statuses": [status.word for status in Status],
        "zones": list(dict.fromkeys((server.zone, "UTC"))),
    }


def _values(args: MultiDict[str, str]) -> MultiDict[str, str]:
    """The form's values: lists taken apart, with the range that a preset button asked for, and without what belongs to
    another dataset: it is left over from before the dataset was changed."""
    form = args.copy()
    for name in ("status", "columns"):
        form.setlist(name, [each.strip() for value in args.getlist(name) for each in value.split(",")])
    preset = form.pop("range", "")
    if preset in dict(PRESETS):
        form["from"] = "" if preset == "all" else preset
        form["to"] = ""
    form.poplist("step" if _dataset(form) == RESULTS else "status")
    columns = set(filter(None, form.getlist("columns")))
    if columns <= _ALL_COLUMNS and not columns <= set(export.DATASETS.get(_dataset(form), ())):
        form.poplist("columns")
    return form


def _dataset(form: MultiDict[str, str]) -> str:
    return form.get("dataset", "").strip() or RESULTS


def _wanted(args: MultiDict[str, str]) -> export.ExportRequest:
    """Raises BadRequest or BadFilter, naming the parameter."""
    settings, history = services().settings, services().history
    return export.parse_request(
        args.to_dict(flat=False),
        now=now(),
        zone=settings.server.zone,
        checks=(*settings.checks, *settings.broken),
        recorded=history.check_ids() if "check" in args else None,
        matches=_matches,
        retention=settings.retention,
    )


def _matches(text: str) -> set[str]:
    try:
        found = filters.parse(text)
    except BadFilter as error:
        raise BadFilter(f"q: {error}", token=error.token) from error
    return {view.check.id for view in services().board.view().checks if found.matches(view)}


def _preview(form: MultiDict[str, str]) -> Preview:
    try:
        wanted = _wanted(form)
    except (BadRequest, BadFilter) as error:
        return Preview(fault=str(error))
    rows = list(islice(export.rows(wanted, services().history), PREVIEW_ROWS + 1))
    return Preview(
        columns=wanted.columns,
        rows=[[_cell(value) for value in row] for row in rows[:PREVIEW_ROWS]],
        is_all=len(rows) <= PREVIEW_ROWS,
        checks=None if wanted.check_ids is None else len(wanted.check_ids),
        address=f"{request.host_url}export{_query(form)}",
        file_name=export.file_name(wanted),
    )


def _cell(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()


def _query(form: MultiDict[str, str]) -> str:
    """The form as a URL's query, as short as it says the same: without empty values, and without columns where all are wanted."""
    given = [(name, value) for name, value in form.items(multi=True) if value.strip()]
    if {value for name, value in given if name == "columns"} == set(export.DATASETS.get(_dataset(form), ())):
        given = [(name, value) for name, value in given if name != "columns"]
    return "?" + urlencode(given, safe=":/,") if given else ""
