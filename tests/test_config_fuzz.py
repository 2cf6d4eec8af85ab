"""Whatever stands in the file, its owner gets Settings or problems in words, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dashboard.config import load, parse
from dashboard.config.durations import parse_duration
from dashboard.config.secrets import filler
from dashboard.errors import ConfigError, Problem

EXAMPLE = (Path(__file__).parents[1] / "watchroom.example.yaml").read_text()
SOURCE = Path("watchroom.yaml")


def judge(text: str) -> None:
    """Read it; a refusal has problems, each one line that says something."""
    problems: tuple[Problem, ...] | None = None
    try:
        parse(text, source=SOURCE, environ={"NAME": "value"})
    except ConfigError as error:
        problems = error.problems
    assert problems != ()
    for problem in problems or ():
        assert problem.message.strip()
        assert len(problem.message) < 2000
        assert problem.line <= text.count("\n") + text.count("\r") + 1


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["30s", "5", "http", "https://x.test", "${NAME}", "${NOPE}", "file:/none", "@10:20", "~:1", "command"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    [
        "id",
        "type",
        "name",
        "every",
        "timeout",
        "group",
        "tags",
        "owner",
        "runbook",
        "notes",
        "thresholds",
        "failure_threshold",
        "success_threshold",
        "retries",
        "paused",
        "retention",
        "url",
        "method",
        "headers",
        "body",
        "basic",
        "bearer",
        "expect_status",
        "host",
        "port",
        "send",
        "expect",
        "argv",
        "env",
        "cwd",
        "what",
        "path",
        "evry",
        "prot",
    ]
)
SECTIONS = st.sampled_from(["server", "retention", "defaults", "commands", "checks", "check", "<<"])


@settings(max_examples=700, deadline=None)
@given(
    st.dictionaries(SECTIONS, VALUES, max_size=5),
    st.lists(st.dictionaries(KEYS, VALUES | st.just("x"), max_size=8) | VALUES, max_size=4),
    st.sampled_from(["http", "tcp", "host", "command", "prober", "htp", None]),
)
def test_values_of_any_shape_at_any_place(sections, checks, kind):
    for number, check in enumerate(checks):
        if isinstance(check, dict) and kind:
            check.setdefault("type", kind)
            check.setdefault("id", f"c{number}")
    whole = {"checks": checks, **sections}
    judge(json.dumps(whole))  # JSON is YAML: it writes any value at any place


@settings(max_examples=700, deadline=None)
@given(
    st.integers(0, len(EXAMPLE)),
    st.lists(st.tuples(st.integers(0, len(EXAMPLE)), st.sampled_from("\n :-[]{}#&*!|>'\"%@`,?0a\t\\${}")), max_size=8),
)
@example(len(EXAMPLE), [])
def test_an_example_half_written_and_mangled(length, edits):
    letters = list(EXAMPLE)
    for place, letter in edits:
        letters[place : place + 1] = [letter]
    judge("".join(letters[:length]))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@example(b'"\\UFFFFFFFF"')
@example(b"%YAML 9999999999999999999.1\n---\n")
@example(b"a: \\xff\xff")
@example(b"?" * 10_000)
@example(b"- " * 5_000)
@example(b"a:\n" * 5_000)
@example(b"x" * 10_000)
def test_bytes_of_any_kind(tmp_path_factory, raw):
    file = tmp_path_factory.getbasetemp() / "watchroom.yaml"
    file.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    assert caught.value.problems


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"\A\d{0,12}(\.\d{0,12})?(ms|s|m|h|d|y)?\Z"))
def test_a_duration_is_seconds_or_a_fault_in_words(text):
    try:
        assert parse_duration(text) >= 0
    except ValueError as error:
        assert str(error).startswith(("needs a unit", "must be a duration"))  # noqa: PT017 - both ends are right


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.sampled_from(["${", "$${", "}", "NAME", "NOPE", ":-", "$", "x", " ", "{"]), max_size=12).map("".join)
)
def test_filling_in_leaves_text_without_places_alone(text):
    filled = filler({"NAME": "value"})(text)
    assert "${" in text or filled == text
