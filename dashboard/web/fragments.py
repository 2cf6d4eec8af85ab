"""Rows of the overview as markup, rendered once per check and version; only the ages are filled in anew.

An uptime bar is a skyline: one stroked path per status, cut into cells by its dashes, hatched where nothing was measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from urllib.parse import quote

from jinja2 import Environment
from markupsafe import Markup

from dashboard.engine.quarter import Quarter
from dashboard.model import Check, CheckView, Slot, Uptime
from dashboard.web import skyline, words
from dashboard.web.overview import Group

MARK = "\0"  # stands around an instant until its age is filled in
PITCH = 4  # from cell to cell, the space of 1 between them included
QUARTER_PITCH = 3
SPARK_POINTS, SPARK_HEIGHT = 20, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """Rendered markup with gaps where ages belong: `texts` around `instants_s` (epoch seconds)."""

    texts: tuple[str, ...]
    instants_s: tuple[float, ...]

    @classmethod
    def of(cls, markup: str) -> Fragment:
        """The fragment that a template rendered, `age()` marks included."""
        parts = markup.split(MARK)
        return cls(texts=tuple(parts[::2]), instants_s=tuple(float(part) for part in parts[1::2]))

    def at(self, now: datetime) -> Markup:
        """The markup with every age as it is now."""
        now_s = now.timestamp()
        ages = [words.span(now_s - instant_s) for instant_s in self.instants_s]
        woven = [part for pair in zip(self.texts, ages, strict=False) for part in pair]
        return Markup("".join(woven) + self.texts[-1])  # noqa: S704 - rendered by Jinja with autoescape


def age(at: datetime | None, css: str = "") -> Markup:
    """A `<time>` whose text is filled in by Fragment and kept fresh by the browser; a dash for no instant."""
    if at is None:
        return Markup(f'<span class="{css}">{words.NONE}</span>')  # noqa: S704 - css is a word of our templates
    stamp = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    text = f"{MARK}{at.timestamp():.0f}{MARK}"
    return Markup(f'<time class="{css}" datetime="{stamp}" data-age>{text}</time>')  # noqa: S704 - as above


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a row shows, in words: the templates only place it. With a `quarter` its bar is that of 90 days."""

    view: CheckView
    zone: tzinfo
    now: datetime
    quarter: Quarter | None = None

    @property
    def id(self) -> str:
        """The check's id, the end of the row's DOM id."""
        return self.view.check.id

    @property
    def url(self) -> str:
        """The check's own page."""
        return f"/checks/{quote(self.id, safe='')}"

    @property
    def kind(self) -> str:
        """The CSS word: a status, `broken`, `paused` or `never`."""
        return words.kind(self.view)

    @property
    def glyph(self) -> str:
        """The shape in the sprite."""
        return glyph(self.kind)

    @property
    def status(self) -> str:
        """The word beside the shape."""
        return words.status(self.view)

    @property
    def why(self) -> str:
        """The reason in one line."""
        return words.reason(self.view, self.zone, self.now)

    @property
    def by(self) -> str:
        """Who asked for the newest run, when a person did."""
        result = self.view.result
        return result.by if result is not None and result.trigger == "manual" else ""

    @property
    def value(self) -> str:
        """The headline metric."""
        return words.value(self.view)

    @property
    def uptime(self) -> Uptime | None:
        """The uptime of the bar's range."""
        return self.view.uptime if self.quarter is None else self.quarter.uptime

    @property
    def up(self) -> str:
        """That uptime as a percentage."""
        return words.percent(self.uptime.ratio if self.uptime else None)

    @property
    def measured(self) -> str:
        """How much of 90 days was measured, where the bar is of 90 days."""
        if self.quarter is None or self.uptime is None:
            return ""
        return f"{words.percent(self.uptime.coverage_ratio)} measured"

    @property
    def coverage(self) -> str:
        """The uptime with what was not measured."""
        return words.coverage(self.uptime) if self.uptime else "not measured"

    @property
    def since(self) -> str:
        """The time of day since when it has been so."""
        at = self.view.since_at
        return words.time_of_day(at, self.zone, self.now) if at else ""

    @property
    def place(self) -> str:
        """Group and type, the second line under the name."""
        return ", ".join(filter(None, (self.view.check.group, self.view.check.type)))

    @property
    def runbook(self) -> str:
        """Where the runbook lies, when it is a web address."""
        runbook = self.view.check.runbook if isinstance(self.view.check, Check) else ""
        return runbook if runbook.startswith(("https://", "http://")) else ""

    @property
    def owner(self) -> str:
        """Who looks after the check."""
        return self.view.check.owner if isinstance(self.view.check, Check) else ""

    @property
    def aside(self) -> str:
        """What else matters about a problem: whether it is confirmed, who looks after it, who asked."""
        view = self.view
        said = (
            f"not confirmed yet, {view.unconfirmed}" if view.unconfirmed else "",
            f"owner {self.owner}" if self.owner else "",
            f"run by {self.by}" if self.by else "",
        )
        return ", ".join(filter(None, said))

    @property
    def can_run(self) -> bool:
        """Whether the check can be asked for: a broken one cannot."""
        return isinstance(self.view.check, Check)

    @property
    def run_word(self) -> str:
        """The word on the button."""
        return {"queued": "Queued", "running": "Running"}.get(self.view.run_phase or "", "Run")

    @property
    def bar(self) -> Markup:
        """The paths of the uptime bar."""
        return bar(self._slots, pitch=self._pitch)

    @property
    def bar_width(self) -> int:
        """The width of the uptime bar's picture."""
        return self._pitch * max(1, len(self._slots)) - 1

    @property
    def bar_range(self) -> str:
        """What the uptime bar shows, in words."""
        return f"last 24{words.NBSP}h" if self.quarter is None else "last 90 days"

    @property
    def _slots(self) -> Sequence[Slot]:
        return self.view.bar if self.quarter is None else self.quarter.slots

    @property
    def _pitch(self) -> int:
        return PITCH if self.quarter is None else QUARTER_PITCH

    @property
    def spark(self) -> str:
        """The path of the sparkline, empty for less than two values."""
        return spark(self.view.spark)


class Rows:
    """The rendered rows of one server, by kind and check. Thread-safe: at worst a row is rendered twice."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._kept: dict[tuple[str, bool, str], tuple[CheckView, tzinfo, Quarter | None, Fragment]] = {}

    def render(
        self, kind: str, view: CheckView, zone: tzinfo, now: datetime, *, quarter: Quarter | None = None
    ) -> Markup:
        """The check's row: `row` in its group, `problem` under Needs attention."""
        key = (kind, quarter is None, view.check.id)
        kept = self._kept.get(key)
        if kept is None or kept[0] is not view or kept[1] is not zone or kept[2] is not quarter:
            template = self._environment.get_template(f"partials/{kind}.html")
            row = Row(view=view, zone=zone, now=now, quarter=quarter)
            kept = (view, zone, quarter, Fragment.of(template.render(row=row, view=view, age=age)))
            self._kept[key] = kept
        return kept[3].at(now)

    def forget_all_but(self, check_ids: set[str]) -> None:
        """Drop the rows of checks that are gone."""
        for key in [key for key in list(self._kept) if key[2] not in check_ids]:
            self._kept.pop(key, None)


def bar(slots: Sequence[Slot], *, pitch: int = PITCH) -> Markup:
    """The uptime bar's paths: neighbours of one kind are one stroke, what was not measured is one hatched block.

    A slot of which little was measured stays hatched, with a foot of what that little was: as just after a start.
    """
    strokes: dict[str, str] = {}
    gaps = ""
    kinds = [skyline.kind(slot) for slot in slots]
    for kind, first, last in skyline.stretches(kinds):
        left, width = first * pitch, (last - first + 1) * pitch - 1
        if kind == skyline.GAP:
            gaps += f"M{left} 0h{width}v20h-{width}z"
        else:
            strokes[kind] = strokes.get(kind, "") + f"M{left} {_middle(kind):g}h{width}"
    for index, kind in enumerate(kinds):
        if kind == skyline.GAP and (foot := skyline.foot(slots[index])):
            strokes[foot] = strokes.get(foot, "") + f"M{index * pitch} {_middle(foot):g}h{pitch - 1}"
    paths = [f'<path fill="url(#hatch)" d="{gaps}"/>'] if gaps else []
    paths += [f'<path class="s-{kind}" d="{path}"/>' for kind, path in strokes.items()]
    return Markup("".join(paths))  # noqa: S704 - made of numbers and our words


def _middle(kind: str) -> float:
    """Where the middle of a stroke of that kind lies."""
    return skyline.HEIGHT - skyline.HEIGHTS[kind] / 2


def group_map(group: Group) -> Markup:
    """A mark for every check of a group that is folded: dots where all is well, shapes where it is not."""
    dots, shapes = "", ""
    for index, kind in enumerate(map(words.kind, group.views)):
        if kind == "ok":
            dots += f"M{12 * index + 6} 6h0"
        else:
            shapes += f'<use href="#g-{glyph(kind)}" class="m-{kind}" x="{12 * index}" width="12" height="12"/>'
    width = 12 * len(group.views)
    line = f'<path class="m-ok" d="{dots}"/>' if dots else ""
    frame = f'<svg class="map" viewBox="0 0 {width} 12" width="{width}" height="12" aria-hidden="true">'
    return Markup(f"{frame}{line}{shapes}</svg>")  # noqa: S704 - made of numbers and our words


def glyph(kind: str) -> str:
    """The name of the shape in the sprite for what a check is."""
    return "unknown" if kind == "broken" else kind


def spark(values: Sequence[float]) -> str:
    """The sparkline's path over 20 points at most; of values that share a point the largest stays, so spikes survive."""
    if len(values) < 2:
        return ""
    size = -(-len(values) // SPARK_POINTS)
    points = [max(values[max(0, end - size) : end]) for end in range(len(values), 0, -size)][::-1]
    low, high = min(points), max(points)
    scale = SPARK_HEIGHT / (high - low) if high > low else 0.0
    heights = [round((high - point) * scale) if scale else SPARK_HEIGHT // 2 for point in points]
    steps = "".join(f"l3 {after - before}" for before, after in itertools.pairwise(heights))
    return f"M{3 * (SPARK_POINTS - len(heights))} {heights[0]}{steps}"
