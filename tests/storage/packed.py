"""What the tests of packing share: there and back again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson

from dashboard.storage.packing import Column, Descriptor, Planes

Pack = Callable[[Sequence], Column]
Unpack = Callable[[Descriptor, Planes, int], Sequence]


def round_trip(pack: Pack, unpack: Unpack, values: Sequence) -> list:
    """What comes back after the descriptor went through JSON, and the planes stand between others."""
    descriptor, planes = pack(values)
    described = orjson.loads(orjson.dumps(descriptor))
    reader = Planes([b"before", *planes, b"behind"], 6)
    found = list(unpack(described, reader, len(values)))
    assert reader.take(6) == b"behind", "planes are left over, or too many were taken"
    return found
