"""What a store was given and what it acknowledged, and from that what must, may and must not be there at any moment.

Rows carry a serial number in their summary; documents are compared by what `repr` says of them. A moment is a number of
operations of the disk (see faults.disk).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from dashboard.model import Result

Documents = Mapping[str, str]  # {repr of the key: repr of the document}
Changes = Mapping[str, str | None]  # None: it is removed
_MANY = 16
_SERIAL = re.compile(r"run (\d+)\b")


def serial_of(result: Result) -> int:
    """The number under which the ledger knows the row; 0 when nobody can have sent it."""
    found = _SERIAL.match(result.summary)
    return int(found[1]) if found else 0


@dataclass(slots=True, kw_only=True)
class Sent:
    """One row on its way: `acked_at` stays None while nobody knows what became of it."""

    result: Result
    begun_at: int
    acked_at: int | None = None


@dataclass(slots=True, kw_only=True)
class Commit:
    """One change of documents, all or nothing."""

    changes: Changes
    begun_at: int
    acked_at: int | None = None


@dataclass(slots=True, kw_only=True)
class Forgotten:
    """One wish to forget a check, up to that row."""

    check_id: str
    last_serial: int
    begun_at: int
    acked_at: int | None = None


class Possible:
    """What the documents may be, after commits of which some may have failed."""

    def __init__(self, known: Documents | None = None) -> None:
        self.newest: dict[str, str] = dict(known or {})  # as if all had gone well
        self._whole: list[dict[str, str]] = [self.newest]  # empty: too many possibilities to tell each
        self._values: dict[str, set[str | None]] = {key: {value} for key, value in self.newest.items()}

    def change(self, changes: Changes, *, is_certain: bool) -> None:
        """The next commit; not certain: all or nothing of it was done."""
        for key, value in changes.items():
            self._values[key] = {value} if is_certain else {*self._values.get(key, {None}), value}
        self.newest = _changed(self.newest, changes)
        after = [_changed(documents, changes) for documents in self._whole]
        self._whole = after if is_certain else [*self._whole, *after]
        if len(self._whole) > _MANY:
            self._whole = []

    def fits(self, found: Documents) -> bool:
        """Whether these may be the documents."""
        if self._whole:
            return found in self._whole
        return all(found.get(key) in self._values.get(key, {None}) for key in found.keys() | self._values.keys())


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a store that stopped at that moment owes. Rows by serial number."""

    now_at: datetime
    certain: Mapping[int, Result]  # acknowledged: as they are, with their ids
    aged: Mapping[int, Result]  # acknowledged, and so old that retention may have given them up
    unknown: Mapping[int, Result]  # sent or to be forgotten when it stopped: there or not
    documents: Possible
    unsettled: frozenset[str]  # checks of which something was being forgotten
    old: frozenset[int]  # of all these rows, those that retention may give up by now

    @property
    def highest_id(self) -> int:
        """The highest id that was acknowledged."""
        return max((result.id for result in (*self.certain.values(), *self.aged.values())), default=0)


class Ledger:
    """Written beside the work: `moment` tells how many operations the disk has done."""

    def __init__(
        self, moment: Callable[[], int], keep_s: Callable[[str], float] = lambda check_id: float("inf")
    ) -> None:
        self._moment = moment
        self._keep_s = keep_s
        self._sent: dict[int, Sent] = {}
        self._commits: list[Commit] = []
        self._forgotten: list[Forgotten] = []
        self._instants: list[tuple[int, datetime]] = []

    def tell_time(self, now_at: datetime) -> None:
        """It is that late from here on."""
        self._instants.append((self._moment(), now_at))

    @contextmanager
    def sending(self, results: Iterable[Result]) -> Iterator[list[int]]:
        """Rows go in; whoever got ids puts them into the list."""
        sent = [Sent(result=result, begun_at=self._moment()) for result in results]
        self._sent |= {serial_of(each.result): each for each in sent}
        ids: list[int] = []
        yield ids
        for each, row_id in zip(sent, ids, strict=True):
            each.acked_at, each.result = self._moment(), replace(each.result, id=row_id)

    @contextmanager
    def changing(self, changes: Changes) -> Iterator[None]:
        """Documents change; leaving without an exception is the acknowledgement."""
        commit = Commit(changes=changes, begun_at=self._moment())
        self._commits.append(commit)
        yield
        commit.acked_at = self._moment()

    @contextmanager
    def forgetting(self, check_id: str) -> Iterator[None]:
        """A check is forgotten."""
        forgotten = Forgotten(check_id=check_id, last_serial=max(self._sent, default=0), begun_at=self._moment())
        self._forgotten.append(forgotten)
        yield
        forgotten.acked_at = self._moment()

    def promise(self, moment: int | None = None) -> Promise:
        """What is owed at that moment, or now."""
        moment = self._moment() if moment is None else moment
        now_at = max(instant for told_at, instant in self._instants if told_at <= moment)
        certain: dict[int, Result] = {}
        aged: dict[int, Result] = {}
        old: set[int] = set()
        unknown: dict[int, Result] = {}
        forgotten = [each for each in self._forgotten if each.begun_at <= moment]
        for serial, sent in self._sent.items():
            result = sent.result
            wishes = [each for each in forgotten if each.check_id == result.check_id and serial <= each.last_serial]
            if sent.begun_at > moment or any(_is_done(each.acked_at, moment) for each in wishes):
                continue
            if (now_at - result.at).total_seconds() > self._keep_s(result.check_id):
                old.add(serial)
            if wishes or not _is_done(sent.acked_at, moment):
                unknown[serial] = result
            elif serial in old:
                aged[serial] = result
            else:
                certain[serial] = result
        return Promise(
            now_at=now_at,
            certain=certain,
            aged=aged,
            unknown=unknown,
            documents=self._documents(moment),
            unsettled=frozenset(each.check_id for each in forgotten if not _is_done(each.acked_at, moment)),
            old=frozenset(old),
        )

    def _documents(self, moment: int) -> Possible:
        possible = Possible()
        for commit in self._commits:
            if commit.begun_at <= moment:
                possible.change(commit.changes, is_certain=_is_done(commit.acked_at, moment))
        return possible


def _is_done(acked_at: int | None, moment: int) -> bool:
    return acked_at is not None and acked_at <= moment


def _changed(documents: Documents, changes: Changes) -> dict[str, str]:
    merged = {**documents, **{key: value for key, value in changes.items() if value is not None}}
    return {key: value for key, value in merged.items() if changes.get(key, "") is not None}
