"""What the newest run went through, step by step, for probes of every kind."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from fakes import NOW, make_check, make_result, view_of

from checks.base import Detail, Status, Threshold, Thresholds
from dashboard.model import BrokenCheck
from dashboard.web.evidence import about, clock_time, comparisons, log_row, phases

PRAGUE = ZoneInfo("Europe/Prague")
HTTP = {"dns": 0.01, "connect": 0.02, "tls": 0.03, "first_byte": 0.04, "transfer": 0.05}


def strip(
    metrics: dict[str, float], phase: str = "", *, good: dict[str, float] | None = None, **changes
) -> list[tuple[str, str]]:
    """(title, state) of the phases of a run that failed at `phase`, or went well."""
    rows = [make_result(at=NOW - timedelta(seconds=10), metrics=good)] if good is not None else []
    status = Status.CRITICAL if phase else Status.OK
    newest = make_result(status=status, metrics=metrics, detail=Detail(phase=phase), **changes)
    return [(each.title, each.state) for each in phases(view_of(make_check(), [*rows, newest]))]


@pytest.mark.parametrize(
    ("metrics", "phase", "good", "states"),
    [
        (HTTP, "", None, "done done done done done"),
        ({"dns": 0.01, "connect": 0.02}, "tls", HTTP, "done done fail none none"),
        ({}, "dns", HTTP, "fail none none none none"),
        ({"dns": 0.01, "connect": 0.02, "tls": 0.03}, "first byte", HTTP, "done done done fail none"),
        (HTTP, "status", HTTP, "done done done done done"),  # all steps were gone, the answer was wrong
        ({"dns": 0.01}, "connect", None, "done fail"),  # never a good run: what lies behind is not known
        ({"dns": 0.01, "connect": 0.02}, "", None, "done done"),
        ({"percent": 40.0}, "", {"percent": 41.0}, ""),
        ({}, "deadline", None, ""),
    ],
)
def test_steps_before_the_failing_one_passed_and_those_behind_it_were_not_reached(metrics, phase, good, states):
    assert " ".join(state for _, state in strip(metrics, phase, good=good)) == states


def test_a_plain_http_check_has_no_tls_step():
    plain = {name: value for name, value in HTTP.items() if name != "tls"}
    assert [title for title, _ in strip(plain)] == ["DNS", "Connect", "First byte", "Transfer"]


def test_the_time_of_a_failing_step_is_what_the_steps_before_it_left():
    newest = make_result(
        status=Status.CRITICAL, metrics={"dns": 0.5, "connect": 0.5}, duration_s=5.0, detail=Detail(phase="tls")
    )
    assert [each.value for each in phases(view_of(make_check(), [newest]))] == [
        "500\u00a0ms",
        "500\u00a0ms",
        "4\u00a0s",
    ]


def test_a_broken_check_has_no_steps_and_no_runs_to_compare():
    view = view_of(BrokenCheck(id="api", name="api", type="http", fault="x"), [])
    assert phases(view) == []
    assert comparisons(view, PRAGUE, NOW) == []


def test_only_what_both_runs_tell_can_differ():
    good = make_result(at=NOW - timedelta(seconds=10), metrics={"certificate_days": 41.0})
    bad = make_result(
        status=Status.CRITICAL, metrics={"certificate_days": 2.0}, detail=Detail(got="500", facts={"address": "::1"})
    )
    found = {
        each.field: each
        for each in comparisons(view_of(make_check(), [good, bad], units={"certificate_days": "d"}), PRAGUE, NOW)
    }
    assert [name for name, each in found.items() if each.differs] == ["Result", "Certificate days"]
    assert (found["Certificate days"].good, found["Certificate days"].bad) == ("41\u00a0d", "2\u00a0d")
    assert (found["Got"].good, found["Got"].bad) == ("–", "500")


def test_thresholds_are_said_in_words():
    limits = {
        "response_time": Thresholds(warning=Threshold.parse("0.5"), critical=Threshold.parse("@10:20")),
        "certificate_days": Thresholds(critical=Threshold.parse("3:")),
    }
    found = dict(about(make_check(thresholds=limits, retries=2)))
    assert found["Response time"] == "warning outside 0.5, critical in 10:20"
    assert found["Certificate days"] == "critical outside 3:"
    assert found["Retries"] == "2"


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(hours=1), "13:25:08"),
        (timedelta(hours=15), "23\u00a0Nov 23:25:08"),
        (timedelta(days=365), "24\u00a0Nov\u00a02025 14:25:08"),
    ],
)
def test_a_time_has_its_day_when_that_is_not_today_and_its_year_when_not_this_one(ago, text):
    assert clock_time(NOW - ago, PRAGUE, NOW) == text


def test_a_run_in_summer_shows_the_offset_of_summer():
    row = log_row(make_result(at=NOW - timedelta(days=120)), {}, str, PRAGUE, NOW)
    assert (row.time, row.offset) == ("15:25:08", "+02:00")
