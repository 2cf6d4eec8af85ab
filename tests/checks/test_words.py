"""Plain words."""

from __future__ import annotations

import pytest

from checks._words import duration, excerpt, limit, one_line, plain, quantity


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (1.92, "s", "1.92 s"),
        (0.0004321, "s", "0.000432 s"),
        (1536, "B", "1.5 KiB"),
        (-(2.0**30), "B", "-1 GiB"),
        (2.5e6, "B/s", "2.38 MiB/s"),
        (12, "B", "12 B"),
        (92.13, "%", "92.1 %"),
        (12345, "", "12345"),
        (0, "", "0"),
        (float("inf"), "", "inf"),
    ],
)
def test_a_quantity_reads_at_a_glance(value: float, unit: str, words: str) -> None:
    assert quantity(value, unit) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0004, "0.4 ms"), (0.0123, "12 ms"), (0.184, "184 ms"), (0.9996, "1.00 s"), (1.92, "1.92 s"), (75, "75.00 s")],
)
def test_a_duration_changes_to_seconds_at_one(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(5, "5.0 s"), (4.98, "5.0 s"), (0.3, "0.3 s"), (0.05, "50 ms")])
def test_a_limit_reads_as_it_was_set(seconds: float, words: str) -> None:
    assert limit(seconds) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("plain", "plain"),
        ("Größe 中文 🙂", "Größe 中文 🙂"),
        ("a\u00a0b", "a\u00a0b"),
        ("\x1b[0m\x00\x7f\x9b", "\\x1b[0m\\x00\\x7f\\x9b"),
        ("\u202e\u2066\u200b\u2028", "\\u202e\\u2066\\u200b\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_cannot_be_seen_becomes_an_escape(text: str, words: str) -> None:
    assert plain(text) == words


def test_texts_are_cut_with_a_mark() -> None:
    assert plain("x" * 512) == "x" * 512
    assert plain("x" * 513) == "x" * 511 + "…"
    assert len(plain("\x00" * 513)) == 512
    assert one_line("  a \n\n b\t" + "x" * 999) == "a b " + "x" * 295 + "…"
    assert len(excerpt("\n".join("y" * 9999))) == 512


def test_an_excerpt_keeps_its_lines() -> None:
    assert excerpt("\r\n a\r\nb\tc\x08\n\n") == "a\nb\tc\\x08"
