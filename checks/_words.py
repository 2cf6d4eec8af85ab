"""Plain words: text that cannot hurt a page or a log, and numbers a person reads at a glance."""

from __future__ import annotations

import unicodedata

SUMMARY_LENGTH = 300
TEXT_LENGTH = 512
_BINARY_STEPS = ((1024.0**4, "TiB"), (1024.0**3, "GiB"), (1024.0**2, "MiB"), (1024.0, "KiB"))
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, direction marks, lone surrogates, separators


def plain(text: str, length: int = TEXT_LENGTH, *, keep: str = "") -> str:
    """The text with every character that cannot be seen written as an escape, cut to the length."""
    text = text[: length + 1]  # one more tells whether something is cut; escapes only make it longer
    if not text.isprintable():
        text = "".join(_seen(letter) if letter not in keep else letter for letter in text)
    return text if len(text) <= length else text[: length - 1] + "…"


def one_line(text: str, length: int = SUMMARY_LENGTH) -> str:
    """The text on one line: runs of white space become one space, the unseen an escape."""
    return plain(" ".join(text[: 4 * length].split()), length)


def excerpt(text: str) -> str:
    """What a target said, line ends and tabs kept, at most 512 characters."""
    return plain(text[: 2 * TEXT_LENGTH].replace("\r\n", "\n").strip(), keep="\n\t")


def quantity(value: float, unit: str) -> str:
    """A number in its base unit as a person reads it: `1.92 s`, `1.5 GiB`, `92.1 %`, `12 d`."""
    if unit in ("B", "B/s"):
        for size, word in _BINARY_STEPS:
            if abs(value) >= size:
                return f"{value / size:.3g} {word}{unit[1:]}"
    return f"{_digits(value)} {unit}".rstrip()


def duration(seconds: float) -> str:
    """A measured time: `184 ms` below one second, `1.92 s` above."""
    if seconds >= 0.9995:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.00995 else f"{seconds * 1000:.1f} ms"


def limit(seconds: float) -> str:
    """A time that was waited: `5.0 s`, below a tenth of a second `50 ms`."""
    return f"{seconds:.1f} s" if seconds >= 0.0995 else f"{seconds * 1000:.0f} ms"


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _seen(letter: str) -> str:
    if unicodedata.category(letter) not in _UNSEEN:
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
