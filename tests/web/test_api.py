"""Own health as machines read it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import NOW, FakeClock, FakeServices
from flask.testing import FlaskClient

from checks.base import ProberHealth
from dashboard import create_app
from dashboard.model import StoreHealth
from dashboard.web.configuration import Test


@pytest.fixture
def services() -> FakeServices:
    return FakeServices()


@pytest.fixture
def client(services: FakeServices) -> FlaskClient:
    return create_app(services.settings, services, configuration=Test, clock=FakeClock()).test_client()


def test_health_says_every_fact_by_its_name(services: FakeServices, client: FlaskClient) -> None:
    services.own.now = replace(
        services.own.now,
        status="degraded",
        prober=ProberHealth(
            fires_per_s=12.5, lateness_p50_s=0.001, lateness_p99_s=0.004, in_flight=3, queued=2, skipped=1, checks=9
        ),
        store=StoreHealth(
            state="full",
            rows=7,
            rows_in_memory=5,
            size_bytes=900,
            waiting_rows=4,
            message="disk full",
            sealed_at=NOW,
            warnings=("merging waits",),
        ),
        troubles=("The disk is full.",),
        config_problems=("line 3: unknown key",),
    )
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json == {
        "status": "degraded",
        "version": "0.1.0",
        "uptime_s": 3600.0,
        "prober": {
            "alive": True,
            "restarts": 0,
            "checks": 9,
            "fires_per_s": 12.5,
            "lateness_p50_s": 0.001,
            "lateness_p99_s": 0.004,
            "in_flight": 3,
            "queued": 2,
            "skipped": 1,
        },
        "store": {
            "state": "full",
            "message": "disk full",
            "rows": 7,
            "rows_in_memory": 5,
            "size_bytes": 900,
            "waiting_rows": 4,
            "quarantined_lines": 0,
            "torn_tails": 0,
            "last_sync_s": 0.0,
            "damaged_blocks": 0,
            "unsealed_rows": 0,
            "clock_jumps": 0,
            "sealing_failures": 0,
            "sealed_at": "2026-11-24T13:25:08.000+00:00",
            "merged_at": None,
            "warnings": ["merging waits"],
        },
        "troubles": ["The disk is full."],
        "config_problems": ["line 3: unknown key"],
    }


def test_a_dead_prober_makes_the_whole_unavailable(services: FakeServices, client: FlaskClient) -> None:
    services.own.now = replace(services.own.now, prober_alive=False, status="degraded")
    answer = client.get("/healthz", headers={"Accept": "text/html"})
    assert answer.status_code == 503
    assert answer.json["prober"]["alive"] is False  # type: ignore[index]
