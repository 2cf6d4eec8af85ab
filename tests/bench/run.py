"""All benchmarks, each in a process of its own, as one table: `make bench`, or `make bench ARGS="store export"`.

First the figures with a bar that a release must keep, then what is only worth knowing. Exits with 1 when a bar is missed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = ("product", "store", "export", "overview", "http_engine")
TABLES_OF_THEIR_OWN = ("prober", "command")


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; the exit code."""
    missed = False
    print(
        "| figure | measured | yardstick, same run | ratio | bar | |\n| --- | --- | --- | --- | --- | --- |", flush=True
    )
    for name in [name for name in SCRIPTS if not names or name in names]:
        with subprocess.Popen(
            [sys.executable, HERE / f"bench_{name}.py"], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if not line.startswith(("| figure", "| ---")):
                    print(line, end="", flush=True)
                missed |= "MISSED" in line
        missed |= process.returncode not in (0, 1)
    for name in [name for name in TABLES_OF_THEIR_OWN if not names or name in names]:
        print(flush=True)
        missed |= subprocess.run([sys.executable, HERE / f"bench_{name}.py"], check=False).returncode != 0
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
