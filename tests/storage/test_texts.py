"""Texts come back as they were, whether told by templates, by choices or by metrics."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage.packed import round_trip

from dashboard.storage.packing import Planes
from dashboard.storage.texts import Texts, pack_texts, unpack_texts

number_texts = st.one_of(
    st.integers(0, 10**16).map(str),
    st.integers(0, 999).map(lambda n: f"{n:03d}"),
    st.floats(0, 1000).map(lambda x: f"{x:.3f}"),
    st.floats(0, 10).map(lambda x: f"{x:.1f}"),
    st.sampled_from(
        ["0", "00", "007", "1.", ".5", "1.50", "1.2.3", "-3", "1e5", "0x1f", "12345678901234567890", "0.1234567890"]
    ),
    st.sampled_from(["٣", "²", "१२", "½", "1٣"]),
)
WORDS = ["", "in", " ms", "%", "%d", "%s %%", "%(a)s", "\0", "\x001", "é", "𝟙", "\n", "{}", "\\", "connection refused"]
texts = st.lists(st.one_of(number_texts, st.sampled_from(WORDS)), max_size=5).map(" ".join) | st.text(max_size=8)
FORMS = ["200 in {} ms", "{}", "{}/{} ok", "100 % of {}", "{}.{}", "{}\0", "%{} {}%", "done"]
regular = st.sampled_from(FORMS).flatmap(
    lambda form: st.lists(st.tuples(number_texts, number_texts), min_size=8, max_size=24).map(
        lambda rows: [form.format(*row) for row in rows]
    )
)


@settings(max_examples=200)
@given(
    st.lists(texts, min_size=1, max_size=20) | regular | st.tuples(regular, regular).map(lambda two: two[0] + two[1])
)
def test_texts_come_back(values):
    assert round_trip(pack_texts, unpack_texts, values) == values


def test_texts_of_one_form_take_no_more_than_their_numbers():
    texts = [f"200 in {n} ms, 100 % ok" for n in range(60)]
    [kind, forms, *_], planes = pack_texts(texts)
    assert (kind, len(forms)) == (1, 1)
    assert sum(map(len, planes)) <= len(texts)
    assert round_trip(pack_texts, unpack_texts, texts) == texts


@pytest.mark.parametrize("rare", ["connection refused", "no 007", "a\0b", "no ٣", "99999999999999999999"])
def test_a_rare_text_of_another_form_does_not_harm(rare):
    texts = [f"200 in {n}.{n % 10} ms" for n in range(40)]
    texts[17] = rare
    assert round_trip(pack_texts, unpack_texts, texts) == texts


def test_texts_written_for_one_block_do_not_leak_into_the_next():
    written = Texts()
    for first in (0, 5, 1000):
        texts = [f"{n}.5 % at {first}" for n in range(first, first + 30)]
        descriptor, planes = pack_texts(texts)
        assert unpack_texts(descriptor, Planes(planes), len(texts), None, written) == texts
