"""Whatever is unpacked equals what was packed, bit for bit."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from math import inf

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage.packed import round_trip

from dashboard.storage import packing
from dashboard.storage.columns import Same
from dashboard.storage.packing import Planes

HALF = 1 << 62  # any two whole numbers within this of zero are at most 8 bytes apart


def bits_of(values: Sequence[float]) -> list[bytes]:
    return [struct.pack("<d", value) for value in values]


ints = st.integers(-HALF, HALF) | st.integers(-300, 300) | st.integers(0, 1 << 20)


def evenly(count: int, first: int, step: int, jitter: Sequence[int]) -> list[int]:
    return [first + step * place + jitter[place % len(jitter)] for place in range(count)]


even = st.builds(
    evenly,
    st.integers(1, 40),
    st.integers(-(1 << 50), 1 << 50),
    st.integers(-(10**7), 10**7),
    st.lists(st.integers(-200, 200), min_size=1, max_size=5),
)


@given(st.lists(ints, min_size=1, max_size=40))
def test_whole_numbers_come_back(values):
    assert round_trip(packing.pack_ints, packing.unpack_ints, values) == values


@given(st.lists(st.integers(-HALF // 2, HALF // 2), min_size=1, max_size=40) | even)
def test_steps_come_back(values):
    assert round_trip(packing.pack_steps, packing.unpack_steps, values) == values


@given(st.lists(ints, min_size=1, max_size=40) | even)
def test_numbers_come_back_however_they_are_told(values):
    assert round_trip(packing.pack_numbers, packing.unpack_numbers, values) == values


@pytest.mark.parametrize("kind", [list, tuple, lambda values: array("q", values), lambda values: Same(values[0], 5)])
@pytest.mark.parametrize("values", [[3, 6], [0, 255, 7], [200, 300, 200], [-5, 5], [70_000, 1], [9] * 5])
def test_numbers_of_any_kind_of_column_come_back(kind: Callable[[list[int]], Sequence[int]], values: list[int]) -> None:
    column = kind(values)
    for pack, unpack in (
        (packing.pack_ints, packing.unpack_ints),
        (packing.pack_steps, packing.unpack_steps),
        (packing.pack_numbers, packing.unpack_numbers),
    ):
        assert round_trip(pack, unpack, column) == list(column)
    floats = [value / 4 for value in column]
    assert round_trip(packing.pack_floats, packing.unpack_floats, array("d", floats)) == floats


@pytest.mark.parametrize("width", range(9))
@pytest.mark.parametrize("low", [0, -7, 1 << 40])
def test_numbers_of_every_width_come_back(width, low):
    top = (1 << (8 * width)) - 1
    values = [low, low + top, low + top // 2, low]
    assert round_trip(packing.pack_ints, packing.unpack_ints, values) == values
    assert packing.pack_ints(values)[0][1] == width


@given(st.data())
def test_numbers_that_another_column_tells_come_back(data):
    others = data.draw(st.lists(st.integers(-1000, 10**6), min_size=3, max_size=30))
    values = [other + data.draw(st.integers(-2, 2)) for other in others]
    descriptor, planes = packing.pack_numbers(values, {(0, 3): others})
    described = orjson.loads(orjson.dumps(descriptor))
    assert list(packing.unpack_numbers(described, Planes(planes), len(values), lambda reference: others)) == values


SPECIAL = [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308]
SPECIAL += [0.1, 0.1 + 0.2, 1 / 3, 2.0**53, 2.0**53 + 2, 9007199254740993.0, 1e22, 1e-9, 0.123456789, 4.35, 1e15 + 0.5]
decimals = st.integers(-(10**9), 10**9).flatmap(lambda n: st.sampled_from([n / 10**d for d in range(10)]))
floats = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(SPECIAL) | decimals


@given(st.lists(floats, min_size=1, max_size=30) | st.lists(decimals, min_size=1, max_size=30))
def test_floats_come_back_bit_for_bit(values):
    assert bits_of(round_trip(packing.pack_floats, packing.unpack_floats, values)) == bits_of(values)


@pytest.mark.parametrize("digits", [0, 1, 2, 3, 4, 5, 6, 9])
def test_decimal_fractions_are_kept_as_whole_numbers(digits):
    values = [number / 10**digits for number in (0, 1, 250, 255)]
    [kept, *_], planes = packing.pack_floats(values)
    assert kept == digits
    assert sum(map(len, planes)) == len(values)


@pytest.mark.parametrize("value", [*SPECIAL, inf, -inf])
def test_a_single_float_comes_back_bit_for_bit(value):
    for values in ([value], [value] * 3, [1.5, value], [value, 1.5]):
        assert bits_of(round_trip(packing.pack_floats, packing.unpack_floats, values)) == bits_of(values)


@given(st.lists(st.sampled_from(["a", "b", ("x", "y"), "", "\0"]), min_size=1, max_size=300))
def test_choices_come_back(values):
    found = round_trip(packing.pack_choices, packing.unpack_choices, values)
    assert [tuple(each) if isinstance(each, list) else each for each in found] == values
