"""A table of documents as readers see it, and as TinyDB's updaters may change it."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, MutableMapping
from math import isfinite
from typing import Any

import orjson

JsonObject = dict[str, Any]  # any JSON values
Operation = tuple[Any, ...]  # ("put", table, id, document), ("cut", table, id), ("make" | "drop", table)

STRICT = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


class TableView(Mapping[str, JsonObject]):
    """A table as it is, readable while it changes: one look-up sees the newest, an iteration one moment."""

    def __init__(self, table: dict[str, JsonObject]) -> None:
        self._table = table

    def __getitem__(self, key: str) -> JsonObject:
        return self._table[key]

    def __contains__(self, key: object) -> bool:
        return key in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.copy())

    def __len__(self) -> int:
        return len(self._table)

    def items(self) -> ItemsView[str, JsonObject]:
        return self._table.copy().items()


class Recording(MutableMapping[int, JsonObject]):
    """A table that TinyDB's updaters may change at will: it hands out copies and knows afterwards what was changed.

    As in a dict of TinyDB, True and 1.0 find the document 1 and "1" finds none. A new id must be a whole number: TinyDB
    takes any, and then cannot read its table again.
    """

    def __init__(self, table: Mapping[str, JsonObject]) -> None:
        self._table = table
        self._copies: dict[int, JsonObject] = {}
        self._removed: set[int] = set()  # stored ones; those of them that came back are in the copies

    def __getitem__(self, key: int) -> JsonObject:
        if key not in self._copies:
            if key in self._removed:
                raise KeyError(key)
            self._copies[int(key)] = _copy(self._table[_key_of(key)])
        return self._copies[key]

    def __setitem__(self, key: int, document: JsonObject) -> None:
        if isinstance(key, bool) or not isinstance(key, int):
            raise ValueError(f"the id of a document must be a whole number, got {key!r}")
        self._copies[key] = document

    def __delitem__(self, key: int) -> None:
        if key not in self:
            raise KeyError(key)
        self._copies.pop(key, None)
        if _key_of(key) in self._table:
            self._removed.add(int(key))

    def __contains__(self, key: object) -> bool:
        return key in self._copies or (key not in self._removed and _key_of(key) in self._table)

    def __iter__(self) -> Iterator[int]:
        kept = [key for key in map(int, self._table) if key not in self._removed]
        yield from kept
        yield from (key for key in list(self._copies) if key in self._removed or str(key) not in self._table)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def clear(self) -> None:
        self._copies.clear()
        self._removed = set(map(int, self._table))

    def operations(self, name: str) -> list[Operation]:
        """What must be done to the table so that it is as this one is now."""
        cuts: list[Operation] = [("cut", name, str(key)) for key in sorted(self._removed)]
        puts: list[Operation] = [
            ("put", name, str(key), document) for key, document in self._copies.items() if self._is_changed(key)
        ]
        return cuts + puts

    def _is_changed(self, key: int) -> bool:
        """By its JSON: to Python 1, 1.0 and True are equal."""
        stored = None if key in self._removed else self._table.get(str(key))
        document = self._copies[key]
        refuse_not_finite(document)
        return stored is None or orjson.dumps(stored) != orjson.dumps(document, option=STRICT)


def _key_of(doc_id: object) -> str:
    """What the table calls the document; for what is no whole number a word that no table has."""
    is_whole = isinstance(doc_id, int) or (isinstance(doc_id, float) and doc_id.is_integer())
    return str(int(doc_id)) if is_whole else ""  # type: ignore[call-overload]  # is_whole says that it is a number


def _copy(value: Any) -> Any:  # any JSON value
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copy(each) for each in value]
    return value


def refuse_not_finite(value: object) -> None:
    """NaN and infinity would come back from JSON as null."""
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError(f"{value} cannot be stored: numbers must be finite")
    elif isinstance(value, Mapping):
        for each in value.values():
            refuse_not_finite(each)
    elif isinstance(value, list | tuple):
        for each in value:
            refuse_not_finite(each)
