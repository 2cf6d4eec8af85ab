"""Percentiles from logarithmic bins are at most 2 % off, whatever the values are."""

from __future__ import annotations

import recount
from hypothesis import given
from hypothesis import strategies as st

from dashboard.histogram import ALPHA, bin_of, histogram, merged, middle, quantiles

TINY = 1e-15  # what is closer to zero counts as zero
values = (
    st.floats(-1e308, 1e308) | st.floats(0, 10) | st.sampled_from([0.0, -0.0, 1e-20, -1e-300, 1.7976931348623157e308])
)


@given(values)
def test_the_middle_of_a_bin_is_close_to_every_value_in_it(value):
    assert abs(middle(bin_of(value)) - value) <= ALPHA * abs(value) * (1 + 1e-9) + TINY


@given(values, values)
def test_bins_ascend_as_values_do(one, other):
    low, high = sorted((one, other))
    assert bin_of(low) <= bin_of(high)


@given(st.lists(values, min_size=1, max_size=50), st.lists(st.floats(0, 1), min_size=1, max_size=5).map(sorted))
def test_percentiles_are_within_two_percent_of_the_nearest_rank(found, shares):
    ascending = sorted(found)
    answers = quantiles(histogram(found), shares, low=ascending[0], high=ascending[-1])
    for share, answer in zip(shares, answers, strict=True):
        exact = recount.nearest_rank(ascending, share)
        assert abs(answer - exact) <= ALPHA * abs(exact) * (1 + 1e-9) + TINY
        assert ascending[0] <= answer <= ascending[-1]


@given(st.lists(st.lists(values, max_size=10), max_size=5))
def test_merged_histograms_are_that_of_all_values(parts):
    assert merged(map(histogram, parts)) == histogram([value for part in parts for value in part])


def test_equal_values_have_exact_percentiles():
    assert quantiles(histogram([0.184] * 9), (0.5, 0.99), low=0.184, high=0.184) == [0.184, 0.184]
