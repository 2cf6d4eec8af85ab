"""YAML 1.2 as plain values that remember their lines.

Built from parsing events with a stack of our own, so depth, aliases and tags are judged before anything is made of them.
Plain scalars follow the YAML 1.2 core schema, save that whole numbers with leading zeros stay text: `0123` means itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from dashboard.config.events import (
    AliasEvent,
    BadYaml,
    DocumentStartEvent,
    GaveUp,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    readings,
)
from dashboard.errors import Problem

DEPTH_LIMIT = 32
ALIAS_LIMIT = 64
ALIASED_LIMIT = 100_000  # values that aliases may stand for, all together

_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,4299})")
_BASED = re.compile(r"0(?:o[0-7]{1,999}|x[0-9a-fA-F]{1,999})")
_REAL = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_LONGEST_REAL = 400
_ZERO_LED = re.compile(r"[-+]?0[0-9]+")

Fill = Callable[[str], str]


class Mapping(dict[str, Any]):  # Any: what a user wrote
    """A YAML mapping; `line` is where it starts, `lines` where each key stands."""

    __slots__ = ("height", "line", "lines", "size")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}
        self.size = 1
        self.height = 1

    def line_of(self, key: object) -> int:
        """The line of that key; the mapping's own for an unknown one."""
        return self.lines.get(str(key), self.line)


class Sequence(list[Any]):  # Any: what a user wrote
    """A YAML sequence; `line` is where it starts, `lines` where each entry stands."""

    __slots__ = ("height", "line", "lines", "size")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []
        self.size = 1
        self.height = 1

    def line_of(self, index: object) -> int:
        """The line of that entry; the sequence's own for an unknown one."""
        return self.lines[index] if isinstance(index, int) and 0 <= index < len(self.lines) else self.line


def read_tree(text: str, fill: Fill = str) -> tuple[object, list[Problem]]:
    """The document as Mapping, Sequence and scalars, and every fault of its form; None where it cannot be read at all.

    `fill` is given each text value that holds a `$`, and answers what stands there instead.
    """
    for events in readings(text):
        builder = _Builder(fill)
        try:
            for event in events:
                builder.take(event)
        except GaveUp:
            continue
        except BadYaml as error:
            return None, [*builder.problems, error.problem]
        return builder.root, builder.problems
    raise AssertionError("the last reading never gives up")


class _Builder:
    """Puts events together; `problems` collects what does not stop it."""

    def __init__(self, fill: Fill) -> None:
        self.fill = fill
        self.root: object = None
        self.problems: list[Problem] = []
        self.line = 1
        self._documents = 0
        self._open: list[tuple[Mapping | Sequence, str]] = []  # with the anchor of each
        self._keys: list[str | None] = []  # the key that waits for its value, one a level
        self._anchors: dict[str, object] = {}
        self._aliases = 0
        self._aliased = 0

    def take(self, event: Any) -> None:  # Any: ruamel's events share no useful type
        kind = event.__class__
        self.line = event.start_mark.line + 1
        if kind is ScalarEvent:
            self._scalar(event)
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            self._start(event, Mapping(self.line) if kind is MappingStartEvent else Sequence(self.line))
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            self._end()
        elif kind is AliasEvent:
            self._alias(event.anchor)
        elif kind is DocumentStartEvent:
            self._document(event)

    def _document(self, event: Any) -> None:  # Any: as above
        self._documents += 1
        if self._documents > 1:
            raise self._refusal("a second document starts here: keep everything in one, without `---`")
        if event.version not in (None, (1, 2)):
            self._fault("this is read as YAML 1.2: remove the %YAML line")

    def _scalar(self, event: Any) -> None:  # Any: as above
        self._refuse_tag(event)
        text = event.value
        if self._open and self._awaits_key():
            self._key(text)
            return
        value: object = text
        if event.style is None or event.style == "":
            value = _plain(text)
        if isinstance(value, str) and "$" in value:
            value = self.fill(value)
        self._remember(event.anchor, value)
        self._put(value)

    def _start(self, event: Any, container: Mapping | Sequence) -> None:  # Any: as above
        self._refuse_tag(event)
        if len(self._open) >= DEPTH_LIMIT:
            raise self._refusal(f"too complex: nested deeper than {DEPTH_LIMIT} levels")
        if self._open and self._awaits_key():
            self._fault("a key must be plain text")
            self._key(f"?{self.line}")
        self._open.append((container, event.anchor or ""))
        self._keys.append(None)

    def _end(self) -> None:
        container, anchor = self._open.pop()
        self._keys.pop()
        if isinstance(container, Mapping) and "<<" in container:
            self._merge(container)
        self._remember(anchor, container)
        self._put(container)

    def _alias(self, name: str) -> None:
        if name not in self._anchors:
            raise self._refusal(f"*{name} points to nothing: put &{name} before the value it stands for")
        value = self._anchors[name]
        self._aliases += 1
        height, size = (value.height, value.size) if isinstance(value, Mapping | Sequence) else (0, 1)
        self._aliased += size
        if self._aliases > ALIAS_LIMIT or self._aliased > ALIASED_LIMIT:
            raise self._refusal(f"too complex: more than {ALIAS_LIMIT} aliases; use `defaults:` instead")
        if len(self._open) + height > DEPTH_LIMIT:
            raise self._refusal(f"too complex: nested deeper than {DEPTH_LIMIT} levels")
        if self._open and self._awaits_key():
            self._key(str(value) if height == 0 else f"*{name}")
        else:
            self._put(value)

    def _merge(self, container: Mapping) -> None:
        """YAML's merge key: the keys of other mappings, where this one has none of its own."""
        line = container.lines.pop("<<")
        value = container.pop("<<")
        others = list(value) if isinstance(value, Sequence) else [value]
        for other in others:
            if not isinstance(other, Mapping):
                self._fault("`<<` takes an alias of a mapping, or a list of such", line)
                continue
            for key, inherited in other.items():
                if key not in container:
                    container[key] = inherited
                    container.lines[key] = line

    def _awaits_key(self) -> bool:
        return self._keys[-1] is None and isinstance(self._open[-1][0], Mapping)

    def _key(self, key: str) -> None:
        container = self._open[-1][0]
        if isinstance(container, Mapping):
            if key in container:
                self._fault(f"{key!r} is already set on line {container.lines[key]}: remove one of the two")
            container.lines.setdefault(key, self.line)
        self._keys[-1] = key

    def _put(self, value: object) -> None:
        if not self._open:
            self.root = value
            return
        container = self._open[-1][0]
        if isinstance(value, Mapping | Sequence):
            container.size += value.size
            container.height = max(container.height, value.height + 1)
        else:
            container.size += 1
        if isinstance(container, Sequence):
            container.append(value)
            container.lines.append(value.line if isinstance(value, Mapping | Sequence) else self.line)
        else:
            container.setdefault(self._keys[-1] or "", value)
            self._keys[-1] = None

    def _remember(self, anchor: str | None, value: object) -> None:
        if anchor:
            self._anchors[anchor] = value

    def _refuse_tag(self, event: Any) -> None:  # Any: as above
        if event.tag is not None:
            self._fault(f"tags such as {str(event.tag)[:60]!r} are not allowed: write the plain value")

    def _refusal(self, message: str) -> BadYaml:
        return BadYaml(Problem(message=message, line=self.line))

    def _fault(self, message: str, line: int = 0) -> None:
        self.problems.append(Problem(message=message, line=line or self.line))


def _plain(text: str) -> object:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-+.0123456789":
        return text
    if _WHOLE.fullmatch(text):
        return int(text)
    if _ZERO_LED.fullmatch(text):
        return text
    if _BASED.fullmatch(text):
        return int(text, 0)
    if len(text) <= _LONGEST_REAL and _REAL.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
