"""Ranges as plugins write them."""

from __future__ import annotations

import pytest

from checks.base import Threshold


@pytest.mark.parametrize(
    ("text", "quiet", "alarming"),
    [
        ("10", [0, 5, 10], [-1, 10.1]),
        ("10:", [10, 1e9], [9.9, -1]),
        ("~:10", [-1e9, 10], [10.1]),
        ("10:20", [10, 20], [9.9, 20.1]),
        ("@10:20", [9.9, 20.1], [10, 15, 20]),
        ("-5:5", [-5, 5], [-6, 6]),
    ],
)
def test_a_value_outside_of_the_range_alarms(text, quiet, alarming):
    threshold = Threshold.parse(text)
    assert not any(threshold.alarms(value) for value in quiet)
    assert all(threshold.alarms(value) for value in alarming)


@pytest.mark.parametrize("text", ["", "@", "abc", "..", "1..2:", "20:10", "5%", ":"])
def test_what_is_no_range_is_refused_in_words(text):
    with pytest.raises(ValueError, match=r"is not a range|has no number|starts above its end|not a number"):
        Threshold.parse(text)
