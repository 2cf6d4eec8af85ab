"""Columns keep every row's own metrics, whatever the rows before and after it have."""

from __future__ import annotations

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.storage.columns import CheckColumns

metrics = st.dictionaries(st.sampled_from("abcd"), st.floats(-10, 10), max_size=4)


def row(number: int, found: dict[str, float]) -> dict[str, object]:
    return {
        "id": number,
        "check_id": "api",
        "at": float(number),
        "status": "ok",
        "summary": "fine",
        "duration_s": 0.1,
        "covers_s": 15.0,
        "trigger": "schedule",
        "by": "",
        "worker": "w",
        "metrics": found,
    }


@given(st.lists(st.lists(metrics, min_size=1, max_size=4), max_size=8))
def test_every_row_gives_back_its_own_metrics(batches):
    columns, expected = CheckColumns("api"), []
    for batch in batches:
        columns.extend([row(len(expected) + place, found) for place, found in enumerate(batch)])
        expected += batch
    found = columns.between(-1.0, 1e9)
    assert [result.metrics for result in found.results()] == expected
    assert [list(found.metrics)[place] for place in range(len(found))] == expected


@pytest.mark.parametrize("first", [{}, {"a": 1.0}])
def test_row_without_metrics_leaves_a_hole_in_every_column(first):
    columns = CheckColumns("api")
    columns.extend([row(1, {"a": 1.0, "b": 2.0})])
    columns.extend([row(2, {})])
    columns.extend([row(3, first)])
    column = columns.between(0.0, 9.0).metric("b")
    assert list(column) == pytest.approx([2.0, nan, nan], nan_ok=True)
