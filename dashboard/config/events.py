"""YAML text as parsing events; the one module that knows ruamel.yaml.

ruamel's scanner in pure Python takes 0.8 ms for a check of eleven lines; its C parser (ruamel.yaml.clib) a twentieth of that.
The C one knows YAML 1.1 and refuses some of what 1.2 allows, so where it refuses, or reads differently, the pure one decides:
what a file means never depends on which is installed (a test compares them on random text).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.main import CParser  # type: ignore[attr-defined]  # None where it is not installed

from dashboard.errors import Problem

__all__ = [
    "AliasEvent",
    "BadYaml",
    "DocumentStartEvent",
    "GaveUp",
    "MappingEndEvent",
    "MappingStartEvent",
    "ScalarEvent",
    "SequenceEndEvent",
    "SequenceStartEvent",
    "readings",
]

Event = Any  # ruamel's events share no useful type

# What ruamel.yaml raises on hostile text besides its own errors (found by fuzzing: escapes beyond Unicode, directives).
_PARSER_FAULTS = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError, AssertionError)

# Where the two parsers were seen to differ: tabs in plain text, line ends of other kinds, anchors with a colon, marks of
# documents, block texts that begin with an empty line.
_READ_DIFFERENTLY = re.compile(
    r"[\t\x85\u2028\u2029]|\r(?!\n)|[&*][^\s&*]*:|(?:^|\n)\.\.\.|\n---|[|>][^\n|>]*\n *\r?(?:\n|$)"
)


class BadYaml(Exception):
    """The text is no YAML; `problem` says where and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class GaveUp(Exception):
    """This reading cannot tell; the next one can."""


def readings(text: str) -> list[Iterator[Event]]:
    """The text's events, read lazily: all but the last may raise GaveUp, the last BadYaml."""
    if CParser is None or _READ_DIFFERENTLY.search(text):
        return [_events_in_python(text)]
    return [_events_in_c(text), _events_in_python(text)]


def _events_in_c(text: str) -> Iterator[Event]:
    try:
        parser = CParser(text)
        while parser.check_event():
            yield parser.get_event()
    except (YAMLError, *_PARSER_FAULTS) as error:
        raise GaveUp from error


def _events_in_python(text: str) -> Iterator[Event]:
    line = 1
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            line = event.start_mark.line + 1
            yield event
    except MarkedYAMLError as error:
        raise BadYaml(_syntax_problem(error)) from error
    except (YAMLError, *_PARSER_FAULTS) as error:
        raise BadYaml(Problem(message=f"not valid YAML: {_one_line(str(error))}", line=line)) from error


_WAYS_OUT = {
    "mapping values are not allowed": "put a text that holds ': ' in quotes, and check the indentation",
    "could not find expected ':'": "a key needs a ':' and a space behind it; check the indentation",
    "cannot start any token": "put a text that starts with @, ` or % in quotes, and indent with spaces, not tabs",
    "expected <block end>": "check the indentation of this line against the ones above",
    "did not find expected": "check brackets, commas and quotes",
    "unexpected end of stream": "a quote is not closed",
    "expected ',' or": "a bracket is not closed, or a comma is missing",
}


def _syntax_problem(error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    fault = _one_line(str(error.problem or error.context or "cannot be read"))
    way_out = next((way for sign, way in _WAYS_OUT.items() if sign in fault), "")
    column = f" (column {mark.column + 1})" if mark else ""
    message = f"not valid YAML: {fault}{column}{': ' + way_out if way_out else ''}"
    return Problem(message=message, line=mark.line + 1 if mark else 0)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
