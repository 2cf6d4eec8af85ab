"""What machines ask: how is Watchroom itself?"""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
from flask import Blueprint, Response

from dashboard.model import OwnHealth
from dashboard.web.context import own_health

blueprint = Blueprint("api", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """Own health as JSON; 503 while no prober measures."""
    own = own_health()
    body = orjson.dumps(as_json(own), option=orjson.OPT_APPEND_NEWLINE)
    response = Response(body, 200 if own.prober_alive else 503, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def as_json(own: OwnHealth) -> dict[str, object]:
    """The shape that scripts rely on (docs/export.md)."""
    prober, store = own.prober, own.store
    return {
        "status": own.status,
        "version": own.version,
        "uptime_s": round(own.uptime_s, 3),
        "prober": {
            "alive": own.prober_alive,
            "restarts": own.prober_restarts,
            "checks": prober.checks,
            "fires_per_s": prober.fires_per_s,
            "lateness_p50_s": prober.lateness_p50_s,
            "lateness_p99_s": prober.lateness_p99_s,
            "in_flight": prober.in_flight,
            "queued": prober.queued,
            "skipped": prober.skipped,
        },
        "store": {
            "state": store.state,
            "message": store.message,
            "rows": store.rows,
            "rows_in_memory": store.rows_in_memory,
            "size_bytes": store.size_bytes,
            "waiting_rows": store.waiting_rows,
            "quarantined_lines": store.quarantined_lines,
            "torn_tails": store.torn_tails,
            "last_sync_s": store.last_sync_s,
            "damaged_blocks": store.damaged_blocks,
            "unsealed_rows": store.unsealed_rows,
            "clock_jumps": store.clock_jumps,
            "sealing_failures": store.sealing_failures,
            "sealed_at": _instant(store.sealed_at),
            "merged_at": _instant(store.merged_at),
            "warnings": store.warnings,
        },
        "troubles": own.troubles,
        "config_problems": own.config_problems,
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds")
