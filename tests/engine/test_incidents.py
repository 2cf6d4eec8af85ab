"""The rules of confirmation, as a table: each case is a history in letters and what is confirmed after each result."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes import NOW, make_check, make_result
from hypothesis import given
from hypothesis import strategies as st

from checks.base import Status
from dashboard.engine.incidents import advance, unconfirmed
from dashboard.model import CheckState, Incident

LETTERS = {"o": Status.OK, "w": Status.WARNING, "c": Status.CRITICAL, "u": Status.UNKNOWN}
WORDS = {None: "-"} | {status: letter for letter, status in LETTERS.items()}


def play(history: str, failure: int = 2, success: int = 1):
    """The state after each letter, and all incidents by id; result n is n seconds after NOW and has id n + 1."""
    check = make_check(failure_threshold=failure, success_threshold=success)
    state, is_open, incidents, states = CheckState(check_id="api"), None, {}, []
    for index, letter in enumerate(history):
        result = make_result(at=NOW + timedelta(seconds=index), status=LETTERS[letter], id=index + 1)
        step = advance(state, is_open, result, check, new_id=len(incidents) + 1)
        state = step.state
        if step.incident is not None:
            incidents[step.incident.id] = step.incident
            is_open = None if step.incident.closed_at else step.incident
        states.append(state)
    return states, incidents


@pytest.mark.parametrize(
    ("history", "thresholds", "confirmed"),
    [
        ("o", (2, 1), "o"),
        ("c", (2, 1), "-"),
        ("cc", (2, 1), "-c"),
        ("oc", (2, 1), "oo"),
        ("occ", (2, 1), "ooc"),
        ("ocoo", (2, 1), "oooo"),
        ("ocococ", (2, 1), "oooooo"),
        ("owc", (2, 1), "oow"),
        ("owcc", (2, 1), "oowc"),
        ("ouc", (2, 1), "oou"),
        ("occw", (2, 1), "oocc"),
        ("occww", (2, 1), "ooccw"),
        ("occucc", (2, 1), "oocccc"),
        ("occuucc", (2, 1), "ooccuuc"),
        ("occo", (2, 1), "ooco"),
        ("occoo", (2, 2), "oocco"),
        ("occoco", (2, 2), "oocccc"),
        ("occocwo", (2, 2), "ooccccc"),
        ("oc", (1, 1), "oc"),
        ("ocw", (1, 1), "ocw"),
        ("owccc", (3, 1), "ooowc"),
    ],
)
def test_a_status_is_confirmed_by_as_many_results_as_its_threshold_says(history, thresholds, confirmed):
    states, _ = play(history, *thresholds)
    assert "".join(WORDS[state.status] for state in states) == confirmed


def test_incident_opens_at_its_first_bad_result_and_closes_at_the_first_good_one():
    states, incidents = play("oowcco", 2, 1)
    assert incidents == {
        1: Incident(
            id=1,
            check_id="api",
            opened_at=NOW + timedelta(seconds=2),
            confirmed_at=NOW + timedelta(seconds=3),
            closed_at=NOW + timedelta(seconds=5),
            status=Status.CRITICAL,
            worst=Status.CRITICAL,
            summary="no answer within 5.0 s",
        )
    }
    assert states[-1].incident_id == 0
    assert states[-1].since_at == NOW + timedelta(seconds=5)


def test_recovery_that_needs_two_results_counts_from_the_first_of_them():
    _, incidents = play("occocoo", 2, 2)
    assert [incident.closed_at for incident in incidents.values()] == [NOW + timedelta(seconds=5)]


def test_second_trouble_is_a_second_incident():
    _, incidents = play("occocco", 2, 1)
    assert [incident.closed_at is not None for incident in incidents.values()] == [True, True]


def test_status_of_an_open_incident_counts_from_the_result_that_changed_it():
    states, _ = play("owwwcc", 2, 1)
    assert states[-1].status is Status.CRITICAL
    assert states[-1].since_at == NOW + timedelta(seconds=4)


@pytest.mark.parametrize(
    ("history", "thresholds", "text"),
    [
        ("o", (2, 1), ""),
        ("oc", (2, 1), "1 of 2"),
        ("c", (2, 1), "1 of 2"),
        ("occ", (2, 1), ""),
        ("occo", (2, 2), "1 of 2"),
    ],
)
def test_page_marks_what_waits_for_confirmation(history, thresholds, text):
    check = make_check(failure_threshold=thresholds[0], success_threshold=thresholds[1])
    states, _ = play(history, *thresholds)
    assert unconfirmed(states[-1], LETTERS[history[-1]], check) == text


def test_result_that_is_already_folded_in_changes_nothing():
    states, _ = play("occ")
    check = make_check()
    again = make_result(status=Status.OK, id=3)
    assert advance(states[-1], None, again, check, new_id=9).state == states[-1]


@given(st.text("owcu", max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_incident_is_open_exactly_while_something_bad_is_confirmed(history, failure, success):
    states, incidents = play(history, failure, success)
    if not states:
        return
    is_bad = states[-1].status is not None and states[-1].status.is_bad
    still_open = [incident for incident in incidents.values() if incident.closed_at is None]
    assert len(still_open) == int(is_bad)
    assert (states[-1].incident_id != 0) == is_bad
    for incident in incidents.values():
        assert incident.closed_at is None or incident.closed_at >= incident.confirmed_at >= incident.opened_at
