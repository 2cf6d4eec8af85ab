"""Answers that are dear to make, kept for a while and shared by all who ask."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    version: Hashable
    at_s: float
    value: T


class Shelf(Generic[T]):
    """The newest answer to each question. Thread-safe: at worst an answer is made twice."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, _Kept[T]] = OrderedDict()
        self._lock = threading.Lock()

    def version(self, key: Hashable, version: Hashable, *, now_s: float, keep_s: float) -> Hashable:
        """The version that `take` with the same words would give: the newest, or an older one that is good enough."""
        kept = self._fit(key, version, now_s, keep_s)
        return version if kept is None else kept.version

    def take(self, key: Hashable, version: Hashable, make: Callable[[], T], *, now_s: float, keep_s: float) -> T:
        """The answer of that version, or an older one that was made within the last `keep_s` seconds."""
        kept = self._fit(key, version, now_s, keep_s)
        if kept is None:
            kept = _Kept(version, now_s, make())
            with self._lock:
                self._kept[key] = kept
                self._kept.move_to_end(key)
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
        return kept.value

    def _fit(self, key: Hashable, version: Hashable, now_s: float, keep_s: float) -> _Kept[T] | None:
        with self._lock:
            kept = self._kept.get(key)
        fits = kept is not None and (kept.version == version or 0 <= now_s - kept.at_s < keep_s)
        return kept if fits else None
