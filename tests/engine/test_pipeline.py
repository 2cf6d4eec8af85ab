"""Durable first, then confirmed, then shown."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from fakes import NOW, FakeClock, MemoryStore, make_check, make_result

from checks.base import Status
from dashboard.engine.board import LiveBoard
from dashboard.engine.pipeline import Pipeline
from dashboard.errors import StoreError, StoreReadOnly

BAD = Status.CRITICAL


class Rig:
    """A pipeline over a memory store; `restart` gives a new pipeline over the same store."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.restart()

    def restart(self) -> None:
        self.board = LiveBoard(boot="b", clock=FakeClock())
        self.pipeline = Pipeline(self.store, self.board)
        self.pipeline.start()
        self.pipeline.configure([make_check("a"), make_check("b")], [])

    def record(self, check_id: str, *statuses: Status) -> None:
        for status in statuses:
            self.pipeline.record([make_result(check_id, NOW + timedelta(seconds=len(self.store.rows)), status)])


@pytest.fixture
def rig():
    return Rig()


def test_nothing_is_shown_that_was_not_recorded(rig):
    rig.store.fail = StoreReadOnly("no")
    with pytest.raises(StoreReadOnly):
        rig.record("a", BAD)
    assert rig.board.check("a").shown is None


def test_result_gets_the_id_that_the_store_gave(rig):
    rig.record("b", Status.OK)
    rig.record("a", Status.OK)
    assert rig.board.check("a").result.id == 2


def test_confirmed_trouble_opens_an_incident_that_survives_a_restart(rig):
    rig.record("a", BAD)
    assert rig.board.check("a").unconfirmed == "1 of 2"
    assert rig.board.check("a").incident is None
    rig.record("a", BAD)
    assert rig.board.check("a").incident.id == 1
    rig.restart()
    assert rig.board.check("a").incident.id == 1
    assert rig.board.check("a").state.status is BAD
    rig.record("a", Status.OK)
    assert rig.store.incidents(open_only=True) == []
    assert rig.board.check("a").incident is None


def test_incidents_that_open_in_one_batch_have_different_ids(rig):
    batch = [make_result(check_id, status=BAD) for check_id in ("a", "b", "a", "b")]
    rig.pipeline.record(batch)
    assert sorted(incident.id for incident in rig.store.incidents()) == [1, 2]


def test_results_that_were_recorded_but_not_confirmed_count_after_a_restart(rig):
    rig.record("a", Status.OK)
    rig.store.append([make_result("a", status=BAD), make_result("a", status=BAD)])
    rig.restart()
    assert rig.board.check("a").incident is not None
    assert len(rig.store.incidents()) == 1
    rig.restart()
    assert len(rig.store.incidents()) == 1


def test_streak_that_waits_for_confirmation_is_found_again_after_a_restart(rig):
    rig.record("a", Status.OK, BAD)
    rig.restart()
    assert rig.board.check("a").unconfirmed == "1 of 2"


def test_documents_that_could_not_be_saved_are_saved_with_the_next_results(rig):
    save, failures = rig.store.save, []

    def fail_once(**documents):
        if not failures:
            failures.append(1)
            raise StoreError("disk")
        save(**documents)

    rig.store.save = fail_once
    rig.record("a", BAD, BAD)
    rig.record("b", Status.OK)
    assert [incident.check_id for incident in rig.store.incidents()] == ["a"]


def test_units_are_remembered_once_a_check(rig):
    rig.pipeline.record([make_result("a", metrics={"size": 3.0}, units={"size": "B"})])
    rig.pipeline.record([make_result("a", metrics={"size": 4.0}, units={"size": "B"})])
    assert rig.store.units() == {"a": {"size": "B"}}
    rig.restart()
    assert rig.board.check("a").units == {"size": "B"}


def test_result_of_a_check_that_is_no_longer_configured_is_still_recorded(rig):
    rig.record("gone", BAD, BAD)
    assert len(rig.store.rows) == 2
    assert rig.store.incidents() == []


def test_configuration_is_taken_while_results_wait_for_room_and_each_is_folded_in_once(rig):
    recorded, has_room, append = threading.Event(), threading.Event(), rig.store.append

    def append_slowly(results):
        ids = append(results)
        recorded.set()
        assert has_room.wait(10)
        return ids

    rig.store.append = append_slowly
    recording = threading.Thread(target=rig.record, args=("c", BAD))
    recording.start()
    assert recorded.wait(10)
    configuring = threading.Thread(target=rig.pipeline.configure, args=([make_check("c")], []))
    configuring.start()
    configuring.join(10)
    assert not configuring.is_alive()
    has_room.set()
    recording.join(10)
    view = rig.board.check("c")
    assert (view.unconfirmed, len(view.spark)) == ("1 of 2", 1)


def test_an_import_of_the_past_says_nothing_about_the_present(rig):
    rig.record("a", Status.OK, Status.OK)
    before = rig.store.saved_states.get("a"), rig.store.incidents()
    newest_at = rig.store.rows[-1].at
    rig.store.append([make_result("a", newest_at - timedelta(days=9 - day), BAD) for day in range(5)])
    again = Pipeline(rig.store, rig.board)
    again.start()
    again.configure([make_check("a")], [])
    assert (rig.store.saved_states.get("a"), rig.store.incidents()) == before
