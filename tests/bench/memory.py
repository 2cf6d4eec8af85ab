"""How far memory grows while something works."""

from __future__ import annotations

import gc
import threading
import time
from types import TracebackType

import psutil

MB = 1e6
_EVERY_S = 0.02
_CHILDREN_EVERY = 12  # samples: to look for children takes a millisecond


class Growth:
    """Watches this process, and those it starts, over a `with` block: peak over what there was before, in MB."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._is_over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._samples: list[tuple[float, float]] = []  # seconds on the monotonic clock, MB
        self._children: list[psutil.Process] = []

    def __enter__(self) -> Growth:
        gc.collect()
        self._before_mb = self._used_mb()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._watcher.join()

    def now_mb(self) -> float:
        """How far it is above the beginning now, garbage not counted."""
        gc.collect()
        return self._used_mb() - self._before_mb

    @property
    def peak_mb(self) -> float:
        """The most that it was above the beginning."""
        return max((mb for _, mb in self._samples), default=0.0)

    @property
    def later_mb(self) -> float:
        """How much higher the peak of the second half is than that of the first: what is bounded does not grow on."""
        middle_s = (self._samples[0][0] + self._samples[-1][0]) / 2 if self._samples else 0.0
        first = max((mb for at_s, mb in self._samples if at_s <= middle_s), default=0.0)
        second = max((mb for at_s, mb in self._samples if at_s > middle_s), default=0.0)
        return max(0.0, second - first)

    def _watch(self) -> None:
        while not self._is_over.wait(_EVERY_S):
            self._samples.append((time.monotonic(), self._used_mb() - self._before_mb))

    def _used_mb(self) -> float:
        if len(self._samples) % _CHILDREN_EVERY == 0:
            self._children = self._process.children(recursive=True)
        total = 0
        for process in [self._process, *self._children]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total / MB
