"""Answers on a shelf: one for each version, or for a while."""

from __future__ import annotations

from dashboard.web.shelf import Shelf


def test_an_answer_is_made_once_a_version():
    shelf, made = Shelf[int](4), []

    def take(version: int, now_s: float = 0.0, keep_s: float = 0.0) -> int:
        return shelf.take("key", version, lambda: made.append(version) or version, now_s=now_s, keep_s=keep_s)

    assert [take(1), take(1), take(2)] == [1, 1, 2]
    assert made == [1, 2]


def test_an_older_answer_is_good_enough_for_a_while_and_tells_its_version():
    shelf = Shelf[str](4)
    shelf.take("key", 1, lambda: "old", now_s=100.0, keep_s=60.0)
    assert shelf.version("key", 2, now_s=159.0, keep_s=60.0) == 1
    assert shelf.take("key", 2, lambda: "new", now_s=159.0, keep_s=60.0) == "old"
    assert shelf.version("key", 2, now_s=160.0, keep_s=60.0) == 2
    assert shelf.take("key", 2, lambda: "new", now_s=160.0, keep_s=60.0) == "new"


def test_a_clock_set_back_does_not_keep_an_answer_for_ever():
    shelf = Shelf[str](4)
    shelf.take("key", 1, lambda: "old", now_s=1e9, keep_s=60.0)
    assert shelf.take("key", 2, lambda: "new", now_s=100.0, keep_s=60.0) == "new"


def test_the_answer_that_nobody_asked_for_longest_gives_way():
    shelf, made = Shelf[str](2), []
    for key in "abcb":
        shelf.take(key, 1, lambda key=key: made.append(key) or key, now_s=0.0, keep_s=0.0)
    shelf.take("a", 1, lambda: made.append("a again") or "a", now_s=0.0, keep_s=0.0)
    assert made == ["a", "b", "c", "a again"]
