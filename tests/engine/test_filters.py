"""The filter language: what passes, what is refused, and in which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.base import Probe, Status
from dashboard.engine.filters import parse
from dashboard.errors import BadFilter
from dashboard.model import BrokenCheck, Check, CheckView, Schedule


class Door(Probe, type="door"):
    """A probe with a target."""

    place: str = "10.0.0.5:5432"

    @property
    def target(self) -> str:
        return self.place


def view(name="Web shop", shown=Status.OK, **fields) -> CheckView:
    check = Check(
        id=fields.pop("id", "shop"),
        name=name,
        probe=Door(place=fields.pop("place", "10.0.0.5:5432")),
        schedule=Schedule(every_s=30, timeout_s=5),
        **fields,
    )
    return CheckView(
        check=check,
        version=1,
        shown=shown,
        summary="",
        since_at=None,
        result=None,
        last_good=None,
        last_bad=None,
        state=None,
        incident=None,
    )


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", True),
        ("   ", True),
        ("shop", True),
        ("SHOP", True),
        ("web shop", True),
        ("web bakery", False),
        ('"web shop"', True),
        ('"shop web"', False),
        ("10.0.0.5", True),
        ('"10.0.0.5:5432"', True),
        ("front", True),
        ("-shop", False),
        ("-bakery", True),
        ("st:ok", True),
        ("st:critical,ok", True),
        ("st:critical st:ok", True),
        ("st:critical", False),
        ("-st:critical,unknown", True),
        ("-st:ok", False),
        ("tag:prod", True),
        ("tag:PROD", True),
        ("tag:pro", False),
        ("tag:test,web", True),
        ("tag:test tag:web", True),
        ("tag:web -tag:prod", False),
        ("type:door", True),
        ("type:http", False),
        ('group:"front doors"', True),
        ('group:front,"front doors"', True),
        ("group:front", False),
        ("shop tag:web type:door st:ok", True),
        ("shop tag:web type:door st:warning", False),
    ],
)
def test_filter_passes_what_it_describes(text, passes):
    check = view(tags=("web", "prod"), group="Front doors")
    assert parse(text).matches(check) is passes


@pytest.mark.parametrize(
    ("text", "message", "token"),
    [
        ("sta:ok", "unknown key 'sta:', did you mean 'st:'", "sta:"),
        ("zone:db", "unknown key 'zone:', use one of st:, tag:, type:, group:", "zone:"),
        ("st:down", "unknown status 'down' after st:, use one of ok, warning, critical, unknown", "down"),
        ("st:critcal", "unknown status 'critcal' after st:, did you mean 'critical'", "critcal"),
        ("tag:", "'tag:' names nothing; write tag:something", "tag:"),
        ('shop "web', "never closed", '"web'),
        ("shop -", "'-' is not a word", "-"),
        ("a" * 10_001, "longer than 10 kB", ""),
        ("shop\0", "NUL", ""),
    ],
)
def test_bad_filter_names_the_token_and_the_way_out(text, message, token):
    with pytest.raises(BadFilter) as caught:
        parse(text)
    assert message in str(caught.value)
    assert caught.value.token == token


@pytest.mark.parametrize("text", ["k" * 9000 + ":x", "st:" + "a" * 9000, '"' + "a" * 9000, "tag:" + "," * 9000])
def test_the_message_about_a_long_token_stays_short(text):
    with pytest.raises(BadFilter) as caught:
        parse(text)
    assert len(str(caught.value)) < 200


def test_a_paused_check_has_no_status_to_be_found_by():
    assert not parse("st:ok").matches(view(paused=True))
    assert parse("-st:ok").matches(view(paused=True))
    assert parse("shop").matches(view(paused=True))


def test_a_check_that_never_ran_matches_no_status():
    assert not parse("st:ok,warning,critical,unknown").matches(view(shown=None))


def test_a_broken_check_is_found_by_its_words_alone():
    broken = BrokenCheck(id="pay", name="Payments", type="http", fault="no PAY_TOKEN", group="Shop", tags=("prod",))
    board = CheckView(
        check=broken,
        version=1,
        shown=None,
        summary="",
        since_at=None,
        result=None,
        last_good=None,
        last_bad=None,
        state=None,
        incident=None,
    )
    assert parse("payments tag:prod type:http").matches(board)
    assert not parse("st:unknown").matches(board)


def test_values_tell_what_an_export_inherits():
    asked = parse("shop tag:web,prod -tag:old st:critical")
    assert asked.values("tag") == ("prod", "web")
    assert asked.values("st") == ("critical",)
    assert asked.values("group") == ()


@given(st.text(alphabet='ab:,-" st', max_size=40) | st.text(max_size=200))
def test_any_text_is_a_filter_or_a_clear_refusal(text):
    try:
        passes = parse(text).matches(view())
    except BadFilter as error:
        passes = bool(str(error))
    assert isinstance(passes, bool)
