"""What the overview shows of a board under one filter: counts, what needs attention, groups. Pictures are kept per filter."""

from __future__ import annotations

import threading
import zlib
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from checks.base import Status
from dashboard.engine.filters import Filter, parse
from dashboard.model import BoardView, CheckView, OwnHealth, Uptime
from dashboard.web import words

KINDS = ("critical", "warning", "unknown", "broken", "paused", "never", "ok")  # in the order the page names them
BARS = ("24h", "90d")  # what the bars show; the first where the address says nothing
ALL_OPEN = 60  # so many checks are shown without folding any group
KEPT_PICTURES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The checks of one group, in the order of the configuration."""

    id: str  # the end of its DOM ids
    name: str
    views: tuple[CheckView, ...]
    counts: Counter[str]
    is_open: bool

    @property
    def version(self) -> int:
        """The newest version of its checks."""
        return max(view.version for view in self.views)


def ratio(uptimes: Iterable[Uptime | None]) -> float | None:
    """The uptime of several checks together, 0-1."""
    measured = [uptime for uptime in uptimes if uptime is not None]
    up = sum(uptime.ok_s + uptime.warning_s for uptime in measured)
    down = sum(uptime.critical_s for uptime in measured)
    return up / (up + down) if up + down else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One board under one filter. `problems_version` and `groups_version`: since when their sets and orders are as they are."""

    board: BoardView
    asked: Filter
    counts: Counter[str]  # of all checks, whatever the filter
    matches: int
    problems: tuple[CheckView, ...]  # most severe first, then newest first
    groups: tuple[Group, ...]
    last_problem_at: datetime | None
    problems_version: int
    groups_version: int

    @property
    def worst(self) -> str:
        """The word of the worst status on the board, for the tab's icon."""
        return next((kind for kind in KINDS[:3] if self.counts[kind]), "unknown" if self.counts["broken"] else "ok")

    @property
    def title(self) -> str:
        """The tab's title, problems first."""
        counted = [f"{self.counts[kind]} {kind}" for kind in KINDS[:3] if self.counts[kind]]
        return (f"({', '.join(counted)}) " if counted else "") + "Overview"

    @property
    def is_plain(self) -> bool:
        """Whether no check names a group: then no headings are needed."""
        return all(not group.name for group in self.groups)

    def changed_since(self, version: int) -> list[CheckView]:
        """The shown checks that are newer than the version."""
        return [
            view for group in self.groups if group.version > version for view in group.views if view.version > version
        ]


class Pictures:
    """The newest picture of each filter in use. Thread-safe."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Picture] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, board: BoardView, text: str) -> Picture:
        """The board under the filter, or a newer one that another request has already seen. Raises BadFilter."""
        asked = parse(text)
        with self._lock:
            kept = self._kept.get(asked.text)
            if kept is None or kept.board.boot != board.boot or kept.board.version < board.version:
                kept = paint(board, asked, kept)
                self._kept[asked.text] = kept
            self._kept.move_to_end(asked.text)
            while len(self._kept) > KEPT_PICTURES:
                self._kept.popitem(last=False)
            return kept


def paint(board: BoardView, asked: Filter, before: Picture | None = None) -> Picture:
    """The board under the filter; `before` is the last picture of the same filter, if it is still known."""
    shown = [view for view in board.checks if asked.matches(view)] if asked.terms else list(board.checks)
    problems = tuple(sorted((view for view in shown if words.is_problem(view)), key=_urgency))
    groups = _groups(shown)
    bad_at = [view.last_bad.at for view in board.checks if view.last_bad]
    if before is not None and before.board.boot != board.boot:
        before = None
    return Picture(
        board=board,
        asked=asked,
        counts=Counter(words.kind(view) for view in board.checks),
        matches=len(shown),
        problems=problems,
        groups=groups,
        last_problem_at=max(bad_at, default=None),
        problems_version=before.problems_version
        if before and _ids(before.problems) == _ids(problems)
        else board.version,
        groups_version=before.groups_version if before and _shape(before.groups) == _shape(groups) else board.version,
    )


def _groups(shown: list[CheckView]) -> tuple[Group, ...]:
    """The groups in the order of their first checks; checks without a group come last."""
    members: dict[str, list[CheckView]] = {}
    for view in shown:
        members.setdefault(view.check.group, []).append(view)
    names = sorted(members, key=lambda name: not name)
    found = []
    for name in names:
        counts = Counter(words.kind(view) for view in members[name])
        is_open = len(shown) <= ALL_OPEN or counts["critical"] > 0 or len(names) == 1
        found.append(
            Group(id=f"g-{_short(name)}", name=name, views=tuple(members[name]), counts=counts, is_open=is_open)
        )
    return tuple(found)


def _urgency(view: CheckView) -> tuple[int, float]:
    shown = view.shown if view.shown is not None else Status.OK
    return -shown.severity, -view.since_at.timestamp() if view.since_at else 0.0


def _ids(views: tuple[CheckView, ...]) -> list[str]:
    return [view.check.id for view in views]


def _shape(groups: tuple[Group, ...]) -> list[tuple[str, list[str]]]:
    return [(group.name, _ids(group.views)) for group in groups]


def address(text: str = "", bars: str = BARS[0]) -> str:
    """Where the overview stands under that filter and with such bars."""
    query = {"q": text} if text else {}
    query |= {"bars": bars} if bars != BARS[0] else {}
    return "/?" + urlencode(query, safe=":,") if query else "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """What a viewer's page shows: which start of the server, version, filter, and what stands around the checks."""

    boot: str
    version: int
    asked: str
    face: str

    @classmethod
    def of(cls, picture: Picture, own: OwnHealth, fault: str, bars: str = BARS[0], *, is_complete: bool = True) -> Tag:
        """The tag of a page with this picture and such bars; one that is not complete is older than any."""
        around = "\n".join((fault, *own.troubles, *own.config_problems))
        return cls(
            boot=picture.board.boot,
            version=picture.board.version if is_complete else 0,
            asked=_short(f"{bars} {picture.asked.text}"),
            face=_short(around),
        )

    @classmethod
    def parse(cls, text: str) -> Tag | None:
        """The tag in that text; None for anything else."""
        parts = text.rsplit(".", 3)
        if len(parts) != 4 or not parts[1].isdecimal():
            return None
        return cls(boot=parts[0], version=int(parts[1]), asked=parts[2], face=parts[3])

    def __str__(self) -> str:
        return f"{self.boot}.{self.version}.{self.asked}.{self.face}"


def _short(text: str) -> str:
    return f"{zlib.crc32(text.encode(errors='replace')):x}"
