"""What a fleet of HTTP checks records, made up but alike in what costs: order, jitter, texts, metrics, outages.

Times have the microseconds that curl and the clock give. A run is a little late, its answer takes a lognormal time around
what is usual for its check (sigma 0.1), one in a hundred takes three times as long. One result in 200 is bad, 30 in a row.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from checks._words import duration
from checks.base import Detail, Status
from dashboard.model import Result
from dashboard.storage.records import Row, row_of_result

BATCH = 5000
POOL = 65_536  # noise repeats after so many rows of a check: no block of a file is that long
PHASES = {"dns": 0.004, "connect": 0.06, "tls": 0.16, "first_byte": 0.74, "transfer": 0.036}  # their shares of the time
LEEWAY = timedelta(hours=1)  # what is inserted later still lies in the past
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OUTAGE_RUNS, _OUTAGE_EVERY = 30, 6000
_REFUSED = Detail(
    phase="connect", expected="an answer", got="connection refused", facts={"address": "10.0.3.17", "HTTP version": "2"}
)


@dataclass(frozen=True, slots=True)
class Noise:
    """What differs from run to run, by place in the pool."""

    lateness_us: Sequence[int]
    slowness: Sequence[float]  # times what is usual
    overhead_us: Sequence[int]  # of the run beyond the answer
    shares: Sequence[tuple[float, ...]]  # of the time, by phase
    bytes_more: Sequence[int]

    @classmethod
    def make(cls) -> Noise:
        """The same noise each time."""
        dice = random.Random(7)
        return cls(
            lateness_us=[int(300 + dice.expovariate(1 / 900)) for _ in range(POOL)],
            slowness=[math.exp(dice.gauss(0, 0.1)) * (3 if dice.random() < 0.01 else 1) for _ in range(POOL)],
            overhead_us=[int(250 + dice.expovariate(1 / 150)) for _ in range(POOL)],
            shares=[tuple(share * math.exp(dice.gauss(0, 0.1)) for share in PHASES.values()) for _ in range(POOL)],
            bytes_more=[dice.randrange(8) for _ in range(POOL)],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """So many checks that run every so many seconds, the last of `rounds` runs of each just before `end_at`."""

    checks: int
    every_s: int
    rounds: int
    end_at: datetime
    has_phases: bool = False  # eight metrics instead of the response time alone
    noise: Noise = field(default_factory=Noise.make, repr=False)

    @property
    def rows(self) -> int:
        """All of them."""
        return self.checks * self.rounds

    @property
    def start_at(self) -> datetime:
        """When the first round begins."""
        return self.end_at - timedelta(seconds=self.every_s * self.rounds)

    def name(self, check: int) -> str:
        """The id of a check, as people give them."""
        return f"shop-{check:03d}-health"

    def batches(self, *, batch: int = BATCH, first_round: int = 0, rounds: int | None = None) -> Iterator[list[Result]]:
        """The results in the order in which they are recorded: by the end of each run."""
        held: list[Result] = []
        for number in range(first_round, self.rounds if rounds is None else first_round + rounds):
            held += self.round(number)
            while len(held) >= batch:
                yield held[:batch]
                del held[:batch]
        if held:
            yield held

    def documents(self, rows: int, *, first_round: int) -> list[Row]:
        """So many results as plain documents."""
        batches = self.batches(first_round=first_round, rounds=-(-rows // self.checks))
        return [row_of_result(result) for batch in batches for result in batch][:rows]

    def round(self, number: int) -> list[Result]:
        """One run of every check, by its end."""
        start_us = (self.start_at + timedelta(seconds=number * self.every_s) - _EPOCH) // timedelta(microseconds=1)
        step_us = self.every_s * 1_000_000 // self.checks
        ended = [self._run(check, number, start_us + check * step_us) for check in range(self.checks)]
        ended.sort(key=_ended_us)
        return [result for _, result in ended]

    def _run(self, check: int, number: int, planned_us: int) -> tuple[int, Result]:
        noise, place = self.noise, (number + check * 7919) % POOL
        at_us = planned_us + noise.lateness_us[place]
        usual_us = 20_000 + check * 7919 % 280_000
        took_us = int(usual_us * noise.slowness[place])
        metrics = self._phases(check, number, place, took_us) if self.has_phases else {"response_time": took_us / 1e6}
        time_s = metrics["response_time"]
        duration_us = round(time_s * 1e6) + noise.overhead_us[place]
        is_bad = (number + check * 997) % _OUTAGE_EVERY < _OUTAGE_RUNS
        return at_us + duration_us, Result(
            check_id=self.name(check),
            at=_EPOCH + timedelta(microseconds=at_us),
            status=Status.CRITICAL if is_bad else Status.OK,
            summary="connection refused" if is_bad else f"200 in {duration(time_s)}",
            duration_s=duration_us / 1e6,
            covers_s=1.5 * self.every_s + 5.0,
            worker="prober-1",
            metrics={} if is_bad else metrics,
            detail=_REFUSED if is_bad else _NO_DETAIL,
        )

    def _phases(self, check: int, number: int, place: int, took_us: int) -> dict[str, float]:
        noise = self.noise
        times_us = [int(share * took_us) for share in noise.shares[place]]
        rest_us = noise.bytes_more[place] & 1  # the look-up is timed finer than it is kept
        return {
            "response_time": (sum(times_us) + rest_us) / 1e6,
            **{name: time_us / 1e6 for name, time_us in zip(PHASES, times_us, strict=True)},
            "certificate_days": round(60 + check % 30 - number * self.every_s / 86400, 4),
            "size": 5120.0 + check + noise.bytes_more[place],
        }


_NO_DETAIL = Detail()


def end_of_history() -> datetime:
    """When the history that is made up ends."""
    return datetime.now(UTC).replace(microsecond=0) - LEEWAY


def _ended_us(run: tuple[int, Result]) -> int:
    return run[0]
