"""Where the harnesses work: directories in memory where there are such, gone at the end."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_MEMORY = Path("/dev/shm")


@contextmanager
def workplace(*, is_disk: bool = False) -> Iterator[Callable[[], Path]]:
    """Gives paths for new directories, as many as one asks for. `is_disk`: waiting for the disk should take its time."""
    where = _IN_MEMORY if _IN_MEMORY.is_dir() and not is_disk else None
    root = Path(tempfile.mkdtemp(prefix="watchroom-faults-", dir=where))
    numbers = itertools.count()
    try:
        yield lambda: root / str(next(numbers))
    finally:
        shutil.rmtree(root, ignore_errors=True)
