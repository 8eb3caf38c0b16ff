"""`python -m benchmarks [NAME ...]`: measure, each beside its peer in the same run, and print medians and ratios.

Every module here with a function `run(rounds: int) -> Iterator[Row]` is a benchmark. Timings live here and never in
tests.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import tempfile
from pathlib import Path

from benchmarks.report import print_rows


def main() -> None:
    """Run the named benchmarks, or all, in a state folder of their own."""
    known = sorted(
        file.stem for file in Path(__file__).parent.glob("*.py") if file.stem not in ("__main__", "__init__", "report")
    )
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(known)} [default: all]")
    parser.add_argument("--rounds", type=int, default=5, help="alternating runs of each [default: 5]")
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}: choose of {', '.join(known)}")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, {platform.platform(terse=True)}, load before the start {load:.1f}")
    with tempfile.TemporaryDirectory(prefix="k8sext-bench-") as state:
        os.environ["K8SEXT_STATE"] = state
        for name in options.names or known:
            print_rows(name, importlib.import_module(f"benchmarks.{name}").run(options.rounds))


main()
