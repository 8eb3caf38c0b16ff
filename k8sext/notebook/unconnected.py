"""A kernel before its notebook's first cell has run: everything that needs the cluster says so in one sentence."""

from __future__ import annotations

from typing import Any, NoReturn

from k8sext.notebook import FIRST_CELL
from k8sext.notebook.shell import OneLineError, Shell

THEN_AGAIN = f"{FIRST_CELL}, and then this one again"
FUNCTIONS = ("check", "hint", "solution", "view")


class NotConnected(OneLineError):
    """The first cell has not run."""


def prepare(ipython: Any) -> None:
    """Put stand-ins where `%load_ext k8sext` will put check, hint, solution and view, and have a failing kubectl say
    what to do."""
    Shell(ipython, advice=lambda command: THEN_AGAIN if "kubectl" in command or "k8sext" in command else "").install()
    ipython.push(dict.fromkeys(FUNCTIONS, _first_cell), interactive=False)


def _first_cell(*_: object, **__: object) -> NoReturn:
    raise NotConnected(f"this notebook is not connected to its cluster: {THEN_AGAIN}.")
