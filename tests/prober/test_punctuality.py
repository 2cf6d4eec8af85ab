"""Lateness over the last 30 seconds."""

from __future__ import annotations

import pytest

from dashboard.prober.punctuality import Punctuality


def test_percentiles_are_told_to_within_ten_percent() -> None:
    punctuality = Punctuality(0.0)
    for number in range(1, 1001):
        punctuality.add(100.0 + number / 100, number / 1000)
    starts_per_s, p50_s, p99_s = punctuality.read(110.0)
    assert starts_per_s == pytest.approx(1000 / 30)
    assert 0.5 <= p50_s <= 0.55
    assert 0.99 <= p99_s <= 1.09


def test_what_is_older_than_thirty_seconds_is_forgotten() -> None:
    punctuality = Punctuality(0.0)
    punctuality.add(10.0, 5.0)
    punctuality.add(60.0, 0.001)
    starts_per_s, _, p99_s = punctuality.read(61.0)
    assert starts_per_s == pytest.approx(1 / 30)
    assert p99_s < 0.0012


def test_a_prober_without_runs_is_not_late() -> None:
    assert Punctuality(0.0).read(100.0) == (0.0, 0.0, 0.0)


def test_a_young_prober_tells_its_rate_over_its_life_so_far() -> None:
    punctuality = Punctuality(100.0)
    for _ in range(20):
        punctuality.add(101.0, 0.0)
    assert punctuality.read(102.0)[0] == pytest.approx(10.0)


def test_runs_without_a_lateness_count_as_starts_only() -> None:
    punctuality = Punctuality(0.0)
    punctuality.add(100.0, None)
    punctuality.add(100.0, 0.2)
    starts_per_s, p50_s, _ = punctuality.read(100.5)
    assert starts_per_s == pytest.approx(2 / 30)
    assert 0.2 <= p50_s <= 0.22
