"""Results on their way to the web process: batched, numbered, kept until they are durable there."""

from __future__ import annotations

from collections import deque

from dashboard.model import Result
from dashboard.prober.link import Results

BATCH_ROWS = 256
WINDOW_BATCHES = 16  # sent and not acknowledged: more would only pile up in the socket
KEPT_ROWS = 100_000  # of 1.3 KB each: 130 MB; a quarter of an hour of a full disk at 100 results a second


class Outbox:
    """Holds what is not acknowledged, bounded: when it is full, what comes next is dropped and counted."""

    def __init__(self, kept_rows: int = KEPT_ROWS) -> None:
        self._kept_rows = kept_rows
        self._fresh: deque[Result] = deque()
        self._sent: deque[Results] = deque()
        self._again: deque[Results] = deque()
        self._sent_rows = 0
        self._sequence = 0
        self.dropped = 0

    @property
    def rows(self) -> int:
        """How many results are not acknowledged."""
        return len(self._fresh) + self._sent_rows

    @property
    def is_batch_full(self) -> bool:
        """Whether it is time to send without waiting for more."""
        return len(self._fresh) >= BATCH_ROWS

    def add(self, result: Result) -> bool:
        """Take the result; False when there is no room: it is dropped, what is older is kept."""
        if self.rows >= self._kept_rows:
            self.dropped += 1
            return False
        self._fresh.append(result)
        return True

    def take(self) -> Results | None:
        """The next batch to send; None when there is none, or enough are on their way."""
        if self._again:
            return self._again.popleft()
        if not self._fresh or len(self._sent) >= WINDOW_BATCHES:
            return None
        self._sequence += 1
        rows = tuple(self._fresh.popleft() for _ in range(min(BATCH_ROWS, len(self._fresh))))
        batch = Results(sequence=self._sequence, results=rows)
        self._sent.append(batch)
        self._sent_rows += len(rows)
        return batch

    def acknowledge(self, sequence: int) -> None:
        """Forget every batch up to this sequence."""
        while self._sent and self._sent[0].sequence <= sequence:
            self._sent_rows -= len(self._sent.popleft().results)
        while self._again and self._again[0].sequence <= sequence:
            self._again.popleft()

    def resend(self) -> None:
        """Offer every unacknowledged batch again, oldest first."""
        self._again = deque(self._sent)
