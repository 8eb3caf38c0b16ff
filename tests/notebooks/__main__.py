"""Run the executed notebooks through strict nbval: `python -m tests.notebooks [--alone | --side-by-side] [--shuffled]
[--twice] [NUMBER]`.

With `--provider existing` and K8SEXT_CONTEXT nbval is lax: another cluster answers in other words, and the cells' own
assertions count.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from pathlib import Path

from tests.conftest import pytest_xdist_auto_num_workers
from tests.notebooks import results
from tests.notebooks.lab import lab
from tests.notebooks.pages import NOTEBOOKS, SANITISER

NBVAL = (
    *("-p", "tests.notebooks.nbval_plugin", "--nbval", f"--nbval-sanitize-with={SANITISER}"),
    *("--nbval-cell-timeout=300", "--nbval-current-env"),
)

SOME_FAILED = 1
"""pytest's exit code when tests failed, and not pytest itself."""


def run(notebooks: list[Path], *more: str) -> int:
    """Run pytest on these notebooks, with more options, and return its exit code."""
    lax = os.environ.get("K8SEXT_PROVIDER") == "existing"
    options = [*("--nbval-lax" if lax and option == "--nbval" else option for option in NBVAL), *more]
    command = [sys.executable, "-m", "pytest", *options, *map(str, notebooks)]
    return subprocess.run(command, cwd=NOTEBOOKS.parent).returncode


def diagnose(failed: list[Path]) -> None:
    """Run notebooks that failed side by side once more, alone, only to tell a race from a plain defect; this counts
    neither in the exit code nor in the README's table."""
    with lab():
        for path in failed:
            alone = "passed" if run([path], "-p", "no:notebook-report") == 0 else "failed"
            print(f"{path.stem}: side by side failed, alone {alone}. The first result counts.", flush=True)


def main(arguments: list[str]) -> int:
    """Run all notebooks in order on one cluster, or as the options say. Returns 0 when every output was as stored."""
    parser = argparse.ArgumentParser(prog="python -m tests.notebooks", description=__doc__)
    parser.add_argument("--alone", action="store_true", help="each notebook on a fresh cluster of its own")
    parser.add_argument("--shuffled", action="store_true", help="in random order; the seed is printed")
    parser.add_argument("--seed", type=int, help="the seed of an earlier shuffled run")
    parser.add_argument(
        "--side-by-side", action="store_true", help="several at once, as this machine can, each on a cluster of its own"
    )
    parser.add_argument("--twice", action="store_true", help="two rounds on the same cluster")
    parser.add_argument("--provider", help="the provider of the cluster [default: $K8SEXT_PROVIDER or embedded]")
    parser.add_argument("numbers", nargs="*", metavar="NUMBER", help="the notebooks' numbers, as 00 04 [default: all]")
    chosen = parser.parse_args(arguments)
    if chosen.provider:
        os.environ["K8SEXT_PROVIDER"] = chosen.provider
    notebooks = [
        path
        for path in sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))
        if not chosen.numbers or path.stem[:2] in chosen.numbers
    ]
    if chosen.shuffled:
        seed = chosen.seed if chosen.seed is not None else random.randrange(10_000)
        print(f"order shuffled with --seed {seed}", flush=True)
        random.Random(seed).shuffle(notebooks)
    if chosen.side_by_side:
        failed = run(notebooks, f"--numprocesses={pytest_xdist_auto_num_workers()}", "--dist=loadfile")
        if failed == SOME_FAILED:
            known = results.failed(os.environ.get("K8SEXT_PROVIDER", "embedded"))
            diagnose([path for path in notebooks if path.stem in known])
        return failed
    failed = 0
    for group in [[notebook] for notebook in notebooks] if chosen.alone else [notebooks]:
        with lab():
            for _ in range(2 if chosen.twice else 1):
                failed = run(group) or failed
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
