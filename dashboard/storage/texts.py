"""Columns of texts as few bytes: as choices, or as templates and the numbers in them, told from metrics where these say the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat

from dashboard.storage.packing import (
    Column,
    Descriptor,
    Planes,
    Reference,
    References,
    ScaledColumn,
    is_told,
    pack_choices,
    pack_ints,
    pack_numbers,
    rescaled,
    unpack_choices,
    unpack_ints,
    unpack_numbers,
)

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)", re.ASCII)
_LONGEST_NUMBER = 15
_GAP = "\0"  # stands for a number in a template; the digits after its point follow, one figure
_GAPS = re.compile(_GAP + r"(\d)")
_WRITTEN_TEMPLATES, _WRITTEN_NUMBERS = 256, 4096


class Texts:
    """What templates and numbers became: equal texts of many blocks are made once. Bounded; not thread-safe."""

    def __init__(self) -> None:
        self._known: dict[str, _Numbered] = {}

    def of(self, template: str) -> _Numbered:
        """The texts of a template with one gap, by their number."""
        found = self._known.get(template)
        if found is None:
            if len(self._known) >= _WRITTEN_TEMPLATES:
                self._known.clear()
            found = self._known[template] = _Numbered(template)
        return found


class _Numbered(dict[int, str]):
    """The texts of one template, made when they are first asked for."""

    def __init__(self, template: str) -> None:
        super().__init__()
        self._before, decimals, self._behind = _GAPS.split(template)
        self._decimals = int(decimals)

    def __missing__(self, number: int) -> str:
        if len(self) >= _WRITTEN_NUMBERS:
            self.clear()
        text = self[number] = self._before + _figures(number, self._decimals) + self._behind
        return text


def pack_texts(texts: Sequence[str], metrics: Sequence[ScaledColumn | None] = ()) -> Column:
    """Texts: as choices, or where they differ by numbers in them, as templates and the numbers, told from metrics if they can be.

    A metric that is None has no value in some rows, or is no decimal fraction.
    """
    different = dict.fromkeys(texts)
    templates = [found for text in different if (found := _template_of(text))]
    known = dict.fromkeys(template for template, _ in templates)
    if len(templates) == len(different) and (len(known) * 2 <= len(different) or metrics):
        by_text = dict(zip(different, templates, strict=True))
        column, is_told = _pack_templates(list(known), [by_text[text] for text in texts], metrics)
        if is_told or (len(known) * 4 < len(different) and len(different) * 4 > len(texts) >= 8):
            return column
    descriptor, planes = pack_choices(texts)
    return [0, *descriptor], planes


def unpack_texts(
    descriptor: Descriptor,
    planes: Planes,
    count: int,
    refer: References | None = None,
    written: Texts | None = None,
) -> list[str]:
    """What `pack_texts` packed. `written` keeps what was made for the next block."""
    kind, *rest = descriptor
    if kind == 0:
        return unpack_choices(rest, planes, count)
    known, order, *columns = rest
    written = Texts() if written is None else written
    if len(known) == 1:
        unpack_ints(order, planes, count)
        numbers = [unpack_numbers(column, planes, count, refer) for column in columns[0]]
        return list(_written(known[0], numbers, count, written))
    which = unpack_ints(order, planes, count)
    pieces: list[Iterator[str]] = []
    for number, template in enumerate(known):
        rows = [row for row, its_template in enumerate(which) if its_template == number]
        its_refer = None if refer is None else _of_rows(refer, rows)
        numbers = [unpack_numbers(column, planes, len(rows), its_refer) for column in columns[number]]
        pieces.append(iter(_written(template, numbers, len(rows), written)))
    return [next(pieces[number]) for number in which]


def _of_rows(refer: References, rows: Sequence[int]) -> References:
    def refer_rows(reference: Reference) -> Sequence[int]:
        numbers = refer(reference)
        return [numbers[row] for row in rows]

    return refer_rows


@lru_cache(maxsize=8192)  # most texts come again, in the same block or another
def _template_of(text: str) -> tuple[str, tuple[int, ...]] | None:
    """The text with gaps for its numbers, and these; None where it cannot be told so."""
    parts = _NUMBER.split(text)
    numbers: list[int] = []
    for place in range(1, len(parts), 2):
        whole, _, decimals = parts[place].partition(".")
        if len(parts[place]) > _LONGEST_NUMBER or len(decimals) > 9 or str(int(whole)) != whole:
            return None  # leading zeros cannot be told by a number
        numbers.append(int(whole + decimals))
        parts[place] = f"{_GAP}{len(decimals)}"
    return None if _GAP in text else ("".join(parts), tuple(numbers))


def _pack_templates(
    known: Sequence[str], texts: Sequence[tuple[str, tuple[int, ...]]], metrics: Sequence[ScaledColumn | None]
) -> tuple[Column, bool]:
    """The column, and whether metrics tell every number that is not always the same."""
    places = {template: number for number, template in enumerate(known)}
    order, planes = pack_ints([places[template] for template, _ in texts])
    kept: list[str] = []
    columns: list[list[Descriptor]] = []
    are_told = True
    for template in known:
        rows = [row for row, (its_template, _) in enumerate(texts) if its_template == template]
        pieces = _GAPS.split(template)  # text, figures after the point, text, ...
        described: list[Descriptor] = []
        for place, column in enumerate(zip(*(texts[row][1] for row in rows), strict=True)):
            decimals = int(pieces[2 * place + 1])
            if min(column) == max(column):
                pieces[2 * place + 1] = _figures(column[0], decimals)
                continue
            pieces[2 * place + 1] = f"{_GAP}{decimals}"
            descriptor, its_planes = pack_numbers(column, _telling(column, decimals, rows, metrics))
            described.append(descriptor)
            planes += its_planes
            are_told = are_told and is_told(descriptor)
        kept.append("".join(pieces))
        columns.append(described)
    return ([1, kept, order, *columns], planes), are_told


def _figures(number: int, decimals: int) -> str:
    return f"{number // 10**decimals}.{number % 10**decimals:0{decimals}d}" if decimals else f"{number}"


def _telling(
    column: Sequence[int], decimals: int, rows: Sequence[int], metrics: Sequence[ScaledColumn | None]
) -> dict[Reference, Sequence[int]]:
    """The metrics that these numbers of a text seem to be, in the metric's unit or in thousandths of it."""
    found: dict[Reference, Sequence[int]] = {}
    for place, metric in enumerate(metrics):
        if metric is None:
            continue
        digits, values = metric
        for more in (decimals, decimals + 3):
            if abs(rescaled([values[rows[0]]], more - digits)[0] - column[0]) <= 1:
                found[place, more] = rescaled([values[row] for row in rows], more - digits)
    return found


def _written(template: str, columns: Sequence[Sequence[int]], count: int, written: Texts) -> Iterable[str]:
    if not columns:
        return [template] * count
    if len(columns) == 1:
        return map(written.of(template).__getitem__, columns[0])
    pieces = _GAPS.split(template)
    parts: list[Iterable[str]] = [repeat(pieces[0], count)]
    for decimals, column, behind in zip(map(int, pieces[1::2]), columns, pieces[2::2], strict=True):
        parts += [[_figures(number, decimals) for number in column], repeat(behind, count)]
    return map("".join, zip(*parts, strict=True))
