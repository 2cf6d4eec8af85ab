"""Columns of numbers as few bytes: each packs into a JSON descriptor and planes of bytes for a compressor.

Whole numbers are kept as their distance from the smallest, or from a line through them, or from what another column says,
in as few bytes as the largest needs: all first bytes are one plane, all second ones the next (a byte shuffle). Floats that are
decimal fractions of few digits are kept as whole numbers of the last digit. Whatever is unpacked equals what was packed, bit for bit.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise, repeat
from math import log2
from operator import add, sub
from typing import Any

Descriptor = list[Any]  # JSON: numbers, texts and lists of them
Column = tuple[Descriptor, list[bytes]]
ScaledColumn = tuple[int, Sequence[int]]  # decimal digits, and whole numbers of the last of them
Reference = Any  # JSON that says which column a number is told from
References = Callable[[Reference], Sequence[int]]

_PLAIN, _LINE, _STEPS, _BESIDE = range(4)
_SCALES = (0, 1, 2, 3, 4, 5, 6, 9)  # decimal digits that a float is tried with
_EXACT = 2.0**53
RAW = -1  # stands for the digits of floats that are no decimal fractions
_TYPES = {2: "H", 4: "I", 8: "Q"}


class Planes:
    """Hands out planes in the order in which they were packed: those that a compressor shrinks, and the others apart.

    `where` tells, plane by plane, with a 1 that it lies among the others, which begin at `noise_at`.
    """

    __slots__ = ("_data", "_noise_at", "_noise_position", "_position", "_taken", "_where")

    def __init__(self, data: bytes | Sequence[bytes], position: int = 0, *, where: str = "", noise_at: int = 0) -> None:
        self._data = data if isinstance(data, bytes) else b"".join(data)
        self._position = position
        self._noise_at = noise_at
        self._noise_position = noise_at
        self._where = where
        self._taken = 0

    def take(self, size: int) -> bytes:
        """The next plane."""
        number = self._taken
        self._taken = number + 1
        if self._where[number : self._taken] == "1":
            start, self._noise_position = self._noise_position, self._noise_position + size
            return self._data[start : self._noise_position]
        start, self._position = self._position, self._position + size
        return self._data[start : self._position]

    def rest(self) -> Planes:
        """The planes that were not taken yet, by themselves, to be handed out once more."""
        where = self._where[self._taken :]
        if "1" not in where:
            end = self._noise_at if "1" in self._where else None
            return Planes(self._data[self._position : end], where=where)
        shrunk = self._data[self._position : self._noise_at]
        return Planes(shrunk + self._data[self._noise_position :], where=where, noise_at=len(shrunk))


class Shelf:
    """Planes on their way into a block: those that the compressor shrinks, and the others, which stand behind."""

    def __init__(self) -> None:
        self.planes: list[bytes] = []
        self.noise: list[bytes] = []
        self._where: list[str] = []

    def put(self, column: Column) -> Descriptor:
        """Take the planes of the column; its descriptor."""
        descriptor, planes = column
        for plane in planes:
            is_dense = is_noise(plane)
            (self.noise if is_dense else self.planes).append(plane)
            self._where.append("01"[is_dense])
        return descriptor

    @property
    def where(self) -> str:
        """See Planes."""
        return "".join(self._where).rstrip("0")


def is_noise(plane: bytes) -> bool:
    """Whether a compressor would only make it longer: its entropy and the table of its code take more than itself."""
    size = len(plane)
    counts = Counter(plane)
    if len(counts) < 16:
        return False
    bits = size * log2(size) - sum(count * log2(count) for count in counts.values())
    return bits / 8 + 0.6 * len(counts) + 8 > size


def pack_ints(values: Sequence[int]) -> Column:
    """Whole numbers whose distance fits into 8 bytes; one at least."""
    low, high = min(values), max(values)
    width = _bytes_of(high - low)
    if low > 0 and width == _bytes_of(high):
        low = 0  # they are read quicker as they are
    return [low, width], _planes(values, low, width)


def unpack_ints(descriptor: Descriptor, planes: Planes, count: int) -> Sequence[int]:
    """What `pack_ints` packed."""
    low, width = descriptor
    if not width:
        return [low] * count
    distances = _distances(width, planes, count)
    if low:
        return [low + distance for distance in distances]
    return list(distances) if isinstance(distances, bytes) else distances


def pack_steps(values: Sequence[int]) -> Column:
    """Whole numbers that mostly ascend evenly: the first, then the steps."""
    if len(values) == 1:
        return [values[0]], []
    descriptor, planes = pack_ints([after - before for before, after in pairwise(values)])
    return [values[0], *descriptor], planes


def unpack_steps(descriptor: Descriptor, planes: Planes, count: int) -> list[int]:
    """What `pack_steps` packed."""
    first, *steps = descriptor
    return list(accumulate(unpack_ints(steps, planes, count - 1), initial=first)) if steps else [first]


def pack_numbers(values: Sequence[int], beside: Mapping[Reference, Sequence[int]] | None = None) -> Column:
    """Whole numbers as whatever takes the fewest bits: themselves, their distance from a line or from another column, steps."""
    found: list[tuple[int, Descriptor, Sequence[int]]] = [(_spread(values), [_PLAIN], values)]
    distances: Sequence[int]
    for reference, others in (beside or {}).items():
        distances = list(map(sub, values, others))
        found.append((_spread(distances), [_BESIDE, reference], distances))
    if len(values) > 2 and abs(values[-1] - values[0]) * 2 > max(values) - min(values) > 0:
        for slope in _slopes(values):
            distances = list(map(sub, values, _line(slope, len(values))))
            found.append((_spread(distances), [_LINE, slope], distances))
        steps = [after - before for before, after in pairwise(values)]
        found.append((_spread(steps), [_STEPS, values[0]], steps))
    _, (kind, *more), distances = min(found, key=lambda each: each[0])
    (low, width), planes = pack_ints(distances)
    return [kind, low, width, *more], planes


def unpack_numbers(
    descriptor: Descriptor, planes: Planes, count: int, refer: References | None = None
) -> Sequence[int]:
    """What `pack_numbers` packed; `refer` gives the columns that it was told to look at."""
    kind, low, width, *more = descriptor
    if kind == _PLAIN:
        return unpack_ints([low, width], planes, count)
    if kind == _STEPS:
        return list(accumulate(unpack_ints([low, width], planes, count - 1), initial=more[0]))
    if kind == _LINE:
        expected, low = _line(more[0], count, low), 0
    else:
        assert refer is not None
        expected = refer(more[0])
    if not width:
        return [number + low for number in expected] if low else expected
    distances = _distances(width, planes, count)
    if low:
        return [number + low + distance for number, distance in zip(expected, distances, strict=True)]
    return list(map(add, expected, distances))


def pack_floats(values: Sequence[float]) -> Column:
    """Any floats but NaN of another bit pattern than Python's; one at least."""
    scaled = scaled_ints(values)
    if scaled is None:
        raw = array("d", values).tobytes()
        return [RAW], [raw[plane::8] for plane in range(8)]
    digits, numbers = scaled
    descriptor, planes = pack_numbers(numbers)
    return [digits, *descriptor], planes


def unpack_floats(descriptor: Descriptor, planes: Planes, count: int) -> Sequence[float]:
    """What `pack_floats` packed."""
    digits, *rest = descriptor
    if digits == RAW:
        return unpack_raw(planes, count)
    kind, low, width, *more = rest
    if kind == _LINE and width and isinstance(more[0], int) and abs(low) + abs(more[0]) * count < _EXACT:
        line = accumulate(
            repeat(float(more[0]), count - 1), initial=float(low)
        )  # as exact as whole numbers, and quicker
        scale = 10.0**digits
        return array(
            "d",
            [(each + distance) / scale for each, distance in zip(line, _distances(width, planes, count), strict=True)],
        )
    return unscaled(unpack_numbers(rest, planes, count), digits)


def is_constant(descriptor: Descriptor) -> bool:
    """Whether the floats of that descriptor are all the same."""
    return bool(descriptor[0] != RAW and descriptor[1] == _PLAIN and not descriptor[3])


def is_told(descriptor: Descriptor) -> bool:
    """Whether the numbers of that descriptor are told from another column."""
    return descriptor[:1] == [_BESIDE]


def unpack_raw(planes: Planes, count: int) -> array[float]:
    """Floats as they are."""
    raw = bytearray(8 * count)
    for plane_number in range(8):
        raw[plane_number::8] = planes.take(count)
    found = array("d")
    found.frombytes(raw)
    return found


def scaled_ints(values: Sequence[float]) -> tuple[int, list[int]] | None:
    """The fewest decimal digits with which all values are exact, and the values as numbers of the last of them."""
    wanted = array("d", values).tobytes()
    largest = max(map(abs, values))
    for digits in _SCALES:
        scale = 10.0**digits
        if not largest * scale < _EXACT:
            return None
        if digits < _SCALES[-1] and round(values[0] * scale) / scale != values[0]:
            continue  # nearly always this is enough to tell
        numbers = [round(value * scale) for value in values]
        if unscaled(numbers, digits).tobytes() == wanted:
            return digits, numbers
    return None


def unscaled(numbers: Iterable[int], digits: int) -> array[float]:
    """The floats that the numbers stand for."""
    if not digits:
        return array("d", list(map(float, numbers)))
    scale = 10.0**digits
    return array("d", [number / scale for number in numbers])


def rescaled(numbers: Sequence[int], digits: int) -> Sequence[int]:
    """The numbers with so many more decimal digits, or with fewer, rounded."""
    if digits > 0:
        factor = 10**digits
        return [number * factor for number in numbers]
    if digits < 0:
        divisor = 10**-digits
        half = divisor // 2
        return [(number + half) // divisor for number in numbers]
    return numbers


def spread_out(values: Sequence[Any], present: bytes, missing: Any) -> array[float]:
    """The values where something is present, and what stands for nothing elsewhere."""
    rest = iter(values)
    return array("d", [next(rest) if is_there else missing for is_there in present])


def pack_choices(values: Sequence[Any]) -> Column:
    """Few different values, JSON-able and hashable; equal ones come back as one object."""
    known = {value: number for number, value in enumerate(dict.fromkeys(values))}
    descriptor, planes = pack_ints([known[value] for value in values])
    return [list(known), *descriptor], planes


def unpack_choices(descriptor: Descriptor, planes: Planes, count: int) -> list[Any]:
    """What `pack_choices` packed; tuples come back as lists."""
    known, *rest = descriptor
    return [known[0]] * count if len(known) == 1 else [known[number] for number in unpack_ints(rest, planes, count)]


def _planes(values: Sequence[int], low: int, width: int) -> list[bytes]:
    if not width:
        return []
    distances = [value - low for value in values] if low else values
    if width == 1:
        return [bytes(list(distances))]  # of an array, bytes would be those it lies in
    raw = array("Q", distances).tobytes()
    return [raw[plane::8] for plane in range(width)]


def _distances(width: int, planes: Planes, count: int) -> Sequence[int]:
    if width == 1:
        return planes.take(count)
    size = 2 if width == 2 else 4 if width <= 4 else 8
    raw = bytearray(size * count)
    for plane_number in range(width):
        raw[plane_number::size] = planes.take(count)
    found = array(_TYPES[size])
    found.frombytes(raw)
    return found


def _bytes_of(number: int) -> int:
    return (number.bit_length() + 7) // 8


def _spread(values: Sequence[int]) -> int:
    """The bits that the distance between the least and the greatest takes."""
    return (max(values) - min(values)).bit_length()


def _slopes(values: Sequence[int]) -> list[float]:
    """How steep a line through the values may be, the roundest number first."""
    mean = (values[-1] - values[0]) / (len(values) - 1)
    rounded = [float(f"{mean:.{digits}g}") for digits in (2, 4)]
    return [int(slope) if slope.is_integer() else slope for slope in dict.fromkeys([*rounded, round(mean, 4)])]


def _line(slope: float, count: int, first: int = 0) -> Sequence[int]:
    if isinstance(slope, int):
        return range(first, first + slope * count, slope) if slope else [first] * count
    return [first + int(slope * place) for place in range(count)]
