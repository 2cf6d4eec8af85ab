"""The filter language of the pages: `shop st:critical,unknown -tag:test group:"Web shop"`.

Bare words look into name, id, group and target; `st:`, `tag:`, `type:` and `group:` look at one field each, commas mean or.
The same key twice means or, different keys mean and, a leading `-` takes away. Case never matters.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from checks.base import Status
from dashboard.errors import BadFilter
from dashboard.model import BrokenCheck, CheckView

LIMIT_BYTES = 10_000
LONGEST_QUOTE = 40  # characters of a token that a message repeats
KEYS = ("st", "tag", "type", "group")
STATUSES = tuple(status.word for status in Status)
_TOKEN = re.compile(r'(?P<minus>-?)(?:(?P<key>[^\s":]+):)?(?P<values>(?:"[^"]*"|[^\s"])*)')
_VALUE = re.compile(r'(?:"[^"]*"|[^,"])+')


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """What one key asks for: any of the values; the empty key stands for one bare word."""

    key: str
    values: frozenset[str]
    negated: bool = False

    def matches(self, view: CheckView) -> bool:
        """Whether the check has what this term asks for."""
        return self._finds(view) != self.negated

    def _finds(self, view: CheckView) -> bool:
        check = view.check
        match self.key:
            case "st":
                return status_word(view) in self.values
            case "tag":
                return any(tag.casefold() in self.values for tag in check.tags)
            case "type":
                return check.type.casefold() in self.values
            case "group":
                return check.group.casefold() in self.values
        text = _searched(view)
        return any(value in text for value in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A parsed filter; without terms it lets every check through."""

    text: str = ""
    terms: tuple[Term, ...] = ()

    def matches(self, view: CheckView) -> bool:
        """Whether the check passes."""
        return all(term.matches(view) for term in self.terms)

    def values(self, key: str) -> tuple[str, ...]:
        """What the filter asks for under the key, negations left out, in order of the alphabet."""
        return tuple(
            sorted(value for term in self.terms if term.key == key and not term.negated for value in term.values)
        )


def parse(text: str) -> Filter:
    """The filter that the text describes. Raises BadFilter with the token at fault."""
    _refuse_unreadable(text)
    asked: dict[str, set[str]] = {}
    terms: list[Term] = []
    for token in _tokens(text):
        key, values, negated = token
        if negated or not key:
            terms.append(Term(key=key, values=frozenset(values), negated=negated))
        else:
            asked.setdefault(key, set()).update(values)
    terms.extend(Term(key=key, values=frozenset(values)) for key, values in asked.items())
    return Filter(text=" ".join(text.split()), terms=tuple(terms))


def status_word(view: CheckView) -> str:
    """The status that `st:` finds the check by; empty for one that is paused, broken or never run."""
    if view.shown is None or isinstance(view.check, BrokenCheck) or view.check.paused:
        return ""
    return view.shown.word


def _searched(view: CheckView) -> str:
    check = view.check
    target = "" if isinstance(check, BrokenCheck) else check.probe.target
    return "\n".join((check.name, check.id, check.group, target)).casefold()


def _refuse_unreadable(text: str) -> None:
    if len(text.encode(errors="replace")) > LIMIT_BYTES:
        raise BadFilter(f"the filter is longer than {LIMIT_BYTES // 1000} kB; shorten it")
    if "\0" in text:
        raise BadFilter("the filter holds a NUL character; remove it")
    if text.count('"') % 2:
        token = text[text.rindex('"') :]
        raise BadFilter(f'the quote in {_cut(token)!r} is never closed; add a "', token=token)


def _tokens(text: str) -> list[tuple[str, list[str], bool]]:
    """`(key, values, negated)` of every word, in order."""
    tokens = []
    for match in _TOKEN.finditer(text):
        if not match[0]:
            continue
        key = (match["key"] or "").casefold()
        if key and key not in KEYS:
            raise BadFilter(_unknown_key(key), token=f"{key}:")
        values = _values(match["values"]) if key else [_unquoted(match["values"])]
        if not values or not all(values):
            raise BadFilter(_empty(key, match[0]), token=match[0])
        if key == "st":
            _refuse_unknown_status(values)
        tokens.append((key, values, bool(match["minus"])))
    return tokens


def _values(text: str) -> list[str]:
    return [_unquoted(value) for value in _VALUE.findall(text)]


def _unquoted(text: str) -> str:
    return text.replace('"', "").strip().casefold()


def _unknown_key(key: str) -> str:
    near = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.5)
    way_out = f"did you mean '{near[0]}:'" if near else f"use one of {', '.join(f'{name}:' for name in KEYS)}"
    return f"unknown key '{_cut(key)}:', {way_out}; quote the word to search for it as it is"


def _empty(key: str, token: str) -> str:
    return f"'{_cut(token)}' names nothing; write {key}:something" if key else f"'{_cut(token)}' is not a word"


def _cut(text: str) -> str:
    """As much of it as a message can hold."""
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…"


def _refuse_unknown_status(values: list[str]) -> None:
    for value in values:
        if value not in STATUSES:
            near = difflib.get_close_matches(value, STATUSES, n=1)
            way_out = f"did you mean '{near[0]}'" if near else f"use one of {', '.join(STATUSES)}"
            raise BadFilter(f"unknown status '{_cut(value)}' after st:, {way_out}", token=value)
