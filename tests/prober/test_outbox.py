"""Results on their way: batched, numbered, kept until acknowledged."""

from __future__ import annotations

from fakes import make_result

from dashboard.prober.link import Results
from dashboard.prober.outbox import BATCH_ROWS, WINDOW_BATCHES, Outbox


def _filled(rows: int, kept_rows: int = 100_000) -> Outbox:
    outbox = Outbox(kept_rows)
    for number in range(rows):
        outbox.add(make_result(str(number)))
    return outbox


def _all(outbox: Outbox) -> list[Results]:
    return list(iter(outbox.take, None))


def test_batches_are_numbered_from_one_and_bounded() -> None:
    batches = _all(_filled(BATCH_ROWS + 1))
    assert [(batch.sequence, len(batch.results)) for batch in batches] == [(1, BATCH_ROWS), (2, 1)]


def test_what_is_acknowledged_is_forgotten() -> None:
    outbox = _filled(3 * BATCH_ROWS)
    _all(outbox)
    outbox.acknowledge(2)
    assert outbox.rows == BATCH_ROWS
    outbox.resend()
    assert [batch.sequence for batch in _all(outbox)] == [3]


def test_what_is_asked_for_again_comes_in_the_same_batches_before_anything_new() -> None:
    outbox = _filled(BATCH_ROWS + 1)
    sent = _all(outbox)
    outbox.resend()
    outbox.add(make_result("new"))
    again = _all(outbox)
    assert again[:2] == sent
    assert [result.check_id for result in again[2].results] == ["new"]


def test_only_so_many_batches_are_on_their_way_at_once() -> None:
    outbox = _filled((WINDOW_BATCHES + 5) * BATCH_ROWS)
    assert len(_all(outbox)) == WINDOW_BATCHES
    outbox.acknowledge(3)
    assert [batch.sequence for batch in _all(outbox)] == [WINDOW_BATCHES + 1, WINDOW_BATCHES + 2, WINDOW_BATCHES + 3]


def test_a_full_outbox_keeps_the_oldest_and_counts_what_it_drops() -> None:
    outbox = _filled(5, kept_rows=3)
    (batch,) = _all(outbox)
    assert [result.check_id for result in batch.results] == ["0", "1", "2"]
    assert outbox.dropped == 2
    outbox.acknowledge(1)
    assert outbox.add(make_result("room again"))
