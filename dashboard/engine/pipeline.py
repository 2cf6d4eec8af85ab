"""The one road of a result: durable first, then confirmed, then shown."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from dashboard.engine.board import SPARK, LiveBoard
from dashboard.engine.incidents import advance
from dashboard.errors import StoreError
from dashboard.model import BrokenCheck, Check, CheckState, Incident, Result
from dashboard.storage.base import Store

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Documents:
    """What waits to be saved beside the results, by check id."""

    states: dict[str, CheckState] = field(default_factory=dict)
    incidents: dict[int, Incident] = field(default_factory=dict)
    units: dict[str, dict[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.states or self.incidents or self.units)


class Pipeline:
    """Records results and keeps what they mean. `record` may be called from any thread, one batch goes at a time."""

    def __init__(self, store: Store, board: LiveBoard) -> None:
        self._store = store
        self._board = board
        self._recording = threading.Lock()  # taken first, and held over the wait for room on the disk
        self._lock = threading.Lock()
        self._checks: dict[str, Check] = {}
        self._states: dict[str, CheckState] = {}
        self._open: dict[str, Incident] = {}
        self._units: dict[str, dict[str, str]] = {}
        self._caught_up: set[str] = set()
        self._next_incident_id = 1
        self._unsaved = _Documents()

    def start(self) -> None:
        """Take up what the store remembers."""
        self._states = self._store.states()
        still_open = self._store.incidents(open_only=True, limit=1_000_000)
        self._open = {incident.check_id: incident for incident in still_open}
        self._units = {check_id: dict(units) for check_id, units in self._store.units().items()}
        self._next_incident_id = self._store.next_incident_id()

    def configure(self, checks: Sequence[Check], broken: Sequence[BrokenCheck]) -> None:
        """Take these checks from now on. A check that is gone keeps its history, and its incident as it stands."""
        with self._lock:
            self._checks = {check.id: check for check in checks}
            self._catch_up()
            self._board.configure(
                [*checks, *broken], self._store, states=self._states, incidents=self._open.values(), units=self._units
            )

    def record(self, results: Sequence[Result]) -> None:
        """Record the batch durably, fold it in, show it. Nothing shows before it is durable.

        Raises StoreError when it could not be recorded: then nothing of it was.
        """
        if not results:
            return
        with self._recording:
            ids = self._store.append(results)
            numbered = [replace(result, id=number) for result, number in zip(results, ids, strict=True)]
            self._take_in(numbered)

    def forget(self, check_id: str) -> None:
        """Know nothing more of a check whose history was deleted: if it comes back, it begins anew."""
        with self._lock:
            for known in (self._states, self._open, self._units, self._unsaved.states, self._unsaved.units):
                known.pop(check_id, None)
            self._caught_up.discard(check_id)

    def _take_in(self, numbered: Sequence[Result]) -> None:
        """Fold durable results in and show them."""
        with self._lock:
            changed = self._fold(numbered)
            self._note_units(numbered)
            self._save()
            states = {
                result.check_id: self._states[result.check_id] for result in numbered if result.check_id in self._states
            }
            self._board.apply(numbered, states=states, incidents=changed)

    def _fold(self, results: Iterable[Result]) -> dict[str, Incident]:
        """The incidents that the results opened, changed or closed, by check."""
        changed: dict[str, Incident] = {}
        for result in results:
            check = self._checks.get(result.check_id)
            if check is None:
                continue
            before = self._states.get(check.id) or CheckState(check_id=check.id)
            step = advance(before, self._open.get(check.id), result, check, new_id=self._next_incident_id)
            self._states[check.id] = step.state
            if step.incident is not None:
                changed[check.id] = step.incident
                self._keep(step.incident)
            if step.incident is not None or step.state.version != before.version:
                self._unsaved.states[check.id] = step.state
        return changed

    def _keep(self, incident: Incident) -> None:
        self._unsaved.incidents[incident.id] = incident
        self._next_incident_id = max(self._next_incident_id, incident.id + 1)
        if incident.closed_at is None:
            self._open[incident.check_id] = incident
        else:
            self._open.pop(incident.check_id, None)

    def _note_units(self, results: Iterable[Result]) -> None:
        for result in results:
            known = self._units.setdefault(result.check_id, {})
            for name, unit in result.units.items():
                if known.get(name) != unit:
                    known[name] = unit
                    self._unsaved.units.setdefault(result.check_id, {})[name] = unit

    def _save(self) -> None:
        """Save what changed beside the results. A fault keeps it for the next batch: the results are safe without it."""
        if not self._unsaved:
            return
        waiting = self._unsaved
        try:
            self._store.save(
                states=waiting.states.values(), incidents=waiting.incidents.values(), units=waiting.units or None
            )
        except StoreError as error:
            logger.error("states and incidents could not be saved, trying again with the next results: %s", error)
        else:
            self._unsaved = _Documents()

    def _catch_up(self) -> None:
        """Fold in what was recorded but not yet confirmed when the last process ended; once a check."""
        for check_id in self._checks.keys() - self._caught_up:
            self._caught_up.add(check_id)
            state = self._states.get(check_id)
            self._fold(_missed(self._store.last(check_id, SPARK), state.last_id if state else 0))
        self._save()


def _missed(newest: Sequence[Result], seen_id: int) -> list[Result]:
    """What was recorded after the last result that was folded in, oldest first, but for an import of the past.

    `newest` is newest first. An outage of long ago is history, not news.
    """
    fresh = [result for result in newest if result.id > seen_id]
    latest_at = max((result.at for result in newest), default=None)
    found: list[Result] = []
    for result in reversed(fresh):
        if not found or result.at >= found[-1].at:
            found.append(result)
    return found if found and latest_at is not None and found[-1].at == latest_at else []
