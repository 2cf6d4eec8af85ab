"""YAML 1.2 as plain values with lines; forms that hide or explode are refused."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.config import events
from dashboard.config.tree import Mapping, Sequence, read_tree


def faults(text: str) -> list[str]:
    return [str(problem) for problem in read_tree(text)[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("off", "off"),
        ("Yes", "Yes"),
        ("22:30", "22:30"),
        ("0123", "0123"),
        ("-007", "-007"),
        ("2026-11-22", "2026-11-22"),
        ("1_000", "1_000"),
        ("0b101", "0b101"),
        ("~:30", "~:30"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("8000", 8000),
        ("-5", -5),
        ("+5", 5),
        ("0", 0),
        ("0o17", 15),
        ("0xff", 255),
        ("1.50", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-.inf", float("-inf")),
        ("1.2.3", "1.2.3"),
        ("10.0.0.1", "10.0.0.1"),
        ("9" * 5000, "9" * 5000),
        ("'8000'", "8000"),
        ('"true"', "true"),
        ("|-\n    two\n    lines", "two\nlines"),
        (">-\n    one\n    line", "one line"),
    ],
)
def test_a_scalar_stays_what_it_looks_like(text, value):
    tree, problems = read_tree(f"key: {text}\n")
    assert problems == []
    assert tree == {"key": value}
    assert type(tree["key"]) is type(value)


def test_keys_are_text_and_keep_their_lines():
    tree, problems = read_tree("no: 1\n200: 2\nlist:\n  - a\n  - {x: 1,\n     y: 2}\n")
    assert problems == []
    assert list(tree) == ["no", "200", "list"]
    assert [tree.line_of(key) for key in ("no", "200", "list", "else")] == [1, 2, 3, 1]
    assert isinstance(tree["list"], Sequence)
    assert [tree["list"].line_of(index) for index in (0, 1, 7)] == [4, 5, 4]
    assert isinstance(tree["list"][1], Mapping)
    assert tree["list"][1].line_of("y") == 6


def test_a_duplicate_key_names_both_lines():
    assert faults("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n") == [
        "line 4: 'c' is already set on line 3: remove one of the two",
        "line 5: 'a' is already set on line 1: remove one of the two",
    ]


@pytest.mark.parametrize(
    "text", ["a: !!python/object:os.system x", "a: !!str 5", "!mine {a: 1}", "- ! x", "a: !!set {x}"]
)
def test_every_tag_is_refused(text):
    assert any("tags such as" in fault and "not allowed: write the plain value" in fault for fault in faults(text))


def test_aliases_and_merges_work_in_reason():
    tree, problems = read_tree(
        "base: &base {every: 10s, tags: [a]}\nx: {<<: *base, every: 5s}\ny: {<<: [*base]}\nz: *base\n"
    )
    assert problems == []
    assert tree["x"] == {"every": "5s", "tags": ["a"]}
    assert tree["y"] == tree["z"] == tree["base"]
    assert tree["x"].line_of("tags") == 2


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 8))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (BOMB, "too complex"),
        ("a: &a x\nb: [" + "*a, " * 65 + "]", "too complex: more than 64 aliases; use `defaults:` instead"),
        ("a: &a [" + "x," * 50_001 + "]\nb: [*a, *a]", "too complex"),
        ("[" * 33 + "]" * 33, "too complex: nested deeper than 32 levels"),
        ("[" + "&" * 1_000_000, "not valid YAML"),
        ("a: " + ">" * 1_000_000 + "\n b", "not valid YAML"),
        ("[" * 1_000_000, "too complex: nested deeper than 32 levels"),
        ("{a: " * 40, "too complex: nested deeper than 32 levels"),
        ("".join(f"{' ' * n}a:\n" for n in range(40)) + " " * 40 + "x: 1", "too complex: nested deeper than 32 levels"),
        ("a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a" + "]" * 20, "too complex: nested deeper"),
        ("a: &a [*a]", "*a points to nothing: put &a before the value it stands for"),
        ("a: *b", "*b points to nothing"),
        ("a: 1\n---\nb: 2", "a second document starts here"),
        ("{a: {b: 1}: c}", "not valid YAML"),
        ("? [a]\n: b", "a key must be plain text"),
        ("<<: 5", "`<<` takes an alias of a mapping"),
        ("%YAML 1.1\n---\na: 1", "this is read as YAML 1.2"),
    ],
)
def test_forms_that_hide_or_explode_are_refused_quickly(text, fault):
    began_s = time.process_time()
    assert any(fault in found for found in faults(text))
    assert time.process_time() - began_s < 1.0


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "a: b: c",
            "line 1: not valid YAML: mapping values are not allowed here (column 5): put a text that holds ': '",
        ),
        ("a: 1\nb\nc: 2", "line 3: not valid YAML: could not find expected ':'"),
        ("a: @10:20", "put a text that starts with @, ` or % in quotes"),
        ("a:\n\tb: 1", "indent with spaces, not tabs"),
        ('a: "open\nb: 1\n', "a quote is not closed"),
        ("a: [1, 2\nb: 3", "a bracket is not closed, or a comma is missing"),
        ("a:\n  - b\n c: 1", "check the indentation of this line"),
    ],
)
def test_a_fault_of_syntax_has_its_line_and_a_way_out(text, fault):
    found = faults(text)
    assert len(found) == 1
    assert found[0].startswith("line ")
    assert fault in found[0]


def described(reading) -> list[tuple[object, ...]]:
    return [
        (
            type(event).__name__,
            getattr(event, "value", None),
            getattr(event, "anchor", None),
            None if getattr(event, "tag", None) is None else str(event.tag),
            bool(getattr(event, "style", None)),
            None if "End" in type(event).__name__ or getattr(event, "value", "x") == "" else event.start_mark.line,
        )
        for event in reading
    ]


WORDS = (
    r"a|b1|: |:|- |-|\n|\n  |\n    | |,|{|}|[|]|&x |*x |? |?|#| #|>\n|'|\"|!t |%|@|0|.|<<: |---\n|...\n|\r\n|\t|é|~|$"
)
YAML_LIKE = st.lists(
    st.sampled_from([*WORDS.encode("latin-1").decode("unicode_escape").split("|"), "|\n", "\\"]), max_size=30
).map("".join)


@settings(max_examples=1500, deadline=None)
@given(YAML_LIKE)
def test_what_a_configuration_means_does_not_depend_on_the_parser_at_hand(text):
    *quick, sure = events.readings(text)
    for reading in quick:
        try:
            found = described(reading)
        except events.GaveUp:
            continue
        if found[2:] and found[2][0] == "ScalarEvent":  # a lone text is no configuration, however it is read
            assert next(itertools.islice(sure, 2, None)).__class__.__name__ == "ScalarEvent"
        else:
            assert found == described(sure)
