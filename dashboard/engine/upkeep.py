"""Lets the store keep itself in order, in a thread of its own, and does what a person asks of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from checks.base import Clock
from dashboard.errors import RunRefused, StoreError
from dashboard.storage.base import Store

EVERY_S = 20.0

logger = logging.getLogger(__name__)


class StoreUpkeep:
    """Calls `store.maintain` whenever `wake` is set and every 20 s; see also ports.Upkeep. Thread-safe."""

    def __init__(
        self,
        store: Store,
        *,
        wake: threading.Event,
        is_configured: Callable[[str], bool],
        clock: Clock,
        on_forget: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._wake = wake
        self._is_configured = is_configured
        self._clock = clock
        self._on_forget = on_forget
        self._is_stopping = False
        self._must_compact = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step that is going on, without waiting for it; idempotent."""
        self._is_stopping = True
        self._wake.set()

    @property
    def is_compacting(self) -> bool:
        """Whether that was asked for and is not done."""
        return self._must_compact.is_set()

    def compact(self) -> None:
        """See ports.Upkeep."""
        self._must_compact.set()
        self._wake.set()

    def forget(self, check_id: str) -> int:
        """See ports.Upkeep."""
        if self._is_configured(check_id):
            raise RunRefused(
                f"check {check_id!r} is configured: take it out of the configuration before its history goes"
            )
        if check_id not in self._store.check_ids():
            raise RunRefused(f"check {check_id!r} has no history")
        rows = self._store.forget(check_id)
        self._on_forget(check_id)
        logger.warning("the history of check %r was deleted: %d results", check_id, rows)
        return rows

    def _run(self) -> None:
        while not self._is_stopping:
            self._wake.wait(EVERY_S)
            self._wake.clear()
            if self._is_stopping:
                return
            self._store.maintain(self._clock.now())
            if self._must_compact.is_set():
                self._compact()

    def _compact(self) -> None:
        try:
            self._store.compact()
        except StoreError as error:
            logger.error("compacting failed, history stays as it is: %s", error)
        finally:
            self._must_compact.clear()
